"""Contrastive search: a probable token whose vector differs from those of the tokens before it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST, end_if_all_excluded
from kerazoo.decoding.search import Search, pick, write


@dataclasses.dataclass(frozen=True)
class Contrastive(Search):
    """Chooses among the `top_k` most probable tokens by probability and by difference from the text so far.

    A token v scores (1 - alpha) p(v) - alpha max_j cos(h_v, h_j), where h_v is the vector of the model after v and h_j
    are those of all positions before it, the start token and the prompt included. The model decodes every candidate in
    a beam of its own, so a step costs as much as one of a beam search with `top_k` beams. The last token of a sequence
    that reaches its maximum length is the most probable one, as no step follows it.

    Args:
        top_k: int, above 0. Number of candidates at every position. Defaults to `4`.
        alpha: float in [0, 1]. Weight of the difference; `0` is greedy search. Defaults to `0.6`.
        constraints: callable or sequence of callables of `kerazoo.decoding.constraints`. Applied in order. Defaults to
            none.
        stop_strings: `StopStrings`. A sequence also ends where its text contains one of them. Defaults to `None`.

    Reference:
        Su, Lan, Wang, Yogatama, Kong and Collier (2022), A Contrastive Framework for Neural Text Generation,
        arXiv:2202.06417.
    """

    top_k: int = 4
    alpha: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        _checks.positive_int("Contrastive", "top_k", self.top_k)
        _checks.number("Contrastive", "alpha", self.alpha, low=0, high=1)

    @property
    def beams_per_source(self) -> int:
        return self.top_k

    @property
    def required_outputs(self) -> Mapping[str, str]:
        return {"hidden": "contrastive search"}

    def initial_state(self, batch_size, max_length, **observed):
        """Returns `tokens`, which differ only in the last position, and the normalised `vectors` before it."""
        shape = (batch_size, self.top_k)
        return {
            "tokens": ops.zeros((*shape, max_length), "int32"),
            "token_scores": ops.zeros((*shape, max_length), "float32"),
            "candidate_scores": ops.zeros(shape, "float32"),  # log-probabilities after the constraints
            # Position t holds the vector of the token before it; zeros where there is none yet.
            "vectors": ops.zeros((batch_size, max_length, observed["hidden"].shape[-1]), "float32"),
            "lengths": ops.zeros((batch_size,), "int32"),
            "done": ops.zeros((batch_size,), "bool"),
            **self.initial_stop_state(shape),
        }

    def update(self, state, log_probs, constrained, context):
        """Chooses among the candidates of the position before, and finds those of this position."""
        vocabulary_size = constrained.shape[-1]
        is_first = ops.logical_or(context.forced, context.num_generated == 0)  # after the prompt, without candidates
        vectors = ops.cast(context.hidden, "float32")  # [B, K, D]
        vectors = vectors / ops.maximum(ops.norm(vectors, axis=-1, keepdims=True), 1e-9)
        chosen = ops.where(is_first, 0, self._choose(state, vectors, context))[:, None]  # [B, 1]
        held = ops.logical_or(state["done"], self._is_ended(state, chosen, is_first, context))
        parents = ops.broadcast_to(chosen, (ops.shape(chosen)[0], self.top_k))  # [B, K]
        constrained, log_probs = pick(constrained, chosen)[:, 0], pick(log_probs, chosen)[:, 0]  # [B, V]
        if self.constraints:
            constrained = end_if_all_excluded(constrained, log_probs, context.end_ids)
        candidates, tokens = ops.top_k(constrained, min(self.top_k, vocabulary_size))
        candidates, tokens = _pad(candidates, self.top_k, LOWEST), _pad(ops.cast(tokens, "int32"), self.top_k, 0)
        forced = context.forced[:, None]
        tokens = ops.where(forced, context.prompt_token[:, None], tokens)
        token_scores = ops.where(forced, 0.0, pick(log_probs, tokens))
        stop_state = self.next_stop_state(state, parents, tokens, vocabulary_size)
        new = {
            "tokens": write(pick(state["tokens"], parents), context.index, tokens),
            "token_scores": write(pick(state["token_scores"], parents), context.index, token_scores),
            "candidate_scores": candidates,
            "vectors": _write_vectors(state["vectors"], context.index, pick(vectors, chosen)[:, 0]),
            "lengths": ops.where(held, state["lengths"], context.index + 1),
            "done": ops.logical_or(held, context.is_last),
            **{name: ops.where(forced, state[name], value) for name, value in stop_state.items()},
        }
        # Where a source is done all candidates are replaced by the chosen one, which then stays.
        unchanged = {name: pick(state[name], parents) for name in ("tokens", "token_scores", *stop_state)}
        for name, value in unchanged.items():
            mask = held[:, None] if name in stop_state else held[:, None, None]
            new[name] = ops.where(mask, value, new[name])
        return new, parents

    def _choose(self, state, vectors, context):
        """Returns the index of the best candidate, int32 [B]."""
        similarity = ops.matmul(vectors, ops.transpose(state["vectors"], (0, 2, 1)))  # [B, K, T]
        past = ops.arange(similarity.shape[-1], dtype="int32") < context.index
        largest = ops.max(ops.where(past, similarity, -1.0), axis=-1)  # [B, K]
        scores = (1.0 - self.alpha) * ops.exp(state["candidate_scores"]) - self.alpha * largest
        # A candidate that is excluded must not win by its difference; a source that is done keeps its first one.
        scores = ops.where(state["candidate_scores"] > LOWEST / 2, scores, LOWEST)
        return ops.where(state["done"], 0, ops.cast(ops.argmax(scores, axis=-1), "int32"))

    def _is_ended(self, state, chosen, is_first, context):
        last = ops.take(state["tokens"], ops.maximum(context.index - 1, 0), axis=2)  # [B, K]
        stop_state = {"stop_state": pick(state["stop_state"], chosen)} if "stop_state" in state else {}
        ended = self.is_end(stop_state, pick(last, chosen), context.end_ids)[:, 0]
        return ops.logical_and(ended, ops.logical_not(is_first))

    def is_finished(self, state):
        return state["done"]

    def result(self, state):
        """Returns the first candidate, which is the most probable one and, before the last position, the only one."""
        token_scores = state["token_scores"][:, :1]
        return {
            "tokens": state["tokens"][:, :1],
            "lengths": state["lengths"][:, None],
            "scores": ops.sum(token_scores, axis=-1),
            "token_scores": token_scores,
        }


def _write_vectors(buffer: Any, index: Any, vectors: Any) -> Any:
    """Returns `buffer` [B, T, D] with `vectors` [B, D] at position `index`."""
    here = ops.arange(buffer.shape[1], dtype="int32") == index
    return ops.where(here[:, None], vectors[:, None, :], buffer)


def _pad(values, width, value):
    """Pads [B, K] to `width` columns."""
    missing = width - values.shape[1]
    return ops.pad(values, [(0, 0), (0, missing)], constant_values=value) if missing else values
