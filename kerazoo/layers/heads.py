"""What self-attention and cross-attention share: sizes, masks, the softmax, and the way out.

Shapes: H heads of the queries, G heads of the keys and values, K the width of a head. The H / G query heads that share
a key head lie side by side, and inside they count as so many more queries of that head: [B * G, H/G * T, K]. So keys
and values are never repeated. Keys are kept as [B * G, K, S] and values as [B * G, S, K]: both products are then plain
matrix products that transpose nothing. With three axes XLA writes into a cache in place; with a fourth one of length
one it copies the whole cache at every step.
"""

import keras
from keras import ops

from kerazoo import _checks

# A forbidden score. Finite, so that a row in which everything is forbidden gives no NaN; the softmax runs in float32,
# where this is far below any real score.
FORBIDDEN = -1e30


class Heads(keras.layers.Layer):
    """What self-attention and cross-attention have in common."""

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        num_key_value_heads: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.num_heads = _checks.positive_int(owner, "num_heads", num_heads)
        self.hidden_dim = _checks.positive_int(owner, "hidden_dim", hidden_dim)
        _checks.divisible(owner, "hidden_dim", self.hidden_dim, "num_heads", self.num_heads)
        self.num_key_value_heads = self.num_heads
        if num_key_value_heads is not None:
            self.num_key_value_heads = _checks.positive_int(owner, "num_key_value_heads", num_key_value_heads)
            _checks.divisible(owner, "num_heads", self.num_heads, "num_key_value_heads", self.num_key_value_heads)
        self.head_dim = self.hidden_dim // self.num_heads
        self.dropout_rate = _checks.rate(owner, "dropout", dropout)
        self.use_bias = bool(use_bias)
        self.supports_masking = True
        self.dropout = keras.layers.Dropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)
        self.output_projection = self._dense(self.hidden_dim, "output")

    def _dense(self, units, name):
        return keras.layers.Dense(units, use_bias=self.use_bias, name=name, dtype=self.dtype_policy)

    def _queries(self, x):
        """Queries [B, T, H, K] as [B * G, H/G * T, K], scaled."""
        length, groups = ops.shape(x)[1], self.num_key_value_heads
        x = ops.reshape(x * self.head_dim**-0.5, (-1, length, groups, self.num_heads // groups, self.head_dim))
        x = ops.transpose(x, (0, 2, 3, 1, 4))  # [B, G, H/G, T, K]
        return ops.reshape(x, (-1, self.num_heads // groups * length, self.head_dim))

    def _keys(self, x):
        """Keys [B, S, G, K] as [B * G, K, S]."""
        return ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (-1, self.head_dim, ops.shape(x)[1]))

    def _values(self, x):
        """Values [B, S, G, K] as [B * G, S, K]."""
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, ops.shape(x)[1], self.head_dim))

    def _attend(self, query, key, value, length, mask=None, training=None):
        """Attends with queries [B * G, H/G * T, K] to keys [B * G, K, S] and values [B * G, S, K].

        Gives the output [B, T, D] and the float32 weights [B, H, T, S]. `length` is T; the mask has any shape that
        spreads to [B, H, T, S].
        """
        scores = ops.cast(ops.matmul(query, key), "float32")  # [B * G, H/G * T, S]
        source_length = ops.shape(scores)[-1]
        scores = ops.reshape(scores, (-1, self.num_heads, length, source_length))  # [B, H, T, S]
        if mask is not None:
            scores = ops.where(mask, scores, FORBIDDEN)
        weights = ops.softmax(scores, axis=-1)
        if mask is not None:
            # Where nothing may be attended to the softmax is even, and would depend on how wide the padding is.
            weights = ops.where(mask, weights, 0.0)
        kept = self.dropout(ops.cast(weights, self.compute_dtype), training=training)
        kept = ops.reshape(kept, (-1, self.num_heads // self.num_key_value_heads * length, source_length))
        x = ops.matmul(kept, value)  # [B * G, H/G * T, K]
        x = ops.reshape(x, (-1, self.num_heads, length, self.head_dim))  # [B, H, T, K]
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, length, self.hidden_dim))  # [B, T, D]
        return self.output_projection(x), weights

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "dropout": self.dropout_rate,
            "use_bias": self.use_bias,
        }


def spread_masks(owner, padding_mask, attention_mask):
    """One mask that spreads to [B, H, T, S], or None: padding [B, S] and attention [(B, (H,)) T, S] together."""
    mask = None
    if attention_mask is not None:
        _checks.rank(owner, "attention_mask", attention_mask.shape, (2, 3, 4))
        mask = ops.cast(attention_mask, "bool")
        mask = mask[:, None] if len(mask.shape) == 3 else mask
    if padding_mask is not None:
        _checks.rank(owner, "padding_mask", padding_mask.shape, (2,))
        padding_mask = ops.cast(padding_mask, "bool")[:, None, None, :]  # [B, 1, 1, S]
        mask = padding_mask if mask is None else ops.logical_and(mask, padding_mask)
    return mask


def kv_cache_mask(index, length, max_length, beam_ancestry=None):
    """Returns which entries of a key/value cache may be attended to from `length` tokens at position `index` and after.

    A cache of W beams keeps those of position p as its entries p * W to p * W + W - 1.

    Args:
        index: Position of the first of the tokens, an int32 scalar.
        length: Number of tokens T that are read at once.
        max_length: Number of positions L.
        beam_ancestry: Beam that holds each position of each hypothesis, int32 [B, W, L]; None for one beam.

    Returns:
        Booleans that spread to [B, H, W * T, W * L].
    """
    places = ops.arange(max_length, dtype="int32")
    past = places[None, :] <= index + ops.arange(length, dtype="int32")[:, None]  # [T, L]
    if beam_ancestry is None:
        return past
    num_beams = beam_ancestry.shape[1]
    own = beam_ancestry[..., None] == ops.arange(num_beams, dtype="int32")  # [B, W, L, W]
    seen = ops.logical_and(own[:, :, None], past[None, None, :, :, None])  # [B, W, T, L, W]
    return ops.reshape(seen, (-1, 1, num_beams * length, max_length * num_beams))
