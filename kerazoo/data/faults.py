"""Faults for series that have none, to measure what finds them."""

import csv
import io
import itertools
from collections.abc import Sequence

import numpy as np

from kerazoo import _checks, _files
from kerazoo.data.formats import TableFormat
from kerazoo.data.lines import Path, read_blocks
from kerazoo.data.series_source import read_series, series_columns

FAULTS = ("spike", "flat", "shift")
NORMAL = "0"


def inject_faults(
    numbers: np.ndarray,
    kinds: Sequence[str] = FAULTS,
    *,
    count: int = 10,
    length: int = 24,
    size: float = 4.0,
    first: int = 0,
    seed: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """Returns series with faults of one variable each, and for each row the kind of its fault, `"0"` for none.

    A `spike` is one row that is off by `size` standard deviations of the variable; a `flat` section repeats its first
    value; a `shift` is a section that is off by half of `size` deviations. Rows from `first` to the end are divided
    into as many equal parts as there are faults, and each part has one at a random position, the kinds in turn.

    Args:
        numbers: float array `[rows, V]`.
        kinds: list of strings, of `"spike"`, `"flat"` and `"shift"`. Defaults to all three.
        count: integer above 0. The faults of each kind. Defaults to `10`.
        length: integer above 0. The rows of a section. Defaults to `24`.
        size: float above 0. Standard deviations by which a spike is off. Defaults to `4.0`.
        first: integer of at least 0. The row from which on there are faults. Defaults to `0`.
        seed: integer. Equal seeds give equal faults. Defaults to `0`.

    Raises:
        ValueError: if an argument is out of its range, or the rows are too few for the faults.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    series = np.sin(np.arange(1000.0))[:, None]
    faulty, kinds = kz.data.inject_faults(series, count=2)
    assert (kinds.count("spike"), kinds.count("flat"), kinds.count("shift")) == (2, 48, 48)
    ```
    """
    kinds = [_checks.one_of("inject_faults", "kinds", kind, FAULTS) for kind in kinds]
    total = _checks.positive_int("inject_faults", "count", count) * len(kinds)
    _checks.positive_int("inject_faults", "length", length)
    _checks.number("inject_faults", "size", size, low=0, low_open=True)
    part = (len(numbers) - _checks.non_negative_int("inject_faults", "first", first)) // max(total, 1)
    if part < length:
        raise ValueError(
            f"inject_faults: {total} faults of {length} rows need {total * length:,} rows from row {first:,} on; got "
            f"{max(len(numbers) - first, 0):,}. Take fewer or shorter ones, or a larger share of the rows."
        )
    generator = np.random.default_rng(seed)
    found, names = np.array(numbers, np.float64), [NORMAL] * len(numbers)
    deviation = found.std(axis=0)
    for number in range(total):
        kind = kinds[number % len(kinds)]
        rows = 1 if kind == "spike" else length
        start = first + number * part + int(generator.integers(part - rows + 1))
        variable, sign = int(generator.integers(found.shape[1])), generator.choice([-1.0, 1.0])
        section = found[start : start + rows, variable]
        if kind == "flat":
            section[:] = section[0]
        else:
            section += sign * size * deviation[variable] * (1.0 if kind == "spike" else 0.5)
        names[start : start + rows] = [kind] * rows
    return found, names


def write_faulty_series(
    path: Path,
    target: Path,
    columns: Sequence[str] | None = None,
    kinds: Sequence[str] = FAULTS,
    *,
    share: float = 0.15,
    count: int = 10,
    length: int = 24,
    size: float = 4.0,
    seed: int = 0,
) -> int:
    """Writes a file of series with faults in its last rows and one more column, `fault`, and returns the faulty rows.

    The column has the kind of the fault of each row, `0` for none. All other columns are those of the file.

    Args:
        path: string or path. A CSV or TSV file with a header, plain or `.gz`.
        target: string or path. The CSV file to write.
        columns: list of strings. Names of the columns of numbers that may have faults. Defaults to `None`: all that
            hold numbers.
        kinds, count, length, size, seed: as for `inject_faults`.
        share: float, in (0, 1]. The share of the rows, at the end, in which there are faults. Defaults to `0.15`.

    Raises:
        ValueError: if an argument is out of its range, or the rows are too few for the faults.
        DataError: if the file cannot be read.
        SetupError: if `target` cannot be written.
    """
    share = _checks.number("write_faulty_series", "share", share, low=0, high=1, low_open=True)
    table_format = TableFormat(None, True, owner="write_faulty_series")
    names = list(columns or series_columns(path, table_format))
    numbers = read_series(path, names)
    first = round((1 - share) * len(numbers))
    sizes = {"count": count, "length": length, "size": size}
    faulty, found = inject_faults(numbers, kinds, first=first, seed=seed, **sizes)
    parser = table_format.parser(path, ())
    header, *rows = itertools.chain.from_iterable(parser(block)[1] for block in [*read_blocks(path), None])
    positions = [[name.strip() for name in header].index(name) for name in names]
    for row, values in zip(rows, faulty.tolist()):
        for position, value in zip(positions, values):
            row[position] = f"{value:.10g}"
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*header, "fault"])
    table.writerows([*row, kind] for row, kind in zip(rows, found, strict=True))
    _files.write_file(target, text.getvalue())
    return sum(kind != NORMAL for kind in found)
