"""The feed-forward half of a Transformer block, plain or gated."""

import math

import keras
from keras import ops

from kerazoo import _checks


def gelu(x):
    """Gaussian error linear unit, `x/2 (1 + erf(x / sqrt 2))`: the exact form, of operations that every exporter has.

    Args:
        x: Floats of any shape.

    Returns:
        Floats of the same dtype and shape.

    Reference:
        Hendrycks and Gimpel (2016), Gaussian Error Linear Units, arXiv:1606.08415.
    """
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


# name -> (function, whether a second projection is multiplied by its result)
ACTIVATIONS = {
    "relu": (ops.relu, False),
    "gelu": (gelu, False),
    "silu": (ops.silu, False),
    "swiglu": (ops.silu, True),
    "geglu": (gelu, True),
}


@keras.saving.register_keras_serializable(package="kerazoo")
class FeedForward(keras.layers.Layer):
    """Widens every position, applies an activation, and narrows it again: `contract(f(expand(x)))`.

    The gated kinds expand twice and multiply, `contract(f(a) * b)`, where one kernel gives a and b. They have half as
    many weights again for the same `intermediate_dim`: take two thirds of it for a fair comparison, as the paper does.

    Args:
        hidden_dim: Width of the output, above 0.
        intermediate_dim: Width inside, above 0.
        activation: "relu", "gelu", "silu", or gated: "swiglu", "geglu". Default "relu".
        use_bias: Whether the projections have biases. Default True.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [..., D].

    Returns:
        Floats [..., hidden_dim] in the compute dtype.

    Masking:
        Each position is on its own.

    Raises:
        ValueError: for an unknown activation or a size that is not above 0.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    layer = kz.layers.FeedForward(hidden_dim=6, intermediate_dim=16, activation="swiglu")
    assert layer(np.ones((2, 5, 6), "float32")).shape == (2, 5, 6)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762;
        Shazeer (2020), GLU Variants Improve Transformer, arXiv:2002.05202.
    """

    def __init__(
        self, hidden_dim: int, intermediate_dim: int, activation: str = "relu", use_bias: bool = True, **kwargs
    ):
        super().__init__(**kwargs)
        self.hidden_dim = _checks.positive_int("FeedForward", "hidden_dim", hidden_dim)
        self.intermediate_dim = _checks.positive_int("FeedForward", "intermediate_dim", intermediate_dim)
        self.activation = _checks.one_of("FeedForward", "activation", activation, tuple(ACTIVATIONS))
        self.use_bias = bool(use_bias)
        self.function, self.gated = ACTIVATIONS[activation]
        self.supports_masking = True
        shared = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.expand = keras.layers.Dense(self.intermediate_dim * (1 + self.gated), name="expand", **shared)
        self.contract = keras.layers.Dense(self.hidden_dim, name="contract", **shared)

    def build(self, inputs_shape):
        self.expand.build(inputs_shape)
        self.contract.build((*inputs_shape[:-1], self.intermediate_dim))

    def call(self, inputs):
        x = self.expand(inputs)  # [..., intermediate_dim], twice that if gated
        if self.gated:
            gate, value = ops.split(x, 2, axis=-1)
            x = self.function(gate) * value
        else:
            x = self.function(x)
        return self.contract(x)  # [..., hidden_dim]

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], self.hidden_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "intermediate_dim": self.intermediate_dim,
            "activation": self.activation,
            "use_bias": self.use_bias,
        }
