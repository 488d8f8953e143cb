"""How the encoded side of a model reads its source: token ids through an embedding, vectors and images as they are."""

import numpy as np

from kerazoo.layers import TokenEmbedding
from kerazoo.models import packing
from kerazoo.models.configured import ConfiguredModel, part_of


class SourceModel(ConfiguredModel):
    """A model with an encoder.

    Args:
        encoder: A layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`.
        source_embedding: A layer that turns token ids into vectors, such as `TokenEmbedding`; None where the source is
            vectors or images.
        input_shape: Shape of one source without the batch, where there is no embedding.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.
    """

    def __init__(self, encoder, source_embedding=None, input_shape=None, **kwargs):
        super().__init__(input_shape, **kwargs)
        self.encoder = encoder
        self.source_embedding = source_embedding

    @property
    def source_pad_id(self):
        """The token that fills up short sources, None where the source is not token ids."""
        return self.source_embedding.pad_id if isinstance(self.source_embedding, TokenEmbedding) else None

    @property
    def source_vocabulary_size(self) -> int | None:
        """Size of the source vocabulary, None where the source is not token ids."""
        return self.source_embedding.vocabulary_size if isinstance(self.source_embedding, TokenEmbedding) else None

    @property
    def max_source_length(self):
        """The most tokens of a source, None where there is no limit."""
        return position_limit(self.source_embedding)

    def encode(self, inputs, training=False):
        """Returns what the encoder makes of a source: `{"sequence": [B, S, D], "mask": [B, S], ...}`.

        Args:
            inputs: The source, or a dictionary with it under `"source"`: token ids [B, S], or vectors and images. The
                real positions of vectors [B, S, D] may be told by booleans [B, S] under `"source_mask"`. Where several
                sources share a row, `"source_segments"` counts them from 1, integers [B, S], 0 for padding.
            training: Whether dropout acts.
        """
        source = part_of(inputs, "source", type(self).__name__)
        segments = packing.part_or_none(inputs, "source_segments")
        if segments is not None:
            packing.check_packing(self)
            apart = packing.inside(segments)
            source = self.source_embedding(source, positions=apart["positions"], training=training)
            return self.encoder(source, padding_mask=packing.real(segments), training=training, **apart)
        mask = packing.part_or_none(inputs, "source_mask")
        if mask is None and self.source_pad_id is not None:
            mask = self.source_embedding.padding_mask(source)
        if self.source_embedding is not None:
            source = self.source_embedding(source, training=training)
        return self.encoder(source, padding_mask=mask, training=training)

    def _build_source(self, batch_size, length):
        if self.source_pad_id is None:
            return self._empty_source(batch_size)
        return np.zeros((batch_size, min(length, self.max_source_length or length)), "int32")


def position_limit(embedding):
    """Returns the number of positions of an embedding that has learned ones, None where there is no limit."""
    return embedding.max_length if getattr(embedding, "positions", None) == "learned" else None
