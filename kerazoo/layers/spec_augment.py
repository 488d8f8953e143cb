"""Random masks over bands of frequencies and stretches of time of a spectrogram, for data augmentation."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.masking import first_mask


@keras.saving.register_keras_serializable(package="kerazoo")
class SpecAugment(keras.layers.Layer):
    """Sets random bands of frequencies and stretches of time of a spectrogram to zero; does nothing in inference.

    Zero is the mean of a normalized spectrogram. Each mask begins at a random position and has a random width of up to
    the given one, sampled for each example. The masks of time are those of the paper's bounded form: none is wider than
    `time_fraction` of the valid frames. The paper's warping of time is left out, which it found to matter little.

    Args:
        num_time_masks: int, at least 0. Masks over time. Defaults to `2`.
        time_width: int, at least 0. Largest width of a mask over time, in frames. Defaults to `20`.
        num_frequency_masks: int, at least 0. Masks over frequencies. Defaults to `2`.
        frequency_width: int, at least 0. Largest width of a mask over frequencies, in bins. Defaults to `8`.
        time_fraction: float in `[0, 1]`. Largest width of a mask over time as a fraction of the frames. Defaults to
            `0.2`.
        seed: int or None. Seed of the masks. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, F]`, frames of F bins.
        padding_mask: bool tensor `[B, T]`, True = valid position. Defaults to `None`.
        training: bool. Whether to mask.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A float tensor of the shape of `inputs`, in the compute dtype.

    Masking:
        Stretches of time are chosen among the first frames, as many as are valid: padding is on the right.

    Raises:
        ValueError: if an argument is out of range, or `inputs` do not have 3 axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    augment = kz.layers.SpecAugment(num_time_masks=1, time_width=4, num_frequency_masks=0, seed=3)
    frames = np.ones((2, 30, 7), "float32")
    masked = np.array(augment(frames, training=True))
    assert np.all((masked == 0).sum(axis=1) <= 4) and np.array_equal(augment(frames), frames)
    ```

    Reference:
        Park et al., 2019, SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition,
        arXiv:1904.08779.
    """

    def __init__(
        self,
        num_time_masks: int = 2,
        time_width: int = 20,
        num_frequency_masks: int = 2,
        frequency_width: int = 8,
        *,
        time_fraction: float = 0.2,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_time_masks = _checks.non_negative_int("SpecAugment", "num_time_masks", num_time_masks)
        self.time_width = _checks.non_negative_int("SpecAugment", "time_width", time_width)
        self.num_frequency_masks = _checks.non_negative_int("SpecAugment", "num_frequency_masks", num_frequency_masks)
        self.frequency_width = _checks.non_negative_int("SpecAugment", "frequency_width", frequency_width)
        self.time_fraction = _checks.number("SpecAugment", "time_fraction", time_fraction, low=0, high=1)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("SpecAugment", "inputs", inputs_shape, (3,))

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        return self.transform(inputs, self.seed_generator, first_mask(padding_mask, mask)) if training else inputs

    def transform(self, inputs: Any, seed: keras.random.SeedGenerator, padding_mask: Any = None) -> Any:
        """Returns the inputs with masks, in training and in inference.

        Args:
            inputs: float tensor `[B, T, F]`.
            seed: `keras.random.SeedGenerator` of the masks.
            padding_mask: bool tensor `[B, T]`, True = valid position. Defaults to `None`.
        """
        batch, frames, bins = ops.shape(inputs)
        if padding_mask is None:
            lengths = ops.full((batch,), frames, dtype="float32")
        else:
            lengths = ops.sum(ops.cast(padding_mask, "float32"), axis=1)  # [B]
        kept = ops.ones_like(inputs, dtype="bool")
        widest = ops.minimum(ops.floor(lengths * self.time_fraction), float(self.time_width))
        for _ in range(self.num_time_masks):
            kept = ops.logical_and(kept, _outside(frames, widest, lengths, seed)[:, :, None])
        sizes = ops.full((batch,), bins, dtype="float32")
        for _ in range(self.num_frequency_masks):
            widest = ops.minimum(sizes, float(self.frequency_width))
            kept = ops.logical_and(kept, _outside(bins, widest, sizes, seed)[:, None, :])
        return ops.where(kept, inputs, ops.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_time_masks": self.num_time_masks,
            "time_width": self.time_width,
            "num_frequency_masks": self.num_frequency_masks,
            "frequency_width": self.frequency_width,
            "time_fraction": self.time_fraction,
            "seed": self.seed,
        }


def _outside(size: Any, widest: Any, lengths: Any, seed: Any) -> Any:
    """Returns bools `[B, size]`, False in one stretch of each row: up to `widest` [B] of its `lengths` [B]."""
    shares = keras.random.uniform((2, ops.shape(lengths)[0]), seed=seed)
    widths = ops.floor(shares[0] * (widest + 1))
    starts = ops.floor(shares[1] * (lengths - widths + 1))
    positions = ops.cast(ops.arange(size), "float32")
    return ops.logical_or(positions < starts[:, None], positions >= (starts + widths)[:, None])
