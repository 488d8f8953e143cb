"""Series of numbers from tables, one row per time step, and the windows over them."""

import copy
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import cache
from kerazoo.data.data_source import Chunk
from kerazoo.data.file_source import FileSource, Part
from kerazoo.data.formats import TableFormat, first_rows, parse_file
from kerazoo.data.lines import STDIN, BadLines, Path, list_names, shorten
from kerazoo.data.mixture_source import weighted
from kerazoo.data.plain_numbers import decimal_hint, is_missing, parse_number
from kerazoo.data.splits import split_range

CHUNK_WINDOWS = 4096
FILE = "file"  # the column of the names of the files
LARGEST = float(np.finfo(np.float32).max)


class SeriesSource(FileSource):
    """Windows of consecutive rows of CSV or TSV files with a header.

    The columns are `window`, float64 `[N, length, C]`; with a `horizon`, `future`, float64 `[N, horizon, C]`, the rows
    after the window; and one list of strings per name in `labels`, the value in the window's last row. If no dev or
    test file is given, the last 15 % of the rows of each training file are test, the 15 % before dev; no window
    crosses these bounds.

    Args:
        data_dir: string or path. A CSV or TSV file with a header, plain or .gz; a pattern; a folder with `train.csv`
            and optionally `dev.csv` and `test.csv`; or a folder of series, each in a file of its own.
        columns: list of strings, or one string with commas. Names of the columns of numbers. `None` means all columns
            that hold numbers and are not in `labels`; a column in which some values are missing is one of them.
            Defaults to `None`.
        length: integer above 0. Rows of a window. Defaults to `12`.
        stride: integer above 0. Rows from one window to the next. Defaults to `1`.
        horizon: integer of at least 0. Rows of the future of a window. Defaults to `0`.
        labels: list of strings. Names of columns of labels. Defaults to `()`.
        delimiter: string. The character between columns, see `kerazoo.data.read_records`. Defaults to `None`.
        quote: string. The character around values, see `kerazoo.data.read_records`. Defaults to `None`.
        dev_data: string, path or `None`. File or pattern of the dev rows if not found by name. Defaults to `None`.
        test_data: the same for the test rows. Defaults to `None`.
        bad_lines: string, `"stop"` to raise at a row that lacks a number or a label, or `"skip"` to leave it out.
            Defaults to `"stop"`.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: if a size is not an integer.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "machine.csv"
    path.write_text("time,speed,state\\n" + "".join(f"{i},{i * i},{'low' if i < 9 else 'high'}\\n" for i in range(20)))
    source = kz.data.SeriesSource(path, ["speed"], length=3, horizon=1, labels=["state"])
    chunk = next(source.chunks("train"))
    print(chunk.columns["window"].shape, chunk.columns["future"].shape, chunk.columns["state"])
    ```
    """

    fractions = {"dev": 0.15, "test": 0.15}
    row_columns: tuple[str, ...] = ()
    has_weights = False  # whether files may have a weight
    reads_whole_folders = True

    def __init__(
        self,
        data_dir: str | os.PathLike,
        columns: Sequence[str] | str | None = None,
        *,
        length: int = 12,
        stride: int = 1,
        horizon: int = 0,
        labels: Sequence[str] = (),
        delimiter: str | None = None,
        quote: str | None = None,
        dev_data: str | os.PathLike | None = None,
        test_data: str | os.PathLike | None = None,
        bad_lines: str = "stop",
    ):
        extensions = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
        super().__init__(data_dir, extensions, dev_data=dev_data, test_data=test_data, bad_lines=bad_lines)
        names = columns.split(",") if isinstance(columns, str) else columns
        self.numeric = None if names is None else [name.strip() for name in names]
        self.labels = tuple(labels)
        self.format = TableFormat(None, True, delimiter, quote, owner="SeriesSource")
        self.length = _checks.positive_int("SeriesSource", "length", length)
        self.stride = _checks.positive_int("SeriesSource", "stride", stride)
        self.horizon = _checks.non_negative_int("SeriesSource", "horizon", horizon)
        taken = {"window", "future"} & set(self.labels)
        if taken or len(set(self.labels)) < len(self.labels):
            raise ValueError(
                "SeriesSource: `labels` must be distinct names other than 'window' and 'future'; got "
                f"{list(self.labels)}."
            )
        self.columns = ("window", *(["future"] if horizon else []), *self.labels)

    @property
    def settings(self) -> list:
        """Plain values that decide what is read from the files."""
        sizes = [self.length, self.stride, self.horizon]
        return [*super().settings, self.column_names(), *sizes, list(self.labels), self.format.settings]

    def check(self) -> None:
        """Raises an error if a file is missing or has a weight; opens none."""
        self.parts("train")

    def parts(self, split: str) -> list[Part]:
        """Returns the `Part`s that a split is read from.

        Raises:
            ValueError: if one has a weight.
        """
        parts = super().parts(split)
        for part in parts:
            if part.weight != 1 and not self.has_weights:
                raise ValueError(f"SeriesSource: files of series take no weight; got {part.weight}.")
        return parts

    def with_columns(self, columns: Sequence[str]) -> "SeriesSource":
        """Returns the source as one whose chunks have further columns, with a tuple of strings for each window.

        It has the values of the column in the rows of the window, each of them once; `file` is the name of the file.
        A column that is given so is not one of the numbers unless it was chosen.

        Args:
            columns: list of strings. Names in the header, or `file`; those that the chunks have already change nothing.
        """
        source, added = copy.copy(self), [name for name in columns if name not in self.columns]
        source.columns = (*self.columns, *added)
        source.row_columns = (*self.row_columns, *added)
        source.__dict__.pop("_training_scale", None)
        return source

    def column_names(self) -> list[str]:
        """Returns the names of the columns of numbers; reads the first lines of a file if they were not given."""
        if self.numeric is not None:
            return list(self.numeric)
        path = self.parts("train")[0].paths[0]
        if path == STDIN:
            raise _checks.DataError("-: name the columns of a series that comes from standard input.")
        names = [name for name in series_columns(path, self.format) if name not in self.columns]
        if not names:
            raise _checks.DataError(f"{path}: no column but {list_names(self.columns[1:])} holds numbers.")
        return names

    def resolved_columns(self) -> list | None:
        """Returns the names of the columns of numbers."""
        return self.column_names()

    def use_columns(self, columns: list) -> None:
        """Reads these columns of numbers in this order, and ignores the others.

        Raises:
            ValueError: if other columns are chosen.
        """
        if self.numeric not in (None, columns):
            raise ValueError(
                f"SeriesSource: the model was trained on the columns {columns}; got columns={self.numeric}. "
                "Leave the option out, or train a new model."
            )
        self.numeric = list(columns)

    def describe_series(self, column: str) -> dict[str, Any] | None:
        """Returns names, shape, mean and deviation of the windows; reads the training rows."""
        if column not in ("window", "future") or self.fingerprint("train") is None:  # standard input is read only once
            return None
        names = self._training_scale["names"]
        dialect = {"delimiter": self.format.delimiter, "quote": self.format.quote}
        return {
            "shape": [self.length if column == "window" else self.horizon, len(names)],
            **self._training_scale,
            **{name: value for name, value in dialect.items() if value is not None},
        }

    @functools.cached_property
    def _training_scale(self):
        """Names, mean and deviation of the variables, which a window and its future share."""
        names = self.column_names()
        rows = np.concatenate([numeric for _, _, numeric, _, _ in self._rows("train", names)])
        deviation = rows.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0).tolist()
        return {"names": names, "mean": rows.mean(axis=0).tolist(), "deviation": deviation}

    def fingerprint(self, split: str):
        """Returns plain values that change whenever the windows of a split do."""
        parts = self.parts(split)
        paths = [path for part in parts for path in part.paths]
        if STDIN in paths:
            return None
        ranges = [split_range(split, part.fractions) for part in parts]
        return [self.settings, cache.fingerprint(paths), ranges, [part.weight for part in parts]]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the windows of a split, file by file."""
        parts = self.parts(split)
        self._standard_input.check(split, [path for part in parts for path in part.paths])
        return itertools.chain.from_iterable(self._windows(split, part) for part in parts)

    def _windows(self, split, part):
        names = self.column_names()
        span = self.length + self.horizon
        others = [name for name in self.row_columns if name != FILE]
        for path, locations, numeric, labels, skipped in self._rows(split, names, [part]):
            if len(numeric) < span:
                ahead = f" and the {self.horizon} after them" if self.horizon else ""
                raise _checks.DataError(
                    f"{type(self).__name__}, {split}: {len(numeric)} rows hold no window of {self.length} rows"
                    f"{ahead}. Take a shorter window, or give more rows. File: {path}."
                )
            starts = np.arange(0, len(numeric) - span + 1, self.stride)
            for first in range(0, len(starts), CHUNK_WINDOWS):
                rows = starts[first : first + CHUNK_WINDOWS, None]
                columns: dict[str, Any] = {"window": numeric[rows + np.arange(self.length)]}  # [N, L, C]
                if self.horizon:
                    columns["future"] = numeric[rows + self.length + np.arange(self.horizon)]
                last = (rows[:, 0] + self.length - 1).tolist()
                columns.update({name: [values[row] for row in last] for name, values in zip(self.labels, labels)})
                for name, values in zip(others, labels[len(self.labels) :]):
                    spans = [values[row : row + span] for row in rows[:, 0].tolist()]
                    columns[name] = [tuple(dict.fromkeys(each)) for each in spans]
                if FILE in self.row_columns:
                    columns[FILE] = [(os.path.basename(path),)] * len(rows)
                where = [f"{path}:{locations[row]}" for row in last]
                yield weighted(Chunk(columns, 0 if first else skipped, locations=where), part.weight)

    def _rows(self, split, names, parts=None):
        """Yields path, line numbers, numbers `[rows, C]`, labels and skipped lines of the rows of a split."""
        for part in self.parts(split) if parts is None else parts:
            for path in part.paths:
                bad = BadLines(self.bad_lines)
                others = [name for name in self.row_columns if name != FILE]
                lines, numeric, labels = _read(path, names, (*self.labels, *others), bad, self.format)
                begin, end = (round(bound * len(numeric)) for bound in split_range(split, part.fractions))
                yield path, lines[begin:end], numeric[begin:end], [each[begin:end] for each in labels], bad.count


def series_columns(path: Path, table_format: TableFormat) -> list[str]:
    """Returns the names of the columns of a CSV or TSV with a header that hold numbers, in the first block of the file.

    A column holds numbers if its first value is one, or if all its values are numbers or missing.

    Raises:
        DataError: as `read_lines`, and if there is no row below the header or no column of numbers.
    """
    rows = first_rows(path, table_format)
    if len(rows) < 2:
        raise _checks.DataError(f"{path}: a series needs a header and rows below it; got {len(rows)} lines.")
    names = [name.strip() for name in rows[0]]
    columns = [[row[index] for row in rows[1:] if index < len(row)] for index in range(len(names))]
    numeric = [name for name, values in zip(names, columns) if name and _holds_numbers(values)]  # not row numbers
    if not numeric:
        hint = " Is there another delimiter? Say delimiter=';'." if len(names) == 1 and ";" in names[0] else ""
        raise _checks.DataError(f"{path}:2: no column holds numbers; the header has: {list_names(names)}.{hint}")
    return numeric


def _holds_numbers(values):
    present = [value for value in values if not is_missing(value)]
    return bool(present) and (_is_number(values[0]) or all(map(_is_number, present)))


def read_series(
    path: Path,
    columns: Sequence[str] | None = None,
    bad_lines: str | BadLines = "stop",
    *,
    delimiter: str | None = None,
    quote: str | None = None,
) -> np.ndarray:
    """Returns the numbers of a CSV or TSV file with a header.

    Args:
        path: string or path, plain or `.gz`.
        columns: list of strings. Names of the columns; `None` means those that hold numbers, missing values apart,
            which leaves out a date. Defaults to `None`.
        bad_lines: string or `BadLines`. `"stop"` raises if a value is missing or no finite number, `"skip"` leaves the
            row out, a `BadLines` also counts. Defaults to `"stop"`.
        delimiter: string. The character between columns, see `read_records`. Defaults to `None`.
        quote: string. The character around values, see `read_records`. Defaults to `None`.

    Returns:
        float64 array `[rows, columns]`, in the order of the rows.

    Raises:
        DataError: as `read_records`, and if no row is left.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "passengers.csv"
    path.write_text("month,passengers\\n1949-01,112\\n1949-02,118\\n")
    print(kz.data.read_series(path))
    ```
    """
    table_format = TableFormat(None, True, delimiter, quote, owner="read_series")
    names = list(columns or series_columns(path, table_format))
    return _read(path, names, (), BadLines.of(bad_lines), table_format)[1]


def _read(path, names, labels, bad, table_format):
    """Returns line numbers, float64 numbers `[rows, C]` and a list of strings for each label."""
    numbers, blocks, strings = [], [], [[] for _ in labels]
    check = _Finite(names, labels)
    for lines, columns in parse_file(path, [*names, *labels], bad, check, table_format):
        numbers += lines
        blocks.append(np.array(columns[: len(names)], np.float64).T)  # [rows, C]
        for values, column in zip(strings, columns[len(names) :]):
            values += column
    if not numbers:
        raise _checks.DataError(f"{path}: no row is left: all {bad.count} are bad and were skipped.")
    return numbers, np.concatenate(blocks), strings


class _Finite:
    """The rule that numbers are finite in float32 and labels contain more than white space."""

    def __init__(self, names, labels):
        self.names = names
        self.labels = labels

    def all_valid(self, columns):
        strings = columns[: len(self.names)]
        if any("_" in joined or not joined.isascii() for joined in map("".join, strings)):
            return False  # what NumPy reads beyond plain numbers
        try:
            numbers = np.array(strings, np.float64)
        except ValueError:
            return False
        return bool((np.abs(numbers) < LARGEST).all()) and all(
            all(map(str.strip, column)) for column in columns[len(self.names) :]
        )

    def fault(self, values):
        for name, value in zip(self.names, values):
            if not _is_number(value):
                return f"column {name!r} holds no finite number: {shorten(value)}.{decimal_hint(value)}"
        for name, value in zip(self.labels, values[len(self.names) :]):
            if not value.strip():
                return f"column {name!r} is empty: {shorten(values)}."
        return None


def _is_number(text):
    number = parse_number(text)
    return number is not None and abs(number) < LARGEST
