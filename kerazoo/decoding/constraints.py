"""Constraints on what may be written: each maps the log-probabilities of the next token to others, and they compose.

They are applied in order before a search chooses, and change its ranking, not the log-probabilities that it reports.
All is float32, where `LOWEST` rules a token out.
"""

import dataclasses

import numpy as np
from keras import ops

from kerazoo import _checks

# Low enough to lose against every real sum, and far enough from the end of float32 to be added many times.
LOWEST = -1e30


@dataclasses.dataclass(frozen=True)
class Context:
    """What a constraint may look at; a row is one hypothesis.

    Args:
        tokens: Tokens so far, int32 [R, T]; from `index` on it means nothing.
        index: The position that is chosen next, an int32 scalar.
        written: Tokens after the prompt so far, int32 [R].
        source_lengths: Real positions of the source, int32 [R], or None without an encoded side.
        end_ids: The tokens that end a sequence.
    """

    tokens: object
    index: object
    written: object
    source_lengths: object
    end_ids: tuple


def _only_at(vocabulary_size, ids):
    mask = np.zeros(vocabulary_size, "bool")
    mask[[i for i in ids if i < vocabulary_size]] = True
    return ops.convert_to_tensor(mask)


def _seen(tokens, keep, vocabulary_size):
    """Booleans [R, V]: whether a token stands among the `tokens` [R, N] that `keep` [R, N] marks."""
    # What is not to be kept lands in a column of its own, which is cut off.
    columns = ops.where(keep, tokens, vocabulary_size)
    rows = ops.broadcast_to(ops.arange(ops.shape(tokens)[0], dtype="int32")[:, None], ops.shape(columns))
    places = ops.reshape(ops.stack([rows, columns], axis=-1), (-1, 2))  # [R * N, 2]
    empty = ops.zeros((ops.shape(tokens)[0], vocabulary_size + 1), dtype="int32")
    ones = ops.ones_like(places[:, 0])
    return ops.scatter_update(empty, places, ones)[:, :vocabulary_size] > 0


def _token_ids(owner, name, values):
    values = tuple(values) if isinstance(values, list | tuple | set | frozenset | range) else (values,)
    return tuple(sorted(_checks.non_negative_int(owner, name, value) for value in values))


