"""Lines of text files, plain or gzip-compressed, with errors that name the file, the line and the reason."""

import contextlib
import gzip
import os
import pathlib
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kerazoo import _checks

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLOCK = 1 << 20  # bytes that are read at once
LONG_LINE = 1 << 20  # bytes after which a line of a long text is divided at blanks
MAX_LINE = 1 << 28  # bytes of a line, which is held in memory
PROBE = 1 << 16  # bytes in which there is a line end, if there is one
LONE_CR = re.compile(rb"\r[^\n]")
STDIN = "-"  # the path that stands for standard input
MAX_CHARACTERS = 40  # of a bad line in an error
MAX_NAMES = 20  # of columns in an error
# What files that are no text in UTF-8 begin with.
SIGNATURES = {
    (b"\xff\xfe", b"\xfe\xff"): "is text in UTF-16. Convert the file, for example with: iconv -f utf-16 -t utf-8",
    (b"\x1f\x8b",): "is compressed with gzip, so its name must end in .gz. Rename it.",
    (b"PK\x03\x04",): "is a ZIP file or a spreadsheet. Unpack it, or save the table as CSV in UTF-8.",
    (b"\xd0\xcf\x11\xe0",): "is a file of an office program. Save the table as CSV in UTF-8.",
    (b"\x89PNG", b"\xff\xd8\xff"): "is an image, not text.",
}

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
            has_remedy = "Say " in fault or "Convert " in fault
            remedy = "" if has_remedy else " Correct it, or say bad_lines='skip' to leave such lines out."
            raise _checks.DataError(f"{os.fspath(path)}:{number}: {fault}{remedy}")
        self.count += 1


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the number, from 1, and the text of each line of a UTF-8 file, plain or `.gz`.

    A byte-order mark at the start is not part of the text. LF and CR LF end a line, and so does CR in a file without
    LF; no other character does, and the last line needs no end. `"-"` is standard input, whose lines are yielded as
    they come.

    Args:
        path: string or path.

    Raises:
        DataError: if the file is missing, empty or damaged, or a line is not UTF-8 or contains a NUL byte.
    """
    number = 0
    for block in read_blocks(path, at_once=False):
        lines, faults = decode_lines(block)
        for index, line in enumerate(lines):
            number += 1
            if index in faults:
                name = "standard input" if path == STDIN else os.fspath(path)
                raise _checks.DataError(f"{name}:{number}: {faults[index]}")
            yield number, line


def read_text(path: Path) -> str:
    """Returns the whole text of a UTF-8 file, with the rules and errors of `read_lines`."""
    return "\n".join(line for _, line in read_lines(path)) + "\n"


def read_blocks(
    path: Path, on_read: OnRead | None = None, *, at_once: bool = True, cut_lines: bool = False
) -> Iterator[bytes]:
    """Yields the bytes of a file in blocks of whole lines that end in LF, without a byte-order mark.

    Every block but the last ends at a line end. CR becomes LF in a file that has CR and no LF.

    Args:
        path: string or path, plain or `.gz`; `"-"` is standard input, which may be empty.
        on_read: function of the number of bytes of the file that were read since its last call. Defaults to `None`.
        at_once: bool. Whether standard input is waited for until a block is full. Defaults to `True`.
        cut_lines: bool. Whether a line that is longer than `LONG_LINE` bytes is divided at blanks instead of being kept
            whole. Defaults to `False`.

    Raises:
        DataError: if the file is missing, empty or damaged, or a line is longer than `MAX_LINE` bytes.
    """
    path = os.fspath(path)
    num_lines, parts, size, first = 0, [], 0, True
    try:
        for block in _line_feeds(path, _checked(path, _read(path, on_read, at_once))):
            end = block.rfind(b"\n") + 1
            if cut_lines and not end and size > LONG_LINE:
                end = _last_cut(block)
            if not end:
                parts.append(block)
                size += len(block)
                if size > MAX_LINE:
                    raise _checks.DataError(
                        f"{path}:{num_lines + 1}: a line must have at most {MAX_LINE:,} bytes; this one has more. "
                        "Are these lines of text?"
                    )
                continue
            whole = b"".join([*parts, block[:end]])
            parts, size = ([block[end:]], len(block) - end) if end < len(block) else ([], 0)
            num_lines += whole.count(b"\n")
            yield whole.removeprefix(BYTE_ORDER_MARK) if first else whole
            first = False
        if parts:
            whole = b"".join(parts)
            yield whole.removeprefix(BYTE_ORDER_MARK) if first else whole
            first = False
    except FileNotFoundError as error:
        raise _checks.MissingDataError(f"{path}: no such file.{near(path)}") from error
    except IsADirectoryError as error:
        raise _checks.DataError(f"{path}: is a folder, not a file.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        if str(error).startswith("Not a gzipped file") and not num_lines:
            raise _checks.DataError(f"{path}: is not compressed with gzip. Rename it without .gz.") from error
        raise _checks.DataError(f"{path}: damaged gzip file after line {num_lines}: {error}. Copy it again.") from error
    except OSError as error:
        raise _checks.DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if first and path != STDIN:
        raise _checks.DataError(f"{path}: is empty.")


def _read(path, on_read, at_once):
    """Yields the bytes of a file, unpacked, in blocks of any size."""
    position = 0
    with contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else open(path, "rb") as opened:
        raw: Any = opened
        file = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        read = file.read if at_once or path != STDIN else raw.read1
        while block := read(BLOCK):
            if on_read and path != STDIN:
                before, position = position, raw.tell()
                on_read(position - before)
            yield block


def _checked(path, blocks):
    """Yields the blocks; raises a DataError if the first one begins as files do that are no text."""
    first = next(blocks, b"")
    for beginnings, fault in SIGNATURES.items():
        if first.startswith(beginnings):
            raise _checks.DataError(f"{'standard input' if path == STDIN else path}: {fault}")
    if first:
        yield first
    yield from blocks


def _line_feeds(path, blocks):
    """Yields the blocks, with CR replaced by LF if it is CR that ends the first lines."""
    end, held = b"", b""
    for block in blocks:
        if not end:
            held += block
            lone = len(LONE_CR.findall(held)) if len(held) >= PROBE else 0
            end = b"\r" if lone > held.count(b"\n") else b"\n" if b"\n" in held else b""
            if not end and b"\r" in held:
                continue
            block, held = held, b""
        if end == b"\r" and b"\n" in block:
            raise _checks.DataError(
                f"{path}: the first lines end in CR and others in LF. Convert the file, for example with: "
                "tr '\\r' '\\n'"
            )
        yield block.replace(b"\r", b"\n") if end == b"\r" else block
    if held:
        yield held.replace(b"\r", b"\n") if LONE_CR.search(held) else held


def _last_cut(block):
    """Returns where the last word of a block begins, or its last character if it has no blanks; 0 for none."""
    end = block.rfind(b" ") + 1
    if end:
        return end
    end = len(block) - 1
    while end > 0 and (block[end] & 0xC0 == 0x80 or block[end - 1] == ord("\r")):
        end -= 1
    return end


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
