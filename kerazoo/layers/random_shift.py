"""Random shifts of sequences and images for data augmentation."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.masking import first_mask

FILLS = ("wrap", "zero", "edge")


@keras.saving.register_keras_serializable(package="kerazoo")
class RandomShift(keras.layers.Layer):
    """Shifts each example by a random number of positions in training; does nothing in inference.

    With `axes=1` it rotates sequences, as [1, 2, 3, 4, 5] becomes [2, 3, 4, 5, 1], or shifts series and waveforms in
    time; with `axes=(1, 2)` it shifts images vertically and horizontally. The offset is an integer between -max_shift
    and max_shift, uniformly distributed and sampled for each example and axis. `roll` shifts by a fixed offset.

    Args:
        max_shift: int or list of ints, one for each axis, each above 0. Largest offset in positions or pixels.
        axes: int or list of ints, each above 0. Axes that are shifted; axis 0 is the batch. Defaults to `1`.
        fill: `"wrap"`, `"zero"` or `"edge"`. What fills the open end: the values that fell out at the other end, zeros,
            or the outermost value. Defaults to `"wrap"`.
        seed: int or None. Seed of the offsets. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: tensor of any dtype, `[B, T, ...]`, for images `[B, H, W, C]`.
        padding_mask: bool tensor `[B, T]`, True = valid position; only with `axes=1`. Defaults to `None`.
        training: bool. Whether to shift.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A tensor of the shape of `inputs`. Integers keep their dtype, floats have the compute dtype.

    Masking:
        With a mask the valid positions shift among themselves, wherever the padding is. Padding stays in place.

    Raises:
        ValueError: if `inputs` lack one of `axes`, or a mask is given with other axes than 1.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    shift = kz.layers.RandomShift(max_shift=2, seed=5)
    tokens = np.array([[1, 2, 3, 4, 5]])
    shifted = np.array(shift(tokens, training=True))[0].tolist()
    assert shifted in [[1, 2, 3, 4, 5][k:] + [1, 2, 3, 4, 5][:k] for k in range(-2, 3)]
    assert np.array(shift(tokens)).tolist() == tokens.tolist()
    ```

    Reference:
        Simard, Steinkraus and Platt, 2003, Best Practices for Convolutional Neural Networks Applied to Visual Document
        Analysis (images);
        Um et al., 2017, Data Augmentation of Wearable Sensor Data, arXiv:1706.00527 (series).
    """

    def __init__(
        self,
        max_shift: int | list[int] | tuple[int, ...],
        axes: int | list[int] | tuple[int, ...] = 1,
        *,
        fill: str = "wrap",
        seed: int | None = None,
        **kwargs: Any,
    ):
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
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        if max(self.axes) >= len(inputs_shape):
            raise ValueError(
                f"RandomShift: `axes` must be axes of `inputs`; got axes={self.axes}, shape {tuple(inputs_shape)}."
            )

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        valid = first_mask(padding_mask, mask)
        if valid is not None and self.axes != (1,):
            raise ValueError(f"RandomShift: `padding_mask` needs axes=1; got axes={self.axes}.")
        return self.transform(inputs, self.seed_generator, valid) if training else inputs

    def transform(self, inputs: Any, seed: keras.random.SeedGenerator, padding_mask: Any = None) -> Any:
        """Returns the shifted inputs, in training and in inference.

        Args:
            inputs: tensor `[B, T, ...]`.
            seed: `keras.random.SeedGenerator` of the offsets.
            padding_mask: bool tensor `[B, T]`, True = valid position, or None. Defaults to `None`.
        """
        x = inputs
        for axis, largest in zip(self.axes, self.max_shift):
            offsets = keras.random.randint((ops.shape(x)[0], 1), -largest, largest + 1, seed=seed)  # [B, 1]
            x = self._shift(x, offsets, axis, padding_mask)
        return x

    def _shift(self, x: Any, offsets: Any, axis: int, mask: Any) -> Any:
        """Shifts each row of `x` along `axis` by its entry of `offsets` [B, 1]."""
        length = ops.shape(x)[axis]
        positions = ops.broadcast_to(ops.arange(length, dtype="int32")[None], (ops.shape(x)[0], length))  # [B, L]
        if mask is None:
            order, rank, count = positions, positions, length
        else:
            order = ops.argsort(ops.where(mask, positions, positions + length), axis=1)  # valid positions first
            rank = ops.cumsum(ops.cast(mask, "int32"), axis=1) - 1  # of a valid position among the valid ones
            count = ops.maximum(ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True), 1)
        wanted = rank - offsets
        inside = ops.mod(wanted, count) if self.fill == "wrap" else ops.clip(wanted, 0, count - 1)
        source = ops.take_along_axis(order, inside, axis=1)  # [B, L]
        empty = ops.logical_and(self.fill == "zero", wanted != inside)
        if mask is not None:
            source = ops.where(mask, source, positions)
            empty = ops.logical_and(empty, mask)
        shifted = ops.take_along_axis(x, ops.broadcast_to(_expand(source, axis, x), ops.shape(x)), axis=axis)
        return ops.where(_expand(empty, axis, x), ops.zeros_like(x), shifted)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_shift": list(self.max_shift),
            "axes": list(self.axes),
            "fill": self.fill,
            "seed": self.seed,
        }


def _expand(rows: Any, axis: int, x: Any) -> Any:
    """Gives `rows` [B, L] as many axes as `x` has, with L at `axis`."""
    for other in range(1, len(x.shape)):
        if other != axis:
            rows = ops.expand_dims(rows, other)
    return rows
