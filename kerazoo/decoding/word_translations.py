"""How often a source token is translated to a target token, learnt from pairs of sequences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks

MAX_LINKS = 20_000_000  # pairs of a source token and a target token of one example: about 1 GB of memory


class WordTranslations(NamedTuple):
    """Pairs of tokens that occur together, with probabilities.

    Args:
        sources: int array `[N]`. Source tokens.
        targets: int array `[N]`. Target tokens.
        probabilities: float array `[N]`. The probability that the source token is translated to the target token.
    """

    sources: np.ndarray
    targets: np.ndarray
    probabilities: np.ndarray


def word_translations(
    sources: Sequence[Any], targets: Sequence[Any], vocabulary_size: int, iterations: int = 5
) -> WordTranslations:
    """Learns translations of single tokens by expectation maximization, with the first of IBM's models.

    Each target token of an example comes from one of its source tokens, whatever their order. Of very many examples a
    part is read, spread over all of them.

    Args:
        sources: list of rows of token ids, without padding.
        targets: the same of the targets, one for each source.
        vocabulary_size: int, above 0. Number of target tokens.
        iterations: int, above 0. Passes over the examples. Defaults to `5`.

    Raises:
        ValueError: if there are not as many targets as sources.

    Reference:
        Brown, Della Pietra, Della Pietra and Mercer (1993), The Mathematics of Statistical Machine Translation:
        Parameter Estimation, Computational Linguistics 19 (2).
    """
    _checks.positive_int("word_translations", "iterations", iterations)
    if len(sources) != len(targets):
        raise ValueError(f"word_translations: needs a target for each source; got {len(sources)}, {len(targets)}.")
    source, target, words = _links(*_sample(sources, targets))
    pairs, pair = np.unique(source * vocabulary_size + target, return_inverse=True)
    pair_sources, pair_targets = np.divmod(pairs, vocabulary_size)
    probabilities = np.ones(len(pairs))
    for _ in range(iterations):
        weights = probabilities[pair]
        weights /= np.bincount(words, weights)[words]  # those of a target token sum to one
        counts = np.bincount(pair, weights, minlength=len(pairs))
        probabilities = counts / np.bincount(pair_sources, counts)[pair_sources] if len(pairs) else counts
    return WordTranslations(pair_sources, pair_targets, probabilities)


def _sample(sources, targets):
    """Returns the examples, or every n-th of them if all have more than `MAX_LINKS` links."""
    links = sum(len(source) * len(target) for source, target in zip(sources, targets))
    step = -(-links // MAX_LINKS) or 1
    return sources[::step], targets[::step]


def _links(sources, targets):
    """Returns the source token, the target token, and the number of the latter among all, of each pair of tokens."""
    widths = np.array([len(row) for row in sources], "int64")
    heights = np.array([len(row) for row in targets], "int64")
    empty = np.zeros(0, "int64")
    source_tokens = np.concatenate([empty, *sources]).astype("int64")
    target_tokens = np.concatenate([empty, *targets]).astype("int64")
    counts = np.repeat(widths, heights)  # source tokens for each target token
    first = np.repeat(np.cumsum(widths) - widths, heights)
    words = np.repeat(np.arange(len(target_tokens)), counts)
    offsets = np.arange(len(words)) - np.repeat(np.cumsum(counts) - counts, counts)
    return source_tokens[first[words] + offsets], target_tokens[words], words
