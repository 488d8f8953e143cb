"""Windows of dated series of numbers and the rows that follow them, split by time."""

import copy
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks
from kerazoo.data.dates import RULE, Dates, fill_gaps, in_words, is_date, is_year, looks_like_date, read_dates
from kerazoo.data.file_source import Part
from kerazoo.data.formats import TableFormat, first_rows, header_names, parse_file
from kerazoo.data.lines import STDIN, BadLines, Path, list_names, read_lines, shorten
from kerazoo.data.plain_numbers import is_missing, parse_number
from kerazoo.data.seasons import find_season, naive_error
from kerazoo.data.series_source import FILE, LARGEST, SeriesSource
from kerazoo.data.splits import split_range

GAPS = ("refuse", "interpolate")
DECIMALS = (".", ",")
VALUE = "value"  # the name of the only column of numbers of files that call it differently
YEARS = ("year", "years", "date")  # names of columns whose numbers of four digits are dates


class DatedSeries(NamedTuple):
    """A series without gaps.

    Args:
        lines: int `[rows]`. The line of each row; of an interpolated one that of the row before.
        numbers: float64 `[rows, V]`.
        dates: `Dates` of the rows that were read, or `None` where the file has none.
    """

    lines: np.ndarray
    numbers: np.ndarray
    dates: Dates | None


