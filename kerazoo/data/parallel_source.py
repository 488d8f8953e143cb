"""Pairs of files with one sentence per line, such as `train.en` and `train.de`."""

import os
import pathlib
from collections.abc import Iterator

from kerazoo import _checks
from kerazoo.data.data_source import Chunk
from kerazoo.data.file_source import FileSource
from kerazoo.data.lines import BadLines, OnRead, Path, decode_lines, read_blocks


class ParallelSource(FileSource):
    """Sentence pairs from two files with equally many lines; the columns are `source` and `target`.

    A dev or test split that is not given is held out from train, 5 % each: equal sources stay together, and every class
    stays in train (see `kerazoo.data.held_out`).

    Args:
        data_dir: string or path. A folder with `train.en` and `train.de` and optionally `dev` and `test`, plain or
            .gz; the file or a pattern of the sources; or several with weights, as for `TableSource`.
        source_language: string. What the names of the files of sources end in, such as `"en"`.
        target_language: string. What the names of the files of targets end in; the rest of the name is the same.
        dev_data: string, path or `None`. File or pattern of the dev sources if not found by name. Defaults to `None`.
        test_data: the same for the test sources. Defaults to `None`.
        bad_lines: string, `"stop"` to raise if one of two lines is bad or `"skip"` to leave both out. Files of unequal
            length always raise. Defaults to `"stop"`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "train.en").write_text("one\\ntwo\\n")
    (folder / "train.de").write_text("eins\\nzwei\\n")
    source = kz.data.ParallelSource(folder, "en", target_language="de")
    print(next(source.chunks("train")).columns)
    ```
    """

    columns = ("source", "target")

    def __init__(
        self,
        data_dir: str | os.PathLike,
        source_language: str,
        *,
        target_language: str,
        dev_data: str | os.PathLike | None = None,
        test_data: str | os.PathLike | None = None,
        bad_lines: str = "stop",
    ):
        for name, value in (("source_language", source_language), ("target_language", target_language)):
            if not isinstance(value, str) or not value:
                raise ValueError(
                    f"ParallelSource: needs `{name}`, what the files' names end in, such as 'en'; got {value!r}."
                )
        extensions = (f".{source_language}", f".{source_language}.gz")
        super().__init__(data_dir, extensions, dev_data=dev_data, test_data=test_data, bad_lines=bad_lines)
        self.source_language = source_language
        self.target_language = target_language

    @property
    def settings(self) -> list:
        """Plain values that decide what is read from the files."""
        return [*super().settings, self.source_language, self.target_language]

    def companions(self, path) -> tuple:
        """Returns a file of sources and its file of targets."""
        return path, target_file(path, self.source_language, self.target_language)

    def read(self, path, bad, progress) -> Iterator[Chunk]:
        """Yields chunks of pairs of lines."""
        for numbers, sources, targets in read_pairs(path, self.companions(path)[1], bad, progress.on_read):
            columns = {"source": sources, "target": targets}
            yield Chunk(columns, locations=[f"{path}:{number}" for number in numbers])


def target_file(path: Path, source_language: str, target_language: str) -> pathlib.Path:
    """Returns the file of targets of a file of sources: `train.de` for `train.en`, plain or `.gz`.

    Raises:
        DataError: if `path` does not end in `source_language`.
    """
    path = pathlib.Path(path)
    plain = path.name.removesuffix(".gz")
    if not plain.endswith(f".{source_language}"):
        raise _checks.DataError(f"{path}: a file of sources must end in .{source_language} or .{source_language}.gz.")
    other = path.with_name(plain.removesuffix(source_language) + target_language)
    packed = other.with_name(other.name + ".gz")
    return packed if packed.exists() and not other.exists() else other


def read_pairs(
    source: Path, target: Path, bad: BadLines, on_read: OnRead | None = None
) -> Iterator[tuple[list[int], list[str], list[str]]]:
    """Yields line numbers, source lines and target lines of two files with equally many lines, in blocks.

    Args:
        source: the file of sources.
        target: the file of targets.
        bad: called with path, number and reason of a line that is no text or empty; both lines are left out.
        on_read: see `kerazoo.data.lines.read_blocks`. Defaults to `None`.

    Raises:
        DataError: as `read_lines`, and if one file has more lines than the other.
    """
    first, files = 1, [_Lines(source, on_read), _Lines(target, on_read)]
    while True:
        available = [file.fill() for file in files]
        count = min(available)
        if not count:
            break
        blocks = [file.take(count) for file in files]
        yield _valid_pairs(files, first, blocks, bad)
        first += count
    if any(available):
        short, long = (source, target) if not available[0] else (target, source)
        raise _checks.DataError(f"{short}:{first - 1}: ends here, but {long} goes on: lines must come in pairs.")


def _valid_pairs(files, first, blocks, bad):
    (sources, source_faults), (targets, target_faults) = blocks
    numbers = list(range(first, first + len(sources)))
    if not (source_faults or target_faults) and all(map(str.strip, sources)) and all(map(str.strip, targets)):
        return numbers, sources, targets
    kept = []
    for index, number in enumerate(numbers):
        for file, (lines, faults) in zip(files, blocks):
            if index in faults or not lines[index] or lines[index].isspace():
                bad(file.path, number, faults.get(index) or "is empty, but must go with a line of the other file.")
                break
        else:
            kept.append(index)
    return [numbers[i] for i in kept], [sources[i] for i in kept], [targets[i] for i in kept]


class _Lines:
    """The lines of a file, any number at once."""

    def __init__(self, path, on_read):
        self.path = path
        self.blocks = read_blocks(path, on_read)
        self.lines, self.faults = [], {}

    def fill(self):
        """Returns how many lines there are, having read the next block if there was none; 0 at the end."""
        if not self.lines and (block := next(self.blocks, None)) is not None:
            self.lines, self.faults = decode_lines(block)
        return len(self.lines)

    def take(self, count):
        """Returns the next lines, and the reason for each that is no text."""
        lines, self.lines = self.lines[:count], self.lines[count:]
        faults = {index: fault for index, fault in self.faults.items() if index < count}
        self.faults = {index - count: fault for index, fault in self.faults.items() if index >= count}
        return lines, faults
