"""One token after another: the most likely one, or one drawn by chance."""

import dataclasses
import random

import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.search import Search, pick, write


class _Lines(Search):
    """Searches whose hypotheses never take each other's place."""

    def choose(self, ranked, now):
        """Returns tokens int32 [B, W] for `ranked` [B, W, V]."""
        raise NotImplementedError

    def begin(self, batch_size, max_length, **seen):
        shape = (batch_size, self.lines)
        return {
            "tokens": ops.zeros((*shape, max_length), "int32"),
            "token_scores": ops.zeros((*shape, max_length), "float32"),
            "lengths": ops.zeros(shape, "int32"),
            "done": ops.zeros(shape, "bool"),
            **self.matching(shape),
        }

    def advance(self, carry, log_probs, ranked, now):
        done, forced = carry["done"], now.forced[:, None]
        tokens = ops.where(forced, now.prompt[:, None], self.choose(ranked, now))  # [B, W]
        rows = ops.reshape(log_probs, (-1, log_probs.shape[-1]))  # [B * W, V]
        gained = ops.reshape(pick(rows, ops.reshape(tokens, (-1, 1))), ops.shape(tokens))
        silent = ops.logical_or(done, forced)
        matching = self.after(carry, None, tokens, log_probs.shape[-1])
        ended = ops.logical_and(self.ended(matching, tokens, now), ops.logical_not(forced))
        return {
            "tokens": write(carry["tokens"], now.index, tokens),
            "token_scores": write(carry["token_scores"], now.index, ops.where(silent, 0.0, gained)),
            "lengths": ops.where(done, carry["lengths"], now.index + 1),
            "done": ops.logical_or(done, ops.logical_or(ended, now.last[:, None])),
            **{name: ops.where(forced, carry[name], states) for name, states in matching.items()},
        }, None

    def finished(self, carry):
        return ops.all(carry["done"], axis=1)

    def finish(self, carry, pad_id):
        lengths, scores = carry["lengths"], ops.sum(carry["token_scores"], axis=-1)
        real = ops.arange(carry["tokens"].shape[-1], dtype="int32") < lengths[:, :, None]
        result = {
            "tokens": ops.where(real, carry["tokens"], pad_id),
            "lengths": lengths,
            "scores": scores,
            "token_scores": carry["token_scores"],
        }
        if self.lines == 1:
            return result
        order = ops.cast(ops.argsort(-scores, axis=1), "int32")
        return {name: pick(value, order) for name, value in result.items()}


@dataclasses.dataclass(frozen=True)
class Greedy(_Lines):
    """Takes the most likely token at every position.

    Args:
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order.
        stop_strings: A `StopStrings`: an answer also ends where its text has one of them.
    """

    def choose(self, ranked, now):
        """Returns the most likely tokens."""
        return likeliest(ranked)


