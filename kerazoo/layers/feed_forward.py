"""The feed-forward sublayer of a Transformer block, plain or gated."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import gelu, get_activation, serialize_activation
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.products import Dense

GATED = {"swiglu": ops.silu, "geglu": gelu}


@keras.saving.register_keras_serializable(package="kerazoo")
class FeedForward(keras.layers.Layer):
    """Projects each position to a wider vector, applies an activation, and projects back: `contract(f(expand(x)))`.

    The gated activations use two wide vectors and multiply, `contract(f(a) * b)`; one kernel computes a and b. For the
    same `intermediate_dim` they have half as many weights again; the paper takes two thirds of it in comparisons.

    Args:
        hidden_dim: int, above 0. Width of the output.
        intermediate_dim: int, above 0. Width of the wide vector.
        activation: Name or callable, None for none; or `"swiglu"` or `"geglu"`, which are gated. Defaults to `"relu"`.
        use_bias: bool. Whether the projections have biases. Defaults to `True`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of the biases. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[..., D]`.

    Returns:
        A float tensor `[..., hidden_dim]` in the compute dtype.

    Masking:
        Each position is computed separately. The Keras mask of `inputs` is passed on.

    Raises:
        ValueError: if the activation is unknown or a size is not above 0.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    layer = kz.layers.FeedForward(hidden_dim=6, intermediate_dim=16, activation="swiglu")
    assert layer(np.ones((2, 5, 6), "float32")).shape == (2, 5, 6)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762;
        Shazeer, 2020, GLU Variants Improve Transformer, arXiv:2002.05202.
    """

    def __init__(
        self,
        hidden_dim: int,
        intermediate_dim: int,
        *,
        activation: Any = "relu",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hidden_dim = _checks.positive_int("FeedForward", "hidden_dim", hidden_dim)
        self.intermediate_dim = _checks.positive_int("FeedForward", "intermediate_dim", intermediate_dim)
        self.gated = isinstance(activation, str) and activation in GATED
        self.function = GATED[activation] if self.gated else get_activation("FeedForward", activation, tuple(GATED))
        self.activation = activation
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.supports_masking = True
        self.expand = self._dense(self.intermediate_dim * (2 if self.gated else 1), "expand")
        self.contract = self._dense(self.hidden_dim, "contract")

    def _dense(self, units: int, name: str) -> Dense:
        return Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            bias_initializer=clone_initializer(self.bias_initializer),
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, inputs_shape: Any) -> None:
        self.expand.build(inputs_shape)
        self.contract.build((*inputs_shape[:-1], self.intermediate_dim))

    def call(self, inputs: Any) -> Any:
        x = self.expand(inputs)  # [..., intermediate_dim], or twice that
        if self.gated:
            gate, value = ops.split(x, 2, axis=-1)
            x = self.function(gate) * value  # [..., intermediate_dim]
        else:
            x = self.function(x)
        return self.contract(x)  # [..., hidden_dim]

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        return (*inputs_shape[:-1], self.hidden_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "intermediate_dim": self.intermediate_dim,
            "activation": serialize_activation(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
