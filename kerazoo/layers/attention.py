"""Multi-head self-attention with a key/value cache for decoding token by token; shapes are explained in heads.py."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import masking
from kerazoo.layers.heads import Heads, kv_cache_mask, spread_masks
from kerazoo.layers.positions import rotary


@keras.saving.register_keras_serializable(package="kerazoo")
class Attention(Heads):
    """Lets every position of a sequence look at the others: scaled dot-product self-attention with several heads.

    One kernel gives queries, keys and values. With fewer key/value heads than query heads, groups of query heads share
    a key/value head (grouped-query attention; one head: multi-query). The softmax runs in float32. For writing token by
    token, `start` makes an empty key/value cache of fixed length, and `step` and `step_many` add positions to it; they
    give what one call with `use_causal_mask=True` gives.

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
        Padding is never attended to. What padding itself attends to is of no use; where nothing may be attended to, all
        weights are zero.

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
        mask = spread_masks("Attention", padding_mask, attention_mask)
        if use_causal_mask:
            causal = masking.causal_mask(length)[None]  # [1, 1, T, T]
            mask = causal if mask is None else ops.logical_and(mask, causal)
        query, key, value = self._queries(query), self._keys(key), self._values(value)
        outputs, weights = self._attend(query, key, value, length, mask, training)
        return (outputs, weights) if return_attention_scores else outputs

    def start(self, batch_size, max_length, num_beams: int = 1):
        """Returns an empty key/value cache for `num_beams` hypotheses of each source and `max_length` tokens."""
        rows, positions = batch_size * self.num_key_value_heads, max_length * num_beams
        return {
            # Keys lie as the values do: a position of them is written in one piece.
            name: ops.zeros((rows, positions, self.head_dim), dtype=self.compute_dtype)  # [B * G, L * W, K]
            for name in ("key", "value")
        }

    def step_many(self, inputs, kv_cache, index, mask=None):
        """Attends from positions `index`, `index` + 1 ... with inputs [B * W, T, D] to all that was written.

        Args:
            inputs: Floats [B * W, T, D]; row b * W + w is hypothesis w of source b.
            kv_cache: What `start` made with `num_beams` W, or `step_many` returned.
            index: The first position, a scalar integer. What would go beyond the last one overwrites it: whoever
                counts the positions has to stop at `max_length`.
            mask: What `kv_cache_mask` returns; needed for more than one beam.

        Returns:
            Outputs [B * W, T, D], and the cache with these positions written into it.
        """
        index, length, groups = ops.cast(index, "int32"), ops.shape(inputs)[1], self.num_key_value_heads
        query, key, value = self._project(inputs, index + ops.arange(length, dtype="int32"))  # [B * W, T, H or G, K]
        num_beams = 1
        if mask is None:
            mask = kv_cache_mask(index, length, ops.shape(kv_cache["key"])[1])
        else:
            num_beams = ops.shape(inputs)[0] * groups // ops.shape(kv_cache["key"])[0]
        # The order of the cache: all beams of one position, then those of the next.
        key, value = (
            ops.reshape(
                ops.transpose(ops.reshape(x, (-1, num_beams, length, groups, self.head_dim)), (0, 2, 1, 3, 4)),
                (-1, length * num_beams, groups, self.head_dim),
            )
            for x in (key, value)
        )  # [B, T * W, G, K]
        first = (0, index * num_beams, 0)
        kv_cache = {
            "key": ops.slice_update(kv_cache["key"], first, self._values(key)),
            "value": ops.slice_update(kv_cache["value"], first, self._values(value)),
        }
        query = ops.reshape(query, (-1, num_beams * length, self.num_heads, self.head_dim))  # [B, W * T, H, K]
        key, value = ops.swapaxes(kv_cache["key"], 1, 2), kv_cache["value"]
        outputs, _ = self._attend(self._queries(query), key, value, num_beams * length, mask)
        return ops.reshape(outputs, (-1, length, self.hidden_dim)), kv_cache  # [B * W, T, D]

    def step(self, inputs, kv_cache, index):
        """Does what `step_many` does for one token of one hypothesis: inputs [B, D] to outputs [B, D]."""
        outputs, kv_cache = self.step_many(inputs[:, None], kv_cache, index)
        return ops.squeeze(outputs, axis=1), kv_cache  # [B, D]

    def get_config(self):
        return {**super().get_config(), "rotary": self.rotary}
