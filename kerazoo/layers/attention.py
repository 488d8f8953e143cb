"""Multi-head self-attention, with a key/value cache for decoding, and cross-attention.

Shapes: B sources, W hypotheses (beams) of a source, T queries, S keys, H heads of the queries, G heads of the keys and
values, K the width of a head. The H / G query heads that share a key head are adjacent, and count as that many more
queries of it: [B * G, H/G * T, K]. So keys and values are never repeated. Keys have the layout [B * G, K, S] and values
[B * G, S, K]: both products are then matrix products without a transposition. With three axes XLA updates a cache in
place; with a fourth one of length one it copies the whole cache at every step.
"""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import attention_weights, causal_mask, first_mask
from kerazoo.layers.positions import rotary as rotate
from kerazoo.layers.products import Dense

# The score of a position that may not be attended to. It is finite, so that a row of nothing else gives no NaN; the
# softmax runs in float32, where it is far below any other score.
MASKED_SCORE = -1e30


class MultiHeadAttention(keras.layers.Layer):
    """The base of self-attention and cross-attention: sizes, layouts, the softmax and the output projection."""

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        *,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.hidden_dim = _checks.positive_int(owner, "hidden_dim", hidden_dim)
        self.num_heads = _checks.positive_int(owner, "num_heads", num_heads)
        if head_dim is None:
            _checks.divisible(owner, "hidden_dim", self.hidden_dim, "num_heads", self.num_heads)
        self.num_key_value_heads = self.num_heads
        if num_key_value_heads is not None:
            self.num_key_value_heads = _checks.positive_int(owner, "num_key_value_heads", num_key_value_heads)
            _checks.divisible(owner, "num_heads", self.num_heads, "num_key_value_heads", self.num_key_value_heads)
        self.head_dim = self.hidden_dim // self.num_heads
        if head_dim is not None:
            self.head_dim = _checks.positive_int(owner, "head_dim", head_dim)
        self.inner_dim = self.num_heads * self.head_dim
        self.dropout_rate = _checks.rate(owner, "dropout", dropout)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.supports_masking = True
        self.dropout = Dropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)
        self.output_projection = self._dense(self.hidden_dim, "output")

    def _dense(self, units: int, name: str) -> Dense:
        return Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            bias_initializer=clone_initializer(self.bias_initializer),
            name=name,
            dtype=self.dtype_policy,
        )

    def _query_layout(self, x: Any) -> Any:
        """Returns queries [B, T, H, K] as [B * G, H/G * T, K], scaled."""
        # Here and below every size is given: where one of them is 0, no other can be inferred.
        batch, length = ops.shape(x)[:2]
        groups, heads = self.num_key_value_heads, self.num_heads // self.num_key_value_heads
        x = ops.reshape(x * self.head_dim**-0.5, (batch, length, groups, heads, self.head_dim))
        x = ops.transpose(x, (0, 2, 3, 1, 4))  # [B, G, H/G, T, K]
        return ops.reshape(x, (batch * groups, heads * length, self.head_dim))

    def _key_layout(self, x: Any) -> Any:
        """Returns keys [B, S, G, K] as [B * G, K, S]."""
        batch, length = ops.shape(x)[:2]
        return ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (batch * x.shape[2], self.head_dim, length))

    def _value_layout(self, x: Any) -> Any:
        """Returns values [B, S, G, K] as [B * G, S, K]."""
        batch, length = ops.shape(x)[:2]
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch * x.shape[2], length, self.head_dim))

    def _attend(self, query: Any, key: Any, value: Any, mask: Any, causal: bool, scores: bool, training: Any) -> Any:
        """Attends with queries [B, T, H, K] to keys and values [B, S, G, K].

        Returns the outputs [B, T, D], and with `scores` a pair with the weights, float32 [B, H, T, S].
        """
        drops = bool(training) and self.dropout_rate > 0
        if not scores and not drops and _keras_has_fused_kernel():
            return self._attend_fused(query, key, value, mask, causal)
        if causal:
            mask = _both(mask, causal_mask(ops.shape(query)[1])[None])  # [1, 1, T, T]
        key, value = self._key_layout(key), self._value_layout(value)
        outputs, weights = self._attend_cached(query, key, value, mask, training)
        return (outputs, weights) if scores else outputs

    def _attend_fused(self, query: Any, key: Any, value: Any, mask: Any, causal: bool) -> Any:
        """Computes what `_attend_cached` computes with the kernel of Keras, which does not return the weights."""
        length = ops.shape(query)[1]
        if causal and mask is not None:
            mask, causal = _both(mask, causal_mask(length)[None]), False
        x = ops.dot_product_attention(query, key, value, mask=mask, is_causal=causal)  # [B, T, H, K]
        if mask is not None:
            attends = ops.swapaxes(ops.any(mask, axis=-1, keepdims=True), 1, 2)  # [B or 1, T or 1, H or 1, 1]
            x = ops.where(attends, x, ops.zeros_like(x))
        return self.output_projection(ops.reshape(x, (-1, length, self.inner_dim)))  # [B, T, D]

    def _attend_cached(self, query: Any, key: Any, value: Any, mask: Any = None, training: Any = None) -> Any:
        """Attends with queries [B, T, H, K] to keys [B * G, K, S] and values [B * G, S, K].

        Returns the outputs [B, T, D] and the weights, float32 [B, H, T, S]. The mask has any shape that broadcasts to
        [B, H, T, S].
        """
        batch, length = ops.shape(query)[:2]
        query = self._query_layout(query)
        scores = ops.cast(ops.matmul(query, key), "float32")  # [B * G, H/G * T, S]
        source_length = ops.shape(scores)[-1]
        scores = ops.reshape(scores, (batch, self.num_heads, length, source_length))  # [B, H, T, S]
        if mask is not None:
            scores = ops.where(mask, scores, MASKED_SCORE)
        weights = attention_weights(scores)
        if mask is not None:
            # Where nothing may be attended to the softmax is uniform, and would depend on the number of positions.
            weights = ops.where(mask, weights, 0.0)
        dropped = self.dropout(ops.cast(weights, self.compute_dtype), training=training)
        groups, heads = self.num_key_value_heads, self.num_heads // self.num_key_value_heads
        dropped = ops.reshape(dropped, (batch * groups, heads * length, source_length))
        x = ops.matmul(dropped, value)  # [B * G, H/G * T, K]
        x = ops.reshape(x, (batch, self.num_heads, length, self.head_dim))  # [B, H, T, K]
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, length, self.inner_dim))  # [B, T, H * K]
        return self.output_projection(x), weights

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "dropout": self.dropout_rate,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="kerazoo")
class Attention(MultiHeadAttention):
    """Applies multi-head scaled dot-product self-attention, with a key/value cache for decoding.

    One kernel computes queries, keys and values. With fewer key/value heads than query heads, groups of query heads
    share a key/value head (grouped-query attention; with one: multi-query attention). The softmax runs in float32. For
    decoding token by token, `start` returns an empty key/value cache of fixed length, and `step` and `step_many` add
    positions to it. They compute what one call with `use_causal_mask=True` computes. On a GPU with JAX a fused kernel
    is used where Keras has one, that is without `return_attention_scores` and without dropout.

    Args:
        hidden_dim: int, above 0. Width D of the output, and of all heads together; divisible by `num_heads`.
        num_heads: int, above 0. Heads of the queries.
        num_key_value_heads: int, above 0, a divisor of `num_heads`, or None for `num_heads`. Heads of the keys and
            values. Defaults to `None`.
        head_dim: int, above 0, or None for hidden_dim / num_heads. Width of each head. Defaults to `None`.
        dropout: float in `[0, 1)`. Dropout rate of the attention weights. Defaults to `0.0`.
        rotary: bool. Whether to rotate queries and keys by their position. Defaults to `False`.
        use_bias: bool. Whether the projections have biases. Defaults to `True`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of the biases. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, any width]`.
        padding_mask: bool tensor `[B, T]`, True = valid position. Defaults to `None`.
        attention_mask: bool tensor `[T, T]`, `[B, T, T]` or `[B, H, T, T]`, True where the row may attend to the
            column. Defaults to `None`.
        use_causal_mask: bool. Whether each position attends to itself and to earlier ones only. Defaults to `False`.
        positions: int tensor `[B, T]`, the position of each input, for the rotation, instead of consecutive ones.
            Defaults to `None`.
        return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.
        inputs_mask: The same, where Keras fills it in under this name.

    Returns:
        A float tensor `[B, T, D]` in the compute dtype. With `return_attention_scores`, a pair with the weights before
        dropout, float32 `[B, H, T, T]`.

    Masking:
        Padding is never attended to. The outputs at padding are meaningless. Where nothing may be attended to, all
        weights are zero.

    Raises:
        ValueError: if the sizes do not divide, `rotary` is used with an odd width of a head, or a mask has another
            number of axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz
    from keras import ops

    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")
    layer = kz.layers.Attention(hidden_dim=12, num_heads=3, rotary=True)
    whole = layer(x, use_causal_mask=True)
    kv_cache = layer.start(batch_size=2, max_length=5)
    for t in range(5):
        y, kv_cache = layer.step(x[:, t], kv_cache, t)
    assert np.allclose(y, whole[:, 4], atol=1e-5)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762;
        Ainslie et al., 2023, GQA: Training Generalized Multi-Query Transformer Models, arXiv:2305.13245.
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        *,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        dropout: float = 0.0,
        rotary: bool = False,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(
            hidden_dim,
            num_heads,
            num_key_value_heads=num_key_value_heads,
            head_dim=head_dim,
            dropout=dropout,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )
        self.rotary = bool(rotary)
        if self.rotary and self.head_dim % 2:
            raise ValueError(
                f"Attention: `rotary` needs heads of even width; got hidden_dim={self.hidden_dim}, "
                f"num_heads={self.num_heads}, so {self.head_dim}. Choose hidden_dim divisible by {2 * self.num_heads}."
            )
        # Glorot's bound of the joint kernel is, without groups, that of three kernels with gain 1/sqrt(2).
        heads = self.num_heads + 2 * self.num_key_value_heads
        self.joint_projection = self._dense(heads * self.head_dim, "query_key_value")

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("Attention", "inputs", inputs_shape, (3,))
        self.joint_projection.build(inputs_shape)
        self.output_projection.build((*inputs_shape[:-1], self.inner_dim))

    def _project(self, inputs: Any, positions: Any) -> tuple[Any, Any, Any]:
        """Returns queries [B, T, H, K], keys and values [B, T, G, K] of inputs [B, T, D], rotated with `rotary`."""
        H, G = self.num_heads, self.num_key_value_heads
        x = self.joint_projection(inputs)
        x = ops.reshape(x, (*ops.shape(inputs)[:2], H + 2 * G, self.head_dim))  # [B, T, H + 2G, K]
        query_key, value = x[:, :, : H + G], x[:, :, H + G :]
        if self.rotary:
            query_key = rotate(query_key, positions)
        return query_key[:, :, :H], query_key[:, :, H:], value

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
        positions: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        if positions is None:
            positions = ops.arange(ops.shape(inputs)[1], dtype="int32")
        query, key, value = self._project(inputs, positions)
        merged = merge_masks("Attention", first_mask(padding_mask, mask, inputs_mask), attention_mask)
        return self._attend(query, key, value, merged, use_causal_mask, return_attention_scores, training)

    def start(self, batch_size: Any, max_length: int, num_beams: int = 1) -> dict[str, Any]:
        """Returns an empty key/value cache.

        Args:
            batch_size: int or int scalar. Number of sources B.
            max_length: int. Maximum number of positions L.
            num_beams: int. Number of hypotheses W of each source. Defaults to `1`.
        """
        rows, positions = batch_size * self.num_key_value_heads, max_length * num_beams
        return {
            # Keys have the layout of values here, so that a step updates one contiguous slice.
            name: ops.zeros((rows, positions, self.head_dim), dtype=self.compute_dtype)  # [B * G, L * W, K]
            for name in ("key", "value")
        }

    def step_many(self, inputs: Any, kv_cache: dict[str, Any], index: Any, mask: Any = None) -> tuple[Any, dict]:
        """Attends from T positions to the key/value cache and to each other, and adds them to the cache.

        Args:
            inputs: float tensor `[B * W, T, D]`; row b * W + w is hypothesis w of source b.
            kv_cache: dict, the result of `start` for W beams, or of the step before.
            index: int scalar, the first position. The caller has to stop at `max_length`: later positions overwrite the
                last ones.
            mask: bool tensor, the result of `kv_cache_mask`; needed for more than one beam. Defaults to `None`.

        Returns:
            A pair of the outputs `[B * W, T, D]` and the cache with these positions.
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
            "key": ops.slice_update(kv_cache["key"], first, self._value_layout(key)),
            "value": ops.slice_update(kv_cache["value"], first, self._value_layout(value)),
        }
        query = ops.reshape(query, (-1, num_beams * length, self.num_heads, self.head_dim))  # [B, W * T, H, K]
        outputs, _ = self._attend_cached(query, ops.swapaxes(kv_cache["key"], 1, 2), kv_cache["value"], mask)
        return ops.reshape(outputs, (-1, length, self.hidden_dim)), kv_cache  # [B * W, T, D]

    def step(self, inputs: Any, kv_cache: dict[str, Any], index: Any) -> tuple[Any, dict]:
        """Returns the outputs `[B, D]` of one position of one hypothesis, and the cache, as `step_many` does.

        Args:
            inputs: float tensor `[B, D]`.
            kv_cache: dict, the result of `start` or of the step before.
            index: int scalar, the position.
        """
        outputs, kv_cache = self.step_many(inputs[:, None], kv_cache, index)
        return ops.squeeze(outputs, axis=1), kv_cache  # [B, D]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rotary": self.rotary}


