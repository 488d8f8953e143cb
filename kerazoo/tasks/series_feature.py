"""Windows of series of numbers as a feature."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kerazoo import _checks
from kerazoo.data.lines import list_names
from kerazoo.tasks.feature import Converted, Feature
from kerazoo.tasks.preprocessing import Spectrogram, parse_preprocess
from kerazoo.tasks.scaling import Sums

if TYPE_CHECKING:
    import keras

    from kerazoo.data import DataSource, DatedSeries


class SeriesFeature(Feature):
    """A window of one or more series of numbers, `[length, variables]`.

    Each variable is scaled to mean 0 and standard deviation 1 by the training rows, in float64, before it is stored
    as float32. As a target, of an autoencoder, the scaled numbers of the window are trained with the mean squared error
    and predicted in their own units: a window that is reconstructed badly is unlike the training data.

    Args:
        column: string. The name of the raw column, whose values are arrays `[length, variables]`. Defaults to
            `"window"`.
        length: int. The rows of a window, which a restored feature must have been fitted with. Defaults to `None`: any.
        preprocess: string. `"standardise"` as above, or `"spectrogram"` or `"mel_spectrogram"` of that, such as
            `"mel_spectrogram:fft_length=64,num_mel_bins=16"`. Defaults to `"standardise"`.
    """

    modality = "series"
    kinds = ("autoencoder",)
    measures = ("mean_squared_error", "mean_absolute_error")
    outputs = ("reconstruction",)

    def __init__(
        self,
        column: str = "window",
        length: int | None = None,
        preprocess: str | None = None,
    ):
        super().__init__(column)
        self.length = length
        self.preprocess = preprocess and str(preprocess)
        self._name, self._options = parse_preprocess(self.owner, "series", preprocess)
        self._sums = Sums()
        self._shape: Any = None
        self._spectrogram: Any = None

    def bind(self, owner: str) -> None:
        super().bind(owner)
        if self._name != "standardise" and self.length is not None:  # raises if its options do not fit
            self._spectrogram = Spectrogram(owner, self.length, self._name, self._options)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and variables of a raw window."""
        return tuple(self.state["shape"])

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of the input of the model: that of a window, or of its spectrogram."""
        return tuple(self.state["spectrogram"]["shape"]) if self._name != "standardise" else self.shape

    @property
    def needs_fit(self) -> bool:
        return self.state is None or (self._name != "standardise" and "spectrogram" not in self.state)

    def declare(self, source: "DataSource") -> None:
        described = source.describe_series(self.columns[0])
        if described:
            self._standardise_by(described)

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        windows = np.asarray(columns[self.columns[0]], np.float64)  # [N, L, V]
        if self.state is None:
            self._shape = windows.shape[1:]
            self._sums.add(windows.reshape(-1, windows.shape[2]))
        else:
            bins = np.asarray(self._spectrogram(self._scaled(windows).astype(np.float32)), np.float64)
            self._sums.add(bins.reshape(-1, bins.shape[-1]))
            self._shape = bins.shape[1:]
        return True

    def finish(self) -> bool:
        if self.state is None:
            names = list(map(str, range(self._shape[-1])))
            mean, deviation = self._sums.result()
            shape = list(map(int, self._shape))
            self._standardise_by({"names": names, "shape": shape, "mean": mean, "deviation": deviation})
        elif self._name != "standardise":
            mean, deviation = self._sums.result()
            self.state["spectrogram"] = {"shape": list(self._shape), "mean": mean, "deviation": deviation}
        return self.needs_fit

    def _standardise_by(self, state):
        """Sets the scale of the windows, and prepares the pass over their spectrograms."""
        self.state = dict(state)
        self._sums = Sums()
        if self._name != "standardise":
            self.state["preprocess"] = self.preprocess
            self._make_spectrogram()

    def restore(self, state: Mapping) -> None:
        if self.length is not None:
            self._same_option("length", state["shape"][0], self.length)
        self._same_option("preprocess", state.get("preprocess", "standardise"), self.preprocess or "standardise")
        super().restore(state)
        if self._name != "standardise":
            self._make_spectrogram()

    def _make_spectrogram(self):
        # Created outside of any traced program.
        if self._spectrogram is None:
            self._spectrogram = Spectrogram(self.owner, self.shape[0], self._name, self._options)

    def of_file(self, name: str) -> Self:
        """Returns the feature with the scale of a file, or as it is where all files have one.

        Raises:
            DataError: if the file has no scale, because it was not in the training data.
        """
        files = self.state.get("files")
        if not files:
            return self
        if name not in files:
            raise _checks.DataError(
                f"{name}: is none of the files of the training data, which have a scale each: {list_names(files)}."
            )
        feature = copy.copy(self)
        feature.state = {**{key: value for key, value in self.state.items() if key != "files"}, **files[name]}
        return feature

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        windows = np.asarray(columns[self.columns[0]], np.float64)
        if len(windows) and windows.shape[1:] != self.shape:
            raise _checks.DataError(
                f"{self.owner}: the windows in column {self.columns[0]!r} must have shape {self.shape}, as in the "
                f"training data; got {windows.shape[1:]}."
            )
        if "files" not in self.state:
            return Converted(self._scaled(windows).astype(np.float32))
        names = np.array([name for (name,) in columns["file"]])
        scaled = np.zeros(windows.shape, np.float32)
        for name in dict.fromkeys(names.tolist()):
            rows = names == name
            scaled[rows] = self.of_file(name)._scaled(windows[rows])
        return Converted(scaled)

    def summary(self, values: Any) -> str:
        """Returns the names of the variables."""
        return f"{self.shape[0]} rows of {list_names(self.state['names'])}"

    def references(self, values: Sequence) -> list:
        """Returns windows, or the spectrograms of them, in the units of the data."""
        if self._name == "standardise":
            return list(values)
        bins = np.asarray(self.inputs(self._scaled(np.stack(values)).astype(np.float32)))
        return [row * np.float32(self._bin_scale[1]) + np.float32(self._bin_scale[0]) for row in bins]

    def inputs(self, values: Any) -> Any:
        from keras import ops

        windows = ops.cast(values, "float32")  # [B, L, V]
        if self._name == "standardise":
            return windows
        mean, deviation = (np.array(value, np.float32) for value in self._bin_scale)
        return (self._spectrogram(windows) - mean) / deviation

    def pack(self, values: Sequence) -> Any:
        windows = [np.asarray(window, np.float64) for window in values]
        for window in windows:
            if window.shape != self.shape:
                raise ValueError(f"{self.owner}: a window must have shape {self.shape}; got {window.shape}.")
        return np.stack(windows) if windows else np.zeros((0, *self.shape))

    def encode(self, *packed: Any) -> Any:
        (windows,) = packed
        if isinstance(windows, np.ndarray):
            if not len(windows):
                return np.zeros((0, *self.output_shape), np.float32)
            return np.asarray(self.inputs(self._scaled(windows.astype(np.float64)).astype(np.float32)))
        import tensorflow as tf

        mean, deviation = (tf.constant(value, tf.float64) for value in self._scale)
        return self.inputs(tf.cast((tf.cast(windows, tf.float64) - mean) / deviation, tf.float32))

    def read(self, text: str) -> Any:
        """Returns the last window of the file that `text` names."""
        length, rows = self.shape[0], self.read_rows(text).numbers
        if len(rows) < length:
            raise _checks.DataError(f"{text}: {len(rows)} rows hold no window of {length} rows. Give more rows.")
        return rows[-length:]

    def read_rows(self, path: str) -> "DatedSeries":
        """Returns the rows of a file that has the variables of the training data, and their dates if it has some."""
        from kerazoo.data import DatedSeries, read_dated_series, read_series

        names = self.state["names"]
        if "reading" in self.state:
            return read_dated_series(path, names, **self.state["reading"])
        dialect = {name: self.state[name] for name in ("delimiter", "quote") if name in self.state}
        numbers = read_series(path, names, **dialect)
        return DatedSeries(np.arange(len(numbers)) + 2, numbers, None)  # after the header

    def signature(self) -> list[tuple[list, str]]:
        return [(list(self.shape), "float64")]

    def input_sizes(self) -> dict:
        return {"input_shape": self.output_shape}

    def targets(self, values: Any) -> Any:
        from keras import ops

        return ops.reshape(self.inputs(values), (-1, int(np.prod(self.output_shape))))

    def target_sizes(self) -> dict:
        return {"output_size": int(np.prod(self.output_shape))}

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        import keras

        self._no_label_smoothing("numbers", label_smoothing)
        return keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        return {"mean of the training data": None}

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        mean, _ = self._output_scale
        return [np.broadcast_to(mean, self.output_shape)] * len(raw)

    def decode(self, outputs: Any) -> list:
        mean, deviation = self._output_scale
        return [np.reshape(np.asarray(row, np.float64), self.output_shape) * deviation + mean for row in outputs]

    def decode_in_graph(self, outputs: Any) -> dict:
        import tensorflow as tf

        mean, deviation = (tf.constant(value, tf.float64) for value in self._output_scale)
        values = tf.reshape(tf.cast(outputs, tf.float64), [-1, *self.output_shape]) * deviation + mean
        return {self.outputs[0]: values}

    def reconstruction_errors(self, outputs: Any, packed: Any) -> Any:
        from keras import ops

        size = int(np.prod(self.output_shape))
        scaled = ops.reshape(ops.cast(self.encode(packed), "float32"), (-1, size))
        return ops.mean(ops.square(ops.cast(outputs, "float32") - scaled), axis=1)

    def comparable(self, values: Sequence) -> list:
        """Returns windows of scaled numbers."""
        mean, deviation = self._output_scale
        return [(np.asarray(window) - mean) / deviation for window in values]

    @property
    def _scale(self):
        return np.array(self.state["mean"]), np.array(self.state["deviation"])

    @property
    def _bin_scale(self):
        bins = self.state["spectrogram"]
        return np.array(bins["mean"]), np.array(bins["deviation"])

    @property
    def _output_scale(self):
        return self._scale if self._name == "standardise" else self._bin_scale

    def _scaled(self, windows):
        mean, deviation = self._scale
        return (windows - mean) / deviation
