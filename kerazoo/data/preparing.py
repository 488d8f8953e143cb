"""From raw examples to a corpus: several chunks at once, with a line of progress, kept in the cache."""

import collections
import concurrent.futures
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kerazoo import _checks
from kerazoo.data import cache
from kerazoo.data.corpus import Corpus, CorpusBuilder, Features
from kerazoo.data.data_source import Chunk

QUIET_SECONDS = 2.0  # before the first line of progress: most data is ready by then
SECONDS_BETWEEN_LINES = 10.0  # without a terminal

Convert = Callable[[Chunk], tuple[Features, Mapping[str, int]]]


def prepare(label: str, chunks: Callable[[], Iterable[Chunk]], convert: Convert, key: str | None = None) -> Corpus:
    """Returns the `Corpus` of the chunks, from the cache if it was made before.

    Args:
        label: string. What is prepared, for messages.
        chunks: function without arguments that returns an iterable of `Chunk`; called only if the corpus is made.
        convert: function of a `Chunk` that returns `(features, notes)`: a dictionary of name to `Ragged` or array, and
            a dictionary of name to count. Several chunks are converted at the same time, in threads.
        key: string or `None`. Name of the entry in the cache; `None` keeps the corpus in memory. Defaults to `None`.

    Returns:
        A `Corpus` with the sums of all notes.

    Raises:
        NoExamplesError: if there is no example.

    Example:

    ```python
    import kerazoo as kz

    def convert(chunk):
        return {"letters": kz.data.Ragged.from_rows([list(word.encode()) for word in chunk.columns["word"]])}, {}

    corpus = kz.data.prepare("words", lambda: [kz.data.Chunk({"word": ["zoo", "a"]})], convert)
    print(len(corpus), corpus.lengths("letters"))
    ```
    """

    def fill(folder=None):
        builder, notes = CorpusBuilder(folder), collections.Counter()
        with Progress(label) as progress:
            try:
                for chunk, (features, counts) in in_order(convert, chunks()):
                    builder.add(features, chunk.continues)
                    notes.update(counts)
                    notes["skipped"] += chunk.skipped
                    progress.update(chunk.progress, builder.examples, builder.values)
                if not builder.examples:
                    raise no_examples(label, notes)
                notes = {name: count for name, count in notes.items() if count or name != "skipped"}
                return builder.finish(notes), notes
            finally:
                builder.close()

    if key is None or cache.cache_dir() is None:
        return Corpus(*fill())
    return cache.entry(key, fill, Corpus.open)


def no_examples(label: str, notes: Mapping[str, int]) -> _checks.NoExamplesError:
    """Returns the error of data without examples, which says what became of those that were read."""
    reason = "there are no examples. Give it more data."
    if notes.get("unseen"):
        reason = f"the classes of all {notes['unseen']:,} examples are not in the training data."
    elif notes.get("skipped"):
        reason = f"there are no examples: all {notes['skipped']:,} are bad and were skipped. bad_lines='stop' says why."
    return _checks.NoExamplesError(f"{label}: {reason}")


def in_order(function: Callable, items: Iterable, workers: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Yields each item with the result of `function` for it, in order; computes some of them ahead in threads.

    Args:
        function: function of an item.
        items: iterable.
        workers: integer or `None`. Number of threads; `None` means one per processor, at most 8. Defaults to `None`.
    """
    workers = workers or min(os.cpu_count() or 1, 8)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        ahead = collections.deque()
        for item in items:
            ahead.append((item, pool.submit(function, item)))
            if len(ahead) > workers:
                done, future = ahead.popleft()
                yield done, future.result()
        for done, future in ahead:
            yield done, future.result()


class Progress:
    """A line about the progress of a preparation on standard error; none if it is quick.

    Args:
        label: string. What is prepared.
    """

    def __init__(self, label: str):
        self.label = label
        self.terminal = sys.stderr.isatty()
        self.started = self.updated = time.monotonic()
        self.line = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        if self.line:
            self._write()

    def over(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yields the chunks and shows how many examples came by."""
        examples = 0
        for chunk in chunks:
            yield chunk
            examples += chunk.num_rows
            self.update(chunk.progress, examples, 0)

    def update(self, progress: float, examples: int, values: int) -> None:
        """Notes the progress in [0, 1] and the numbers of examples and tokens, and shows them now and then."""
        now = time.monotonic()
        if now - self.started < QUIET_SECONDS:
            return
        parts = [f"preparing {self.label}:", f"{progress:.0%} read" * bool(progress), f"{examples:,} examples"]
        if values:
            parts += [f"{values:,} tokens", f"{values / (now - self.started):,.0f} tokens/s"]
        self.line = "  ".join(filter(None, parts))
        if now - self.updated >= (0.5 if self.terminal else SECONDS_BETWEEN_LINES):
            self.updated = now
            self._write(end="" if self.terminal else "\n")

    def _write(self, end="\n"):
        print("\r\x1b[K" * self.terminal + self.line, end=end, file=sys.stderr, flush=True)
