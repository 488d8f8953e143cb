"""Sound from log-mel frames, computed inside the graph."""

import functools
import math
from typing import Any

import numpy as np

from kerazoo.tasks.log_mel import LogMel

ITERATIONS = 32
MOMENTUM = 0.99  # below 1, where the fast algorithm converges


class GriffinLim:
    """Computes sound whose log-mel frames are close to given ones: the inverse of `LogMel`.

    The pseudo-inverse of the mel filters gives the power of each frequency, negative values clipped to 0. Its phases,
    which the frames lack, are found by iteration: the sound of a spectrogram is computed, its own phases are taken over
    and its magnitudes replaced by the given ones. Each step goes on in the direction of the one before (momentum). The
    first phases are those of a steady tone for each frequency, so nothing is random, and a sound does not depend on
    the others of its batch.

    Args:
        log_mel: `LogMel`. What is inverted.

    Call arguments:
        frames: float32 tensor `[B, N, F]`, logarithms of power, as `LogMel` returns them.
        lengths: int32 tensor `[B]`. The number of valid frames.

    Returns:
        float32 tensor `[B, N * frame_step]`, 0 after the end of a sound.

    Reference:
        Griffin and Lim, 1984, Signal Estimation from Modified Short-Time Fourier Transform;
        Perraudin, Balazs and Sondergaard, 2013, A Fast Griffin-Lim Algorithm (the momentum).
    """

    def __init__(self, log_mel: LogMel):
        self.log_mel = log_mel

    @functools.cached_property
    def inverse_filters(self) -> np.ndarray:
        """The pseudo-inverse of the mel filters, float32 `[F, fft_length / 2 + 1]`."""
        return np.linalg.pinv(self.log_mel.filters.astype(np.float64)).astype(np.float32)

    @functools.cached_property
    def program(self) -> Any:
        """A call as one program for sounds of any length."""
        import tensorflow as tf

        specs = [tf.TensorSpec([None, None, self.log_mel.num_mel_bins], tf.float32), tf.TensorSpec([None], tf.int32)]
        return tf.function(self.__call__, input_signature=specs, autograph=False)

    def magnitudes(self, frames: Any) -> Any:
        """Returns the magnitude of each frequency `[B, N, fft_length / 2 + 1]` for frames."""
        import tensorflow as tf

        return tf.sqrt(tf.maximum(tf.matmul(tf.exp(frames), self.inverse_filters), 0.0))

    def __call__(self, frames: Any, lengths: Any) -> Any:
        import tensorflow as tf

        count = tf.shape(frames)[1]
        valid = tf.range(count) < lengths[:, None]  # [B, N]
        magnitudes = tf.where(valid[:, :, None], self.magnitudes(frames), 0.0)
        magnitudes = tf.complex(magnitudes, tf.zeros_like(magnitudes))

        def improve(index, spectrum, before):
            found = self._spectrum(self._sound(spectrum))
            ahead = found + MOMENTUM * (found - before)
            size = tf.maximum(tf.abs(ahead), 1e-8)
            return index + 1, magnitudes * (ahead / tf.complex(size, tf.zeros_like(size))), found

        first = (0, magnitudes * self._tones(count), tf.zeros_like(magnitudes))
        _, spectrum, _ = tf.while_loop(lambda index, *_: index < ITERATIONS, improve, first)
        step = self.log_mel.frame_step
        samples = self._sound(spectrum)[:, : count * step]
        return tf.where(tf.range(count * step) < lengths[:, None] * step, samples, 0.0)

    def _tones(self, count):
        """Returns the phases of steady tones at the frequencies of a spectrum, complex64 `[N, fft_length / 2 + 1]`."""
        import tensorflow as tf

        size = self.log_mel.fft_length
        starts = tf.range(count) * self.log_mel.frame_step % size  # whole periods are left out
        parts = starts[:, None] * np.arange(size // 2 + 1, dtype=np.int32) % size
        angles = tf.cast(parts, tf.float32) * (2 * math.pi / size)
        return tf.complex(tf.cos(angles), tf.sin(angles))

    def _spectrum(self, samples):
        import tensorflow as tf

        return tf.signal.stft(samples, self.log_mel.frame_length, self.log_mel.frame_step, self.log_mel.fft_length)

    def _sound(self, spectrum):
        import tensorflow as tf

        step = self.log_mel.frame_step
        window = tf.signal.inverse_stft_window_fn(step)
        return tf.signal.inverse_stft(spectrum, self.log_mel.frame_length, step, self.log_mel.fft_length, window)
