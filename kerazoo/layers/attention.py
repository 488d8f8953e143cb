"""Self-attention with several heads and a cache for writing token by token; also what cross-attention shares with it.

Shapes: H heads of the queries, G heads of the keys and values, K the width of a head. The H / G query heads that share
a key head lie side by side, and inside they count as so many more queries of that head: [B, G, H/G * T, K]. So keys and
values are never repeated. Keys are kept as [B, G, K, S] and values as [B, G, S, K]: both products are then plain matrix
products, and a step of decoding transposes nothing of the cache.
"""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import sequences
from kerazoo.layers.positions import rotary

# A forbidden score. Finite, so that a row in which everything is forbidden gives no NaN but equal weights; the softmax
# runs in float32, where this is far below any real score.
FORBIDDEN = -1e30


class Heads(keras.layers.Layer):
    """What self-attention and cross-attention have in common: sizes, the softmax, and the way out."""

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
        """Queries [B, T, H, K] as [B, G, H/G * T, K], scaled."""
        length, groups = ops.shape(x)[1], self.num_key_value_heads
        x = ops.reshape(x * self.head_dim**-0.5, (-1, length, groups, self.num_heads // groups, self.head_dim))
        x = ops.transpose(x, (0, 2, 3, 1, 4))  # [B, G, H/G, T, K]
        return ops.reshape(x, (-1, groups, self.num_heads // groups * length, self.head_dim))

    def _attend(self, query, key, value, length, mask=None, training=None):
        """Attends with queries [B, G, H/G * T, K] to keys [B, G, K, S] and values [B, G, S, K].

        Gives the output [B, T, D] and the float32 weights [B, H, T, S]. `length` is T; the mask has any shape that
        spreads to [B, H, T, S].
        """
        shape = (-1, self.num_key_value_heads, self.num_heads // self.num_key_value_heads * length)
        scores = ops.cast(ops.matmul(query, key), "float32")  # [B, G, H/G * T, S]
        source_length = ops.shape(scores)[-1]
        scores = ops.reshape(scores, (-1, self.num_heads, length, source_length))  # [B, H, T, S]
        if mask is not None:
            scores = ops.where(mask, scores, FORBIDDEN)
        weights = ops.softmax(scores, axis=-1)
        kept = self.dropout(ops.cast(weights, self.compute_dtype), training=training)
        x = ops.matmul(ops.reshape(kept, (*shape, source_length)), value)  # [B, G, H/G * T, K]
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


@keras.saving.register_keras_serializable(package="kerazoo")
class Attention(Heads):
    """Lets every position of a sequence look at the others: scaled dot-product self-attention with several heads.

    One kernel gives queries, keys and values. With fewer key/value heads than query heads, groups of query heads share
    a key/value head (grouped-query attention; one head: multi-query). The softmax runs in float32. For writing token by
    token, `start` makes an empty cache of fixed length and `step` adds one position to it; the steps give what one call
    with `use_causal_mask=True` gives.

    Args:
        num_heads: Heads of the queries, above 0.
        hidden_dim: Width D of all heads together and of the output; divisible by `num_heads`.
        num_key_value_heads: Heads of keys and values; divides `num_heads`. Default: as many as `num_heads`.
        dropout: Rate of the dropout on the attention weights, in [0, 1). Default 0.
        rotary: Rotate queries and keys by their position. Default False.
        use_bias: Whether the projections have biases. Default True.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [B, T, any width].
        padding_mask: Booleans [B, T], True = real. Default: all are real.
        attention_mask: Booleans [T, T], [B, T, T] or [B, H, T, T], True where the row may attend to the column.
        use_causal_mask: Let each position see itself and what came before. Default False.
        positions: Where each input stands, integers [B, T], for the rotation. Default: one behind the other.
        return_attention_scores: Also return the attention weights before dropout. Default False.
        training: Whether dropout acts.

    Returns:
        Floats [B, T, D] in the compute dtype; with `return_attention_scores`, a pair with the weights, float32
        [B, H, T, T].

    Masking:
        Padding is never attended to. What padding itself attends to is of no use; a row that may attend to nothing
        gets equal weights, not NaN.

    Raises:
        ValueError: when the sizes do not divide, when `rotary` meets an odd width of a head, or a mask has another
            number of axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz
    from keras import ops

    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")
    layer = kz.layers.Attention(num_heads=3, hidden_dim=12, rotary=True)
    whole = layer(x, use_causal_mask=True)
    state = layer.start(batch_size=2, max_length=5)
    for t in range(5):
        y, state = layer.step(x[:, t], state, t)
    assert np.allclose(y, whole[:, 4], atol=1e-5)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762;
        Ainslie et al. (2023), GQA: Training Generalized Multi-Query Transformer Models, arXiv:2305.13245.
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        num_key_value_heads: int | None = None,
        dropout: float = 0.0,
        rotary: bool = False,
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(num_heads, hidden_dim, num_key_value_heads, dropout, use_bias, **kwargs)
        self.rotary = bool(rotary)
        if self.rotary and self.head_dim % 2:
            raise ValueError(
                f"Attention: `rotary` needs heads of even width; got hidden_dim={self.hidden_dim}, "
                f"num_heads={self.num_heads}, so {self.head_dim}. Choose hidden_dim divisible by {2 * self.num_heads}."
            )
        # Glorot's bound of the joint kernel is, without groups, that of three kernels with gain 1/sqrt(2).
        rows = self.num_heads + 2 * self.num_key_value_heads
        self.joint_projection = self._dense(rows * self.head_dim, "query_key_value")

    def build(self, inputs_shape):
        _checks.rank("Attention", "inputs", inputs_shape, (3,))
        self.joint_projection.build(inputs_shape)
        self.output_projection.build((*inputs_shape[:-1], self.hidden_dim))

    def _project(self, inputs, positions):
        """Queries [B, T, H, K], keys and values [B, T, G, K] of inputs [B, T, D], rotated where wanted."""
        H, G = self.num_heads, self.num_key_value_heads
        x = self.joint_projection(inputs)
        x = ops.reshape(x, (-1, ops.shape(inputs)[1], H + 2 * G, self.head_dim))  # [B, T, H + 2G, K]
        query_key, value = x[:, :, : H + G], x[:, :, H + G :]
        if self.rotary:
            query_key = rotary(query_key, positions)
        return query_key[:, :, :H], query_key[:, :, H:], value

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        use_causal_mask: bool = False,
        positions=None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ):
        length = ops.shape(inputs)[1]
        places = ops.arange(length, dtype="int32") if positions is None else positions
        query, key, value = self._project(inputs, places)
        key = ops.transpose(key, (0, 2, 3, 1))  # [B, G, K, T]
        value = ops.transpose(value, (0, 2, 1, 3))  # [B, G, T, K]
        mask = spread_masks("Attention", padding_mask, attention_mask)
        if use_causal_mask:
            causal = sequences.causal_mask(length)[None]  # [1, 1, T, T]
            mask = causal if mask is None else ops.logical_and(mask, causal)
        outputs, weights = self._attend(self._queries(query), key, value, length, mask, training)
        return (outputs, weights) if return_attention_scores else outputs

    def start(self, batch_size, max_length):
        """Makes the empty cache of `batch_size` sequences of at most `max_length` tokens, the batch as first axis."""
        shape = (batch_size, self.num_key_value_heads)
        return {
            "key": ops.zeros((*shape, self.head_dim, max_length), dtype=self.compute_dtype),  # [B, G, K, L]
            "value": ops.zeros((*shape, max_length, self.head_dim), dtype=self.compute_dtype),  # [B, G, L, K]
        }

    def step(self, inputs, state, index):
        """Attends from position `index`, a scalar integer, with inputs [B, D] to itself and to all that was cached.

        Returns the outputs [B, D] and the cache with this position written into it. An index beyond the cache would
        overwrite its last position: whoever counts the steps has to stop at `max_length`.
        """
        index = ops.cast(index, "int32")
        query, key, value = self._project(inputs[:, None], index[None])  # [B, 1, H or G, K]
        # Keys and values of one position have the layout of the cache but for axes of length one.
        key = ops.reshape(key, (-1, self.num_key_value_heads, self.head_dim, 1))
        value = ops.reshape(value, (-1, self.num_key_value_heads, 1, self.head_dim))
        state = {
            "key": ops.slice_update(state["key"], (0, 0, 0, index), key),
            "value": ops.slice_update(state["value"], (0, 0, index, 0), value),
        }
        past = ops.arange(ops.shape(state["value"])[2], dtype="int32") <= index  # [L]
        outputs, _ = self._attend(self._queries(query), state["key"], state["value"], 1, past)
        return ops.squeeze(outputs, axis=1), state  # [B, D]

    def get_config(self):
        return {**super().get_config(), "rotary": self.rotary}
