"""One block of a Transformer decoder, for training on whole sequences and for writing token by token."""

import keras
from keras import ops

from kerazoo.layers.cross_attention import CrossAttention
from kerazoo.layers.transformer import Block, normalization_layer


def check_encoded(owner, cross_attention, encoded):
    """Refuses a decoder with cross-attention and no source, or the other way round."""
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
class TransformerDecoderBlock(Block):
    """Looks back at what was written, then at the encoded source, then works on each position: one decoder block.

    The three parts are wrapped as in `TransformerEncoderBlock`. Self-attention is causal. For writing token by token,
    `start` makes an empty key/value cache, `memory` the keys and values of the source, and `step_many` reads further
    tokens; it gives what the full call gives.

    Args:
        hidden_dim: Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: Heads of both attentions, above 0.
        intermediate_dim: Width inside the feed-forward layer, above 0.
        dropout: Rate on the attention weights and on the output of each part, in [0, 1). Default 0.1.
        activation: Of the feed-forward layer: "relu", "gelu", "silu", "swiglu", "geglu". Default "relu".
        norm: Where the normalisation stands, "pre" or "post". Default "pre".
        normalization: "layer" (mean and variance) or "rms" (root mean square). Default "layer".
        num_key_value_heads: Heads of keys and values; divides `num_heads`. Default: as many as `num_heads`.
        cross_attention: Whether there is a source to look at. Default True.
        positions: None, or "rotary" to rotate queries and keys of self-attention by their position. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [B, T, D].
        encoded: {"sequence": [B, S, any width], "mask": [B, S]} of an encoder; None without cross-attention.
        padding_mask: Booleans [B, T], True where the target is real; padding on the right needs none.
        attention_mask: Booleans [T, T] or [B, T, T], True where the row may attend to the column, if it stands no
            earlier. Default: all may.
        cross_attention_mask: Booleans [T, S] or [B, T, S], True where the target may attend to the source. Default:
            all may.
        positions: Where each input stands, integers [B, T], for the rotation. Default: one behind the other.
        return_attention_scores: Also return the attention weights. Default False.
        training: Whether dropout acts.

    Returns:
        Floats [B, T, D] in the compute dtype; with `return_attention_scores`, a pair with {"self": float32
        [B, H, T, T], "cross": float32 [B, H, T, S]}, the second only with cross-attention.

    Masking:
        A position sees itself and what came before; padding of the source is never attended to.

    Raises:
        ValueError: for an unknown option, sizes that do not divide, inputs that are not `hidden_dim` wide, or when
            `encoded` is missing or not expected.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    block = kz.layers.TransformerDecoderBlock(hidden_dim=12, num_heads=3, intermediate_dim=20)
    encoded = {"sequence": np.ones((2, 7, 10), "float32"), "mask": np.ones((2, 7), bool)}
    assert block(np.ones((2, 5, 12), "float32"), encoded=encoded).shape == (2, 5, 12)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
    """

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
        cross_attention: bool = True,
        positions: str | None = None,
        **kwargs,
    ):
        super().__init__(
            hidden_dim,
            num_heads,
            intermediate_dim,
            dropout,
            activation,
            norm,
            normalization,
            num_key_value_heads,
            positions,
            **kwargs,
        )
        self.cross_attention = bool(cross_attention)
        if self.cross_attention:
            self.cross = CrossAttention(name="cross_attention", **self._attention_options())
            self.cross_norm = normalization_layer(normalization, "cross_attention_norm", self.dtype_policy)

    def build(self, inputs_shape, encoded_shape=None):
        check_encoded(type(self).__name__, self.cross_attention, encoded_shape)
        self._build_sublayers(inputs_shape)
        if self.cross_attention:
            self.cross.build(inputs_shape, encoded_shape["sequence"])
            self.cross_norm.build(inputs_shape)

    def call(
        self,
        inputs,
        encoded=None,
        padding_mask=None,
        attention_mask=None,
        cross_attention_mask=None,
        positions=None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ):
        check_encoded(type(self).__name__, self.cross_attention, encoded)
        options = {"return_attention_scores": True, "training": training}
        scores = {}
        x, scores["self"] = self._residual(
            inputs,
            self.attention_norm,
            lambda h: self.attention(
                h, padding_mask, attention_mask, use_causal_mask=True, positions=positions, **options
            ),
            training,
        )
        if self.cross_attention:
            x, scores["cross"] = self._residual(
                x,
                self.cross_norm,
                lambda h: self.cross(h, encoded["sequence"], encoded["mask"], cross_attention_mask, **options),
                training,
            )
        x, _ = self._residual(x, self.feed_forward_norm, lambda h: (self.feed_forward(h), None), training)
        return (x, scores) if return_attention_scores else x

    def start(self, batch_size, max_length, num_beams=1):
        """Returns an empty key/value cache for `num_beams` hypotheses of each source and `max_length` tokens."""
        return self.attention.start(batch_size, max_length, num_beams)

    def memory(self, encoded):
        """Keys and values of the source, computed once."""
        return self.cross.memory(encoded["sequence"])

    def step_many(self, inputs, kv_cache, index, mask, memory=None, source_mask=None):
        """Reads T tokens, inputs [B * W, T, D], see `Attention.step_many` and `CrossAttention.step_many`.

        Returns the outputs [B * W, T, D], the cache, and the attention to the source [B * W, T, S] or None.
        """
        x, attention = ops.cast(inputs, self.compute_dtype), None
        x, kv_cache = self._residual(
            x, self.attention_norm, lambda h: self.attention.step_many(h, kv_cache, index, mask)
        )
        if self.cross_attention:
            x, attention = self._residual(x, self.cross_norm, lambda h: self.cross.step_many(h, memory, source_mask))
        x, _ = self._residual(x, self.feed_forward_norm, lambda h: (self.feed_forward(h), None))
        return x, kv_cache, attention

    def get_config(self):
        return {**super().get_config(), "cross_attention": self.cross_attention}
