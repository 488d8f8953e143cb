"""Batches that come from outside: a `tf.data.Dataset`, the stream of a source, or any iterable of arrays."""

import itertools
import types
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import keras
import numpy as np

from kerazoo import _checks

MAX_BYTES, MAX_STEPS = 1 << 22, 64  # size of a block at most, unless `steps_per_execution` is given


class StreamFeed:
    """Batches from an iterator, of any number of shapes.

    Args:
        data: A `tf.data.Dataset`, an iterable of batches, a function from the number of an epoch to one of them, or an
            object with `batches(epoch, batch_fn, augment)` (`kerazoo.data.StreamPlan`).
        steps_per_epoch: int or `None`. Batches of an epoch. Epochs then continue one iterator, which starts again
            where the data ends; otherwise each epoch is one pass.
        batch_fn: As for `DeviceFeed`; only for a `StreamPlan`.
        augment: As for `DeviceFeed`; only for a `StreamPlan`.

    Raises:
        ValueError: if the data has no end and `steps_per_epoch` is missing, or it holds ragged or sparse tensors.
        TypeError: if `data` cannot be iterated, or only once.
    """

    arrays = ()

    def __init__(
        self,
        data: Any,
        steps_per_epoch: int | None = None,
        batch_fn: Callable | None = None,
        augment: Callable | None = None,
    ):
        if hasattr(data, "batches"):
            stream = data
            data = lambda epoch: stream.batches(epoch, batch_fn, augment)  # noqa: E731
        elif batch_fn is not None or augment is not None:
            name = "batch_fn" if batch_fn is not None else "augment"
            raise ValueError(f"fit: `{name}` must be None for finished batches; got data of {type(data).__name__}.")
        self._given_steps = steps_per_epoch and _checks.positive_int("fit", "steps_per_epoch", steps_per_epoch)
        readable = callable(data) or hasattr(data, "__iter__")
        if not readable or (isinstance(data, types.GeneratorType) and not steps_per_epoch):
            raise TypeError(
                "fit: `data` must be a corpus, an iterable of batches that can be read again, or a function from the "
                f"number of an epoch to one; got {type(data).__name__}."
            )
        self.data = data
        self.steps_per_epoch = self._given_steps or self._length(data)
        self._iterator: Iterator | None = None  # the one that goes on from epoch to epoch
        self._next_epoch = 0  # number of passes that the data set has started
        self._structures: dict[Hashable, Any] = {}

    def batches(self, epoch: int, position: int = 0) -> Iterator[tuple[Hashable, list[np.ndarray]]]:
        """Yields shape and arrays of each batch of an epoch, from the one with index `position`."""
        if callable(self.data):
            iterator = _iterate(self.data(epoch), position)
        elif self._given_steps:
            if self._iterator is None:
                self._iterator = _endless(self.data, epoch * self._given_steps + position)
            iterator = self._iterator
        else:
            if hasattr(self.data, "element_spec"):
                # `shuffle` draws a new order for each iterator: those of the epochs before are created and not read.
                for _ in range(self._next_epoch, epoch):
                    iter(self.data)
                self._next_epoch = epoch + 1
            iterator = _iterate(self.data, position)
        if self._given_steps:
            iterator = itertools.islice(iterator, self._given_steps - position)
        return map(self._flatten, iterator)

    def batch(self, arrays: Any, key: Hashable, data: list, number: Any) -> Any:
        """Returns the batch of `data` inside the program, in the structure in which it came."""
        del arrays, number
        leaves = iter(data)
        return keras.tree.map_structure(lambda leaf: None if leaf is None else next(leaves), self._structures[key])

    def capacity(self, key: Hashable, data: list[np.ndarray]) -> int:
        """Returns the static number of batches in a block of shape `key`."""
        fitting = min(MAX_STEPS, MAX_BYTES // max(1, sum(array.nbytes for array in data)))
        return 1 << max(0, fitting.bit_length() - 1)

    def count(self, data: list[np.ndarray]) -> tuple[int, int]:
        """Returns zeros: which rows are examples and which are padding is not known."""
        return 0, 0

    def _flatten(self, batch):
        pairs = [(path, _to_array(leaf)) for path, leaf in keras.tree.flatten_with_path(batch)]
        key = tuple((path, leaf if leaf is None else (leaf.shape, leaf.dtype.name)) for path, leaf in pairs)
        if key not in self._structures:
            self._structures[key] = keras.tree.map_structure(lambda leaf: leaf if leaf is None else 0, batch)
        return key, [leaf for _, leaf in pairs if leaf is not None]

    def _length(self, data):
        if callable(data):
            return None
        if hasattr(data, "cardinality") and int(data.cardinality()) == -1:
            raise ValueError("fit: a data set without an end needs `steps_per_epoch`; got steps_per_epoch=None.")
        try:
            return len(data)
        except TypeError:  # of unknown length
            return None


def _to_array(leaf):
    if leaf is None:
        return None
    array = np.asarray(leaf)
    return array.astype(object) if array.dtype.kind in "US" else array  # the width of text is no part of a shape


def _iterate(batches, position=0):
    """Returns an iterator over the batches as NumPy arrays, from the one with index `position`."""
    if not hasattr(batches, "element_spec"):
        return itertools.islice(iter(batches), position, None)
    for spec in keras.tree.flatten(batches.element_spec):
        if type(spec).__name__ not in ("TensorSpec", "NoneTensorSpec"):
            raise ValueError(f"fit: batches must hold dense tensors; got {spec}. Try `to_tensor` or `sparse.to_dense`.")
    batches = batches.skip(position) if position else batches
    return batches.prefetch(-1).as_numpy_iterator()  # -1: as far ahead as tf.data finds useful


def _endless(data, position):
    """Returns an iterator over one pass after another, without the first `position` batches."""
    if hasattr(data, "element_spec"):
        return _iterate(data.repeat(), position)

    def passes():
        batch = data
        while batch is not None:  # until a pass holds no batch
            batch = None
            for batch in data:
                yield batch

    return itertools.islice(passes(), position, None)
