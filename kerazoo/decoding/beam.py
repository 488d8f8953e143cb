"""Beam search: several hypotheses of each source grow side by side, and finished ones wait apart."""

import dataclasses

from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.penalties import LENGTH_PENALTIES, length_divisor
from kerazoo.decoding.search import Search, is_any, pick, write

STOPS = ("first", "all", "cannot_improve")


@dataclasses.dataclass(frozen=True)
class Beam(Search):
    """Keeps the `width` best unfinished hypotheses and the `width` best finished ones.

    A hypothesis is finished by an end token or by the last position, and then grows no more and takes no place of an
    unfinished one. Finished ones are ranked by log-probability over a divisor that grows with their length (prompt not
    counted, end token counted), so that long answers are not at a disadvantage. With a width that holds every sequence
    the best answer is the best of all sequences, whatever the penalty.

    Args:
        width: Hypotheses of each kind for each source.
        length_penalty: `"gnmt"` divides by ((5 + n) / 6) ** alpha, `"power"` by n ** alpha, `"none"` by 1.
        alpha: Strength of the length penalty, at least 0; 0 is none.
        stop: `"cannot_improve"` goes on until no unfinished hypothesis could still enter the best `n_best`, even with
            certainty from here on; `"all"` stops when `width` are finished; `"first"` stops when a finished hypothesis
            ranks above every unfinished one as they stand.
        n_best: Answers for each source, at most `width`.
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order.
    """

    width: int = 4
    length_penalty: str = "gnmt"
    alpha: float = 0.6
    stop: str = "cannot_improve"
    n_best: int = 1

    def __post_init__(self):
        super().__post_init__()
        _checks.positive_int("Beam", "width", self.width)
        _checks.one_of("Beam", "length_penalty", self.length_penalty, LENGTH_PENALTIES)
        _checks.number("Beam", "alpha", self.alpha, low=0)
        _checks.one_of("Beam", "stop", self.stop, STOPS)
        _checks.positive_int("Beam", "n_best", self.n_best)
        if self.n_best > self.width:
            raise ValueError(
                f"Beam: `n_best` must be at most `width`; got n_best={self.n_best}, width={self.width}. "
                f"Try width={self.n_best}."
            )

    @property
    def lines(self):
        """How many hypotheses grow side by side."""
        return self.width

    def begin(self, batch_size, max_length):
        """Returns the carry: `tokens` and `sums` of what grows, `done_*` of what is finished, and `done`."""
        shape = (batch_size, self.width)
        tokens = ops.zeros((*shape, max_length), "int32")
        token_scores = ops.zeros((*shape, max_length), "float32")
        # All hypotheses are equal before the first token, so only one of them counts.
        only_first = ops.where(ops.arange(self.width) == 0, 0.0, LOWEST)
        return {
            "tokens": tokens,
            "token_scores": token_scores,
            "sums": ops.broadcast_to(ops.cast(only_first, "float32"), shape),
            "done_tokens": tokens,
            "done_token_scores": token_scores,
            "done_lengths": ops.zeros(shape, "int32"),
            "done_scores": ops.full(shape, LOWEST, "float32"),
            "done": ops.zeros((batch_size,), "bool"),
        }

    def advance(self, carry, log_probs, ranked, now):
        """Takes the best continuations of all hypotheses; finished ones go to the waiting ones."""
        best = self._best_continuations(carry, log_probs, ranked, now)  # [B, K] each
        held = ops.logical_or(carry["done"], now.forced)  # [B]
        closed = ops.logical_or(is_any(best["last"], now.end_ids), now.last[:, None])
        finished = self._merge(carry, best, ops.logical_and(closed, ops.logical_not(held)[:, None]), now)
        sums, places = ops.top_k(ops.where(closed, LOWEST, best["sums"]), self.width)  # [B, W]
        growing = {name: pick(value, ops.cast(places, "int32")) for name, value in best.items()}
        # Where the prompt rules or all is done, every hypothesis continues itself.
        itself = ops.arange(self.width, dtype="int32")[None, :]
        prompt = write(carry["tokens"], now.index, ops.broadcast_to(now.prompt[:, None], ops.shape(sums)))
        wide = held[:, None]
        new = {
            "tokens": ops.where(wide[:, :, None], prompt, growing["tokens"]),
            "token_scores": ops.where(wide[:, :, None], carry["token_scores"], growing["token_scores"]),
            "sums": ops.where(wide, carry["sums"], sums),
            **finished,
        }
        enough = self._enough(new, now)
        new["done"] = ops.logical_or(carry["done"], ops.logical_and(enough, ops.logical_not(now.forced)))
        return new, ops.where(wide, itself, growing["parents"])

    def _best_continuations(self, carry, log_probs, ranked, now):
        """The best K continuations: enough that `width` of them go on whatever number of end tokens is among them."""
        vocabulary_size = ranked.shape[-1]
        many = min((len(now.end_ids) + 1) * self.width, self.width * vocabulary_size)
        sums = carry["sums"][:, :, None] + ranked  # [B, W, V]
        sums, places = ops.top_k(ops.reshape(sums, (-1, self.width * vocabulary_size)), many)  # [B, K]
        places = ops.cast(places, "int32")
        parents, last = places // vocabulary_size, places % vocabulary_size
        gained = ops.reshape(log_probs, (-1, self.width * vocabulary_size))
        return {
            "sums": sums,
            "parents": parents,
            "last": last,
            "tokens": write(pick(carry["tokens"], parents), now.index, last),
            "token_scores": write(pick(carry["token_scores"], parents), now.index, pick(gained, places)),
        }

    def _merge(self, carry, best, closed, now):
        """The best of the hypotheses that are finished already and those that are now."""
        lengths = ops.broadcast_to(now.index + 1, ops.shape(closed))
        divisor = length_divisor(self.length_penalty, self.alpha, now.written + 1)[:, None]
        real = ops.logical_and(closed, best["sums"] > LOWEST / 2)
        scores = ops.where(real, best["sums"] / divisor, LOWEST)
        scores, places = ops.top_k(ops.concatenate([carry["done_scores"], scores], axis=1), self.width)
        places = ops.cast(places, "int32")
        both = {"tokens": best["tokens"], "token_scores": best["token_scores"], "lengths": lengths}
        joined = {n: ops.concatenate([carry[f"done_{n}"], value], axis=1) for n, value in both.items()}
        return {"done_scores": scores, **{f"done_{n}": pick(value, places) for n, value in joined.items()}}

    def _enough(self, carry, now):
        """Whether the stop rule is content, booleans [B]."""
        waiting, growing = carry["done_scores"], ops.max(carry["sums"], axis=1)
        if self.stop == "all":
            enough = waiting[:, -1] > LOWEST / 2
        elif self.stop == "first":
            enough = waiting[:, 0] >= growing / length_divisor(self.length_penalty, self.alpha, now.written + 1)
        else:
            # Log-probabilities only fall and the divisor only grows: nothing that grows can end above this.
            most = length_divisor(self.length_penalty, self.alpha, now.most)
            enough = waiting[:, self.n_best - 1] >= growing / most
        return ops.logical_or(ops.logical_or(enough, growing < LOWEST / 2), now.last)

    def finished(self, carry):
        """Returns which sources are done."""
        return carry["done"]

    def finish(self, carry, pad_id):
        """Returns the best finished hypotheses."""
        lengths = carry["done_lengths"][:, : self.n_best]
        real = ops.arange(carry["tokens"].shape[-1], dtype="int32") < lengths[:, :, None]
        return {
            "tokens": ops.where(real, carry["done_tokens"][:, : self.n_best], pad_id),
            "lengths": lengths,
            "scores": carry["done_scores"][:, : self.n_best],
            "token_scores": ops.where(real, carry["done_token_scores"][:, : self.n_best], 0.0),
        }