class ForecastSource(SeriesSource):
    """Windows of consecutive rows of dated series, and the rows that follow them.

    The columns are `window`, float64 `[N, length, V]`, `future`, float64 `[N, horizon, V]`, and `file`, the name of the
    file in a tuple. Each file is a series; no window crosses files. Train, dev and test are consecutive parts of each
    file in time. The rows that are predicted lie in the part itself, and the windows of dev and test look back into the
    rows before it.

    A column of dates in ISO form is recognised. The rows must then be in equal steps of time, days, hours or calendar
    months for example; missing rows and values are refused or interpolated.

    Args:
        data_dir: string or path, see `SeriesSource`. Files and patterns may have weights, as in `"a.csv@20,b.csv"`: so
            often is each of their training windows in an epoch.
        columns: list of strings, or one string with commas. Names of the columns of numbers. `None` means all that hold
            numbers; if each file has one, it may have another name in each, and is called `value`. Defaults to `None`.
        length: integer above 0. Rows of a window. Defaults to `336`.
        horizon: integer above 0. Rows that follow. Defaults to `96`.
        stride: integer above 0. Rows from one training window to the next; those of dev and test are all there.
            Defaults to `1`.
        splits: string of three numbers or of two or three dates with commas between them. Numbers up to 1 are the
            fractions of train, dev and test, larger ones their rows; dates are the first ones of dev, of test, and
            after test. Rows that are left over are not used. Defaults to `None`: 0.7, 0.15 and 0.15.
        date_column: string. The name of the column of dates; empty for none. Defaults to `None`: the first column whose
            first value is a date.
        gaps: string. `"refuse"` raises an error at a missing value or row, `"interpolate"` fills both on the line
            between the neighbours. Defaults to `"refuse"`.
        decimal: string, `"."` or `","`. The decimal point of numbers. Defaults to `"."`.
        season: integer above 0. Rows of a season, of the seasonal naive forecast. Defaults to `None`: found by the
            autocorrelation of the training rows.
        delimiter, quote, dev_data, test_data, bad_lines: as for `SeriesSource`.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: if a size is not an integer.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "sales.csv"
    months = [f"{1990 + i // 12}-{i % 12 + 1:02d}" for i in range(100)]
    path.write_text("month,sales\\n" + "".join(f"{month},{i % 12}\\n" for i, month in enumerate(months)))
    source = kz.data.ForecastSource(path, length=12, horizon=3)
    print(source.describe_series("future")["season"], next(source.chunks("test")).columns["future"].shape)
    ```
    """

    has_weights = True

    def __init__(
        self,
        data_dir: str | os.PathLike,
        columns: Sequence[str] | str | None = None,
        *,
        length: int = 336,
        horizon: int = 96,
        stride: int = 1,
        splits: str | None = None,
        date_column: str | None = None,
        gaps: str = "refuse",
        decimal: str = ".",
        season: int | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        dev_data: str | os.PathLike | None = None,
        test_data: str | os.PathLike | None = None,
        bad_lines: str = "stop",
    ):
        super().__init__(
            data_dir,
            columns,
            length=length,
            stride=stride,
            horizon=_checks.positive_int("ForecastSource", "horizon", horizon),
            delimiter=delimiter,
            quote=quote,
            dev_data=dev_data,
            test_data=test_data,
            bad_lines=bad_lines,
        )
        self.columns, self.row_columns = (*self.columns, FILE), (FILE,)
        self.split_dates, self.split_sizes = ([], []) if splits is None else _parse_splits(splits)
        self.season = None if season is None else _checks.positive_int("ForecastSource", "season", season)
        self.reading = {
            "date_column": date_column,
            "gaps": _checks.one_of("ForecastSource", "gaps", gaps, GAPS),
            "decimal": _checks.one_of("ForecastSource", "decimal", decimal, DECIMALS),
            "delimiter": delimiter,
            "quote": quote,
        }

    @property
    def settings(self) -> list:
        """Plain values that decide what is read from the files."""
        return [*super().settings, self.split_dates, self.split_sizes, list(self.reading.values())]

    def with_columns(self, columns: Sequence[str]) -> SeriesSource:
        """Returns the source, whose chunks have the column `file`, the name of the file of each window.

        Raises:
            ValueError: if another column is chosen.
        """
        for name in columns:
            if name not in self.columns:
                raise ValueError(f"ForecastSource: examples are grouped by the column 'file' alone; got {name!r}.")
        return self

    def parts(self, split: str) -> list[Part]:
        """Returns the `Part`s that a split is read from.

        Raises:
            DataError: if one is standard input, which can be read only once.
        """
        parts = super().parts(split)
        if any(STDIN in part.paths for part in parts):
            raise _checks.DataError("-: a series that is forecast comes from a file, for it is read several times.")
        return parts

    def column_names(self) -> list[str]:
        """Returns the names of the columns of numbers; reads the first lines of the files if they were not given."""
        if self.numeric is not None:
            return list(self.numeric)
        date, decimal = self.reading["date_column"], self.reading["decimal"]
        paths = [path for part in self.parts("train") for path in part.paths]
        names = [_undated_columns(path, self.format, date, decimal) for path in paths]
        if all(each == names[0] for each in names):
            return names[0]
        if all(len(each) == 1 for each in names):
            return [VALUE]
        other = next(number for number, each in enumerate(names) if each != names[0])
        raise _checks.DataError(
            f"{paths[other]}: has the columns of numbers {list_names(names[other])}, and {paths[0]} has "
            f"{list_names(names[0])}. Name those that all files have: columns='NAME,NAME'."
        )

    def describe_series(self, column: str) -> dict[str, Any] | None:
        """Returns what `SeriesSource.describe_series` does, and how files are read; of `future` the season.

        The season comes with `naive_error`, the error of the seasonal naive forecast of each variable in the training
        rows. Where there are several training files, all these numbers are under `files` for each of them, by its name,
        and beside them stand those of the file with the smallest deviation of the first variable.
        """
        if column not in ("window", "future"):
            return None
        files = {os.path.basename(path): numbers for path, _, numbers, _, _ in self._rows("train", self.column_names())}
        if len(files) < sum(len(part.paths) for part in self.parts("train")):
            raise _checks.DataError(f"{self.data_dir}: two files of series have one name. Give them different ones.")
        found = {name: self._describe_file(numbers, column) for name, numbers in files.items()}
        narrowest = min(found.values(), key=lambda each: each["deviation"][0])
        described = {
            "shape": [self.length if column == "window" else self.horizon, len(self.column_names())],
            "names": self.column_names(),
            **narrowest,
            **({"files": found} if len(found) > 1 else {}),
        }
        if column == "window":
            described["reading"] = {name: value for name, value in self.reading.items() if value is not None}
        return described

    def _describe_file(self, numbers, column):
        """Returns mean and deviation of the rows of a file, and of the future season and naive error."""
        deviation = numbers.std(axis=0)
        scale = {"mean": numbers.mean(axis=0).tolist(), "deviation": np.where(deviation > 0, deviation, 1.0).tolist()}
        if column == "window":
            return scale
        season = self.season or find_season(numbers)
        errors = naive_error(numbers, season)
        return {**scale, "season": season, "naive_error": np.where(errors > 0, errors, 1.0).tolist()}

    def chunks(self, split: str) -> Iterator:
        """Yields the windows of a split, file by file."""
        if split == "train" or self.stride == 1:
            return super().chunks(split)
        each_row = copy.copy(self)
        each_row.stride = 1
        return each_row.chunks(split)

    def _rows(self, split, names, parts=None):
        for part in self.parts(split) if parts is None else parts:
            for path in part.paths:
                series, skipped = self._series(path, tuple(names))
                begin, end = self._bounds(split, part, series, path)
                begin -= self.length if begin else 0
                yield path, series.lines[max(begin, 0) : end], series.numbers[max(begin, 0) : end], [], skipped

    @functools.lru_cache(maxsize=8)  # noqa: B019  (a source lives as long as its task)
    def _series(self, path, names):
        bad = BadLines(self.bad_lines)
        return read_dated_series(path, names, bad_lines=bad, **self.reading), bad.count

    def _bounds(self, split, part, series, path):
        """Returns the first row of a split of a series and the one after its last."""
        rows = len(series.numbers)
        if not (self.split_dates or self.split_sizes) or not part.fractions:
            first, last = split_range(split, part.fractions)
            return round(first * rows), round(last * rows)
        if self.split_dates:
            bounds = self._bounds_of_dates(series, path)
        else:
            unit = 1 if max(self.split_sizes) > 1 else rows
            sizes = [size * unit for size in self.split_sizes]
            bounds = [0, *np.round(np.cumsum(sizes)).astype(int).tolist()]
        if bounds[-1] > rows:
            raise _checks.DataError(
                f"{path}: has {rows:,} rows, and `splits` need {bounds[-1]:,}. Give smaller ones or fractions."
            )
        number = ("train", "dev", "test").index(split)
        return bounds[number], bounds[number + 1]

    def _bounds_of_dates(self, series, path):
        if series.dates is None:
            raise _checks.DataError(
                f"{path}: has no column of dates, which `splits` are given by. Give rows or fractions."
            )
        dates, row_numbers = series.dates.values, series.dates.row_numbers
        found = [int(np.searchsorted(dates, np.datetime64(date))) for date in self.split_dates]
        ends = [int(row_numbers[row]) if row < len(dates) else len(series.numbers) for row in found]
        return [0, *ends] if len(ends) == 3 else [0, *ends, len(series.numbers)]


