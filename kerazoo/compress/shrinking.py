"""Structured pruning: whole units, channels and heads are left out, which gives a smaller model of the same class."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks


def shrink(
    model: keras.Model,
    smaller: keras.Model,
    size: int,
    to: int,
    width: int = 1,
    shared: bool = True,
    at_end: bool = False,
) -> dict[str, list[int]]:
    """Copies the units of a model with the largest weights into a model of the same class that has fewer of them.

    One size of the two models differs: the units of LSTMs, the channels of a convolution, the intermediate width of
    feed-forward layers, the heads of attention. It is found in the shapes: an axis of a weight that is some whole
    number of times as long as the size, such as that of the four gates of an LSTM, has its blocks one after the other;
    what an axis has beyond these, such as the context after the units of an LSTM with attention, is kept. The
    importance of a unit is the mean square of its values, relative to those of the weight, summed over all weights
    that it is part of. All other weights are copied as they are.

    Args:
        model: built `keras.Model`.
        smaller: built `keras.Model` of the same layers, which gets the weights.
        size: int, above 0. The size in `model`.
        to: int, above 0, below `size`. The size in `smaller`.
        width: int, above 0. The values of a unit that lie next to each other, such as those of a head. Defaults to `1`.
        shared: bool. Whether all layers leave out the same units, as LSTMs do that pass on their state; False decides
            for each layer of weights on its own, as for feed-forward layers. Defaults to `True`.
        at_end: bool. Whether the blocks are at the end of an axis that has more than them. Defaults to `False`.

    Returns:
        dict: the numbers of the units that are kept, by the path of the layers that share them.

    Raises:
        ValueError: if the models have other weights, or shapes that this size does not explain.

    Example:

    ```python
    import kerazoo as kz

    sizes = {"source_vocabulary_size": 20, "target_vocabulary_size": 20, "embedding_dim": 8}
    model, smaller = (kz.create("lstm_seq2seq", **sizes, units=units) for units in (16, 12))
    for each in (model, smaller):
        each.build_from_inputs()
    kept = kz.compress.shrink(model, smaller, size=16, to=12)
    assert len(kept[""]) == 12
    ```

    Reference:
        Li et al. (2016), Pruning Filters for Efficient ConvNets, arXiv:1608.08710.
        Michel, Levy and Neubig (2019), Are Sixteen Heads Really Better than One?, arXiv:1905.10650.
    """
    _checks.positive_int("shrink", "size", size)
    if _checks.positive_int("shrink", "to", to) >= size:
        raise ValueError(f"shrink: `to` must be below `size`; got size={size}, to={to}.")
    pairs = list(zip(model.variables, smaller.variables))
    if len(model.variables) != len(smaller.variables):
        raise ValueError(
            f"shrink: `smaller` must have the {len(model.variables)} weights of the model; got "
            f"{len(smaller.variables)}. A size with which layers appear or vanish, such as one between an "
            "encoder and a decoder of another width, cannot change alone; a student (`distil`) may have it."
        )
    axes = [_changed(old, new, size, to, width) for old, new in pairs]
    scores: dict[str, Any] = {}
    for (old, _), changed in zip(pairs, axes):
        value = ops.convert_to_numpy(old.value)
        for axis, blocks in changed.items():
            key = "" if shared else _owner(old)
            units = np.moveaxis(value, axis, 0)[_positions(value.shape[axis], blocks, size, width, at_end)]
            scores[key] = scores.get(key, 0) + _importance(units)
    if not scores:
        raise ValueError(f"shrink: no weight has the size {size} in `model` and {to} in `smaller`.")
    kept = {key: sorted(np.argsort(-score, kind="stable")[:to].tolist()) for key, score in scores.items()}
    for (old, new), changed in zip(pairs, axes):
        value = ops.convert_to_numpy(old.value)
        for axis, blocks in changed.items():
            positions = _positions(value.shape[axis], blocks, size, width, at_end)  # [blocks, size, width]
            chosen = np.ones(value.shape[axis], bool)
            chosen[np.delete(positions, kept["" if shared else _owner(old)], axis=1)] = False
            value = np.compress(chosen, value, axis=axis)
        new.assign(value)
    return kept


def _changed(old, new, size, to, width):
    """Returns the axes of a weight that depend on the size, with the number of blocks of units in each."""
    rule = f"shrink: `smaller` must differ in the size {size} alone; {old.path} has {tuple(old.shape)} and "
    rule += f"{tuple(new.shape)}."
    if len(old.shape) != len(new.shape):
        raise ValueError(rule)
    changed = {}
    for axis, (one, two) in enumerate(zip(old.shape, new.shape)):
        blocks, rest = divmod(one - two, (size - to) * width)
        if rest or blocks < 0 or blocks * size * width > one:
            raise ValueError(rule)
        if blocks:
            changed[axis] = blocks
    return changed


def _positions(length, blocks, size, width, at_end):
    """Returns the positions on an axis of the values of each unit, int `[blocks, size, width]`."""
    count = blocks * size * width
    return np.arange(count).reshape(blocks, size, width) + (length - count if at_end else 0)


def _owner(variable):
    """Returns the path of the layer whose parts have the units of a weight."""
    return "/".join(variable.path.split("/")[1:-2])


def _importance(units):
    """Returns the mean square of the values of each unit `[blocks, size, width, ...]`, relative to that of all."""
    squares = np.moveaxis(units.astype(np.float64) ** 2, 1, 0)
    means = squares.reshape(len(squares), -1).mean(axis=1)
    return means / max(means.mean(), 1e-30)
