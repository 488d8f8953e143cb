"""The common base of the Transformer encoder and decoder: the sublayers of a block, and the stack of blocks."""

from collections.abc import Callable
from typing import Any

import keras

from kerazoo import _checks
from kerazoo.layers.activations import one_per_layer, serialize_activation
from kerazoo.layers.attention import Attention
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.feed_forward import FeedForward
from kerazoo.layers.initializers import clone_initializer

NORMS = ("pre", "post")
NORMALIZATIONS = ("layer", "rms")
POSITIONS = (None, "rotary")


def normalization_layer(kind: str, epsilon: float, name: str, dtype: Any) -> keras.layers.Layer:
    """Returns a layer that normalizes the channels of each position.

    Args:
        kind: `"layer"` or `"rms"`.
        epsilon: float, above 0. Added to the variance or the mean square.
        name: string. Name of the layer.
        dtype: dtype policy of the layer.
    """
    cls = keras.layers.LayerNormalization if kind == "layer" else keras.layers.RMSNormalization
    return cls(epsilon=epsilon, name=name, dtype=dtype)


def check_width(owner: str, inputs_shape: Any, hidden_dim: int) -> None:
    """Raises a ValueError if the inputs do not have the width of the residual connection.

    Args:
        owner: string. The class that is named in the error message.
        inputs_shape: Shape of the inputs.
        hidden_dim: int. The width.
    """
    _checks.rank(owner, "inputs", inputs_shape, (3,))
    if inputs_shape[-1] != hidden_dim:
        raise ValueError(
            f"{owner}: `inputs` must be `hidden_dim` wide; got inputs of width {inputs_shape[-1]}, "
            f"hidden_dim={hidden_dim}. Put an embedding or a Dense({hidden_dim}) before it."
        )


class TransformerBlock(keras.layers.Layer):
    """The base of the encoder and the decoder block: options, self-attention, feed-forward layer and residuals."""

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        *,
        intermediate_dim: int,
        dropout: float = 0.1,
        activation: Any = "relu",
        norm: str = "pre",
        normalization: str = "layer",
        epsilon: float = 1e-5,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        positions: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.dropout_rate = _checks.rate(owner, "dropout", dropout)
        self.activation = activation
        self.norm = _checks.one_of(owner, "norm", norm, NORMS)
        self.normalization = _checks.one_of(owner, "normalization", normalization, NORMALIZATIONS)
        self.epsilon = _checks.number(owner, "epsilon", epsilon, low=0, low_open=True)
        self.num_key_value_heads = num_key_value_heads
        self.head_dim = head_dim
        self.positions = _checks.one_of(owner, "positions", positions, POSITIONS)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.supports_masking = True

        self.attention = Attention(rotary=positions == "rotary", name="attention", **self._attention_options())
        self.attention_norm = self._normalization("attention_norm")
        self.feed_forward = FeedForward(
            hidden_dim, intermediate_dim, activation=activation, name="feed_forward", **self._shared_options()
        )
        self.feed_forward_norm = self._normalization("feed_forward_norm")
        self.dropout = Dropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)

    def _shared_options(self) -> dict[str, Any]:
        return {
            "kernel_initializer": clone_initializer(self.kernel_initializer),
            "bias_initializer": clone_initializer(self.bias_initializer),
            "dtype": self.dtype_policy,
        }

    def _attention_options(self) -> dict[str, Any]:
        return {
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "dropout": self.dropout_rate,
            **self._shared_options(),
        }

    def _normalization(self, name: str) -> keras.layers.Layer:
        return normalization_layer(self.normalization, self.epsilon, name, self.dtype_policy)

    def _build_sublayers(self, inputs_shape: Any) -> None:
        check_width(type(self).__name__, inputs_shape, self.hidden_dim)
        for sublayer in (self.attention, self.attention_norm, self.feed_forward, self.feed_forward_norm):
            sublayer.build(inputs_shape)

    def _residual(
        self, x: Any, norm: keras.layers.Layer, sublayer: Callable[[Any], tuple[Any, Any]], training: bool | None = None
    ) -> tuple[Any, Any]:
        """Adds the output of a sublayer to its input, and passes on its second result (weights, a cache or None)."""
        y, extra = sublayer(norm(x) if self.norm == "pre" else x)
        x = x + self.dropout(y, training=training)
        return (x if self.norm == "pre" else norm(x)), extra

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "dropout": self.dropout_rate,
            "activation": serialize_activation(self.activation),
            "norm": self.norm,
            "normalization": self.normalization,
            "epsilon": self.epsilon,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "positions": self.positions,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


class TransformerStack(keras.layers.Layer):
    """The base of the encoder and the decoder: blocks, and the final normalization with norm="pre"."""

    def __init__(self, block: type[TransformerBlock], num_layers: int, options: dict[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.num_layers = _checks.num_layers(owner, "num_layers", num_layers)
        self.kernel_initializer = keras.initializers.get(options["kernel_initializer"])
        self.bias_initializer = keras.initializers.get(options["bias_initializer"])
        self.options = options
        self.hidden_dim = options["hidden_dim"]
        self.supports_masking = True
        activations = one_per_layer(owner, "activation", options["activation"], self.num_layers)
        self.blocks = [
            block(
                **{**options, "activation": activation, **self._initializers()},
                name=f"block_{i}",
                dtype=self.dtype_policy,
            )
            for i, activation in enumerate(activations)
        ]
        self.final_norm = None
        if options["norm"] == "pre":
            self.final_norm = normalization_layer(
                options["normalization"], options["epsilon"], "final_norm", self.dtype_policy
            )

    def _initializers(self) -> dict[str, Any]:
        return {
            "kernel_initializer": clone_initializer(self.kernel_initializer),
            "bias_initializer": clone_initializer(self.bias_initializer),
        }

    def _build_final_norm(self, inputs_shape: Any) -> None:
        check_width(type(self).__name__, inputs_shape, self.hidden_dim)
        if self.final_norm is not None:
            self.final_norm.build(inputs_shape)

    def _normalize(self, x: Any) -> Any:
        return x if self.final_norm is None else self.final_norm(x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            **self.options,
            "activation": serialize_activation(self.options["activation"]),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
