"""Lines of text files, plain or packed, with errors that name the file, the line and the reason."""

import gzip
import itertools
import os
import pathlib
import sys
import zlib

from kerazoo import _checks

MARK = b"\xef\xbb\xbf"  # the byte-order mark that some editors put in front of UTF-8
BLOCK = 1 << 20  # bytes that are read at once
STDIN = "-"  # the path that stands for standard input


def read_lines(path):
    """Yields pairs of line number, from 1, and line without its end, of a UTF-8 text file, plain or `.gz`.

    A byte-order mark at the start is no part of the text, CR LF ends a line as LF does, and the last line needs no end.
    No other character ends a line. `"-"` is standard input.

    Raises:
        DataError: The file is missing, empty, damaged, or a line is not UTF-8 or holds a NUL byte.
    """
    for number, line, fault in scan(path):
        if fault:
            raise _checks.DataError(f"{os.fspath(path)}:{number}: {fault}")
        yield number, line


def read_text(path):
    """Returns the whole text of a UTF-8 file, with the rules and errors of `read_lines`."""
    return "\n".join(line for _, line in read_lines(path)) + "\n"


def scan(path, tick=None):
    """Yields `(number, line, fault)` for each line; a line that cannot be text is None and its fault says why.

    Args:
        path: The file, or `"-"`.
        tick: Function that is told how many bytes of the file were read since it was told last.
    """
    number = 0
    for block in blocks(path, tick):
        if b"\x00" in block:
            lines = None
        else:
            try:  # a whole block at once, which is many times as fast as line by line
                lines = block.decode("utf-8").split("\n")
            except UnicodeDecodeError:
                lines = None
        if lines is None:
            rows = [decode(line) for line in block.split(b"\n")]
        elif b"\r" in block:
            rows = [(line.removesuffix("\r"), None) for line in lines]
        else:
            rows = [(line, None) for line in lines]
        if block.endswith(b"\n"):
            rows.pop()
        for row in rows:
            number += 1
            yield number, *row


def blocks(path, tick=None):
    """Yields the bytes of a file in blocks that end at line ends, all but the last, without a byte-order mark.

    Args:
        path: The file, plain or `.gz`, or `"-"`.
        tick: As in `scan`.

    Raises:
        DataError: The file is missing, empty or damaged.
    """
    path = os.fspath(path)
    first, lines = True, 0
    try:
        for block in _whole_lines(path, tick):
            yield block.removeprefix(MARK) if first else block
            first = False
            lines += block.count(b"\n")
    except FileNotFoundError as error:
        raise _checks.DataError(f"{path}: no such file.{near(path)}") from error
    except IsADirectoryError as error:
        raise _checks.DataError(f"{path}: is a folder, not a file.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _checks.DataError(f"{path}: damaged gzip file after line {lines}: {error}.") from error
    except OSError as error:
        raise _checks.DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if first:
        raise _checks.DataError(f"{path}: is empty.")


def twin(path, source, target):
    """Returns the path of the targets that belong to a file of sources: `train.en` to `train.de`, packed or not."""
    path = pathlib.Path(path)
    plain = path.name.removesuffix(".gz")
    if not plain.endswith(f".{source}"):
        raise _checks.DataError(f"{path}: a file of sources must end in .{source} or .{source}.gz.")
    other = path.with_name(plain.removesuffix(source) + target)
    packed = other.with_name(other.name + ".gz")
    return packed if packed.exists() and not other.exists() else other


def read_pairs(source, target, bad, tick=None):
    """Yields `(where, [source line, target line])` of two files of equally many lines.

    Args:
        source: The file of sources.
        target: The file of targets.
        bad: What is called with path, number and fault of a line that is no text or empty; both lines are left out.
        tick: As in `scan`.

    Raises:
        DataError: As `read_lines`; one file has more lines than the other.
    """
    for one, other in itertools.zip_longest(scan(source, tick), scan(target, tick)):
        if one is None or other is None:
            short, long = (source, target) if one is None else (target, source)
            number = (one or other)[0]
            raise _checks.DataError(f"{short}:{number - 1}: ends here, but {long} goes on: lines must come in pairs.")
        for path, (number, line, fault) in ((source, one), (target, other)):
            if fault or not line or line.isspace():
                bad(path, number, fault or "is empty, but must go with a line of the other file.")
                break
        else:
            yield f"{os.fspath(source)}:{one[0]}", [one[1], other[1]]


def near(path):
    """Returns a hint at a name in the same folder that looks like the missing one."""
    path = pathlib.Path(path)
    try:
        return _checks.hint(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""


def _whole_lines(path, tick):
    """Yields blocks of whole lines; a line longer than a block comes whole as well."""
    with open(sys.stdin.fileno() if path == STDIN else path, "rb", closefd=path != STDIN) as raw:
        file = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        parts, told = [], 0
        while block := file.read(BLOCK):
            if tick and path != STDIN:
                place = raw.tell()
                tick(place - told)
                told = place
            cut = block.rfind(b"\n") + 1
            if cut:
                yield b"".join([*parts, block[:cut]])
                parts = [block[cut:]] if cut < len(block) else []
            else:
                parts.append(block)
        if parts:
            yield b"".join(parts)


def decode(line):
    line = line.removesuffix(b"\r")
    if b"\x00" in line:
        return None, f"holds a NUL byte at position {line.index(0) + 1}: not a text file?"
    try:
        return line.decode("utf-8"), None
    except UnicodeDecodeError as error:
        return None, (
            f"not UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}. "
            "Convert the file, for example with: iconv -f latin1 -t utf-8"
        )
