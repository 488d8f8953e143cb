"""Arrays in memory, `(x, y)` or `(x, y, sample_weight)`, as a corpus with its plan."""

import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks


class Arrays:
    """Batches of examples that lie in arrays: a corpus, its plan and its `batch_fn` in one.

    Args:
        owner: string. The function that messages name.
        data: `(x,)`, `(x, y)` or `(x, y, sample_weight)`: arrays `[N, ...]`, or dictionaries or lists of them, or None.
        batch_size: int, above 0. Examples of a batch.
        shuffle: bool. Whether the examples have another order in each epoch, a pure function of its number.
        weigh_valid: bool. Whether padding rows get weight zero. Defaults to `False`, where there are none.

    Raises:
        TypeError: if a part is not an array.
        ValueError: if the arrays differ in their number of examples.
    """

    def __init__(self, owner: str, data: tuple, batch_size: int, shuffle: bool, weigh_valid: bool = False):
        self.structure = data
        self.batch_size = _checks.positive_int(owner, "batch_size", batch_size)
        self.shuffle = shuffle
        self.weigh_valid = weigh_valid
        leaves = [(f"data{_subscripts(path)}", leaf) for path, leaf in keras.tree.flatten_with_path(data)]
        for name, leaf in leaves:
            if leaf is not None and not len(getattr(leaf, "shape", ())):
                raise TypeError(
                    f"{owner}: a tuple must hold arrays, (x, y) or (x, y, sample_weight), and a list holds batches; "
                    f"got {name} of type {type(leaf).__name__}."
                )
        self.features = {name: np.asarray(leaf) for name, leaf in leaves if leaf is not None}
        sizes = {name: len(array) for name, array in self.features.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"{owner}: all arrays must have the same number of examples; got {sizes}.")
        self.examples = next(iter(sizes.values()))
        self.shapes = [types.SimpleNamespace(rows=self.batch_size, lengths={})]

    def on_device(self, max_bytes: int) -> bool:
        """Returns whether these are numbers of at most so many bytes, which a device can hold."""
        kept = self.features.values()
        return all(array.dtype.kind in "biuf" for array in kept) and sum(array.nbytes for array in kept) <= max_bytes

    def epoch(self, epoch: int) -> list[Any]:
        """Returns the batches of an epoch as a plan does."""
        order = np.random.default_rng(epoch).permutation(self.examples) if self.shuffle else np.arange(self.examples)
        starts = range(0, self.examples, self.batch_size)
        return [types.SimpleNamespace(shape_index=0, rows=order[i : i + self.batch_size]) for i in starts]

    def batches(self, epoch: int) -> Iterator[tuple]:
        """Yields the batches of an epoch, NumPy arrays in the structure of the data."""
        for batch in self.epoch(epoch):
            yield self._packed({name: array[batch.rows] for name, array in self.features.items()})

    def batch_fn(self, features: dict[str, Any], valid: Any) -> tuple:
        """Returns the tensors of a batch in the structure of the data."""
        batch = self._packed(features)
        if not self.weigh_valid:
            return batch
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        valid = ops.cast(valid, "float32")
        if weights is None:
            return x, y, valid
        weighed = lambda weight: weight * ops.reshape(valid, (-1, *[1] * (len(weight.shape) - 1)))  # noqa: E731
        return x, y, keras.tree.map_structure(weighed, weights)

    def _packed(self, features):
        values = (features[name] for name in self.features)
        return keras.tree.map_structure(lambda leaf: None if leaf is None else next(values), self.structure)


def split(
    owner: str, data: Any, sample_weight: Any = None, validation_data: Any = None, validation_split: float = 0.0
) -> tuple[Any, Any]:
    """Returns the data of training and of validation, with `sample_weight` and `validation_split` as in `fit`.

    The arrays for validation are those of the last examples, as Keras splits them.
    """
    if sample_weight is not None:
        if not is_arrays(data) or len(data) != 2:
            raise ValueError(
                f"{owner}: `sample_weight` needs arrays, (x, y); got {type(data).__name__}. Give the weights as the "
                "third part of a batch."
            )
        data = (*data, sample_weight)
    if not validation_split:
        return data, validation_data
    if validation_data is not None:
        raise ValueError(f"{owner}: give `validation_data` or `validation_split`; got both, {validation_split=}.")
    share = _checks.number(owner, "validation_split", validation_split, low=0, high=1, low_open=True, high_open=True)
    if not is_arrays(data):
        raise ValueError(
            f"{owner}: `validation_split` needs arrays, (x, y); got {type(data).__name__}. Try `validation_data`."
        )
    examples = Arrays(owner, data, 1, False).examples
    first = int(examples * (1 - share))
    if not 0 < first < examples:
        raise ValueError(
            f"{owner}: `validation_split` must leave examples in both parts; got validation_split={share} of "
            f"{examples} examples."
        )
    parts = slice(None, first), slice(first, None)
    one, other = (keras.tree.map_structure(lambda a, p=p: None if a is None else a[p], data) for p in parts)
    return one, other


def is_arrays(data: Any) -> bool:
    """Returns whether `data` are arrays and not batches: a tuple, as Keras takes them in `validation_data`."""
    return isinstance(data, tuple) and 0 < len(data) <= 3 and not hasattr(data[0], "features")


def _subscripts(path):
    return "".join(f"[{part!r}]" for part in path)
