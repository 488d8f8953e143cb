"""Beam search: several hypotheses of each source grow side by side, and finished ones wait apart."""

import dataclasses

import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import groups
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.penalties import LENGTH_PENALTIES, coverage_score, length_divisor
from kerazoo.decoding.search import Search, pick, write

STOPS = ("first", "all", "cannot_improve")


@dataclasses.dataclass(frozen=True)
class Beam(Search):
    """Keeps the `width` best unfinished hypotheses and the `width` best finished ones.

    A hypothesis is finished by an end token or by the last position, and then grows no more and takes no place of an
    unfinished one; an end counts if it is likelier than one of the `width` that go on. Finished ones are ranked by
    log-probability over a divisor that grows with their length (prompt not counted, end token counted), so that long
    answers are not at a disadvantage. With a width that holds every sequence the best answer is the best of all
    sequences, whatever the penalty.

    Args:
        width: Hypotheses of each kind for each source.
        length_penalty: `"gnmt"` divides by ((5 + n) / 6) ** alpha, `"power"` by n ** alpha, `"none"` by 1.
        alpha: Strength of the length penalty, at least 0; 0 is none.
        stop: `"cannot_improve"` goes on until no unfinished hypothesis could still enter the best `n_best`, even with
            certainty from here on; `"all"` stops when `width` are finished; `"first"` stops when a finished hypothesis
            ranks above every unfinished one as they stand.
        n_best: Answers for each source, at most `width`.
        coverage_penalty: Strength of the penalty on finished hypotheses that leave positions of the source without
            attention (Wu et al., 2016, arXiv 1609.08144), at least 0; the model must show its attention. Default 0.
        groups: Into how many groups of equal size the hypotheses are divided; each does what a beam of its size does,
            but avoids the tokens that groups before it take at the same position (Vijayakumar et al., 2016,
            arXiv 1610.02424). The answers are the best of every group, without those found twice. Default 1.
        diversity: What a token costs for each time that it is taken by a group before. Default 0.5.
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order.
        stop_strings: A `StopStrings`: an answer also ends where its text has one of them.
    """

    width: int = 4
    length_penalty: str = "gnmt"
    alpha: float = 0.6
    stop: str = "cannot_improve"
    n_best: int = 1
    coverage_penalty: float = 0.0
    groups: int = 1
    diversity: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        _checks.positive_int("Beam", "width", self.width)
        _checks.one_of("Beam", "length_penalty", self.length_penalty, LENGTH_PENALTIES)
        _checks.number("Beam", "alpha", self.alpha, low=0)
        _checks.one_of("Beam", "stop", self.stop, STOPS)
        _checks.positive_int("Beam", "n_best", self.n_best)
        _checks.number("Beam", "coverage_penalty", self.coverage_penalty, low=0)
        _checks.positive_int("Beam", "groups", self.groups)
        _checks.number("Beam", "diversity", self.diversity, low=0)
        _checks.divisible("Beam", "width", self.width, "groups", self.groups)
        if self.n_best > self.width:
            raise ValueError(
                f"Beam: `n_best` must be at most `width`; got n_best={self.n_best}, width={self.width}. "
                f"Try width={self.n_best}."
            )

    @property
    def lines(self):
        """How many hypotheses grow side by side."""
        return self.width

    @property
    def needs(self):
        """Attention, where a penalty on coverage is asked for."""
        return {"attention": f"coverage_penalty={self.coverage_penalty}"} if self.coverage_penalty else {}

    def begin(self, batch_size, max_length, attention=None):
        """Returns the carry: `tokens` and `sums` of what grows, `done_*` of what is finished, `done` of the groups."""
        shape = (batch_size, self.width)
        tokens = ops.zeros((*shape, max_length), "int32")
        token_scores = ops.zeros((*shape, max_length), "float32")
        # All hypotheses of a group are equal before the first token, so only one of them counts.
        only_first = ops.where(ops.arange(self.width) % (self.width // self.groups) == 0, 0.0, LOWEST)
        return {
            "tokens": tokens,
            "token_scores": token_scores,
            "sums": ops.broadcast_to(ops.cast(only_first, "float32"), shape),
            "done_tokens": tokens,
            "done_token_scores": token_scores,
            "done_lengths": ops.zeros(shape, "int32"),
            "done_scores": ops.full(shape, LOWEST, "float32"),
            "done": ops.zeros((batch_size, self.groups), "bool"),
            **self.matching(shape),
            **({} if attention is None else {"coverage": attention}),
        }

    def advance(self, carry, log_probs, ranked, now):
        """Takes the best continuations of all hypotheses; finished ones go to the waiting ones."""
        if self.coverage_penalty:
            carry = {**carry, "coverage": carry["coverage"] + now.attention}
        if self.groups == 1:
            new, parents, _ = self._advance_group({**carry, "done": carry["done"][:, 0]}, log_probs, ranked, now, None)
            return {**new, "done": new["done"][:, None]}, parents
        return groups.advance(self._advance_group, self.groups, carry, log_probs, ranked, now)

    def _advance_group(self, carry, log_probs, ranked, now, taken):
        """Returns the carry of one group, the parents, and which tokens it took, counts [B, V]."""
        size, vocabulary_size = carry["tokens"].shape[1], ranked.shape[-1]
        held = ops.logical_or(carry["done"], now.forced)  # [B]
        best, ending = self._continuations(carry, ranked, now, taken)  # [B, K] each
        gained = pick(ops.reshape(log_probs, (-1, size * vocabulary_size)), best.pop("places"))
        best.update(
            tokens=write(pick(carry["tokens"], best["parents"]), now.index, best["last"]),
            token_scores=write(pick(carry["token_scores"], best["parents"]), now.index, gained),
            **self.after(carry, best["parents"], best["last"], vocabulary_size),
        )
        if self.coverage_penalty:
            best["coverage"] = pick(carry["coverage"], best["parents"])
        closed = ops.logical_or(ending, now.last[:, None])
        finished = self._merge(carry, best, ops.logical_and(closed, ops.logical_not(held)[:, None]), now)
        growing = {name: value[:, :size] for name, value in best.items()}
        parents, last = growing.pop("parents"), growing.pop("last")
        # Where the prompt rules or all is done, every hypothesis continues itself.
        wide, itself = held[:, None], ops.arange(size, dtype="int32")[None, :]
        prompt = write(carry["tokens"], now.index, ops.broadcast_to(now.prompt[:, None], ops.shape(last)))
        stays = {**carry, "tokens": prompt}
        new = {
            name: ops.where(ops.reshape(held, (-1, *[1] * (len(value.shape) - 1))), stays[name], value)
            for name, value in growing.items()
        }
        real = ops.logical_and(growing["sums"] > LOWEST / 2, ops.logical_not(wide))
        # Hypotheses that are dead or finished have nothing to lose; their sums must not fall without end.
        new["sums"] = ops.maximum(ops.where(now.last[:, None], LOWEST, new["sums"]), LOWEST)
        new.update(finished)
        enough = ops.logical_and(self._enough(new, now), ops.logical_not(now.forced))
        new["done"] = ops.logical_or(carry["done"], enough)
        return new, ops.where(wide, itself, parents), groups.taken(last, real, vocabulary_size, self.groups)

    def _continuations(self, carry, ranked, now, taken):
        """The best continuations that go on, then the best that end, and which of them do end.

        They are looked for apart, so that what goes on is never crowded out, however many tokens may end an answer.
        """
        size, vocabulary_size = ranked.shape[1:]
        sums = carry["sums"][:, :, None] + ranked  # [B, W, V]
        ends = np.isin(np.arange(vocabulary_size), now.end_ids)
        if self.stop_strings is not None:
            ends = ops.logical_or(ends, self.stop_strings.completing(carry["matched"], vocabulary_size))
        going, flat = ops.where(ends, LOWEST, sums), (-1, size * vocabulary_size)
        chosen = going if taken is None else going - self.diversity * taken[:, None, :]
        _, places = ops.top_k(ops.reshape(chosen, flat), size)
        places = ops.cast(places, "int32")  # [B, W]
        going = pick(ops.reshape(going, flat), places)
        if self.stop_strings is None:  # a few columns of the table
            ids = ops.convert_to_tensor(np.array(now.end_ids, "int32"))
            ending = ops.reshape(ops.take(sums, ids, axis=2), (-1, size * len(now.end_ids)))
            ending, columns = ops.top_k(ending, size)
            columns = ops.cast(columns, "int32")
            columns = columns // len(now.end_ids) * vocabulary_size + ops.take(ids, columns % len(now.end_ids))
        else:
            ending, columns = ops.top_k(ops.reshape(ops.where(ends, sums, LOWEST), flat), size)
            columns = ops.cast(columns, "int32")
        # An end counts if it is likelier than something that goes on: else a narrow beam fills up with early ends.
        ending = ops.where(ending >= ops.min(going, axis=1, keepdims=True), ending, LOWEST)
        places = ops.concatenate([places, columns], axis=1)  # [B, K]
        best = {
            "sums": ops.concatenate([going, ending], axis=1),
            "parents": places // vocabulary_size,
            "last": places % vocabulary_size,
            "places": places,
        }
        return best, ops.convert_to_tensor(np.arange(2 * size)[None] >= size)

    def _merge(self, carry, best, closed, now):
        """The best of the hypotheses that are finished already and those that are now."""
        size = carry["tokens"].shape[1]
        lengths = ops.broadcast_to(now.index + 1, ops.shape(closed))
        divisor = length_divisor(self.length_penalty, self.alpha, now.written + 1)[:, None]
        real = ops.logical_and(closed, best["sums"] > LOWEST / 2)
        scores = best["sums"] / divisor + self._covered(best, now)
        scores = ops.where(real, scores, LOWEST)
        scores, places = ops.top_k(ops.concatenate([carry["done_scores"], scores], axis=1), size)
        places = ops.cast(places, "int32")
        both = {"tokens": best["tokens"], "token_scores": best["token_scores"], "lengths": lengths}
        joined = {n: ops.concatenate([carry[f"done_{n}"], value], axis=1) for n, value in both.items()}
        return {"done_scores": scores, **{f"done_{n}": pick(value, places) for n, value in joined.items()}}

    def _covered(self, hypotheses, now):
        """The coverage part of scores [B, K], at most 0."""
        if not self.coverage_penalty:
            return 0.0
        return self.coverage_penalty * coverage_score(hypotheses["coverage"], now.source_mask)

    def _enough(self, carry, now):
        """Whether the stop rule is content, booleans [B]."""
        waiting, growing = carry["done_scores"], ops.max(carry["sums"], axis=1)
        if self.stop == "all":
            enough = waiting[:, -1] > LOWEST / 2
        elif self.stop == "first":
            divisor = length_divisor(self.length_penalty, self.alpha, now.written + 1)[:, None]
            standing = carry["sums"] / divisor + self._covered(carry, now)
            enough = waiting[:, 0] >= ops.max(standing, axis=1)
        else:
            # Log-probabilities only fall, the divisor only grows, and coverage adds 0 at best: nothing that grows can
            # end above this.
            most = length_divisor(self.length_penalty, self.alpha, now.most)
            enough = waiting[:, -(-self.n_best // self.groups) - 1] >= growing / most
        return ops.logical_or(ops.logical_or(enough, growing < LOWEST / 2), now.last)

    def finished(self, carry):
        """Returns which sources are done."""
        return ops.all(carry["done"], axis=1)

    def finish(self, carry, pad_id):
        """Returns the best finished hypotheses."""
        scores, places = groups.best(carry, self.groups, self.n_best)
        lengths = ops.where(scores > LOWEST / 2, pick(carry["done_lengths"], places), 0)
        real = ops.arange(carry["tokens"].shape[-1], dtype="int32") < lengths[:, :, None]
        return {
            "tokens": ops.where(real, pick(carry["done_tokens"], places), pad_id),
            "lengths": lengths,
            "scores": scores,
            "token_scores": ops.where(real, pick(carry["done_token_scores"], places), 0.0),
        }
