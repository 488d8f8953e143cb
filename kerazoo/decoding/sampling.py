"""Greedy search and sampling: one token after another, without hypotheses that compete."""

import dataclasses
import math
import random
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST, end_if_all_excluded
from kerazoo.decoding.context import StepContext
from kerazoo.decoding.search import Search, argmax, pick, write

# Any lower temperature gives the same distribution: float32 log-probabilities that differ do so by more.
MIN_TEMPERATURE = 1e-30
# Sums of float32 probabilities that are equal in decimal figures differ by about this much.
SUM_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class _TokenByToken(Search):
    """Base class of the searches whose hypotheses never replace each other; a subclass overrides `choose`."""

    def choose(self, constrained: Any, context: StepContext) -> Any:
        """Returns tokens int32 [B, W] for log-probabilities `constrained` [B, W, V]."""
        raise NotImplementedError

    def initial_state(self, batch_size, max_length, **observed):
        shape = (batch_size, self.beams_per_source)
        return {
            "tokens": ops.zeros((*shape, max_length), "int32"),
            "token_scores": ops.zeros((*shape, max_length), "float32"),
            "lengths": ops.zeros(shape, "int32"),
            "done": ops.zeros(shape, "bool"),
            **self.initial_stop_state(shape),
        }

    def update(self, state, log_probs, constrained, context):
        done, forced = state["done"], context.forced[:, None]
        if self.constraints:
            constrained = end_if_all_excluded(constrained, log_probs, context.end_ids)
        tokens = ops.where(forced, context.prompt_token[:, None], self.choose(constrained, context))  # [B, W]
        rows = ops.reshape(log_probs, (-1, log_probs.shape[-1]))  # [B * W, V]
        token_scores = ops.reshape(pick(rows, ops.reshape(tokens, (-1, 1))), ops.shape(tokens))
        unscored = ops.logical_or(done, forced)
        stop_state = self.next_stop_state(state, None, tokens, log_probs.shape[-1])
        ended = ops.logical_and(self.is_end(stop_state, tokens, context.end_ids), ops.logical_not(forced))
        return {
            "tokens": write(state["tokens"], context.index, tokens),
            "token_scores": write(state["token_scores"], context.index, ops.where(unscored, 0.0, token_scores)),
            "lengths": ops.where(done, state["lengths"], context.index + 1),
            "done": ops.logical_or(done, ops.logical_or(ended, context.is_last[:, None])),
            **{name: ops.where(forced, state[name], new) for name, new in stop_state.items()},
        }, None

    def is_finished(self, state):
        return ops.all(state["done"], axis=1)

    def result(self, state):
        found = {name: state[name] for name in ("tokens", "lengths", "token_scores")}
        found["scores"] = ops.sum(state["token_scores"], axis=-1)
        if self.beams_per_source == 1:
            return found
        order = ops.cast(ops.argsort(-found["scores"], axis=1), "int32")
        return {name: pick(value, order) for name, value in found.items()}


@dataclasses.dataclass(frozen=True)
class Greedy(_TokenByToken):
    """Takes the most probable token at every position.

    Args:
        constraints: callable or sequence of callables of `kerazoo.decoding.constraints`. Applied in order. Defaults to
            none.
        stop_strings: `StopStrings`. A sequence also ends where its text contains one of them. Defaults to `None`.
    """

    def choose(self, constrained: Any, context: StepContext) -> Any:
        """Returns the most probable tokens."""
        return argmax(constrained)


@dataclasses.dataclass(frozen=True)
class Sample(_TokenByToken):
    """Samples every token from the distribution of the model.

    The result depends on the seed, the number of the row and the position alone, not on the other rows of the batch or
    on the backend. So a list gives the same samples however it is split into batches. The filters apply in the order
    of the arguments.

    Args:
        temperature: float, above 0. Divides the log-probabilities; below 1 it favours probable tokens, and near 0 the
            most probable one is taken. Defaults to `1.0`.
        top_k: int, above 0. Samples among this many most probable tokens; of equally probable ones the first count.
            Defaults to `None`, for all.
        top_p: float in (0, 1]. Samples among the fewest most probable tokens whose probabilities reach this sum
            (nucleus sampling); of equally probable ones the first count. Defaults to `1.0`.
        min_p: float in [0, 1). Samples among the tokens with at least this share of the largest probability. Defaults
            to `0.0`.
        seed: int, at least 0. Equal seeds give equal samples. Defaults to `None`, for a new seed in each call.
        n_best: int, above 0. Number of samples for each source; they are sorted by log-probability. Defaults to `1`.
        constraints: callable or sequence of callables of `kerazoo.decoding.constraints`. Applied in order. Defaults to
            none.
        stop_strings: `StopStrings`. A sequence also ends where its text contains one of them. Defaults to `None`.

    Reference:
        Holtzman, Buys, Du, Forbes and Choi (2020), The Curious Case of Neural Text Degeneration, arXiv:1904.09751
        (`top_p`).
    """

    temperature: float = 1.0
    _: dataclasses.KW_ONLY
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    n_best: int = 1

    def __post_init__(self):
        super().__post_init__()
        _checks.number("Sample", "temperature", self.temperature, low=0, high=math.inf, low_open=True)
        _checks.number("Sample", "top_p", self.top_p, low=0, high=1, low_open=True)
        _checks.rate("Sample", "min_p", self.min_p)
        _checks.positive_int("Sample", "n_best", self.n_best)
        if self.top_k is not None:
            _checks.positive_int("Sample", "top_k", self.top_k)
        if self.seed is not None:
            _checks.non_negative_int("Sample", "seed", self.seed)

    @property
    def beams_per_source(self) -> int:
        return self.n_best

    @property
    def num_results(self) -> int:
        return self.n_best

    def new_seed(self) -> int:
        """Returns `seed`, or a random number if it is `None`."""
        return random.getrandbits(31) if self.seed is None else self.seed

    def without_seed(self) -> "Sample":
        return dataclasses.replace(self, seed=None)

    def choose(self, constrained: Any, context: StepContext) -> Any:
        """Returns sampled tokens."""
        # Relative to the largest, so that a low temperature excludes all others and a high one excludes none.
        scores = constrained - ops.max(constrained, axis=-1, keepdims=True)
        scores = ops.where(scores > LOWEST / 2, scores / max(self.temperature, MIN_TEMPERATURE), LOWEST)
        kept = filter_probable(ops.maximum(scores, LOWEST), self.top_k, self.top_p, self.min_p)
        samples = ops.arange(self.n_best, dtype="int32")
        # The argmax of log-probability plus Gumbel noise is a sample of the distribution (Gumbel, 1954).
        noise = gumbel_noise(
            context.seed, context.row_ids[:, None], samples[None, :], context.index, size=constrained.shape[-1]
        )  # [B, W, V]
        return argmax(kept + noise)


