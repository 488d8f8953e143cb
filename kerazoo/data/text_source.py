"""Long texts: read in blocks of whole lines, and divided into train, dev and test by position."""

import functools
import itertools
import math
import os
import re
from collections.abc import Iterator

from kerazoo.data import cache
from kerazoo.data.data_source import Chunk
from kerazoo.data.file_source import FileSource, ReadProgress
from kerazoo.data.lines import STDIN, BadLines, OnRead, Path, decode_line, read_blocks
from kerazoo.data.splits import split_range

NEAR = 0.02  # of a text, within which a part of it begins at a line end
BLANK = re.compile(rb"[ \n\t]")
MAX_WORD = 1000  # bytes without a blank after which a text is taken to have none


class TextSource(FileSource):
    """Long texts, one per file; the column is `text`.

    A text comes in chunks of one string of whole lines each, which `continues` until its end; a line of more than a
    megabyte is divided at blanks. If no dev or test text is given, each training text is divided at line ends, or at
    blanks where no line end is near: its last 5 % are test, the 5 % before dev.

    Args:
        data_dir: string or path. A file, a folder with `train.txt` and optionally `dev.txt` and `test.txt`, a pattern,
            or several with weights, which must be whole numbers.
        dev_data: string, path or `None`. File or pattern of the dev texts if not found by name. Defaults to `None`.
        test_data: the same for the test texts. Defaults to `None`.
        bad_lines: string, `"stop"` to raise at a line that is no text or `"skip"` to leave it out. Defaults to
            `"stop"`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "book.txt"
    path.write_text("".join(f"Line {number}.\\n" for number in range(100)))
    source = kz.data.TextSource(path)
    print(next(source.chunks("dev")).columns["text"])
    ```
    """

    columns = ("text",)
    rows_continue = True

    def __init__(
        self,
        data_dir: str | os.PathLike,
        *,
        dev_data: str | os.PathLike | None = None,
        test_data: str | os.PathLike | None = None,
        bad_lines: str = "stop",
    ):
        extensions = (".txt", ".txt.gz", ".text", ".md")
        super().__init__(data_dir, extensions, dev_data=dev_data, test_data=test_data, bad_lines=bad_lines)

    def fingerprint(self, split: str):
        """Returns plain values that change whenever the texts of a split do; `None` for standard input."""
        texts = self._texts(split)
        if STDIN in dict(texts):
            return None
        return [self.settings, cache.fingerprint([path for path, _ in texts]), [part for _, part in texts]]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the texts of a split in blocks."""
        texts = self._texts(split)
        self._standard_input.check(split, list(dict(texts)))
        return self._blocks(texts)

    def _blocks(self, texts):
        bad, progress, counted = BadLines(self.bad_lines), ReadProgress([path for path, _ in texts]), 0
        for path, (begin, end) in texts:
            blocks = read_part(path, begin, end, bad, progress.on_read)
            for block, following in itertools.pairwise(itertools.chain(blocks, [None])):
                skipped, counted = bad.count - counted, bad.count
                continues = following is not None
                yield Chunk({"text": [block]}, skipped, continues, progress.fraction, [os.fspath(path)])

    def _texts(self, split):
        """Returns the path of each text of a split and the part of it that belongs to the split."""
        texts = []
        for paths, fractions, weight in self.parts(split):
            if weight != int(weight):
                raise ValueError(f"TextSource: the weight of a text must be a whole number; got {weight}.")
            for path in paths:
                texts += [(path, split_range(split, fractions))] * int(weight)
        return texts


def read_part(
    path: Path,
    begin: float = 0.0,
    end: float = 1.0,
    bad_lines: str | BadLines = "stop",
    on_read: OnRead | None = None,
) -> Iterator[str]:
    """Yields a part of a UTF-8 text in blocks of about a megabyte that end at line ends.

    A line belongs to the part that contains its first byte, so adjacent parts share no line and leave none out. Where
    no line begins within the next 2 % of the text, a part begins at the next word. CR LF becomes LF, CR as well if
    there is no LF, and a byte-order mark is left out; the rest of the text stays as it is.

    Args:
        path: string or path, plain or `.gz`.
        begin: float in [0, 1]. Where the part begins, as a fraction of the whole text. Defaults to `0.0`.
        end: float in [0, 1]. Where it ends. Defaults to `1.0`.
        bad_lines: string or `BadLines`. `"stop"` raises at a line with a NUL byte or bytes that are not UTF-8, `"skip"`
            leaves it out, a `BadLines` also counts. Defaults to `"stop"`.
        on_read: function of the number of bytes that were read since its last call. Defaults to `None`.

    Raises:
        DataError: if the file is missing, empty or damaged, or a line is bad.
    """
    bad = BadLines.of(bad_lines)
    size = 0 if (begin, end) == (0, 1) else _size(path)
    first, last = begin * size, end * size if end < 1 else float("inf")
    position, number, reach = 0, 0, int(size * NEAR)
    for block in read_blocks(path, on_read, cut_lines=True):
        start, stop = _cut(block, first - position, reach), _cut(block, last - position, reach)
        if start < stop:
            yield _decode(path, block[start:stop], number + block.count(b"\n", 0, start), bad)
        position += len(block)
        number += block.count(b"\n")


def _cut(block, offset, reach):
    """Returns where the first line of `block` begins within `reach` of `offset`, or else the next word or character."""
    if offset <= 0:
        return 0
    if offset > len(block):
        return len(block)
    start = math.ceil(offset) - 1
    line_end = block.find(b"\n", start, start + 1 + reach)
    if line_end >= 0:
        return line_end + 1
    blank = BLANK.search(block, start, start + MAX_WORD)
    if blank:
        return blank.end()
    start += 1
    while start < len(block) and block[start] & 0xC0 == 0x80:  # inside of a character
        start += 1
    return start


def _size(path):
    """Returns the number of bytes of the text, decompressed; a compressed file is read for it, but only once."""
    status = os.stat(path)
    if os.fspath(path).endswith(".gz"):
        return _decompressed_size(os.fspath(path), status.st_size, status.st_mtime_ns)
    return status.st_size


@functools.lru_cache(maxsize=256)
def _decompressed_size(path, size, time):
    del size, time  # a part of the key: another file may get the same path
    return sum(map(len, read_blocks(path, cut_lines=True)))


def _decode(path, block, number, bad):
    try:
        if b"\x00" not in block:
            return block.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        pass
    kept = []
    for index, line in enumerate(block.split(b"\n"), 1):
        text, fault = decode_line(line)
        if fault:
            bad(path, number + index, fault)
        else:
            kept.append(text)
    return "\n".join(kept)
