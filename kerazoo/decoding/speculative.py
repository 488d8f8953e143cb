"""Speculative decoding: a small model drafts several tokens, which the large model checks at once."""

import dataclasses
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.constraints import LOWEST, end_if_all_excluded
from kerazoo.decoding.context import ConstraintContext, DecodingContext
from kerazoo.decoding.decoding_state import loop_variables, same_shapes, start_cache
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.search import Search, argmax, is_any, write


@dataclasses.dataclass(frozen=True)
class Speculative(Search):
    """Returns what `Greedy` returns, token for token, with fewer passes of a large model.

    In each round the draft model generates `num_draft_tokens` tokens greedily. The large model reads them all, keeps
    those that it would have generated itself, and adds the one that follows them. A large model with `step_many` (a
    Transformer) reads them in one pass; any other reads them one by one, with the same result and no gain. All rows of
    a batch advance together, by the smallest number of tokens kept among the unfinished ones: batches of one gain most.
    Where two tokens are equally probable up to rounding, one pass over several tokens and a pass for each of them may
    choose differently.

    Args:
        draft: `Decodable`. A model with the vocabulary, the special ids and the kind of source of the large model.
        num_draft_tokens: int, above 0. Number of tokens that are drafted in each round. Defaults to `4`.
        constraints: callable or sequence of callables of `kerazoo.decoding.constraints`. Applied in order, to both
            models. Defaults to none.
        stop_strings: `StopStrings`. A sequence also ends where its text contains one of them. Defaults to `None`.

    Reference:
        Leviathan, Kalman and Matias (2023), Fast Inference from Transformers via Speculative Decoding,
        arXiv:2211.17192, in its greedy form.
    """

    draft: Any
    num_draft_tokens: int = 4

    def __post_init__(self):
        super().__post_init__()
        _checks.positive_int("Speculative", "num_draft_tokens", self.num_draft_tokens)
        if not isinstance(self.draft, Decodable):
            raise TypeError(f"Speculative: `draft` must be a model with `start` and `step`; got {self.draft!r}.")

    @property
    def models(self) -> tuple[Decodable, ...]:
        """The draft model."""
        return (self.draft,)

    def run(self, model: Decodable, max_length: int, context: DecodingContext) -> dict[str, Any]:
        """Runs the loop of this search.

        Args:
            model: `Decodable`. The large model.
            max_length: int. Maximum number of tokens of a sequence.
            context: `DecodingContext`, completed.

        Returns:
            What `Search.result` returns, and `"acceptance_rate"`, float32 [B].
        """
        self._check(model)
        encoded = None if context.source is None else self.draft.encode(context.source, training=False)
        ones = ops.ones_like(context.prompt_lengths)
        batch_size, block = ops.shape(ones)[0], min(self.num_draft_tokens, max_length - 1) + 1
        excluded = tuple(sorted({model.pad_id, model.start_id} - set(context.end_ids)))

        def choose(logits, tokens, index):
            return self._choose(logits, tokens, index, context, excluded)

        small = _BlockDecoder(self.draft, batch_size, max_length, encoded, block, choose)
        large = _BlockDecoder(model, batch_size, max_length, context.encoded, block, choose)
        state = {
            "tokens": ops.zeros((batch_size, max_length), "int32"),
            "token_scores": ops.zeros((batch_size, max_length), "float32"),
            "lengths": ones * 0,
            "done": ones < 0,
            "num_drafted": ones * 0,
            "num_accepted": ones * 0,
            **self.initial_stop_state((batch_size,)),
        }

        def condition(index, state, *_):
            unfinished = ops.logical_and(ops.logical_not(state["done"]), context.row_mask)
            return ops.logical_and(index < max_length, ops.any(unfinished))

        def body(index, state, small_state, large_state):
            count = ops.minimum(block, max_length - index)
            proposed, small_states = small.generate(state["tokens"], index, count, small_state)
            chosen, scores, large_states, vocabulary_size = large.check(proposed, index, count, large_state)
            state, advance = self._accept(state, proposed, chosen, scores, index, count, context, vocabulary_size)
            return index + advance, state, small.after(small_states, advance), large.after(large_states, advance)

        start = ops.convert_to_tensor(0, "int32")
        _, state, _, _ = ops.while_loop(condition, body, (start, state, small.state, large.state))
        drafted = ops.cast(ops.maximum(state["num_drafted"], 1), "float32")
        return {
            "tokens": state["tokens"][:, None],
            "lengths": state["lengths"][:, None],
            "scores": ops.sum(state["token_scores"], axis=1)[:, None],
            "token_scores": state["token_scores"][:, None],
            "acceptance_rate": ops.cast(state["num_accepted"], "float32") / drafted,
        }

    def _check(self, model):
        for name in ("vocabulary_size", "pad_id", "start_id", "end_id"):
            drafts, models = getattr(self.draft, name), getattr(model, name)
            if drafts != models:
                raise ValueError(
                    f"Speculative: `draft` must have the `{name}` of the model; got {drafts} and {models}."
                )

    def _choose(self, logits, tokens, index, context, excluded):
        """Returns the greedy token [B] at a position, and its log-probability [B]."""
        log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)  # [B, V]
        constrained = log_probs
        if excluded:
            is_excluded = is_any(ops.arange(log_probs.shape[-1], dtype="int32"), excluded)
            constrained = ops.where(is_excluded, LOWEST, constrained)
        num_generated = ops.maximum(index - context.prompt_lengths, 0)
        for constraint in self.constraints:
            constrained = constraint(
                constrained,
                ConstraintContext(tokens, index, num_generated, context.source_lengths, context.end_ids),
            )
        if self.constraints:
            constrained = end_if_all_excluded(constrained, log_probs, context.end_ids)
        column = ops.minimum(index, context.prompt.shape[1] - 1)
        forced = index < context.prompt_lengths
        chosen = ops.where(forced, ops.take(context.prompt, column, axis=1), argmax(constrained))
        scores = ops.take_along_axis(log_probs, chosen[:, None], axis=1)[:, 0]
        return chosen, ops.where(forced, 0.0, scores)

    def _accept(self, state, proposed, chosen, scores, index, count, context, vocabulary_size):
        """Writes the tokens of the large model up to the first that an unfinished row's draft does not agree with.

        Returns the new state and the number of positions that are written.
        """
        block = chosen.shape[1]
        agrees = ops.ones_like(state["done"])  # the draft was right so far
        settled = ops.logical_not(context.row_mask)
        # The state of each row after each position of the block, if all tokens before it are right.
        states, all_agree, all_settled = [], [], []
        row = state
        for j in range(block):
            index_j, token = index + j, chosen[:, j]
            is_draft = ops.take(proposed, ops.minimum(index_j, proposed.shape[1] - 1), axis=1) == token
            row = self._append(row, token, scores[:, j], index_j, is_draft, j < block - 1, context, vocabulary_size)
            states.append(row)
            # A row that has ended needs no more positions, if all before its end is right.
            settled = ops.logical_or(settled, ops.logical_and(agrees, row["done"]))
            all_settled.append(settled)
            agrees = ops.logical_and(agrees, is_draft)
            all_agree.append(agrees)
        # Position j + 1 counts where the draft is right up to j, or the row is settled.
        advance = ops.ones_like(index)
        for j in range(block - 1):
            agreed = ops.all(ops.logical_or(all_agree[j], all_settled[j]))
            advance = ops.where(ops.logical_and(agreed, advance == j + 1), j + 2, advance)
        advance = ops.minimum(ops.cast(advance, "int32"), count)
        stacked = {name: ops.stack([each[name] for each in states]) for name in state}
        return {name: ops.take(value, advance - 1, axis=0) for name, value in stacked.items()}, advance

    def _append(self, row, token, score, index, is_draft, is_drafted, context, vocabulary_size):
        """Returns the state of all rows after one more token [B]."""
        forced = index < context.prompt_lengths
        stop_state = self.next_stop_state(row, None, token, vocabulary_size) if self.stop_strings else {}
        stop_state = {name: ops.where(forced, row[name], value) for name, value in stop_state.items()}
        ended = self.is_end(stop_state, token, context.end_ids)
        ended = ops.logical_or(ops.logical_and(ended, ops.logical_not(forced)), index + 1 >= context.max_lengths)
        unscored = ops.logical_or(row["done"], forced)
        one = ops.where(unscored, 0, 1)
        return {
            "tokens": write(row["tokens"], index, token),
            "token_scores": write(row["token_scores"], index, ops.where(unscored, 0.0, score)),
            "lengths": ops.where(row["done"], row["lengths"], index + 1),
            "done": ops.logical_or(row["done"], ended),
            "num_drafted": row["num_drafted"] + one if is_drafted else row["num_drafted"],
            "num_accepted": row["num_accepted"] + ops.where(is_draft, one, 0) if is_drafted else row["num_accepted"],
            **stop_state,
        }


