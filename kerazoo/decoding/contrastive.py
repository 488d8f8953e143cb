"""Contrastive search: a likely token whose vector does not repeat what the vectors before it said."""

import dataclasses

from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.search import Search, pick, write


@dataclasses.dataclass(frozen=True)
class Contrastive(Search):
    """Takes among the `top_k` likeliest tokens the one with the best balance of likelihood and novelty.

    A token v is worth (1 - alpha) p(v) - alpha max_j cos(h_v, h_j), where h_v is the vector of the model after v and
    h_j are those of all positions before it, the start token and the prompt included. Every candidate is fed to the
    model by a line of its own, so a step costs as much as one of a beam of this width. The last token of an answer that
    runs into its greatest length is the likeliest one, for nothing is fed after it.

    Args:
        top_k: Number of candidates at every position. Default 4.
        alpha: Weight of novelty in [0, 1]; 0 is greedy search. Default 0.6.
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order.
        stop_strings: A `StopStrings`: an answer also ends where its text has one of them.

    Reference:
        Su et al. (2022), A Contrastive Framework for Neural Text Generation, arXiv 2202.06417.
    """

    top_k: int = 4
    alpha: float = 0.6

    needs = {"hidden": "contrastive search"}

    def __post_init__(self):
        super().__post_init__()
        _checks.positive_int("Contrastive", "top_k", self.top_k)
        _checks.number("Contrastive", "alpha", self.alpha, low=0, high=1)

    @property
    def lines(self):
        """How many candidates stand side by side."""
        return self.top_k

    def begin(self, batch_size, max_length, hidden=None):
        """Returns the carry: `tokens` that differ in the last one alone, and the `vectors` before it."""
        shape = (batch_size, self.top_k)
        return {
            "tokens": ops.zeros((*shape, max_length), "int32"),
            "token_scores": ops.zeros((*shape, max_length), "float32"),
            "chances": ops.zeros(shape, "float32"),  # log-probability of the candidates after the constraints
            # The vector of the token before position t stands at t, of length one, and zeros where none is yet.
            "vectors": ops.zeros((batch_size, max_length, hidden.shape[-1]), "float32"),
            "lengths": ops.zeros((batch_size,), "int32"),
            "done": ops.zeros((batch_size,), "bool"),
            **self.matching(shape),
        }

    def advance(self, carry, log_probs, ranked, now):
        """Chooses among the candidates of the position before, and finds those of this position."""
        vocabulary_size = ranked.shape[-1]
        first = ops.logical_or(now.forced, now.written == 0)  # the token before is no candidate but the prompt's
        vectors = ops.cast(now.hidden, "float32")  # [B, K, D]
        vectors = vectors / ops.maximum(ops.norm(vectors, axis=-1, keepdims=True), 1e-9)
        chosen = ops.where(first, 0, self._choose(carry, vectors, now))[:, None]  # [B, 1]
        held = ops.logical_or(carry["done"], self._has_ended(carry, chosen, first, now))
        parents = ops.broadcast_to(chosen, (ops.shape(chosen)[0], self.top_k))  # [B, K]
        ranked, log_probs = pick(ranked, chosen)[:, 0], pick(log_probs, chosen)[:, 0]  # [B, V]
        chances, tokens = ops.top_k(ranked, min(self.top_k, vocabulary_size))
        chances, tokens = _fill(chances, self.top_k, LOWEST), _fill(ops.cast(tokens, "int32"), self.top_k, 0)
        tokens = ops.where(now.forced[:, None], now.prompt[:, None], tokens)
        gained = ops.where(now.forced[:, None], 0.0, pick(log_probs, tokens))
        matching = self.after(carry, parents, tokens, vocabulary_size)
        new = {
            "tokens": write(pick(carry["tokens"], parents), now.index, tokens),
            "token_scores": write(pick(carry["token_scores"], parents), now.index, gained),
            "chances": chances,
            "vectors": _put(carry["vectors"], now.index, pick(vectors, chosen)[:, 0]),
            "lengths": ops.where(held, carry["lengths"], now.index + 1),
            "done": ops.logical_or(held, now.last),
            **{name: ops.where(now.forced[:, None], carry[name], states) for name, states in matching.items()},
        }
        # What is done takes the chosen line to all places and keeps it.
        kept = {n: pick(carry[n], parents) for n in ("tokens", "token_scores", *matching)}
        wide = held[:, None]
        for name, value in kept.items():
            new[name] = ops.where(wide[:, :, None] if name not in matching else wide, value, new[name])
        return new, parents

    def _choose(self, carry, vectors, now):
        """The line of the best candidate, int32 [B]."""
        alike = ops.matmul(vectors, ops.transpose(carry["vectors"], (0, 2, 1)))  # [B, K, T]
        there = ops.arange(alike.shape[-1], dtype="int32") < now.index
        worst = ops.max(ops.where(there, alike, -1.0), axis=-1)  # [B, K]
        worth = (1.0 - self.alpha) * ops.exp(carry["chances"]) - self.alpha * worst
        # A candidate that is ruled out must not win by its novelty; what is done stays with its first line.
        worth = ops.where(carry["chances"] > LOWEST / 2, worth, LOWEST)
        return ops.where(carry["done"], 0, ops.cast(ops.argmax(worth, axis=-1), "int32"))

    def _has_ended(self, carry, chosen, first, now):
        before = ops.take(carry["tokens"], ops.maximum(now.index - 1, 0), axis=2)  # [B, K]
        matching = {"matched": pick(carry["matched"], chosen)} if "matched" in carry else {}
        ended = self.ended(matching, pick(before, chosen), now)[:, 0]
        return ops.logical_and(ended, ops.logical_not(first))

    def finished(self, carry):
        """Returns which sources are done."""
        return carry["done"]

    def finish(self, carry, pad_id):
        """Returns the first line, which all others equal or which is the likeliest."""
        lengths = carry["lengths"][:, None]
        real = ops.arange(carry["tokens"].shape[-1], dtype="int32") < lengths[:, :, None]
        token_scores = ops.where(real, carry["token_scores"][:, :1], 0.0)
        return {
            "tokens": ops.where(real, carry["tokens"][:, :1], pad_id),
            "lengths": lengths,
            "scores": ops.sum(token_scores, axis=-1),
            "token_scores": token_scores,
        }


def _put(buffer, index, vectors):
    """Puts `vectors` [B, D] at position `index` of `buffer` [B, T, D]."""
    here = ops.arange(buffer.shape[1], dtype="int32") == index
    return ops.where(here[:, None], vectors[:, None, :], buffer)


def _fill(values, width, value):
    """Fills [B, K] up to `width` columns."""
    missing = width - values.shape[1]
    return ops.pad(values, [(0, 0), (0, missing)], constant_values=value) if missing else values
