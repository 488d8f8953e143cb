"""What all searches share: the hypotheses that one is about to make longer, and what is known at this position."""

import dataclasses

from keras import ops

from kerazoo.decoding.stop import StopStrings


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
        source_mask: Which positions of the source are real, booleans [B, S]; None where nobody says.
        attention: How much each hypothesis looks at each position of the source, float32 [B, W, S]; None where the
            model does not say.
        hidden: The vectors that the logits of each hypothesis are made of [B, W, D]; None where the model keeps them.
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
    source_mask: object = None
    attention: object = None
    hidden: object = None


@dataclasses.dataclass(frozen=True)
class Search:
    """A way to choose tokens: `begin` a carry, `advance` it position by position, `finish` it.

    A carry is a dictionary of tensors with the batch as first axis. It has `"tokens"`, the W hypotheses of each source
    that are made longer, int32 [B, W, T].

    Args:
        constraints: Callables of `kerazoo.decoding.constraints`, applied in order.
        stop_strings: A `StopStrings`: an answer also ends where its text has one of them.
    """

    constraints: tuple = dataclasses.field(default=(), kw_only=True)
    stop_strings: StopStrings | None = dataclasses.field(default=None, kw_only=True)

    # How many hypotheses of each source are made longer side by side.
    lines = 1
    # Which of `Now.attention` and `Now.hidden` it cannot do without, with the option that asks for it.
    needs = {}
    # Further models that it runs. It then has a loop of its own, `run`.
    models = ()

    def __post_init__(self):
        given = self.constraints
        object.__setattr__(self, "constraints", tuple(given) if isinstance(given, list | tuple) else (given,))
        for constraint in self.constraints:
            if not callable(constraint):
                raise TypeError(
                    f"{type(self).__name__}: `constraints` must be callables of kerazoo.decoding; got {constraint!r}."
                )
        if not isinstance(self.stop_strings, StopStrings | None):
            raise TypeError(
                f"{type(self).__name__}: `stop_strings` must be a kerazoo.decoding.StopStrings, which knows how each "
                f"token is written; got {self.stop_strings!r}."
            )

    def call_seed(self):
        """Returns the seed of one call, an integer."""
        return 0

    def without_seed(self):
        """Returns the search that one compiled program serves, whatever the seed."""
        return self

    def begin(self, batch_size, max_length, **seen):
        """Returns the carry before the first position; `seen` are zeros like what it `needs` of `Now`."""
        raise NotImplementedError

    def matching(self, shape):
        """Returns what a carry holds to find stop strings, for hypotheses of `shape`."""
        return {} if self.stop_strings is None else {"matched": ops.zeros(shape, "int32")}

    def after(self, carry, parents, tokens, vocabulary_size):
        """Returns `matching` after hypotheses `parents` [B, K] (None: each its own) are made longer by `tokens`."""
        if self.stop_strings is None:
            return {}
        before = carry["matched"] if parents is None else pick(carry["matched"], parents)
        return {"matched": self.stop_strings.after(before, tokens, vocabulary_size)}

    def ended(self, matching, tokens, now):
        """Returns which hypotheses end with `tokens`, after which they have `matching`."""
        ended = is_any(tokens, now.end_ids)
        if self.stop_strings is None:
            return ended
        return ops.logical_or(ended, self.stop_strings.found(matching["matched"]))

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
