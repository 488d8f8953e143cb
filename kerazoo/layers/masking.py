"""Masks of padding, of the future and of packed sequences, and what is computed over valid positions.

All masks are boolean. True means that a position is valid (no padding), or that it may be attended to.
"""

from typing import Any

from keras import ops


def first_mask(*masks: Any) -> Any:
    """Returns the first mask that is given, or None.

    A layer passes its `padding_mask` first and then the masks that Keras fills in: `mask` if the call has one tensor
    argument, `{argument}_mask` if it has several. So an explicit mask takes precedence.

    Args:
        *masks: bool tensors `[B, T]` or None.
    """
    return next((mask for mask in masks if mask is not None), None)


def encoded_mask(mask: Any) -> dict[str, Any]:
    """Returns the Keras masks of an encoder's output: only "sequence" has one.

    Without this Keras would attach the mask of the inputs to the first output in alphabetical order, "mask".

    Args:
        mask: bool tensor `[B, S]` or None, the Keras mask of the inputs.
    """
    return {"mask": None, "sequence": mask}


def without_mask(x: Any) -> Any:
    """Returns a tensor of the same values without a Keras mask.

    Keras weights losses and metrics by the mask of the predictions. A model that weights them itself removes the mask.

    Args:
        x: tensor of any shape.
    """
    return ops.copy(x)


def padding_mask(tokens: Any, pad_id: int = 0) -> Any:
    """Returns which tokens of a padded batch are valid.

    Args:
        tokens: int tensor `[B, T]`, token ids.
        pad_id: int. The padding token. Defaults to `0`.

    Returns:
        Bools `[B, T]`, True where the token is not `pad_id`.
    """
    return ops.not_equal(tokens, pad_id)


def zero_padding(x: Any, mask: Any) -> Any:
    """Returns `x` with zeros where the mask is False, a tensor without a Keras mask.

    Args:
        x: tensor `[B, T, C]`.
        mask: bool tensor `[B, T]` or None, for which `x` is returned as it is.
    """
    return x if mask is None else ops.where(mask[..., None], x, ops.zeros_like(x))


def attention_weights(scores: Any) -> Any:
    """Returns the softmax of attention scores over the last axis, the positions that are attended to.

    Of one position Keras' own softmax warns, because it is always 1. Its gradient is zero here too, and not missing,
    of which Keras would warn as well.

    Args:
        scores: float tensor `[..., S]`.
    """
    return 1 + 0 * scores if scores.shape[-1] == 1 else ops.softmax(scores, axis=-1)


def causal_mask(length: Any) -> Any:
    """Returns the mask with which each position attends to itself and to earlier positions.

    Args:
        length: int or int scalar. Number of positions T.

    Returns:
        Bools `[1, T, T]`, True where the row (query) may attend to the column (key).
    """
    positions = ops.arange(length, dtype="int32")
    return ops.expand_dims(positions[:, None] >= positions[None, :], 0)  # [1, T, T]


def segment_mask(queries: Any, keys: Any = None) -> Any:
    """Returns the mask that restricts attention to one sequence where several share a row.

    Args:
        queries: int tensor `[B, T]`, the number of each position's sequence from 1, 0 for padding.
        keys: int tensor `[B, S]`, the same of what is attended to; None for `queries`. Defaults to `None`.

    Returns:
        Bools `[B, T, S]`, True where both positions belong to the same sequence. Padding may attend to padding.
    """
    keys = queries if keys is None else keys
    return ops.equal(queries[:, :, None], keys[:, None, :])


def segment_positions(segments: Any) -> Any:
    """Returns the position of each token in its own sequence where several sequences share a row.

    Args:
        segments: int tensor `[B, T]`, the number of each position's sequence from 1, in order and contiguous; 0 for
            padding, on the right.

    Returns:
        int32 `[B, T]`, from 0 on in each sequence; 0 for padding.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import segment_positions

    assert np.array_equal(segment_positions(np.array([[1, 1, 1, 2, 2, 0]])), [[0, 1, 2, 0, 1, 0]])
    ```
    """
    segments = ops.cast(segments, "int32")
    before = ops.logical_and(segments[:, None, :] < segments[:, :, None], segments[:, None, :] > 0)  # [B, T, T]
    positions = ops.arange(ops.shape(segments)[1], dtype="int32")
    return ops.where(segments > 0, positions - ops.sum(ops.cast(before, "int32"), axis=2), 0)


def masked_mean(sequence: Any, mask: Any = None) -> Any:
    """Returns the mean over the valid positions of each sequence; zeros for a row without any.

    The sum is computed in float32, so that long sequences in bfloat16 keep their precision.

    Args:
        sequence: float tensor `[B, S, D]`.
        mask: bool tensor `[B, S]`, True = valid; None counts all positions. Defaults to `None`.

    Returns:
        A float tensor `[B, D]` in the dtype of `sequence`.
    """
    sequence = ops.convert_to_tensor(sequence)
    values = ops.cast(sequence, "float32")
    if mask is None:
        length = ops.cast(ops.shape(sequence)[1], "float32")
        return ops.cast(ops.sum(values, axis=1) / ops.maximum(length, 1.0), sequence.dtype)
    weights = ops.cast(mask, "float32")[:, :, None]  # [B, S, 1]
    total = ops.sum(values * weights, axis=1)  # [B, D]
    count = ops.maximum(ops.sum(weights, axis=1), 1.0)  # [B, 1]
    return ops.cast(total / count, sequence.dtype)


def last_valid(sequence: Any, mask: Any = None) -> Any:
    """Returns the last valid position of each sequence; position 0 for a row without any, zeros if there is none.

    Args:
        sequence: float tensor `[B, S, D]`.
        mask: bool tensor `[B, S]`, True = valid; None counts all positions. Defaults to `None`.

    Returns:
        A float tensor `[B, D]` in the dtype of `sequence`.
    """
    sequence = ops.convert_to_tensor(sequence)
    if mask is None:
        return ops.sum(sequence[:, -1:], axis=1)  # [B, D]: zeros where there is no position
    positions = ops.arange(ops.shape(sequence)[1], dtype="int32")[None, :]  # [1, S]
    if not sequence.shape[1]:  # 0, or unknown and perhaps 0
        sequence = ops.pad(sequence, ((0, 0), (0, 1), (0, 0)))
    last = ops.max(ops.where(mask, positions, 0), axis=1, initial=0)  # [B]
    return ops.squeeze(ops.take_along_axis(sequence, last[:, None, None], axis=1), axis=1)  # [B, D]
