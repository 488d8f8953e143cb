"""Token ids with a part of them hidden, for pretraining: masked tokens, masked spans, infilled spans, moved sentences.

Every function changes all rows of a `Ragged` at once and is a pure function of the rows and a seed.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerazoo.data.corpus import Corpus, concatenate
from kerazoo.data.ragged import Ragged, positions_in_rows

MASKED, RANDOM = 0.8, 0.1  # of the chosen tokens: become the mask, become any token; the others stay as they are
BLOCK = 1 << 20  # tokens that are corrupted together, which bounds the memory

Seed = tuple[int, ...]
Corrupt = Callable[[Ragged, Seed], dict[str, Ragged]]


class CorruptedCorpus:
    """A training corpus that is corrupted anew in each epoch.

    An epoch is a pure function of the seed and its number. The corrupted rows of an example have the same lengths in
    all epochs, so one plan of batches serves all of them.

    Args:
        plain: `kerazoo.data.Ragged`. The texts as token ids.
        corrupt: function of a `Ragged` and a seed that returns a dictionary of name to `Ragged`.
        seed: int, not negative.
    """

    def __init__(self, plain: Ragged, corrupt: Corrupt, seed: int):
        self.plain = plain
        self.corrupt = corrupt
        self.seed = seed
        self._last: tuple[int, Corpus] | None = None

    @functools.cached_property
    def bounds(self) -> Corpus:
        """A corpus whose rows have the lengths of every epoch, for planning batches."""
        return self.epoch(0)

    def epoch(self, number: int) -> Corpus:
        """Returns the corpus of epoch `number`; the last one stays in memory."""
        if self._last is None or self._last[0] != number:
            self._last = number, corrupted(self.plain, self.corrupt, (self.seed, number))
        return self._last[1]


def corrupted(rows: Ragged, corrupt: Corrupt, seed: Seed) -> Corpus:
    """Returns the corpus of corrupted rows, which are made block by block.

    Args:
        rows: `kerazoo.data.Ragged`. Token ids.
        corrupt: function of a `Ragged` and a seed that returns a dictionary of name to `Ragged`.
        seed: tuple of ints. The number of the block is added to it.
    """
    starts = np.unique(np.searchsorted(rows.offsets[:-1], np.arange(0, max(len(rows.values), 1), BLOCK)))
    starts = starts[starts < max(len(rows), 1)]
    bounds = zip(starts.tolist(), [*starts[1:].tolist(), len(rows)])
    parts = [
        Ragged(
            rows.values[rows.offsets[start] : rows.offsets[end]], rows.offsets[start : end + 1] - rows.offsets[start]
        )
        for start, end in bounds
    ]
    return concatenate([Corpus(corrupt(part, (*seed, block))) for block, part in enumerate(parts)])


def mask_tokens(
    rows: Ragged, seed: Seed, *, rate: float, mask_id: int, random_ids: tuple[int, int]
) -> tuple[Ragged, Ragged, Ragged]:
    """Returns rows in which some tokens are hidden, the positions of these, and what they were.

    Of the tokens of each row, `rate` are chosen, at least one. 80 % of them become `mask_id`, 10 % a random token, and
    10 % stay as they are.

    Args:
        rows: `kerazoo.data.Ragged`. Token ids.
        seed: tuple of ints.
        rate: float in (0, 1). The share of the tokens of each row that are chosen.
        mask_id: int. The token that hides others.
        random_ids: pair of ints. The first token that may replace others, and the one after the last.

    Reference:
        Devlin, Chang, Lee and Toutanova (2018), BERT, arXiv:1810.04805.
    """
    counts = num_masked(rows.lengths, rate)
    chosen = _choose(rows.lengths, counts, (*seed, 0))
    positions = positions_in_rows(rows.lengths)[chosen].astype(np.int32)
    tokens = rows.values[chosen]
    share = _uniform((*seed, 1), len(tokens))
    first, end = random_ids
    other = (first + _uniform((*seed, 2), len(tokens)) * (end - first)).astype(tokens.dtype)
    hidden = np.where(share < MASKED, mask_id, np.where(share < MASKED + RANDOM, other, tokens))
    values = rows.values.copy()
    values[chosen] = hidden
    return (
        Ragged(values, rows.offsets),
        Ragged.from_lengths(positions, counts),
        Ragged.from_lengths(tokens, counts),
    )


def corrupt_spans(
    rows: Ragged, seed: Seed, *, rate: float, mean_span: float, mask_ids: Sequence[int], end_id: int
) -> tuple[Ragged, Ragged]:
    """Returns rows in which spans are replaced by one mask each, and targets that tell the spans.

    The spans of a row are numbered, and the mask of span n is `mask_ids[n]`. The targets are the first mask, the tokens
    of the first span, the second mask, and so on, then `end_id`. All ways of dividing the tokens into spans and what is
    between them are equally probable, and a row may begin or end with a span, where in the paper it begins with kept
    tokens.

    Args:
        rows: `kerazoo.data.Ragged`. Token ids.
        seed: tuple of ints.
        rate: float in (0, 1). The share of the tokens of each row that are replaced.
        mean_span: float of at least 1. The mean number of tokens of a span.
        mask_ids: sequence of ints. The masks, as many as a row has spans.
        end_id: int. The token after the last span.

    Reference:
        Raffel et al. (2019), Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer,
        arXiv:1910.10683.
    """
    masked = num_masked(rows.lengths, rate)
    spans = num_spans(rows.lengths, masked, mean_span)
    span_lengths = _partition(masked, spans, (*seed, 0))
    hidden, source = _replace_spans(rows, masked, spans, span_lengths, (*seed, 1))
    masks = np.asarray(mask_ids, rows.values.dtype)[positions_in_rows(spans)]
    source.values[source.values < 0] = masks
    ends = np.cumsum(span_lengths + 1)
    targets = np.empty(int(ends[-1]) if len(ends) else 0, rows.values.dtype)
    is_mask = np.zeros(len(targets), bool)
    is_mask[ends - span_lengths - 1] = True
    targets[is_mask], targets[~is_mask] = masks, rows.values[hidden]
    return source, Ragged.from_lengths(targets, masked + spans).append(end_id)


def infill_spans(rows: Ragged, seed: Seed, *, rate: float, mean_span: float, mask_id: int) -> Ragged:
    """Returns rows in which spans are replaced by `mask_id`, one for each span, which tells nothing about its length.

    The lengths are those of a Poisson distribution with the mean `mean_span`, given that a share `rate` of the tokens
    is replaced; a span of no tokens inserts a mask.

    Args:
        rows: `kerazoo.data.Ragged`. Token ids.
        seed: tuple of ints.
        rate: float in (0, 1). The share of the tokens of each row that are replaced.
        mean_span: float of at least 1. The mean number of tokens of a span.
        mask_id: int. The token that hides others.

    Reference:
        Lewis et al. (2019), BART, arXiv:1910.13461.
    """
    masked = num_masked(rows.lengths, rate)
    spans = num_spans(rows.lengths, masked, mean_span)
    # Poisson numbers whose sum is given have a multinomial distribution: each token falls into any span.
    first = np.cumsum(spans) - spans
    span_of = np.repeat(first, masked) + (_uniform((*seed, 0), masked.sum()) * np.repeat(spans, masked)).astype(int)
    span_lengths = np.bincount(span_of, minlength=spans.sum())
    _, source = _replace_spans(rows, masked, spans, span_lengths, (*seed, 1))
    source.values[source.values < 0] = mask_id
    return source


def permute_sentences(rows: Ragged, seed: Seed, sentence_ends: Sequence[int]) -> Ragged:
    """Returns rows with their sentences in random order.

    Args:
        rows: `kerazoo.data.Ragged`. Token ids.
        seed: tuple of ints.
        sentence_ends: sequence of ints. The tokens that end a sentence.
    """
    row = np.repeat(np.arange(len(rows)), rows.lengths)
    begins = positions_in_rows(rows.lengths) == 0
    begins[1:] |= np.isin(rows.values[:-1], sentence_ends)
    sentence = np.cumsum(begins) - 1
    keys = _uniform(seed, int(begins.sum()))
    return Ragged(rows.values[np.argsort(row + keys[sentence], kind="stable")], rows.offsets)


def num_masked(lengths: Any, rate: float) -> np.ndarray:
    """Returns how many tokens of rows of these lengths are hidden: a share of them, at least one of a row that has any.

    Args:
        lengths: ints `[N]`.
        rate: float in (0, 1).
    """
    lengths = np.asarray(lengths, np.int64)
    return np.minimum(np.maximum(np.rint(lengths * rate).astype(np.int64), 1), lengths)


def num_spans(lengths: Any, masked: Any, mean_span: float) -> np.ndarray:
    """Returns into how many spans, between which there are other tokens, the hidden tokens of rows are divided.

    Args:
        lengths: ints `[N]`.
        masked: ints `[N]`. The hidden tokens of each row.
        mean_span: float of at least 1.
    """
    lengths, masked = np.asarray(lengths, np.int64), np.asarray(masked, np.int64)
    spans = np.maximum(np.rint(masked / mean_span).astype(np.int64), np.minimum(masked, 1))
    return np.minimum(spans, lengths - masked + 1)


def _replace_spans(rows, masked, spans, span_lengths, seed):
    """Returns which tokens are hidden, bool `[sum of lengths]`, and the rows with -1 in place of each span."""
    some = np.minimum(rows.lengths, 1)
    parts = (spans + 1) * some
    # Kept tokens come before, between and after the spans; only the first and the last part may be empty.
    kept = _partition((rows.lengths - masked + 2) * some, parts, seed)
    number = positions_in_rows(parts)
    kept[(number == 0) | (number == np.repeat(parts, parts) - 1)] -= 1
    runs = (2 * spans + 1) * some
    is_span = positions_in_rows(runs) % 2 == 1
    lengths = np.empty(int(runs.sum()), np.int64)
    lengths[~is_span], lengths[is_span] = kept, span_lengths
    hidden = np.repeat(is_span, lengths)
    replaced = np.repeat(is_span, np.where(is_span, 1, lengths))
    values = np.full(len(replaced), -1, rows.values.dtype)
    values[~replaced] = rows.values[~hidden]
    return hidden, Ragged.from_lengths(values, rows.lengths - masked + spans)


def _partition(totals, parts, seed):
    """Returns random positive numbers, `parts[i]` of them with the sum `totals[i]`, for one i after the other.

    All ways of dividing a sum are equally probable.
    """
    slots = np.maximum(totals - 1, 0)  # between neighbours of a row
    begins = np.ones(int(totals.sum()), bool)
    begins[positions_in_rows(totals) > 0] = _choose(slots, np.maximum(parts - 1, 0), seed)
    return np.diff(np.append(np.flatnonzero(begins), len(begins)))


def _choose(lengths, counts, seed):
    """Returns bools `[sum of lengths]`, of which `counts[i]` of row i, any of them, are True."""
    order = np.argsort(np.repeat(np.arange(len(lengths)), lengths) + _uniform(seed, lengths.sum()), kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = positions_in_rows(lengths)
    return ranks < np.repeat(counts, lengths)


def _uniform(seed, count):
    """Returns numbers in [0, 1), a pure function of the arguments."""
    # Raw bits: NumPy promises that they never change, which it does not of its distributions.
    bits = np.random.Philox(np.random.SeedSequence(seed)).random_raw(int(count))
    return (bits >> np.uint64(11)) * 2.0**-53
