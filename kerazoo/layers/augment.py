"""Augmentation: examples are moved at random in training."""

import keras
from keras import ops

from kerazoo import _checks

FILLS = ("wrap", "zero", "edge")


@keras.saving.register_keras_serializable(package="kerazoo")
class RandomShift(keras.layers.Layer):
    """Moves every example by a random number of positions in training, and leaves it alone otherwise.

    With `axes=1` it rotates sequences, as [1, 2, 3, 4, 5] becomes [2, 3, 4, 5, 1], or slides series and waveforms in
    time; with `axes=(1, 2)` it moves images up or down and left or right. The offset is a whole number between
    -max_shift and max_shift, all equally likely, drawn for each example and axis. `roll` is the same move by a known
    offset.

    Args:
        max_shift: Largest offset in positions or pixels, at least 1; one integer or one for each axis.
        axes: Axis or axes that are moved; 0 is the batch and cannot be. Default 1.
        fill: What comes in at the open end: "wrap" (default) what fell out at the other end, "zero" zeros, or "edge"
            the outermost value once more.
        seed: Seed of the offsets, or None (default).
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Tensor of any dtype [B, T, ...], for images [B, H, W, C].
        padding_mask: Bool tensor [B, T], True = real position, or None; only with `axes=1`.
        training: Whether to move anything.

    Returns:
        A tensor of the shape of `inputs`; integers keep their dtype, floats come in the compute dtype.

    Masking:
        With a mask the real positions move among themselves, wherever the padding stands; padding stays in its place.

    Raises:
        ValueError: If an axis is missing in `inputs` or is the batch, or a mask meets other axes than 1.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    shift = kz.layers.RandomShift(max_shift=2, seed=5)
    tokens = np.array([[1, 2, 3, 4, 5]])
    moved = np.array(shift(tokens, training=True))[0].tolist()
    assert moved in [[1, 2, 3, 4, 5][k:] + [1, 2, 3, 4, 5][:k] for k in range(-2, 3)]
    assert np.array(shift(tokens)).tolist() == tokens.tolist()
    ```

    Reference:
        Simard, Steinkraus and Platt, 2003, Best Practices for Convolutional Neural Networks Applied to Visual Document
        Analysis (moved images). Um et al., 2017, Data Augmentation of Wearable Sensor Data, arXiv:1706.00527 (series).
    """

    def __init__(self, max_shift, axes=1, fill="wrap", seed=None, **kwargs):
        super().__init__(**kwargs)
        self.axes = _checks.positive_ints("RandomShift", "axes", axes)
        self.max_shift = _checks.positive_ints("RandomShift", "max_shift", max_shift)
        if len(self.max_shift) == 1:
            self.max_shift *= len(self.axes)
        if len(self.max_shift) != len(self.axes):
            raise ValueError(
                f"RandomShift: `max_shift` must be one integer or as many as `axes`; "
                f"got max_shift={self.max_shift}, axes={self.axes}."
            )
        self.fill = _checks.one_of("RandomShift", "fill", fill, FILLS)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, inputs_shape):
        if max(self.axes) >= len(inputs_shape):
            raise ValueError(
                f"RandomShift: `axes` must be axes of `inputs`; got axes={self.axes}, shape {tuple(inputs_shape)}."
            )

    def call(self, inputs, padding_mask=None, training=None):
        if padding_mask is not None and self.axes != (1,):
            raise ValueError(f"RandomShift: `padding_mask` needs axes=1; got axes={self.axes}.")
        return self.transform(inputs, self.seed_generator, padding_mask) if training else inputs

    def transform(self, inputs, seed, padding_mask=None):
        """Returns the moved inputs, whatever the mode; `seed` is a `keras.random.SeedGenerator`."""
        x = inputs
        for axis, largest in zip(self.axes, self.max_shift):
            offsets = keras.random.randint((ops.shape(x)[0], 1), -largest, largest + 1, seed=seed)
            x = self._move(x, offsets, axis, padding_mask)
        return x

    def _move(self, x, offsets, axis, mask):
        """Moves each row of `x` by its own one of the `offsets` [B, 1]."""
        length = ops.shape(x)[axis]
        places = ops.broadcast_to(ops.arange(length, dtype="int32")[None], (ops.shape(x)[0], length))  # [B, L]
        if mask is None:
            order, rank, count = places, places, length
        else:
            order = ops.argsort(ops.where(mask, places, places + length), axis=1)  # real places first, in order
            rank = ops.cumsum(ops.cast(mask, "int32"), axis=1) - 1  # of each real place among the real ones
            count = ops.maximum(ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True), 1)
        wanted = rank - offsets
        inside = ops.mod(wanted, count) if self.fill == "wrap" else ops.clip(wanted, 0, count - 1)
        source = ops.take_along_axis(order, inside, axis=1)  # [B, L]
        empty = ops.logical_and(self.fill == "zero", wanted != inside)
        if mask is not None:
            source = ops.where(mask, source, places)
            empty = ops.logical_and(empty, mask)
        moved = ops.take_along_axis(x, ops.broadcast_to(_along(source, axis, x), ops.shape(x)), axis=axis)
        return ops.where(_along(empty, axis, x), ops.zeros_like(x), moved)

    def get_config(self):
        return {
            **super().get_config(),
            "max_shift": list(self.max_shift),
            "axes": list(self.axes),
            "fill": self.fill,
            "seed": self.seed,
        }


def _along(rows, axis, x):
    """Gives `rows` [B, L] as many axes as `x` has, with L at `axis`."""
    for place in range(1, len(x.shape)):
        if place != axis:
            rows = ops.expand_dims(rows, place)
    return rows
