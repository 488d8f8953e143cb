"""MaskedLanguageModel: an encoder of tokens with a head over the vocabulary, at chosen positions or at all of them."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import segment_positions
from kerazoo.layers.products import Dense
from kerazoo.models.base_model import optional_input
from kerazoo.models.encoder_model import EncoderModel


@keras.saving.register_keras_serializable(package="kerazoo")
class MaskedLanguageModel(EncoderModel):
    """Encodes a text and predicts the token at each of some positions, as BERT is pretrained.

    The output of the encoder goes through a dense layer with GELU and a layer normalization; the logits are its product
    with the table of the embedding. Where the positions are given, only theirs are computed, which saves most of the
    work of a large vocabulary.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, such as
            `kerazoo.layers.TransformerEncoder`.
        source_embedding: a `kerazoo.layers.TokenEmbedding`.
        tie_output: boolean. Whether the logits use the table of the embedding. Defaults to `True`.
        output_bias: boolean. Whether these logits have a bias, as in BERT. Defaults to `False`.
        head_epsilon: float, above 0. Added to the variance by the normalization before the logits. Defaults to `1e-5`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"`, token ids `[B, S]`, and optionally `"masked_positions"`, integers `[B, M]`:
            the positions that are predicted. Where several sequences share a row, `"source_segments"` `[B, S]` and
            `"masked_positions_segments"` `[B, M]` number them from 1, and positions count from the start of each.
        training: boolean. Whether dropout is applied.

    Returns:
        Logits, float32 tensor `[B, M, V]`, or `[B, S, V]` of all positions.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.TransformerEncoder(num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32)
    model = kz.models.MaskedLanguageModel(encoder, kz.layers.TokenEmbedding(11, 16, positions="sinusoidal"))
    tokens = np.array([[5, 6, 7, 8]])
    assert model(tokens).shape == (1, 4, 11)
    assert model({"source": tokens, "masked_positions": np.array([[1, 3]])}).shape == (1, 2, 11)
    ```

    Reference:
        Devlin, Chang, Lee and Toutanova (2018), BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding, arXiv:1810.04805.
    """

    def __init__(
        self,
        encoder: Any,
        source_embedding: Any,
        *,
        tie_output: bool = True,
        output_bias: bool = False,
        head_epsilon: float = 1e-5,
        **kwargs: Any,
    ):
        super().__init__(encoder, source_embedding, **kwargs)
        if self.join is not None or self.source_pad_ids["source"] is None:
            raise ValueError(
                f"{type(self).__name__}: needs one encoder, of token ids; got source_embedding={source_embedding!r}."
            )
        self.vocabulary_size = _checks.positive_int(
            type(self).__name__, "vocabulary_size", source_embedding.vocabulary_size
        )
        dtype = {"dtype": self.dtype_policy}
        self.transform = Dense(source_embedding.hidden_dim, activation="gelu", name="transform", **dtype)
        epsilon = _checks.number(type(self).__name__, "head_epsilon", head_epsilon, low=0, low_open=True)
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, name="norm", **dtype)
        self.tie_output = bool(tie_output)
        self.head = None if self.tie_output else Dense(self.vocabulary_size, name="head", **dtype)
        self.output_bias = None
        if output_bias and self.tie_output:
            self.output_bias = self.add_weight(
                name="output_bias", shape=(self.vocabulary_size,), initializer="zeros", dtype="float32", autocast=False
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.encode(inputs, training=training)["sequence"]  # [B, S, D]
        positions = optional_input(inputs, "masked_positions")
        if positions is not None:
            segments = [optional_input(inputs, f"{name}_segments") for name in ("source", "masked_positions")]
            x = ops.matmul(ops.cast(_selection(positions, *segments, length=ops.shape(x)[1]), x.dtype), x)  # [B, M, D]
        x = self.norm(self.transform(x))
        if self.head is None:
            logits = self.source_embedding(x, reverse=True)
            return logits if self.output_bias is None else logits + ops.convert_to_tensor(self.output_bias)
        return ops.cast(self.head(x), "float32")


def _selection(positions, source_segments, segments, length):
    """Returns bools `[B, M, S]`, which of the positions of the source each of some positions is."""
    positions = ops.cast(positions, "int32")[:, :, None]
    if source_segments is None or segments is None:
        return ops.equal(positions, ops.arange(length, dtype="int32"))
    within = segment_positions(source_segments)[:, None, :]  # [B, 1, S]
    same = ops.equal(ops.cast(segments, "int32")[:, :, None], ops.cast(source_segments, "int32")[:, None, :])
    return ops.logical_and(same, ops.equal(positions, within))
