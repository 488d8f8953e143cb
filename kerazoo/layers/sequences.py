"""Pure functions on batches of sequences: shift, roll, masks and what a mask picks out.

A mask is boolean and True means: a real position, which may be attended to.
"""

from keras import ops

from kerazoo import _checks


def shift_right(targets, start_id: int, segments=None):
    """Moves every token one place to the right and puts `start_id` first: what the decoder reads to predict `targets`.

    The last token falls out, so the length stays. Models call this once on unshifted targets; nothing else does.

    Args:
        targets: Tokens, integer [B, T].
        start_id: The token that stands for "nothing written yet".
        segments: Where several sequences share a row, the number of each position's sequence, integers [B, T]; each
            sequence is then shifted by itself.

    Returns:
        Tokens of the same dtype, [B, T].

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import shift_right

    assert np.array_equal(shift_right(np.array([[5, 6, 7]]), start_id=1), [[1, 5, 6]])
    ```
    """
    targets = ops.convert_to_tensor(targets)
    _checks.rank("shift_right", "targets", targets.shape, (2,))
    # `full_like` of a slice instead of `full`: the batch may be unknown while a graph is traced.
    first = ops.full_like(targets[:, :1], start_id)
    shifted = ops.concatenate([first, targets[:, :-1]], axis=1)
    if segments is None:
        return shifted
    segments = ops.convert_to_tensor(segments)
    goes_on = ops.equal(segments[:, 1:], segments[:, :-1])
    goes_on = ops.concatenate([ops.zeros_like(goes_on[:, :1]), goes_on], axis=1)  # [B, T]
    return ops.where(goes_on, shifted, first)


def roll(x, shift: int = -1, axis: int = 1):
    """Rotates a tensor along one axis; what falls out at one end comes back in at the other.

    Args:
        x: Any tensor.
        shift: Places to move; negative moves towards the start, so that -1 turns [1, 2, 3, 4, 5] into [2, 3, 4, 5, 1].
        axis: The axis to rotate; 1 is time in a batch of sequences.

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


def padding_mask(tokens, pad_id: int = 0):
    """Marks the real tokens of a padded batch.

    Args:
        tokens: Tokens, integer [B, T].
        pad_id: The token that fills up short rows.

    Returns:
        Booleans [B, T], True where the token is real.
    """
    return ops.not_equal(tokens, pad_id)


def causal_mask(length):
    """Lets each position see itself and what came before.

    Args:
        length: Number of positions T; a scalar tensor where the backend allows unknown shapes.

    Returns:
        Booleans [1, T, T], True where the row (query) may attend to the column (key).
    """
    positions = ops.arange(length, dtype="int32")
    return ops.expand_dims(positions[:, None] >= positions[None, :], 0)  # [1, T, T]


def segment_mask(queries, keys=None):
    """Keeps attention inside each of the sequences that share a row.

    Args:
        queries: The number of each position's sequence, integers [B, T], counted from 1, 0 for padding.
        keys: The same of what is attended to, [B, S]; `queries` by default.

    Returns:
        Booleans [B, T, S], True where both positions belong to the same sequence. Padding sees padding.
    """
    keys = queries if keys is None else keys
    return ops.equal(queries[:, :, None], keys[:, None, :])


def segment_positions(segments):
    """Counts the positions of each of the sequences that share a row from 0.

    Args:
        segments: The number of each position's sequence, integers [B, T]: each sequence stands in one piece, from the
            first to the last, with padding, 0, behind them.

    Returns:
        int32 [B, T]; 0 for padding.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import segment_positions

    assert np.array_equal(segment_positions(np.array([[1, 1, 1, 2, 2, 0]])), [[0, 1, 2, 0, 1, 0]])
    ```
    """
    segments = ops.cast(segments, "int32")
    before = ops.logical_and(segments[:, None, :] < segments[:, :, None], segments[:, None, :] > 0)  # [B, T, T]
    places = ops.arange(ops.shape(segments)[1], dtype="int32")
    return ops.where(segments > 0, places - ops.sum(ops.cast(before, "int32"), axis=2), 0)


def masked_mean(sequence, mask=None):
    """Averages the real positions of each sequence; a row without any gives zeros.

    The sum runs in float32 at least, so that long sequences in bfloat16 keep their digits.

    Args:
        sequence: Floats [B, S, D].
        mask: Booleans [B, S], True = real; None counts every position.

    Returns:
        Floats [B, D] in the dtype of `sequence`.
    """
    sequence = ops.convert_to_tensor(sequence)
    if mask is None:
        return ops.mean(sequence, axis=1)
    wide = ops.cast(sequence, "float32")
    weights = ops.cast(mask, "float32")[:, :, None]  # [B, S, 1]
    total = ops.sum(wide * weights, axis=1)  # [B, D]
    count = ops.maximum(ops.sum(weights, axis=1), 1.0)  # [B, 1]
    return ops.cast(total / count, sequence.dtype)


def last_real(sequence, mask=None):
    """Picks the last real position of each sequence, wherever the padding stands; a row without any gives position 0.

    Args:
        sequence: Floats [B, S, D].
        mask: Booleans [B, S], True = real; None takes position S - 1.

    Returns:
        Floats [B, D] in the dtype of `sequence`.
    """
    sequence = ops.convert_to_tensor(sequence)
    if mask is None:
        return sequence[:, -1]
    places = ops.arange(ops.shape(sequence)[1], dtype="int32")[None, :]  # [1, S]
    last = ops.max(ops.where(mask, places, 0), axis=1)  # [B]
    return ops.squeeze(ops.take_along_axis(sequence, last[:, None, None], axis=1), axis=1)  # [B, D]
