"""Anomalies: examples that an autoencoder reconstructs worse than nearly all dev examples."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from kerazoo import _checks, _files

if TYPE_CHECKING:
    from kerazoo.run.directory import RunDirectory
    from kerazoo.run.predictor import Predictor
    from kerazoo.tasks import Task

QUANTILE = 0.99  # of the errors of dev examples, above which an example is an anomaly
LEVELS = 1001  # quantiles that are saved
ERROR = "mean_squared_error"


@dataclasses.dataclass(frozen=True)
class DevErrors:
    """The errors of the dev examples of a run, from which a threshold is chosen.

    Args:
        examples: int. The number of dev examples.
        quantiles: tuple of floats. The quantiles of their errors at levels from 0 to 1 in equal steps.
    """

    examples: int
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, errors: np.ndarray) -> "DevErrors":
        """Returns the quantiles of errors `[N]`."""
        return cls(len(errors), tuple(np.quantile(errors, np.linspace(0, 1, LEVELS)).tolist()))

    def threshold(self, quantile: float | None = None) -> float:
        """Returns the error that a share `quantile`, 0.99 unless given, of the dev examples does not exceed."""
        quantile = QUANTILE if quantile is None else quantile
        _checks.number("threshold", "quantile", quantile, low=0, high=1)
        return float(np.interp(quantile, np.linspace(0, 1, len(self.quantiles)), self.quantiles))


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder makes of an example.

    Args:
        value: array. The reconstruction, in the units of the data.
        error: float. Its mean squared error, of scaled numbers or of pixels in [0, 1].
        is_anomaly: bool. Whether the error is above the threshold. Defaults to `None`: there is none.
    """

    value: Any
    error: float
    is_anomaly: bool | None = None


def errors(task: "Task", raw: Sequence, predictions: Sequence) -> np.ndarray:
    """Returns the mean squared error of each reconstruction, float64 `[N]`."""
    if not len(raw):
        return np.zeros(0)
    references = [[target] for target in task.targets.references(raw)]
    return task.targets.statistics(predictions, references, [ERROR])[ERROR]


def save(run: "RunDirectory", found: DevErrors) -> None:
    """Writes the errors of the dev examples into the folder of the run."""
    _files.write_record(run.dev_errors, dataclasses.asdict(found))


def load(run: "RunDirectory") -> DevErrors | None:
    """Returns the errors of the dev examples of a run, `None` if there are none.

    Raises:
        CheckpointError: if the file is damaged.
    """
    if not run.dev_errors.exists():
        return None
    try:
        found = _files.read_record(run.dev_errors)
        quantiles = np.array(found["quantiles"], np.float64)
        if quantiles.ndim != 1 or len(quantiles) < 2 or not (np.diff(quantiles) >= 0).all():
            raise ValueError("'quantiles' must be ascending numbers")
        return DevErrors(int(found["examples"]), tuple(quantiles.tolist()))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _checks.CheckpointError(
            f"{run.dev_errors}: cannot be read: {error}. Remove it, and run the training again to write it anew."
        ) from error


class FileWindows(NamedTuple):
    """The windows of a file of series.

    Args:
        rows: `kerazoo.data.DatedSeries`. All rows of the file.
        names: list of strings. The names of the variables.
        spans: list of pairs of ints. The first row of each window and the one after its last.
        windows: list of float arrays `[length, V]`.
    """

    rows: Any
    names: list[str]
    spans: list[tuple[int, int]]
    windows: list[np.ndarray]


def windows_of_file(predictor: "Predictor", path: str | os.PathLike) -> FileWindows:
    """Returns the windows of a file, from its first rows to its last ones, with the stride of the training.

    Args:
        predictor: `Predictor` of an autoencoder of series.
        path: string or path. A file with the columns of the training data.

    Raises:
        DataError: if the file cannot be read or has fewer rows than a window.
    """
    feature = cast(Any, predictor.task.inputs[0])
    rows = feature.read_rows(os.fspath(path))
    length, count = feature.shape[0], len(rows.numbers)
    if count < length:
        raise _checks.DataError(f"{path}: {count} rows hold no window of {length} rows. Give more rows.")
    starts = list(range(0, count - length + 1, int(predictor.task.options.get("stride", 1))))
    starts += [count - length] if starts[-1] < count - length else []  # no row at the end is left out
    spans = [(start, start + length) for start in starts]
    return FileWindows(rows, feature.state["names"], spans, [rows.numbers[first:end] for first, end in spans])


