"""Sound as a feature: a file, or samples."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Ragged
from kerazoo.data.sound_files import read_sound
from kerazoo.tasks.feature import Converted, Feature, MaskedSequence
from kerazoo.tasks.log_mel import LogMel
from kerazoo.tasks.scaling import Sums

FITTED_FRAMES = 1 << 18  # about 44 minutes, which the scaling is fitted to
BUCKET_SECONDS = 0.5  # sounds that are predicted together are padded to a multiple of it, so few programs are needed
MAX_SECONDS = 60.0


class SoundFeature(Feature):
    """A sound of any length, read from a file or given as samples, as normalized log-mel frames.

    The corpus holds the frames, 100 a second, as float16; each mel filter is brought to mean 0 and standard deviation
    1 by the training part. A model reads them with a mask, `[B, frames, num_mel_bins]` and `[B, frames]`. In prediction
    and in an exported model they are computed from the samples inside the graph; there the end of a sound that is
    shorter than others of its batch is marked by NaN.

    Args:
        column: string. The name of the raw column: file names, or arrays `[samples]` of float in [-1, 1] or int16,
            with `sample_rate` samples a second. Defaults to `"sound"`.
        sample_rate: int, 1,000 to 192,000. Samples of a second that sounds are brought to. Defaults to `16000`.
        resample: bool. Whether files with another rate are converted; False refuses them. Defaults to `True`.
        num_mel_bins: int, above 0. Number of mel filters. Defaults to `40`.
        max_seconds: float, above 0. Sounds that are longer are refused. Defaults to `60`.
    """

    modality = "sound"
    reads_files = True

    def __init__(
        self,
        column: str = "sound",
        sample_rate: int = 16000,
        resample: bool = True,
        num_mel_bins: int = 40,
        max_seconds: float = MAX_SECONDS,
    ):
        super().__init__(column)
        self.log_mel = LogMel(self.owner, sample_rate, num_mel_bins)
        self.resample = bool(resample)
        self.max_seconds = _checks.number(self.owner, "max_seconds", max_seconds, low=0, low_open=True)
        self._sums = Sums()
        self._fault = ""  # the first of the training sounds that cannot be read

    @property
    def sample_rate(self) -> int:
        """Samples of a second."""
        return self.log_mel.sample_rate

    @property
    def config(self) -> dict:
        return {**super().config, **self._options, "resample": self.resample, "max_seconds": self.max_seconds}

    @property
    def _options(self):
        return {"sample_rate": self.sample_rate, "num_mel_bins": self.log_mel.num_mel_bins}

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        for value in columns[self.columns[0]]:
            if not self._needs_more:  # another feature may
                return False
            try:
                self._fit_sound(self._sound(value))
            except _checks.DataError as error:  # raised, or counted, where the examples are converted
                self._fault = self._fault or f": {error}"
        return True

    @property
    def _needs_more(self):
        return self._sums.count < FITTED_FRAMES

    def _fit_sound(self, sound):
        self._sums.add(np.asarray(self._frames(sound), np.float64))

    def finish(self) -> bool:
        if not self._sums.count:
            raise _checks.NoExamplesError(
                f"{self.owner}, train: no sound can be read to normalize by{self._fault or '.'}"
            )
        mean, deviation = self._sums.result()
        self.state = {**self._options, "mean": mean, "deviation": deviation}
        return False

    def restore(self, state: Mapping) -> None:
        for name, value in self._options.items():
            self._same_option(name, state[name], value)
        super().restore(state)

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        rows, faults = [], {}
        for row, value in enumerate(columns[self.columns[0]]):
            try:
                rows.append(self._normalized(self._frames(self._sound(value))).astype(np.float16))
            except _checks.DataError as error:
                faults[row] = str(error)
                rows.append(np.zeros((1, self.log_mel.num_mel_bins), np.float16))
        values = np.concatenate(rows) if rows else np.zeros((0, self.log_mel.num_mel_bins), np.float16)
        return Converted(Ragged.from_lengths(values, [len(row) for row in rows]), faults=faults)

    def load(self, values: Sequence) -> tuple[list, dict[int, str]]:
        """Returns the samples of each sound, float32 `[samples]`, and faults by row."""
        sounds: list[Any] = []
        faults = {}
        for row, value in enumerate(values):
            try:
                sounds.append(self._sound(value))
            except _checks.DataError as error:
                faults[row] = str(error)
                sounds.append(None)
        return sounds, faults

    def summary(self, values: Any) -> str:
        """Returns the shortest and the longest duration."""
        seconds = values.lengths * self.log_mel.frame_step / self.sample_rate
        return f"sounds of {seconds.min():.2f} to {seconds.max():.2f} seconds" if len(values) else ""

    def inputs(self, values: Any) -> Any:
        from keras import ops

        return ops.cast(values, "float32")  # [B, S, F]

    def pack(self, values: Sequence) -> Any:
        """Returns the samples of all sounds, files or arrays, float32 `[B, T]`, NaN after the end of each."""
        sounds = [self._sound(value) for value in values]
        bucket = round(BUCKET_SECONDS * self.sample_rate)
        blocks = max([-(-len(sound) // bucket) for sound in sounds], default=1)
        packed = np.full((len(sounds), blocks * bucket), np.nan, np.float32)
        for row, sound in zip(packed, sounds):
            row[: len(sound)] = sound
        return packed

    def encode(self, *packed: Any) -> Any:
        import tensorflow as tf

        samples = tf.convert_to_tensor(packed[0])
        inside = tf.logical_not(tf.math.is_nan(samples))
        ends = self.log_mel.num_frames(tf.reduce_sum(tf.cast(inside, tf.int32), axis=1))
        frames = self._normalized(self.log_mel(tf.where(inside, samples, tf.zeros_like(samples))))
        mask = tf.range(tf.shape(frames)[1]) < ends[:, None]
        return MaskedSequence(tf.where(mask[:, :, None], frames, tf.zeros_like(frames)), mask)

    def read(self, text: str) -> Any:
        return self._sound(text)

    def signature(self) -> list[tuple[list, str]]:
        return [([None], "float32")]

    def decode_files(self, files: Any) -> Any:
        """Returns the samples in the bytes of WAV files of 16 bits, float32 `[B, T]`, NaN after the end of each."""
        import tensorflow as tf

        def decoded(file):
            samples, rate = tf.audio.decode_wav(file)  # [T, channels]
            needed = f"the file must have {self.sample_rate} samples a second"
            with tf.control_dependencies([tf.debugging.assert_equal(rate, self.sample_rate, needed)]):
                return tf.reduce_mean(samples, axis=1)

        rows = tf.map_fn(decoded, files, fn_output_signature=tf.RaggedTensorSpec([None], tf.float32))
        return rows.to_tensor(np.nan)

    def encode_files(self, values: Sequence) -> list[bytes]:
        import tensorflow as tf

        sounds = [np.asarray(value)[np.isfinite(value)] for value in values]
        return [tf.audio.encode_wav(sound[:, None], self.sample_rate).numpy() for sound in sounds]

    def input_sizes(self) -> dict:
        return {"input_shape": (None, self.log_mel.num_mel_bins)}

    def _sound(self, value):
        """Returns the samples of a file or of an array, float32 `[samples]`."""
        if not isinstance(value, str | os.PathLike):
            return self._checked(value)
        sound = read_sound(value, self.sample_rate, self.resample)
        self._check_duration(f"{value}: ", sound, _checks.DataError)
        return sound

    def _checked(self, value):
        sound = np.asarray(value)
        if sound.ndim != 1 or not len(sound) or sound.dtype.kind not in "fi":
            raise ValueError(
                f"{self.owner}: a sound must be samples, float or int16 [samples]; got an array of {sound.dtype} of "
                f"shape {sound.shape}."
            )
        if sound.dtype.kind == "i":
            sound = sound.astype(np.float32) / 32768
        if not np.isfinite(sound).all():
            raise ValueError(f"{self.owner}: the samples of a sound must be finite numbers; got NaN or infinity.")
        self._check_duration(f"{self.owner}: ", sound, ValueError)
        return sound.astype(np.float32)

    def _check_duration(self, where, sound, error):
        seconds = len(sound) / self.sample_rate
        if seconds > self.max_seconds:
            raise error(
                f"{where}a sound must take at most max_seconds={self.max_seconds:g}; got {seconds:,.1f} seconds. Cut "
                "it into parts, or set a larger max_seconds."
            )

    def _frames(self, sound):
        return self.log_mel.program(sound[None])[0].numpy()  # [S, F]

    def _normalized(self, frames):
        mean, deviation = (np.array(self.state[name], np.float32) for name in ("mean", "deviation"))
        return (frames - mean) / deviation
