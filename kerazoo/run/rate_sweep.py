"""The learning rate that a short sweep over growing rates finds."""

import collections
import csv
import io
import math
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerazoo import _checks, _files
from kerazoo.run import pictures

if TYPE_CHECKING:
    from kerazoo.run.directory import RunDirectory

LOW, HIGH = 1e-6, 10.0  # the rates of the first and of the last update
UPDATES = 100
SMOOTHING = 0.9  # momentum of the average of the losses
DIVERGED = 4.0  # the sweep ends when the loss is this many times the smallest


class GrowingRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a sweep: it grows exponentially from `LOW` in step 0 to `HIGH` in step `steps - 1`."""

    def __init__(self, steps: int):
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        share = keras.ops.cast(step, "float32") / max(1, self.steps - 1)
        return LOW * keras.ops.power(HIGH / LOW, share)

    def get_config(self) -> dict[str, Any]:
        return {"steps": self.steps}


class _Losses(keras.callbacks.Callback):
    """Keeps rate and loss of each step, and ends training when the loss grows."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.rows: list[tuple[float, float, float]] = []  # rate, loss and smoothed loss
        self._average = 0.0

    def on_train_batch_begin(self, batch, logs=None):
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.model.reset_metrics()  # the loss in the logs is that of this step alone

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {})["loss"]
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * loss
        smoothed = self._average / (1 - SMOOTHING ** (len(self.rows) + 1))
        if math.isfinite(smoothed):
            self.rows.append((self._rate, loss, smoothed))
        smallest = min((row[2] for row in self.rows), default=smoothed)
        grown = smoothed - smallest > (DIVERGED - 1) * abs(smallest)
        if not math.isfinite(smoothed) or grown or len(self.rows) >= self.steps:
            self.model.stop_training = True


def sweep(model: keras.Model, compile_with: Callable, steps: int, steps_per_epoch: int, **arguments) -> list[tuple]:
    """Trains a model with a growing learning rate, and leaves its weights as they were.

    Args:
        model: A built `keras.Model`. It stays compiled with the growing rate.
        compile_with: function of a learning rate schedule that compiles the model with it.
        steps: int. The number of batches at most.
        steps_per_epoch: int. The number of batches of an epoch.
        **arguments: those of `kerazoo.training.fit`, the data above all.

    Returns:
        List of rate, loss and smoothed loss of each step.

    Raises:
        DivergedError: if the loss of the first step is not finite.

    Reference:
        Smith (2015), Cyclical Learning Rates for Training Neural Networks, section 3.3, arXiv:1506.01186.
    """
    from kerazoo.training import fit, variables

    losses = _Losses(steps)
    with variables.unchanged(model):
        compile_with(GrowingRate(steps))
        epochs = math.ceil(steps / max(1, steps_per_epoch))
        fit(model, epochs=epochs, callbacks=[losses], steps_per_execution=1, **arguments)
    if not losses.rows:
        raise _checks.DivergedError("the loss of the first step is not finite: no learning rate can be found.")
    return losses.rows


def commonest_shape(plan: Any) -> Any:
    """Returns a plan of the batches of one shape, that of most batches, so that the sweep compiles one program.

    Args:
        plan: `kerazoo.data.Plan`.
    """

    def shape(batch):
        return batch.shape_index, len(batch.rows)

    ((commonest, count),) = collections.Counter(map(shape, plan.epoch(0))).most_common(1)

    def epoch(number):
        return [batch for batch in plan.epoch(number) if shape(batch) == commonest]

    return types.SimpleNamespace(shapes=plan.shapes, steps=count, epoch=epoch)


def choose(rows: list[tuple]) -> float:
    """Returns a tenth of the rate at which the smoothed loss is smallest, with two digits."""
    rate = rows[int(np.argmin([smoothed for _, _, smoothed in rows]))][0] / 10
    return float(f"{rate:.1e}")


def write(run: "RunDirectory", rows: list[tuple], chosen: float) -> None:
    """Writes `learning-rate.csv` into a run, and its picture if matplotlib is installed."""
    content = io.StringIO()
    table = csv.writer(content, lineterminator="\n")
    table.writerow(["learning_rate", "loss", "smoothed_loss"])
    table.writerows([f"{value:.6g}" for value in row] for row in rows)
    _files.write_file(run.path / "learning-rate.csv", content.getvalue())
    picture = pictures.draw_rates(rows, chosen)
    if picture:
        _files.write_file(run.path / "pictures" / "learning-rate.png", picture)
