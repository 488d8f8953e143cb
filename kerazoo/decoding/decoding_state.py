"""The cache and the outputs of a model during a search over several hypotheses of each source."""

from typing import Any

import keras
from keras import ops

from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.search import Search

# What a step may return beside logits, and its name in messages.
OBSERVED = {"attention": "attention to a source", "hidden": "the vectors that its logits are computed from"}

# The parts of a cache that are passed from step to step; all others belong to one position.
PARTS = ("state", "kv_cache", "memory", "beam_ancestry")


def start_cache(model: Decodable, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict:
    """Returns the cache of `num_beams` hypotheses for each source before the first position.

    Args:
        model: A `Decodable`.
        batch_size: int or scalar tensor. Number of sources B.
        max_length: int. Maximum number of tokens of a hypothesis, L.
        encoded: What `model.encode` returned, or `None` without a source. Defaults to `None`.
        num_beams: int. Number of hypotheses of each source, W. Defaults to `1`.

    Returns:
        `{"state", "kv_cache", "memory", "beam_ancestry"}`; the second only where the model has one, the last, int32
        [B, W, L], only for several beams of such a model.
    """
    started = model.start(batch_size, max_length, encoded, num_beams)
    cache = {name: started[name] for name in PARTS if name in started}
    if num_beams > 1:
        cache["state"] = repeat_for_beams(cache["state"], num_beams)
        if "kv_cache" in cache:
            cache["beam_ancestry"] = ops.broadcast_to(_own_beam(num_beams), (batch_size, num_beams, max_length))
    return cache


def loop_variables(cache: dict) -> dict:
    """Returns the parts of a cache that change from step to step."""
    return {name: cache[name] for name in ("state", "kv_cache") if name in cache}


def repeat_for_beams(nest: Any, num_beams: int) -> Any:
    """Repeats each row of each tensor `num_beams` times; `None` stays `None`."""
    if nest is None or num_beams == 1:
        return nest
    return keras.tree.map_structure(lambda x: ops.repeat(x, num_beams, axis=0), nest)  # [B * W, ...]


def reorder(state: Any, parents: Any, num_beams: int) -> Any:
    """Replaces row `b * W + w` of every tensor by row `b * W + parents[b, w]`."""
    if parents is None or not keras.tree.flatten(state):
        return state
    first = ops.arange(ops.shape(parents)[0], dtype="int32")[:, None] * num_beams
    flat = ops.reshape(first + parents, (-1,))  # [B * W]
    return keras.tree.map_structure(lambda x: ops.take(x, flat, axis=0), state)


def inherit(beam_ancestry: Any, parents: Any, index: Any) -> Any:
    """Returns the beam that holds each position of each hypothesis after a step, int32 [B, W, L].

    Up to `index` these are the beams of the parent, after it the hypothesis' own: the key/value cache is never moved,
    only this table follows the hypotheses.
    """
    own = ops.broadcast_to(_own_beam(beam_ancestry.shape[1]), ops.shape(beam_ancestry))
    if parents is None:
        return own
    parents = ops.broadcast_to(parents[:, :, None], ops.shape(beam_ancestry))
    past = ops.arange(beam_ancestry.shape[2], dtype="int32") <= index
    return ops.where(past, ops.take_along_axis(beam_ancestry, parents, axis=1), own)


def same_shapes(new: Any, old: Any) -> Any:
    """Gives tensors the static shapes of those that they replace, which TensorFlow loses in some operations."""

    def same(x, before):
        return x if tuple(x.shape) == tuple(before.shape) else ops.reshape(x, ops.shape(before))

    return keras.tree.map_structure(same, new, old)


def observed_outputs(cache: dict, num_beams: int) -> dict[str, Any]:
    """Returns `attention` [B, W, S] and `hidden` [B, W, D] of one step, `None` for those that it did not return.

    Args:
        cache: The cache that `model.step` returned for B * W hypotheses.
        num_beams: int. Number of hypotheses of each source, W.
    """
    found = {name: cache.get(name) for name in OBSERVED}
    return {
        name: None if x is None else ops.reshape(x, (-1, num_beams, *ops.shape(x)[1:])) for name, x in found.items()
    }


def zeros_like_observed(model: Decodable, search: Search, cache: dict, batch_size: Any) -> dict[str, Any]:
    """Returns zeros of the shape of each output that a search requires.

    Args:
        model: `Decodable`.
        search: `Search`.
        cache: What `start_cache` returned.
        batch_size: int or scalar tensor. Number of sources B.

    Raises:
        ValueError: if the model does not return a required output.
    """
    if not search.required_outputs:
        return {}
    # Only the shapes of this step are used, so that a compiled program never runs it.
    tokens = ops.full((batch_size * search.beams_per_source,), model.start_id, dtype="int32")
    _, new = model.step(tokens, cache, ops.convert_to_tensor(0, "int32"))
    found = observed_outputs(new, search.beams_per_source)
    for name, option in search.required_outputs.items():
        if found[name] is None:
            raise ValueError(
                f"{type(search).__name__}: {option} needs a model whose `step` returns {OBSERVED[name]}; "
                f"got {type(model).__name__}, which does not."
            )
    return {name: ops.zeros_like(found[name]) for name in search.required_outputs}


def _own_beam(num_beams):
    return ops.arange(num_beams, dtype="int32")[None, :, None]
