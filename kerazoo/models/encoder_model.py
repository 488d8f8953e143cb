"""EncoderModel: a model with one encoder for each of its sources."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo.layers import TokenEmbedding, masked_mean
from kerazoo.layers.products import Dense
from kerazoo.models import segments
from kerazoo.models.base_model import BaseModel, get_input, optional_input
from kerazoo.models.join_encoded import JoinEncoded


class EncoderModel(BaseModel):
    """A model that encodes one source, or several sources with one encoder each.

    A single source is the input `"source"`; further ones are `"source_2"`, `"source_3"` and so on. What several
    encoders return is joined along the positions by `kerazoo.models.JoinEncoded`.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, or a list of them, one for each source.
        source_embedding: a layer that turns token ids into vectors, such as `kerazoo.layers.TokenEmbedding`. None where
            the source is vectors or images. A list for several sources. Defaults to `None`.
        input_shape: tuple of integers. Shape of one source without the batch, where it is not token ids. A list for
            several sources. Only `build_inputs` needs it. Defaults to `None`, the shape of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.
    """

    def __init__(self, encoder: Any, source_embedding: Any = None, *, input_shape: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.source_embedding = source_embedding
        is_list = isinstance(encoder, list | tuple)
        self.source_names = tuple(
            "source" if index == 0 else f"source_{index + 1}" for index in range(len(encoder) if is_list else 1)
        )
        self.join = JoinEncoded(name="join", dtype=self.dtype_policy) if is_list else None
        self._one_for_each("source_embedding", source_embedding)
        shapes = self._one_for_each("input_shape", input_shape)
        self._source_shapes = {name: tuple(shape) for name, shape in zip(self.source_names, shapes) if shape}

    def _one_for_each(self, argument, value):
        """Returns the list of an argument's values, one for each source."""
        if self.join is None:
            return [value]
        if value is None:
            return [None] * len(self.source_names)
        if not isinstance(value, list | tuple) or len(value) != len(self.source_names):
            raise ValueError(
                f"{type(self).__name__}: `{argument}` must be a list of {len(self.source_names)}, one for each "
                f"encoder; got {argument}={value!r}. Use None for a source that needs none."
            )
        return list(value)

    def embedding_of(self, name: str) -> Any:
        """Returns the embedding of the source `name`, such as `"source_2"`; None where there is none."""
        embeddings = self._one_for_each("source_embedding", self.source_embedding)
        return dict(zip(self.source_names, embeddings))[name]

    @property
    def source_pad_ids(self) -> dict[str, int | None]:
        """The padding token of each source by the name of the input, None where it is not token ids."""
        embeddings = {name: self.embedding_of(name) for name in self.source_names}
        return {name: each.pad_id if isinstance(each, TokenEmbedding) else None for name, each in embeddings.items()}

    @property
    def source_vocabulary_sizes(self) -> dict[str, int | None]:
        """Size of the vocabulary of each source by the name of the input, None where it is not token ids."""
        embeddings = {name: self.embedding_of(name) for name in self.source_names}
        return {
            name: each.vocabulary_size if isinstance(each, TokenEmbedding) else None
            for name, each in embeddings.items()
        }

    @property
    def max_source_lengths(self) -> dict[str, int | None]:
        """Maximum number of tokens of each source by the name of the input, None if there is no limit."""
        return {name: max_positions(self.embedding_of(name)) for name in self.source_names}

    def encode(self, inputs: Any, training: bool | None = False) -> dict[str, Any]:
        """Returns the encoded source, `{"sequence": [B, S, D], "mask": [B, S], ...}`.

        Args:
            inputs: a source, or a dictionary with `"source"`, `"source_2"` and so on: token ids `[B, S]`, vectors or
                images. `"source_mask"`, `"source_2_mask"`, booleans `[B, S]`, mark the valid positions of vectors
                `[B, S, D]`. Where several sequences share a row, `"source_segments"`, integers `[B, S]`, numbers them
                from 1, with 0 for padding; only a single source may have it.
            training: boolean. Whether dropout is applied. Defaults to `False`.
        """
        encoders = [self.encoder] if self.join is None else self.encoder
        encoded = [
            self._encode_source(name, encoder, self.embedding_of(name), inputs, training)
            for name, encoder in zip(self.source_names, encoders)
        ]
        for each, encoder in zip(encoded, encoders):
            if not isinstance(each, dict):
                raise ValueError(
                    f'{type(self).__name__}: `encoder` must return a dictionary with "sequence" and "mask"; '
                    f"got {type(encoder).__name__}, which returns one tensor. Try return_dict=True."
                )
        if self.join is None:
            return encoded[0]
        return self.join([each["sequence"] for each in encoded], [each["mask"] for each in encoded])

    def pool(self, encoded: dict[str, Any]) -> Any:
        """Returns one vector `[B, D]` for each encoded source: the mean of its valid positions."""
        return masked_mean(encoded["sequence"], encoded["mask"])

    def _encode_source(self, name, encoder, embedding, inputs, training):
        owner = type(self).__name__
        if self.join is not None and not isinstance(inputs, dict):
            raise ValueError(f"{owner}: inputs must be a dictionary with {', '.join(map(repr, self.source_names))}.")
        source = get_input(inputs, name, owner)
        segment_ids = optional_input(inputs, f"{name}_segments")
        if segment_ids is not None:
            segments.check_packing(self)
            masks = segments.self_attention_arguments(segment_ids)
            source = embedding(source, positions=masks["positions"], training=training)
            return encoder(source, padding_mask=segments.valid(segment_ids), training=training, **masks)
        mask = optional_input(inputs, f"{name}_mask")
        if mask is None and isinstance(embedding, TokenEmbedding):
            mask = embedding.padding_mask(source)
        if embedding is not None:
            source = embedding(source, training=training)
        return encoder(source, padding_mask=mask, training=training)

    def build(self, input_shape: Any) -> None:
        """Creates all weights. `input_shape` is needed where a source is not token ids and has no `input_shape` yet."""
        shapes = input_shape if isinstance(input_shape, dict) else {"source": input_shape}
        for name in self.source_names:
            if name not in self._source_shapes and shapes.get(name) is not None:
                self._source_shapes[name] = tuple(shapes[name][1:])
        super().build(input_shape)

    def get_build_config(self) -> dict[str, Any] | None:
        """Returns the shapes of the sources, from which the model can be built again."""
        shapes = {name: list(shape) for name, shape in self._source_shapes.items()}
        return {"source_shapes": shapes} if self.built else None

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the model as it was when it was saved."""
        if config:
            self._source_shapes.update({name: tuple(shape) for name, shape in config["source_shapes"].items()})
            self.build_from_inputs()

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict[str, Any]:
        """Returns zeros for each source."""
        return {name: self._zeros(name, batch_size, length) for name in self.source_names}

    def _make_head(self, units, activation):
        """Makes the dense layer of a model whose output is one vector."""
        self.head_activation = activation
        self.head = Dense(units, name="head", dtype=self.dtype_policy)

    def apply_head(self, x: Any) -> Any:
        """Returns the output of the head for the vectors `x`, float32 `[B, units]`."""
        # The activation runs in float32, so that probabilities keep their digits under a mixed policy.
        return keras.activations.get(self.head_activation)(ops.cast(self.head(x), "float32"))

    def _zeros(self, name, batch_size, length):
        if self.source_pad_ids[name] is not None:
            return np.zeros((batch_size, min(length, max_positions(self.embedding_of(name)) or length)), "int32")
        shape = self._source_shapes.get(name)
        if shape is None:
            raise ValueError(
                f"{type(self).__name__}: `input_shape` is needed to build the model before its first call; "
                f"got input_shape=None for {name!r}. Pass the shape of one source, or call the model on data."
            )
        # One zero that looks like many: a source may be larger than the memory, and building needs its shape alone.
        return np.broadcast_to(np.zeros((), "float32"), (batch_size, *(size or 1 for size in shape)))

    def _build_for(self, source):
        """Builds the model before its first call on `source`, whose shape only matters where it is not token ids."""
        if not self.built:
            parts = source if isinstance(source, dict) else {"source": source}
            floats = [name for name, pad_id in self.source_pad_ids.items() if pad_id is None and name in parts]
            self.build({name: np.shape(parts[name]) for name in floats})


def max_positions(embedding: keras.layers.Layer | None) -> int | None:
    """Returns the number of positions of an embedding that learns them, None if there is no limit."""
    learned = isinstance(embedding, TokenEmbedding) and embedding.positions == "learned"
    return embedding.max_length if learned else None
