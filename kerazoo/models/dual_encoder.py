"""DualEncoder: two sources as two vectors, whose cosine is how similar the sources are."""

import math
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.pooling import POOLINGS, pool
from kerazoo.models.encoder_model import EncoderModel

SOURCES = ("source", "source_2")
MIN_TEMPERATURE = 0.01  # below which a learned temperature does not fall, so that logits stay finite in half precision


@keras.saving.register_keras_serializable(package="kerazoo")
class DualEncoder(EncoderModel):
    """Encodes two sources into vectors of one space, whose cosine is the similarity of the sources.

    Each source is encoded, pooled to one vector, projected if `projection_dim` is given, and normalized. The two
    sources never meet before the cosine, so the vectors of a collection are computed once, and a query is compared with
    all of them by one matrix product. One encoder serves both sources, or each has its own.

    The output is both vectors side by side, each of the length `temperature ** -0.5`: the dot product of a first and a
    second vector is their cosine over the temperature, which is the logit of `kerazoo.training.InBatchCrossentropy`.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, which both sources share, or a list of
            two, one for each source.
        source_embedding: a layer that turns token ids into vectors, or a list of two. None where the sources are
            vectors or images. Defaults to `None`.
        pooling: `"mean"`, `"max"`, `"last"` or `"first"`. How the valid positions become one vector. Defaults to
            `"mean"`.
        projection_dim: integer, above 0. Width of a dense layer after the pooling, without a bias; each encoder of its
            own has its own. Needed where two encoders have outputs of different widths. Defaults to `None`, no layer.
        dropout: float, in [0, 1). Rate of the pooled vectors. Defaults to `0.0`.
        temperature: float, at least 0.01. What cosines are divided by. Defaults to `0.05`.
        trainable_temperature: boolean. Whether the temperature is a weight, which starts from `temperature`. Defaults
            to `False`.
        input_shape: tuple of integers. Shape of one source without the batch, where it is not token ids, or a list of
            two. Defaults to that of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"` and `"source_2"`.
        training: boolean. Whether dropout is applied.

    Returns:
        Float32 tensor `[B, 2 * D]`: the vector of the first source, then that of the second.

    Raises:
        ValueError: if there are more than two encoders, or an argument is out of its range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.DualEncoder(kz.layers.BagEncoder(7), kz.layers.TokenEmbedding(11, 7))
    texts = {"source": np.array([[3, 4, 0]]), "source_2": np.array([[4, 3, 3]])}
    assert model(texts).shape == (1, 14) and model.embed(texts["source"]).shape == (1, 7)
    ```

    Reference:
        Reimers and Gurevych (2019), Sentence-BERT, arXiv:1908.10084; Karpukhin et al. (2020), Dense Passage Retrieval,
        arXiv:2004.04906; Radford et al. (2021), arXiv:2103.00020 (a learned temperature).
    """

    def __init__(
        self,
        encoder: Any,
        source_embedding: Any = None,
        *,
        pooling: str = "mean",
        projection_dim: int | None = None,
        dropout: float = 0.0,
        temperature: float = 0.05,
        trainable_temperature: bool = False,
        input_shape: Any = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, source_embedding, input_shape=input_shape, **kwargs)
        owner = type(self).__name__
        self.is_shared = not isinstance(encoder, list | tuple)
        if not self.is_shared and len(encoder) != len(SOURCES):
            raise ValueError(f"{owner}: `encoder` must be one layer or a list of two; got {len(encoder)}.")
        if self.is_shared:
            self._source_shapes = {name: tuple(input_shape) for name in SOURCES if input_shape}
        self.source_names = SOURCES
        self.pooling = _checks.one_of(owner, "pooling", pooling, POOLINGS)
        self.temperature = _checks.number(owner, "temperature", temperature, low=MIN_TEMPERATURE)
        rate = _checks.rate(owner, "dropout", dropout)
        self.dropout = Dropout(rate, name="dropout", dtype=self.dtype_policy)
        self.projections = []
        if projection_dim is not None:
            units = _checks.positive_int(owner, "projection_dim", projection_dim)
            self.projections = [
                keras.layers.Dense(units, use_bias=False, name=f"projection_{name}", dtype=self.dtype_policy)
                for name in SOURCES[: 1 if self.is_shared else 2]
            ]
        self.log_temperature = None
        if trainable_temperature:
            self.log_temperature = self.add_weight(
                name="log_temperature",
                shape=(),
                initializer=keras.initializers.Constant(math.log(self.temperature)),
                dtype="float32",
                autocast=False,
            )

    def embedding_of(self, name: str) -> Any:
        """Returns the embedding of the source `name`, which both sources share where they share the encoder."""
        return self.source_embedding if self.is_shared else super().embedding_of(name)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        vectors = [self.embed(inputs, name, training) for name in SOURCES]
        return ops.concatenate(vectors, axis=-1) * self._length()  # [B, 2 * D]

    def embed(self, inputs: Any, name: str = "source", training: bool | None = False) -> Any:
        """Returns the vectors of one source, float32 `[B, D]` of length one; zeros for a source without tokens.

        Args:
            inputs: a source, or a dictionary that holds it by its name.
            name: `"source"` or `"source_2"`. Which encoder reads it, where there are two. Defaults to `"source"`.
            training: boolean. Whether dropout is applied. Defaults to `False`.
        """
        inputs = inputs if isinstance(inputs, dict) else {name: inputs}
        index = 0 if self.is_shared else SOURCES.index(name)
        encoder = self.encoder if self.is_shared else self.encoder[index]
        encoded = self._encode_source(name, encoder, self.embedding_of(name), inputs, training)
        x = self.dropout(pool(encoded["sequence"], encoded["mask"], self.pooling), training=training)
        if self.projections:
            x = self.projections[index](x)
        x = ops.cast(x, "float32")
        return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))

    def _length(self):
        """Returns the length of the vectors of the output, the temperature to the power of -1/2."""
        if self.log_temperature is None:
            return self.temperature**-0.5
        log = ops.maximum(ops.convert_to_tensor(self.log_temperature), math.log(MIN_TEMPERATURE))
        return ops.exp(-0.5 * log)
