"""Several sequences that share a row: the masks and positions that keep each sequence by itself."""

import inspect
from typing import Any

import keras
from keras import ops

from kerazoo.layers import SentenceEmbedding, segment_mask, segment_positions

_NEEDED = ("attention_mask", "positions")


def check_packing(model: keras.Model) -> None:
    """Refuses a model that cannot separate several sequences in one row.

    Args:
        model: a Keras model.

    Raises:
        ValueError: if the encoder or decoder has no attention mask, or the model does not predict tokens.

    Example:

    ```python
    import kerazoo as kz

    kz.models.check_packing(kz.create("transformer_lm_tiny"))
    ```
    """
    owner = type(model).__name__
    encoder, decoder = (getattr(model, part, None) for part in ("encoder", "decoder"))
    if getattr(model, "vocabulary_size", None) is None:
        raise ValueError(
            f"{owner}: packing is for models that predict tokens, seq2seq and language models; got packing=True. "
            "Train without packing."
        )
    if isinstance(encoder, list | tuple):
        raise ValueError(f"{owner}: packing is for one source; got {len(encoder)} encoders. Train without packing.")
    for part, layer in (("encoder", encoder), ("decoder", decoder)):
        if layer is not None and not set(_NEEDED) <= set(inspect.signature(layer.call).parameters):
            raise ValueError(
                f"{owner}: packing needs attention to separate the sequences of one row; got "
                f"{part}={type(layer).__name__}, which reads a row from end to end. Train without packing "
                "(max_shapes=8 needs little padding), or use a Transformer."
            )
    if isinstance(getattr(model, "source_embedding", None), SentenceEmbedding):
        raise ValueError(
            f"{owner}: packing is for encoders that read each token; got packing=True with sentences=True. Train "
            "without packing."
        )
    if encoder is not None and model.source_pad_ids["source"] is None:
        raise ValueError(f"{owner}: packing needs sources of token ids; got packing=True. Train without packing.")


def self_attention_arguments(segments: Any) -> dict[str, Any]:
    """Returns the call arguments that restrict self-attention to each sequence; none for `segments=None`.

    Args:
        segments: integers `[B, T]`, the number of each position's sequence, from 1, 0 for padding; or None.
    """
    if segments is None:
        return {}
    return {"attention_mask": segment_mask(segments), "positions": segment_positions(segments)}


def cross_attention_arguments(segments: Any, source_segments: Any) -> dict[str, Any]:
    """Returns the call arguments that restrict attention from targets to sources to each pair."""
    if segments is None or source_segments is None:
        return {}
    return {"cross_attention_mask": segment_mask(segments, source_segments)}


def valid(segments: Any) -> Any:
    """Returns the padding mask, booleans `[B, T]`, True where there is a sequence."""
    return ops.greater(segments, 0)
