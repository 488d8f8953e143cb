"""Series of numbers from tables: one row for each moment."""

import csv
import itertools
import os

import numpy as np

from kerazoo import _checks
from kerazoo.data.faults import BadLines, listed, shorten
from kerazoo.data.formats import FORMATS, ending
from kerazoo.data.lines import scan


def series_columns(path):
    """Returns the names of the columns of a CSV or TSV with a header whose first row holds numbers there.

    Raises:
        DataError: As `read_lines`; there is no row below the header, or no number in it.
    """
    lines = (line for _, line, _ in itertools.islice(scan(path), 2))
    try:
        rows = list(csv.reader((line or "" for line in lines), delimiter="\t" if ending(path) == "tsv" else ","))
    except csv.Error as error:
        raise _checks.DataError(f"{path}:1: not CSV: {error}.") from error
    if len(rows) < 2:
        raise _checks.DataError(f"{path}: a series needs a header and rows below it; got {len(rows)} lines.")
    names, first = rows
    numeric = [name for name, value in zip(names, first) if _is_number(value)]
    if not numeric:
        raise _checks.DataError(f"{path}:2: no column holds a number; the header has: {listed(names)}.")
    return numeric


def read_series(path, columns=None, bad_lines="stop", tick=None):
    """Returns the numbers of a CSV or TSV file with a header, float32 `[rows, columns]`, in the order of the rows.

    Args:
        path: The file, plain or `.gz`.
        columns: Names of the columns; by default those whose first value is a number, so a date is left out.
        bad_lines: `"stop"` raises where a value is missing or no finite number; `"skip"` leaves the row out; or a
            `BadLines` that counts.
        tick: Function that is told how many bytes were read since it was told last.

    Raises:
        DataError: As `read_records`.

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
    path = os.fspath(path)
    bad = bad_lines if isinstance(bad_lines, BadLines) else BadLines(bad_lines)
    columns = list(columns or series_columns(path))
    rows = []
    for number, values in FORMATS[ending(path)](path, scan(path, tick), columns, True, bad):
        wrong = next((name for name, value in zip(columns, values) if not _is_number(value)), None)
        if wrong is None:
            rows.append([float(value) for value in values])
        else:
            bad(path, number, f"column {wrong!r} holds no finite number: {shorten(values)}.")
    if not rows:
        raise _checks.DataError(f"{path}: no row is left: all {bad.count} are bad and were skipped.")
    return np.array(rows, np.float32)


def _is_number(text):
    try:
        return abs(float(text)) < np.finfo(np.float32).max
    except ValueError:
        return False
