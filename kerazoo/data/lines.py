"""Lines of text files, plain or gzip-compressed, with errors that name the file, the line and the reason."""

import gzip
import os
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator

from kerazoo import _checks

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLOCK = 1 << 20  # bytes that are read at once
STDIN = "-"  # the path that stands for standard input
MAX_CHARACTERS = 40  # of a bad line in an error
MAX_NAMES = 20  # of columns in an error

Path = str | os.PathLike
OnRead = Callable[[int], None]


class BadLines:
    """Handles bad lines: raises at the first one, or skips and counts them.

    Args:
        choice: string, `"stop"` or `"skip"`. Defaults to `"stop"`.

    Raises:
        ValueError: if `choice` is neither.
    """

    def __init__(self, choice: str = "stop"):
        self.choice = _checks.one_of("read_records", "bad_lines", choice, ("stop", "skip"))
        self.count = 0

    @classmethod
    def of(cls, bad_lines: "str | BadLines") -> "BadLines":
        """Returns `bad_lines` itself if it counts already, else a new counter of that choice."""
        return bad_lines if isinstance(bad_lines, BadLines) else cls(bad_lines)

    def __call__(self, path: Path, number: int, fault: str) -> None:
        """Raises a `DataError`, or counts."""
        if self.choice == "stop":
            raise _checks.DataError(f"{os.fspath(path)}:{number}: {fault}")
        self.count += 1


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the number, from 1, and the text of each line of a UTF-8 file, plain or `.gz`.

    A byte-order mark at the start is not part of the text. LF and CR LF end a line, no other character does, and the
    last line needs no end. `"-"` is standard input.

    Args:
        path: string or path.

    Raises:
        DataError: if the file is missing, empty or damaged, or a line is not UTF-8 or contains a NUL byte.
    """
    number = 0
    for block in read_blocks(path):
        lines, faults = decode_lines(block)
        for index, line in enumerate(lines):
            number += 1
            if index in faults:
                raise _checks.DataError(f"{os.fspath(path)}:{number}: {faults[index]}")
            yield number, line


def read_text(path: Path) -> str:
    """Returns the whole text of a UTF-8 file, with the rules and errors of `read_lines`."""
    return "\n".join(line for _, line in read_lines(path)) + "\n"


def read_blocks(path: Path, on_read: OnRead | None = None) -> Iterator[bytes]:
    """Yields the bytes of a file in blocks of whole lines, without a byte-order mark.

    Every block but the last ends at a line end. A line that is longer than a block is not divided.

    Args:
        path: string or path, plain or `.gz`; `"-"` is standard input.
        on_read: function of the number of bytes of the file that were read since its last call. Defaults to `None`.

    Raises:
        DataError: if the file is missing, empty or damaged.
    """
    path = os.fspath(path)
    num_lines, parts, position, first = 0, [], 0, True
    try:
        with open(sys.stdin.fileno() if path == STDIN else path, "rb", closefd=path != STDIN) as raw:
            file = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
            while block := file.read(BLOCK):
                if on_read and path != STDIN:
                    before, position = position, raw.tell()
                    on_read(position - before)
                end = block.rfind(b"\n") + 1
                if not end:
                    parts.append(block)
                    continue
                whole = b"".join([*parts, block[:end]])
                parts = [block[end:]] if end < len(block) else []
                num_lines += whole.count(b"\n")
                yield whole.removeprefix(BYTE_ORDER_MARK) if first else whole
                first = False
            if parts:
                whole = b"".join(parts)
                yield whole.removeprefix(BYTE_ORDER_MARK) if first else whole
                first = False
    except FileNotFoundError as error:
        raise _checks.DataError(f"{path}: no such file.{near(path)}") from error
    except IsADirectoryError as error:
        raise _checks.DataError(f"{path}: is a folder, not a file.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _checks.DataError(f"{path}: damaged gzip file after line {num_lines}: {error}.") from error
    except OSError as error:
        raise _checks.DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if first:
        raise _checks.DataError(f"{path}: is empty.")


def decode_lines(block: bytes) -> tuple[list[str], dict[int, str]]:
    """Returns the lines of a block of `read_blocks`, and the reason for each that is no text.

    Returns:
        A list of strings, the empty string for a line that is no text, and a dictionary of the index of such a line to
        the reason.
    """
    try:  # the whole block at once, which is many times as fast as line by line
        if b"\x00" in block:
            raise ValueError
        lines, faults = block.decode("utf-8").split("\n"), {}
        if b"\r" in block:
            lines = [line.removesuffix("\r") for line in lines]
    except ValueError:
        decoded = [decode_line(line) for line in block.split(b"\n")]
        lines = [text for text, _ in decoded]
        faults = {index: fault for index, (_, fault) in enumerate(decoded) if fault}
    if block.endswith(b"\n"):
        lines.pop()
    return lines, faults


def decode_line(line: bytes) -> tuple[str, str]:
    """Returns the text of a line, and the reason if it is none; one of the two is empty."""
    line = line.removesuffix(b"\r")
    if b"\x00" in line:
        return "", f"holds a NUL byte at position {line.index(0) + 1}: not a text file?"
    try:
        return line.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return "", (
            f"not UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}. "
            "Convert the file, for example with: iconv -f latin1 -t utf-8"
        )


def near(path: Path) -> str:
    """Returns a hint at a name in the same folder that looks like the missing one."""
    path = pathlib.Path(path)
    try:
        return _checks.hint(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""


def shorten(line: str | Iterable[str]) -> str:
    """Returns the beginning of a bad line, or of the values of a bad record, as errors show it."""
    line = line if isinstance(line, str) else "\t".join(line)
    return repr(line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 3] + "...")


def list_names(names: Iterable[str]) -> str:
    """Returns the names of columns, as errors show them."""
    names = [name if name.isprintable() else repr(name) for name in names]
    return ", ".join([*names[:MAX_NAMES], *(["..."] if len(names) > MAX_NAMES else [])]) or "none"
