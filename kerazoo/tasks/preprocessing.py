"""Preprocessing by name: the same in training, evaluation, prediction and export."""

import math
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo._options import parse_options

# The names by kind of data, the default first, and the options of each.
NAMES = {
    "images": {"scale": (), "standardise": ()},
    "series": {
        "standardise": (),
        "spectrogram": ("frame_length", "frame_step", "fft_length", "window", "mode"),
        "mel_spectrogram": ("num_mel_bins", "fft_length", "sequence_stride", "sampling_rate", "min_freq", "max_freq"),
    },
}
MAX_FRAME_LENGTH = 256  # of the default frame


def parse_preprocess(owner: str, data: str, preprocess: str | None) -> tuple[str, dict]:
    """Returns name and options of `"NAME:OPTION=VALUE,..."` for a kind of data of `NAMES`; `None` is the first name.

    Args:
        owner: string. The task or feature that error messages name.
        data: string. `"images"` or `"series"`.
        preprocess: string. The name with its options.

    Raises:
        ValueError: if a name or option is unknown.
    """
    names = NAMES[data]
    preprocess = str(preprocess or next(iter(names)))
    name, options = parse_options(f"{owner}: `preprocess`", preprocess)
    _checks.one_of(owner, "preprocess", name, tuple(names))
    allowed = names[name]
    for option in options:
        if option not in allowed:
            raise _checks.unknown(f"option of preprocess {name}:", option, allowed, ", ".join(allowed) or "none")
    return name, options


class Spectrogram:
    """Computes the spectrograms of windows of series, of each column alone, with the layers of Keras.

    Args:
        owner: string. The task that error messages name.
        length: int. The rows of a window.
        name: string. `"spectrogram"` or `"mel_spectrogram"`.
        options: dict. Options of `keras.layers.STFTSpectrogram` or `keras.layers.MelSpectrogram`. The default frame
            is the largest power of two that fits the window, at most 256; frames overlap by half.

    Call arguments:
        windows: float32 `[B, length, columns]`.

    Returns:
        float32 `[B, frames, columns * bins]`.

    Raises:
        ValueError: if a size is not positive, or larger than the window.
    """

    def __init__(self, owner: str, length: int, name: str, options: dict):
        import keras

        _checks.number(owner, "length", length, low=2)
        fitting = min(MAX_FRAME_LENGTH, 1 << (length.bit_length() - 1))
        self.mel, self.length = name == "mel_spectrogram", length
        if self.mel:
            self.layer = keras.layers.MelSpectrogram(**_mel_options(owner, length, fitting, options), dtype="float32")
            return
        self.layer = keras.layers.STFTSpectrogram(**_stft_options(owner, length, fitting, options), dtype="float32")
        self.layer.build((None, length, 1))
        # Passed as NumPy arrays, the kernels become constants of every program, an exported one included.
        self.kernels = [np.asarray(kernel) for kernel in self.layer.trainable_variables]

    def __call__(self, windows: Any) -> Any:
        from keras import ops

        if not self.mel:
            return self.layer.stateless_call(self.kernels, [], windows)[0]
        columns = windows.shape[-1]
        signals = ops.reshape(ops.transpose(windows, (0, 2, 1)), (-1, self.length))  # [B * V, L]
        bins = self.layer(signals)  # [B * V, bins, frames]
        bins = ops.reshape(bins, (-1, columns * bins.shape[1], bins.shape[2]))  # [B, V * bins, frames]
        return ops.transpose(bins, (0, 2, 1))


def _stft_options(owner, length, fitting, options):
    frame = options.get("frame_length", fitting)
    _fits(owner, "frame_length", frame, 2, length, "the rows of a window; set a smaller one, or a larger length")
    fft = options.get("fft_length", 1 << (frame - 1).bit_length())
    if _checks.positive_int(owner, "fft_length", fft) < frame:
        raise ValueError(f"{owner}: `fft_length` must be at least frame_length={frame}; got fft_length={fft}.")
    step = options.get("frame_step", max(1, frame // 2))
    _fits(owner, "frame_step", step, 1, frame, "frame_length")
    window = _checks.one_of(owner, "window", options.get("window", "hann"), ("hann", "hamming"))
    mode = _checks.one_of(owner, "mode", options.get("mode", "log"), ("log", "magnitude", "psd"))
    return {"frame_length": frame, "frame_step": step, "fft_length": fft, "window": window, "mode": mode}


def _mel_options(owner, length, fitting, options):
    fft = options.get("fft_length", fitting)
    _fits(owner, "fft_length", fft, 2, length, "the rows of a window; set a smaller one, or a larger length")
    stride = _checks.positive_int(owner, "sequence_stride", options.get("sequence_stride", max(1, fft // 2)))
    bins = _checks.positive_int(owner, "num_mel_bins", options.get("num_mel_bins", max(1, fft // 4)))
    rate = _checks.positive_int(owner, "sampling_rate", options.get("sampling_rate", 16000))
    high = _checks.number(owner, "max_freq", options.get("max_freq", rate / 2), 0, rate / 2, low_open=True)
    low = _checks.number(owner, "min_freq", options.get("min_freq", min(20.0, high / 2)), 0, high, high_open=True)
    sizes = {"fft_length": fft, "sequence_stride": stride, "num_mel_bins": bins, "sampling_rate": rate}
    # The layer would clip bins to 80 dB below the loudest of the batch, but predictions must not depend on the batch.
    return {**sizes, "min_freq": low, "max_freq": high, "top_db": math.inf}


def _fits(owner, name, value, low, high, what):
    if not low <= _checks.positive_int(owner, name, value) <= high:
        raise ValueError(f"{owner}: `{name}` must be {low} to {high}, {what}; got {name}={value}.")
