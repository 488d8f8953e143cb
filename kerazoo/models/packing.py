"""Several sequences in one row: what a model tells its layers so that each sequence stays by itself."""

import inspect

from keras import ops

from kerazoo.layers import segment_mask, segment_positions

NEEDED = ("attention_mask", "positions")


def check_packing(model):
    """Refuses a model that cannot keep apart the sequences that share a row.

    Args:
        model: Any Keras model.

    Raises:
        ValueError: A part of it reads a row from end to end, or it is no model of token sequences.

    Example:

    ```python
    import kerazoo as kz

    kz.models.check_packing(kz.create("transformer_lm_tiny"))
    ```
    """
    owner = type(model).__name__
    if not hasattr(model, "decoder") or not hasattr(model, "target_embedding"):
        raise ValueError(
            f"{owner}: packing is for models that write tokens, seq2seq and language models; got packing=True. "
            "Train without packing."
        )
    for part in ("encoder", "decoder"):
        if hasattr(model, part):
            check_part(owner, part, getattr(model, part))
    if hasattr(model, "encoder") and model.source_pad_id is None:
        raise ValueError(f"{owner}: packing needs sources of token ids; got packing=True. Train without packing.")


def check_part(owner, part, layer):
    """Refuses an encoder or decoder that takes no mask for attention."""
    if not set(NEEDED) <= set(inspect.signature(layer.call).parameters):
        raise ValueError(
            f"{owner}: packing needs attention to keep sequences of one row apart; got {part}={type(layer).__name__}, "
            "which reads a row from end to end. Train without packing (--max_shapes=8 wastes little), or take a "
            "Transformer."
        )


def inside(segments):
    """Returns the call arguments that keep self-attention inside each sequence, none for `segments=None`.

    Args:
        segments: The number of each position's sequence, integers [B, T], counted from 1, 0 for padding; or None.
    """
    if segments is None:
        return {}
    return {"attention_mask": segment_mask(segments), "positions": segment_positions(segments)}


def across(segments, source_segments):
    """Returns the call arguments that keep the attention of targets to sources inside each pair."""
    if segments is None or source_segments is None:
        return {}
    return {"cross_attention_mask": segment_mask(segments, source_segments)}


def real(segments):
    """Returns the padding mask, booleans [B, T], True where there is a sequence."""
    return ops.greater(segments, 0)


def part_or_none(inputs, name):
    """Returns `inputs[name]` where the inputs are a dictionary that has it, else None."""
    return inputs.get(name) if isinstance(inputs, dict) else None
