"""TensorFlow data sets that are prepared on disk, read without the network."""

import copy
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerazoo import _checks, _files
from kerazoo.data import cache
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.held_out import HeldOut
from kerazoo.data.splits import split_origin

# What data sets call the three splits.
SPLIT_NAMES = {"train": ("train",), "dev": ("validation", "valid", "dev"), "test": ("test",)}
BATCH = 64
CHUNK_ROWS = 1 << 16  # texts of a chunk, at most
CHUNK_CHARACTERS = 1 << 22  # characters of a chunk after which it ends


class TFDSSource(DataSource):
    """Features of a prepared TensorFlow data set.

    Images are uint8 arrays `[N, H, W, C]`, or the bytes of their files if they have many sizes; texts, the names of
    classes and the languages of a translation are lists of strings. A dev or test split that the set lacks is held out
    from train, 5 % each: equal values of the first column stay together, and every class stays in train (see
    `kerazoo.data.held_out`).

    Args:
        name: string. Name of the set, with a configuration and version if there are several: `"mnist"`,
            `"wmt/de-en:1.0.0"`.
        columns: dictionary of the name of a column of the chunks to a feature of the set, `"translation.en"` for a
            language of a `Translation`. Defaults to `{"image": "image", "label": "label"}`.
        data_dir: string, path or `None`. The folder of prepared data sets, as for `tfds.load`. `None` means
            `TFDS_DATA_DIR` or `~/tensorflow_datasets`. Defaults to `None`.
        download: bool. Whether a set that is not there is downloaded and prepared; otherwise the network is not used.
            Defaults to `False`.

    Raises:
        ValueError: if no column is chosen.
    """

    fractions = {"dev": 0.05, "test": 0.05}

    def __init__(
        self,
        name: str,
        columns: Mapping[str, str] | None = None,
        *,
        data_dir: str | os.PathLike | None = None,
        download: bool = False,
    ):
        self.name = name
        self.features = {"image": "image", "label": "label"} if columns is None else dict(columns)
        if not self.features:
            raise ValueError("TFDSSource: `columns` must name at least one column; got {}.")
        self.columns = tuple(self.features)
        self.data_dir = data_dir
        self.download = download
        self._held_out: dict[Any, HeldOut] = {}

    @functools.cached_property
    def prepared(self) -> "Prepared":
        """The data set, opened the first time."""
        prepared = Prepared(self.name, self.data_dir, self.download)
        if "train" not in prepared.splits:
            raise _checks.DataError(f"tfds:{self.name}: the set has no train split; it has {prepared.splits}.")
        return prepared

    def feature_types(self) -> dict[str, str]:
        """Returns the name of the type, such as `"Image"` or `"Text"`, of each feature of the set."""
        features = self.prepared.features
        return {name: type(features[name]).__name__ for name in sorted(features)}  # tfds gives them in no order

    def languages(self, name: str) -> list[str]:
        """Returns the languages of a `Translation`, the source first if the set says which it is."""
        return self.prepared.languages(name)

    def with_columns(self, columns: Sequence[str]) -> DataSource:
        """Returns the source as one that reads further features of the set, by their names."""
        source, added = copy.copy(self), [name for name in columns if name not in self.columns]
        source.features = {**self.features, **{name: name for name in added}}
        source.columns = tuple(source.features)
        source._held_out = {}
        return source

    def class_names(self, column: str) -> list[str] | None:
        """Returns the names of the classes of a column that is a `ClassLabel`, else `None`."""
        feature = self.features[column]
        return self.prepared.classes(feature) if self._type(feature) == "ClassLabel" else None

    def check(self) -> None:
        """Opens the set and checks the chosen features.

        Raises:
            DataError: if the set is not there, or has no such feature.
            SetupError: if the package tensorflow-datasets is not installed.
        """
        for feature in self.features.values():
            self._type(feature)

    def splits(self) -> tuple[str, ...]:
        """Returns all splits: those that the set lacks are held out from train."""
        return tuple(SPLIT_NAMES)

    def fingerprint(self, split: str) -> list:
        """Returns plain values that change whenever the set does; all splits are in one folder."""
        folder = find(self.name, self.prepared.data_dir)
        return [self.features, cache.fingerprint(sorted(path for path in folder.iterdir() if path.is_file()))]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the examples of a split."""
        _checks.one_of("TFDSSource", "split", split, tuple(SPLIT_NAMES))
        given, fractions = split_origin(split, self.prepared.splits, self.fractions)
        if not fractions:
            yield from self._all(given)
            return
        key = (self.label_columns, *fractions.items())
        if key not in self._held_out:
            names = self.class_names(self.label_columns[0]) if self.label_columns else None
            num_classes = None if names is None else len(names)
            self._held_out[key] = HeldOut(lambda: self._all(given), fractions, self.label_columns, num_classes)
        yield from map(self._held_out[key].select(split), self._all(given))

    def _all(self, given):
        types = {feature: self._type(feature) for feature in self.features.values()}
        return self._batches(given, types) if "Image" in types.values() else self._strings(given)

    def _batches(self, split, types):
        """Yields batches with images."""
        nested = [feature for feature in types if feature not in self.prepared.features]
        if nested:
            raise _checks.DataError(f"tfds:{self.name}: {nested[0]!r} cannot be read together with images.")
        for batch in self.prepared.batches(split, list(types)):
            for feature, kind in types.items():
                if kind == "ClassLabel":
                    batch[feature] = [self.prepared.class_of(feature, label) for label in batch[feature].tolist()]
                elif kind == "Image" and batch[feature].ndim == 1:  # the bytes of files
                    batch[feature] = batch[feature].tolist()
                elif kind == "Text":
                    batch[feature] = [self.prepared.text(feature, value) for value in batch[feature]]
            yield Chunk({name: batch[feature] for name, feature in self.features.items()})

    def _strings(self, split):
        """Yields chunks of strings alone."""
        top = self.prepared.features
        paths = [feature if feature in top else tuple(feature.split(".")) for feature in self.features.values()]
        rows, size = [], 0
        for values in self.prepared.strings(split, *paths):
            rows.append(values)
            size += sum(map(len, values))
            if len(rows) == CHUNK_ROWS or size >= CHUNK_CHARACTERS:
                yield Chunk(dict(zip(self.columns, map(list, zip(*rows)))))
                rows, size = [], 0
        if rows:
            yield Chunk(dict(zip(self.columns, map(list, zip(*rows)))))

    def _type(self, feature):
        """Returns the name of the type of a feature, `"Text"` for a language of a `Translation`."""
        types = self.feature_types()
        top, _, language = feature.partition(".")
        if feature in types:
            if types[feature] in ("Image", "Text", "ClassLabel"):
                return types[feature]
            raise _checks.DataError(
                f"tfds:{self.name}: feature {feature!r} is of type {types[feature]}; Image, Text, ClassLabel and the "
                "languages of a Translation can be read."
            )
        if types.get(top) == "Translation" and language in self.prepared.features[top]:
            return "Text"
        present = ", ".join(f"{name} ({kind})" for name, kind in types.items())
        raise _checks.DataError(
            f"tfds:{self.name}: has no feature {feature!r}; it has {present}.{_checks.hint(feature, types)}"
        )


class Prepared:
    """A prepared TensorFlow data set.

    Args:
        name: string. See `TFDSSource`.
        data_dir: string, path or `None`. See `TFDSSource`. Defaults to `None`.
        download: bool. See `TFDSSource`. Defaults to `False`.

    Raises:
        DataError: if the set is not there, or could not be downloaded.
        SetupError: if the package tensorflow-datasets is not installed.
    """

    def __init__(self, name: str, data_dir: str | os.PathLike | None = None, download: bool = False):
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
        _check_classes(name, folder)
        self._builder = self._tfds.builder_from_directory(folder)
        self._classes: dict[str, list[str]] = {}

    @property
    def features(self) -> Any:
        """The features of an example, a `tfds.features.FeaturesDict`."""
        return self._builder.info.features

    @property
    def splits(self) -> dict[str, str]:
        """Dictionary of `"train"`, `"dev"`, `"test"` to the set's own name, with the splits that it has."""
        given = self._builder.info.splits
        return {split: name for split, names in SPLIT_NAMES.items() for name in names if name in given}

    def of_type(self, *types: str) -> list[str]:
        """Returns the names of the features that are of exactly one of the types, such as `"Image"` or `"Text"`."""
        return sorted(name for name, feature in self.features.items() if type(feature).__name__ in types)

    def languages(self, name: str) -> list[str]:
        """Returns the languages of the `Translation` called `name`, the source first if the set declares it."""
        return list(self._builder.info.supervised_keys or sorted(self.features[name].keys()))[:2]

    def classes(self, name: str) -> list[str]:
        """Returns the names of the classes of the `ClassLabel` called `name`."""
        if name not in self._classes:
            self._classes[name] = list(self.features[name].names)
        return self._classes[name]

    def batches(self, split: str, names: list[str]) -> Iterator[dict[str, Any]]:
        """Yields batches of examples as dictionaries of features.

        Args:
            split: string, a key of `splits`.
            names: features of type Image (uint8 `[B, H, W, C]`, or bytes `[B]` if they have many sizes), Text (bytes
                `[B]`) and ClassLabel (int64 `[B]`), an Image among them.
        """
        import tensorflow as tf

        images = [name for name in names if name in self.of_type("Image")]
        of_one_size = [name for name in images if None not in self.features[name].shape]

        def decode(batch):
            return {
                name: _decode(batch[name], self.features[name].shape[-1]) if name in of_one_size else batch[name]
                for name in names
            }

        batches = self._encoded(split, names, images).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        yield from self._whole(batches.prefetch(2))

    def strings(self, split: str, *paths: str | tuple[str, ...]) -> Iterator[list[str]]:
        """Yields texts and names of classes of each example.

        Args:
            split: string, a key of `splits`.
            *paths: strings. Features, or tuples of nested ones.
        """
        for example in self._whole(self._builder.as_dataset(split=self.splits[split], shuffle_files=False)):
            values = []
            for path in paths:
                value = example
                for key in path if isinstance(path, tuple) else (path,):
                    value = value[key]
                values.append(self._string(path, value))
            yield values

    def _encoded(self, split, names, images):
        """Returns a `tf.data.Dataset` of batches whose images are still encoded."""
        import tensorflow as tf

        info = self._builder.info.splits[self.splits[split]]
        if self._builder.info.file_format.value != "tfrecord":
            skip = {image: self._tfds.decode.SkipDecoding() for image in images}
            return self._builder.as_dataset(split=info.name, decoders=skip, shuffle_files=False).batch(BATCH)
        # Parsed a batch at a time, which is several times as fast as one by one.
        labels = self.of_type("ClassLabel")
        keys = {name: tf.io.FixedLenFeature([], tf.int64 if name in labels else tf.string) for name in names}
        records = tf.data.TFRecordDataset([os.fspath(path) for path in info.filepaths]).batch(BATCH)
        return records.map(lambda batch: tf.io.parse_example(batch, keys), num_parallel_calls=2)

    def _whole(self, dataset):
        """Yields the elements of `dataset`; damaged files become a `DataError`."""
        import tensorflow as tf

        try:
            yield from dataset.as_numpy_iterator()
        except tf.errors.OpError as error:
            reason = (error.message.strip() or type(error).__name__).splitlines()[0]
            raise _checks.DataError(f"tfds:{self.name}: damaged under {self.data_dir}: {reason}") from error

    def _string(self, path, value):
        if isinstance(value, bytes):
            return self.text(path, value)
        return self.class_of(path, int(value))

    def class_of(self, name: str, label: int) -> str:
        """Returns the name of the class of a label.

        Raises:
            DataError: if the label is negative, which stands for an example without a class.
        """
        if label < 0:
            raise _checks.DataError(f"tfds:{self.name}: there are examples without a class in {name!r}.")
        return self.classes(name)[label]

    def text(self, feature: Any, value: bytes) -> str:
        """Returns the text of a value of a feature.

        Raises:
            DataError: if it is not UTF-8.
        """
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _checks.DataError(f"tfds:{self.name}: feature {feature!r} holds a text that is not UTF-8.") from error

    def _download(self):
        try:
            self._tfds.builder(self.name, data_dir=str(self.data_dir)).download_and_prepare()
        except Exception as error:  # the network, the disk or the host
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise _checks.DataError(
                f"tfds:{self.name}: could not be downloaded to {self.data_dir}: {reason}"
            ) from error


