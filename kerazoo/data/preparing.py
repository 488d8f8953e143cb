"""From raw examples to a corpus: chunk by chunk, several at once, with a line of progress, kept for later runs."""

import collections
import concurrent.futures
import os
import sys
import time

from kerazoo import _checks
from kerazoo.data import cache
from kerazoo.data.builder import Builder
from kerazoo.data.corpus import Corpus

QUIET = 2.0  # seconds before anything is said: most data is ready by then
EVERY = 10.0  # seconds between two lines where there is no terminal


def prepare(label, chunks, convert, key=None):
    """Returns the `Corpus` of the chunks, from the cache if it was made before.

    Args:
        label: What is prepared, for people.
        chunks: Function that returns an iterable of `Chunk`; called only if the corpus must be made.
        convert: Function of a `Chunk` to `(features, notes)`: a dictionary of name to `Ragged` or array, and a
            dictionary of name to count. Several chunks are converted at the same time, in threads.
        key: Name of the entry in the cache; None keeps the corpus in memory alone.

    Raises:
        DataError: There is no example.

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
        builder, notes = Builder(folder), collections.Counter()
        with Progress(label) as progress:
            try:
                for chunk, (features, counts) in in_order(convert, chunks()):
                    builder.add(features, chunk.continues)
                    notes.update({**counts, "skipped": chunk.skipped})
                    progress.show(chunk.progress, builder.examples, builder.values)
                if not builder.examples:
                    raise _checks.NoExamplesError(f"{label}: there are no examples. Give it more data.")
                notes = {name: count for name, count in notes.items() if count or name != "skipped"}
                return builder.finish(notes), notes
            finally:
                builder.close()

    if key is None or cache.cache_dir() is None:
        return Corpus(*fill())
    return cache.entry(key, fill, Corpus.open)


def in_order(function, items, workers=None):
    """Yields each item with what `function` returns for it, in order; some items ahead are worked on in threads."""
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
    """A line on standard error that says how far the preparation is; none where it is quick."""

    def __init__(self, label):
        self.label = label
        self.terminal = sys.stderr.isatty()
        self.started = self.shown = time.monotonic()
        self.line = ""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.line:
            self._write()

    def over(self, chunks):
        """Yields the chunks that come by."""
        examples = 0
        for chunk in chunks:
            yield chunk
            examples += len(next(iter(chunk.columns.values())))
            self.show(chunk.progress, examples, 0)

    def show(self, share, examples, values):
        """Notes how much is done, and says so now and then."""
        now = time.monotonic()
        if now - self.started < QUIET:
            return
        parts = [f"preparing {self.label}:", f"{share:.0%} read" * bool(share), f"{examples:,} examples"]
        if values:
            parts += [f"{values:,} tokens", f"{values / (now - self.started):,.0f} tokens/s"]
        self.line = "  ".join(filter(None, parts))
        if now - self.shown >= (0.5 if self.terminal else EVERY):
            self.shown = now
            self._write(end="" if self.terminal else "\n")

    def _write(self, end="\n"):
        print("\r\x1b[K" * self.terminal + self.line, end=end, file=sys.stderr, flush=True)
