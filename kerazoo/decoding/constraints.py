"""Constraints on generated tokens: functions from the log-probabilities of the next token to others, which compose.

They are applied in order before a search chooses. They change its ranking, not the log-probabilities that it returns.
All are computed in float32, where `LOWEST` excludes a token. Where together they exclude every token, a sequence of
`Greedy`, `Sample`, `Contrastive` and `Speculative` ends, whatever its minimum length. `Beam` drops such a hypothesis,
so it returns fewer sequences, and none if no sequence keeps the constraints.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.context import ConstraintContext

# Below every real sum of log-probabilities, and far enough from the limit of float32 to be added many times.
LOWEST = -1e30


@dataclasses.dataclass(frozen=True)
class Forbidden:
    """Excludes tokens.

    Args:
        tokens: int or iterable of int. Token ids.
    """

    tokens: Any

    def __post_init__(self):
        object.__setattr__(self, "tokens", _token_ids("Forbidden", "tokens", self.tokens))

    def __call__(self, log_probs: Any, context: ConstraintContext) -> Any:
        return ops.where(_one_of(log_probs.shape[-1], self.tokens), LOWEST, log_probs)


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Excludes all tokens but the given ones and the end tokens.

    Args:
        tokens: int or iterable of int. Token ids.
    """

    tokens: Any

    def __post_init__(self):
        object.__setattr__(self, "tokens", _token_ids("Allowed", "tokens", self.tokens))

    def __call__(self, log_probs: Any, context: ConstraintContext) -> Any:
        return ops.where(_one_of(log_probs.shape[-1], self.tokens + context.end_ids), log_probs, LOWEST)


@dataclasses.dataclass(frozen=True)
class RepetitionPenalty:
    """Multiplies the log-probability of every token that has occurred, prompt included.

    The paper divides raw scores, whose zero point is arbitrary; that of log-probabilities is not.

    Args:
        factor: float, at least 1. `1` changes nothing.

    Reference:
        Keskar, McCann, Varshney, Xiong and Socher (2019), CTRL: A Conditional Transformer Language Model for
        Controllable Generation, arXiv:1909.05858.
    """

    names_tokens: ClassVar[bool] = False
    factor: float

    def __post_init__(self):
        _checks.number("RepetitionPenalty", "factor", self.factor, low=1)

    def __call__(self, log_probs: Any, context: ConstraintContext) -> Any:
        past = ops.arange(context.tokens.shape[1], dtype="int32")[None, :] < context.index
        past = ops.broadcast_to(past, ops.shape(context.tokens))
        occurred = _occurs(context.tokens, past, log_probs.shape[-1])
        return ops.where(occurred, log_probs * self.factor, log_probs)


@dataclasses.dataclass(frozen=True)
class NoRepeatNgram:
    """Excludes every token that would repeat an n-gram.

    Args:
        size: int, above 0. The length n.
    """

    names_tokens: ClassVar[bool] = False
    size: int

    def __post_init__(self):
        _checks.positive_int("NoRepeatNgram", "size", self.size)

    def __call__(self, log_probs: Any, context: ConstraintContext) -> Any:
        tokens, before = context.tokens, self.size - 1
        length = tokens.shape[1]
        if length < self.size:
            return log_probs
        last = ops.arange(before, length, dtype="int32")  # the position of the last token of each n-gram
        match = ops.broadcast_to(last[None, :] < context.index, (ops.shape(tokens)[0], length - before))
        for offset in range(before):
            # The newest tokens, one by one, against those at the same offset of each older n-gram.
            newest = ops.take(tokens, ops.maximum(context.index - before + offset, 0), axis=1)  # [R]
            match = ops.logical_and(match, tokens[:, offset : length - before + offset] == newest[:, None])
        return ops.where(_occurs(tokens[:, before:], match, log_probs.shape[-1]), LOWEST, log_probs)


@dataclasses.dataclass(frozen=True)
class MinLength:
    """Excludes the end tokens before `tokens + ratio * source length` tokens are generated.

    Args:
        tokens: int, at least 0. Number of tokens after the prompt, without the end token. Defaults to `0`.
        ratio: float, at least 0. Share of the length of the source that is added. Defaults to `0.0`.

    Raises:
        ValueError: if `ratio` is set and the source has no mask.
    """

    names_tokens: ClassVar[bool] = False
    tokens: int = 0
    ratio: float = 0.0

    def __post_init__(self):
        _checks.non_negative_int("MinLength", "tokens", self.tokens)
        _checks.number("MinLength", "ratio", self.ratio, low=0)

    def __call__(self, log_probs: Any, context: ConstraintContext) -> Any:
        is_short = (context.num_generated < _length_bound(self, context))[:, None]
        return ops.where(is_short & _one_of(log_probs.shape[-1], context.end_ids), LOWEST, log_probs)


