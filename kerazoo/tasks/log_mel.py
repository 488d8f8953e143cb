"""Log-mel frames of sound, computed inside the graph."""

import functools
from typing import Any

import numpy as np

from kerazoo import _checks

FRAME_SECONDS, STEP_SECONDS = 0.025, 0.010
LOWEST = 20.0  # Hz, of the mel filters
FLOOR = 1e-6  # of the power in a filter: about that of the rounding to 16 bits
MAX_RATE = 192_000  # samples a second


class LogMel:
    """Computes the logarithm of the power in each of the mel filters, for overlapping frames of sound.

    A frame takes 25 ms and begins every 10 ms. Frame i reads samples from `i * frame_step` on, and zeros after the end,
    so what is in a frame does not depend on how far a sound is padded.

    Args:
        owner: string. The task that error messages name.
        sample_rate: int, 1,000 to 192,000. Samples of a second.
        num_mel_bins: int, above 0. Number of mel filters F. A filter must not be narrower than what the frame can tell
            apart.

    Call arguments:
        samples: float32 tensor `[B, T]` in [-1, 1].

    Returns:
        float32 tensor `[B, ceil(T / frame_step), F]`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(self, owner: str, sample_rate: int, num_mel_bins: int):
        _checks.positive_int(owner, "sample_rate", sample_rate)
        self.sample_rate = int(_checks.number(owner, "sample_rate", sample_rate, low=1000, high=MAX_RATE))
        self.num_mel_bins = _checks.positive_int(owner, "num_mel_bins", num_mel_bins)
        self.frame_length = round(FRAME_SECONDS * self.sample_rate)
        self.frame_step = round(STEP_SECONDS * self.sample_rate)
        self.fft_length = 1 << (self.frame_length - 1).bit_length()
        _checks.not_above(owner, "num_mel_bins", num_mel_bins, self.fft_length // 2)

    @functools.cached_property
    def filters(self) -> np.ndarray:
        """The weights of the mel filters, float32 `[fft_length / 2 + 1, F]`."""
        import tensorflow as tf

        with tf.init_scope():  # as a constant, wherever the first call is
            return tf.signal.linear_to_mel_weight_matrix(
                self.num_mel_bins, self.fft_length // 2 + 1, self.sample_rate, LOWEST, self.sample_rate / 2
            ).numpy()

    @functools.cached_property
    def program(self) -> Any:
        """A call as one program for sounds of any length, which costs less than its operations one by one."""
        import tensorflow as tf

        return tf.function(self.__call__, input_signature=[tf.TensorSpec([None, None], tf.float32)], autograph=False)

    def num_frames(self, num_samples: Any) -> Any:
        """Returns the number of frames of sounds of so many samples, an integer or a tensor of them."""
        return -(-num_samples // self.frame_step)

    def __call__(self, samples: Any) -> Any:
        import tensorflow as tf

        spectrum = tf.signal.stft(samples, self.frame_length, self.frame_step, self.fft_length, pad_end=True)
        power = tf.math.square(tf.abs(spectrum))  # [B, frames, fft_length / 2 + 1]
        return tf.math.log(tf.maximum(tf.matmul(power, self.filters), FLOOR))
