"""What all searches share: the hypotheses that one is about to make longer, and what is known at this position."""

import dataclasses

from keras import ops


@dataclasses.dataclass(frozen=True)
class Now:
    """What a search knows at one position; B sources, a scalar is the same for all of them.

    Args:
        index: The position that is written, an int32 scalar.
        forced: Whether the prompt says what stands here, booleans [B].
        prompt: What it says, int32 [B].
        written: Tokens after the prompt so far, int32 [B].
        most: Tokens after the prompt that there can be at most, int32 [B].
        last: Whether nothing may follow this position, booleans [B].
        end_ids: The tokens that end a sequence.
        rows: A number for each source that no other source has, int32 [B].
        seed: An int32 scalar.
    """

    index: object
    forced: object
    prompt: object
    written: object
    most: object
    last: object
    end_ids: tuple
    rows: object
    seed: object


@dataclasses.dataclass(frozen=True)
class Search:
    """A way to choose tokens: `begin` a carry, `advance` it position by position, `finish` it.

    A carry is a dictionary of tensors with the batch as first axis. It has `"tokens"`, the W hypotheses of each source
    that are made longer, int32 [B, W, T].

    Args:
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order.
    """

    constraints: tuple = dataclasses.field(default=(), kw_only=True)

    # How many hypotheses of each source are made longer side by side.
    lines = 1

    def __post_init__(self):
        given = self.constraints
        object.__setattr__(self, "constraints", tuple(given) if isinstance(given, list | tuple) else (given,))
        for constraint in self.constraints:
            if not callable(constraint):
                raise TypeError(
                    f"{type(self).__name__}: `constraints` must be callables of kerazoo.decoding; got {constraint!r}."
                )

    def call_seed(self):
        """Returns the seed of one call, an integer."""
        return 0

    def without_seed(self):
        """Returns the search that one compiled program serves, whatever the seed."""
        return self

    def begin(self, batch_size, max_length):
        """Returns the carry before the first position."""
        raise NotImplementedError

    def advance(self, carry, log_probs, ranked, now):
        """Writes one position.

        Args:
            carry: What `begin` or `advance` returned.
            log_probs: Log-probabilities of the model, float32 [B, W, V].
            ranked: The same after the constraints.
            now: A `Now`.

        Returns:
            The new carry, and which hypothesis each one continues, int32 [B, W], or None if each continues itself.
        """
        raise NotImplementedError

    def finished(self, carry):
        """Returns which sources need no more tokens, booleans [B]."""
        raise NotImplementedError

    def finish(self, carry, pad_id):
        """Returns `tokens` [B, N, T], `lengths`, `scores` [B, N] and `token_scores` [B, N, T], best first."""
        raise NotImplementedError


def write(buffer, index, values):
    """Puts `values` [...] at position `index` of `buffer` [..., T]."""
    here = ops.arange(buffer.shape[-1], dtype="int32") == index
    return ops.where(here, ops.expand_dims(values, -1), buffer)


def is_any(tokens, ids):
    """Returns where `tokens` is one of `ids`."""
    found = tokens == ids[0]
    for other in ids[1:]:
        found = ops.logical_or(found, tokens == other)
    return found


def pick(values, places):
    """Takes along axis 1: `values` [B, M, ...] at `places` [B, K] gives [B, K, ...]."""
    # One gather over the rows of all sources: `take_along_axis` is dozens of operations on TensorFlow.
    many = ops.shape(values)[1]
    first = ops.arange(ops.shape(places)[0], dtype="int32")[:, None] * many
    flat = ops.reshape(values, (-1, *ops.shape(values)[2:]))  # [B * M, ...]
    return ops.take(flat, first + places, axis=0)
