"""Quantization-aware training: layers read rounded weights, and the weights before the rounding are trained."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.compress.quantization import forget_programs, weights_of
from kerazoo.compress.stored_weight import LEVELS, RANGES, StoredFormat, StoredWeight, is_depthwise

FORMATS = tuple(LEVELS)


def round_weights(model: keras.Model, format: str = "int8") -> None:
    """Lets the layers of a built model read their kernels and embeddings as `quantize` would store them, in place.

    The gradient of a rounded weight is that of the weight (the straight-through estimator), so that training finds
    weights whose rounding costs little. The variables of the model stay what they are: a model without this function
    loads them, and `quantize` then rounds them in the same way.

    Args:
        model: a built `keras.Model`.
        format: string. `"int8"` or `"int4"`. Defaults to `"int8"`.

    Raises:
        ValueError: if the format is another one, or the model is not built or has nothing to quantize.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
    kz.compress.round_weights(model, "int4")
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(96, 64)).astype("float32")
    model.fit(x, x[:, :32], verbose=0)
    ```

    Reference:
        Bengio, Léonard and Courville (2013), Estimating or Propagating Gradients Through Stochastic Neurons,
        arXiv:1308.3432.
        Jacob et al. (2017), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference, arXiv:1712.05877.
    """
    _checks.one_of("round_weights", "format", format, FORMATS)
    for layer, variable in weights_of(model, "round_weights"):
        RoundedWeight(variable, StoredFormat(variable.path, format), is_depthwise(layer)).replace(layer, variable)
    forget_programs(model)


class RoundedWeight(StoredWeight):
    """A weight that is trained, and that layers read as a `StoredWeight` of it would be.

    Args:
        variable: Keras variable.
        stored_format: `StoredFormat` without `nonzero`; zeros stay zero anyway.
        depthwise: bool. As for `StoredWeight`. Defaults to `False`.
    """

    def __init__(self, variable: Any, stored_format: StoredFormat, depthwise: bool = False):
        super().__init__(variable, stored_format, depthwise)
        self.trainable = True
        self.parts["variable"] = variable

    def replace(self, layer: keras.layers.Layer, variable: Any) -> None:
        self.put(layer, variable)

    def compute(self) -> Any:
        weight = ops.convert_to_tensor(self.parts["variable"])
        return weight + ops.stop_gradient(self._rounded(ops.stop_gradient(weight)) - weight)

    def _rounded(self, weight):
        matrix = ops.reshape(weight, (self.columns, -1) if self.by_row else (-1, self.columns))
        matrix = ops.cast(ops.transpose(matrix) if self.by_row else matrix, "float32")
        rows, levels = matrix.shape[0], LEVELS[self.format]
        groups = self.rows // self.group if self.format == "int4" else 1
        padded = ops.pad(matrix, ((0, self.rows - rows), (0, 0)))
        padded = ops.reshape(padded, (groups, -1, self.columns))
        largest = ops.max(ops.abs(padded), axis=1, keepdims=True) / levels
        best, errors = ops.zeros_like(padded), ops.full_like(largest, np.inf)
        for factor in RANGES[self.format]:
            scale = largest * factor
            scale = ops.cast(ops.cast(scale, "float16"), "float32") if self.format == "int4" else scale
            codes = ops.round(padded / ops.where(scale > 0, scale, 1.0))
            rounded = ops.clip(codes, -levels, levels) * scale
            error = ops.sum(ops.square(rounded - padded), axis=1, keepdims=True)
            best = ops.where(error < errors, rounded, best)
            errors = ops.minimum(errors, error)
        matrix = ops.reshape(best, (self.rows, self.columns))[:rows]
        return ops.reshape(ops.transpose(matrix) if self.by_row else matrix, self.shape)
