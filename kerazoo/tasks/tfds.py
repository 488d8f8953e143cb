"""TensorFlow data sets by name: images, texts with a class, translations, long texts."""

import functools

from kerazoo import _checks
from kerazoo.data import Chunk, cache
from kerazoo.tasks import images, labels, pixels
from kerazoo.tasks.language import LanguageTask
from kerazoo.tasks.reading import SHARES, chunked
from kerazoo.tasks.sequences import SequenceTask
from kerazoo.tasks.splits import origin, place, rows_of
from kerazoo.tasks.text_options import TextOptions


def build(
    name,
    kind,
    data_dir=None,
    download=False,
    max_length=512,
    length=128,
    stride=None,
    preprocess=None,
    restored=None,
    **text,
):
    """Returns the task of a prepared TensorFlow data set.

    Images with a class train `classifier`, `binary_classifier` and `autoencoder`; texts with a class train
    `classifier`; texts alone `language_model`; pairs of languages `seq2seq`. A dev or test split that the set lacks is
    drawn from train by a hash of the example, 5 % each.

    Args:
        name: `tfds:` and the name of the set.
        kind: The kind of model.
        data_dir: The folder that holds prepared sets, as for `tfds.load`.
        download: Whether a set that is not there is downloaded.
        max_length: Most tokens of a source or target; what is longer is cut off.
        length: Tokens of a window of a language model.
        stride: Tokens from one training window to the next; `length` by default.
        preprocess: `"scale"` pixels to [0, 1], the default, or `"standardise"` them by the training images.
        restored: What a saved task knew.
        **text: Options of `TextOptions`.
    """
    owner = f"task {name}"
    text = TextOptions.of(owner, text)
    options = {
        "data_dir": None if data_dir is None else str(data_dir),
        "download": bool(download),
        "max_length": _checks.positive_int(owner, "max_length", max_length),
        "length": _checks.positive_int(owner, "length", length),
        "stride": length if stride is None else _checks.positive_int(owner, "stride", stride),
        **text.to_dict(),
    }
    reader = Reader(name, kind, data_dir, download)
    parts, kept = (name, kind, options), {"fingerprint": reader.fingerprint}
    if restored is not None:
        of_text = bool(restored.tokenizers)
    else:
        of_text = kind in TEXTS or (kind == "classifier" and not reader.open().of_type("Image"))
    if of_text and preprocess is not None:
        raise ValueError(f"{owner}: `preprocess` is for images, and this is text; got preprocess={preprocess!r}.")
    if kind == "language_model":
        learn = text.learner(owner, "target")
        return LanguageTask(*parts, reader.text, restored, reader.open, learn, length, options["stride"], **kept)
    if kind == "seq2seq":
        make = text.pair(owner)
        return SequenceTask(*parts, reader.pairs, restored, reader.open, make, max_length, max_length, **kept)
    if of_text:
        learn = text.learner(owner, "source")
        return labels.LabelTask(*parts, reader.labels, restored, reader.open, learn, max_length, **kept)
    options["preprocess"] = pixels.option(owner, kind, preprocess, restored)
    return images.KINDS[kind](*parts, reader.images, restored, reader.open, **kept)


TEXTS = ("language_model", "seq2seq")

# The types of the features that each kind of model needs, one of each tuple.
NEEDED = {
    "language_model": [("Text",)],
    "seq2seq": [("Translation",)],
    "classifier": [("Image", "Text"), ("ClassLabel",)],
    "binary_classifier": [("Image",), ("ClassLabel",)],
    "autoencoder": [("Image",)],
}


class Reader:
    """The columns of a data set by split, opened and read when they are first asked for."""

    def __init__(self, name, kind, data_dir, download):
        self.name = name
        self.kind = kind
        self.data_dir = data_dir
        self.download = download
        self.open = functools.cache(self._open)

    def fingerprint(self, split):
        """Returns plain values that change when the data set does; all splits lie in one folder."""
        from kerazoo.data import tfds_source as tfds

        self.open()  # which downloads it, if that was asked for
        return cache.fingerprint(sorted(path for path in tfds.find(*self._where).iterdir() if path.is_file()))

    def images(self, split):
        """Yields the columns of images, labels and the names of the classes."""
        prepared = self.open()
        given, shares = origin(split, prepared.splits, SHARES)
        label = prepared.of_type("ClassLabel")
        names = tuple(prepared.classes(label[0])) if label else ()
        for arrays, classes in prepared.images(given, prepared.of_type("Image")[0], label[0] if label else None):
            if shares:
                rows = rows_of(split, [image.tobytes() for image in arrays], shares)
                arrays, classes = arrays[rows], classes[rows]
            yield Chunk({"image": arrays, "label": classes, "names": names})

    def text(self, split):
        """Yields the column of texts."""
        return self._strings(split, ("text",), self.open().of_type("Text")[0])

    def labels(self, split):
        """Yields the columns of texts and their classes."""
        prepared = self.open()
        paths = prepared.of_type("Text")[0], prepared.of_type("ClassLabel")[0]
        return self._strings(split, ("source", "label"), *paths)

    def pairs(self, split):
        """Yields the columns of the first and the second language."""
        prepared = self.open()
        pair = prepared.of_type("Translation")[0]
        first, second = prepared.languages(pair)
        return self._strings(split, ("source", "target"), (pair, first), (pair, second))

    def _open(self):
        from kerazoo.data.tfds_source import Prepared

        prepared = Prepared(self.name.partition(":")[2], self.data_dir, self.download)
        self._where = self.name.partition(":")[2], prepared.data_dir
        for types in NEEDED[self.kind]:
            if not prepared.of_type(*types):
                features = sorted(prepared.features.items())  # tfds itself gives them in no order
                there = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features)
                fits = [kind for kind, all_types in NEEDED.items() if all(prepared.of_type(*t) for t in all_types)]
                raise ValueError(
                    f"task {self.name}: kind {self.kind!r} needs a feature of type {' or '.join(types)}; got {there}. "
                    f"It trains: {', '.join(fits) or 'nothing here'}."
                )
        if "train" not in prepared.splits:
            raise _checks.DataError(f"task {self.name}: the set has no train split; it has {prepared.splits}.")
        return prepared

    def _strings(self, split, names, *paths):
        given, shares = origin(split, self.open().splits, SHARES)
        rows = self.open().strings(given, *paths)
        return chunked((row for row in rows if not shares or place(row[0], shares) == split), names)