@dataclasses.dataclass(frozen=True)
class MaxLength:
    """Excludes all but the end tokens after `tokens + ratio * source length` tokens are generated.

    Args:
        tokens: int, at least 0. Number of tokens after the prompt, without the end token. Defaults to `0`.
        ratio: float, at least 0. Share of the length of the source that is added. Defaults to `0.0`.

    Raises:
        ValueError: if `ratio` is set and the source has no mask.
    """

    names_tokens: ClassVar[bool] = False
    tokens: int = 0
    ratio: float = 0.0

    def __post_init__(self):
        _checks.non_negative_int("MaxLength", "tokens", self.tokens)
        _checks.number("MaxLength", "ratio", self.ratio, low=0)

    def __call__(self, log_probs: Any, context: ConstraintContext) -> Any:
        is_long = (context.num_generated >= _length_bound(self, context))[:, None]
        is_end = _one_of(log_probs.shape[-1], context.end_ids)
        return ops.where(is_long & ops.logical_not(is_end), LOWEST, log_probs)


@dataclasses.dataclass(frozen=True)
class ForcedPrefix:
    """Makes every sequence begin with the same tokens after its prompt.

    Unlike those of a prompt, these tokens count in scores and lengths.

    Args:
        tokens: int or iterable of int. Token ids, at least one.
    """

    tokens: Any

    def __post_init__(self):
        tokens = tuple(self.tokens) if isinstance(self.tokens, list | tuple | np.ndarray) else (self.tokens,)
        if not tokens:
            raise ValueError(f"ForcedPrefix: `tokens` must be at least one token id; got tokens={self.tokens!r}.")
        tokens = tuple(_checks.non_negative_int("ForcedPrefix", "tokens", token) for token in tokens)
        object.__setattr__(self, "tokens", tokens)

    def __call__(self, log_probs: Any, context: ConstraintContext) -> Any:
        table = ops.convert_to_tensor(np.array([*self.tokens, -1], "int32"))
        forced = ops.take(table, ops.minimum(context.num_generated, len(self.tokens)), axis=0)[:, None]  # [R, 1]
        is_forced = ops.arange(log_probs.shape[-1], dtype="int32")[None, :] == forced
        return ops.where(ops.logical_or(forced < 0, is_forced), log_probs, LOWEST)


def end_if_all_excluded(constrained: Any, log_probs: Any, end_ids: tuple[int, ...]) -> Any:
    """Returns `constrained` [..., V], with the end tokens of `log_probs` [..., V] where it excludes every token."""
    all_excluded = ops.max(constrained, axis=-1, keepdims=True) <= LOWEST / 2
    is_end = _one_of(log_probs.shape[-1], end_ids)
    return ops.where(ops.logical_and(all_excluded, is_end), log_probs, constrained)


def _token_ids(owner, name, values):
    values = tuple(values) if isinstance(values, Iterable) else (values,)
    return tuple(sorted(_checks.non_negative_int(owner, name, value) for value in values))


def _one_of(vocabulary_size, ids):
    """Returns which tokens are one of `ids`, bool [V]."""
    mask = np.zeros(vocabulary_size, "bool")
    mask[[i for i in ids if i < vocabulary_size]] = True
    return ops.convert_to_tensor(mask)


def _occurs(tokens, mask, vocabulary_size):
    """Returns which tokens of the vocabulary are among `tokens` [R, N] where `mask` [R, N] holds, bool [R, V]."""
    # Tokens outside the mask are counted in an additional column, which is removed.
    columns = ops.where(mask, tokens, vocabulary_size)
    rows = ops.broadcast_to(ops.arange(ops.shape(tokens)[0], dtype="int32")[:, None], ops.shape(columns))
    indices = ops.reshape(ops.stack([rows, columns], axis=-1), (-1, 2))  # [R * N, 2]
    empty = ops.zeros((ops.shape(tokens)[0], vocabulary_size + 1), dtype="int32")
    ones = ops.ones_like(indices[:, 0])
    return ops.scatter_update(empty, indices, ones)[:, :vocabulary_size] > 0


def _length_bound(rule, context):
    """Returns the number of tokens [R] that a length rule refers to."""
    bound = ops.full_like(context.num_generated, rule.tokens)
    if rule.ratio:
        if context.source_lengths is None:
            raise ValueError(
                f"{type(rule).__name__}: `ratio` needs a source with a mask to be a multiple of; "
                f"got ratio={rule.ratio} without one."
            )
        scaled = ops.floor(ops.cast(context.source_lengths, "float32") * rule.ratio)
        bound = bound + ops.cast(scaled, "int32")
    return bound
