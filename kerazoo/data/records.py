"""Records of tables, one reader for all formats: the chosen columns of a file, record by record."""

import itertools
import os

from kerazoo.data.faults import BadLines, shorten
from kerazoo.data.formats import FORMATS, ending
from kerazoo.data.lines import scan


def read_records(path, columns, bad_lines="stop", header=None, format=None, tick=None):
    """Yields `(where, values)` for each record of a table; the file is read as it goes, whatever its size.

    What is common to all formats: UTF-8 without NUL bytes, ends of lines as in `read_lines`, and every chosen value
    must hold more than white space. An empty line is a bad line.

    Args:
        path: The file, plain or `.gz`, or `"-"` for standard input.
        columns: For each value a column: its number from 0, its name, or a list of several whose values are joined by
            a blank. A name stands in the header line of a TSV or CSV, or is a field of a JSON object, `"a.b"` for
            field `b` of the object `a`.
        bad_lines: `"stop"` raises at a bad line; `"skip"` leaves it out; or a `BadLines` that counts.
        header: Whether the first line of a TSV or CSV holds the names of the columns; by default it does where a
            column is chosen by name.
        format: A key of `FORMATS`; by default the ending of the file's name.
        tick: Function that is told how many bytes were read since it was told last.

    Yields:
        `(where, values)`: `"file:line"` and a list of strings, one for each of `columns`.

    Raises:
        DataError: As `read_lines`; a bad line; an ending of no known format; a column that is not there.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "reviews.csv"
    path.write_text('text,stars\\n"Good, and cheap",5\\n')
    for where, (text, stars) in kz.data.read_records(path, ["text", "stars"]):
        print(where, text, stars)
    ```
    """
    path = os.fspath(path)
    bad = bad_lines if isinstance(bad_lines, BadLines) else BadLines(bad_lines)
    wanted = [tuple(column) if isinstance(column, list | tuple) else (column,) for column in columns]
    flat = list(itertools.chain.from_iterable(wanted))
    rows = FORMATS[format or ending(path)](path, scan(path, tick), flat, header, bad)
    joined = any(len(group) > 1 for group in wanted)
    for number, values in rows:
        for column, value in zip(flat, values):
            if not value or value.isspace():
                bad(path, number, f"column {column!r} is empty: {shorten(values)}.")
                break
        else:
            if joined:
                left = iter(values)
                values = [" ".join(itertools.islice(left, len(group))) for group in wanted]
            yield f"{path}:{number}", values
