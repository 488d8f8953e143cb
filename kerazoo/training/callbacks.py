"""Callbacks of a training run: its log of metrics, its checkpoints, and the end of a run that diverges."""

import json
import math
import os
import pathlib
import signal
import sys
import threading
import time
from typing import Any

import keras
import numpy as np

from kerazoo import _checks, _files
from kerazoo.training import processes
from kerazoo.training.checkpoints import ADVICE, CheckpointStore

EXPLODED = 1000.0  # a loss this many times the smallest so far has diverged
DIVERGED = "diverged.json"


class MetricsLog(keras.callbacks.Callback):
    """Appends one line of JSON for each epoch: epoch, step, seconds, learning rate, and every metric.

    `epoch` counts finished epochs from 1, and `seconds` starts with this call of `fit`. A resumed run first removes the
    lines of steps that it repeats. Numbers that are not finite become `null`. A line that cannot be written, on a full
    disk for example, is written with the next one.

    Args:
        path: string or path. The file, `metrics.jsonl` of a run directory.

    Raises:
        SetupError: if lines cannot be written by the end of training.

    Example:

    ```python
    import kerazoo as kz

    callbacks = [kz.training.MetricsLog("metrics.jsonl")]
    ```
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        self.path = pathlib.Path(path)
        self._waiting = ""  # lines that could not be written yet

    def on_train_begin(self, logs: dict | None = None):
        """Removes the lines of steps that are repeated."""
        self._waiting = ""
        self._started = time.perf_counter()
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= self.params.get("step", math.inf)]
        if kept != lines:
            _files.write_file(self.path, "".join(line + "\n" for line in kept))

    def on_epoch_end(self, epoch: int, logs: dict | None = None):
        """Appends the line of the epoch."""
        optimizer = self.model.optimizer
        rate = None if optimizer is None else float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        values = {
            "epoch": epoch + 1,
            "step": self.params.get("step"),
            "seconds": round(time.perf_counter() - self._started, 3),
            "learning_rate": rate,
            **(logs or {}),
        }
        first = not self._waiting
        self._waiting += json.dumps({name: _finite(value) for name, value in values.items()}) + "\n"
        error = self._append()
        if error and first:
            print(f"{self._message(error)} Training goes on, and the line is written later.", file=sys.stderr)

    def on_train_end(self, logs: dict | None = None):
        """Writes the lines that could not be written before."""
        error = self._append()
        if error:
            raise _checks.SetupError(self._message(error)) from error

    def _append(self):
        """Appends the lines that are waiting; returns the error if they are still waiting then."""
        if not self._waiting:
            return None
        try:
            with open(self.path, "ab", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                try:
                    file.write(self._waiting.encode())
                except OSError:
                    file.truncate(size)  # a full disk may have taken a part of it
                    raise
        except OSError as error:
            return error
        self._waiting = ""
        return None

    def _message(self, error):
        return f"{self.path}: cannot be written: {_files.reason(error, self.path, len(self._waiting))}."


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with a `DivergedError` when the loss of training or validation is not a finite number, or explodes.

    The loss of an epoch has exploded when it is 1,000 times the smallest so far, and above 1,000. What is known of the
    first step whose loss was not finite is written to `diverged.json` beside the checkpoints: its number, the smallest
    and the largest number of each array of its batch, and the numbers of its examples and of those of the step before,
    which may have spoilt the weights.

    Args:
        store: `CheckpointStore` or `None`. The message names its newest checkpoint. Defaults to `None`.

    Raises:
        DivergedError: if the loss is NaN or infinite, or has exploded.

    Example:

    ```python
    import kerazoo as kz

    callbacks = [kz.training.StopOnNonFinite()]
    ```
    """

    def __init__(self, store: CheckpointStore | None = None):
        super().__init__()
        self.store = store
        self._smallest = math.inf  # of the losses so far

    def on_train_begin(self, logs: dict | None = None):
        """Takes over the losses of a resumed run."""
        losses = [epoch.get("loss") for epoch in self.params.get("history", ())]
        self._smallest = min([loss for loss in losses if loss is not None], default=math.inf)

    def on_train_batch_end(self, batch: int, logs: dict | None = None):
        """Checks the training loss."""
        self._check(logs, ("loss",))
        self._smallest = min(self._smallest, (logs or {}).get("loss", math.inf))

    def on_epoch_end(self, epoch: int, logs: dict | None = None):
        """Checks the losses of training and validation."""
        self._check(logs, ("loss", "val_loss"))
        loss = (logs or {}).get("loss", 0.0)
        if loss > EXPLODED * max(1.0, self._smallest):
            self._stop(f"loss is {loss:.4g} at step {self.params.get('step')} and was {self._smallest:.4g} before")

    def _check(self, logs, names):
        for name in names:
            if not math.isfinite((logs or {}).get(name, 0.0)):
                failure = self.params.get("failure") or {}
                self._stop(f"{name} is {logs[name]} at step {failure.get('step', self.params.get('step'))}")

    def _stop(self, what):
        kept = self.store.last_good() if self.store else ""
        failure = self.params.get("failure")
        if self.store and failure and processes.is_first():
            path = self.store.directory / DIVERGED
            _files.write_file(path, json.dumps(failure, indent=1))
            kept += f" {path} tells about the batch."
        raise _checks.DivergedError(f"{what}: training has diverged.{kept} {ADVICE}")


