"""TensorFlow data sets by name: images, texts with a class, translations, long texts."""

import os
from typing import Any

from kerazoo import _checks
from kerazoo.data import TFDSSource
from kerazoo.tasks.feature_pairs import (
    FeatureOptions,
    make_features,
    parse_features,
    parse_target,
    refuse_subword_dropout,
)
from kerazoo.tasks.own_data import image_features, normal_source
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_options import TextOptions

# The types of the features that each kind of model needs, one of each tuple.
NEEDED = {
    "language_model": [("Text",)],
    "seq2seq": [("Translation",)],
    "classifier": [("Image", "Text"), ("ClassLabel",)],
    "binary_classifier": [("Image",), ("ClassLabel",)],
    "autoencoder": [("Image",)],
}


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    inputs: str | None = None,
    targets: str | None = None,
    max_length: int = 512,
    length: int = 128,
    stride: int | None = None,
    height: int | None = None,
    width: int | None = None,
    channels: int = 3,
    preprocess: str | None = None,
    levels: int = 16,
    anomalies: str | None = None,
    **text: Any,
) -> Task:
    """Returns the task of a prepared TensorFlow data set.

    Images with a class train `classifier`, `binary_classifier` and `autoencoder`; texts with a class train
    `classifier`; texts alone `language_model`; pairs of languages `seq2seq`. A dev or test split that the set lacks is
    selected from train by a hash of the example, 5 % each.

    Args:
        name: string. `tfds:` and the name of the set.
        kind: string. The kind of model.
        data_dir: string. The folder that holds prepared sets, as for `tfds.load`. Defaults to `None`: the default
            folder of `tfds.load`.
        download: bool. Whether a set that is not there is downloaded. Defaults to `False`.
        inputs: string. The input features as `"MODALITY:FEATURE"`, where `FEATURE` is a feature of the set. Defaults to
            what the kind of model needs.
        targets: string. The target feature in the same form. Defaults to what the kind of model needs.
        max_length: int. The largest number of tokens of a text; longer ones are truncated. Defaults to `512`.
        length: int. The tokens of a window of a language model. Defaults to `128`.
        stride: int. The tokens from one training window to the next. Defaults to `length`.
        height: int. The height that images are scaled to, in a set of images of many sizes. Defaults to that of the
            first one.
        width: int. The width that they are scaled to. Defaults to that of the first one.
        channels: int, 1 for grey or 3 for colour, to which these images are converted. Defaults to `3`.
        preprocess: string. `"scale"` pixels to [0, 1], or `"standardise"` them by the training images. Defaults to
            `"scale"`.
        levels: int. The levels of brightness of pixels as a target. Defaults to `16`.
        anomalies: string. For an autoencoder: the feature, and the value, of the examples that are left out of train
            and dev, and that an evaluation looks for in test, such as `label=7`. Defaults to `None`.
        **text: options of `TextOptions`.
    """
    owner, kind = f"task {name}", kind or "classifier"
    image = {"height": height, "width": width, "channels": channels, "preprocess": preprocess}
    text_options = TextOptions.of(owner, text)
    options = {
        "data_dir": None if data_dir is None else str(data_dir),
        "download": bool(download),
        "max_length": _checks.positive_int(owner, "max_length", max_length),
        "length": _checks.positive_int(owner, "length", length),
        "stride": length if stride is None else _checks.positive_int(owner, "stride", stride),
        **image,
        "levels": levels,
        "anomalies": anomalies,
        **text_options.to_dict(),
    }
    if preprocess is not None and (inputs or "text").startswith("text") and kind in ("language_model", "seq2seq"):
        raise ValueError(f"{owner}: `preprocess` is for images, and this is text; got preprocess={preprocess!r}.")
    set_name = name.partition(":")[2]
    if inputs is None and targets is None:
        # With this, a restored task opens no data set.
        inputs, targets = _default_features(owner, kind, TFDSSource(set_name, data_dir=data_dir, download=download))
    options |= {"inputs": inputs, "targets": targets}
    chosen = parse_features(owner, "inputs", inputs) if inputs else []
    target = parse_target(owner, str(targets))
    if preprocess is not None and not any(spec.modality == "image" for spec in chosen):
        raise ValueError(f"{owner}: `preprocess` is for images, and this is text; got preprocess={preprocess!r}.")
    if not chosen:
        refuse_subword_dropout(owner, text_options, kind)
    made = FeatureOptions(owner, text_options, max_length, length, options["stride"], image, levels=levels)
    if target.modality == "image":
        image_features(owner, "autoencoder", image)
    columns = {column: column for spec in [*chosen, target] for column in spec.columns}
    features = make_features(chosen, target, kind, made)
    source = normal_source(
        owner, TFDSSource(set_name, columns, data_dir=data_dir, download=download), features[1], anomalies
    )
    return Task(source, *features, name, kind, options)


def _default_features(owner, kind, source):
    """Returns the inputs and the target that a kind of model needs, from the types of the features of the set.

    Raises:
        ValueError: if the set has no feature of a type that is needed.
    """
    types = source.feature_types()
    for needed in NEEDED[kind]:
        if not _of_type(types, needed):
            available = ", ".join(f"{name} ({kind_of})" for name, kind_of in types.items())
            fits = [other for other, rows in NEEDED.items() if all(_of_type(types, row) for row in rows)]
            raise ValueError(
                f"{owner}: kind {kind!r} needs a feature of type {' or '.join(needed)}; got {available}. "
                f"It trains: {', '.join(fits) or 'nothing here'}."
            )
    first = _of_type(types, NEEDED[kind][0])[0]
    if kind == "language_model":
        return None, f"text:{first}"
    if kind == "seq2seq":
        one, two = source.languages(first)
        return f"text:{first}.{one}", f"text:{first}.{two}"
    modality = types[first].lower()
    if kind == "autoencoder":
        return f"image:{first}", f"image:{first}"
    return f"{modality}:{first}", f"label:{_of_type(types, ('ClassLabel',))[0]}"


def _of_type(types, chosen):
    """Returns the names of the features of one of the types, in the order of the types."""
    return [name for kind in chosen for name, kind_of in types.items() if kind_of == kind]