def number_columns(path: Path, table_format: TableFormat, decimal: str = ".") -> list[str]:
    """Returns the names of the columns of a file that hold numbers in its first block, missing ones apart.

    Raises:
        DataError: if there is no row below the header or no column of numbers.
    """
    rows = first_rows(path, table_format)
    if len(rows) < 2:
        raise _checks.DataError(f"{path}: a series needs a header and rows below it; got {len(rows)} lines.")
    names = [name.strip() for name in rows[0]]
    if any(is_date(name) or _number(name, decimal) is not None for name in names):
        next(read_lines(path), None)  # raises if the line above could not be read as text
        raise _checks.DataError(
            f"{path}:1: the first line must name the columns, and looks like a row: {shorten(names)}. Write a header "
            "above it."
        )
    columns = [[row[index] for row in rows[1:] if index < len(row) and not is_missing(row[index])]
               for index in range(len(names))]  # fmt: skip
    # A column without a name numbers the rows, as some programs write it.
    numeric = [
        name for name, values in zip(names, columns) if name and values and _number(values[0], decimal) is not None
    ]
    if not numeric:
        hint = " Is there another delimiter? Say delimiter=';'." if len(names) == 1 and ";" in names[0] else ""
        comma = decimal == "." and any(values and _number(values[0], ",") is not None for values in columns)
        hint = hint or (" Say decimal=',' if commas are decimal points; remove them if not." if comma else "")
        raise _checks.DataError(f"{path}:2: no column holds numbers; the header has: {list_names(names)}.{hint}")
    return numeric


def _undated_columns(path, table_format, date, decimal):
    """Returns the names of the columns of numbers but that of the dates."""
    names = number_columns(path, table_format, decimal)
    date = _date_column(path, table_format) if date is None else date
    if names == [date]:
        raise _checks.DataError(f"{path}:2: no column but the dates {date!r} holds numbers.")
    return [name for name in names if name != date]


