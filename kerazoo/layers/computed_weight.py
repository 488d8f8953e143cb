"""Weights that are computed from other variables where a layer reads them."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _backend


class ComputedWeight:
    """A weight that is computed from variables of its layer, in the place of a variable of the layer.

    A layer that reads it gets a float32 tensor: Keras, TensorFlow, JAX and NumPy convert it by their own protocols. The
    variables are those of the layer, so that they are saved and loaded with the model. In a TensorFlow program the
    tensor of a weight that is not trained is computed once, outside of all loops.

    Args:
        variable: Keras variable, whose name and shape the weight has.
    """

    dtype = "float32"
    trainable = False

    def __init__(self, variable: Any):
        self.name: str = variable.name
        self.path: str = variable.path
        self.shape = tuple(variable.shape)
        self.parts: dict[str, Any] = {}

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def value(self) -> Any:
        """The weight as a float32 tensor."""
        return self.compute() if self.trainable else _backend.once_per_program(self, self.compute)

    def compute(self) -> Any:
        """Returns the float32 tensor of the variables."""
        raise NotImplementedError

    def replace(self, layer: keras.layers.Layer, variable: Any) -> None:
        """Takes the place of a variable of a built layer, which gets the variables of this weight.

        Args:
            layer: `keras.layers.Layer`.
            variable: Keras variable of the layer, or of a computed weight of the layer.
        """
        locked = layer._tracker.locked
        layer._tracker.unlock()
        layer._untrack_variable(variable)
        self.add_variables(layer)
        if locked:
            layer._tracker.lock()
        self.put(layer, variable)

    def put(self, layer: keras.layers.Layer, variable: Any) -> None:
        """Lets a layer read this weight where it has a variable; the arguments are those of `replace`."""
        # Dense and embedding layers of Keras save the variables that they have of themselves.
        for name in ("save_own_variables", "load_own_variables"):
            vars(layer)[name] = getattr(keras.layers.Layer, name).__get__(layer)
        holders = [vars(layer), *(each.parts for each in vars(layer).values() if isinstance(each, ComputedWeight))]
        for holder in holders:
            for name in [name for name, value in holder.items() if value is variable]:
                holder[name] = self  # Keras and TensorFlow would track an attribute that is set

    def add_variables(self, layer: keras.layers.Layer) -> None:
        """Makes the variables of this weight, as weights of the layer."""
        raise NotImplementedError

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        return self.value if dtype is None else ops.cast(self.value, getattr(dtype, "name", dtype))

    def __jax_array__(self) -> Any:
        return self.value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(ops.convert_to_numpy(self.value), dtype)


class MultipliedWeight(ComputedWeight):
    """A weight that is multiplied by its own method, where layers of kerazoo would multiply by its tensor."""

    def multiply(self, x: Any) -> Any:
        """Returns the product of inputs and the weight.

        Args:
            x: float tensor `[..., rows]`.
        """
        raise NotImplementedError


class FactorizedWeight(MultipliedWeight):
    """A kernel or embedding that is the product of two matrices, which are trained in its place.

    A dense layer of kerazoo multiplies its inputs by one matrix and then by the other.

    Args:
        variable: Keras variable `[..., columns]`.
        rank: int, above 0. Columns of the first matrix, rows of the second.
    """

    def __init__(self, variable: Any, rank: int):
        super().__init__(variable)
        self.rank = rank
        self.columns = self.shape[-1]
        self.trainable = variable.trainable

    def add_variables(self, layer: keras.layers.Layer) -> None:
        rows = math.prod(self.shape) // self.columns
        for part, shape in (("left", (rows, self.rank)), ("right", (self.rank, self.columns))):
            self.parts[part] = layer.add_weight(name=f"{self.name}_{part}", shape=shape, trainable=self.trainable)

    @property
    def _matrices(self) -> tuple[Any, Any]:
        return ops.convert_to_tensor(self.parts["left"]), ops.convert_to_tensor(self.parts["right"])

    def compute(self) -> Any:
        return ops.reshape(ops.matmul(*self._matrices), self.shape)

    def multiply(self, x: Any, transposed: bool = False) -> Any:
        """Returns the product of `x` and the weight, one matrix after the other.

        Args:
            x: float tensor `[..., rows]`, or `[..., columns]`.
            transposed: bool. Whether the weight is transposed. Defaults to `False`.
        """
        left, right = (ops.cast(each, x.dtype) for each in self._matrices)
        if transposed:
            left, right = ops.transpose(right), ops.transpose(left)
        return ops.matmul(ops.matmul(x, left), right)

    def rows(self, ids: Any) -> Any:
        """Returns rows of the weight.

        Args:
            ids: int tensor. The numbers of the rows.
        """
        left, right = self._matrices
        return ops.matmul(ops.take(left, ids, axis=0), right)

    def assign(self, value: Any) -> None:
        """Assigns the nearest matrices of this rank to a weight, by its singular values.

        Args:
            value: float array of the shape of the weight.
        """
        left, sizes, right = np.linalg.svd(np.reshape(value, (-1, self.columns)), full_matrices=False)
        root = np.sqrt(sizes[: self.rank])
        self.parts["left"].assign(left[:, : self.rank] * root)
        self.parts["right"].assign(root[:, None] * right[: self.rank])
