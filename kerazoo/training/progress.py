"""A line of progress: epoch, step, metrics, speed and the time that is left."""

import collections
import itertools
import math
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

import keras

WINDOW = 15.0  # seconds over which the speed is computed
BARS = "▁▂▃▄▅▆▇█"
CURVE = 24  # characters of the curve of the loss


class Progress(keras.callbacks.Callback):
    """Prints epoch, step, loss, metrics, speed and remaining time to standard error.

    A terminal shows one line that is overwritten, which ends with the curve of the loss so far where it has room;
    another stream gets a line about every `seconds`, and one at the beginning if the first program takes longer than
    that to compile: minutes on some devices. Each epoch ends with a line of its results, validation included. The speed
    counts tokens without padding if there are any, else examples, else steps, over the last blocks of the epoch. Blocks
    that compile are left out, with their steps.

    Args:
        stream: File object to write to. Defaults to `sys.stderr`.
        seconds: float of at least 0. Seconds between two lines on a stream that is not a terminal. Defaults to `10.0`.

    Example:

    ```python
    import kerazoo as kz

    callbacks = [kz.training.Progress()]
    ```
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = 10.0):
        super().__init__()
        self.stream = stream or sys.stderr
        self.seconds = seconds
        self.terminal = bool(getattr(self.stream, "isatty", lambda: False)())
        self._blocks: collections.deque[tuple[float, dict]] = collections.deque()  # seconds and counts of each block
        self._last: tuple[float, float, dict] = (0.0, 0.0, {})  # time, compile seconds and totals after a block
        self._open = False  # whether the last line is not finished
        self._last_line = time.perf_counter()
        self._validation = 0.0  # seconds of the last validation
        self._step_time = 0.0
        self._losses: list[float] = []  # since the training began
        self._compiling: threading.Timer | None = None

    def on_train_begin(self, logs: dict | None = None):
        """Prints that the first program is being compiled; on a stream once that has taken `seconds`."""
        line = f"{self._epoch(self.params.get('epoch', 0))}  compiling"
        if self.terminal:
            self._write(line, stay=False)
        elif self.seconds:
            self._compiling = threading.Timer(self.seconds, self._write, (line, True))
            self._compiling.daemon = True
            self._compiling.start()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None):
        """Starts the clock of the epoch."""
        self._started = time.perf_counter()
        self._index = epoch
        self._blocks.clear()
        counts = self._totals(self.params.get("position") or 0)
        self._last = self._started, self.params.get("compile_seconds", 0.0), counts

    def on_train_batch_end(self, batch: int, logs: dict | None = None):
        """Prints the progress of the epoch."""
        self._end_compiling()
        self._count(time.perf_counter(), self.params.get("compile_seconds", 0.0), self._totals(batch + 1))
        if logs and math.isfinite(loss := float(logs.get("loss", math.nan))):
            self._losses.append(loss)
        if self.terminal or time.perf_counter() - self._last_line >= self.seconds:
            total = self.params.get("steps")
            steps = f"step {batch + 1:,}" + (f"/{total:,}" if total else "")
            parts = [self._epoch(self._index), steps, *_figures(logs), *self._speed(), *self._left(batch + 1)]
            self._write("  ".join(parts), stay=not self.terminal)
            self._last_line = time.perf_counter()

    def on_test_begin(self, logs: dict | None = None):
        """Starts the clock of the validation."""
        self._testing = self._clock()

    def on_test_end(self, logs: dict | None = None):
        """Stores how long the validation took."""
        self._validation = self._clock() - self._testing

    def on_epoch_end(self, epoch: int, logs: dict | None = None):
        """Prints the results of the epoch."""
        took = duration(time.perf_counter() - self._started)
        self._write("  ".join([self._epoch(epoch), *_figures(logs), *self._speed(), took]), stay=True)
        self._last_line = time.perf_counter()

    def on_train_end(self, logs: dict | None = None):
        """Ends the line."""
        self.on_train_interrupted()

    def on_train_interrupted(self):
        """Ends the line, so that the next message starts a new one."""
        self._end_compiling()
        if self._open:
            self.stream.write("\n")
            self.stream.flush()
            self._open = False

    def _end_compiling(self):
        if self._compiling is not None:
            self._compiling.cancel()
            self._compiling = None

    def _clock(self):
        # Without the blocks that compile, which tell nothing about the steps to come.
        return time.perf_counter() - self.params.get("compile_seconds", 0.0)

    def _epoch(self, epoch):
        return f"epoch {epoch + 1}/{self.params.get('epochs', '?')}"

    def _totals(self, steps):
        return {name: self.params.get(name) or 0 for name in ("tokens", "examples")} | {"steps": steps}

    def _count(self, now, compiling, counts):
        """Stores the time and the counts of the last block, unless it compiled: that tells nothing about later ones."""
        if self._last[1] == compiling:
            self._blocks.append((now - self._last[0], {name: n - self._last[2][name] for name, n in counts.items()}))
        self._last = now, compiling, counts
        while len(self._blocks) > 1 and sum(seconds for seconds, _ in self._blocks) > WINDOW:
            self._blocks.popleft()

    def _speed(self):
        if not self._blocks:
            return []
        elapsed = max(sum(seconds for seconds, _ in self._blocks), 1e-9)
        counts = {name: sum(each[name] for _, each in self._blocks) for name in ("tokens", "examples", "steps")}
        self._step_time = elapsed / max(counts["steps"], 1)
        return next(([f"{name}/s {_rate(count / elapsed)}"] for name, count in counts.items() if count), [])

    def _left(self, steps):
        total, epochs = self.params.get("steps"), self.params.get("epochs")
        if not (total and epochs and self._step_time):
            return []
        epochs_after = epochs - self._index - 1
        seconds = (total - steps + epochs_after * total) * self._step_time + (epochs_after + 1) * self._validation
        return [f"{duration(seconds)} left"]

    def _curve(self):
        """Returns the curve of the loss, empty where the terminal cannot write it."""
        try:
            BARS.encode(getattr(self.stream, "encoding", None) or "ascii")
        except (UnicodeEncodeError, LookupError):
            return ""
        return sparkline(self._losses)

    def _write(self, line, stay):
        if self.terminal:
            width = shutil.get_terminal_size().columns
            curve = self._curve()
            if curve and not stay and len(line) + 2 + len(curve) < width:
                line = f"{line}  {curve}"
            self.stream.write("\r\x1b[K" + (line if stay else line[: width - 1]))
        else:
            self.stream.write(line)
        if stay:
            self.stream.write("\n")
        self.stream.flush()
        self._open = not stay


def sparkline(values: Sequence[float], width: int = CURVE) -> str:
    """Returns numbers as a line of bars from the smallest to the largest, the mean of neighbours where they are many.

    Args:
        values: sequence of finite floats.
        width: int, above 0. The largest number of bars. Defaults to `24`.
    """
    if len(values) < 2:
        return ""
    count = min(width, len(values))
    edges = [index * len(values) // count for index in range(count + 1)]
    means = [sum(values[begin:end]) / (end - begin) for begin, end in itertools.pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int(len(BARS) * (mean - low) / span))] for mean in means)


def duration(seconds: float) -> str:
    """Returns a number of seconds as text: `0.04 s`, `8.1 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 0.95:
        return f"{seconds:.1g} s"
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


def _rate(value):
    """Returns a number with at least three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _number(value):
    if getattr(value, "ndim", 0):
        return "[" + ", ".join(_number(each) for each in value) + "]"
    return f"{value:.4g}"
