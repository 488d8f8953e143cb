"""Training text whose subwords are cut anew for every epoch."""

import functools

import numpy as np

from kerazoo.data import Corpus, Ragged
from kerazoo.data.preparing import in_order
from kerazoo.tasks import texts

TRIALS = 3  # drawings that tell how long a row may get
LONG = 1000  # texts among which the one with the most tokens is looked for


class Drawn:
    """A training corpus with subwords drawn at random: each epoch sees the same examples, cut in another way.

    What an epoch sees is a pure function of the seed and its number. Rows keep their places and their greatest lengths,
    so one plan of batches serves all epochs: the longest of a few drawings is how long a row may get, and a row that is
    drawn longer stays as it is without chance in that epoch.

    Args:
        plain: The corpus without chance.
        chunks: Function that returns an iterable of the `kerazoo.data.Chunk`s it was made from.
        draw: Function of the columns of a chunk and a sequence of integers, the seed, to a dictionary of feature to
            `Ragged`.
        longest: Dictionary of feature to the most tokens of a row.
        seed: Non-negative integer.
    """

    def __init__(self, plain, chunks, draw, longest, seed):
        self.plain = plain
        self.chunks = chunks
        self.draw = draw
        self.longest = longest
        self.seed = seed
        self._last = {}

    @functools.cached_property
    def room(self):
        """A `Corpus` whose lengths are the greatest of every row: what batches are planned by. Its tokens are zeros."""
        lengths = {name: self.plain.lengths(name) for name in self.longest}
        for trial in range(TRIALS):
            drawn = self._drawn(0, trial)
            lengths = {name: np.maximum(lengths[name], drawn[name].lengths) for name in lengths}
        features = dict(self.plain.features)
        for name, most in self.longest.items():
            lengths[name] = np.minimum(lengths[name], most)
            features[name] = Ragged.from_lengths(np.broadcast_to(np.int32(0), lengths[name].sum()), lengths[name])
        return Corpus(features, self.plain.notes)

    def epoch(self, number):
        """Returns the `Corpus` of epoch `number`; the last one stays in memory."""
        if number not in self._last:
            features = dict(self.plain.features)
            for name, drawn in self._drawn(1, number).items():
                features[name] = fitted(drawn, features[name], self.room.lengths(name))
            self._last = {number: Corpus(features, self.plain.notes)}
        return self._last[number]

    def _drawn(self, *purpose):
        def one(numbered):
            number, chunk = numbered
            return self.draw(chunk.columns, (self.seed, *purpose, number))

        parts = [features for _, features in in_order(one, enumerate(self.chunks()))]
        return {
            name: Ragged.from_lengths(
                np.concatenate([part[name].values for part in parts]),
                np.concatenate([part[name].lengths for part in parts]),
            )
            for name in self.longest
        }


def longest(tokenizer, strings, dropout):
    """Returns the most tokens that one of `strings` is likely to have when its subwords are drawn."""
    strings = sorted(strings, key=len)[-LONG:]
    return max(int(texts.ragged(tokenizer, strings, dropout, (trial,)).lengths.max()) for trial in range(TRIALS))


def fitted(drawn, plain, most):
    """Returns the rows of `drawn`, and those of `plain` where a row of `drawn` has more than `most` entries."""
    long = drawn.lengths > most
    if not long.any():
        return drawn
    lengths = np.where(long, plain.lengths, drawn.lengths)
    both = np.concatenate([drawn.values, plain.values])
    begins = np.where(long, len(drawn.values) + plain.offsets[:-1], drawn.offsets[:-1])
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return Ragged.from_lengths(both[np.repeat(begins, lengths) + within], lengths)
