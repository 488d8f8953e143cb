"""EncoderDecoder: any encoder, or several of them, with any decoder."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerazoo.decoding import Decodable, Generated, Scored, generate, score
from kerazoo.layers import PointerGenerator, segment_mask
from kerazoo.models.base_model import get_input, optional_input
from kerazoo.models.encoder_model import EncoderModel
from kerazoo.models.token_decoder import TokenDecoderMixin


@keras.saving.register_keras_serializable(package="kerazoo")
class EncoderDecoder(TokenDecoderMixin, EncoderModel, Decodable):
    """Encodes a source with any encoder and predicts tokens with any decoder.

    The source may be token ids, vectors, a series or an image: a convolutional encoder with a Transformer decoder
    captions images, an LSTM with an LSTM is the classic seq2seq. With a list of encoders, one for each source, the
    decoder attends to all sources.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, such as `kerazoo.layers.LSTMEncoder`,
            or a list of them, one for each source.
        decoder: a layer with `call`, `start`, `step` and the attributes `supports_parallel_decoding` and `prefers_jit`
            of `kerazoo.decoding.Decodable`, such as `kerazoo.layers.TransformerDecoder`.
        source_embedding: a layer that turns source token ids into vectors. None where the source is vectors or images.
            A list for several sources. Defaults to `None`.
        target_embedding: a `kerazoo.layers.TokenEmbedding` of the targets, or the name of a source (`"source"`) whose
            embedding is shared. Defaults to a new one that fits the decoder, which needs `vocabulary_size`.
        vocabulary_size: integer, above 0. Size V of the target vocabulary. Defaults to that of `target_embedding`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first one. Defaults to `1`.
        end_id: integer. The token that ends a sequence. Defaults to `2`.
        tie_output: boolean. Whether the logits use the table of the target embedding (Press and Wolf (2017),
            arXiv:1608.05859). Defaults to `False`.
        output_bias: boolean. Whether these logits have a bias, as in BART. Defaults to `False`.
        copy: boolean. Whether tokens of the source may be copied, by a `kerazoo.layers.PointerGenerator`, which helps
            where targets repeat words of their source, as in summarization. It needs one source of token ids whose
            vocabulary is that of the targets; the outputs are log-probabilities. Defaults to `False`.
        input_shape: tuple of integers. Shape of one source without the batch, where there is no source embedding. A
            list for several sources. Defaults to that of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"`, token ids `[B, S]`, vectors or images, and `"targets"`, token ids `[B, T]`,
            not shifted. Further encoders read `"source_2"`, `"source_3"` and so on. `"source_mask"`, booleans `[B, S]`,
            marks the valid positions of vectors `[B, S, D]`. Where pairs share rows, `"source_segments"` and
            `"targets_segments"`, integers `[B, S]` and `[B, T]`, number them from 1, with 0 for padding; then no pair
            attends to another.
        training: boolean. Whether dropout is applied.

    Returns:
        Logits, float32 tensor `[B, T, V]`; those of position t depend on the source and on the targets before t.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.EncoderDecoder(
        encoder=kz.layers.DenseEncoder(units=(16,)),
        decoder=kz.layers.TransformerDecoder(num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32),
        vocabulary_size=11,
    )
    images, words = np.ones((2, 8, 8, 1), "float32"), np.array([[5, 6, 2], [7, 2, 0]])
    assert model({"source": images, "targets": words}).shape == (2, 3, 11)
    assert model.generate(images, search="beam", num_beams=3, max_length=7).best().shape == (2, 7)
    ```

    Reference:
        Sutskever, Vinyals and Le (2014), Sequence to Sequence Learning with Neural Networks, arXiv:1409.3215.
    """

    has_encoder = True

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        *,
        source_embedding: Any = None,
        target_embedding: Any = None,
        vocabulary_size: int | None = None,
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        tie_output: bool = False,
        output_bias: bool = False,
        copy: bool = False,
        input_shape: Any = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, source_embedding, input_shape=input_shape, **kwargs)
        target_embedding = self._shared_embedding(target_embedding)
        ids = (pad_id, start_id, end_id)
        self._init_token_decoder(decoder, target_embedding, vocabulary_size, *ids, tie_output, output_bias)
        self.pointer = self._new_pointer() if copy else None

    def _new_pointer(self):
        sizes = self.source_vocabulary_sizes
        if self.join is not None or sizes["source"] != self.vocabulary_size:
            raise ValueError(
                f"{type(self).__name__}: `copy` needs one source with the vocabulary of the targets; got copy=True, "
                f"source vocabularies of {', '.join(map(str, sizes.values()))} and targets of {self.vocabulary_size}."
            )
        units = getattr(self.decoder, "hidden_dim", None) or self.decoder.units
        units = units if isinstance(units, int) else units[-1]
        return PointerGenerator(units, name="pointer", dtype=self.dtype_policy)

    def _shared_embedding(self, embedding):
        """Returns the target embedding, that of a source if it is named or given once more."""
        for name in self.source_names:
            shared = self.embedding_of(name)
            if shared is not None and (embedding is shared or embedding == name):
                # Two configurations would make two layers; the name stands for one.
                arguments = vars(self)["_arguments"]
                if "target_embedding" in arguments:
                    arguments["target_embedding"] = name
                return shared
        if isinstance(embedding, str):
            raise ValueError(
                f"{type(self).__name__}: `target_embedding` must be a layer, None, or the name of a source with a "
                f"`source_embedding`, such as 'source'; got target_embedding={embedding!r}."
            )
        return embedding

    def encode(self, inputs: Any, training: bool | None = False) -> dict[str, Any]:
        """Returns the encoded source, see `kerazoo.models.EncoderModel.encode`; with `copy` its `"tokens"` as well."""
        encoded = super().encode(inputs, training=training)
        if self.pointer is None:
            return encoded
        tokens = get_input(inputs, "source", type(self).__name__)
        return {**encoded, "tokens": ops.cast(ops.convert_to_tensor(tokens), "int32")}  # [B, S]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        encoded = self.encode(inputs, training=training)
        hidden = self._hidden(inputs, _without_tokens(encoded), training)  # [B, T, D]
        logits = self._logits(hidden)
        if self.pointer is None:
            return logits
        segments = [optional_input(inputs, f"{name}_segments") for name in ("targets", "source")]
        mask = None if segments[0] is None or segments[1] is None else segment_mask(*segments)
        return self.pointer(hidden, logits, encoded["sequence"], encoded["tokens"], encoded["mask"], mask)

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache of `num_beams` hypotheses for each source, see `kerazoo.decoding.Decodable`."""
        cache = super().start(batch_size, max_length, _without_tokens(encoded), num_beams)
        if self.pointer is None:
            return cache
        copied = self.pointer.memory(encoded["sequence"], encoded["tokens"], encoded["mask"])
        return {**cache, "memory": {**cache["memory"], "copy": copied}}

    def logits_of(self, tokens: Any) -> Callable[[Any], Any] | None:
        """Returns what computes the logits of some tokens, see `kerazoo.decoding.Decodable`; `None` with `copy`."""
        return super().logits_of(tokens) if self.pointer is None else None

    def step(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns logits `[B * W, V]` for position `index`, and the cache, see `kerazoo.decoding.Decodable`."""
        logits, cache = super().step(tokens, cache, index)
        if self.pointer is None:
            return logits, cache
        return self._mixed(cache["hidden"][:, None], logits[:, None], cache)[:, 0], cache

    def step_many(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns logits `[B * W, T, V]` from position `index` on, and the cache, see `kerazoo.decoding.Decodable`."""
        logits, cache = super().step_many(tokens, cache, index)
        return (logits if self.pointer is None else self._mixed(cache["hidden"], logits, cache)), cache

    def _mixed(self, hidden, logits, cache):
        """Returns the log-probabilities `[B * W, T, V]` with what is copied."""
        # The hypotheses of one source copy like the positions of a sequence, so nothing of the source is repeated.
        memory = cache["memory"]["copy"]
        sources = ops.shape(memory["mask"])[0]
        rows, length = ops.shape(logits)[0], ops.shape(logits)[1]
        hidden = ops.reshape(hidden, (sources, -1, hidden.shape[-1]))  # [B, W * T, D]
        mixed = self.pointer.mix(hidden, ops.reshape(logits, (sources, -1, self.vocabulary_size)), memory)
        return ops.reshape(mixed, (rows, length, self.vocabulary_size))

    def generate(
        self,
        source: Any,
        prompt: Any = None,
        *,
        search: Any = "greedy",
        max_length: int | None = None,
        source_mask: Any = None,
        **options: Any,
    ) -> Generated:
        """Returns the generated tokens of each source, see `kerazoo.decoding.generate`.

        Args:
            source: token ids `[B, S]`, padded or ragged lists; or vectors, or images; or a dictionary of all sources.
            prompt: first tokens of each sequence, padded or ragged lists. Defaults to `None`.
            search: `"greedy"`, `"sample"`, `"beam"` or a search object. Defaults to `"greedy"`.
            max_length: integer, above 0. Maximum number of tokens of a sequence. Defaults to 64 after the prompt.
            source_mask: booleans `[B, S]` for vectors `[B, S, D]`, True for valid positions. Defaults to `None`.
            **options: options of the search by name, and those of `kerazoo.decoding.generate`.
        """
        source = _with_mask(source, source_mask)
        self._build_for(source)
        return generate(self, source, prompt, search, max_length, **options)

    def score(self, source: Any, targets: Any, *, source_mask: Any = None, **options: Any) -> Scored:
        """Returns the log-probabilities of given targets, see `kerazoo.decoding.score`.

        Args:
            source: as in `generate`.
            targets: token ids, ragged lists or an array padded with `pad_id`; with the end token where it counts.
            source_mask: booleans `[B, S]` for vectors `[B, S, D]`, True for valid positions. Defaults to `None`.
            **options: options of `kerazoo.decoding.score`.
        """
        source = _with_mask(source, source_mask)
        self._build_for(source)
        return score(self, source, targets, **options)

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict[str, Any]:
        """Returns zeros for each source and for `"targets"`."""
        return {**super().build_inputs(batch_size, length), "targets": self._build_targets(batch_size, length)}


def _without_tokens(encoded):
    """Returns what a decoder reads of an encoded source."""
    if encoded is None or "tokens" not in encoded:
        return encoded
    return {name: value for name, value in encoded.items() if name != "tokens"}


def _with_mask(source, mask):
    return source if mask is None else {"source": source, "source_mask": mask}
