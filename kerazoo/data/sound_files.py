"""Sound from files, as one channel of float32: one way of decoding for training, evaluation and prediction."""

import io
import math
import os
import wave
from typing import Any

import numpy as np

from kerazoo import _checks, _files

# What names of sound files end in. Formats that cannot be decoded are refused instead of being overlooked.
SOUND_EXTENSIONS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".wma")
MAX_SAMPLE_RATE = 1 << 20  # in Hz
EDGE_SECONDS = 0.05  # of silence at both ends, so that a resampled end does not show up at the beginning


def read_sound(path: str | os.PathLike, sample_rate: int | None = None, resample: bool = True) -> np.ndarray:
    """Returns the sound in a file, its channels mixed to one.

    WAV files of 8, 16, 24 or 32 bits are read by Python itself; other kinds of WAV, FLAC, and what else libsndfile
    decodes by the package soundfile.

    Args:
        path: string or path of the file.
        sample_rate: int, above 0. Samples of a second that are wanted. Defaults to `None`: those of the file.
        resample: bool. Whether a file with another rate is converted; False refuses it. Defaults to `True`.

    Returns:
        float32 array `[samples]` in [-1, 1].

    Raises:
        DataError: if the file is missing, is no sound, is damaged, has no samples or another rate that is refused.
        SetupError: if the file needs the package soundfile, and that is not installed.
    """
    try:
        samples, rate = _read_wav(path) or _read_by_soundfile(path)
    except OSError as error:
        raise _checks.DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if not len(samples):
        raise _checks.DataError(f"{path}: holds no samples of sound.")
    if not np.isfinite(samples).all():
        raise _checks.DataError(f"{path}: a damaged sound: it holds values that are no numbers.")
    sound = samples.mean(axis=1, dtype=np.float32)
    if sample_rate is None or rate == sample_rate:
        return sound
    if not resample:
        raise _checks.DataError(
            f"{path}: has {rate:,} samples a second, and {sample_rate:,} are expected. Convert the file, set "
            f"sample_rate={rate} for all of them, or resample=True."
        )
    return resampled(sound, rate, sample_rate)


def resampled(sound: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Returns a sound with another number of samples a second, without the frequencies that those cannot hold.

    The spectrum of the whole sound is cut or extended with zeros.

    Args:
        sound: float32 array `[samples]`.
        rate: int, above 0. Its samples of a second.
        new_rate: int, above 0. Those of the result.

    Returns:
        float32 array `[ceil(samples * new_rate / rate)]`.
    """
    if rate == new_rate:
        return sound
    length = -(-len(sound) * new_rate // rate)
    common = math.gcd(rate, new_rate)
    step, new_step = rate // common, new_rate // common  # so many samples of both rates take the same time
    before = -(-int(EDGE_SECONDS * rate) // step)
    blocks = 2 * before + -(-len(sound) // step)
    padded = np.zeros(blocks * step)
    padded[before * step : before * step + len(sound)] = sound
    spectrum, size = np.fft.rfft(padded), blocks * new_step
    kept = np.zeros(size // 2 + 1, complex)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    result = np.fft.irfft(kept, size) * (new_step / step)
    return result[before * new_step :][:length].astype(np.float32)


def write_sound(path: str | os.PathLike, sound: np.ndarray, sample_rate: int) -> None:
    """Writes a sound as a WAV file of 16 bits, which holds either its old content or all of the new one at any moment.

    Args:
        path: string or path of the file. Missing parent folders are made.
        sound: float array `[samples]` in [-1, 1]; what is beyond is clipped.
        sample_rate: int, above 0. Its samples of a second.
    """
    samples = np.round(np.clip(np.asarray(sound, np.float64), -1, 1) * 32767).astype("<i2")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, sample_rate, len(samples), "NONE", "not compressed"))
        file.writeframes(samples.tobytes())
    _files.write_file(path, content.getvalue())


def _read_wav(path):
    """Returns the samples float32 `[samples, channels]` of a WAV file and their rate, `None` for another kind."""
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF":
            return None
        file.seek(0)
        try:
            with wave.open(file) as reader:
                width, channels, rate = reader.getsampwidth(), reader.getnchannels(), reader.getframerate()
                expected = reader.getnframes()
                content = reader.readframes(expected)
        except (wave.Error, EOFError) as error:
            if str(error).startswith("unknown format"):
                return None
            raise _damaged(path, str(error) or "it ends within its header") from error
    found = len(content) // (width * channels)
    if found < expected:
        raise _damaged(path, f"it ends after {found:,} of {expected:,} samples")
    if not 1 <= rate <= MAX_SAMPLE_RATE:
        raise _damaged(path, f"its header says {rate:,} samples a second")
    return _decoded(content, width).reshape(found, channels), rate


def _decoded(content, width):
    """Returns the numbers in the bytes of samples of `width` bytes, float32 in [-1, 1)."""
    if width == 1:  # the only one without a sign
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128
    if width == 3:
        rows = np.frombuffer(content, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(rows), 4), np.uint8)
        wide[:, 1:] = rows  # as 32 bits whose last eight are zeros
        return (wide.reshape(-1).view("<i4") / 2**31).astype(np.float32)
    values = np.frombuffer(content, f"<i{width}")
    return (values / 2 ** (8 * width - 1)).astype(np.float32)


def _read_by_soundfile(path):
    soundfile = _import(path)
    try:
        samples, rate = soundfile.read(os.fspath(path), dtype="float32", always_2d=True)
    except MemoryError:
        raise
    except Exception as error:  # libsndfile tells of any fault by errors of its own
        raise _checks.DataError(
            f"{path}: no sound that can be read (WAV or FLAC), or a damaged one: {str(error).rstrip('.')}."
        ) from error
    return samples, rate


def _damaged(path, why):
    return _checks.DataError(f"{path}: a damaged WAV file: {why}.")


def _import(path) -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # the second where libsndfile is missing
        raise _checks.SetupError(
            f"{path}: not a WAV file of whole numbers, and the package soundfile, which reads others, cannot be "
            f'imported ({error}). Install it with: pip install "kerazoo[speech]"'
        ) from error
    return soundfile
