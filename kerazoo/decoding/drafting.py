"""A model that reads on by a block of tokens and can go back inside it."""

import keras
from keras import ops

from kerazoo.decoding.decoding_state import loop_variables, same_shapes, start_cache
from kerazoo.decoding.search import write


class Reader:
    """One model of a speculative search, for B rows.

    A state is what `loop_variables` returns of a cache. Its `"state"` part is kept after each token of a block, to go
    back to; its `"kv_cache"` stays, for what is written beyond a position is written again before it is read.

    Args:
        model: A `Decodable`.
        batch_size: The number B.
        max_length: Places for tokens, a static number.
        encoded: What the model made of the sources, or None.
        block: Most tokens that are read at once, at most `max_length`.
        choose: Takes logits [B, V], tokens [B, T] and a position; returns a token [B] and its log-probability [B].
    """

    def __init__(self, model, batch_size, max_length, encoded, block, choose):
        self.model, self.max_length, self.block, self.choose = model, max_length, block, choose
        cache = start_cache(model, batch_size, max_length, encoded)
        self.memory, self.state = cache["memory"], loop_variables(cache)
        self.start_id = model.start_id

    def write(self, tokens, index, many, state):
        """Writes `many` tokens from `index` on; returns `tokens` [B, T] with them, and the states."""
        tokens, _, _, states = self._read(tokens, index, many, state, writes=True)
        return tokens, states

    def check(self, tokens, index, many, state):
        """Returns what the model itself would write at `many` positions, given all `tokens` before each.

        Returns:
            Tokens [B, block] and their log-probabilities, the states, and the size of the vocabulary. What stands
            beyond `many` means nothing.
        """
        if self.model.supports_parallel_decoding and not keras.tree.flatten(state.get("state", ())):
            return self._check_at_once(tokens, index, state)
        _, chosen, gained, states = self._read(tokens, index, many, state, writes=False)
        return chosen, gained, states, self._vocabulary_size

    def after(self, states, forward):
        """Returns the state after `forward` tokens of the block."""
        last, kept = states
        if "state" not in last:
            return last
        back = keras.tree.map_structure(lambda x: ops.take(x, forward - 1, axis=0), kept)
        return {**last, "state": same_shapes(back, last["state"])}

    def _before(self, tokens, index):
        """The token [B] before a position."""
        return ops.where(index == 0, self.start_id, ops.take(tokens, ops.maximum(index - 1, 0), axis=1))

    def _check_at_once(self, tokens, index, state):
        # The block must not reach beyond the last place: near the end it begins earlier, and reads some tokens again.
        first = ops.minimum(index, self.max_length - self.block)
        places = first + ops.arange(self.block, dtype="int32")
        read = ops.take(tokens, ops.maximum(places - 1, 0), axis=1)
        read = ops.where(places == 0, self.start_id, read)  # [B, block]
        logits, new = self.model.step_many(read, {**state, "memory": self.memory}, first)
        chosen, gained = [], []
        for j in range(self.block):
            place = ops.minimum(index + j, self.max_length - 1)
            token, gain = self.choose(ops.take(logits, place - first, axis=1), tokens, place)
            chosen.append(token)
            gained.append(gain)
        last = same_shapes(loop_variables(new), state)
        return ops.stack(chosen, axis=1), ops.stack(gained, axis=1), (last, ()), logits.shape[-1]

    def _read(self, tokens, index, many, state, writes):
        kept = keras.tree.map_structure(lambda x: ops.stack([x] * self.block), state.get("state", ()))
        rows = ops.shape(tokens)[0]
        chosen, gained = ops.zeros((rows, self.block), "int32"), ops.zeros((rows, self.block), "float32")

        def body(j, tokens, chosen, gained, state, kept):
            place = index + j
            logits, new = self.model.step(self._before(tokens, place), {**state, "memory": self.memory}, place)
            self._vocabulary_size = logits.shape[-1]
            token, gain = self.choose(logits, tokens, place)
            new = same_shapes(loop_variables(new), state)
            later = keras.tree.map_structure(lambda all_, x: _put(all_, j, x), kept, new.get("state", ()))
            tokens = write(tokens, place, token) if writes else tokens
            return j + 1, tokens, write(chosen, j, token), write(gained, j, gain), new, later

        start = ops.zeros_like(index)
        loop = (start, tokens, chosen, gained, state, kept)
        _, tokens, chosen, gained, last, kept = ops.while_loop(lambda j, *_: j < many, body, loop)
        return tokens, chosen, gained, (last, kept)


def _put(stack, place, value):
    """Puts `value` [...] at `place` of `stack` [block, ...]."""
    here = ops.reshape(ops.arange(stack.shape[0], dtype="int32") == place, (-1, *[1] * len(value.shape)))
    return ops.where(here, value[None], stack)
