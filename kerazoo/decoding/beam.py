"""Beam search with length and coverage penalties, stop rules and diverse groups."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.search import Search, pick, write

LENGTH_PENALTIES = ("gnmt", "power", "none")
STOP_RULES = ("first", "all", "cannot_improve")


@dataclasses.dataclass(frozen=True)
class Beam(Search):
    """Keeps the `num_beams` best unfinished hypotheses and the `num_beams` best finished ones.

    A hypothesis is finished by an end token or by the last position. It is then never extended, and takes no beam of an
    unfinished one. An end counts if it is more probable than one of the `num_beams` hypotheses that continue. Finished
    hypotheses are ranked by log-probability over a divisor that grows with their length (prompt not counted, end token
    counted). With as many beams as there are sequences the result is the best of all sequences, whatever the penalty.

    Args:
        num_beams: int, above 0. Number of hypotheses of each kind for each source. Defaults to `4`.
        length_penalty: `"gnmt"`, `"power"` or `"none"`. The divisor for n tokens is ((5 + n) / 6) ** alpha,
            n ** alpha or 1. Defaults to `"gnmt"`.
        alpha: float, at least 0. Strength of the length penalty. Defaults to `0.6`.
        stop: `"cannot_improve"` continues until no unfinished hypothesis could still enter the best `n_best`, even if
            all its further tokens had probability 1; `"all"` stops when `num_beams` hypotheses are finished; `"first"`
            stops when a finished hypothesis ranks above every unfinished one at its present length. Defaults to
            `"cannot_improve"`.
        n_best: int, at most `num_beams`. Number of sequences that are returned for each source. Defaults to `1`.
        coverage_penalty: float, at least 0. Strength of the penalty on finished hypotheses that leave positions of the
            source without attention; the model must return its attention. Defaults to `0.0`.
        num_groups: int, a divisor of `num_beams`. Number of groups of equal size, each of which is a beam search that
            avoids the tokens which the groups before it chose at the same position. The result holds equally many
            of the best hypotheses of every group, without duplicates; where a group has no more, the best ones of the
            others take their place. Defaults to `1`.
        diversity_penalty: float, at least 0. Subtracted from the log-probability of a token for each time that a group
            before chose it. Defaults to `0.5`.
        constraints: callable or sequence of callables of `kerazoo.decoding.constraints`. Applied in order. Defaults to
            none.
        stop_strings: `StopStrings`. A sequence also ends where its text contains one of them. Defaults to `None`.

    Reference:
        Wu et al. (2016), Google's Neural Machine Translation System: Bridging the Gap between Human and Machine
        Translation, arXiv:1609.08144 (`"gnmt"` and the coverage penalty).
        Vijayakumar et al. (2016), Diverse Beam Search: Decoding Diverse Solutions from Neural Sequence Models,
        arXiv:1610.02424 (groups).
    """

    num_beams: int = 4
    length_penalty: str = "gnmt"
    _: dataclasses.KW_ONLY
    alpha: float = 0.6
    stop: str = "cannot_improve"
    n_best: int = 1
    coverage_penalty: float = 0.0
    num_groups: int = 1
    diversity_penalty: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        _checks.positive_int("Beam", "num_beams", self.num_beams)
        _checks.one_of("Beam", "length_penalty", self.length_penalty, LENGTH_PENALTIES)
        _checks.number("Beam", "alpha", self.alpha, low=0)
        _checks.one_of("Beam", "stop", self.stop, STOP_RULES)
        _checks.positive_int("Beam", "n_best", self.n_best)
        _checks.number("Beam", "coverage_penalty", self.coverage_penalty, low=0)
        _checks.positive_int("Beam", "num_groups", self.num_groups)
        _checks.number("Beam", "diversity_penalty", self.diversity_penalty, low=0)
        _checks.divisible("Beam", "num_beams", self.num_beams, "num_groups", self.num_groups)
        if self.n_best > self.num_beams:
            raise ValueError(
                f"Beam: `n_best` must be at most `num_beams`; got n_best={self.n_best}, num_beams={self.num_beams}. "
                f"Try num_beams={self.n_best}."
            )

    @property
    def beams_per_source(self) -> int:
        return self.num_beams

    @property
    def num_results(self) -> int:
        return self.n_best

    @property
    def required_outputs(self) -> Mapping[str, str]:
        return {"attention": f"coverage_penalty={self.coverage_penalty}"} if self.coverage_penalty else {}

    def initial_state(self, batch_size, max_length, **observed):
        """Returns `tokens` and `sums` of unfinished hypotheses, `done_*` of finished ones, and `done` of each group."""
        shape = (batch_size, self.num_beams)
        tokens = ops.zeros((*shape, max_length), "int32")
        token_scores = ops.zeros((*shape, max_length), "float32")
        # All hypotheses of a group are equal before the first token, so only one of them counts.
        only_first = ops.where(ops.arange(self.num_beams) % (self.num_beams // self.num_groups) == 0, 0.0, LOWEST)
        return {
            "tokens": tokens,
            "token_scores": token_scores,
            "sums": ops.broadcast_to(ops.cast(only_first, "float32"), shape),
            "done_tokens": tokens,
            "done_token_scores": token_scores,
            "done_lengths": ops.zeros(shape, "int32"),
            "done_scores": ops.full(shape, LOWEST, "float32"),
            "done": ops.zeros((batch_size, self.num_groups), "bool"),
            **self.initial_stop_state(shape),
            **({"coverage": observed["attention"]} if self.coverage_penalty else {}),
        }

    def update(self, state, log_probs, constrained, context):
        """Takes the best continuations of all hypotheses, and adds those that end to the finished ones."""
        if self.coverage_penalty:
            state = {**state, "coverage": state["coverage"] + context.attention}
        if self.num_groups == 1:
            state = {**state, "done": state["done"][:, 0]}
            new, parents, _ = self._update_group(state, log_probs, constrained, context, None)
            return {**new, "done": new["done"][:, None]}, parents
        size = self.num_beams // self.num_groups
        groups, all_parents, all_counts = [], [], None
        for group in range(self.num_groups):
            beams = slice(group * size, (group + 1) * size)
            own = {name: x[:, group] if name == "done" else x[:, beams] for name, x in state.items()}
            new, parents, counts = self._update_group(
                own, log_probs[:, beams], constrained[:, beams], context, all_counts
            )
            groups.append({**new, "done": new["done"][:, None]})
            all_parents.append(parents + group * size)
            all_counts = counts if all_counts is None else all_counts + counts
        joined = {name: ops.concatenate([group[name] for group in groups], axis=1) for name in state}
        return joined, ops.concatenate(all_parents, axis=1)

    def _update_group(self, state, log_probs, constrained, context, counts):
        """Updates one group.

        `counts` [B, V] is how often the groups before chose each token, or `None`. Returns the new state, the parents,
        and the counts of this group.
        """
        size, vocabulary_size = state["tokens"].shape[1], constrained.shape[-1]
        held = ops.logical_or(state["done"], context.forced)  # [B]
        best, is_end = self._continuations(state, constrained, context, counts)  # [B, K] each
        token_scores = pick(ops.reshape(log_probs, (-1, size * vocabulary_size)), best.pop("indices"))
        best.update(
            tokens=write(pick(state["tokens"], best["parents"]), context.index, best["last"]),
            token_scores=write(pick(state["token_scores"], best["parents"]), context.index, token_scores),
            **self.next_stop_state(state, best["parents"], best["last"], vocabulary_size),
        )
        if self.coverage_penalty:
            best["coverage"] = pick(state["coverage"], best["parents"])
        ended = ops.logical_or(is_end, context.is_last[:, None])
        finished = self._merge(state, best, ops.logical_and(ended, ops.logical_not(held)[:, None]), context)
        unfinished = {name: value[:, :size] for name, value in best.items()}
        parents, last = unfinished.pop("parents"), unfinished.pop("last")
        # Inside a prompt, and where the group is done, every hypothesis continues itself.
        held_beams, itself = held[:, None], ops.arange(size, dtype="int32")[None, :]
        prompt_tokens = ops.broadcast_to(context.prompt_token[:, None], ops.shape(last))
        unchanged = {**state, "tokens": write(state["tokens"], context.index, prompt_tokens)}
        new = {
            name: ops.where(ops.reshape(held, (-1, *[1] * (len(value.shape) - 1))), unchanged[name], value)
            for name, value in unfinished.items()
        }
        valid = ops.logical_and(unfinished["sums"] > LOWEST / 2, ops.logical_not(held_beams))
        # The sums of hypotheses that do not exist must not fall without end.
        new["sums"] = ops.maximum(ops.where(context.is_last[:, None], LOWEST, new["sums"]), LOWEST)
        new.update(finished)
        stopped = ops.logical_and(self._is_stopped(new, context), ops.logical_not(context.forced))
        new["done"] = ops.logical_or(state["done"], stopped)
        if self.num_groups > 1:
            counts = ops.sum(ops.one_hot(ops.where(valid, last, -1), vocabulary_size, dtype="float32"), axis=1)
        return new, ops.where(held_beams, itself, parents), counts

    def _continuations(self, state, constrained, context, counts):
        """Returns the best continuations that do not end, then the best that do, and which of them end.

        They are found separately, so that ends never displace continuations, however many tokens may end a sequence.
        """
        size, vocabulary_size = constrained.shape[1:]
        sums = state["sums"][:, :, None] + constrained  # [B, W, V]
        is_end = np.isin(np.arange(vocabulary_size), context.end_ids)
        if self.stop_strings is not None:
            is_end = ops.logical_or(is_end, self.stop_strings.completing(state["stop_state"], vocabulary_size))
        continued, flat = ops.where(is_end, LOWEST, sums), (-1, size * vocabulary_size)
        diverse = continued if counts is None else continued - self.diversity_penalty * counts[:, None, :]
        _, indices = ops.top_k(ops.reshape(diverse, flat), size)
        indices = ops.cast(indices, "int32")  # [B, W]
        continued = pick(ops.reshape(continued, flat), indices)
        if self.stop_strings is None:  # a few columns of the table
            ids = ops.convert_to_tensor(np.array(context.end_ids, "int32"))
            ends = ops.reshape(ops.take(sums, ids, axis=2), (-1, size * len(context.end_ids)))
            ends, columns = ops.top_k(ends, size)
            columns = ops.cast(columns, "int32")
            columns = columns // len(context.end_ids) * vocabulary_size + ops.take(ids, columns % len(context.end_ids))
        else:
            ends, columns = ops.top_k(ops.reshape(ops.where(is_end, sums, LOWEST), flat), size)
            columns = ops.cast(columns, "int32")
        # An end counts if it is more probable than one continuation: else few beams fill up with early ends.
        ends = ops.where(ends >= ops.min(continued, axis=1, keepdims=True), ends, LOWEST)
        indices = ops.concatenate([indices, columns], axis=1)  # [B, K]
        best = {
            "sums": ops.concatenate([continued, ends], axis=1),
            "parents": indices // vocabulary_size,
            "last": indices % vocabulary_size,
            "indices": indices,
        }
        return best, ops.convert_to_tensor(np.arange(2 * size)[None] >= size)

    def _merge(self, state, best, ended, context):
        """Returns the best of the hypotheses that were finished before and those that end now."""
        size = state["tokens"].shape[1]
        lengths = ops.broadcast_to(context.index + 1, ops.shape(ended))
        divisor = length_divisor(self.length_penalty, self.alpha, context.num_generated + 1)[:, None]
        valid = ops.logical_and(ended, best["sums"] > LOWEST / 2)
        scores = best["sums"] / divisor + self._coverage_score(best, context)
        scores = ops.where(valid, scores, LOWEST)
        scores, indices = ops.top_k(ops.concatenate([state["done_scores"], scores], axis=1), size)
        indices = ops.cast(indices, "int32")
        new = {"tokens": best["tokens"], "token_scores": best["token_scores"], "lengths": lengths}
        joined = {n: ops.concatenate([state[f"done_{n}"], value], axis=1) for n, value in new.items()}
        return {"done_scores": scores, **{f"done_{n}": pick(value, indices) for n, value in joined.items()}}

    def _coverage_score(self, hypotheses, context):
        """Returns the coverage term of scores [B, K], at most 0."""
        if not self.coverage_penalty:
            return 0.0
        return self.coverage_penalty * coverage_score(hypotheses["coverage"], context.source_mask)

    def _is_stopped(self, state, context):
        """Returns whether the stop rule holds, bool [B]."""
        finished, best_sum = state["done_scores"], ops.max(state["sums"], axis=1)
        if self.stop == "all":
            stopped = finished[:, -1] > LOWEST / 2
        elif self.stop == "first":
            divisor = length_divisor(self.length_penalty, self.alpha, context.num_generated + 1)[:, None]
            unfinished = state["sums"] / divisor + self._coverage_score(state, context)
            stopped = finished[:, 0] >= ops.max(unfinished, axis=1)
        else:
            # Log-probabilities only fall, the divisor only grows, and coverage adds at most 0: no unfinished hypothesis
            # can end with a score above this bound.
            bound = best_sum / length_divisor(self.length_penalty, self.alpha, context.max_new_tokens)
            # A group may have to give more than its share, where the others find the same as it does.
            stopped = finished[:, min(self.n_best, finished.shape[1]) - 1] >= bound
        return ops.logical_or(ops.logical_or(stopped, best_sum < LOWEST / 2), context.is_last)

    def is_finished(self, state):
        return ops.all(state["done"], axis=1)

    def result(self, state):
        scores, indices = self._best(state)
        found = {name: pick(state[f"done_{name}"], indices) for name in ("tokens", "lengths", "token_scores")}
        return {**found, "scores": scores}

    def _best(self, state):
        """Returns scores [B, N] and indices [B, N] of the best finished hypotheses, equally many of each group."""
        scores = state["done_scores"]  # [B, W], sorted within each group
        if self.num_groups == 1:
            scores, indices = ops.top_k(scores, self.n_best)
            return scores, ops.cast(indices, "int32")
        chosen, others = self._choices_of_groups(state)
        found = [ops.top_k(ops.where(mask, scores, LOWEST), self.n_best) for mask in (chosen, others)]
        scores, indices = (ops.concatenate(each, axis=1) for each in zip(*found))  # [B, 2 * N]
        # What the groups choose comes first, then the best of the others, then what does not exist.
        rank = ops.where(scores > LOWEST / 2, 0, 2 * self.n_best) + ops.arange(2 * self.n_best, dtype="int32")
        order = ops.argsort(rank, axis=1)[:, : self.n_best]
        indices = pick(ops.cast(indices, "int32"), ops.cast(order, "int32"))
        scores, order = ops.top_k(pick(scores, ops.cast(order, "int32")), self.n_best)
        return scores, pick(indices, ops.cast(order, "int32"))

    def _choices_of_groups(self, state):
        """Returns the finished hypotheses that each group chooses, and the others that repeat none, bool [B, W] each.

        A group chooses the best of its hypotheses that no group before it chose.
        """
        exists, size = state["done_scores"] > LOWEST / 2, self.num_beams // self.num_groups
        same = _is_same(state["done_tokens"], state["done_lengths"])  # [B, W, W]
        chosen = ops.zeros_like(exists[:, :0])
        for first in range(0, self.num_beams, size):
            group = slice(first, first + size)
            taken = ops.any(ops.logical_and(same[:, group, :first], chosen[:, None, :]), axis=2)
            free = ops.logical_and(exists[:, group], ops.logical_not(taken))
            best = ops.cumsum(ops.cast(free, "int32"), axis=1) <= -(-self.n_best // self.num_groups)
            chosen = ops.concatenate([chosen, ops.logical_and(free, best)], axis=1)
        index = ops.arange(self.num_beams, dtype="int32")
        before = ops.logical_or(chosen[:, None, :], index[None, None, :] < index[None, :, None])
        repeats = ops.any(ops.logical_and(same, before), axis=2)
        return chosen, ops.logical_not(ops.logical_or(chosen, repeats))


def _is_same(tokens, lengths):
    """Returns which pairs of finished hypotheses have the same tokens, bool [B, W, W]."""
    same = ops.all(tokens[:, :, None] == tokens[:, None, :], axis=-1)
    return ops.logical_and(same, lengths[:, :, None] == lengths[:, None, :])


def length_divisor(kind: str, alpha: float, lengths: Any) -> Any:
    """Returns the divisor of the log-probability of a hypothesis.

    Args:
        kind: `"gnmt"` for ((5 + n) / 6) ** alpha, `"power"` for n ** alpha, `"none"` for 1.
        alpha: float, at least 0.
        lengths: int tensor of any shape. Number of tokens n, the end token included, at least 1.

    Returns:
        float32 of the shape of `lengths`.

    Reference:
        Wu et al. (2016), Google's Neural Machine Translation System: Bridging the Gap between Human and Machine
        Translation, arXiv:1609.08144.
    """
    lengths = ops.cast(lengths, "float32")
    if kind == "gnmt":
        return ops.power((5.0 + lengths) / 6.0, alpha)
    if kind == "power":
        return ops.power(lengths, alpha)
    return ops.ones_like(lengths)


def coverage_score(coverage: Any, source_mask: Any = None) -> Any:
    """Returns the sum of log(min(coverage, 1)) over the positions of a source.

    Args:
        coverage: float32 [B, K, S]. Attention that each position received from all tokens of a hypothesis.
        source_mask: bool [B, S]. Valid positions. Defaults to `None`, for all.

    Returns:
        float32 [B, K], at most 0. A position without attention counts as log(1e-9).

    Reference:
        Wu et al. (2016), Google's Neural Machine Translation System: Bridging the Gap between Human and Machine
        Translation, arXiv:1609.08144.
    """
    terms = ops.log(ops.clip(coverage, 1e-9, 1.0))
    if source_mask is not None:
        terms = ops.where(source_mask[:, None, :], terms, 0.0)
    return ops.sum(terms, axis=-1)
