"""Layers that read their inputs in 8 bits, whose range is fixed: static quantization of activations."""

import functools
from typing import Any

import keras
from keras import ops

from kerazoo.compress.stored_weight import StoredWeight
from kerazoo.layers.computed_weight import MultipliedWeight

LOWEST, HIGHEST = -128, 127  # of int8
# Layers that multiply what they are called with by their kernel.
MULTIPLYING = (
    keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D,
)  # fmt: skip


class RoundedInputs(StoredWeight, MultipliedWeight):
    """A weight in int8 of a recurrent layer, which rounds what it is multiplied by.

    Args:
        variable: Keras variable `[..., outputs]`.
        stored_format: `StoredFormat` with `inputs`.
    """

    def __init__(self, variable: Any, stored_format: Any):
        super().__init__(variable, stored_format)
        self.inputs = stored_format.inputs

    def multiply(self, x: Any) -> Any:
        return ops.matmul(rounded(x, self.inputs), ops.cast(self.value, x.dtype))


def rounded(x: Any, limits: tuple[float, float]) -> Any:
    """Returns the values of int8 that are nearest to those of a tensor, in its dtype.

    The 256 values are evenly spaced, and zero is one of them.

    Args:
        x: float tensor.
        limits: two floats, the lowest at most 0 and the highest at least 0. The range that the values cover.
    """
    low, high = limits
    scale = (high - low) / (HIGHEST - LOWEST)
    zero = round(LOWEST - low / scale)
    codes = ops.clip(ops.round(ops.cast(x, "float32") / scale) + zero, LOWEST, HIGHEST)
    return ops.cast((codes - zero) * scale, x.dtype)


def round_inputs(layer: keras.layers.Layer, limits: tuple[float, float]) -> None:
    """Lets a layer round the inputs that it multiplies by its kernel.

    Args:
        layer: one of `MULTIPLYING`, or a `keras.layers.ReversibleEmbedding`, whose inputs are rounded where it computes
            logits.
        limits: two floats. The range of the inputs.
    """
    vars(layer)["call"] = with_changed_inputs(layer, lambda x: rounded(x, limits))(layer.call)


def with_changed_inputs(layer: keras.layers.Layer, change: Any) -> Any:
    """Returns a function from the `call` of a layer to one with changed inputs where it multiplies them by its kernel.

    Args:
        layer: the layer.
        change: function of a tensor that returns another one.
    """

    def replace(call):
        @functools.wraps(call)
        def changed(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            looks_up = is_embedding(layer) and not (kwargs.get("reverse") or any(arg is True for arg in args))
            return call(inputs if looks_up else change(inputs), *args, **kwargs)

        return changed

    return replace


def is_embedding(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer looks up rows of its weight, unless it computes logits."""
    return isinstance(layer, keras.layers.ReversibleEmbedding)