@keras.saving.register_keras_serializable(package="kerazoo")
class CrossAttention(MultiHeadAttention):
    """Applies multi-head attention from one sequence to another, such as from a decoder to the encoded source.

    The inputs give the queries, and one kernel computes keys and values of the other sequence. For decoding, `memory`
    computes these once and `step_many` uses them for every token. Several hypotheses (beams) of a source count as
    query positions of it, so that the memory is never copied. On a GPU with JAX a fused kernel is used where Keras has
    one, that is without `return_attention_scores` and without dropout.

    Args:
        hidden_dim: int, above 0. Width D of the output, and of all heads together; divisible by `num_heads`.
        num_heads: int, above 0. Heads of the queries.
        num_key_value_heads: int, above 0, a divisor of `num_heads`, or None for `num_heads`. Heads of the keys and
            values. Defaults to `None`.
        head_dim: int, above 0, or None for hidden_dim / num_heads. Width of each head. Defaults to `None`.
        dropout: float in `[0, 1)`. Dropout rate of the attention weights. Defaults to `0.0`.
        use_bias: bool. Whether the projections have biases. Defaults to `True`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of the biases. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, any width]`.
        sequence: float tensor `[B, S, any width]`, which is attended to.
        padding_mask: bool tensor `[B, S]`, True = valid position of `sequence`. Defaults to `None`.
        attention_mask: bool tensor `[T, S]`, `[B, T, S]` or `[B, H, T, S]`, True where the row may attend to the
            column. Defaults to `None`.
        return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.
        training: bool. Whether to apply dropout.
        sequence_mask: The Keras mask of `sequence`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A float tensor `[B, T, D]` in the compute dtype. With `return_attention_scores`, a pair with the weights before
        dropout, float32 `[B, H, T, S]`.

    Masking:
        Padding of `sequence` is never attended to. Where nothing may be attended to, all weights are zero.

    Raises:
        ValueError: if the sizes do not divide, or a mask has another number of axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    layer = kz.layers.CrossAttention(hidden_dim=12, num_heads=3)
    x, source = np.ones((2, 5, 12), "float32"), np.ones((2, 7, 10), "float32")
    outputs, weights = layer(x, source, return_attention_scores=True)
    assert outputs.shape == (2, 5, 12) and weights.shape == (2, 3, 5, 7)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        *,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(
            hidden_dim,
            num_heads,
            num_key_value_heads=num_key_value_heads,
            head_dim=head_dim,
            dropout=dropout,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )
        self.query_projection = self._dense(self.inner_dim, "query")
        self.joint_projection = self._dense(2 * self.num_key_value_heads * self.head_dim, "key_value")

    def build(self, inputs_shape: Any, sequence_shape: Any) -> None:
        _checks.rank("CrossAttention", "inputs", inputs_shape, (3,))
        _checks.rank("CrossAttention", "sequence", sequence_shape, (3,))
        self.query_projection.build(inputs_shape)
        self.joint_projection.build(sequence_shape)
        self.output_projection.build((*inputs_shape[:-1], self.inner_dim))

    def _project_query(self, inputs: Any) -> Any:
        x = self.query_projection(inputs)
        return ops.reshape(x, (*ops.shape(inputs)[:2], self.num_heads, self.head_dim))  # [B, T, H, K]

    def _project_key_value(self, sequence: Any) -> Any:
        x = self.joint_projection(sequence)
        x = ops.reshape(x, (*ops.shape(sequence)[:2], 2 * self.num_key_value_heads, self.head_dim))
        return ops.split(x, 2, axis=2)  # [B, S, G, K] each

    def call(
        self,
        inputs: Any,
        sequence: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        sequence_mask: Any = None,
    ) -> Any:
        query, (key, value) = self._project_query(inputs), self._project_key_value(sequence)
        merged = merge_masks("CrossAttention", first_mask(padding_mask, sequence_mask), attention_mask)
        return self._attend(query, key, value, merged, False, return_attention_scores, training)

    def memory(self, sequence: Any) -> dict[str, Any]:
        """Returns the keys `[B * G, K, S]` and values `[B * G, S, K]` of a sequence for `step_many`.

        Args:
            sequence: float tensor `[B, S, any width]`.
        """
        key, value = self._project_key_value(sequence)
        return {"key": self._key_layout(key), "value": self._value_layout(value)}

    def step_many(
        self, inputs: Any, memory: dict[str, Any], padding_mask: Any, return_attention_scores: bool = False
    ) -> Any:
        """Attends from T positions of each hypothesis to the memory of its source.

        Args:
            inputs: float tensor `[B * W, T, D]`; row b * W + w is hypothesis w of source b.
            memory: dict, the result of `memory` for B sources.
            padding_mask: bool tensor `[B, S]`, True = valid position of the source.
            return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.

        Returns:
            The outputs `[B * W, T, D]`. With `return_attention_scores`, a pair with the weights, float32
            `[B * W, T, S]`, averaged over the heads.
        """
        sources, source_length = ops.shape(padding_mask)
        rows, length = ops.shape(inputs)[:2]
        x = ops.reshape(inputs, (sources, -1, inputs.shape[-1]))  # [B, W * T, D]
        mask = merge_masks("CrossAttention", padding_mask, None)
        x, weights = self._attend_cached(self._project_query(x), memory["key"], memory["value"], mask)
        outputs = ops.reshape(x, (rows, length, self.hidden_dim))  # [B * W, T, D]
        if not return_attention_scores:
            return outputs
        weights = ops.mean(weights, axis=1)  # [B, W * T, S]
        return outputs, ops.reshape(weights, (rows, length, source_length))


def _keras_has_fused_kernel() -> bool:
    """Returns whether Keras computes attention with one fused kernel on this machine and backend.

    TensorFlow has none. On a TPU the kernel that Keras 3.15 calls applies a causal mask where there is none.
    """
    if keras.backend.backend() != "jax":
        return False
    return any(device.startswith("gpu") for device in keras.distribution.list_devices())


def _both(mask: Any, other: Any) -> Any:
    return other if mask is None else ops.logical_and(mask, other)


def merge_masks(owner: str, padding_mask: Any, attention_mask: Any) -> Any:
    """Returns one mask of four axes that broadcasts to `[B, H, T, S]`, or None.

    Args:
        owner: string. The class that is named in the error message.
        padding_mask: bool tensor `[B, S]` or None.
        attention_mask: bool tensor `[T, S]`, `[B, T, S]` or `[B, H, T, S]`, or None.
    """
    mask = None
    if attention_mask is not None:
        _checks.rank(owner, "attention_mask", attention_mask.shape, (2, 3, 4))
        mask = ops.cast(attention_mask, "bool")
        mask = mask[None, None] if len(mask.shape) == 2 else mask[:, None] if len(mask.shape) == 3 else mask
    if padding_mask is not None:
        _checks.rank(owner, "padding_mask", padding_mask.shape, (2,))
        mask = _both(mask, ops.cast(padding_mask, "bool")[:, None, None, :])  # [B, 1, 1, S]
    return mask


def kv_cache_mask(index: Any, length: Any, max_length: Any, beam_ancestry: Any = None) -> Any:
    """Returns which entries of a key/value cache `length` tokens may attend to from position `index` on.

    A cache of W beams has the entries of position p at p * W to p * W + W - 1.

    Args:
        index: int32 scalar. Position of the first token.
        length: int or int scalar. Number of tokens T.
        max_length: int or int scalar. Number of positions L.
        beam_ancestry: int32 tensor `[B, W, L]`, the beam that holds each position of each hypothesis; None for one
            beam. Defaults to `None`.

    Returns:
        Bools that broadcast to `[B, H, W * T, W * L]`.
    """
    positions = ops.arange(max_length, dtype="int32")
    past = positions[None, :] <= index + ops.arange(length, dtype="int32")[:, None]  # [T, L]
    if beam_ancestry is None:
        return past
    num_beams = beam_ancestry.shape[1]
    own = beam_ancestry[..., None] == ops.arange(num_beams, dtype="int32")  # [B, W, L, W]
    allowed = ops.logical_and(own[:, :, None], past[None, None, :, :, None])  # [B, W, T, L, W]
    return ops.reshape(allowed, (-1, 1, num_beams * length, max_length * num_beams))
