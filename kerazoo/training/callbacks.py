"""What a training run does beside training: log its metrics, stop when it diverges, save its state."""

import json
import math
import os
import pathlib
import signal
import threading
import time

import keras

from kerazoo import _checks


class MetricsLog(keras.callbacks.Callback):
    """Appends one line of JSON for each epoch: epoch, step, seconds, learning rate, and every metric.

    `epoch` counts finished epochs from 1, `seconds` runs from the beginning of this fit. A resumed run first removes
    the lines of steps that it takes again. What is not a finite number becomes `null`.

    Args:
        path: The file, `metrics.jsonl` of a run directory.

    Raises:
        SetupError: The file cannot be written.

    Example:

    ```python
    import kerazoo as kz

    callbacks = [kz.training.MetricsLog("metrics.jsonl")]
    ```
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)

    def on_train_begin(self, logs=None):
        """Removes the lines of steps that will be taken again."""
        self._started = time.perf_counter()
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= self.params.get("step", math.inf)]
        if kept != lines:
            temporary = self.path.with_name(self.path.name + ".new")
            self._write(temporary, "w", kept)
            os.replace(temporary, self.path)

    def on_epoch_end(self, epoch, logs=None):
        """Appends the line of the epoch."""
        line = {
            "epoch": epoch + 1,
            "step": self.params.get("step"),
            "seconds": round(time.perf_counter() - self._started, 3),
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            **(logs or {}),
        }
        line = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in line.items()}
        self._write(self.path, "a", [json.dumps(line)])

    def _write(self, path, mode, lines):
        try:
            with open(path, mode, encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
        except OSError as error:
            raise _checks.SetupError(f"{path}: cannot be written: {error.strerror or error}.") from error


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with a `DivergedError` when the loss of training or validation is no finite number.

    Args:
        store: The `CheckpointStore` whose newest checkpoint the message names, or None.

    Raises:
        DivergedError: The loss is NaN or infinite.

    Example:

    ```python
    import kerazoo as kz

    callbacks = [kz.training.StopOnNonFinite()]
    ```
    """

    def __init__(self, store=None):
        super().__init__()
        self.store = store

    def on_train_batch_end(self, batch, logs=None):
        """Looks at the loss of training."""
        self._check(logs, ("loss",))

    def on_epoch_end(self, epoch, logs=None):
        """Looks at the losses of training and validation."""
        self._check(logs, ("loss", "val_loss"))

    def _check(self, logs, names):
        for name in names:
            if not math.isfinite((logs or {}).get(name, 0.0)):
                saved = self.store.names() if self.store else []
                kept = f" The last good checkpoint is {self.store.directory / saved[-1]}." if saved else ""
                raise _checks.DivergedError(
                    f"{name} is {logs[name]} at step {self.params.get('step')}: training has diverged.{kept} "
                    "Try a lower learning rate, a longer warm-up or gradient clipping."
                )


class Checkpoints(keras.callbacks.Callback):
    """Saves the state of training at the end of each epoch, every few minutes, and when the process is told to stop.

    At SIGTERM or SIGINT the call that runs is finished, the state saved, and a `PreemptedError` raised; a second
    SIGINT interrupts at once. A state whose loss is no finite number is never saved. Best value and patience are
    counted from the history in the state, so they outlive an interruption.

    Args:
        store: A `CheckpointStore`.
        monitor: The metric whose best epoch is kept, such as `"val_loss"`, or None.
        mode: `"min"` or `"max"`: which value of it is best.
        minutes: Minutes between two states inside an epoch, above 0, or None.
        every_steps: Steps between two states inside an epoch, above 0, or None.
        patience: Epochs without a better value after which training stops, 0 for never.

    Raises:
        PreemptedError: The process was told to stop and the state is saved.
        SetupError: The state cannot be written.

    Example:

    ```python
    import kerazoo as kz

    store = kz.training.CheckpointStore("checkpoints")
    callbacks = [kz.training.Checkpoints(store, monitor="val_loss", patience=3)]
    ```
    """

    def __init__(self, store, monitor=None, mode="min", minutes=5.0, every_steps=None, patience=0):
        super().__init__()
        owner = "Checkpoints"
        self.store = store
        self.monitor = monitor
        self.mode = _checks.one_of(owner, "mode", mode, ("min", "max"))
        self.minutes = minutes and _checks.number(owner, "minutes", minutes, low=0, low_open=True)
        self.every_steps = every_steps and _checks.positive_int(owner, "every_steps", every_steps)
        self.patience = _checks.non_negative_int(owner, "patience", patience)
        self.history = []
        self._signal = None
        self._handlers = {}

    def on_train_begin(self, logs=None):
        """Takes over the history of the epochs before, and listens to signals."""
        self.history = list(self.params.get("history", ()))
        self._saved = time.perf_counter()
        self._signal = None
        if threading.current_thread() is threading.main_thread():  # only there can signals be heard
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._hear)

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Saves if it is time to, unless the epoch ends here: then `on_epoch_end` does."""
        if batch + 1 == self.params.get("steps"):
            return
        late = self.minutes and time.perf_counter() - self._saved >= 60 * self.minutes
        if self._signal or late or (self.every_steps and self._step() % self.every_steps == 0):
            self._save(logs, self._epoch, batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        """Saves, keeps the best epoch, and stops when it lies too far back."""
        logs = logs or {}
        best = self._is_best(logs.get(self.monitor))
        self.history.append({"epoch": epoch + 1, "step": self._step(), **logs})
        self._save(logs, epoch + 1, 0, best)
        if self.patience and self._epochs_since_best() >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        """Leaves signals to whom they belonged."""
        self.on_train_interrupted()

    def on_train_interrupted(self):
        """Leaves signals to whom they belonged."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save(self, logs, epoch, position, best=False):
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            state = {"step": self._step(), "epoch": epoch, "position": position}
            # `self.model` also puts the state of a JAX program back into the model's variables.
            path = self.store.save(self.model, {**state, "metrics": logs, "history": self.history}, best)
            self._saved = time.perf_counter()
        if self._signal:
            kept = f"the state is saved in {path}" if math.isfinite(loss) else f"nothing is saved: the loss is {loss}"
            raise _checks.PreemptedError(
                f"Stopped by {self._signal} at step {self._step()}; {kept}. The same command goes on there."
            )

    def _step(self):
        step = self.params.get("step")  # `Model.fit` by itself does not count them
        return int(self.model.optimizer.iterations) if step is None else step

    def _is_best(self, value):
        seen = self._values()
        if value is None or not math.isfinite(value) or not seen:
            return value is not None and math.isfinite(value)
        return value < min(seen) if self.mode == "min" else value > max(seen)

    def _epochs_since_best(self):
        seen = self._values()
        if not seen:
            return 0
        return len(seen) - 1 - seen.index(min(seen) if self.mode == "min" else max(seen))

    def _values(self):
        values = [epoch.get(self.monitor) for epoch in self.history]
        return [value for value in values if value is not None and math.isfinite(value)]

    def _hear(self, number, frame):
        del frame
        self._signal = signal.Signals(number).name
        signal.signal(number, self._handlers[number] or signal.SIG_DFL)  # the next one is not held up
        # Not `print`: the signal may have come in the middle of one.
        os.write(2, f"\n{self._signal}: training stops after this call and saves its state.\n".encode())


def _step_of(line):
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # a line that was cut off
