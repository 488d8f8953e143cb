"""Wall time of calls and of epochs."""

import threading
import time
from collections.abc import Callable
from typing import Any


def timed(function: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def epoch_timer(before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None) -> Any:
    """Returns a Keras callback whose `seconds` has the wall time of each epoch.

    `before` is called before an epoch and `after` after it, outside the measured time.
    """
    import keras

    class EpochTimer(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds = []

        def on_train_batch_end(self, batch, logs=None):
            self.loss = logs["loss"]  # read, as callbacks do

        def on_epoch_begin(self, epoch, logs=None):
            before()
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.started)
            after()

    return EpochTimer()


def interleave_epochs(trainings: dict[str, Callable[[Any], object]]) -> dict[str, list[float]]:
    """Runs several trainings of equally many epochs, one epoch of each in turn.

    A slow minute of the machine then affects all of them alike.

    Args:
        trainings: dictionary from a name to a function of a callback that trains with it.

    Returns:
        Dictionary from each name to the seconds of its epochs.
    """
    allowed = [threading.Semaphore(0) for _ in trainings]
    shifted = [*allowed[1:], allowed[0]]
    timers = [epoch_timer(this.acquire, following.release) for this, following in zip(allowed, shifted)]
    errors = []

    def train(function, timer):
        try:
            function(timer)
        except BaseException as error:
            errors.append(error)
            for each in allowed:  # none of the others waits for a turn that never comes
                each.release(10**6)

    threads = [
        threading.Thread(target=train, args=(function, timer), daemon=True)
        for function, timer in zip(trainings.values(), timers)
    ]
    for thread in threads:
        thread.start()
    allowed[0].release()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return {name: timer.seconds for name, timer in zip(trainings, timers)}
