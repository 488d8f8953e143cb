"""Whole columns of a table in memory."""

import dataclasses

from kerazoo import _checks
from kerazoo.data.faults import BadLines
from kerazoo.data.records import read_records


@dataclasses.dataclass(frozen=True)
class Columns:
    """What was read from a table.

    Args:
        columns: One list of strings for each column that was asked for, all of the same length.
        lines: The line number of each row, counted from 1.
        skipped: Number of bad lines that were left out.
    """

    columns: tuple
    lines: list
    skipped: int = 0


def read_table(path, columns, bad_lines="stop", header=None, format=None):
    """Returns some columns of a table of any format; the arguments are those of `read_records`.

    Returns:
        A `Columns`.

    Raises:
        DataError: As `read_records`; no line is left.
    """
    bad = BadLines(bad_lines)
    rows = [(where, *values) for where, values in read_records(path, columns, bad, header, format)]
    if not rows:
        left = f"all {bad.count} are bad and were skipped" if bad.count else "there is nothing but a header"
        raise _checks.DataError(f"{path}: no line is left: {left}.")
    where, *lists = (list(column) for column in zip(*rows))
    return Columns(tuple(lists), [int(place.rpartition(":")[2]) for place in where], bad.count)
