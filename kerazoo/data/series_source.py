"""Series of numbers from tables, one row per time step, and the windows over them."""

import csv
import functools
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import cache
from kerazoo.data.data_source import Chunk
from kerazoo.data.file_source import FileSource, Part
from kerazoo.data.formats import ending, parse_file
from kerazoo.data.lines import STDIN, BadLines, OnRead, Path, decode_lines, list_names, read_blocks, shorten
from kerazoo.data.splits import split_range

CHUNK_WINDOWS = 4096
LARGEST = float(np.finfo(np.float32).max)


class SeriesSource(FileSource):
    """Windows of consecutive rows of CSV or TSV files with a header.

    The columns are `window`, float64 `[N, length, C]`; with a `horizon`, `future`, float64 `[N, horizon, C]`, the rows
    after the window; and one list of strings per name in `labels`, the value in the window's last row. If no dev or
    test file is given, the last 15 % of the rows of each training file are test, the 15 % before dev; no window
    crosses these bounds.

    Args:
        data_dir: string or path. A CSV or TSV file with a header, plain or .gz; a pattern; or a folder with
            `train.csv` and optionally `dev.csv` and `test.csv`.
        columns: list of strings, or one string with commas. Names of the columns of numbers. `None` means all columns
            whose first value is a number and that are not in `labels`. Defaults to `None`.
        length: integer above 0. Rows of a window. Defaults to `12`.
        stride: integer above 0. Rows from one window to the next. Defaults to `1`.
        horizon: integer of at least 0. Rows of the future of a window. Defaults to `0`.
        labels: list of strings. Names of columns of labels. Defaults to `()`.
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

    def __init__(
        self,
        data_dir: str | os.PathLike,
        columns: Sequence[str] | str | None = None,
        *,
        length: int = 12,
        stride: int = 1,
        horizon: int = 0,
        labels: Sequence[str] = (),
        dev_data: str | os.PathLike | None = None,
        test_data: str | os.PathLike | None = None,
        bad_lines: str = "stop",
    ):
        extensions = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
        super().__init__(data_dir, extensions, dev_data=dev_data, test_data=test_data, bad_lines=bad_lines)
        names = columns.split(",") if isinstance(columns, str) else columns
        self.numeric = None if names is None else [name.strip() for name in names]
        self.labels = tuple(labels)
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
        return [*super().settings, self.column_names(), *sizes, list(self.labels)]

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
            if part.weight != 1:
                raise ValueError(f"SeriesSource: files of series take no weight; got {part.weight}.")
        return parts

    def column_names(self) -> list[str]:
        """Returns the names of the columns of numbers; reads two lines of the first file if they were not given."""
        if self.numeric is not None:
            return list(self.numeric)
        path = self.parts("train")[0].paths[0]
        if path == STDIN:
            raise _checks.DataError("-: name the columns of a series that comes from standard input.")
        names = [name for name in series_columns(path) if name not in self.labels]
        if not names:
            raise _checks.DataError(f"{path}:2: no column but the labels {list(self.labels)} holds a number.")
        return names

    def resolved_columns(self) -> list | None:
        """Returns the names of the columns of numbers."""
        return self.column_names()

    def use_columns(self, columns: list) -> None:
        """Reads these columns of numbers in this order, whatever else the files contain.

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
        return {"shape": [self.length if column == "window" else self.horizon, len(names)], **self._training_scale}

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
        return [self.settings, cache.fingerprint(paths), ranges]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the windows of a split, file by file."""
        parts = self.parts(split)
        self._standard_input.check(split, [path for part in parts for path in part.paths])
        return self._windows(split, parts)

    def _windows(self, split, parts):
        names = self.column_names()
        span = self.length + self.horizon
        for path, locations, numeric, labels, skipped in self._rows(split, names, parts):
            if len(numeric) < span:
                ahead = f" and horizon={self.horizon}" if self.horizon else ""
                raise _checks.DataError(
                    f"SeriesSource, {split}: {len(numeric)} rows hold no window of length={self.length}{ahead}. "
                    f"Try a smaller length, or give more rows. File: {path}."
                )
            starts = np.arange(0, len(numeric) - span + 1, self.stride)
            for first in range(0, len(starts), CHUNK_WINDOWS):
                rows = starts[first : first + CHUNK_WINDOWS, None]
                columns: dict[str, Any] = {"window": numeric[rows + np.arange(self.length)]}  # [N, L, C]
                if self.horizon:
                    columns["future"] = numeric[rows + self.length + np.arange(self.horizon)]
                last = (rows[:, 0] + self.length - 1).tolist()
                columns.update({name: [values[row] for row in last] for name, values in zip(self.labels, labels)})
                where = [f"{path}:{locations[row]}" for row in last]
                yield Chunk(columns, 0 if first else skipped, locations=where)

    def _rows(self, split, names, parts=None):
        """Yields path, line numbers, numbers `[rows, C]`, labels and skipped lines of the rows of a split."""
        for part in self.parts(split) if parts is None else parts:
            for path in part.paths:
                bad = BadLines(self.bad_lines)
                lines, numeric, labels = _read(path, names, self.labels, bad)
                begin, end = (round(bound * len(numeric)) for bound in split_range(split, part.fractions))
                yield path, lines[begin:end], numeric[begin:end], [each[begin:end] for each in labels], bad.count


def series_columns(path: Path) -> list[str]:
    """Returns the names of the columns of a CSV or TSV with a header whose first row contains a number there.

    Raises:
        DataError: as `read_lines`, and if there is no row below the header or no number in it.
    """
    first = list(itertools.islice((line for block in read_blocks(path) for line in decode_lines(block)[0]), 2))
    try:
        rows = list(csv.reader(first, delimiter="\t" if ending(path) == "tsv" else ","))
    except csv.Error as error:
        raise _checks.DataError(f"{path}:1: not CSV: {error}.") from error
    if len(rows) < 2:
        raise _checks.DataError(f"{path}: a series needs a header and rows below it; got {len(rows)} lines.")
    names, values = rows
    numeric = [name for name, value in zip(names, values) if _is_number(value)]
    if not numeric:
        raise _checks.DataError(f"{path}:2: no column holds a number; the header has: {list_names(names)}.")
    return numeric


def read_series(
    path: Path,
    columns: Sequence[str] | None = None,
    bad_lines: str | BadLines = "stop",
    on_read: OnRead | None = None,
) -> np.ndarray:
    """Returns the numbers of a CSV or TSV file with a header.

    Args:
        path: string or path, plain or `.gz`.
        columns: list of strings. Names of the columns; `None` means those whose first value is a number, which leaves
            out a date. Defaults to `None`.
        bad_lines: string or `BadLines`. `"stop"` raises if a value is missing or no finite number, `"skip"` leaves the
            row out, a `BadLines` also counts. Defaults to `"stop"`.
        on_read: function of the number of bytes that were read since its last call. Defaults to `None`.

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
    return _read(path, list(columns or series_columns(path)), (), BadLines.of(bad_lines), on_read)[1]


def _read(path, names, labels, bad, on_read=None):
    """Returns line numbers, float64 numbers `[rows, C]` and a list of strings for each label."""
    numbers, blocks, strings = [], [], [[] for _ in labels]
    check = _Finite(names, labels)
    for lines, columns in parse_file(path, [*names, *labels], bad, check, header=True, on_read=on_read):
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
        try:
            numbers = np.array(columns[: len(self.names)], np.float64)
        except ValueError:
            return False
        return bool((np.abs(numbers) < LARGEST).all()) and all(
            all(map(str.strip, column)) for column in columns[len(self.names) :]
        )

    def fault(self, values):
        for name, value in zip(self.names, values):
            if not _is_number(value):
                return f"column {name!r} holds no finite number: {shorten(values)}."
        for name, value in zip(self.labels, values[len(self.names) :]):
            if not value.strip():
                return f"column {name!r} is empty: {shorten(values)}."
        return None


def _is_number(text):
    try:
        return math.isfinite(float(text)) and abs(float(text)) < LARGEST
    except ValueError:
        return False
