"""What selects the best epoch of a run: a metric of the validation, or a measure of predictions for a part of dev."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from kerazoo import _checks
from kerazoo.run.predictor import Predictor
from kerazoo.training import distribution, processes

if TYPE_CHECKING:
    from kerazoo.run.options import TrainingOptions
    from kerazoo.tasks import Task

LOWER = ("loss", "perplexity")  # metrics of a validation of which a lower value is better


class Monitor(NamedTuple):
    """What selects the best epoch.

    Args:
        metric: string. Its name in the logs, such as `"val_bleu"`.
        mode: string. `"min"` or `"max"`.
        measures: tuple of strings. The measures that are computed of predictions at the end of each epoch.
    """

    metric: str
    mode: str
    measures: tuple[str, ...] = ()


def choose(task: "Task", options: "TrainingOptions") -> Monitor:
    """Returns what selects the best epoch of a run.

    Args:
        task: `kerazoo.tasks.Task`.
        options: `TrainingOptions`, of which `monitor` and `metrics` count.

    Raises:
        ValueError: if there is no such metric or measure, or it has no best value or needs no predictions.
        SetupError: if the package of a measure is missing.
    """
    target = task.targets
    if options.metrics:
        target.chosen_measures(options.metrics)
    name = options.monitor.removeprefix("val_")
    if not name or f"val_{name}" == task.monitor[0]:
        return Monitor(*task.monitor)
    if name in ("loss", *(metric.name for metric in task.metrics())):
        return Monitor(f"val_{name}", "min" if name in LOWER else "max")
    row = target.chosen_measures([name])[0]
    if target.evaluated_by_loss or row.higher_is_better is None:
        metrics = ", ".join(["loss", *(metric.name for metric in task.metrics())])
        raise ValueError(
            f"{task.owner}: `monitor` must be a measure of predictions that has a best value, or one of {metrics}; got "
            f"monitor={options.monitor!r}."
        )
    names = tuple(dict.fromkeys([name, *options.metrics]))
    return Monitor(f"val_{name}", "max" if row.higher_is_better else "min", names)


class PredictDev(keras.callbacks.Callback):
    """Adds measures of predictions for a part of the dev examples to the logs of each epoch, as `val_NAME`.

    It comes before the callbacks that read the logs, and before those that exchange the weights. The predictions are
    those of a greedy search.

    Args:
        task: `kerazoo.tasks.Task`.
        measures: list of strings. Names of `kerazoo.tasks.MEASURES`.
        limit: int. The largest number of examples, spread over the dev examples; 0 for all.
        copy: function that returns a new model, which predicts with the weights of a model on several devices.
            Defaults to `None`: the model itself predicts.
    """

    def __init__(self, task: "Task", measures: Sequence[str], limit: int, copy: Callable[[], Any] | None = None):
        super().__init__()
        self.copy = copy
        self.task = task
        self.measures = tuple(measures)
        self.limit = _checks.non_negative_int("PredictDev", "limit", limit)

    def on_train_begin(self, logs: dict | None = None):
        """Reads the examples."""
        limit = self.limit or None
        self._raw, self._references, self._groups = self.task.scaled_examples("dev", limit)
        self._copied = None if self.copy is None else self.copy()

    def on_test_end(self, logs: dict | None = None):
        """Predicts the examples with the weights that were validated."""
        model = self.model
        if self._copied is not None:
            for variable, trained in zip(self._copied.variables, model.variables, strict=True):
                variable.assign(processes.to_host(trained.value))
            model = self._copied
        with distribution.one_device():
            predictions = Predictor(model, self.task)(self._raw)
        found = self.task.evaluate(predictions, self._references, self.measures, self._groups)
        self._found = {f"val_{name}": value for name, value in found.items()}

    def on_epoch_end(self, epoch: int, logs: dict | None = None):
        """Adds the measures to the logs."""
        if logs is not None:
            logs.update(self._found)
