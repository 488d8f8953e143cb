"""What a model shows of one step beside its logits, where a search asks for it: attention and vectors."""

from keras import ops

WORDS = {"attention": "attention to a source", "hidden": "the vectors that its logits are made of"}


def see(cache, lines):
    """Returns `attention` [B, W, S] and `hidden` [B, W, D] of the step that returned `cache`, None where it has none.

    Args:
        cache: What `model.step` returned beside the logits of B * W hypotheses.
        lines: The number W.
    """
    shown = {name: cache.get(name) for name in WORDS}
    return {n: None if x is None else ops.reshape(x, (-1, lines, *ops.shape(x)[1:])) for n, x in shown.items()}


def like_seen(model, search, cache, batch_size):
    """Returns zeros like what `search` needs to see of each step, and refuses a model that does not show it.

    Args:
        model: A `Decodable`.
        search: A `Search`.
        cache: What `start_cache` returned.
        batch_size: The number B.
    """
    if not search.needs:
        return {}
    # Only the shapes of this step are used, so that a compiled program never runs it.
    tokens = ops.full((batch_size * search.lines,), model.start_id, dtype="int32")
    _, new = model.step(tokens, cache, ops.convert_to_tensor(0, "int32"))
    seen = see(new, search.lines)
    for name, option in search.needs.items():
        if seen[name] is None:
            raise ValueError(
                f"{type(search).__name__}: {option} needs a model whose `step` shows {WORDS[name]}; "
                f"got {type(model).__name__}, which does not."
            )
    return {name: ops.zeros_like(seen[name]) for name in search.needs}
