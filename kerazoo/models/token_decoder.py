"""TokenDecoderMixin: the target side of a model, from token ids over an embedding and a decoder to logits."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _backend, _checks
from kerazoo.layers import TokenEmbedding, TransformerDecoder, shift_right, without_mask
from kerazoo.layers.products import Dense
from kerazoo.models import segments
from kerazoo.models.base_model import get_input, optional_input
from kerazoo.models.encoder_model import max_positions


class TokenDecoderMixin:
    """The target side of a model of tokens, a mixin of a `kerazoo.models.BaseModel`.

    A search calls `start` and `step`; repeated steps give the logits of the full pass. The targets are shifted here and
    nowhere else.
    """

    supports_teacher_forcing = True

    def _init_token_decoder(
        self, decoder, embedding, vocabulary_size, pad_id, start_id, end_id, tie_output, output_bias=False
    ):
        owner = type(self).__name__
        self.pad_id = _checks.non_negative_int(owner, "pad_id", pad_id)
        self.start_id = _checks.non_negative_int(owner, "start_id", start_id)
        self.end_id = _checks.non_negative_int(owner, "end_id", end_id)
        self.decoder = decoder
        if embedding is None:
            embedding = self._default_embedding(owner, decoder, vocabulary_size)
        self.vocabulary_size = vocabulary_size or embedding.vocabulary_size
        for name in ("pad_id", "start_id", "end_id"):
            if getattr(self, name) >= self.vocabulary_size:
                raise ValueError(
                    f"{owner}: `{name}` must be below the size of the vocabulary; "
                    f"got {name}={getattr(self, name)}, vocabulary_size={self.vocabulary_size}."
                )
        if self.end_id == self.pad_id:
            raise ValueError(
                f"{owner}: `end_id` must differ from `pad_id`, which no loss counts, so that the model would never "
                f"learn to end; got end_id={self.end_id}, pad_id={self.pad_id}."
            )
        special = len({self.pad_id, self.start_id, self.end_id})
        if self.vocabulary_size <= special:
            raise ValueError(
                f"{owner}: `vocabulary_size` must be above {special}, the number of special tokens; "
                f"got vocabulary_size={self.vocabulary_size}."
            )
        self.target_embedding = embedding
        self.tie_output = bool(tie_output)
        self.head = None
        if not self.tie_output:
            self.head = Dense(self.vocabulary_size, name="head", dtype=self.dtype_policy)
            if output_bias:
                raise ValueError(
                    f"{owner}: `output_bias` is for logits of a tied table, other logits always have a bias; got "
                    "output_bias=True with tie_output=False. Leave it out."
                )
        self.output_bias = None
        if output_bias:
            self.output_bias = self.add_weight(
                name="output_bias", shape=(self.vocabulary_size,), initializer="zeros", dtype="float32", autocast=False
            )

    def _default_embedding(self, owner, decoder, vocabulary_size):
        if vocabulary_size is None:
            raise ValueError(
                f"{owner}: `vocabulary_size` is needed where no embedding is given; got vocabulary_size=None."
            )
        units = getattr(decoder, "hidden_dim", None) or decoder.units
        # A Transformer has no order of its own; the other decoders need no positions.
        unordered = isinstance(decoder, TransformerDecoder) and decoder.get_config()["positions"] is None
        return TokenEmbedding(
            vocabulary_size,
            units if isinstance(units, int) else units[-1],
            positions="sinusoidal" if unordered else None,
            pad_id=self.pad_id,
            name="target_embedding",
            dtype=self.dtype_policy,
        )

    @property
    def max_length(self) -> int | None:
        """The maximum number of tokens that the model can generate, None if there is no limit."""
        return max_positions(self.target_embedding)

    def _target_logits(self, inputs, encoded=None, training=None):
        """Returns the logits `[B, T, V]` of all positions of the targets `[B, T]` at once, by teacher forcing."""
        return self._logits(self._hidden(inputs, encoded, training))

    def _hidden(self, inputs, encoded, training):
        """Returns the vectors `[B, T, D]` that the logits of all positions are computed from."""
        targets = get_input(inputs, "targets", type(self).__name__)
        segment_ids = optional_input(inputs, "targets_segments")
        if segment_ids is not None:
            segments.check_packing(self)
        options = segments.self_attention_arguments(segment_ids)
        tokens = shift_right(targets, self.start_id, segment_ids)
        positions = {"positions": options["positions"]} if options else {}
        x = self.target_embedding(tokens, training=training, **positions)  # [B, T, D]
        options |= segments.cross_attention_arguments(segment_ids, optional_input(inputs, "source_segments"))
        # Padding is on the right, where no earlier position attends to it, so the decoder needs no mask. Logits with a
        # Keras mask would change how Keras weights the loss.
        x = without_mask(x)
        return self.decoder(x, encoded=encoded, training=training, **options)

    def _logits(self, x):
        if self.tie_output:
            logits = self.target_embedding(x, reverse=True)
            return logits if self.output_bias is None else logits + ops.convert_to_tensor(self.output_bias)
        return ops.cast(self.head(x), "float32")

    @property
    def supports_parallel_decoding(self) -> bool:
        """Whether `step_many` exists, see `kerazoo.decoding.Decodable`."""
        return self.decoder.supports_parallel_decoding

    @property
    def prefers_jit(self) -> bool:
        """Whether decoding is faster with XLA on TensorFlow."""
        return self.decoder.prefers_jit

    def prepared_loop(self, num_rows: int | None) -> contextlib.AbstractContextManager:
        """Returns a context in which a loop of steps computes logits fast, see `kerazoo.decoding.Decodable`."""
        if not self.tie_output or not isinstance(self.target_embedding, TokenEmbedding):
            return contextlib.nullcontext()
        return self.target_embedding.table.transposed_once(num_rows)

    def logits_of(self, tokens: Any) -> Callable[[Any], Any] | None:
        """Returns a function from vectors `[B, D]` to the logits `[B, K]` of the tokens `[K]` alone.

        See `kerazoo.decoding.Decodable`.
        """
        layer = getattr(self.target_embedding, "table", None) if self.tie_output else self.head
        if layer is None or layer.quantization_mode is not None:
            return None
        bias = self.output_bias if self.tie_output else layer.bias
        weight, axis = (layer.embeddings, 0) if self.tie_output else (layer.kernel, 1)
        weight = ops.take(ops.convert_to_tensor(weight), tokens, axis=axis)
        kernel = ops.transpose(weight) if self.tie_output else weight  # [D, K]
        if _backend.has_barrier():  # otherwise XLA gathers it in each step
            kernel = _backend.barrier(kernel)
        bias = None if bias is None else ops.take(ops.convert_to_tensor(bias), tokens, axis=0)

        def logits(x):
            x = ops.cast(ops.matmul(x, ops.cast(kernel, x.dtype)), "float32")
            return x if bias is None else x + ops.cast(bias, "float32")

        return logits

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache of `num_beams` hypotheses for each source, of at most `max_length` tokens.

        See `kerazoo.decoding.Decodable`.
        """
        return self.decoder.start(batch_size, max_length, encoded, num_beams)

    def step(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns logits `[B, V]` for position `index` from the tokens `[B]` of the position before, and the cache."""
        x = self.target_embedding(ops.convert_to_tensor(tokens)[:, None], start_index=index)[:, 0]  # [B, D]
        x, cache = self.decoder.step(x, cache, index)
        return self._logits(x), {**cache, "hidden": x}

    def step_many(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns logits `[B, T, V]` from position `index` on, from the tokens `[B, T]` before each, and the cache."""
        x = self.target_embedding(tokens, start_index=index)  # [B, T, D]
        x, cache = self.decoder.step_many(x, cache, index)
        return self._logits(x), {**cache, "hidden": x}

    def _build_targets(self, batch_size, length):
        return np.zeros((batch_size, min(length, self.max_length or length)), "int32")
