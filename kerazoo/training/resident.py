"""A corpus on the device, and its batches gathered there by row number."""

import keras
import numpy as np
from keras import ops

from kerazoo import _checks

NARROWER = {"int64": np.int32, "uint64": np.uint32, "float64": np.float32}


def place(features):
    """Returns the features as tensors on the device.

    Args:
        features: Dictionary of name to array `[N, ...]`, or to an object with `values` and `offsets`.

    Returns:
        Dictionary of name to tensor, or to `{"values": tensor, "offsets": tensor}`. 64-bit numbers become 32-bit.
    """
    arrays = {}
    for name, feature in features.items():
        if hasattr(feature, "offsets"):
            values = feature.values if len(feature.values) else np.zeros(1, feature.values.dtype)
            arrays[name] = {"values": _tensor(name, values), "offsets": _tensor(name, feature.offsets)}
        else:
            arrays[name] = _tensor(name, feature)
    return arrays


def gather(arrays, rows, lengths, pad=0):
    """Returns the batch of the examples `rows`.

    Args:
        arrays: What `place` returned.
        rows: int32 tensor `[B]`. A negative row is a filler: it repeats example 0 and is not valid. Or `[B, P]`: the
            examples that share each row, negative ones, which stand last, for nothing.
        lengths: Dictionary of ragged feature to the width `L` that it is padded to; longer rows are cut off.
        pad: The value behind the end of a row.

    Returns:
        `(features, valid)`: a dictionary of tensors `[B, ...]` or `[B, L]`, and a bool tensor `[B]`. Where examples
        share rows, `NAME_segments` counts them from 1, int32 `[B, L]`, 0 for padding.
    """
    if len(rows.shape) == 2:
        features = {}
        for name, array in arrays.items():
            packed = _packed(array["values"], array["offsets"], rows, lengths[name], pad)
            features[name], features[f"{name}_segments"] = packed
        return features, rows[:, 0] >= 0
    valid = rows >= 0
    rows = ops.maximum(rows, 0)
    features = {}
    for name, array in arrays.items():
        if isinstance(array, dict):
            features[name] = _padded(array["values"], array["offsets"], rows, lengths[name], pad)
        else:
            features[name] = ops.take(array, rows, axis=0)
    return features, valid


def real_tokens(features):
    """Returns the tokens of each example `[N]` in `targets`, else in the first ragged feature; None without any."""
    ragged = [name for name, feature in features.items() if hasattr(feature, "offsets")]
    if not ragged:
        return None
    return np.diff(features["targets" if "targets" in ragged else ragged[0]].offsets)


def _padded(values, offsets, rows, length, pad):
    start = ops.take(offsets, rows, axis=0)  # [B]
    size = ops.take(offsets, rows + 1, axis=0) - start
    within = ops.arange(length, dtype="int32")
    real = within < size[:, None]  # [B, L]
    places = ops.minimum(start[:, None] + within, values.shape[0] - 1)  # [B, L]
    return ops.where(real, ops.take(values, places, axis=0), ops.full((), pad, dtype=values.dtype))


def _packed(values, offsets, rows, length, pad):
    starts = ops.take(offsets, ops.maximum(rows, 0), axis=0)  # [B, P]
    real = ops.take(offsets, ops.maximum(rows, 0) + 1, axis=0) - starts
    sizes = ops.where(rows < 0, 0, ops.maximum(real, 1))  # an example of no tokens takes one position
    ends = ops.cumsum(sizes, axis=1)
    places = ops.arange(length, dtype="int32")
    index = ops.sum(ops.cast(places >= ends[:, :, None], "int32"), axis=1)  # [B, L]: which example stands here
    inside = index < rows.shape[1]
    chosen = ops.minimum(index, rows.shape[1] - 1)
    within = places - ops.take_along_axis(ends - sizes, chosen, axis=1)
    held = ops.logical_and(inside, within < ops.take_along_axis(real, chosen, axis=1))
    places = ops.where(held, ops.take_along_axis(starts, chosen, axis=1) + within, 0)
    tokens = ops.where(held, ops.take(values, places, axis=0), ops.full((), pad, dtype=values.dtype))
    return tokens, ops.where(inside, index + 1, 0)


def _tensor(name, array):
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise TypeError(
            f"fit: features must be numbers to lie on the device; got {name!r} of dtype {array.dtype}. "
            "Encode it first, or pass feed='tf.data'."
        )
    narrower = NARROWER.get(array.dtype.name)
    if narrower is not None:
        if array.dtype.kind in "iu" and array.size and array.max() > np.iinfo(narrower).max:
            raise _checks.DataError(
                f"fit: feature {name!r} holds or counts up to {array.max()}, more than 32 bits can. "
                "Pass feed='tf.data'."
            )
        array = array.astype(narrower)
    return ops.convert_to_tensor(array, dtype=keras.backend.standardize_dtype(array.dtype.name))