def window_table(found: FileWindows, reconstructions: Sequence[Reconstruction]) -> list[list[str]]:
    """Returns the windows of a file as a table of text: their lines in the file, the error, and 1 for an anomaly.

    Args:
        found: `FileWindows`.
        reconstructions: list of `Reconstruction`, one for each window.
    """
    table = [["first_line", "last_line", "error", "is_anomaly"]]
    for (first, end), each in zip(found.spans, reconstructions):
        lines = map(str, (found.rows.lines[first], found.rows.lines[end - 1]))
        table.append([*lines, f"{each.error:.6g}", "" if each.is_anomaly is None else str(int(each.is_anomaly))])
    return table


def detection(found: np.ndarray, is_anomaly: np.ndarray, threshold: float | None) -> dict[str, float]:
    """Returns how well errors tell anomalies: `auroc`, and with a threshold `precision`, `recall` and `f1` above it.

    The area under the ROC curve is the probability that an anomaly has a larger error than a normal example, equal
    errors counting one half; it does not depend on the threshold.

    Args:
        found: float array `[N]`. The errors.
        is_anomaly: bool array `[N]`, with both values.
        threshold: float or `None`.
    """
    anomalies, normal = found[is_anomaly], np.sort(found[~is_anomaly])
    below = np.searchsorted(normal, anomalies, "left") + np.searchsorted(normal, anomalies, "right")
    auroc = float(below.mean() / (2 * len(normal)))
    if threshold is None:
        return {"auroc": auroc}
    marked = found > threshold
    hits = int(np.count_nonzero(marked & is_anomaly))
    precision, recall = hits / max(int(marked.sum()), 1), hits / len(anomalies)
    f1 = 2 * hits / (int(marked.sum()) + len(anomalies))
    return {"auroc": auroc, "precision": precision, "recall": recall, "f1": f1}


def summarize(
    found: np.ndarray, dev_errors: DevErrors | None, quantile: float | None, kinds: Sequence[Sequence[str]] = ()
) -> tuple[dict[str, float], dict[str, Any]]:
    """Returns measures of anomalies, and what a report needs of them.

    Args:
        found: float array `[N]`. The errors of the examples.
        dev_errors: `DevErrors` or `None`.
        quantile: float or `None`. The quantile of them that is the threshold, 0.99 unless given.
        kinds: list of lists. For each example the values that make it an anomaly. Defaults to `()`: they are not
            given.

    Raises:
        ValueError: if all examples are anomalies, or none is.
    """
    quantile = QUANTILE if quantile is None else quantile
    threshold = None if dev_errors is None else dev_errors.threshold(quantile)
    metrics, details = {}, {}
    if dev_errors is not None and threshold is not None:
        marked = found > threshold
        metrics["anomaly_share"] = float(marked.mean())
        details = {"threshold": threshold, "quantile": quantile, "dev_examples": dev_errors.examples,
                   "marked": int(marked.sum())}  # fmt: skip
    if len(kinds):
        is_anomaly = np.array([bool(each) for each in kinds])
        if is_anomaly.all() or not is_anomaly.any():
            raise ValueError(
                f"evaluate: `anomalies` must be some of the examples; {'all' if is_anomaly.any() else 'none'} of "
                f"{len(kinds):,} are. Give a column and a value that other examples lack."
            )
        metrics |= detection(found, is_anomaly, threshold)
        details["kinds"] = {"all": {"examples": int(is_anomaly.sum()), **detection(found, is_anomaly, threshold)}}
        names = sorted({name for each in kinds for name in each})
        for name in names if len(names) > 1 else ():
            of_kind = np.array([name in each for each in kinds])
            chosen = of_kind | ~is_anomaly
            rows = detection(found[chosen], of_kind[chosen], threshold)
            details["kinds"][name] = {"examples": int(of_kind.sum()), **rows}
    return metrics, details
