"""Reads text files, with errors that name the file, the line and the reason."""

import dataclasses
import gzip
import os
import pathlib
import zlib

from kerazoo import _checks

MARK = b"\xef\xbb\xbf"  # the byte-order mark that some editors put in front of UTF-8
SHOWN = 40  # characters of a bad line in an error
# What the file of each split may be called, before its endings.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val"),
    "test": ("test",),
}


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


def read_lines(path):
    """Yields pairs of line number, from 1, and line without its end, of a UTF-8 text file, plain or `.gz`.

    A byte-order mark at the start is no part of the text, CR LF ends a line as LF does, and the last line needs no end.
    Lines are read one at a time.

    Raises:
        DataError: The file is missing, empty, damaged, or a line is not UTF-8 or holds a NUL byte.
    """
    path = os.fspath(path)
    number = 0
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(MARK)
                yield number, _decode(path, number, line)
    except FileNotFoundError as error:
        raise _checks.DataError(f"{path}: no such file.{_near(path)}") from error
    except IsADirectoryError as error:
        raise _checks.DataError(f"{path}: is a folder, not a file.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _checks.DataError(f"{path}: damaged gzip file after line {number}: {error}.") from error
    except OSError as error:
        raise _checks.DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if not number:
        raise _checks.DataError(f"{path}: is empty.")


def read_text(path):
    """Returns the whole text of a UTF-8 file, with the rules and errors of `read_lines`."""
    return "\n".join(line for _, line in read_lines(path)) + "\n"


def read_table(path, columns, bad_lines="stop", separator="\t"):
    """Returns some columns of a file of tab-separated values.

    Args:
        path: The file, plain or `.gz`.
        columns: Numbers of the columns, from 0.
        bad_lines: `"stop"` raises at a line with too few columns or an empty one among those asked for; `"skip"`
            leaves the line out and counts it. A line that is not UTF-8 always stops.
        separator: What stands between two columns.

    Returns:
        A `Columns`.

    Raises:
        DataError: As `read_lines`; a bad line; no line is left.
    """
    _checks.one_of("read_table", "bad_lines", bad_lines, ("stop", "skip"))
    least = max(columns) + 1
    rows, lines, skipped = [], [], 0
    for number, line in read_lines(path):
        values = line.split(separator)
        fault = _fault(values, columns, least, line)
        if fault is None:
            rows.append([values[column] for column in columns])
            lines.append(number)
        elif bad_lines == "skip":
            skipped += 1
        else:
            raise _checks.DataError(f"{path}:{number}: {fault}")
    if not rows:
        raise _checks.DataError(f"{path}: no line is left: all {skipped} are bad and were skipped.")
    return Columns(tuple(list(column) for column in zip(*rows)), lines, skipped)


def find_splits(data_dir, endings=(".tsv", ".tsv.gz")):
    """Returns the files of the splits in a folder, found by their names.

    Args:
        data_dir: A folder with a `train` file and maybe `dev` (or `valid`, `validation`, `val`) and `test`; a folder
            with a single file; or one file. A single file is given as `train`.
        endings: What a file name may end in.

    Returns:
        Dictionary of `"train"`, `"dev"`, `"test"` to a path, with the splits that are there; always a `"train"`.

    Raises:
        DataError: There is no such folder or file, no train file in it, or two files for one split.
    """
    path = pathlib.Path(data_dir).expanduser()
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise _checks.DataError(f"{path}: no such file or folder.{_near(path)}")
    files = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    found = {}
    for split, stems in SPLIT_NAMES.items():
        names = [stem + ending for stem in stems for ending in endings if stem + ending in files]
        if len(names) > 1:
            raise _checks.DataError(f"{path}: which is the {split} file? There are {', '.join(names)}. Keep one.")
        if names:
            found[split] = files[names[0]]
    if "train" in found:
        return found
    tables = [name for name in files if name.endswith(tuple(endings))]
    if len(tables) == 1 and not found:
        return {"train": files[tables[0]]}
    wanted = " or ".join("train" + ending for ending in endings)
    there = ", ".join(sorted(entry.name for entry in path.iterdir())[:6]) or "nothing"
    raise _checks.DataError(f"{path}: no {wanted}; there is: {there}.")


def _decode(path, number, line):
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    if b"\x00" in line:
        raise _checks.DataError(f"{path}:{number}: holds a NUL byte at position {line.index(0) + 1}: not a text file?")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _checks.DataError(
            f"{path}:{number}: not UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}. "
            "Convert the file, for example with: iconv -f latin1 -t utf-8"
        ) from error


def _fault(values, columns, least, line):
    """Returns what is wrong with a line, or None."""
    if len(values) < least:
        plural = "s separated by a tab" if least > 1 else ""
        return f"expected {least} column{plural}, got {len(values)}: {_shorten(line)}."
    for column in columns:
        if not values[column].strip():
            return f"column {column} is empty: {_shorten(line)}."
    return None


def _shorten(line):
    return repr(line if len(line) <= SHOWN else line[: SHOWN - 3] + "...")


def _near(path):
    """Returns a hint at a name in the same folder that looks like the missing one."""
    path = pathlib.Path(path)
    try:
        return _checks.hint(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