def filter_probable(scores: Any, top_k: int | None = None, top_p: float = 1.0, min_p: float = 0.0) -> Any:
    """Excludes improbable tokens.

    Args:
        scores: float32 [..., V]. Logarithms of probabilities up to a constant.
        top_k: int or `None`. See `Sample`. Defaults to `None`.
        top_p: float. See `Sample`. Defaults to `1.0`.
        min_p: float. See `Sample`. Defaults to `0.0`.

    Returns:
        The scores, with `LOWEST` for the tokens that are excluded.
    """
    if top_k is not None and top_k < scores.shape[-1]:
        scores = _keep_largest(scores, ops.top_k(scores, top_k)[0][..., -1:], top_k)
    if top_p < 1.0:
        descending = ops.flip(ops.sort(scores, axis=-1), axis=-1)
        total = ops.cumsum(ops.softmax(descending, axis=-1), axis=-1)
        # A token is kept unless those before it reach the sum; the first one always is.
        is_kept = ops.concatenate([ops.ones_like(total[..., :1], "bool"), total[..., :-1] < top_p - SUM_TOLERANCE], -1)
        threshold = ops.min(ops.where(is_kept, descending, -LOWEST), axis=-1, keepdims=True)
        scores = _keep_largest(scores, threshold, ops.sum(ops.cast(is_kept, "int32"), axis=-1, keepdims=True))
    if min_p > 0.0:
        threshold = ops.max(scores, axis=-1, keepdims=True) + float(np.log(min_p))
        scores = ops.where(scores < threshold, LOWEST, scores)
    return scores


def _keep_largest(scores: Any, threshold: Any, count: Any) -> Any:
    """Excludes all but the `count` [..., 1] largest scores, the last of which is `threshold` [..., 1]."""
    above, equal = scores > threshold, scores == threshold
    room = count - ops.sum(ops.cast(above, "int32"), axis=-1, keepdims=True)
    is_first = ops.cumsum(ops.cast(equal, "int32"), axis=-1) <= room
    return ops.where(ops.logical_or(above, ops.logical_and(equal, is_first)), scores, LOWEST)


def gumbel_noise(*keys: Any, size: int) -> Any:
    """Returns Gumbel noise, float32 [..., size], that is a function of the integers `keys` alone.

    `keras.random` samples a whole batch from one seed, so that a row would depend on the rows around it.
    """
    state = ops.convert_to_tensor(0, "int32")
    for key in keys:
        state = _hash(ops.bitwise_xor(state * 5, key))
    state = _hash(ops.bitwise_xor(state[..., None], _hash(ops.arange(1, size + 1, dtype="int32"))))
    # 23 bits and a half, so that neither 0 nor 1 can occur in float32.
    uniform = (ops.cast(_shift(state, 9), "float32") + 0.5) * 2.0**-23
    return -ops.log(-ops.log(uniform))


def _shift(x, bits):
    """Shifts right and fills up with zeros; int32 alone would repeat the sign."""
    return ops.bitwise_and(ops.bitwise_right_shift(x, bits), (1 << (32 - bits)) - 1)


def _hash(x):
    # The finaliser of MurmurHash3 (Appleby, 2011, public domain) after a step of a Weyl sequence, modulo 2 ** 32.
    x = x + _signed(0x9E3779B9)
    x = ops.bitwise_xor(x, _shift(x, 16)) * _signed(0x85EBCA6B)
    x = ops.bitwise_xor(x, _shift(x, 13)) * _signed(0xC2B2AE35)
    return ops.bitwise_xor(x, _shift(x, 16))


def _signed(x):
    return int(np.uint32(x).astype(np.int32))
