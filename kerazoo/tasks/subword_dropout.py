"""Training text whose subwords are sampled anew in each epoch (BPE-dropout)."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from kerazoo.data import Chunk, Corpus, Ragged
from kerazoo.data.preparing import in_order
from kerazoo.data.ragged import positions_in_rows
from kerazoo.tasks.text_feature import TextFeature

TRIALS = 3  # samples that determine how long a row may become
CANDIDATES = 1000  # texts among which the one with the largest number of tokens is searched


class ResampledCorpus:
    """A training corpus with subwords sampled anew: each epoch has the same examples, split into other subwords.

    An epoch is a pure function of the seed and its number. Rows keep their order and their largest lengths, so one plan
    of batches serves all epochs: the largest of a few samples bounds the length of a row, and a row that is sampled
    longer is tokenized without dropout in that epoch.

    Args:
        plain: `kerazoo.data.Corpus`. The examples without dropout.
        chunks: function without arguments that returns an iterable of the `kerazoo.data.Chunk`s of the examples.
        features: dict of name in the corpus to `TextFeature`.
        seed: int, not negative.

    Reference:
        Provilkov, Emelianenko and Voita, 2020, BPE-Dropout: Simple and Effective Subword Regularization,
        arXiv:1910.13267.
    """

    def __init__(
        self, plain: Corpus, chunks: Callable[[], Iterable[Chunk]], features: Mapping[str, TextFeature], seed: int
    ):
        self.plain = plain
        self.chunks = chunks
        self.features = dict(features)
        self.seed = seed
        self._last: dict[int, Corpus] = {}

    @functools.cached_property
    def bounds(self) -> Corpus:
        """A corpus whose rows have their largest lengths, for planning batches. Its tokens are zeros."""
        lengths = {name: self.plain.lengths(name) for name in self.features}
        for trial in range(TRIALS):
            sampled = self._sampled(0, trial)
            lengths = {name: np.maximum(lengths[name], sampled[name].lengths) for name in lengths}
        features = dict(self.plain.features)
        for name, feature in self.features.items():
            lengths[name] = np.minimum(lengths[name], feature.max_tokens)
            features[name] = Ragged.from_lengths(np.broadcast_to(np.int32(0), lengths[name].sum()), lengths[name])
        return Corpus(features, self.plain.notes)

    def epoch(self, number: int) -> Corpus:
        """Returns the corpus of epoch `number`; the last one stays in memory."""
        if number not in self._last:
            features = dict(self.plain.features)
            for name, sampled in self._sampled(1, number).items():
                features[name] = fitted(sampled, features[name], self.bounds.lengths(name))
            self._last = {number: Corpus(features, self.plain.notes)}
        return self._last[number]

    def _sampled(self, *purpose):
        def sample(numbered):
            number, chunk = numbered
            return {
                name: feature.tokens([chunk.columns[c] for c in feature.columns], (self.seed, *purpose, number, index))
                for index, (name, feature) in enumerate(self.features.items())
            }

        parts = [features for _, features in in_order(sample, enumerate(self.chunks()))]
        return {
            name: Ragged.from_lengths(
                np.concatenate([part[name].values for part in parts]),
                np.concatenate([part[name].lengths for part in parts]),
            )
            for name in self.features
        }


def max_sampled_tokens(feature: TextFeature, columns: Mapping[str, Sequence[str]]) -> int:
    """Returns the largest number of tokens that a text of the columns is likely to have when subwords are sampled."""
    rows = sorted(zip(*(columns[name] for name in feature.columns)), key=lambda row: sum(map(len, row)))[-CANDIDATES:]
    strings = [list(column) for column in zip(*rows)]
    return max(int(feature.tokens(strings, (trial,)).lengths.max()) for trial in range(TRIALS))


def fitted(sampled: Ragged, plain: Ragged, bounds: np.ndarray) -> Ragged:
    """Returns the rows of `sampled`, and those of `plain` where a row of `sampled` is longer than its bound."""
    long = sampled.lengths > bounds
    if not long.any():
        return sampled
    lengths = np.where(long, plain.lengths, sampled.lengths)
    both = np.concatenate([sampled.values, plain.values])
    starts = np.where(long, len(sampled.values) + plain.offsets[:-1], sampled.offsets[:-1])
    return Ragged.from_lengths(both[np.repeat(starts, lengths) + positions_in_rows(lengths)], lengths)
