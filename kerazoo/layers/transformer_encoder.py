"""The Transformer encoder and its block."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.masking import causal_mask, encoded_mask, first_mask
from kerazoo.layers.positions import spaced_positions
from kerazoo.layers.transformer_block import TransformerBlock, TransformerStack


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerEncoderBlock(TransformerBlock):
    """Applies self-attention and a feed-forward layer with residual connections: one block of an encoder.

    With norm="pre" it computes `x + attention(norm(x))` and then `x + feed_forward(norm(x))`, so that the output of a
    stack is normalized once at its end; with "post", as in the paper, `norm(x + attention(x))` and so on.

    Args:
        hidden_dim: int, above 0. Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: int, above 0. Heads of the attention.
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
        positions: None or `"rotary"`, which rotates queries and keys by their position. Defaults to
            `None`.
        kernel_initializer: Initializer of all kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of all biases. Defaults to `"zeros"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, S, D]`.
        padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        attention_mask: bool tensor `[S, S]`, `[B, S, S]` or `[B, H, S, S]`, True where the row may attend to the
            column. Defaults to `None`.
        positions: int tensor `[B, S]`, the position of each input, for the rotation, instead of consecutive ones.
            Defaults to `None`.
        return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.
        inputs_mask: The same, where Keras fills it in under this name.

    Returns:
        A float tensor `[B, S, D]` in the compute dtype. With `return_attention_scores`, a pair with the weights,
        float32 `[B, H, S, S]`.

    Masking:
        Padding is never attended to. Its own outputs are meaningless.

    Raises:
        ValueError: if an option is unknown, sizes do not divide, or inputs are not `hidden_dim` wide.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    block = kz.layers.TransformerEncoderBlock(hidden_dim=12, num_heads=3, intermediate_dim=20)
    assert block(np.ones((2, 5, 12), "float32")).shape == (2, 5, 12)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762;
        Xiong et al., 2020, On Layer Normalization in the Transformer Architecture, arXiv:2002.04745;
        Zhang and Sennrich, 2019, Root Mean Square Layer Normalization, arXiv:1910.07467.
    """

    def build(self, inputs_shape: Any) -> None:
        self._build_sublayers(inputs_shape)

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        positions: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        valid = first_mask(padding_mask, mask, inputs_mask)

        def attend(x):
            y = self.attention(
                x,
                padding_mask=valid,
                attention_mask=attention_mask,
                positions=positions,
                return_attention_scores=return_attention_scores,
                training=training,
            )
            return y if return_attention_scores else (y, None)

        x, scores = self._residual(inputs, self.attention_norm, attend, training)
        x, _ = self._residual(x, self.feed_forward_norm, lambda h: (self.feed_forward(h), None), training)
        return (x, scores) if return_attention_scores else x


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerEncoder(TransformerStack):
    """Encodes a sequence of vectors by a stack of `TransformerEncoderBlock`s.

    With norm="pre" the output of the stack is normalized. The encoder adds no positions unless positions="rotary": its
    inputs should have them, as the output of a `TokenEmbedding` with positions has.

    Args:
        num_layers: int, above 0. Number of blocks.
        hidden_dim: int, above 0. Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: int, above 0. Heads of the attention.
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
        positions: None or `"rotary"`, which rotates queries and keys by their position. Defaults to
            `None`.
        kernel_initializer: Initializer of all kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of all biases. Defaults to `"zeros"`.
        causal: bool. Whether each position attends to itself and to earlier ones only, as in a decoder. Defaults to
            `False`.
        share_layers: bool. Whether all blocks are one, as in a Universal Transformer, which then has one `activation`.
            Defaults to `False`.
        max_position_gap: float, at least 1. In training the distance of neighbouring positions is random, uniform
            between 1 and this number, else the mean of both, so that examples are harder to learn by heart and the
            order stays. Needs `positions="rotary"` if it is above 1. Defaults to `1`.
        seed: int or None. Seed of these distances. Defaults to `None`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, S, D]`.
        padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        attention_mask: bool tensor `[S, S]`, `[B, S, S]` or `[B, H, S, S]`, True where the row may attend to the
            column. Defaults to `None`.
        positions: int tensor `[B, S]`, the position of each input, for the rotation, instead of consecutive ones.
            Defaults to `None`.
        return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.
        inputs_mask: The same, where Keras fills it in under this name.

    Returns:
        A dict with "sequence", float `[B, S, D]` in the compute dtype, and "mask", bool `[B, S]`; with
        `return_dict=False` the sequence alone. With `return_attention_scores`, a pair with the weights of all blocks,
        float32 `[B, num_layers, H, S, S]`.

    Masking:
        Padding is never attended to, so it changes no valid position. Its own outputs are meaningless.

    Raises:
        ValueError: if an option is unknown, sizes do not divide, inputs are not `hidden_dim` wide, or a
            `max_position_gap` is below 1 or meets positions that are not rotary.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.TransformerEncoder(num_layers=2, hidden_dim=12, num_heads=3, intermediate_dim=20)
    encoded = encoder(np.ones((2, 5, 12), "float32"))
    assert encoded["sequence"].shape == (2, 5, 12) and encoded["mask"].shape == (2, 5)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762;
        Dehghani et al., 2018, Universal Transformers, arXiv:1807.03819 (shared layers);
        Ruoss et al., 2023, Randomized Positional Encodings Boost Length Generalization of Transformers,
        arXiv:2305.16843 (random distances of positions).
    """

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
        positions: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        causal: bool = False,
        share_layers: bool = False,
        max_position_gap: float = 1,
        seed: int | None = None,
        return_dict: bool = True,
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
            "positions": positions,
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
        }
        super().__init__(TransformerEncoderBlock, 1 if share_layers else num_layers, options, **kwargs)
        self.num_layers = _checks.num_layers("TransformerEncoder", "num_layers", num_layers)
        self.causal = bool(causal)
        self.share_layers = bool(share_layers)
        self.max_position_gap = _checks.number("TransformerEncoder", "max_position_gap", max_position_gap, low=1)
        if max_position_gap > 1 and positions != "rotary":
            raise ValueError(
                "TransformerEncoder: `max_position_gap` above 1 needs positions='rotary'; got "
                f"max_position_gap={max_position_gap} with positions={positions!r}."
            )
        self.seed = seed
        # A generator is a variable of a checkpoint, which an encoder of consecutive positions does not need.
        self.seed_generator = keras.random.SeedGenerator(seed) if max_position_gap > 1 else None
        self.return_dict = bool(return_dict)

    def build(self, inputs_shape: Any) -> None:
        self._build_final_norm(inputs_shape)
        for block in self.blocks:
            block.build(inputs_shape)

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        positions: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        valid = first_mask(padding_mask, mask, inputs_mask)
        if valid is None:
            valid = ops.ones(ops.shape(inputs)[:2], dtype="bool")  # [B, S]
        if self.causal:
            past = causal_mask(ops.shape(inputs)[1])  # [S, S]
            attention_mask = past if attention_mask is None else ops.logical_and(attention_mask, past)
        if self.max_position_gap > 1:
            if positions is None:
                positions = ops.cumsum(ops.ones(ops.shape(inputs)[:2], dtype="int32"), axis=1) - 1  # [B, S]
            positions = spaced_positions(positions, self.max_position_gap, self.seed_generator if training else None)
        x, scores = inputs, []
        for block in self.blocks * self.num_layers if self.share_layers else self.blocks:
            x = block(
                x,
                padding_mask=valid,
                attention_mask=attention_mask,
                positions=positions,
                return_attention_scores=return_attention_scores,
                training=training,
            )
            if return_attention_scores:
                x, weights = x
                scores.append(weights)
        encoded = self._normalize(x)
        if self.return_dict:
            encoded = {"sequence": encoded, "mask": ops.cast(valid, "bool")}
        return (encoded, ops.stack(scores, axis=1)) if return_attention_scores else encoded

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return encoded_mask(previous_mask) if self.return_dict else previous_mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "causal": self.causal,
            "share_layers": self.share_layers,
            "max_position_gap": self.max_position_gap,
            "seed": self.seed,
            "return_dict": self.return_dict,
        }
