"""Records of tables, one reader for all formats: the chosen columns of a file."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence

from kerazoo import _checks
from kerazoo.data.formats import Records, TableFormat, parse_file
from kerazoo.data.lines import BadLines, OnRead, Path, shorten

Column = int | str | Sequence[int | str]


@dataclasses.dataclass(frozen=True)
class Table:
    """Some columns of a table in memory.

    Args:
        columns: tuple of one list of strings per chosen column, all of the same length.
        lines: list with the line number of each row, counted from 1.
        skipped: integer. Number of bad lines that were left out. Defaults to `0`.
    """

    columns: tuple[list[str], ...]
    lines: list[int]
    skipped: int = 0


def read_records(
    path: Path,
    columns: Sequence[Column],
    bad_lines: str | BadLines = "stop",
    header: bool | None = None,
    format: str | None = None,
    *,
    delimiter: str | None = None,
    quote: str | None = None,
    on_read: OnRead | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Yields the chosen values of each record of a table.

    The file is read in blocks and may have any size. All formats have in common: UTF-8 without NUL bytes, ends of lines
    as in `read_lines`, and every chosen value must contain more than white space. An empty line is a bad line unless
    nothing follows it, and so is one with more columns than the first.

    Args:
        path: string or path of a file, plain or `.gz`; `"-"` is standard input.
        columns: list with one entry per value: the number of a column from 0, its name, or a list of several whose
            values are joined by a blank. A name is looked up in the header line of a TSV or CSV, or is a field of a
            JSON object, `"a.b"` for field `b` of the object `a`.
        bad_lines: string or `BadLines`. `"stop"` raises at a bad line, `"skip"` leaves it out, a `BadLines` also
            counts. Defaults to `"stop"`.
        header: bool or `None`. Whether the first line contains the names of the columns. `None` means that it does if a
            column is chosen by name, or if it is recognised: its values are usual names of columns, or a column has
            numbers in all other lines. A first line that may be either is refused. Defaults to `None`.
        format: string, `"tsv"`, `"csv"`, `"jsonl"` or `"txt"`, or `None` for the ending of the file's name. Defaults to
            `None`.
        delimiter: string of one character, or `"tab"`. What separates the columns; with it a file of any ending is read
            as `"csv"`. `None` means a tab or a comma, by the format. Defaults to `None`.
        quote: string of one character that values may be enclosed in, or `""` for none. `None` means `'"'` in CSV. In a
            TSV, quotes around values are then removed if the file was written with them, as a spreadsheet does, and
            kept if they are text; a file that may be either is refused. Defaults to `None`.
        on_read: function of the number of bytes that were read since its last call. Defaults to `None`.

    Yields:
        `(location, values)`: `"file:line"` and a list of strings, one for each of `columns`.

    Raises:
        DataError: if the file cannot be read as text, a line is bad, the format is unknown or a column is missing.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "reviews.csv"
    path.write_text('text,stars\\n"Good, and cheap",5\\n')
    for location, (text, stars) in kz.data.read_records(path, ["text", "stars"]):
        print(location, text, stars)
    ```
    """
    table_format = TableFormat(format, header, delimiter, quote)
    for records in read_record_blocks(path, columns, bad_lines, table_format, on_read):
        for number, *values in zip(records.numbers, *records.columns):
            yield f"{os.fspath(path)}:{number}", values


def read_record_blocks(
    path: Path,
    columns: Sequence[Column],
    bad_lines: str | BadLines,
    table_format: TableFormat,
    on_read: OnRead | None = None,
) -> Iterator[Records]:
    """Yields the records of a table as one `Records` for each block of the file; see `read_records`."""
    groups = [(column,) if isinstance(column, int | str) else tuple(column) for column in columns]
    flat: list[int | str] = list(itertools.chain.from_iterable(groups))
    bad, check = BadLines.of(bad_lines), _NotEmpty(flat)
    for records in parse_file(os.fspath(path), flat, bad, check, table_format, on_read):
        remaining = iter(records.columns)
        parts = [list(itertools.islice(remaining, len(group))) for group in groups]
        joined = [part[0] if len(part) == 1 else [" ".join(values) for values in zip(*part)] for part in parts]
        yield Records(records.numbers, joined)


def read_table(
    path: Path,
    columns: Sequence[Column],
    bad_lines: str = "stop",
    header: bool | None = None,
    format: str | None = None,
    *,
    delimiter: str | None = None,
    quote: str | None = None,
) -> Table:
    """Returns some columns of a table of any format; the arguments are those of `read_records`.

    Returns:
        A `Table`.

    Raises:
        DataError: as `read_records`, and if no line is left.
    """
    bad = BadLines(bad_lines)
    numbers, lists = [], [[] for _ in columns]
    for records in read_record_blocks(path, columns, bad, TableFormat(format, header, delimiter, quote)):
        numbers += records.numbers
        for values, column in zip(lists, records.columns):
            values += column
    if not numbers:
        left = f"all {bad.count} are bad and were skipped" if bad.count else "there is nothing but a header"
        raise _checks.DataError(f"{os.fspath(path)}: no line is left: {left}.")
    return Table(tuple(lists), numbers, bad.count)


class _NotEmpty:
    """The rule that every value contains more than white space."""

    def __init__(self, columns):
        self.columns = columns

    def all_valid(self, columns):
        return all(all(map(str.strip, column)) for column in columns)

    def fault(self, values):
        for column, value in zip(self.columns, values):
            if not value or value.isspace():
                return f"column {column!r} is empty: {shorten(values)}."
        return None
