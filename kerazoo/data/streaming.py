"""Batches of examples that are read as they come, for data that fits on no disk or can be read only once."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data.corpus import Corpus, concatenate
from kerazoo.data.data_source import Chunk
from kerazoo.data.pipeline import Prefetched, batch_maker
from kerazoo.data.plan import Plan, assign_shapes
from kerazoo.data.preparing import Convert, in_order

EPOCH_STEPS = 1 << 20  # from the numbers of the steps of one epoch to those of the next, for augmentation


class Stream:
    """Training examples that are read as they come; nothing is kept.

    Args:
        chunks: function without arguments that returns an iterable of `Chunk`; called once for each pass.
        convert: function of a `Chunk` that returns `(features, notes)`, as for `prepare`.
        change: function of the features of a chunk, the number of the epoch and that of the chunk that returns other
            features, those of this epoch. Defaults to `None`: all epochs are the same.
    """

    def __init__(
        self,
        chunks: Callable[[], Iterable[Chunk]],
        convert: Convert,
        change: Callable[[Any, int, int], Any] | None = None,
    ):
        self.chunks = chunks
        self.convert = convert
        self.change = change

    def corpora(self, epoch: int = 0) -> Iterator[tuple[Corpus, float]]:
        """Yields pairs of a `Corpus` of some examples and the progress of the source in [0, 1], 0 if unknown.

        Args:
            epoch: integer of at least 0. Defaults to `0`.
        """
        for number, (chunk, (features, _)) in enumerate(in_order(self.convert, self.chunks())):
            corpus = Corpus(features if self.change is None else self.change(features, epoch, number))
            if len(corpus):
                yield corpus, chunk.progress


class StreamPlan:
    """Batches of a few static shapes from a stream of examples that is shuffled within a buffer.

    The first examples, as many as the buffer holds, determine the shapes; examples that are longer than the longest of
    them are truncated. The order is a pure function of the seed, the epoch and the source, so a resumed run reads the
    source again up to its position, which is exact if the source yields the same examples again.

    Args:
        stream: a `Stream`.
        buffer: integer above 0. Number of examples that are shuffled together.
        limit: integer of at least 0. Largest number of examples of an epoch, the first ones of the stream, `0` for
            all. Defaults to `0`.
        seed: integer of at least 0. Defaults to `0`.
        **options: further arguments of `Plan`: `batch_size` or `tokens`, and `max_shapes`.

    Raises:
        DataError: if there is no example.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    def convert(chunk):
        return {"x": np.array(chunk.columns["x"], np.int32)}, {}

    stream = kz.data.Stream(lambda: [kz.data.Chunk({"x": [1, 2, 3]}), kz.data.Chunk({"x": [4, 5]})], convert)
    for features, valid in kz.data.StreamPlan(stream, buffer=2, batch_size=2).batches(epoch=0):
        print(features["x"], valid)
    ```
    """

    def __init__(self, stream: Stream, buffer: int, *, limit: int = 0, seed: int = 0, **options: Any):
        self.stream = stream
        self.buffer = _checks.positive_int("StreamPlan", "buffer", buffer)
        self.limit = _checks.non_negative_int("StreamPlan", "limit", limit)
        self.seed = _checks.non_negative_int("StreamPlan", "seed", seed)
        first, count, progress = [], 0, 0.0
        rest = stream.corpora()
        while count < buffer and (following := next(rest, None)):
            first.append(following)
            count, progress = count + len(following[0]), following[1]
        if not first:
            raise _checks.DataError("StreamPlan: the stream holds no example.")
        self._unread: Iterable | None = itertools.chain(first, rest)
        self._current: tuple[int, _Batches] | None = None
        self.head = concatenate([corpus for corpus, _ in first])
        plan = Plan.of(self.head, seed=seed, **options)
        self.shapes, self.valid_fraction = plan.shapes, plan.valid_fraction
        self.examples = limit or (round(len(self.head) / progress) if progress else len(self.head))
        self.steps = math.ceil(plan.steps * self.examples / len(self.head))

    def batches(
        self,
        epoch: int,
        batch_fn: Callable | None = None,
        augment: Callable | None = None,
        prefetch: int = 2,
    ) -> Iterable:
        """Returns an iterable of the batches of an epoch, as `kerazoo.data.batches` does, but of unknown length.

        A second call for the same epoch returns the same batches if only the first batch was read before, so that the
        first batch can be inspected.

        Args:
            epoch: integer of at least 0.
            batch_fn: see `kerazoo.data.batches`. Defaults to `None`.
            augment: see `kerazoo.data.batches`. Defaults to `None`.
            prefetch: integer above 0. Batches that are made ahead. Defaults to `2`.
        """
        if self._current and self._current[0] == epoch and not self._current[1].consumed:
            return self._current[1]
        finish = batch_maker(batch_fn, augment)

        def make(step, corpus, rows, shape):
            return finish(*corpus.batch(rows, shape.lengths), np.int32(step))

        first = epoch * EPOCH_STEPS % 2**31  # the true number of steps is not available in a run that resumes
        numbered = ((first + step % EPOCH_STEPS, *cut) for step, cut in enumerate(self._cut(epoch)))
        batches = _Batches(Prefetched(make, numbered, prefetch))
        self._current = epoch, batches
        return batches

    def _pieces(self, epoch):
        """Yields the examples of an epoch as shuffled `Corpus`es."""
        unread, self._unread = self._unread, None  # what was read to choose the shapes cannot always be read again
        random = np.random.Philox(np.random.SeedSequence([self.seed, epoch]))
        pool, count = None, 0
        for corpus, _ in unread or self.stream.corpora(epoch):
            if self.limit and count + len(corpus) > self.limit:
                corpus = corpus.take(range(self.limit - count))
            count += len(corpus)
            pool = _joined(pool, corpus)
            order = np.argsort(random.random_raw(len(pool)), kind="stable")
            if len(pool) > self.buffer:
                yield pool.take(order[self.buffer :])
                pool = pool.take(order[: self.buffer])
            if count == self.limit:
                break
        if pool:
            yield pool.take(np.argsort(random.random_raw(len(pool)), kind="stable"))

    def _cut(self, epoch):
        """Yields corpus, rows and shape of each batch; the rest of a shape joins the next longer one."""
        left: list[Corpus | None] = [None] * len(self.shapes)
        for piece in self._pieces(epoch):
            index_of = self._shapes_of(piece)
            for index, shape in enumerate(self.shapes):
                rows = np.flatnonzero(index_of == index)
                if len(rows):
                    fitting = _joined(left[index], piece.take(rows))
                    whole = len(fitting) - len(fitting) % shape.rows
                    for start in range(0, whole, shape.rows):
                        yield fitting, np.arange(start, start + shape.rows), shape
                    left[index] = fitting.take(range(whole, len(fitting))) if whole < len(fitting) else None
        over = None
        for index, shape in enumerate(self.shapes):
            over = _joined(over, left[index])
            while over and (len(over) >= shape.rows or index == len(self.shapes) - 1):
                yield over, np.arange(min(shape.rows, len(over))), shape
                over = over.take(range(shape.rows, len(over))) if len(over) > shape.rows else None

    def _shapes_of(self, corpus):
        if not corpus.length_names:
            return np.zeros(len(corpus), np.int64)
        max_lengths = self.shapes[-1].lengths
        lengths = {name: np.minimum(corpus.lengths(name), max_lengths[name]) for name in corpus.length_names}
        return assign_shapes(lengths, self.shapes)


def _joined(first: Corpus | None, second: Corpus | None) -> Any:
    """Returns the examples of two corpora, either of which may be missing."""
    return concatenate([first, second]) if first and second else first or second


class _Batches:
    """Batches that can be read once, the first of them any number of times."""

    def __init__(self, batches):
        self.consumed = False
        self._batches = iter(batches)
        self._first = []

    def __iter__(self):
        if not self._first:
            self._first = list(itertools.islice(self._batches, 1))
        yield from self._first
        self.consumed = True
        yield from self._batches
