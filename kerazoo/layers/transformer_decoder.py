"""The Transformer decoder and its block, for whole sequences and for decoding token by token."""

from typing import Any

import keras
from keras import ops

from kerazoo.layers.attention import CrossAttention, kv_cache_mask
from kerazoo.layers.masking import first_mask
from kerazoo.layers.transformer_block import TransformerBlock, TransformerStack


def check_encoded(owner: str, cross_attention: bool, encoded: Any) -> None:
    """Raises a ValueError if there is cross-attention without an encoded source, or the reverse.

    Args:
        owner: string. The class that is named in the error message.
        cross_attention: bool. Whether the decoder has cross-attention.
        encoded: dict of an encoder, its shapes, or None.
    """
    if cross_attention and encoded is None:
        raise ValueError(
            f"{owner}: cross-attention needs `encoded`; got encoded=None. Pass what an encoder returns, or build the "
            f"decoder with cross_attention=False."
        )
    if not cross_attention and encoded is not None:
        raise ValueError(
            f"{owner}: `encoded` must be None without cross-attention; got {type(encoded).__name__}. Build the "
            f"decoder with cross_attention=True."
        )


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerDecoderBlock(TransformerBlock):
    """Applies causal self-attention, cross-attention to an encoded source, and a feed-forward layer: one decoder block.

    The three sublayers have residual connections and normalizations as in `TransformerEncoderBlock`. For decoding token
    by token, `start` returns an empty key/value cache, `memory` the keys and values of the source, and `step_many`
    decodes further tokens. It computes what the full call computes.

    Args:
        hidden_dim: int, above 0. Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: int, above 0. Heads of both attentions.
        intermediate_dim: int, above 0. Width inside the feed-forward layer.
        dropout: float in `[0, 1)`. Dropout rate of the attention weights and of the output of each sublayer. Defaults
            to `0.1`.
        activation: Name or callable of the feed-forward layer.
            `"swiglu"` and `"geglu"` are gated. Defaults to `"relu"`.
        norm: `"pre"` or `"post"`. Position of the normalizations. Defaults to `"pre"`.
        normalization: `"layer"` (mean and variance) or `"rms"` (root mean square). Defaults to `"layer"`.
        epsilon: float, above 0. Added to the variance or the mean square. Defaults to `1e-5`.
        num_key_value_heads: int, above 0, a divisor of `num_heads`, or None for `num_heads`. Heads of the keys and
            values. Defaults to `None`.
        head_dim: int, above 0, or None for hidden_dim / num_heads. Width of each head. Defaults to `None`.
        cross_attention: bool. Whether to attend to an encoded source. Defaults to `True`.
        positions: None or `"rotary"`, which rotates queries and keys of self-attention by their position. Defaults to
            `None`.
        kernel_initializer: Initializer of all kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of all biases. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`.
        encoded: dict of an encoder with "sequence" `[B, S, any width]` and "mask" `[B, S]`; None without
            cross-attention. Defaults to `None`.
        padding_mask: bool tensor `[B, T]`, True = valid position of `inputs`; padding on the right needs none. Defaults
            to `None`.
        attention_mask: bool tensor `[T, T]`, `[B, T, T]` or `[B, H, T, T]`, True where the row may attend to the
            column, if that is not later. Defaults to `None`.
        cross_attention_mask: bool tensor `[T, S]`, `[B, T, S]` or `[B, H, T, S]`, True where the position may attend
            to the source. Defaults to `None`.
        positions: int tensor `[B, T]`, the position of each input, for the rotation, instead of consecutive ones.
            Defaults to `None`.
        return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.
        inputs_mask: The same, where Keras fills it in under this name.

    Returns:
        A float tensor `[B, T, D]` in the compute dtype. With `return_attention_scores`, a pair with a dict of the
        weights: "self", float32 `[B, H, T, T]`, and with cross-attention "cross", float32 `[B, H, T, S]`.

    Masking:
        A position attends to itself and to earlier ones. Padding of the source is never attended to.

    Raises:
        ValueError: if an option is unknown, sizes do not divide, inputs are not `hidden_dim` wide, or `encoded` is
            missing or not expected.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    block = kz.layers.TransformerDecoderBlock(hidden_dim=12, num_heads=3, intermediate_dim=20)
    encoded = {"sequence": np.ones((2, 7, 10), "float32"), "mask": np.ones((2, 7), bool)}
    assert block(np.ones((2, 5, 12), "float32"), encoded=encoded).shape == (2, 5, 12)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762.
    """

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
        cross_attention: bool = True,
        positions: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(
            hidden_dim,
            num_heads,
            intermediate_dim=intermediate_dim,
            dropout=dropout,
            activation=activation,
            norm=norm,
            normalization=normalization,
            epsilon=epsilon,
            num_key_value_heads=num_key_value_heads,
            head_dim=head_dim,
            positions=positions,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )
        self.cross_attention = bool(cross_attention)
        if self.cross_attention:
            self.cross = CrossAttention(name="cross_attention", **self._attention_options())
            self.cross_norm = self._normalization("cross_attention_norm")

    def build(self, inputs_shape: Any, encoded_shape: Any = None) -> None:
        check_encoded(type(self).__name__, self.cross_attention, encoded_shape)
        self._build_sublayers(inputs_shape)
        if self.cross_attention:
            self.cross.build(inputs_shape, encoded_shape["sequence"])
            self.cross_norm.build(inputs_shape)

    def call(
        self,
        inputs: Any,
        encoded: Any = None,
        padding_mask: Any = None,
        attention_mask: Any = None,
        cross_attention_mask: Any = None,
        positions: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        check_encoded(type(self).__name__, self.cross_attention, encoded)
        options = {"return_attention_scores": return_attention_scores, "training": training}
        valid, scores = first_mask(padding_mask, mask, inputs_mask), {}

        def attend(x):
            masks = {"padding_mask": valid, "attention_mask": attention_mask, "use_causal_mask": True}
            y = self.attention(x, positions=positions, **masks, **options)
            return y if return_attention_scores else (y, None)

        def attend_to_source(x):
            masks = {"padding_mask": encoded["mask"], "attention_mask": cross_attention_mask}
            y = self.cross(x, encoded["sequence"], **masks, **options)
            return y if return_attention_scores else (y, None)

        x, scores["self"] = self._residual(inputs, self.attention_norm, attend, training)
        if self.cross_attention:
            x, scores["cross"] = self._residual(x, self.cross_norm, attend_to_source, training)
        x, _ = self._residual(x, self.feed_forward_norm, lambda h: (self.feed_forward(h), None), training)
        return (x, scores) if return_attention_scores else x

    def start(self, batch_size: Any, max_length: int, num_beams: int = 1) -> dict[str, Any]:
        """Returns an empty key/value cache, see `Attention.start`.

        Args:
            batch_size: int or int scalar. Number of sources.
            max_length: int. Maximum number of positions.
            num_beams: int. Number of hypotheses of each source. Defaults to `1`.
        """
        return self.attention.start(batch_size, max_length, num_beams)

    def memory(self, encoded: dict[str, Any]) -> dict[str, Any]:
        """Returns the keys and values of the encoded source, see `CrossAttention.memory`.

        Args:
            encoded: dict of an encoder.
        """
        return self.cross.memory(encoded["sequence"])

    def step_many(
        self,
        inputs: Any,
        kv_cache: dict[str, Any],
        index: Any,
        mask: Any,
        memory: Any = None,
        source_mask: Any = None,
        return_attention_scores: bool = False,
    ) -> tuple[Any, Any, Any]:
        """Decodes T tokens, see `Attention.step_many` and `CrossAttention.step_many`.

        Args:
            inputs: float tensor `[B * W, T, D]`.
            kv_cache: dict, the result of `start` or of the step before.
            index: int scalar, the first position.
            mask: bool tensor, the result of `kv_cache_mask`.
            memory: dict, the result of `memory`; None without cross-attention. Defaults to `None`.
            source_mask: bool tensor `[B, S]`, True = valid position of the source. Defaults to `None`.
            return_attention_scores: bool. Whether to return the attention to the source too. Defaults to `False`.

        Returns:
            The outputs `[B * W, T, D]`, the cache, and the attention to the source, float32 `[B * W, T, S]` or None.
        """
        x, attention = ops.cast(inputs, self.compute_dtype), None

        def attend_to_source(h):
            y = self.cross.step_many(h, memory, source_mask, return_attention_scores)
            return y if return_attention_scores else (y, None)

        x, kv_cache = self._residual(
            x, self.attention_norm, lambda h: self.attention.step_many(h, kv_cache, index, mask)
        )
        if self.cross_attention:
            x, attention = self._residual(x, self.cross_norm, attend_to_source)
        x, _ = self._residual(x, self.feed_forward_norm, lambda h: (self.feed_forward(h), None))
        return x, kv_cache, attention

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cross_attention": self.cross_attention}


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerDecoder(TransformerStack):
    """Decodes a sequence by a stack of `TransformerDecoderBlock`s, with or without an encoded source.

    With norm="pre" the output of the stack is normalized. The decoder adds no positions unless positions="rotary". With
    cross_attention=False it is the body of a language model. `start` and `step` decode token by token and compute what
    `call` computes.

    Args:
        num_layers: int, above 0. Number of blocks.
        hidden_dim: int, above 0. Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: int, above 0. Heads of the attentions.
        intermediate_dim: int, above 0. Width inside the feed-forward layers.
        dropout: float in `[0, 1)`. Dropout rate of the attention weights and of the output of each sublayer. Defaults
            to `0.1`.
        activation: Name or callable of the feed-forward layer, or a list with one for each block.
            `"swiglu"` and `"geglu"` are gated. Defaults to `"relu"`.
        norm: `"pre"` or `"post"`. Position of the normalizations. Defaults to `"pre"`.
        normalization: `"layer"` (mean and variance) or `"rms"` (root mean square). Defaults to `"layer"`.
        epsilon: float, above 0. Added to the variance or the mean square. Defaults to `1e-5`.
        num_key_value_heads: int, above 0, a divisor of `num_heads`, or None for `num_heads`. Heads of the keys and
            values. Defaults to `None`.
        head_dim: int, above 0, or None for hidden_dim / num_heads. Width of each head. Defaults to `None`.
        cross_attention: bool. Whether to attend to an encoded source. Defaults to `True`.
        positions: None or `"rotary"`, which rotates queries and keys of self-attention by their position. Defaults to
            `None`.
        kernel_initializer: Initializer of all kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of all biases. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`, embedded and shifted: position t must not contain its own target.
        encoded: dict of an encoder with "sequence" `[B, S, any width]` and "mask" `[B, S]`; None without
            cross-attention. Defaults to `None`.
        padding_mask: bool tensor `[B, T]`, True = valid position of `inputs`; padding on the right needs none. Defaults
            to `None`.
        attention_mask: bool tensor `[T, T]`, `[B, T, T]` or `[B, H, T, T]`, True where the row may attend to the
            column, if that is not later. Defaults to `None`.
        cross_attention_mask: bool tensor `[T, S]`, `[B, T, S]` or `[B, H, T, S]`, True where the position may attend
            to the source. Defaults to `None`.
        positions: int tensor `[B, T]`, the position of each input, for the rotation, instead of consecutive ones.
            Defaults to `None`.
        return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.
        inputs_mask: The same, where Keras fills it in under this name.

    Returns:
        A float tensor `[B, T, D]` in the compute dtype. With `return_attention_scores`, a pair with a dict of the
        weights of all blocks: "self", float32 `[B, num_layers, H, T, T]`, and with cross-attention "cross", float32
        `[B, num_layers, H, T, S]`, which aligns each position to the source.

    Masking:
        A position attends to itself and to earlier ones. Padding of the source is never attended to.

    Raises:
        ValueError: if an option is unknown, sizes do not divide, inputs are not `hidden_dim` wide, or `encoded` is
            missing or not expected.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    decoder = kz.layers.TransformerDecoder(2, 12, num_heads=3, intermediate_dim=20, cross_attention=False)
    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")
    whole = decoder(x)
    cache = decoder.start(batch_size=2, max_length=5)
    for t in range(5):
        y, cache = decoder.step(x[:, t], cache, t)
    assert np.allclose(y, whole[:, 4], atol=1e-5)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762.
    """

    # The members of the decoding protocol, see `EncoderDecoder`.
    supports_parallel_decoding = True
    prefers_jit = True

    def __init__(
        self,
        num_layers: int,
        hidden_dim: int,
        *,
        num_heads: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        activation: Any = "relu",
        norm: str = "pre",
        normalization: str = "layer",
        epsilon: float = 1e-5,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        cross_attention: bool = True,
        positions: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        options = {
            "hidden_dim": hidden_dim,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "activation": activation,
            "norm": norm,
            "normalization": normalization,
            "epsilon": epsilon,
            "num_key_value_heads": num_key_value_heads,
            "head_dim": head_dim,
            "cross_attention": cross_attention,
            "positions": positions,
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
        }
        super().__init__(TransformerDecoderBlock, num_layers, options, **kwargs)
        self.cross_attention = bool(cross_attention)

    def build(self, inputs_shape: Any, encoded_shape: Any = None) -> None:
        check_encoded("TransformerDecoder", self.cross_attention, encoded_shape)
        self._build_final_norm(inputs_shape)
        for block in self.blocks:
            block.build(inputs_shape, encoded_shape)

    def call(
        self,
        inputs: Any,
        encoded: Any = None,
        padding_mask: Any = None,
        attention_mask: Any = None,
        cross_attention_mask: Any = None,
        positions: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        check_encoded("TransformerDecoder", self.cross_attention, encoded)
        x, scores, valid = inputs, [], first_mask(padding_mask, mask, inputs_mask)
        for block in self.blocks:
            x = block(
                x,
                encoded=encoded,
                padding_mask=valid,
                attention_mask=attention_mask,
                cross_attention_mask=cross_attention_mask,
                positions=positions,
                return_attention_scores=return_attention_scores,
                training=training,
            )
            if return_attention_scores:
                x, weights = x
                scores.append(weights)
        x = self._normalize(x)
        if not return_attention_scores:
            return x
        return x, {kind: ops.stack([weights[kind] for weights in scores], axis=1) for kind in scores[0]}

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache before the first position.

        Args:
            batch_size: int or int scalar. Number of sources.
            max_length: int. Maximum number of tokens.
            encoded: dict of an encoder; None without cross-attention. Defaults to `None`.
            num_beams: int. Number of hypotheses of each source. Defaults to `1`.

        Returns:
            A dict with "state", `()`; "kv_cache", empty keys and values of each block; and "memory", the mask of the
            source and its keys and values for each block, `{}` without cross-attention. Steps change "kv_cache" only.
        """
        check_encoded("TransformerDecoder", self.cross_attention, encoded)
        kv_cache = tuple(block.start(batch_size, max_length, num_beams) for block in self.blocks)
        memory = {}
        if self.cross_attention:
            memory = {"mask": encoded["mask"], "blocks": tuple(block.memory(encoded) for block in self.blocks)}
        return {"state": (), "kv_cache": kv_cache, "memory": memory}

    def step_many(self, inputs: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the outputs `[B * W, T, D]` of T positions, and the cache after them.

        With cross-attention the cache then holds "attention", float32 `[B * W, T, S]`: the attention to the source,
        averaged over the heads of the last block but one, which aligns best (Garg et al., 2019, arXiv:1909.02074).

        Args:
            inputs: float tensor `[B * W, T, D]`; row b * W + w is hypothesis w of source b.
            cache: dict, the result of `start` or of the step before. With more than one beam it holds "beam_ancestry",
                int32 `[B, W, L]`: the beam that holds each position of each hypothesis.
            index: int scalar, the first position.
        """
        memory, kv_cache, attention = cache["memory"], [], None
        beam_ancestry, length = cache.get("beam_ancestry"), ops.shape(inputs)[1]
        num_beams = 1 if beam_ancestry is None else beam_ancestry.shape[1]
        positions = ops.shape(cache["kv_cache"][0]["key"])[1] // num_beams
        mask = kv_cache_mask(ops.cast(index, "int32"), length, positions, beam_ancestry)
        memories = memory["blocks"] if memory else (None,) * self.num_layers
        source_mask = memory["mask"] if memory else None
        aligned = max(0, self.num_layers - 2)
        x = inputs
        for i, (block, block_cache, block_memory) in enumerate(zip(self.blocks, cache["kv_cache"], memories)):
            x, block_cache, weights = block.step_many(
                x, block_cache, index, mask, block_memory, source_mask, return_attention_scores=i == aligned
            )
            kv_cache.append(block_cache)
            attention = weights if i == aligned else attention
        cache = {**cache, "kv_cache": tuple(kv_cache)}
        return self._normalize(x), {**cache, "attention": attention} if memory else cache

    def step(self, inputs: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the outputs `[B * W, D]` of one position, and the cache after it, with "attention" `[B * W, S]`.

        Args:
            inputs: float tensor `[B * W, D]`.
            cache: dict, the result of `start` or of the step before.
            index: int scalar, the position.
        """
        outputs, cache = self.step_many(inputs[:, None], cache, index)
        if "attention" in cache:
            cache = {**cache, "attention": ops.squeeze(cache["attention"], axis=1)}
        return ops.squeeze(outputs, axis=1), cache