def _check_classes(name, folder):
    """Refuses a set whose features are of a class outside of the package: opening it would import and run that."""
    path = folder / "features.json"
    if not path.exists():
        return
    try:
        found = json.loads(_files.read_file(path.resolve(), _files.MAX_RECORD_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise _checks.DataError(f"{path}: cannot be read: {error}.") from error
    waiting = [found]
    while waiting:
        value = waiting.pop()
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(each, dict | list):
                waiting.append(each)
            elif key in ("pythonClassName", "type") and not str(each).startswith("tensorflow_datasets."):
                raise _checks.DataError(
                    f"{path}: has a feature of the class {each!r}, and opening the set would run its module. Only "
                    "features of tensorflow_datasets are read."
                )


def _decode(encoded, channels):
    """Returns the images of a batch of at most `BATCH`; the loop is unrolled, for a graph's own loop is slow."""
    import tensorflow as tf

    count = tf.size(encoded)
    filled = tf.gather(encoded, tf.minimum(tf.range(BATCH), count - 1))  # the last batch may be short
    images = [tf.io.decode_png(one, channels) for one in tf.unstack(tf.reshape(filled, [BATCH]))]  # JPEG, GIF too
    return tf.stack(images)[:count]


def find(name: str, data_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the folder of the newest prepared version of a data set.

    Args:
        name: string. See `TFDSSource`.
        data_dir: string or path. The folder of prepared data sets.

    Raises:
        DataError: if there is none.
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
    present = ", ".join(dict.fromkeys(map(str, sets))) or "no data set"
    raise _checks.DataError(
        f"tfds:{name}: not prepared under {data_dir} (there: {present}).{_checks.hint(path, sets)} "
        "Name its folder with `data_dir`, or say download=True where there is a network."
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
