"""Sound as a target: log-mel frames that a decoder of values predicts, and the sound that has such frames."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Ragged
from kerazoo.tasks.feature import Converted, Feature
from kerazoo.tasks.griffin_lim import GriffinLim
from kerazoo.tasks.log_mel import FLOOR
from kerazoo.tasks.sound_feature import FITTED_FRAMES, SoundFeature

if TYPE_CHECKING:
    import keras

SOUNDS_AT_ONCE = 32  # which are computed together from their frames
MARGIN = 1.25  # the largest number of steps of a prediction, by that of the training examples


class SpectrogramFeature(SoundFeature):
    """A sound as a target: `frames_per_step` log-mel frames at each step of a decoder, and whether the sound ends.

    The frames are those of `SoundFeature`, normalized by the training part. A decoder of values with a stop logit
    predicts them. A prediction is a sound, samples float32 `[samples]` whose frames are close to the predicted ones
    (Griffin-Lim). In an exported model it is computed inside the graph.

    Sounds are compared by their frames: `mean_absolute_error` is that of normalized frames which dynamic time warping
    aligned, `length_error` that of the durations.

    Args:
        column: string. The name of the raw column, as for `SoundFeature`. Defaults to `"sound"`.
        frames_per_step: int, above 0. Frames of 10 ms that a decoder predicts at once. Defaults to `4`.
        **sound: further arguments of `SoundFeature`.

    Reference:
        Wang et al., 2017, Tacotron: Towards End-to-End Speech Synthesis, arXiv:1703.10135 (several frames a step, and
        Griffin-Lim);
        Shen et al., 2018, arXiv:1712.05884 (the stop logit).
    """

    kinds = ("forecaster",)
    continuous = True
    measures = ("mean_absolute_error", "length_error")
    outputs = ("sound", "length", "sample_rate", "frames")

    def __init__(self, column: str = "sound", frames_per_step: int = 4, **sound: Any):
        super().__init__(column, **sound)
        self.frames_per_step = _checks.positive_int(self.owner, "frames_per_step", frames_per_step)
        self._max_frames = 1  # frames of the training examples

    @functools.cached_property
    def griffin_lim(self) -> GriffinLim:
        """What computes a sound of frames."""
        return GriffinLim(self.log_mel)

    @property
    def _options(self):
        return {**super()._options, "frames_per_step": self.frames_per_step}

    @property
    def _needs_more(self):
        return True  # the longest example may be the last one

    def _fit_sound(self, sound):
        self._max_frames = max(self._max_frames, int(self.log_mel.num_frames(len(sound))))
        if self._sums.count < FITTED_FRAMES:
            super()._fit_sound(sound)

    def finish(self) -> bool:
        again = super().finish()
        self.state["longest"] = self._max_frames
        return again

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        frames, _, faults = super().convert(columns, continues)
        rows = [self._steps(frames[row]) for row in range(len(frames))]
        width = self.frames_per_step * self.log_mel.num_mel_bins + 1
        values = np.concatenate([np.zeros((0, width), np.float16), *rows])
        return Converted(Ragged.from_lengths(values, [len(row) for row in rows]), faults=faults)

    def _steps(self, frames):
        """Returns frames `[S, F]` as rows of several of them, filled up with silence; the last column marks the end."""
        missing = -len(frames) % self.frames_per_step
        filled = np.concatenate([frames, np.tile(self._silence, (missing, 1))]).astype(np.float16)
        steps = filled.reshape(-1, self.frames_per_step * frames.shape[1])
        return np.concatenate([steps, np.eye(len(steps), 1, 1 - len(steps), np.float16)], axis=1)

    @property
    def _silence(self):
        return self._normalized(np.full((1, self.log_mel.num_mel_bins), np.log(FLOOR), np.float32))

    def summary(self, values: Any) -> str:
        """Returns the shortest and the longest duration, in whole steps."""
        seconds = values.lengths * self.frames_per_step * self.log_mel.frame_step / self.sample_rate
        return f"sounds of {seconds.min():.2f} to {seconds.max():.2f} seconds" if len(values) else ""

    # As a target.

    def inputs(self, values: Any) -> Any:
        return super().inputs(values)[:, :, :-1]  # [B, T, frames_per_step * F]

    def targets(self, values: Any) -> Any:
        return super().inputs(values)  # [B, T, frames_per_step * F + 1]

    def target_sizes(self) -> dict:
        steps = -(-self.state["longest"] // self.frames_per_step)
        width = self.frames_per_step * self.log_mel.num_mel_bins
        return {"output_length": int(np.ceil(MARGIN * steps)), "num_values": width, "stop": True}

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        from kerazoo.training import SpectrogramLoss

        self._no_label_smoothing("frames of sound", label_smoothing)
        return SpectrogramLoss()

    def decode(self, outputs: Any) -> list:
        return self.sounds(self.decode_frames(outputs))

    def decode_frames(self, outputs: Any) -> list[np.ndarray]:
        """Returns the normalized frames `[S, F]` for each row of outputs, those of its steps `[T, width]`."""
        bins = self.log_mel.num_mel_bins
        return [np.asarray(row, np.float32)[:, :-1].reshape(-1, bins) for row in outputs]

    def sounds(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the samples float32 `[samples]` of each sound of which normalized frames `[S, F]` are given."""
        found = []
        for start in range(0, len(rows), SOUNDS_AT_ONCE):
            part = rows[start : start + SOUNDS_AT_ONCE]
            lengths = np.array([len(row) for row in part], np.int32)
            frames = np.zeros((len(part), lengths.max(), self.log_mel.num_mel_bins), np.float32)
            for padded, row in zip(frames, part):
                padded[: len(row)] = row
            samples = self.griffin_lim.program(self._restored(frames), lengths).numpy()
            found += [row[: length * self.log_mel.frame_step] for row, length in zip(samples, lengths)]
        return found

    def decode_in_graph(self, outputs: Any) -> dict:
        """Returns `sound` float32 `[B, samples]`, 0 after the end of each, `length` int32 `[B]` and `sample_rate`.

        `frames` float32 `[B, N, F]` are the normalized frames that it was computed of.
        """
        import tensorflow as tf

        stops = outputs[:, :, -1] > 0  # [B, T]
        ends = tf.argmax(stops, axis=1, output_type=tf.int32) + 1
        ends = tf.where(tf.reduce_any(stops, axis=1), ends, tf.shape(outputs)[1])
        steps = outputs[:, : tf.reduce_max(ends), :-1]
        lengths = ends * self.frames_per_step
        frames = tf.reshape(steps, [tf.shape(steps)[0], -1, self.log_mel.num_mel_bins])
        return {
            "sound": self.griffin_lim(self._restored(frames), lengths),
            "length": lengths * self.log_mel.frame_step,
            "sample_rate": tf.constant(self.sample_rate),
            "frames": frames,
        }

    def _restored(self, frames):
        """Returns frames of a spectrogram for normalized ones."""
        mean, deviation = (np.array(self.state[name], np.float32) for name in ("mean", "deviation"))
        return frames * deviation + mean

    # How sounds are measured.

    def comparable(self, values: Sequence) -> list:
        return [self._normalized(self._frames(np.asarray(value, np.float32))) for value in values]

    def through_frames(self, sounds: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns sounds as they are after the way through their frames: what a perfect prediction sounds like."""
        return self.sounds(self.comparable(sounds))

    def measure_options(self, name: str) -> dict[str, Any]:
        return {"aligned": True} if name == "mean_absolute_error" else {}

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        """Returns the mean number of frames of the training sounds, for a sound of nothing but their mean frame."""
        if values is None or not len(values):
            return {}
        return {"mean frame for the mean duration": round(float(values.lengths.mean()) * self.frames_per_step)}

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        return self.sounds([np.zeros((int(fitted), self.log_mel.num_mel_bins), np.float32)]) * len(raw)
