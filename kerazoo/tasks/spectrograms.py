"""Series of numbers as spectrograms: what goes through the narrow code is the spectrogram of a window."""

import dataclasses

import numpy as np

from kerazoo.tasks import preprocessing
from kerazoo.tasks.base import Known
from kerazoo.tasks.series import SeriesTask


@dataclasses.dataclass(frozen=True, eq=False)
class SpectrogramTask(SeriesTask):
    """Learns to give the spectrograms of windows back: each number scaled by the training windows alone."""

    def __post_init__(self):
        owner = f"task {self.name}"
        parts = preprocessing.chosen(owner, "series", self.options["preprocess"], self.restored)
        transform = preprocessing.Spectrogram(owner, self.options["length"], *parts)
        object.__setattr__(self, "_transform", transform)  # made outside of any program that is being traced

    def _learn(self):
        known = super()._learn()
        count, total, squares = 0, 0.0, 0.0
        mean, deviation = (np.array(known.facts[name], np.float32) for name in ("mean", "deviation"))
        for chunk in self.chunks("train"):
            bins = np.asarray(self._transform((chunk.columns["window"] - mean) / deviation), np.float64)
            count, shape = count + bins.shape[0] * bins.shape[1], bins.shape[1:]
            total, squares = total + bins.sum((0, 1)), squares + (bins**2).sum((0, 1))
        center = total / count
        spread = np.sqrt(np.maximum(squares / count - center**2, 0))
        spread = np.where(spread > 1e-4, spread, 1.0)  # a bin that is constant but for rounding
        fitted = {"shape": list(shape), "mean": center.tolist(), "deviation": spread.tolist()}
        return Known({**known.facts, "preprocess": self.options["preprocess"], "spectrogram": fitted})

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)`: scaled spectrograms, the same flattened, 1 for every real example."""
        from keras import ops

        inputs, _, weights = super().batch(features, valid)
        bins = self._scaled(inputs["source"])
        return {"source": bins}, ops.reshape(bins, (-1, int(np.prod(bins.shape[1:])))), weights

    def examples(self, split, limit=None):
        """Returns windows `[length, columns]` as they were read, and the spectrogram of each as its reference."""
        windows, _ = super().examples(split, limit)
        _, mean, deviation = self._given_back
        return windows, [[bins * deviation + mean] for bins in self.encode(windows)["source"]]

    def graph_encode(self, windows):
        """Returns the model's inputs for windows `[B, length, columns]` as they are read: scaled spectrograms."""
        return {"source": self._scaled(super().graph_encode(windows)["source"])}

    def encode(self, raw):
        """Returns the model's inputs for a list of windows `[length, columns]`, as NumPy arrays."""
        windows = super().encode(raw)["source"]
        if not len(windows):
            return {"source": np.zeros((0, *self._given_back[0]), np.float32)}
        return {"source": np.asarray(self._scaled(windows))}

    @property
    def _given_back(self):
        fitted = self.facts["spectrogram"]
        mean, deviation = (np.array(fitted[name], np.float32) for name in ("mean", "deviation"))
        return tuple(fitted["shape"]), mean, deviation

    def _scaled(self, windows):
        _, mean, deviation = self._given_back
        return (self._transform(windows) - mean) / deviation
