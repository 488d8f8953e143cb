"""Series of numbers: windows that are given back after they went through a narrow code."""

import dataclasses
import functools

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk, cache, find_data_files
from kerazoo.data import series_source as series
from kerazoo.data.lines import BadLines
from kerazoo.tasks import preprocessing
from kerazoo.tasks.base import Known, Task
from kerazoo.tasks.splits import bounds, origin
from kerazoo.tasks.tables import needs

EXTENSIONS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
SHARES = {"dev": 0.15, "test": 0.15}  # of the rows of a file, from its end
TOGETHER = 4096  # windows of a chunk


def build(
    name,
    kind,
    data_dir=None,
    columns=None,
    length=12,
    stride=1,
    dev_data=None,
    test_data=None,
    bad_lines="stop",
    preprocess=None,
    restored=None,
):
    """Returns the task `series`: windows of one or more series of numbers to themselves, for `autoencoder`.

    A window that is given back badly is unlike what was seen in training: that finds anomalies. All columns are scaled
    to mean 0 and standard deviation 1 by the numbers of the training rows alone.

    Args:
        name: The task's name.
        kind: The kind of model.
        data_dir: A CSV or TSV file with a header, plain or .gz; a pattern; or a folder with `train.csv` and maybe
            `dev.csv` and `test.csv`. Where there is no dev or test file, the last 15 % of the rows of each training
            file are for test, the 15 % before for dev.
        columns: Names of the columns with commas between them; all that hold numbers by default.
        length: Rows of a window.
        stride: Rows from one window to the next.
        dev_data: File or pattern of the dev rows, where they are not found by name.
        test_data: The same for test.
        bad_lines: `"stop"` at a row that lacks a number, or `"skip"` it and count.
        preprocess: `"standardise"`, the default, as above; or `"spectrogram"` or `"mel_spectrogram"` of that, such as
            `"mel_spectrogram:fft_length=64,num_mel_bins=16"`, which is then what is given back.
        restored: What a saved task knew.
    """
    owner = f"task {name}"
    needs(owner, data_dir, "a CSV file with a header")
    options = {
        "data_dir": str(data_dir),
        "columns": ",".join(columns) if isinstance(columns, list | tuple) else columns,
        "length": _checks.positive_int(owner, "length", length),
        "stride": _checks.positive_int(owner, "stride", stride),
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "bad_lines": _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip")),
    }
    if restored is not None and restored.facts["shape"][0] != length:
        fitted = restored.facts["shape"][0]
        raise ValueError(f"{owner}: was fitted with length={fitted}; got length={length}. Train anew.")
    chosen, _ = preprocessing.chosen(owner, "series", preprocess, restored)
    options["preprocess"] = preprocess and str(preprocess)
    find = functools.partial(find_data_files, data_dir, EXTENSIONS, dev_data=dev_data, test_data=test_data)
    rows = Rows(owner, find, options["columns"], length, stride, bad_lines)
    if chosen == "standardise":
        make = SeriesTask
    else:
        from kerazoo.tasks.spectrograms import SpectrogramTask as make
    return make(name, kind, options, rows, restored, rows.sources, fingerprint=rows.fingerprint)


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesTask(Task):
    """Learns to give windows of series back. Columns: `window`, float32 `[N, length, columns]`, and `names`."""

    raw_dtype = "float32"

    def _learn(self):
        names, mean, deviation = self.reader.scaling()
        shape = [self.options["length"], len(names)]
        return Known({"names": names, "mean": mean, "deviation": deviation, "shape": shape})

    def load(self, split):
        """Returns the `Corpus` of a split, with `window` float32 `[N, length, columns]`, not scaled yet."""
        return self.prepared(split, lambda chunk: ({"window": chunk.columns["window"]}, {}))

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates."""
        shape, _, _ = self._given_back
        return {"input_shape": shape, "output_size": int(np.prod(shape))}

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)`: scaled windows, the same flattened, 1 for every real example."""
        from keras import ops

        windows = (ops.cast(features["window"], "float32") - self._mean) / self._deviation  # [B, L, V]
        flat = ops.reshape(windows, (-1, int(np.prod(self.facts["shape"]))))
        return {"source": windows}, flat, ops.cast(valid, "float32")

    def loss(self, label_smoothing=0.0):
        """Returns the mean squared error of scaled numbers; `label_smoothing` is not for numbers and must be 0."""
        import keras

        if label_smoothing:
            raise ValueError(f"task {self.name}: numbers take no label_smoothing; got {label_smoothing}.")
        return keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")

    def metrics(self):
        """Returns no metrics: the loss says it all."""
        return []

    def examples(self, split, limit=None):
        """Returns windows `[length, columns]` as they were read, and each as its own reference."""
        windows = list(self.load(split).features["window"][:limit])
        return windows, [[window] for window in windows]

    def graph_encode(self, windows):
        """Returns the model's inputs for windows `[B, length, columns]` as they are read."""
        import tensorflow as tf

        return {"source": (tf.cast(windows, tf.float32) - self._mean) / self._deviation}

    def encode(self, raw):
        """Returns the model's inputs for a list of windows `[length, columns]`, as NumPy arrays."""
        shape = tuple(self.facts["shape"])
        windows = [np.asarray(window, np.float32) for window in raw]
        for window in windows:
            if window.shape != shape:
                raise ValueError(f"task {self.name}: a window must have shape {shape}; got {window.shape}.")
        stacked = np.stack(windows) if windows else np.zeros((0, *shape), np.float32)
        return {"source": (stacked - self._mean) / self._deviation}

    def read(self, lines):
        """Returns the last window of each of the files named in `lines`."""
        names, length = self.facts["names"], self.options["length"]
        return [series.read_series(path, names)[-length:] for path in lines]

    def graph_decode(self, outputs):
        """Returns windows `[B, length, columns]` in the units of the data."""
        import tensorflow as tf

        shape, mean, deviation = self._given_back
        return tf.reshape(outputs, [-1, *shape]) * deviation + mean

    def show(self, prediction):
        """Returns windows `[length, columns]` in the units of the data."""
        shape, mean, deviation = self._given_back
        return [np.reshape(np.asarray(row, np.float32), shape) * deviation + mean for row in prediction]

    def measure(self, answers, references):
        """Returns `mean_squared_error` and `mean_absolute_error` of scaled numbers against lists of one window."""
        _, _, deviation = self._given_back
        pairs = [(answer - accepted[0]) / deviation for answer, accepted in zip(answers, references)]
        errors = np.array(pairs, np.float64)
        return {
            "mean_squared_error": float(np.mean(errors**2)),
            "mean_absolute_error": float(np.mean(np.abs(errors))),
        }

    @property
    def _given_back(self):
        return tuple(self.facts["shape"]), self._mean, self._deviation

    @property
    def _mean(self):
        return np.array(self.facts["mean"], np.float32)

    @property
    def _deviation(self):
        return np.array(self.facts["deviation"], np.float32)