@dataclasses.dataclass(frozen=True)
class Forbidden:
    """Rules tokens out.

    Args:
        tokens: Token ids.
    """

    tokens: tuple

    def __post_init__(self):
        object.__setattr__(self, "tokens", _token_ids("Forbidden", "tokens", self.tokens))

    def __call__(self, log_probs, context):
        return ops.where(_only_at(log_probs.shape[-1], self.tokens), LOWEST, log_probs)


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Rules all other tokens out; the end of a sequence stays allowed.

    Args:
        tokens: Token ids.
    """

    tokens: tuple

    def __post_init__(self):
        object.__setattr__(self, "tokens", _token_ids("Allowed", "tokens", self.tokens))

    def __call__(self, log_probs, context):
        return ops.where(_only_at(log_probs.shape[-1], self.tokens + context.end_ids), log_probs, LOWEST)


@dataclasses.dataclass(frozen=True)
class RepetitionPenalty:
    """Multiplies the log-probability of every token that is there already (Keskar et al., 2019, arXiv 1909.05858).

    The paper divides raw scores, whose zero point means nothing; a log-probability has one.

    Args:
        factor: At least 1; 1 changes nothing.
    """

    factor: float

    def __post_init__(self):
        _checks.number("RepetitionPenalty", "factor", self.factor, low=1)

    def __call__(self, log_probs, context):
        keep = ops.arange(context.tokens.shape[1], dtype="int32")[None, :] < context.index
        keep = ops.broadcast_to(keep, ops.shape(context.tokens))
        seen = _seen(context.tokens, keep, log_probs.shape[-1])
        return ops.where(seen, log_probs * self.factor, log_probs)


@dataclasses.dataclass(frozen=True)
class NoRepeatNgram:
    """Rules out a token that would write some n tokens a second time.

    Args:
        size: The n, at least 1.
    """

    size: int

    def __post_init__(self):
        _checks.positive_int("NoRepeatNgram", "size", self.size)

    def __call__(self, log_probs, context):
        tokens, before = context.tokens, self.size - 1
        length = tokens.shape[1]
        if length < self.size:
            return log_probs
        ends = ops.arange(before, length, dtype="int32")  # where the last token of each n-gram stands
        keep = ops.broadcast_to(ends[None, :] < context.index, (ops.shape(tokens)[0], length - before))
        for offset in range(before):
            # The newest tokens, one by one, against those at the same place of each older n-gram.
            newest = ops.take(tokens, ops.maximum(context.index - before + offset, 0), axis=1)  # [R]
            keep = ops.logical_and(keep, tokens[:, offset : length - before + offset] == newest[:, None])
        return ops.where(_seen(tokens[:, before:], keep, log_probs.shape[-1]), LOWEST, log_probs)


def _bound(rule, context):
    """Tokens [R] that a length rule speaks of."""
    bound = ops.full_like(context.written, rule.tokens)
    if rule.ratio:
        if context.source_lengths is None:
            raise ValueError(
                f"{type(rule).__name__}: `ratio` needs a source with a mask to be a multiple of; "
                f"got ratio={rule.ratio} without one."
            )
        scaled = ops.floor(ops.cast(context.source_lengths, "float32") * rule.ratio)
        bound = bound + ops.cast(scaled, "int32")
    return bound


@dataclasses.dataclass(frozen=True)
class MinLength:
    """Rules the end out before `tokens + ratio * source length` tokens are written.

    Args:
        tokens: Tokens after the prompt, without the end token.
        ratio: Share of the length of the source that is added, 0 for none.
    """

    tokens: int = 0
    ratio: float = 0.0

    def __post_init__(self):
        _checks.non_negative_int("MinLength", "tokens", self.tokens)
        _checks.number("MinLength", "ratio", self.ratio, low=0)

    def __call__(self, log_probs, context):
        short = (context.written < _bound(self, context))[:, None]
        return ops.where(short & _only_at(log_probs.shape[-1], context.end_ids), LOWEST, log_probs)


@dataclasses.dataclass(frozen=True)
class MaxLength:
    """Leaves nothing but the end once `tokens + ratio * source length` tokens are written.

    Args:
        tokens: Tokens after the prompt, without the end token.
        ratio: Share of the length of the source that is added, 0 for none.
    """

    tokens: int = 0
    ratio: float = 0.0

    def __post_init__(self):
        _checks.non_negative_int("MaxLength", "tokens", self.tokens)
        _checks.number("MaxLength", "ratio", self.ratio, low=0)

    def __call__(self, log_probs, context):
        long = (context.written >= _bound(self, context))[:, None]
        return ops.where(long & ops.logical_not(_only_at(log_probs.shape[-1], context.end_ids)), LOWEST, log_probs)


@dataclasses.dataclass(frozen=True)
class ForcedPrefix:
    """Lets every answer begin with the same tokens.

    They are written like others: they count in scores and lengths, unlike those of a prompt.

    Args:
        tokens: Token ids, at least one.
    """

    tokens: tuple

    def __post_init__(self):
        tokens = tuple(self.tokens) if isinstance(self.tokens, list | tuple | np.ndarray) else (self.tokens,)
        if not tokens:
            raise ValueError(f"ForcedPrefix: `tokens` must be at least one token id; got tokens={self.tokens!r}.")
        tokens = tuple(_checks.non_negative_int("ForcedPrefix", "tokens", token) for token in tokens)
        object.__setattr__(self, "tokens", tokens)

    def __call__(self, log_probs, context):
        table = ops.convert_to_tensor(np.array([*self.tokens, -1], "int32"))
        wanted = ops.take(table, ops.minimum(context.written, len(self.tokens)), axis=0)[:, None]  # [R, 1]
        here = ops.arange(log_probs.shape[-1], dtype="int32")[None, :] == wanted
        return ops.where(ops.logical_or(wanted < 0, here), log_probs, LOWEST)
