"""What the Transformer encoder and decoder have in common: the parts of a block, and the stack of blocks."""

import keras

from kerazoo import _checks
from kerazoo.layers.attention import Attention
from kerazoo.layers.feed_forward import FeedForward

NORMS = ("pre", "post")
NORMALIZATIONS = ("layer", "rms")
POSITIONS = (None, "rotary")
EPSILON = 1e-5


def normalization_layer(kind, name, dtype):
    """The layer that normalises the channels of each position; `kind` is "layer" or "rms"."""
    cls = keras.layers.LayerNormalization if kind == "layer" else keras.layers.RMSNormalization
    return cls(epsilon=EPSILON, name=name, dtype=dtype)


def check_width(owner, inputs_shape, hidden_dim):
    """Refuses inputs that the residual cannot be added to."""
    _checks.rank(owner, "inputs", inputs_shape, (3,))
    if inputs_shape[-1] != hidden_dim:
        raise ValueError(
            f"{owner}: `inputs` must be `hidden_dim` wide; got inputs of width {inputs_shape[-1]}, "
            f"hidden_dim={hidden_dim}. Put an embedding or a Dense({hidden_dim}) before it."
        )


class Block(keras.layers.Layer):
    """What the blocks of encoder and decoder have in common: their options, self-attention, feed-forward, residuals."""

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        activation: str = "relu",
        norm: str = "pre",
        normalization: str = "layer",
        num_key_value_heads: int | None = None,
        positions: str | None = None,
        **kwargs,
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
        self.num_key_value_heads = num_key_value_heads
        self.positions = _checks.one_of(owner, "positions", positions, POSITIONS)
        self.supports_masking = True

        policy = self.dtype_policy
        self.attention = Attention(rotary=positions == "rotary", name="attention", **self._attention_options())
        self.attention_norm = normalization_layer(normalization, "attention_norm", policy)
        self.feed_forward = FeedForward(
            hidden_dim, intermediate_dim, activation=activation, name="feed_forward", dtype=policy
        )
        self.feed_forward_norm = normalization_layer(normalization, "feed_forward_norm", policy)
        self.dropout = keras.layers.Dropout(self.dropout_rate, name="dropout", dtype=policy)

    def _attention_options(self):
        return {
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "dropout": self.dropout_rate,
            "dtype": self.dtype_policy,
        }

    def _build_sublayers(self, inputs_shape):
        check_width(type(self).__name__, inputs_shape, self.hidden_dim)
        for sublayer in (self.attention, self.attention_norm, self.feed_forward, self.feed_forward_norm):
            sublayer.build(inputs_shape)

    def _residual(self, x, norm, sublayer, training=None):
        """Adds what `sublayer` makes of x, and hands on the second thing that it gives (scores, a cache, None)."""
        y, extra = sublayer(norm(x) if self.norm == "pre" else x)
        x = x + self.dropout(y, training=training)
        return (x if self.norm == "pre" else norm(x)), extra

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "dropout": self.dropout_rate,
            "activation": self.activation,
            "norm": self.norm,
            "normalization": self.normalization,
            "num_key_value_heads": self.num_key_value_heads,
            "positions": self.positions,
        }


class Stack(keras.layers.Layer):
    """What both stacks have in common: the blocks, and the normalisation that ends a stack of norm="pre"."""

    def __init__(self, block, num_layers: int, options, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = _checks.positive_int(type(self).__name__, "num_layers", num_layers)
        self.options = options
        self.hidden_dim = options["hidden_dim"]
        policy = self.dtype_policy
        self.blocks = [block(**options, name=f"block_{i}", dtype=policy) for i in range(self.num_layers)]
        self.final_norm = None
        if options["norm"] == "pre":
            self.final_norm = normalization_layer(options["normalization"], "final_norm", policy)
        self.supports_masking = True

    def _build_final_norm(self, inputs_shape):
        check_width(type(self).__name__, inputs_shape, self.hidden_dim)
        if self.final_norm is not None:
            self.final_norm.build(inputs_shape)

    def _finish(self, x):
        return x if self.final_norm is None else self.final_norm(x)

    def get_config(self):
        return {**super().get_config(), "num_layers": self.num_layers, **self.options}
