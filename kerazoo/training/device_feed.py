"""Batches that a compiled program gathers by row number from a corpus on the device."""

import itertools
import reprlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks

MAX_BYTES = 1 << 30  # larger arrays are not copied to the device as a whole
NARROWER = {"int64": np.int32, "uint64": np.uint32, "float64": np.float32}
MAX_ROWS = 1 << 18  # row numbers that one block sends to the device at most


class DeviceFeed:
    """The batches of a plan, gathered from a corpus that is copied to the device once.

    Args:
        owner: string. The function that messages name.
        corpus: An object with `features` (`kerazoo.data.Corpus`).
        batch_fn: Function of `(features, valid)` that returns `(inputs, targets, weights)`.
        plan: An object with `shapes` and `epoch(e)` (`kerazoo.data.Plan`).
        augment: Function of `(features, number)` that returns the features, or `None`. Defaults to `None`.
        change: Function of a batch inside the program that returns the batch, or `None`. Defaults to `None`.
        devices: int. Devices among which each batch is divided. Padding rows make the last one of an epoch divisible.
            Defaults to `1`.

    Raises:
        ValueError: if an argument is missing.
        TypeError: if a feature does not hold numbers.
    """

    def __init__(
        self,
        owner: str,
        corpus: Any,
        batch_fn: Callable | None,
        plan: Any,
        augment: Callable | None = None,
        change: Callable | None = None,
        devices: int = 1,
    ):
        for name, value, needed in (("data", corpus, "features"), ("plan", plan, "epoch")):
            if not hasattr(value, needed):
                raise ValueError(
                    f"{owner}: `{name}` of a corpus must have `{needed}`; got {name}={reprlib.repr(value)}."
                )
        if not callable(batch_fn):
            raise ValueError(f"{owner}: a corpus needs a function `batch_fn`; got batch_fn={batch_fn!r}.")
        self.owner = owner
        self.batch_fn = batch_fn
        self.plan = plan
        self.augment = augment
        self.change = change
        self.devices = devices
        self.arrays = self._load(corpus)
        self.lengths = token_lengths(corpus.features)
        first = list(self.batches(0))
        self.steps_per_epoch: int | None = len(first)
        self._capacities = _capacities([(key, rows.size) for key, (rows,) in first])

    def batches(self, epoch: int, position: int = 0) -> Iterator[tuple[tuple[int, int], list[np.ndarray]]]:
        """Yields shape and row numbers of each batch of an epoch, from the one with index `position`."""
        for batch in self.plan.epoch(epoch)[position:]:
            rows = batch.rows.astype(np.int32, copy=False)
            missing = -len(rows) % self.devices
            if missing and len(rows) < self.plan.shapes[batch.shape_index].rows:  # the last batch of an epoch
                rows = np.concatenate([rows, np.full((missing, *rows.shape[1:]), -1, np.int32)])
            yield (batch.shape_index, len(rows)), [rows]

    def batch(self, arrays: dict, key: tuple[int, int], data: list, number: Any) -> Any:
        """Returns the batch of `data`, its row numbers, inside the program; `number` counts over all epochs."""
        features, valid = gather(arrays, data[0], self.plan.shapes[key[0]].lengths)
        batch = self.batch_fn(features if self.augment is None else self.augment(features, number), valid)
        return batch if self.change is None else self.change(batch)

    def read(self, key: tuple[int, int], data: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the row numbers themselves: the program gathers the examples."""
        del key
        return data

    def valid_rows(self, data: list) -> Any:
        """Returns the number of rows of a batch that are no padding, a float32 scalar, inside the program."""
        rows = ops.reshape(data[0], (data[0].shape[0], -1))[:, 0]
        return ops.sum(ops.cast(rows >= 0, "float32"))

    def _load(self, corpus: Any) -> Any:
        """Returns the arrays of a corpus that are part of every batch."""
        return to_device(self.owner, corpus.features)

    def capacity(self, key: tuple[int, int], data: list[np.ndarray]) -> int:
        """Returns the static number of batches in a block of shape `key`."""
        del data
        return self._capacities[key]

    def count(self, data: list[np.ndarray]) -> tuple[int, int]:
        """Returns the number of examples and of valid tokens in the batches of a block."""
        rows = data[0][data[0] >= 0]
        return rows.size, 0 if self.lengths is None else int(self.lengths[rows].sum())

    def examples(self, data: list[np.ndarray]) -> list:
        """Returns the numbers of the examples of a batch in the corpus."""
        return data[0].tolist()


def to_device(owner, features):
    """Returns the features as tensors on the device.

    Args:
        owner: string. The function that messages name.
        features: Dictionary of name to array `[N, ...]`, or to an object with `values` and `offsets`.

    Returns:
        Dictionary of name to tensor, or to `{"values": tensor, "offsets": tensor}`. 64-bit numbers become 32-bit.
    """
    arrays = {}
    for name, feature in features.items():
        if hasattr(feature, "offsets"):
            values = feature.values
            if not len(values):
                values = np.zeros((1, *values.shape[1:]), values.dtype)
            arrays[name] = {"values": _tensor(owner, name, values), "offsets": _tensor(owner, name, feature.offsets)}
        else:
            arrays[name] = _tensor(owner, name, feature)
    return arrays


def gather(arrays, rows, lengths, pad=0):
    """Returns the batch of the examples `rows`.

    Args:
        arrays: What `to_device` returned.
        rows: int32 tensor `[B]`, the examples of the batch; -1 for a padding row, which repeats example 0 and is not
            valid. Or `[B, P]`, the examples that share each row, followed by -1.
        lengths: Dictionary of ragged feature to the length `L` that it is padded to; longer rows are cut off.
        pad: int. The value after the end of a row. Defaults to `0`.

    Returns:
        `(features, valid)`: a dictionary of tensors `[B, ...]` or `[B, L]`, and a bool tensor `[B]`. Where examples
        share rows, `NAME_segments` counts them from 1, int32 `[B, L]`, 0 for padding. For rows of vectors
        `[B, L, ...]`, `NAME_mask` is True up to the end of each row, bool `[B, L]`.
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
            features[name], within = _padded(array["values"], array["offsets"], rows, lengths[name], pad)
            if len(array["values"].shape) > 1:
                features[f"{name}_mask"] = within
        else:
            features[name] = ops.take(array, rows, axis=0)
    return features, valid


def token_lengths(features):
    """Returns the length of each example `[N]` in `targets`, else in the first ragged feature; None without any."""
    ragged = [name for name, feature in features.items() if hasattr(feature, "offsets")]
    if not ragged:
        return None
    return np.diff(features["targets" if "targets" in ragged else ragged[0]].offsets)


def _padded(values, offsets, rows, length, pad):
    start = ops.take(offsets, rows, axis=0)  # [B]
    size = ops.take(offsets, rows + 1, axis=0) - start
    within = ops.arange(length, dtype="int32")
    valid = within < size[:, None]  # [B, L]
    positions = ops.minimum(start[:, None] + within, values.shape[0] - 1)  # [B, L]
    padded = ops.take(values, positions, axis=0)  # [B, L, ...]
    inside = ops.reshape(valid, (-1, length, *[1] * (len(padded.shape) - 2)))
    return ops.where(inside, padded, ops.full((), pad, dtype=values.dtype)), valid


def _packed(values, offsets, rows, length, pad):
    starts = ops.take(offsets, ops.maximum(rows, 0), axis=0)  # [B, P]
    num_tokens = ops.take(offsets, ops.maximum(rows, 0) + 1, axis=0) - starts
    sizes = ops.where(rows < 0, 0, ops.maximum(num_tokens, 1))  # an example of no tokens takes one position
    ends = ops.cumsum(sizes, axis=1)
    positions = ops.arange(length, dtype="int32")
    index = ops.sum(ops.cast(positions >= ends[:, :, None], "int32"), axis=1)  # [B, L]: the example at each position
    inside = index < rows.shape[1]
    chosen = ops.minimum(index, rows.shape[1] - 1)
    within = positions - ops.take_along_axis(ends - sizes, chosen, axis=1)
    valid = ops.logical_and(inside, within < ops.take_along_axis(num_tokens, chosen, axis=1))
    sources = ops.where(valid, ops.take_along_axis(starts, chosen, axis=1) + within, 0)
    tokens = ops.where(valid, ops.take(values, sources, axis=0), ops.full((), pad, dtype=values.dtype))
    return tokens, ops.where(inside, index + 1, 0)


def _tensor(owner, name, array):
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise TypeError(
            f"{owner}: features on the device must be numbers; got {name!r} of dtype {array.dtype}. "
            "Encode it first, or pass batches (kerazoo.data.dataset)."
        )
    narrower = NARROWER.get(array.dtype.name)
    if narrower is not None:
        if array.dtype.kind in "iu" and array.size and array.max() > np.iinfo(narrower).max:
            raise _checks.DataError(
                f"{owner}: feature {name!r} has values or offsets up to {array.max()}, above the range of 32 bits. "
                "Pass batches (kerazoo.data.dataset)."
            )
        array = array.astype(narrower)
    return ops.convert_to_tensor(array, dtype=keras.backend.standardize_dtype(array.dtype.name))


def _capacities(batches):
    """Returns for each shape the longest run of its batches, rounded up to a power of two.

    Args:
        batches: List of the shape and the number of row numbers of each batch.
    """
    capacities = {}
    for (key, size), run in itertools.groupby(batches):
        steps = 1 << (len(list(run)) - 1).bit_length()
        capacities[key] = max(capacities.get(key, 1), min(steps, MAX_ROWS // size))
    return capacities
