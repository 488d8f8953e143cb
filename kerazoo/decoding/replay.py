"""Given tokens once more through a model, step by step: what each cost, and where the model looked."""

from keras import ops

from kerazoo.decoding.decoding_state import loop_variables, same_shapes, start_cache


def replay(model, encoded, tokens, look=False):
    """Reads answers that are known.

    Args:
        model: A `Decodable`.
        encoded: What `model.encode` returned for B sources; None without a source.
        tokens: N answers of each source, int32 [B, N, T].
        look: Whether to return the attention.

    Returns:
        The log-probability of each token given those before it, float32 [B, N, T]; and the attention of each to the
        source, float32 [B, N, T, S], or None.
    """
    answers, length = tokens.shape[1:]
    rows = ops.reshape(tokens, (-1, length))  # [B * N, T]
    cache = start_cache(model, ops.shape(tokens)[0], length, encoded, answers)
    state = loop_variables(cache)
    seen = {"scores": ops.zeros_like(rows, dtype="float32")}
    first = ops.full_like(rows[:, 0], model.start_id)
    if look:
        # Only the shape of this step is used, so that a compiled program never runs it.
        _, new = model.step(first, cache, ops.convert_to_tensor(0, "int32"))
        if new.get("attention") is None:
            raise ValueError(
                f"alignment needs a model whose `step` shows attention to a source; got {type(model).__name__}, which "
                "does not."
            )
        seen["attention"] = ops.zeros_like(new["attention"])[:, None] + ops.zeros((length, 1))

    def body(index, state, seen):
        before = ops.where(index == 0, first, ops.take(rows, ops.maximum(index - 1, 0), axis=1))
        logits, new = model.step(before, {**cache, **state}, index)
        log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        wanted = ops.expand_dims(ops.take(rows, index, axis=1), 1)
        gained = ops.take_along_axis(log_probs, wanted, axis=1)  # [B * N, 1]
        here = ops.arange(length, dtype="int32") == index
        now = {"scores": ops.where(here, gained, seen["scores"])}
        if look:
            now["attention"] = ops.where(here[:, None], new["attention"][:, None], seen["attention"])
        return index + 1, same_shapes(loop_variables(new), state), same_shapes(now, seen)

    start = ops.convert_to_tensor(0, "int32")
    _, _, seen = ops.while_loop(lambda index, *_: index < length, body, (start, state, seen))
    grid = (-1, answers, length)
    attention = ops.reshape(seen["attention"], (*grid, ops.shape(seen["attention"])[-1])) if look else None
    return ops.reshape(seen["scores"], grid), attention


def align(model, encoded, tokens):
    """Returns the attention of each token of given answers to the source.

    Args:
        model: A `Decodable` whose `step` shows `"attention"`.
        encoded: What `model.encode` returned for B sources.
        tokens: N answers of each source, int32 [B, N, T].

    Returns:
        float32 [B, N, T, S]; each row sums to one over the real positions of the source. What stands at padding means
        nothing.

    Raises:
        ValueError: The model shows no attention.
    """
    return replay(model, encoded, tokens, look=True)[1]
