"""Speculative decoding: a small model drafts, the large one checks, and the answer is the large one's own."""

import dataclasses

from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST, Context
from kerazoo.decoding.drafting import Reader
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.search import Search, is_any, write
from kerazoo.decoding.select import likeliest


@dataclasses.dataclass(frozen=True)
class Speculative(Search):
    """Gives what `Greedy` gives, token for token, with fewer passes of a large model.

    In each round the draft model writes `tokens` tokens, greedily; the large model reads them all and keeps those that
    it would have written itself, and the one after them that it writes instead. A large model with `step_many` (a
    Transformer) reads them in one pass; one without reads them one by one, which gives the same and saves nothing. All
    rows of a batch go forward together, by the least number of tokens kept among those that are not finished: batches
    of one gain most. Where two tokens are equally likely but for rounding, one pass over several tokens and a pass for
    each of them may choose differently.

    Args:
        draft: A `Decodable` with the vocabulary, the special ids and the kind of source of the large model.
        tokens: Tokens that are drafted in each round. Default 4.
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order, to both models.
        stop_strings: A `StopStrings`: an answer also ends where its text has one of them.

    Reference:
        Leviathan, Kalman and Matias (2023), Fast Inference from Transformers via Speculative Decoding,
        arXiv 2211.17192, in its greedy form.
    """

    draft: object
    tokens: int = 4

    def __post_init__(self):
        super().__post_init__()
        _checks.positive_int("Speculative", "tokens", self.tokens)
        if not isinstance(self.draft, Decodable):
            raise TypeError(f"Speculative: `draft` must be a model with `start` and `step`; got {self.draft!r}.")

    @property
    def models(self):
        """The draft model."""
        return (self.draft,)

    def run(self, model, max_length, encoded, source, facts, ends, source_lengths):
        """Writes all answers; the loop of this search.

        Args:
            model: The large model.
            max_length: Places for tokens, a static number.
            encoded: What `model.encode` returned, or None.
            source: What the draft model encodes, or None.
            facts: Prompts, limits and so on of each source, as the loop of the other searches has them.
            ends: The tokens that end a sequence.
            source_lengths: Real positions of the source, int32 [B], or None.

        Returns:
            What `decode` returns, and under `"accepted"` the share of drafted tokens that were kept, float32 [B].
        """
        self._check(model)
        drafted = None if source is None else self.draft.encode(source, training=False)
        ones = ops.ones_like(facts["prompt_lengths"])
        batch_size, block = ops.shape(ones)[0], min(self.tokens, max_length - 1) + 1
        never = tuple(sorted({model.pad_id, model.start_id} - set(ends)))

        def choose(logits, tokens, index):
            """The greedy token [B] at a position, and its log-probability."""
            return self._choose(logits, tokens, index, facts, ends, never, source_lengths)

        small = Reader(self.draft, batch_size, max_length, drafted, block, choose)
        large = Reader(model, batch_size, max_length, encoded, block, choose)
        carry = {
            "tokens": ops.zeros((batch_size, max_length), "int32"),
            "token_scores": ops.zeros((batch_size, max_length), "float32"),
            "lengths": ones * 0,
            "done": ones < 0,
            "drafted": ones * 0,
            "kept": ones * 0,
            **self.matching((batch_size,)),
        }

        def go_on(index, carry, *_):
            waiting = ops.logical_and(ops.logical_not(carry["done"]), facts["valid"])
            return ops.logical_and(index < max_length, ops.any(waiting))

        def body(index, carry, small_state, large_state):
            many = ops.minimum(block, max_length - index)
            proposed, small_states = small.write(carry["tokens"], index, many, small_state)
            chosen, gained, large_states, vocabulary_size = large.check(proposed, index, many, large_state)
            carry, forward = self._accept(carry, proposed, chosen, gained, index, many, facts, ends, vocabulary_size)
            return index + forward, carry, small.after(small_states, forward), large.after(large_states, forward)

        start = ops.convert_to_tensor(0, "int32")
        _, carry, _, _ = ops.while_loop(go_on, body, (start, carry, small.state, large.state))
        return _result(carry, max_length, model.pad_id)

    def _check(self, model):
        for name in ("vocabulary_size", "pad_id", "start_id", "end_id"):
            mine, its = getattr(self.draft, name), getattr(model, name)
            if mine != its:
                raise ValueError(f"Speculative: `draft` must have the `{name}` of the model; got {mine} and {its}.")

    def _choose(self, logits, tokens, index, facts, ends, never, source_lengths):
        log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)  # [B, V]
        ranked = log_probs
        if never:
            ranked = ops.where(is_any(ops.arange(log_probs.shape[-1], dtype="int32"), never), LOWEST, ranked)
        written = ops.maximum(index - facts["prompt_lengths"], 0)
        for constraint in self.constraints:
            ranked = constraint(ranked, Context(tokens, index, written, source_lengths, ends))
        place = ops.minimum(index, facts["prompt"].shape[1] - 1)
        forced = index < facts["prompt_lengths"]
        chosen = ops.where(forced, ops.take(facts["prompt"], place, axis=1), likeliest(ranked))
        gained = ops.take_along_axis(log_probs, chosen[:, None], axis=1)[:, 0]
        return chosen, ops.where(forced, 0.0, gained)

    def _accept(self, carry, proposed, chosen, gained, index, many, facts, ends, vocabulary_size):
        """Writes what the large model chose, as far as all unfinished rows agree with the draft."""
        # What each row would be after each position of the block, had all before it been agreed to.
        block = chosen.shape[1]
        right = ops.ones_like(carry["done"])  # the draft was right so far
        content = ops.logical_not(facts["valid"])
        states, steps, enough, row = [], [], [], carry
        for j in range(block):
            place, token = index + j, chosen[:, j]
            forced = place < facts["prompt_lengths"]
            matching = self.after(row, None, token, vocabulary_size) if self.stop_strings else {}
            matching = {name: ops.where(forced, row[name], value) for name, value in matching.items()}
            ended = is_any(token, ends)
            if self.stop_strings:
                ended = ops.logical_or(ended, self.stop_strings.found(matching["matched"]))
            ended = ops.logical_or(ops.logical_and(ended, ops.logical_not(forced)), place + 1 >= facts["limits"])
            silent = ops.logical_or(row["done"], forced)
            one = ops.where(silent, 0, 1)
            draft = ops.take(proposed, ops.minimum(place, proposed.shape[1] - 1), axis=1) == token
            row = {
                "tokens": write(row["tokens"], place, token),
                "token_scores": write(row["token_scores"], place, ops.where(silent, 0.0, gained[:, j])),
                "lengths": ops.where(row["done"], row["lengths"], place + 1),
                "done": ops.logical_or(row["done"], ended),
                "drafted": row["drafted"] + one if j < block - 1 else row["drafted"],
                "kept": row["kept"] + ops.where(draft, one, 0) if j < block - 1 else row["kept"],
                **matching,
            }
            states.append(row)
            # A row is content with what ends it, where all before that is right.
            content = ops.logical_or(content, ops.logical_and(right, row["done"]))
            enough.append(content)
            right = ops.logical_and(right, draft)
            steps.append(right)
        # Position j + 1 counts where the draft was right up to j, or nobody needs it.
        forward = ops.ones_like(index)
        for j in range(block - 1):
            agreed = ops.all(ops.logical_or(steps[j], enough[j]))
            forward = ops.where(ops.logical_and(agreed, forward == j + 1), j + 2, forward)
        forward = ops.minimum(ops.cast(forward, "int32"), many)
        return {name: ops.take(ops.stack([s[name] for s in states]), forward - 1, axis=0) for name in carry}, forward


def _result(carry, max_length, pad_id):
    real = ops.arange(max_length, dtype="int32") < carry["lengths"][:, None]
    token_scores = ops.where(real, carry["token_scores"], 0.0)
    return {
        "tokens": ops.where(real, carry["tokens"], pad_id)[:, None],
        "lengths": carry["lengths"][:, None],
        "scores": ops.sum(token_scores, axis=1)[:, None],
        "token_scores": token_scores[:, None],
        "accepted": ops.cast(carry["kept"], "float32") / ops.cast(ops.maximum(carry["drafted"], 1), "float32"),
    }
