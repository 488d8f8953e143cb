"""Batches of examples that are read as they come, for data that fits on no disk or can be read only once."""

import itertools
import math

import numpy as np

from kerazoo import _checks
from kerazoo.data.builder import Builder
from kerazoo.data.corpus import Corpus
from kerazoo.data.pipeline import Ahead, maker
from kerazoo.data.plan import Plan
from kerazoo.data.preparing import in_order
from kerazoo.data.shapes import assign


class Stream:
    """Training examples that are read as they come; nothing is kept.

    Args:
        chunks: Function that returns an iterable of `Chunk`; called once for each pass.
        convert: Function of a `Chunk` to `(features, notes)`, as for `prepare`.
    """

    def __init__(self, chunks, convert):
        self.chunks = chunks
        self.convert = convert

    def corpora(self):
        """Yields pairs of a `Corpus` of some examples and the share of the source that is read, 0 for unknown."""
        for chunk, (features, _) in in_order(self.convert, self.chunks()):
            corpus = Corpus(features)
            if len(corpus):
                yield corpus, chunk.progress


class StreamPlan:
    """Batches of a few static shapes of examples that come one after the other, shuffled within a buffer.

    The first examples, as many as the buffer holds, tell which shapes suit; what is longer than the longest of them is
    cut off. The order is a pure function of the seed, the epoch and the source, so a run that goes on reads the source
    again up to its place, which is exact as far as the source gives the same examples again.

    Args:
        stream: A `Stream`.
        buffer: Examples that are shuffled among each other, above 0.
        limit: Most examples of an epoch, 0 for all there are.
        seed: Non-negative integer.
        **options: Further arguments of `Plan`: `batch_size` or `tokens`, and `max_shapes`.

    Raises:
        DataError: There is no example.

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

    def __init__(self, stream, buffer, limit=0, seed=0, **options):
        self.stream = stream
        self.buffer = _checks.positive_int("StreamPlan", "buffer", buffer)
        self.limit = _checks.non_negative_int("StreamPlan", "limit", limit)
        self.seed = _checks.non_negative_int("StreamPlan", "seed", seed)
        begun, seen, share = [], 0, 0.0
        rest = stream.corpora()
        while seen < buffer and (following := next(rest, None)):
            begun.append(following)
            seen, share = seen + len(following[0]), following[1]
        if not begun:
            raise _checks.DataError("StreamPlan: the stream holds no example.")
        self._begun, self._open = itertools.chain(begun, rest), None
        self.head = joined([corpus for corpus, _ in begun])
        plan = Plan.of(self.head, seed=seed, **options)
        self.shapes, self.share_real = plan.shapes, plan.share_real
        self.examples = limit or (round(len(self.head) / share) if share else len(self.head))
        self.steps = math.ceil(plan.steps * self.examples / len(self.head))

    def batches(self, epoch, batch_fn=None, augment=None, prefetch=2):
        """Returns an iterable of the batches of an epoch, as `kerazoo.data.batches` does, but of unknown length.

        Whoever asks for the same epoch again before its second batch was read gets the same batches: the first one can
        be looked at.
        """
        if self._open and self._open[0] == epoch and not self._open[1].spent:
            return self._open[1]
        made = maker(batch_fn, augment)

        def make(step, corpus, rows, shape):
            return made(*corpus.batch(rows, shape.lengths), np.int32(step))

        numbered = ((epoch * self.steps + step, *cut) for step, cut in enumerate(self._cut(epoch)))
        self._open = epoch, _Batches(Ahead(make, numbered, prefetch))
        return self._open[1]

    def _pieces(self, epoch):
        """Yields the examples of an epoch as shuffled `Corpus`es, the last one after all others were seen."""
        begun, self._begun = self._begun, None  # what was read to choose the shapes cannot always be read again
        random = np.random.Philox(np.random.SeedSequence([self.seed, epoch]))
        pool, seen = None, 0
        for corpus, _ in begun or self.stream.corpora():
            if self.limit and seen + len(corpus) > self.limit:
                corpus = corpus.take(range(self.limit - seen))
            seen += len(corpus)
            pool = joined([pool, corpus]) if pool else corpus
            order = np.argsort(random.random_raw(len(pool)), kind="stable")
            if len(pool) > self.buffer:
                yield pool.take(order[self.buffer :])
                pool = pool.take(order[: self.buffer])
            if seen == self.limit:
                break
        if pool:
            yield pool.take(np.argsort(random.random_raw(len(pool)), kind="stable"))

    def _cut(self, epoch):
        """Yields corpus, rows and shape of each batch; what is left over of a shape goes on to the next longer one."""
        left = [None] * len(self.shapes)
        for piece in self._pieces(epoch):
            index_of = self._shapes_of(piece)
            for index, shape in enumerate(self.shapes):
                rows = np.flatnonzero(index_of == index)
                if len(rows):
                    own = piece.take(rows)
                    own = joined([left[index], own]) if left[index] else own
                    whole = len(own) - len(own) % shape.rows
                    for start in range(0, whole, shape.rows):
                        yield own, np.arange(start, start + shape.rows), shape
                    left[index] = own.take(range(whole, len(own))) if whole < len(own) else None
        over = None
        for index, shape in enumerate(self.shapes):
            over = joined([over, left[index]]) if over and left[index] else over or left[index]
            while over and (len(over) >= shape.rows or index == len(self.shapes) - 1):
                rows = np.arange(shape.rows)
                yield over, np.where(rows < len(over), rows, -1), shape
                over = over.take(range(shape.rows, len(over))) if len(over) > shape.rows else None

    def _shapes_of(self, corpus):
        if not corpus.length_names:
            return np.zeros(len(corpus), np.int64)
        most = self.shapes[-1].lengths
        return assign({name: np.minimum(corpus.lengths(name), most[name]) for name in corpus.length_names}, self.shapes)


class _Batches:
    """Batches that come once, the first of them as often as it is asked for."""

    def __init__(self, batches):
        self.spent = False
        self._batches = iter(batches)
        self._first = []

    def __iter__(self):
        if not self._first:
            self._first = list(itertools.islice(self._batches, 1))
        yield from self._first
        self.spent = True
        yield from self._batches


def joined(corpora):
    """Returns all examples of several corpora with the same features."""
    builder = Builder()
    for corpus in corpora:
        builder.add(corpus.features)
    return Corpus(builder.finish({}))
