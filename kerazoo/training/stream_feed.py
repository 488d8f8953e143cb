"""Batches that come from outside: a `tf.data.Dataset`, the stream of a source, or any iterable of arrays."""

import contextlib
import itertools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import keras
import numpy as np

from kerazoo import _checks

MAX_BYTES, MAX_STEPS = 1 << 22, 64  # size of a block at most, unless `steps_per_execution` is given


class StreamFeed:
    """Batches from an iterator, of any number of shapes.

    Args:
        owner: string. The function that messages name.
        data: A `tf.data.Dataset`, an iterable of batches, or a function from the number of an epoch to one of them.
        steps: int or `None`. Batches of an epoch; needed where the data has no end. Defaults to `None`: an epoch is one
            pass.
        change: Function of a batch inside the program that returns the batch, or `None`. Defaults to `None`.
        name: string. The argument of `steps` that messages name. Defaults to `"steps_per_epoch"`.
        restart: bool. Whether each epoch of `steps` batches begins with the first batch; otherwise the epochs continue
            one iterator, which starts again where the data ends. Defaults to `False`.

    Raises:
        ValueError: if the data has no end and `steps` is missing, or it holds ragged or sparse tensors.
        TypeError: if `data` cannot be iterated, or only once.
    """

    arrays = ()

    def __init__(
        self,
        owner: str,
        data: Any,
        steps: int | None = None,
        change: Callable | None = None,
        name: str = "steps_per_epoch",
        restart: bool = False,
    ):
        self.owner = owner
        self.data: Any = data
        self.change = change
        self.restart = restart
        self._steps = None if steps is None else _checks.positive_int(owner, name, steps)
        once = hasattr(data, "__next__") and not steps  # an iterator
        if once or not (callable(data) or hasattr(self.data, "__iter__")):
            raise TypeError(
                f"{owner}: `data` must be a corpus, arrays, an iterable of batches that can be read again, or a "
                f"function from the number of an epoch to one; got {type(data).__name__}."
            )
        endless = hasattr(self.data, "cardinality") and int(self.data.cardinality()) == -1
        if not steps and (endless or getattr(self.data, "num_batches", 0) is None):
            raise ValueError(f"{owner}: a data set without an end needs `{name}`; got {name}=None.")
        self.steps_per_epoch = self._steps
        if not steps and hasattr(self.data, "__len__"):
            with contextlib.suppress(TypeError):  # a data set of unknown length
                self.steps_per_epoch = len(self.data)
        self._iterator: Iterator | None = None  # the one that goes on from epoch to epoch
        self._next_epoch = 0  # number of passes that the data set has started
        self._structures: dict[Hashable, Any] = {}

    def batches(self, epoch: int, position: int = 0) -> Iterator[tuple[Hashable, list[np.ndarray]]]:
        """Yields shape and arrays of each batch of an epoch, from the one with index `position`."""
        if callable(self.data):
            iterator = _iterate(self.owner, self.data(epoch), position)
        elif self._steps:
            if self._iterator is None or self.restart:
                start = position if self.restart else epoch * self._steps + position
                self._iterator = _endless(self.owner, self.data, start)
            iterator = self._iterator
        else:
            if hasattr(self.data, "element_spec"):
                # `shuffle` draws a new order for each iterator: those of the epochs before are created and not read.
                for _ in range(self._next_epoch, epoch):
                    iter(self.data)
                self._next_epoch = epoch + 1
            iterator = _iterate(self.owner, self.data, position)
        if self._steps:
            iterator = itertools.islice(iterator, self._steps - position)
        return map(self._flatten, iterator)

    def batch(self, arrays: Any, key: Hashable, data: list, number: Any) -> Any:
        """Returns the batch of `data` inside the program, in the structure in which it came."""
        del arrays, number
        leaves = iter(data)
        batch = keras.tree.map_structure(lambda leaf: None if leaf is None else next(leaves), self._structures[key])
        return batch if self.change is None else self.change(batch)

    def read(self, key: Hashable, data: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the data itself: it holds the batches."""
        del key
        return data

    def valid_rows(self, data: list) -> float:
        """Returns the number of rows of a batch: which of them are padding is not known."""
        return float(data[0].shape[0])

    def capacity(self, key: Hashable, data: list[np.ndarray]) -> int:
        """Returns the static number of batches in a block of shape `key`."""
        fitting = min(MAX_STEPS, MAX_BYTES // max(1, sum(array.nbytes for array in data)))
        return 1 << max(0, fitting.bit_length() - 1)

    def count(self, data: list[np.ndarray]) -> tuple[int, int]:
        """Returns zeros: which rows are examples and which are padding is not known."""
        return 0, 0

    def examples(self, data: list[np.ndarray]) -> list[int]:
        """Returns no numbers of examples: they are not known."""
        return []

    def _flatten(self, batch):
        pairs = [(path, _to_array(leaf)) for path, leaf in keras.tree.flatten_with_path(batch)]
        key = tuple((path, leaf if leaf is None else (leaf.shape, leaf.dtype.name)) for path, leaf in pairs)
        if key not in self._structures:
            self._structures[key] = keras.tree.map_structure(lambda leaf: leaf if leaf is None else 0, batch)
        return key, [leaf for _, leaf in pairs if leaf is not None]


def _to_array(leaf):
    if leaf is None:
        return None
    array = np.asarray(leaf)
    return array.astype(object) if array.dtype.kind in "US" else array  # the width of text is no part of a shape


def _iterate(owner, batches, position=0):
    """Returns an iterator over the batches as NumPy arrays, from the one with index `position`."""
    if not hasattr(batches, "element_spec"):
        return itertools.islice(iter(batches), position, None)
    for spec in keras.tree.flatten(batches.element_spec):
        if type(spec).__name__ not in ("TensorSpec", "NoneTensorSpec"):
            raise ValueError(
                f"{owner}: batches must hold dense tensors; got {spec}. Try `to_tensor` or `sparse.to_dense`."
            )
    batches = batches.skip(position) if position else batches
    return batches.prefetch(-1).as_numpy_iterator()  # -1: as far ahead as tf.data finds useful


def _endless(owner, data, position):
    """Returns an iterator over one pass after another, without the first `position` batches."""
    if hasattr(data, "element_spec"):
        return _iterate(owner, data.repeat(), position)

    def passes():
        batch = data
        while batch is not None:  # until a pass holds no batch
            batch = None
            for batch in data:
                yield batch

    return itertools.islice(passes(), position, None)