def read_dated_series(
    path: Path,
    columns: Sequence[str],
    *,
    date_column: str | None = None,
    gaps: str = "refuse",
    decimal: str = ".",
    delimiter: str | None = None,
    quote: str | None = None,
    bad_lines: str | BadLines = "stop",
) -> DatedSeries:
    """Returns the numbers of a file with a header and of its dates, without gaps.

    Args:
        path: string or path, plain or `.gz`.
        columns: list of strings. The names of the columns of numbers. `["value"]` is also the only one, of any name.
        date_column, gaps, decimal: as for `ForecastSource`.
        delimiter, quote: see `kerazoo.data.read_records`.
        bad_lines: string or `BadLines`, `"stop"` at a row that cannot be read, or `"skip"` it. Defaults to `"stop"`.

    Raises:
        DataError: if the file cannot be read, a value or a row is missing and `gaps` is `"refuse"`, or the dates do not
            ascend in equal steps.
    """
    table_format = TableFormat(None, True, delimiter, quote, owner="ForecastSource")
    date = _date_column(path, table_format) if date_column is None else date_column
    if list(columns) == [VALUE] and VALUE not in header_names(path, table_format):
        found = _undated_columns(path, table_format, date, decimal)
        columns = found if len(found) == 1 else columns
    bad = BadLines.of(bad_lines)
    lines, rows, texts = [], [], []
    check = _Numbers(columns, decimal, gaps)
    for numbers, values in parse_file(path, [*columns, *([date] if date else [])], bad, check, table_format):
        lines += numbers
        rows += [list(map(check.number, row)) for row in zip(*values[: len(columns)])]
        texts += values[-1] if date else []
    if not rows:
        raise _checks.DataError(f"{path}: no row is left: all {bad.count} are bad and were skipped.")
    dates = read_dates(path, date, lines, texts) if date else None
    row_numbers = dates.row_numbers if dates else np.arange(len(rows))
    if gaps == "refuse" and (missing := np.flatnonzero(np.diff(row_numbers) > 1)).size:
        row = int(missing[0])
        count = int(row_numbers[row + 1] - row_numbers[row] - 1)
        raise _checks.DataError(
            f"{path}:{lines[row + 1]}: {count} row{'s are' if count > 1 else ' is'} missing between {texts[row]!r} and "
            f"{texts[row + 1]!r}, in steps of {in_words(dates.step) if dates else 'one'}. Say gaps='interpolate' to "
            "fill them from their neighbours."
        )
    try:
        filled = fill_gaps(np.array(rows, np.float64), row_numbers)
    except ValueError as error:
        raise _checks.DataError(f"{path}: {error}.") from error
    row_of = np.searchsorted(row_numbers, np.arange(len(filled)), side="right") - 1
    return DatedSeries(np.array(lines)[row_of], filled, dates)


def _date_column(path, table_format):
    """Returns the name of the first column whose first value is a date, empty if there is none."""
    rows = first_rows(path, table_format)
    pairs = list(zip(map(str.strip, rows[0]), rows[1])) if len(rows) > 1 else []
    for name, value in pairs:
        if is_date(value) or (name.lower() in YEARS and is_year(value)):
            return name
    for name, value in pairs:
        if looks_like_date(value):
            raise _checks.DataError(
                f"{path}:2: column {name!r} looks like dates of another form: {value.strip()!r}; {RULE}. Rewrite them, "
                "or say date_column='' if the rows have equal steps and no dates are needed."
            )
    return ""


class _Numbers:
    """The rule that values are finite in float32, or missing where gaps are interpolated."""

    def __init__(self, names, decimal, gaps):
        self.names = names
        self.decimal = decimal
        self.gaps = gaps

    def number(self, text):
        """Returns a value as a number, NaN where it is missing."""
        found = _number(text, self.decimal)
        return np.nan if found is None else found

    def all_valid(self, columns):
        return all(self.fault(row) is None for row in zip(*columns))

    def fault(self, values):
        for name, value in zip(self.names, values):
            if _number(value, self.decimal) is not None:
                continue
            if not is_missing(value):
                comma = self.decimal == "." and _number(value, ",") is not None
                hint = " Say decimal=',' if commas are decimal points." if comma else ""
                return f"column {name!r} holds no finite number: {shorten(value)}.{hint}"
            if self.gaps == "refuse":
                return (
                    f"column {name!r} has no value: {shorten(value)}. Say gaps='interpolate' to fill it from its "
                    "neighbours."
                )
        return None


def _number(text, decimal):
    """Returns a finite number, `None` if `text` is none."""
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".", 1)
    number = parse_number(text)
    return number if number is not None and abs(number) < LARGEST else None


def _parse_splits(text):
    """Returns two or three dates and three numbers, one of which is empty."""
    parts = [part.strip() for part in str(text).split(",")]
    if len(parts) in (2, 3) and all(map(is_date, parts)) and parts == sorted(parts):
        return [part.replace(" ", "T") for part in parts], []
    numbers = [parse_number(part) or 0.0 for part in parts]
    if len(parts) != 3 or min(numbers) <= 0:
        raise ValueError(
            "ForecastSource: `splits` must be three numbers above 0, the rows or the fractions of train, dev and test, "
            f"or two or three ascending dates; got splits={text!r}."
        )
    if max(numbers) > 1 and any(number != int(number) for number in numbers):
        raise ValueError(f"ForecastSource: `splits` above 1 are numbers of rows; got splits={text!r}.")
    if max(numbers) <= 1 and sum(numbers) > 1 + 1e-9:
        raise ValueError(f"ForecastSource: `splits` must have fractions whose sum is at most 1; got splits={text!r}.")
    return [], numbers