class Checkpoints(keras.callbacks.Callback):
    """Saves the state of training at the end of each epoch, every few minutes, and when a signal ends the process.

    Training waits only while the variables are copied from the device. A thread writes them while the next steps run,
    and a checkpoint waits until the one before is written. An error of the thread ends training after the next block.

    On SIGTERM or SIGINT the running block is finished, the state is saved and a `PreemptedError` is raised; a second
    SIGINT interrupts at once. A state whose loss or weights are not finite is never saved. The best value and the
    epochs since then are computed from the history in the state, so a resumed run continues them.

    Args:
        store: A `CheckpointStore`.
        monitor: string or `None`. The metric whose best epoch is kept, such as `"val_loss"`. Defaults to `None`.
        mode: `"min"` or `"max"`. Which value of `monitor` is best. Defaults to `"min"`.
        minutes: float, above 0, or `None`. Minutes between two states within an epoch. Defaults to `5.0`.
        every_steps: int, above 0, or `None`. Steps between two states within an epoch. Defaults to `None`.
        patience: int. Epochs without a better value after which training stops, 0 for no limit. Defaults to `0`.
        best_from: int. The step from which on an epoch can be the best. Defaults to `0`.
        record: Dictionary of plain values that each state holds as `run`, such as the options of the run. Defaults to
            `None`.

    Raises:
        PreemptedError: if a signal stopped the process, after the state is saved.
        DivergedError: if a weight is not finite at the end of an epoch.
        SetupError: if the state cannot be written.

    Example:

    ```python
    import kerazoo as kz

    store = kz.training.CheckpointStore("checkpoints")
    callbacks = [kz.training.Checkpoints(store, monitor="val_loss", patience=3)]
    ```
    """

    def __init__(
        self,
        store: CheckpointStore,
        monitor: str | None = None,
        mode: str = "min",
        minutes: float | None = 5.0,
        every_steps: int | None = None,
        patience: int = 0,
        best_from: int = 0,
        record: dict[str, Any] | None = None,
    ):
        super().__init__()
        owner = "Checkpoints"
        self.best_from = _checks.non_negative_int(owner, "best_from", best_from)
        self.store = store
        self.monitor = monitor
        self.mode = _checks.one_of(owner, "mode", mode, ("min", "max"))
        self.minutes = minutes and _checks.number(owner, "minutes", minutes, low=0, low_open=True)
        self.every_steps = every_steps and _checks.positive_int(owner, "every_steps", every_steps)
        self.patience = _checks.non_negative_int(owner, "patience", patience)
        self.record = dict(record or {})
        self.history: list[dict[str, Any]] = []
        self._signal = None  # that this process got
        self._stopped_by = None  # the signal that any of the processes got, which all of them obey
        self._handlers = {}

    def on_train_begin(self, logs: dict | None = None):
        """Takes over the history of a resumed run, and handles the signals."""
        self.history = list(self.params.get("history", ()))
        self._saved = time.perf_counter()
        self._signal = None
        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._on_signal)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None):
        """Keeps the index of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None):
        """Saves if it is time to, except at the end of an epoch, where `on_epoch_end` saves."""
        self.store.check()
        if batch + 1 == self.params.get("steps"):
            return
        due = self._agree(bool(self.minutes and time.perf_counter() - self._saved >= 60 * self.minutes))
        if self._stopped_by or due or (self.every_steps and self._step() % self.every_steps == 0):
            self._save(logs, self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None):
        """Saves, keeps the best epoch, and stops training when `patience` is used up."""
        logs = logs or {}
        self._agree()
        best = self._is_best(logs.get(self.monitor))
        self.history.append({"epoch": epoch + 1, "step": self._step(), **logs})
        self._save(logs, epoch + 1, 0, best)
        if self.stops_early(self.history):
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None):
        """Waits for the last checkpoint, and restores the signal handlers."""
        self.store.wait()
        self.on_train_interrupted()

    def on_train_interrupted(self):
        """Waits for the checkpoint that is being written, and restores the signal handlers."""
        self.store.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def stops_early(self, history: list[dict[str, Any]]) -> bool:
        """Returns whether `patience` is used up after the epochs of `history`."""
        values = self._values(history)
        if not self.patience or not values:
            return False
        best = min(values) if self.mode == "min" else max(values)
        return len(values) - 1 - values.index(best) >= self.patience

    def _save(self, logs, epoch, position, best=False):
        loss = (logs or {}).get("loss", 0.0)
        started, problem = False, f"the loss is {loss}"
        if math.isfinite(loss):
            state = {"step": self._step(), "epoch": epoch, "position": position, "run": self.record}
            if self.params.get("skip"):
                state["skip"] = self.params["skip"]
            if position:  # the logs of the whole epoch go on from there
                metrics = self.model.metrics_variables
                state["metric_values"] = [keras.ops.convert_to_numpy(variable).tolist() for variable in metrics]
            try:
                snapshot = self.store.snapshot(self.model, {**state, "metrics": logs, "history": self.history}, best)
                self.store.start(snapshot)
                self._saved = time.perf_counter()
                started = True
            except _checks.DivergedError as error:
                if not self._stopped_by:
                    raise
                problem = str(error)
        if self._stopped_by:
            kept = f"the state is saved in {self.store.wait()}" if started else f"nothing is saved: {problem}"
            raise _checks.PreemptedError(
                f"Stopped by {self._stopped_by} at step {self._step()}; {kept}. The same command continues there."
            )

    def _agree(self, due=False):
        """Takes over a signal that any of the processes got; returns whether a state is due in any of them."""
        found = processes.gather((self._signal, due))
        self._stopped_by = next((name for name, _ in found if name), None)
        return any(due for _, due in found)

    def _step(self):
        step = self.params.get("step")  # `Model.fit` does not count steps over all epochs
        return int(self.model.optimizer.iterations) if step is None else step

    def _is_best(self, value):
        values = self._values(self.history)
        if self._step() < self.best_from:
            return False
        if value is None or not math.isfinite(value) or not values:
            return value is not None and math.isfinite(value)
        return value < min(values) if self.mode == "min" else value > max(values)

    def _values(self, history):
        values = [epoch.get(self.monitor or "") for epoch in history if epoch.get("step", 0) >= self.best_from]
        return [value for value in values if value is not None and math.isfinite(value)]

    def _on_signal(self, number, frame):
        del frame
        self._signal = signal.Signals(number).name
        signal.signal(number, self._handlers[number] or signal.SIG_DFL)  # the next signal acts at once
        # Not `print`: the signal may have interrupted one.
        os.write(2, f"\n{self._signal}: training stops after this block and saves its state.\n".encode())


def _step_of(line):
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # an incomplete line


def _finite(value):
    """Returns a value of the logs as JSON has it: arrays as lists, and None for numbers that are not finite."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
