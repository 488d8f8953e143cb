"""The decoding protocol: what a search calls on a model."""

import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any


class SourceModel:
    """What `Decodable` and `kerazoo.decoding.ContinuousDecodable` share: the source, and what a program needs to know.

    Attributes:
        source_vocabulary_sizes: dict from the name of an input of `encode`, such as `"source"`, to the size of its
            vocabulary, for inputs of token ids. An `Ensemble` compares it. Defaults to none.
        source_pad_ids: dict from the name of an input of `encode` to its padding token; `None` or no entry for an input
            that is not token ids. Defaults to none.
        max_source_lengths: dict from the name of an input of `encode` to its maximum number of positions; `None` or no
            entry for no limit. Defaults to none.
        prefers_jit: bool. Whether decoding is faster with XLA on TensorFlow. Defaults to `False`.
        variables: list. The Keras variables that the methods read. Defaults to none.
    """

    source_vocabulary_sizes: Mapping[str, int | None] = MappingProxyType({})
    source_pad_ids: Mapping[str, int | None] = MappingProxyType({})
    max_source_lengths: Mapping[str, int | None] = MappingProxyType({})
    prefers_jit: bool = False
    variables: Any = ()

    def build_from_inputs(self) -> None:
        """Creates the variables of a model that is not built yet."""

    def encode(self, inputs: Any, training: bool = False) -> Any:
        """Returns the encoded source, a nest of tensors with `"mask"`, bool [B, S], where the source has positions."""
        raise NotImplementedError(f"{type(self).__name__} has no encoder.")


class Decodable(SourceModel):
    """Base class of the models that a search can decode; it holds the members of the protocol and their defaults.

    A subclass implements `start` and `step`. A cache is a dictionary of up to three parts, nests of tensors. A search
    that keeps W hypotheses for each source has rows `b * W + w` for hypothesis w of source b:

    - `"state"`: what each step changes, W rows for each source. The search repeats what `start` returned W times, and
      reorders the rows when hypotheses are dropped.
    - `"memory"`: what all hypotheses of a source share (the encoded source). It is never copied or reordered.
    - `"kv_cache"`, optional: what is stored once at each position, such as keys and values. The model allocates it for
      `num_beams` hypotheses, and it is never reordered either. With several beams the search adds `"beam_ancestry"`,
      int32 [B, W, L]: the beam that holds each position of each hypothesis. From the current position on this is the
      hypothesis' own beam.

    The logits of `step` at `index` are those of position `index` of the targets, given the token before it: the search
    passes `start_id` at index 0. Repeated steps must give the logits of the model's full pass.

    Attributes, beside those of `SourceModel`:
        pad_id: int. The token that pads short rows.
        start_id: int. The token before the first one.
        end_id: int. The token that ends a sequence.
        vocabulary_size: int or `None`. Number of logits V. An `Ensemble` compares it. Defaults to `None`.
        max_length: int or `None`. Maximum number of target positions; `None` for no limit. Defaults to `None`.
        has_encoder: bool. Whether the model has `encode`. Defaults to `False`.
        supports_parallel_decoding: bool. Whether the model has `step_many`, which is used to read prompts and to check
            drafts. Only for models without `"state"`: positions after `index` may be written again. Defaults to
            `False`.
        supports_teacher_forcing: bool. Whether calling the model with `{"source": ..., "targets": ...}` returns the
            logits [B, T, V] of all positions. Defaults to `False`.
    """

    pad_id: int
    start_id: int
    end_id: int
    vocabulary_size: int | None = None
    max_length: int | None = None
    has_encoder: bool = False
    supports_parallel_decoding: bool = False
    supports_teacher_forcing: bool = False

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache before the first position.

        Args:
            batch_size: int or scalar tensor. Number of sources B.
            max_length: int. Maximum number of target positions L.
            encoded: What `encode` returned, or `None` without a source. Defaults to `None`.
            num_beams: int. Number of hypotheses W of each source. Defaults to `1`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `start`.")

    def step(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns logits [B * W, V] for position `index`, and the new cache, from the tokens [B * W] before it.

        The returned cache may also hold, for this position, `"attention"` to the source, float32 [B * W, S], and
        `"hidden"`, the vectors [B * W, D] that the logits are computed from.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `step`.")

    def prepared_loop(self, num_rows: int | None) -> contextlib.AbstractContextManager:
        """Returns a context in which a search runs `step` in a loop; what entering it computes is constant in the loop.

        Args:
            num_rows: int. B * W, or `None` if it is not known.
        """
        return contextlib.nullcontext()

    def logits_of(self, tokens: Any) -> Callable[[Any], Any] | None:
        """Returns a function from the `"hidden"` of a step to the logits [B * W, K] of the tokens [K] alone.

        `None`, the default, for a model whose logits are more than a product of these vectors: a search over a
        `Shortlist` then takes them from those of the whole vocabulary.
        """
        return None

    def step_many(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns logits [B * W, T, V] for the positions from `index` on, and the new cache, from tokens [B * W, T]."""
        raise NotImplementedError(f"{type(self).__name__} decodes one token at a time and has no `step_many`.")


def check_decodable(owner: str, model: Any) -> None:
    """Raises TypeError if `model` is not a `Decodable`."""
    if not isinstance(model, Decodable):
        raise TypeError(
            f"{owner}: `model` must be a kerazoo.decoding.Decodable, a model with `start` and `step`; "
            f"got {type(model).__name__}."
        )
