"""Pooling: the valid positions of a sequence as one vector."""

from typing import Any

from keras import ops

from kerazoo.layers.masking import last_valid, masked_mean

POOLINGS = ("mean", "max", "last", "first")


def pool(sequence: Any, mask: Any, pooling: str = "mean") -> Any:
    """Returns one vector for each sequence, computed of its valid positions.

    `"mean"` is their average, `"max"` the largest value of each channel, `"last"` the last valid position, and
    `"first"` the first position, which is valid where padding is on the right. A sequence without valid positions gives
    zeros, with `"last"` its first position.

    Args:
        sequence: float tensor `[B, S, D]`.
        mask: bool tensor `[B, S]`, True = valid.
        pooling: string, one of `POOLINGS`. Defaults to `"mean"`.

    Returns:
        A float tensor `[B, D]` in the dtype of `sequence`.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import pool

    sequence, mask = np.array([[[1.0], [3.0], [9.0]]]), np.array([[True, True, False]])
    assert [float(pool(sequence, mask, name)[0, 0]) for name in ("mean", "max", "last", "first")] == [2, 3, 3, 1]
    ```
    """
    if pooling == "mean":
        return masked_mean(sequence, mask)
    if pooling == "last":
        return last_valid(sequence, mask)
    sequence = ops.convert_to_tensor(sequence)
    if pooling == "first":
        if not sequence.shape[1]:  # 0, or unknown and perhaps 0
            sequence = ops.pad(sequence, ((0, 0), (0, 1), (0, 0)))
        vector = sequence[:, 0]
        return ops.where(ops.any(mask, axis=1, keepdims=True), vector, ops.zeros_like(vector))
    lowest = -1e4  # below any activation, and finite in float16
    minimum = ops.cast(lowest, sequence.dtype)
    largest = ops.max(ops.where(mask[:, :, None], sequence, minimum), axis=1, initial=lowest)
    return ops.where(ops.any(mask, axis=1, keepdims=True), largest, ops.zeros_like(largest))