@dataclasses.dataclass(frozen=True)
class Sample(_Lines):
    """Draws every token from the distribution of the model.

    What is drawn depends on the seed, the number of the row and the position alone: neither the other rows of a batch
    nor the backend matter, so a list that is split into batches in another way gets the same answers. The filters
    apply in the order of the arguments.

    Args:
        temperature: Divides the log-probabilities; above 0, and below 1 for safer choices.
        top_k: Draw among this many most likely tokens, None for all.
        top_p: Draw among the fewest most likely tokens whose probabilities reach this sum (Holtzman et al., 2020,
            arXiv 1904.09751), in (0, 1].
        min_p: Draw among tokens at least this many times as likely as the likeliest, in [0, 1).
        seed: An integer to draw the same again, None to draw anew each time.
        n_best: Number of answers that are drawn for each source; they come sorted by log-probability.
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order.
        stop_strings: A `StopStrings`: an answer also ends where its text has one of them.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    n_best: int = 1

    def __post_init__(self):
        super().__post_init__()
        _checks.number("Sample", "temperature", self.temperature, low=0, low_open=True)
        _checks.number("Sample", "top_p", self.top_p, low=0, high=1, low_open=True)
        _checks.rate("Sample", "min_p", self.min_p)
        _checks.positive_int("Sample", "n_best", self.n_best)
        if self.top_k is not None:
            _checks.positive_int("Sample", "top_k", self.top_k)
        if self.seed is not None:
            _checks.non_negative_int("Sample", "seed", self.seed)

    @property
    def lines(self):
        """How many answers are written side by side."""
        return self.n_best

    def call_seed(self):
        """Returns the seed, or one of its own choice."""
        return random.getrandbits(31) if self.seed is None else self.seed

    def without_seed(self):
        """Returns the search that one compiled program serves, whatever the seed."""
        return dataclasses.replace(self, seed=None)

    def choose(self, ranked, now):
        """Returns drawn tokens."""
        kept = keep_likely(ranked / self.temperature, self.top_k, self.top_p, self.min_p)
        lines = ops.arange(self.n_best, dtype="int32")
        # The largest of log-probability plus Gumbel noise is a draw from the distribution (Gumbel, 1954).
        noise = gumbel(now.seed, now.rows[:, None], lines[None, :], now.index, size=ranked.shape[-1])  # [B, W, V]
        return likeliest(kept + noise)


def likeliest(scores):
    """Returns where the largest of `scores` [..., V] stands, the first of equals, int32 [...].

    XLA turns `argmax` into a loop over single numbers on a CPU; two reductions are four times as fast.
    """
    places = ops.arange(scores.shape[-1], dtype="int32")
    best = scores >= ops.max(scores, axis=-1, keepdims=True)
    return ops.min(ops.where(best, places, scores.shape[-1] - 1), axis=-1)


def keep_likely(scores, top_k=None, top_p=1.0, min_p=0.0):
    """Rules out unlikely tokens.

    Args:
        scores: Logarithms of probabilities up to a constant, float32 [..., V].
        top_k, top_p, min_p: As in `Sample`.

    Returns:
        The scores, `LOWEST` where a token is ruled out.
    """
    if top_k is not None and top_k < scores.shape[-1]:
        least = ops.top_k(scores, top_k)[0][..., -1:]
        scores = ops.where(scores < least, LOWEST, scores)
    if top_p < 1.0:
        falling = ops.flip(ops.sort(scores, axis=-1), axis=-1)
        probabilities = ops.softmax(falling, axis=-1)
        before = ops.cumsum(probabilities, axis=-1) - probabilities
        least = ops.min(ops.where(before < top_p, falling, -LOWEST), axis=-1, keepdims=True)
        scores = ops.where(scores < least, LOWEST, scores)
    if min_p > 0.0:
        least = ops.max(scores, axis=-1, keepdims=True) + float(np.log(min_p))
        scores = ops.where(scores < least, LOWEST, scores)
    return scores


def gumbel(*keys, size):
    """Returns Gumbel noise, float32 [..., size], that is a function of the integers `keys` alone.

    Keras draws for a whole batch from one seed, which ties a row to the rows around it.
    """
    state = ops.convert_to_tensor(0, "int32")
    for key in keys:
        state = _scramble(ops.bitwise_xor(state * 5, key))
    state = _scramble(ops.bitwise_xor(state[..., None], _scramble(ops.arange(1, size + 1, dtype="int32"))))
    # 23 bits and a half, so that neither 0 nor 1 comes out in float32.
    uniform = (ops.cast(_shift(state, 9), "float32") + 0.5) * 2.0**-23
    return -ops.log(-ops.log(uniform))


def _shift(x, bits):
    """Shifts right and fills up with zeros, which int32 does not do by itself."""
    return ops.bitwise_and(ops.bitwise_right_shift(x, bits), (1 << (32 - bits)) - 1)


def _scramble(x):
    # The finaliser of MurmurHash3 (Appleby, 2011, public domain) after the step of a Weyl sequence; int32 wraps round.
    x = x + _signed(0x9E3779B9)
    x = ops.bitwise_xor(x, _shift(x, 16)) * _signed(0x85EBCA6B)
    x = ops.bitwise_xor(x, _shift(x, 13)) * _signed(0xC2B2AE35)
    return ops.bitwise_xor(x, _shift(x, 16))


def _signed(x):
    return int(np.uint32(x).astype(np.int32))
