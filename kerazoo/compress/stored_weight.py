"""Weights in a small format, which are computed from it where a layer reads them."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerazoo.layers.computed_weight import ComputedWeight

FORMATS = ("float32", "float16", "int8", "int4")
GROUP = 32  # values of int4 that share a scale
SPARSE = 0.25  # the share of zeros from which on only the other values are stored
BITS = 8
# Of each byte how many of its bits are set before each one, and 8 more where that one is set, uint8 [256, 8].
BITS_OF = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
BITS_OF = (np.cumsum(BITS_OF, axis=1) - BITS_OF + BITS * BITS_OF).astype(np.uint8)
LEVELS = {"int8": 127, "int4": 7}
# Factors of the largest absolute value of a group: a smaller range is more precise, and cuts the largest values.
RANGES = {"int8": (1.0,), "int4": (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)}


class StoredFormat(NamedTuple):
    """How a weight is stored.

    Args:
        name: string. The end of the path of the variable, for people.
        format: string, one of `FORMATS`.
        nonzero: int or `None`. The number of values that are stored beside a mask of one bit for each value; `None`
            stores all values.
        inputs: two floats or `None`. The range in which what is multiplied by the weight is rounded to 8 bits; `None`
            for no rounding.
    """

    name: str
    format: str
    nonzero: int | None = None
    inputs: tuple[float, float] | None = None


class StoredWeight(ComputedWeight):
    """A weight in a small format, which is not trained.

    - `float16` rounds each value.
    - `int8` has one scale for each output of a kernel, or for each row of an embedding; values are symmetric, from -127
      to 127.
    - `int4` has one float16 scale for every 32 inputs of an output, and two values in each byte.
    - With `nonzero` a mask of one bit tells which values are not zero, and only these are stored.

    Args:
        variable: Keras variable `[..., outputs]`, or `[rows, D]` of an embedding.
        stored_format: `StoredFormat`.
        depthwise: bool. Whether it is the kernel of a convolution of each channel by itself. Defaults to `False`.
    """

    def __init__(self, variable: Any, stored_format: StoredFormat, depthwise: bool = False):
        super().__init__(variable)
        self.format, self.nonzero = stored_format.format, stored_format.nonzero
        self.by_row = "embeddings" in variable.name
        rows, self.columns = matrix_shape(variable.name, self.shape, depthwise)
        # Of int4: rows of whole groups, an even number of them, so that a half of them is in the low bits of the bytes.
        self.group = min(GROUP, rows + rows % 2)
        self.rows = math.ceil(rows / self.group) * self.group if self.format == "int4" else rows

    def add_variables(self, layer: keras.layers.Layer) -> None:
        count = self.rows * self.columns if self.nonzero is None else max(1, self.nonzero)
        if self.nonzero is not None:
            self._add(layer, "mask", (math.ceil(self.rows * self.columns / BITS),), "uint8")
        dtype = {"int4": "uint8"}.get(self.format, self.format)
        self._add(layer, "values", (math.ceil(count / 2) if self.format == "int4" else count,), dtype)
        if self.format == "int8":
            self._add(layer, "scale", (1, self.columns), "float32")
        elif self.format == "int4":
            self._add(layer, "scale", (self.rows // self.group, self.columns), "float16")

    def _add(self, layer, part, shape, dtype):
        self.parts[part] = layer.add_weight(
            name=f"{self.name}_{part}", shape=shape, dtype=dtype, initializer="zeros", trainable=False, autocast=False
        )

    def compute(self) -> Any:
        values = self.parts["values"].value
        if self.format == "int4":
            values = ops.concatenate([ops.bitwise_and(values, 15), ops.right_shift(values, 4)])
        values = ops.cast(values, "float32")
        if self.format == "int4":
            values = values - 8.0
        size = self.rows * self.columns
        if self.nonzero is None:
            values = values[:size]
        else:
            values = _spread(values, self.parts["mask"].value)[:size]
        if "scale" in self.parts:
            scale = ops.cast(self.parts["scale"].value, "float32")
            values = ops.reshape(values, (scale.shape[0], -1, self.columns)) * scale[:, None]
        values = ops.reshape(values, (self.rows, self.columns))
        rows = math.prod(self.shape) // self.columns
        values = values[:rows]
        return ops.reshape(ops.transpose(values) if self.by_row else values, self.shape)

    def assign(self, value: Any) -> None:
        """Stores a value.

        Args:
            value: float array of the shape of the weight.

        Raises:
            ValueError: if it has more values that are not zero than are stored.
        """
        matrix = np.asarray(value, np.float32)
        matrix = matrix.reshape(-1, self.columns) if not self.by_row else matrix.reshape(self.columns, -1).T
        matrix = np.pad(matrix, ((0, self.rows - len(matrix)), (0, 0)))
        kept = (matrix != 0).reshape(-1)
        codes = matrix
        if "scale" in self.parts:
            groups = self.parts["scale"].shape[0]
            parts = matrix.reshape(groups, -1, self.columns)
            scale = _best_scale(parts, self.format)
            self.parts["scale"].assign(scale[:, 0])
            scale = np.asarray(self.parts["scale"].value, np.float32)[:, None]
            codes = _rounded(parts, scale, LEVELS[self.format])
        codes = codes.reshape(-1)
        if self.nonzero is not None:
            if kept.sum() > self.nonzero:
                raise ValueError(
                    f"{self.path}: at most {self.nonzero:,} values that are not zero are stored; got {kept.sum():,}."
                )
            self.parts["mask"].assign(np.packbits(kept, bitorder="little"))
            codes = codes[kept]
        stored = self.parts["values"]
        if self.format == "int4":
            codes = np.pad(codes + 8, (0, 2 * stored.shape[0] - len(codes)), constant_values=8).astype(np.uint8)
            codes = codes[: stored.shape[0]] | codes[stored.shape[0] :] << 4
        stored.assign(np.pad(codes, (0, stored.shape[0] - len(codes))).astype(stored.dtype))


def is_depthwise(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer is a convolution of each channel by itself."""
    return isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)


