"""TensorFlow data sets that lie prepared on disk, read without the network."""

import os
import pathlib
import re

import numpy as np

from kerazoo import _checks

# What data sets call the three splits.
SPLITS = {"train": ("train",), "dev": ("validation", "valid", "dev"), "test": ("test",)}
BATCH = 64


class Prepared:
    """A prepared TensorFlow data set.

    Args:
        name: Its name, with a configuration and version where there are several: `"mnist"`, `"wmt/de-en:1.0.0"`.
        data_dir: The folder that holds prepared data sets, as for `tfds.load`; `TFDS_DATA_DIR` or
            `~/tensorflow_datasets` by default.
        download: Whether a set that is not there is downloaded and prepared; without it the network is never asked.

    Raises:
        DataError: The set is not there, or it could not be downloaded.
        SetupError: The package tensorflow-datasets is not installed.
    """

    def __init__(self, name, data_dir=None, download=False):
        self.name = name
        self.data_dir = pathlib.Path(
            data_dir or os.environ.get("TFDS_DATA_DIR") or pathlib.Path.home() / "tensorflow_datasets"
        ).expanduser()
        self._tfds = _import()
        try:
            folder = find(name, self.data_dir)
        except _checks.DataError:
            if not download:
                raise
            self._download()
            folder = find(name, self.data_dir)
        self._builder = self._tfds.builder_from_directory(folder)

    @property
    def features(self):
        """What an example holds, a `tfds.features.FeaturesDict`."""
        return self._builder.info.features

    @property
    def splits(self):
        """Dictionary of `"train"`, `"dev"`, `"test"` to what the set calls it, with those that it has."""
        there = self._builder.info.splits
        return {split: name for split, names in SPLITS.items() for name in names if name in there}

    def of_type(self, *types):
        """Returns the names of the features that are of exactly one of the types, such as `"Image"` or `"Text"`."""
        return sorted(name for name, feature in self.features.items() if type(feature).__name__ in types)

    def languages(self, name):
        """Returns the languages of the `Translation` called `name`, the source first where the set says which it is."""
        return list(self._builder.info.supervised_keys or sorted(self.features[name].keys()))[:2]

    def classes(self, name):
        """Returns the names of the classes of the `ClassLabel` called `name`."""
        return list(self.features[name].names)

    def images(self, split, image, label):
        """Yields batches of images, uint8 `[B, H, W, C]`, and labels, int32 `[B]`, of a split; 0 without a `label`."""
        import tensorflow as tf

        shape = self.features[image].shape
        if None in shape:
            raise _checks.DataError(f"tfds:{self.name}: images of many sizes, {shape}, cannot be read yet.")
        batches = self._encoded(split, image, label).map(
            lambda encoded, labels: (_decode(encoded, shape[-1]), labels), num_parallel_calls=tf.data.AUTOTUNE
        )
        for images, labels in self._whole(batches.prefetch(2)):
            yield images, labels.astype(np.int32)

    def strings(self, split, *paths):
        """Yields the values of `paths`, each a feature or a tuple of nested ones: text, or the class of a label."""
        for example in self._whole(self._builder.as_dataset(split=self.splits[split], shuffle_files=False)):
            values = []
            for path in paths:
                value = example
                for key in path if isinstance(path, tuple) else (path,):
                    value = value[key]
                values.append(self._string(path, value))
            yield values

    def _encoded(self, split, image, label):
        """Returns a `tf.data.Dataset` of batches of encoded images and their labels."""
        import tensorflow as tf

        info = self._builder.info.splits[self.splits[split]]
        if self._builder.info.file_format.value != "tfrecord":
            examples = self._builder.as_dataset(
                split=info.name, decoders={image: self._tfds.decode.SkipDecoding()}, shuffle_files=False
            ).batch(BATCH)
        else:  # parsed a batch at a time, which is several times as fast as one by one
            keys = {image: tf.io.FixedLenFeature([], tf.string)}
            if label is not None:
                keys[label] = tf.io.FixedLenFeature([], tf.int64)
            records = tf.data.TFRecordDataset([os.fspath(path) for path in info.filepaths]).batch(BATCH)
            examples = records.map(lambda batch: tf.io.parse_example(batch, keys), num_parallel_calls=2)

        def labels_of(batch):
            return tf.zeros(tf.shape(batch[image]), tf.int64) if label is None else batch[label]

        return examples.map(lambda batch: (batch[image], labels_of(batch)))

    def _whole(self, dataset):
        """Yields what `dataset` holds; damaged files become a `DataError`."""
        import tensorflow as tf

        try:
            yield from dataset.as_numpy_iterator()
        except tf.errors.OpError as error:
            reason = (error.message.strip() or type(error).__name__).splitlines()[0]
            raise _checks.DataError(f"tfds:{self.name}: damaged under {self.data_dir}: {reason}") from error

    def _string(self, path, value):
        if not isinstance(value, bytes):
            return self.classes(path)[int(value)]
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _checks.DataError(f"tfds:{self.name}: feature {path!r} holds a text that is not UTF-8.") from error

    def _download(self):
        try:
            self._tfds.builder(self.name, data_dir=str(self.data_dir)).download_and_prepare()
        except Exception as error:  # the network, the disk, the host: whatever it is, the set is not there
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise _checks.DataError(
                f"tfds:{self.name}: could not be downloaded to {self.data_dir}: {reason}"
            ) from error


def _decode(encoded, channels):
    """Returns the images of a batch of at most `BATCH`; the loop is unrolled, for a graph's own loop is slow."""
    import tensorflow as tf

    count = tf.size(encoded)
    filled = tf.gather(encoded, tf.minimum(tf.range(BATCH), count - 1))  # the last batch may be short
    images = [tf.io.decode_png(one, channels) for one in tf.unstack(tf.reshape(filled, [BATCH]))]  # JPEG, GIF too
    return tf.stack(images)[:count]


def find(name, data_dir):
    """Returns the folder of the newest prepared version of a data set.

    Raises:
        DataError: There is none.
    """
    data_dir = pathlib.Path(data_dir)
    path, _, version = name.partition(":")
    root = data_dir / path
    found = [entry.parent for entry in root.glob("*/dataset_info.json") if not version or entry.parent.name == version]
    if found:
        return max(found, key=lambda folder: [int(digits) for digits in re.findall(r"\d+", folder.name)])
    sets = sorted(entry.parent.parent.relative_to(data_dir) for entry in data_dir.glob("*/**/dataset_info.json"))
    nested = [one for one in sets if path in map(str, one.parents)]
    if nested:
        raise _checks.DataError(f"tfds:{name}: has several configurations; name one: {', '.join(map(str, nested))}.")
    there = ", ".join(dict.fromkeys(map(str, sets))) or "no data set"
    raise _checks.DataError(
        f"tfds:{name}: not prepared under {data_dir} (there: {there}).{_checks.hint(path, sets)} "
        "Name its folder with data_dir, or prepare it where there is a network with download=True."
    )


def _import():
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise _checks.SetupError(
            f"tfds: the package tensorflow-datasets is not installed ({error}). "
            'Install it with: pip install "kerazoo[tfds]"'
        ) from error
    return tensorflow_datasets
