"""One long text: read in blocks of whole lines, and divided by place where it has no dev and test parts."""

import os

from kerazoo.data import lines
from kerazoo.data.faults import BadLines


def read_part(path, begin=0.0, end=1.0, bad_lines="stop", tick=None):
    """Yields a part of a UTF-8 text in blocks of about a megabyte that end at line ends.

    A line belongs to the part in which its first byte lies, so parts that meet have no line in common and leave none
    out. CR LF becomes LF; a byte-order mark is left out; all else stays as it is, the missing end of a last line too.

    Args:
        path: The file, plain or `.gz`.
        begin: Where the part begins, a share of the whole text in [0, 1].
        end: Where it ends, a share in [0, 1].
        bad_lines: `"stop"` raises at a line with a NUL byte or bytes that are not UTF-8; `"skip"` leaves the line out;
            or a `BadLines` that counts.
        tick: Function that is told how many bytes of the file were read since it was told last.

    Raises:
        DataError: The file is missing, empty or damaged; a bad line.
    """
    bad = bad_lines if isinstance(bad_lines, BadLines) else BadLines(bad_lines)
    size = 0 if (begin, end) == (0, 1) else _size(path)
    first, last = begin * size, end * size if end < 1 else float("inf")
    place, number = 0, 0
    for block in lines.blocks(path, tick):
        start, stop = _line_start(block, first - place), _line_start(block, last - place)
        if start < stop:
            yield _decode(path, block[start:stop], number + block.count(b"\n", 0, start), bad)
        place += len(block)
        number += block.count(b"\n")


def _line_start(block, offset):
    """Returns where the first line of `block` begins that begins at `offset` or behind it."""
    if offset <= 0:
        return 0
    if offset > len(block):
        return len(block)
    return block.find(b"\n", int(-(-offset // 1)) - 1) + 1 or len(block)


def _size(path):
    """Returns the bytes of the text, unpacked."""
    return sum(map(len, lines.blocks(path))) if os.fspath(path).endswith(".gz") else os.path.getsize(path)


def _decode(path, block, number, bad):
    try:
        if b"\x00" not in block:
            return block.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        pass
    kept = []
    for after, line in enumerate(block.split(b"\n"), 1):
        text, fault = lines.decode(line)
        if fault:
            bad(path, number + after, fault)
        else:
            kept.append(text)
    return "\n".join(kept)