def matrix_shape(name: str, shape: tuple[int, ...], depthwise: bool = False) -> tuple[int, int]:
    """Returns the rows and the columns of the matrix in which each column has scales of its own.

    Args:
        name: string. The name of the variable.
        shape: tuple of ints. Its shape.
        depthwise: bool. As for `StoredWeight`. Defaults to `False`.
    """
    columns = shape[-1]
    if "embeddings" in name:
        columns = shape[0]
    elif depthwise or name == "depthwise_kernel":
        columns = shape[-1] * shape[-2]
    return math.prod(shape) // columns, columns


def _spread(values, mask):
    """Returns values `[N]` at the positions of the bits in a mask `[M]` of bytes, and zeros elsewhere, `[8 M]`."""
    codes = ops.take(ops.convert_to_tensor(BITS_OF), ops.cast(mask, "int32"), axis=0)  # [M, 8]
    bits, before = codes >= BITS, ops.cast(ops.bitwise_and(codes, BITS - 1), "int32")
    counts = before[:, -1] + ops.cast(bits[:, -1], "int32")
    numbers = (ops.cumsum(counts) - counts)[:, None] + before
    found = ops.take(values, ops.minimum(numbers, values.shape[0] - 1), axis=0)
    return ops.reshape(ops.where(bits, found, 0.0), (-1,))


def _rounded(values, scale, levels):
    return np.clip(np.rint(values / np.where(scale > 0, scale, 1)), -levels, levels)


def _best_scale(groups: np.ndarray, name: str) -> np.ndarray:
    """Returns the scale of each group `[groups, 1, columns]` with the smallest squared error."""
    largest = np.abs(groups).max(axis=1, keepdims=True) / LEVELS[name]
    best, errors = largest, np.full(largest.shape, np.inf)
    for factor in RANGES[name]:
        scale = largest * factor
        scale = scale.astype(np.float16).astype(np.float32) if name == "int4" else scale  # as it is stored
        error = ((_rounded(groups, scale, LEVELS[name]) * scale - groups) ** 2).sum(axis=1, keepdims=True)
        best, errors = np.where(error < errors, scale, best), np.minimum(error, errors)
    return best
