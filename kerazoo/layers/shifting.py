"""Shifting sequences by whole positions: the inputs of a decoder, and rotation."""

from typing import Any

from keras import ops

from kerazoo import _checks


def shift_right(targets: Any, start_id: int, segments: Any = None) -> Any:
    """Shifts tokens one position to the right and puts `start_id` first: the decoder inputs that predict `targets`.

    The last token is dropped, so the length stays. Models call this once on unshifted targets; nothing else does.

    Args:
        targets: int tensor `[B, T]`, token ids.
        start_id: int. The token before the first one.
        segments: int tensor `[B, T]`, the number of each position's sequence, where several sequences share a row;
            each is then shifted separately. Defaults to `None`.

    Returns:
        Token ids of the same dtype, `[B, T]`.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import shift_right

    assert np.array_equal(shift_right(np.array([[5, 6, 7]]), start_id=1), [[1, 5, 6]])
    ```
    """
    targets = ops.convert_to_tensor(targets)
    _checks.rank("shift_right", "targets", targets.shape, (2,))
    # `full_like` of a slice instead of `full`: the batch size may be unknown while a graph is traced.
    first = ops.full_like(targets[:, :1], start_id)
    shifted = ops.concatenate([first, targets[:, :-1]], axis=1)  # [B, T]
    if segments is None:
        return shifted
    segments = ops.convert_to_tensor(segments)
    continues = ops.equal(segments[:, 1:], segments[:, :-1])
    continues = ops.concatenate([ops.zeros_like(continues[:, :1]), continues], axis=1)  # [B, T]
    return ops.where(continues, shifted, first)


def shift_values_right(targets: Any, first: Any) -> Any:
    """Shifts vectors one position to the right and puts `first` first: the decoder inputs that predict `targets`.

    The last vector is dropped, so the length stays. As with `shift_right`, models call this once.

    Args:
        targets: float tensor `[B, T, F]`.
        first: float tensor `[B, F]`, the vector before the first one.

    Returns:
        A float tensor `[B, T, F]` in the dtype of `targets`.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import shift_values_right

    targets = np.array([[[5.0], [6.0], [7.0]]])
    assert np.array_equal(shift_values_right(targets, first=np.array([[4.0]])), [[[4.0], [5.0], [6.0]]])
    ```
    """
    targets = ops.convert_to_tensor(targets)
    _checks.rank("shift_values_right", "targets", targets.shape, (3,))
    return ops.concatenate([ops.cast(first, targets.dtype)[:, None], targets[:, :-1]], axis=1)


def roll(x: Any, shift: int = -1, axis: int = 1) -> Any:
    """Rotates a tensor along one axis; values that fall out at one end come in at the other.

    Args:
        x: tensor of any shape.
        shift: int. Positions to shift by. A negative shift moves values towards the start, so that -1 turns
            [1, 2, 3, 4, 5] into [2, 3, 4, 5, 1]. Defaults to `-1`.
        axis: int. The axis to rotate; 1 is time in a batch of sequences. Defaults to `1`.

    Returns:
        A tensor of the same dtype and shape.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import roll

    assert np.array_equal(roll(np.array([[1, 2, 3, 4, 5]])), [[2, 3, 4, 5, 1]])
    ```
    """
    return ops.roll(x, shift, axis=axis)