class Rows:
    """The windows of files by split.

    Args:
        owner: The task, for errors.
        find: Function that returns the list of `kerazoo.data.DataFiles`.
        columns: Names of columns with commas between them, or None.
        length: Rows of a window.
        stride: Rows from one window to the next.
        bad_lines: `"stop"` or `"skip"`.
    """

    def __init__(self, owner, find, columns, length, stride, bad_lines):
        self.owner = owner
        self.sources = functools.cache(find)
        self.columns = columns
        self.length = length
        self.stride = stride
        self.bad_lines = bad_lines

    def fingerprint(self, split):
        """Returns plain values that change when the windows of a split do."""
        parts = self._parts(split)
        first = self._parts("train")[0][0]  # its header decides over the columns
        files = cache.fingerprint([first, *(path for path, _ in parts)])
        return [self.columns, self.length, self.stride, self.bad_lines, files, [place for _, place in parts]]

    def __call__(self, split):
        """Yields the windows of a split."""
        for rows, skipped in self._series(split):
            if len(rows) < self.length:
                raise _checks.DataError(
                    f"{self.owner}, {split}: {len(rows)} rows hold no window of length={self.length}. "
                    "Try a smaller length, or give more rows."
                )
            windows = np.lib.stride_tricks.sliding_window_view(rows, self.length, axis=0)  # [N, columns, length]
            windows = windows.transpose(0, 2, 1)[:: self.stride]
            for start in range(0, len(windows), TOGETHER):
                yield Chunk({"window": windows[start : start + TOGETHER]}, 0 if start else skipped)

    def scaling(self):
        """Returns the names of the columns, and mean and standard deviation of each over the training rows."""
        rows = np.concatenate([rows for rows, _ in self._series("train")]).astype(np.float64)
        deviation = rows.std(axis=0)
        return self._names(), rows.mean(axis=0).tolist(), np.where(deviation > 0, deviation, 1.0).tolist()

    def _names(self):
        if self.columns:
            return [name.strip() for name in self.columns.split(",")]
        return series.series_columns(self._parts("train")[0][0])

    def _parts(self, split):
        """Returns the path of each file of a split and the share of its rows, from 0 to 1, that belongs to it."""
        parts = []
        for source in self.sources():
            if source.weight != 1:
                raise ValueError(f"{self.owner}: files of series take no weight; got {source.weight}.")
            given, shares = origin(split, source.files, SHARES)
            parts += [(path, bounds(split, shares)) for path in source.files.get(given, ())]
        return parts

    def _series(self, split):
        names = self._names()
        for path, (begin, end) in self._parts(split):
            bad = BadLines(self.bad_lines)
            rows = series.read_series(path, names, bad)
            yield rows[round(begin * len(rows)) : round(end * len(rows))], bad.count
