"""The Transformer encoder and its block."""

import keras
from keras import ops

from kerazoo.layers.transformer import Block, Stack


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerEncoderBlock(Block):
    """Lets the positions of a sequence look at each other and then works on each: one block of an encoder.

    With norm="pre" it computes `x + attention(norm(x))` and then `x + feed_forward(norm(x))`, so that the sum of a
    stack is normalised once at its end; with "post", as in the paper, `norm(x + attention(x))` and so on.

    Args:
        hidden_dim: Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: Heads of the attention, above 0.
        intermediate_dim: Width inside the feed-forward layer, above 0.
        dropout: Rate on the attention weights and on the output of each half, in [0, 1). Default 0.1.
        activation: Of the feed-forward layer: "relu", "gelu", "silu", "swiglu", "geglu". Default "relu".
        norm: Where the normalisation stands, "pre" or "post". Default "pre".
        normalization: "layer" (mean and variance) or "rms" (root mean square). Default "layer".
        num_key_value_heads: Heads of keys and values; divides `num_heads`. Default: as many as `num_heads`.
        positions: None, or "rotary" to rotate queries and keys by their position. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [B, S, D].
        padding_mask: Booleans [B, S], True = real. Default: all are real.
        attention_mask: Booleans [S, S], [B, S, S] or [B, H, S, S], True where the row may attend to the column.
        positions: Where each input stands, integers [B, S], for the rotation. Default: one behind the other.
        return_attention_scores: Also return the attention weights. Default False.
        training: Whether dropout acts.

    Returns:
        Floats [B, S, D] in the compute dtype; with `return_attention_scores`, a pair with float32 [B, H, S, S].

    Masking:
        Padding is never attended to; its own outputs are of no use.

    Raises:
        ValueError: for an unknown option, sizes that do not divide, or inputs that are not `hidden_dim` wide.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    block = kz.layers.TransformerEncoderBlock(hidden_dim=12, num_heads=3, intermediate_dim=20)
    assert block(np.ones((2, 5, 12), "float32")).shape == (2, 5, 12)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762;
        Xiong et al. (2020), On Layer Normalization in the Transformer Architecture, arXiv:2002.04745;
        Zhang and Sennrich (2019), Root Mean Square Layer Normalization, arXiv:1910.07467.
    """

    def build(self, inputs_shape):
        self._build_sublayers(inputs_shape)

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        positions=None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ):
        def attend(x):
            y = self.attention(
                x,
                padding_mask=padding_mask,
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
class TransformerEncoder(Stack):
    """Turns a sequence of vectors into one in which every position knows all the others.

    A stack of `TransformerEncoderBlock`s; with norm="pre" its sum is normalised at the end. It adds no positions of its
    own unless positions="rotary": give it the output of a `TokenEmbedding` that has them.

    Args:
        num_layers: Number of blocks, above 0.
        hidden_dim: Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: Heads of the attention, above 0.
        intermediate_dim: Width inside the feed-forward layers, above 0.
        dropout: Rate on the attention weights and on the output of each half block, in [0, 1). Default 0.1.
        activation: Of the feed-forward layers: "relu", "gelu", "silu", "swiglu", "geglu". Default "relu".
        norm: Where the normalisation stands, "pre" or "post". Default "pre".
        normalization: "layer" (mean and variance) or "rms" (root mean square). Default "layer".
        num_key_value_heads: Heads of keys and values; divides `num_heads`. Default: as many as `num_heads`.
        positions: None, or "rotary" to rotate queries and keys by their position. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [B, S, D].
        padding_mask: Booleans [B, S], True = real. Default: all are real.
        attention_mask: Booleans [S, S] or [B, S, S], True where the row may attend to the column. Default: all may.
        positions: Where each input stands, integers [B, S], for the rotation. Default: one behind the other.
        return_attention_scores: Also return the attention weights. Default False.
        training: Whether dropout acts.

    Returns:
        {"sequence": floats [B, S, D] in the compute dtype, "mask": booleans [B, S]}; with `return_attention_scores`, a
        pair with the weights of all blocks, float32 [B, num_layers, H, S, S].

    Masking:
        Padding is never attended to, so it changes no real position; its own outputs are of no use.

    Raises:
        ValueError: for an unknown option, sizes that do not divide, or inputs that are not `hidden_dim` wide.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.TransformerEncoder(num_layers=2, hidden_dim=12, num_heads=3, intermediate_dim=20)
    encoded = encoder(np.ones((2, 5, 12), "float32"))
    assert encoded["sequence"].shape == (2, 5, 12) and encoded["mask"].shape == (2, 5)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(
        self,
        num_layers: int,
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
        options = {
            "hidden_dim": hidden_dim,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "activation": activation,
            "norm": norm,
            "normalization": normalization,
            "num_key_value_heads": num_key_value_heads,
            "positions": positions,
        }
        super().__init__(TransformerEncoderBlock, num_layers, options, **kwargs)

    def build(self, inputs_shape):
        self._build_final_norm(inputs_shape)
        for block in self.blocks:
            block.build(inputs_shape)

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        positions=None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ):
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(inputs)[:2], dtype="bool")
        x, scores = inputs, []
        for block in self.blocks:
            x, weights = block(
                x,
                padding_mask=padding_mask,
                attention_mask=attention_mask,
                positions=positions,
                return_attention_scores=True,
                training=training,
            )
            if return_attention_scores:
                scores.append(weights)
        encoded = {"sequence": self._finish(x), "mask": ops.cast(padding_mask, "bool")}
        return (encoded, ops.stack(scores, axis=1)) if return_attention_scores else encoded
