"""One line of progress: where training is, how well it does, how fast it goes and how long it will take."""

import collections
import shutil
import sys
import time

import keras

WINDOW = 15.0  # seconds over which the speed is measured


class Progress(keras.callbacks.Callback):
    """Shows epoch, step, loss, metrics, speed and time left, on standard error.

    On a terminal one line is written over and over; elsewhere a line appears about every `seconds`. Each epoch ends
    with a line that stays, with the results of the validation. Speed is counted in real tokens where there are any,
    else in examples, else in steps; the calls that compile are left out of it.

    Args:
        stream: Where to write, `sys.stderr` by default.
        seconds: Seconds between two lines where the stream is no terminal, at least 0.

    Example:

    ```python
    import kerazoo as kz

    callbacks = [kz.training.Progress()]
    ```
    """

    def __init__(self, stream=None, seconds=10.0):
        super().__init__()
        self.stream = stream or sys.stderr
        self.seconds = seconds
        self.terminal = bool(getattr(self.stream, "isatty", lambda: False)())
        self._marks = collections.deque()  # (time, counts) after each call
        self._open = False  # whether the cursor stands behind a line that will be written over
        self._shown = time.perf_counter()
        self._validation = 0.0  # seconds that the last one took
        self._step_time = 0.0

    def on_train_begin(self, logs=None):
        """Says that the first program is being compiled, which takes a while."""
        if self.terminal:
            self._write(f"{self._epoch(self.params.get('epoch', 0))}  compiling", stay=False)

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of the epoch."""
        self._started = time.perf_counter()
        self._index = epoch
        self._marks.clear()

    def on_train_batch_end(self, batch, logs=None):
        """Shows how far the epoch is."""
        now = self._clock()
        counts = {name: self.params.get(name) or 0 for name in ("tokens", "examples")} | {"steps": batch + 1}
        self._marks.append((now, counts))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        if self.terminal or time.perf_counter() - self._shown >= self.seconds:
            total = self.params.get("steps")
            steps = f"step {batch + 1:,}" + (f"/{total:,}" if total else "")
            parts = [self._epoch(self._index), steps, *_figures(logs), *self._speed(), *self._left(batch + 1)]
            self._write("  ".join(parts), stay=not self.terminal)
            self._shown = time.perf_counter()

    def on_test_begin(self, logs=None):
        """Starts the clock of the validation."""
        self._testing = self._clock()

    def on_test_end(self, logs=None):
        """Learns how long a validation takes."""
        self._validation = self._clock() - self._testing

    def on_epoch_end(self, epoch, logs=None):
        """Shows the results of the epoch."""
        took = duration(time.perf_counter() - self._started)
        self._write("  ".join([self._epoch(epoch), *_figures(logs), *self._speed(), took]), stay=True)
        self._shown = time.perf_counter()

    def on_train_end(self, logs=None):
        """Ends the line."""
        self.on_train_interrupted()

    def on_train_interrupted(self):
        """Ends the line, so that what is said next starts a new one."""
        if self._open:
            self.stream.write("\n")
            self.stream.flush()
            self._open = False

    def _clock(self):
        # The calls that compile are left out: they say nothing of the steps to come.
        return time.perf_counter() - self.params.get("compile_seconds", 0.0)

    def _epoch(self, epoch):
        return f"epoch {epoch + 1}/{self.params.get('epochs', '?')}"

    def _speed(self):
        if len(self._marks) < 2:
            return []
        (begin, before), (end, after) = self._marks[0], self._marks[-1]
        elapsed = max(end - begin, 1e-9)
        self._step_time = elapsed / max(after["steps"] - before["steps"], 1)
        for name in ("tokens", "examples", "steps"):
            count = after[name] - before[name]
            if count:
                return [f"{name}/s {count / elapsed:,.0f}"]
        return []

    def _left(self, steps):
        total, epochs = self.params.get("steps"), self.params.get("epochs")
        if not (total and epochs and self._step_time):
            return []
        epochs_after = epochs - self._index - 1
        seconds = (total - steps + epochs_after * total) * self._step_time + (epochs_after + 1) * self._validation
        return [f"{duration(seconds)} left"]

    def _write(self, line, stay):
        if self.terminal:
            width = shutil.get_terminal_size().columns
            self.stream.write("\r\x1b[K" + (line if stay else line[: width - 1]))
        else:
            self.stream.write(line)
        if stay:
            self.stream.write("\n")
        self.stream.flush()
        self._open = not stay


def duration(seconds):
    """Returns a number of seconds in words: `8.1 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _figures(logs):
    logs = dict(logs or {})
    first = {"loss": logs.pop("loss")} if "loss" in logs else {}
    return [f"{name} {_number(value)}" for name, value in {**first, **logs}.items()]


def _number(value):
    if getattr(value, "ndim", 0):
        return "[" + ", ".join(_number(each) for each in value) + "]"
    return f"{value:.4g}"
