"""The cache of a model while several hypotheses of each source grow: which parts there are, and what moves."""

import inspect

import keras
from keras import ops

# What of a cache is handed from step to step; whatever else a step returns is said of its own position alone.
PARTS = ("state", "history", "memory", "ancestors")


def open_cache(model, batch_size, max_length, encoded=None, lines=1):
    """Returns the cache of `lines` hypotheses for each source before the first position.

    Args:
        model: A `Decodable`.
        batch_size: Number of sources B, an integer or a tensor.
        max_length: Most tokens of a hypothesis L.
        encoded: What `model.encode` returned; None without a source.
        lines: Hypotheses of each source W.

    Returns:
        `{"state", "history", "memory", "ancestors"}`, the second only where the model keeps one, the last, int32
        [B, W, L], only for several lines of such a model.
    """
    cache = start(model, batch_size, max_length, encoded, lines)
    opened = {name: cache[name] for name in PARTS if name in cache}
    if lines > 1:
        opened["state"] = for_each_line(cache["state"], lines)
        if "history" in opened:
            opened["ancestors"] = ops.broadcast_to(_own(lines), (batch_size, lines, max_length))
    return opened


def start(model, batch_size, max_length, encoded, lines):
    """Returns what `model.start` returns; only a model with a history needs to know of lines."""
    asks = "lines" in inspect.signature(model.start).parameters
    return model.start(batch_size, max_length, encoded, **({"lines": lines} if asks else {}))


def moving(cache):
    """Returns the parts of a cache that change from step to step."""
    return {name: cache[name] for name in ("state", "history") if name in cache}


def for_each_line(nest, lines):
    """Repeats every row of each tensor for each hypothesis of its source; None stays None."""
    if nest is None or lines == 1:
        return nest
    return keras.tree.map_structure(lambda x: ops.repeat(x, lines, axis=0), nest)  # [B * W, ...]


def reorder(state, parents, lines):
    """Lets row `b * W + w` of every tensor be what row `b * W + parents[b, w]` was."""
    if parents is None or not keras.tree.flatten(state):
        return state
    first = ops.arange(ops.shape(parents)[0], dtype="int32")[:, None] * lines
    flat = ops.reshape(first + parents, (-1,))  # [B * W]
    return keras.tree.map_structure(lambda x: ops.take(x, flat, axis=0), state)


def inherit(ancestors, parents, index):
    """Returns which line wrote each position of each hypothesis, int32 [B, W, L].

    Up to `index` these are the lines of its parent, after that it will be its own: a history stays where it was
    written, and only this list follows the hypotheses.
    """
    own = ops.broadcast_to(_own(ancestors.shape[1]), ops.shape(ancestors))
    if parents is None:
        return own
    parents = ops.broadcast_to(parents[:, :, None], ops.shape(ancestors))
    past = ops.arange(ancestors.shape[2], dtype="int32") <= index
    return ops.where(past, ops.take_along_axis(ancestors, parents, axis=1), own)


def same_shapes(new, old):
    """Tells TensorFlow, which forgets static sizes on the way, that a step changes no shape."""

    def same(x, before):
        return x if tuple(x.shape) == tuple(before.shape) else ops.reshape(x, ops.shape(before))

    return keras.tree.map_structure(same, new, old)


def _own(lines):
    return ops.arange(lines, dtype="int32")[None, :, None]