class _BlockDecoder:
    """Decodes a block of tokens with one model, for B rows, and returns to any position inside the block.

    A state is what `loop_variables` returns of a cache. Its `"state"` part is kept after each token of a block; its
    `"kv_cache"` is not, as positions after the last accepted one are written again before they are read.

    Args:
        model: `Decodable`.
        batch_size: int or scalar tensor. Number of rows B.
        max_length: int. Maximum number of tokens of a sequence.
        encoded: What the model's `encode` returned, or `None`.
        block: int, at most `max_length`. Maximum number of tokens of a block.
        choose: callable. Takes logits [B, V], tokens [B, T] and a position; returns a token [B] and its log-probability
            [B].
    """

    def __init__(self, model, batch_size, max_length, encoded, block, choose):
        self.model, self.max_length, self.block, self.choose = model, max_length, block, choose
        cache = start_cache(model, batch_size, max_length, encoded)
        self.memory, self.state = cache["memory"], loop_variables(cache)

    def generate(self, tokens, index, count, state):
        """Generates `count` tokens from `index` on; returns `tokens` [B, T] with them, and the states."""
        tokens, _, _, states, _ = self._decode(tokens, index, count, state, writes=True)
        return tokens, states

    def check(self, tokens, index, count, state):
        """Returns what the model would generate at `count` positions, given all `tokens` before each.

        Returns tokens [B, block] and their log-probabilities, which are undefined after `count`, the states, and the
        size of the vocabulary.
        """
        if self.model.supports_parallel_decoding and not keras.tree.flatten(state.get("state", ())):
            return self._check_in_parallel(tokens, index, state)
        _, chosen, scores, states, vocabulary_size = self._decode(tokens, index, count, state, writes=False)
        return chosen, scores, states, vocabulary_size

    def after(self, states, advance):
        """Returns the state after `advance` tokens of the block."""
        last, each = states
        if "state" not in last:
            return last
        state = keras.tree.map_structure(lambda x: ops.take(x, advance - 1, axis=0), each)
        return {**last, "state": same_shapes(state, last["state"])}

    def _token_before(self, tokens, index):
        return ops.where(index == 0, self.model.start_id, ops.take(tokens, ops.maximum(index - 1, 0), axis=1))

    def _check_in_parallel(self, tokens, index, state):
        # The block must not exceed the last position: near the end it begins earlier, and reads some tokens again.
        first = ops.minimum(index, self.max_length - self.block)
        positions = first + ops.arange(self.block, dtype="int32")
        inputs = ops.take(tokens, ops.maximum(positions - 1, 0), axis=1)
        inputs = ops.where(positions == 0, self.model.start_id, inputs)  # [B, block]
        logits, new = self.model.step_many(inputs, {**state, "memory": self.memory}, first)
        chosen, scores = [], []
        for j in range(self.block):
            position = ops.minimum(index + j, self.max_length - 1)
            token, score = self.choose(ops.take(logits, position - first, axis=1), tokens, position)
            chosen.append(token)
            scores.append(score)
        last = same_shapes(loop_variables(new), state)
        return ops.stack(chosen, axis=1), ops.stack(scores, axis=1), (last, ()), logits.shape[-1]

    def _decode(self, tokens, index, count, state, writes):
        each = keras.tree.map_structure(lambda x: ops.stack([x] * self.block), state.get("state", ()))
        rows, vocabulary_size = ops.shape(tokens)[0], None
        chosen, scores = ops.zeros((rows, self.block), "int32"), ops.zeros((rows, self.block), "float32")

        def body(j, tokens, chosen, scores, state, each):
            nonlocal vocabulary_size
            position, cache = index + j, {**state, "memory": self.memory}
            logits, new = self.model.step(self._token_before(tokens, position), cache, position)
            vocabulary_size = logits.shape[-1]
            token, score = self.choose(logits, tokens, position)
            new = same_shapes(loop_variables(new), state)
            each = keras.tree.map_structure(lambda stack, x: _write_first(stack, j, x), each, new.get("state", ()))
            tokens = write(tokens, position, token) if writes else tokens
            return j + 1, tokens, write(chosen, j, token), write(scores, j, score), new, each

        start = ops.zeros_like(index)
        variables = (start, tokens, chosen, scores, state, each)
        _, tokens, chosen, scores, last, each = ops.while_loop(lambda j, *_: j < count, body, variables)
        return tokens, chosen, scores, (last, each), vocabulary_size


def _write_first(stack, index, value):
    """Returns `stack` [block, ...] with `value` [...] at `index` of its first axis."""
    here = ops.reshape(ops.arange(stack.shape[0], dtype="int32") == index, (-1, *[1] * len(value.shape)))
    return ops.where(here, value[None], stack)
