"""The task `forecast`: windows of dated series to the rows that follow them."""

import os
from collections.abc import Sequence

from kerazoo import _checks
from kerazoo.data import ForecastSource
from kerazoo.tasks.future_feature import FutureFeature
from kerazoo.tasks.series_feature import SeriesFeature
from kerazoo.tasks.task import Task


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    columns: str | Sequence[str] | None = None,
    window: int = 336,
    horizon: int = 96,
    stride: int = 1,
    splits: str | None = None,
    quantiles: str | Sequence[float] | None = None,
    loss: str = "mean_squared_error",
    season: int | None = None,
    date_column: str | None = None,
    gaps: str = "refuse",
    decimal: str = ".",
    delimiter: str | None = None,
    quote: str | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    bad_lines: str = "stop",
) -> Task:
    """Returns the task `forecast`: windows of one or more dated series to the rows that follow them.

    A file is a CSV or TSV with a header, one row for each step of time. Columns of numbers are the variables, all of
    which are read and predicted. A column of dates in ISO form (2024-03-31, 2024-03, 2024-03-31 18:30) is recognised;
    the rows must then be in equal steps of time. Each file is a series of its own, of any length: a pattern, or names
    with commas between them, give several. All columns are scaled to mean 0 and standard deviation 1 by the numbers of
    the training rows alone, and errors are measured so; every window of dev and test counts. Several files have a scale
    and a season each, and are trained by models that normalize their windows.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. A CSV or TSV file with a header, plain or .gz; a pattern; several with commas and weights,
            `"a.csv@20,b.csv"`, so that short series count as much as long ones; a folder with `train.csv` and
            optionally `dev.csv` and `test.csv`; or a folder of series, each in a file of its own. Required. Defaults
            to `None`, which raises an error.
        columns: string. The names of the columns of numbers, separated by commas. Defaults to all that hold numbers; if
            each file has one, its name may differ from file to file.
        window: int. The rows that the model reads. Defaults to `336`.
        horizon: int. The rows after a window that are predicted. Defaults to `96`.
        stride: int. The rows from one training window to the next. Defaults to `1`.
        splits: string. Three numbers with commas between them, the fractions or the rows of train, dev and test, in
            this order; or the first dates of dev and of test, and the one after test. Defaults to `0.7,0.15,0.15`.
        quantiles: string. The quantiles that are predicted, such as `0.1,0.5,0.9`. Defaults to `None`: one number.
        loss: string. `"mean_squared_error"` or `"mean_absolute_error"`, without quantiles. Defaults to
            `"mean_squared_error"`.
        season: int. The rows of a season, for the seasonal naive forecast. Defaults to `None`: found by the
            autocorrelation of the training rows.
        date_column: string. The column of dates; empty for none. Defaults to `None`: it is recognised.
        gaps: string. `"refuse"` an empty value or a missing row, or `"interpolate"` it. Defaults to `"refuse"`.
        decimal: string. The decimal point of numbers, `"."` or `","`. Defaults to `"."`.
        delimiter: string. The character between columns, as for `table`. Defaults to `None`.
        quote: string. The character around values, as for `table`. Defaults to `None`.
        dev_data: string. A file or pattern of the dev rows, where they are not found by name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        bad_lines: string. `"stop"` at a row that cannot be read, or `"skip"` it and count. Defaults to `"stop"`.
    """
    owner = f"task {name}"
    if data_dir is None:
        raise ValueError(f"{owner}: needs `data_dir`, a CSV file with a header; got data_dir=None.")
    sizes = {
        "window": _checks.positive_int(owner, "window", window),
        "horizon": _checks.positive_int(owner, "horizon", horizon),
        "stride": _checks.positive_int(owner, "stride", stride),
    }
    levels = _levels(owner, quantiles)
    reading = {
        "columns": ",".join(columns) if isinstance(columns, list | tuple) else columns,
        "splits": _joined(splits),
        "season": season,
        "date_column": date_column,
        "gaps": gaps,
        "decimal": decimal,
        "delimiter": delimiter,
        "quote": quote,
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "bad_lines": bad_lines,
    }
    options = {"data_dir": str(data_dir), **sizes, "quantiles": _joined(quantiles), "loss": loss, **reading}
    source = ForecastSource(data_dir, length=window, horizon=horizon, stride=stride, **reading)
    read = SeriesFeature("window", length=window)
    future = FutureFeature("future", scaled_by=read, length=horizon, quantiles=levels, loss=loss)
    return Task(source, (read,), future, name, kind or "", options, bad_lines)


def _levels(owner, quantiles):
    """Returns quantiles as floats, from a list or from text with commas."""
    if quantiles is None or not isinstance(quantiles, str):
        return _checks.quantiles(owner, "quantiles", quantiles)
    try:
        return _checks.quantiles(owner, "quantiles", [float(part) for part in quantiles.split(",")])
    except ValueError as error:
        raise ValueError(
            f"{owner}: `quantiles` must be ascending numbers in (0, 1) with commas between them; got "
            f"quantiles={quantiles!r}."
        ) from error


def _joined(values):
    return values if values is None or isinstance(values, str) else ",".join(map(str, values))
