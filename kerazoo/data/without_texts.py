"""A source without the training texts that overlap with texts of an evaluation."""

import functools
import re
from collections.abc import Iterator
from typing import Any

from kerazoo import _checks
from kerazoo.data import cache
from kerazoo.data.data_files import find_files
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.lines import read_lines
from kerazoo.data.wrapped_source import WrappedSource

WORD = re.compile(r"\w+")
RUN = 8  # words in a row that two texts share only if one quotes the other
SHARE = 0.5  # of the words in a row of a text; with less in common it may have a sentence that many texts have


class WithoutTexts(WrappedSource):
    """The examples of another source without the training texts that overlap with texts of some files.

    What a model is pretrained on must not contain the texts that it is evaluated on later. A text is left out if half
    or more of its runs of 8 words are in the files, so that sentences that many texts share do no harm; a text of fewer
    than 8 words if the files have it as a whole. Punctuation and case do not count. Texts that are left out are counted
    as skipped.

    Args:
        source: `DataSource`. What is read; each row is a text.
        column: string. The column of the texts.
        files: string. Files with one text in each line, plain or .gz: a path, a pattern, or several with commas between
            them.

    Raises:
        ValueError: if a text of the source is spread over several rows.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "test.txt"
    path.write_text("A duck.\\n")
    source = kz.data.MemorySource({"train": {"text": ["a duck", "two ducks"]}, "dev": {"text": ["a duck"]}})
    print(next(kz.data.WithoutTexts(source, "text", str(path)).chunks("train")).columns)
    ```

    Reference: Brown et al. 2020, Language Models are Few-Shot Learners, arXiv:2005.14165, whose appendix C leaves out
    training texts that share 13 words in a row with a test set.
    """

    def __init__(self, source: DataSource, column: str, files: str):
        super().__init__(source)
        if source.rows_continue:
            raise ValueError(
                f"WithoutTexts: `files` are compared with texts in rows, such as those of a table; got files={files!r} "
                "for long texts."
            )
        self.column = column
        self.names = [str(part) for part in str(files).split(",")]

    def check(self) -> None:
        """Checks the source and that the files are there."""
        super().check()
        self._paths()

    def with_test_data(self, path: Any) -> DataSource | None:
        """Returns the source with other test examples, and without training examples."""
        return self.source.with_test_data(path)

    def fingerprint(self, split: str) -> Any:
        """Returns plain values that change whenever the examples do."""
        values = self.source.fingerprint(split)
        if values is None or split != "train":
            return values
        return [*values, "without texts", self.column, cache.fingerprint(self._paths())]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the chunks of the source; those of train lack the texts that overlap with the files."""
        for chunk in self.source.chunks(split):
            yield self._without(chunk) if split == "train" else chunk

    def _without(self, chunk):
        kept = [row for row, text in enumerate(chunk.columns[self.column]) if not self._overlaps(text)]
        return chunk.take(kept)._replace(skipped=chunk.skipped + chunk.num_rows - len(kept))

    def _overlaps(self, text):
        runs = list(parts(text))
        return bool(runs) and sum(run in self._parts for run in runs) >= SHARE * len(runs)

    def _paths(self):
        return [path for name in self.names for path in find_files(name)]

    @functools.cached_property
    def _parts(self):
        found = {part for path in self._paths() for _, line in read_lines(path) for part in parts(line)}
        if not found:
            raise _checks.DataError(f"{', '.join(self.names)}: hold no text that training texts could overlap with.")
        return frozenset(found)


def parts(text: str) -> Iterator[str]:
    """Yields each 8 words in a row of a text, or for all of a shorter one.

    Args:
        text: string. A text, or the cells of a row between tabs, which are texts of their own.
    """
    for cell in text.split("\t"):
        words = WORD.findall(cell.lower())
        for start in range(max(len(words) - RUN + 1, min(len(words), 1))):
            yield " ".join(words[start : start + RUN])
