"""Features chosen by modality and column: `inputs="image:file"`, `targets="text:caption"`."""

import dataclasses
from collections.abc import Callable
from typing import Any

from kerazoo import _checks
from kerazoo.tasks.feature import Feature
from kerazoo.tasks.image_feature import ImageFeature
from kerazoo.tasks.label_feature import LabelFeature
from kerazoo.tasks.number_feature import NumberFeature
from kerazoo.tasks.pixels_feature import PixelsFeature
from kerazoo.tasks.series_feature import SeriesFeature
from kerazoo.tasks.sound_feature import SoundFeature
from kerazoo.tasks.spectrogram_feature import SpectrogramFeature
from kerazoo.tasks.text_feature import TextFeature, Vocabulary
from kerazoo.tasks.text_options import TextOptions

MODALITIES = ("image", "label", "number", "pixels", "series", "sound", "text")
TAG = "tag"  # a column whose values are special tokens before the text that follows
JOINED = ("number", "text")  # features of which several columns are one input


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """The modality and the raw columns of a feature.

    Args:
        modality: string. One of `MODALITIES`.
        columns: tuple of strings. The names of the raw columns; empty for the default of the source.
        tags: int. How many of the columns of a text, counted from the first, hold tags. Defaults to `0`.
    """

    modality: str
    columns: tuple[str, ...] = ()
    tags: int = 0

    def __str__(self):
        modalities = [TAG] * self.tags + [self.modality] * (len(self.columns) - self.tags)
        return ",".join(map(":".join, zip(modalities, self.columns))) or self.modality


def parse_features(owner: str, argument: str, text: str) -> list[FeatureSpec]:
    """Returns the features of `"MODALITY:COLUMN,MODALITY:COLUMN"`; neighbours of text, or of numbers, become one.

    `"tag:COLUMN"` before a text makes the value of that column a special token at the start of the text.

    Args:
        owner: string. The task that error messages name.
        argument: string. `"inputs"` or `"targets"`.
        text: string. What is parsed.

    Raises:
        ValueError: if a modality is unknown, `text` is empty, or no text follows a tag.
    """
    specs: list[FeatureSpec] = []
    tags: tuple[str, ...] = ()
    for part in str(text).split(","):
        modality, colon, column = (piece.strip() for piece in part.partition(":"))
        if not modality or (colon and not column):
            raise ValueError(
                f"{owner}: `{argument}` must be MODALITY or MODALITY:COLUMN, several separated by commas; "
                f"got {argument}={text!r}."
            )
        if modality not in (*MODALITIES, TAG):
            listed = ", ".join((*MODALITIES, TAG))
            raise _checks.unknown(f"modality in `{argument}` of {owner}:", modality, MODALITIES, listed)
        columns = (column,) if column else ()
        if modality == TAG and columns:
            tags += columns
        elif modality == TAG or (tags and (modality != "text" or not columns)):
            raise _misplaced_tag(owner, argument, text)
        elif tags:
            specs.append(FeatureSpec(modality, tags + columns, len(tags)))
            tags = ()
        elif specs and columns and specs[-1].columns and specs[-1].modality == modality and modality in JOINED:
            specs[-1] = dataclasses.replace(specs[-1], columns=specs[-1].columns + columns)
        else:
            specs.append(FeatureSpec(modality, columns))
    if tags:
        raise _misplaced_tag(owner, argument, text)
    return specs


def _misplaced_tag(owner, argument, text):
    return ValueError(
        f"{owner}: a tag must name its column and stand before a text, as in 'tag:language,text:source'; got "
        f"{argument}={text!r}."
    )


def parse_target(owner: str, text: str) -> FeatureSpec:
    """Returns the one feature of `targets`.

    Raises:
        ValueError: if there are several, or one of them is unknown.
    """
    specs = parse_features(owner, "targets", text)
    if len(specs) > 1 or (len(specs[0].columns) > 1 and specs[0].modality == "text"):
        raise ValueError(f"{owner}: `targets` must be one feature; got targets={text!r}.")
    return specs[0]


@dataclasses.dataclass(frozen=True)
class FeatureOptions:
    """The arguments of the features of a task, except their columns.

    Args:
        owner: string. The task that error messages name.
        text: `TextOptions`. Tokens and vocabularies.
        max_length: int. The largest number of tokens of an example. Defaults to `512`.
        truncate: string. Which part of a longer input text is left out, `"end"` or `"start"`. Defaults to `"end"`.
        window: int. The tokens of a window of a language model. Defaults to `128`.
        stride: int. The tokens from one training window to the next. Defaults to `window`.
        image: dict. Further arguments of `ImageFeature`.
        sound: dict. Further arguments of `SoundFeature`.
        frames_per_step: int. The frames of sound that a decoder predicts at once. Defaults to `4`.
        levels: int. The levels of brightness of pixels. Defaults to `16`.
        series_length: int. The rows of a window of a series. Defaults to `None`: those of the data.
        preprocess: string. The preprocessing of a series. Defaults to `None`.
        monitor: tuple. The validation metric that selects the best model of text. Defaults to `("val_loss", "min")`.
    """

    owner: str
    text: TextOptions = dataclasses.field(default_factory=TextOptions)
    max_length: int = 512
    window: int = 128
    stride: int | None = None
    image: dict = dataclasses.field(default_factory=dict)
    sound: dict = dataclasses.field(default_factory=dict)
    frames_per_step: int = 4
    levels: int = 16
    series_length: int | None = None
    preprocess: str | None = None
    monitor: tuple[str, str] = ("val_loss", "min")
    truncate: str = "end"


def make_features(
    inputs: list[FeatureSpec], target: FeatureSpec, kind: str | None, options: FeatureOptions
) -> tuple[tuple[Feature, ...], Feature]:
    """Returns the input features and the target feature of a task.

    Args:
        inputs: list of `FeatureSpec`, with columns.
        target: `FeatureSpec`, with a column. An image or a series that is also an input is the same feature.
        kind: string. The kind of model, or `None` for the first one that predicts the target.
        options: `FeatureOptions`.

    Raises:
        ValueError: if options contradict each other, or an image is the target without being the input.
    """
    text, shared = options.text, None
    if text.share_vocabulary and inputs:
        shared = text.shared(options.owner)
    features = tuple(_input(spec, options, shared, target) for spec in inputs)
    if target.modality in ("image", "series"):
        for feature in features:
            if feature.modality == target.modality and feature.columns == target.columns:
                return features, feature
    if target.modality == "image":
        raise ValueError(
            f"{options.owner}: an image is a target only where it is the input as well, and is generated from other "
            f"inputs as targets='pixels:{target.columns[0]}'; got inputs={','.join(map(str, inputs))!r}, "
            f"targets={str(target)!r}."
        )
    return features, _target(target, features, kind, options, shared)


def _input(spec, options, shared, target):
    text = options.text
    if spec.modality == "text":
        return TextFeature(
            *spec.columns,
            vocabulary=shared or text.vocabulary(options.owner, "source"),
            max_length=options.max_length,
            truncate=options.truncate,
            tags=spec.tags,
            dropout=text.subword_dropout if text.source_tokens == "subwords" else 0.0,
            vectors=text.source_vectors,
            refuse_unknown=target.modality == "sound",
        )
    if spec.modality == "image":
        return ImageFeature(*spec.columns, **options.image)
    if spec.modality == "sound":
        return SoundFeature(*spec.columns, **options.sound)
    if spec.modality == "pixels":
        raise ValueError(
            f"{options.owner}: pixels are a target, and an input is an image: inputs='image:{spec.columns[0]}'; got "
            f"inputs={str(spec)!r}."
        )
    if spec.modality == "series":
        return SeriesFeature(*spec.columns, length=options.series_length, preprocess=options.preprocess)
    return {"label": LabelFeature, "number": NumberFeature}[spec.modality](*spec.columns)


def _target(spec, inputs, kind, options, shared):
    text = options.text
    if spec.modality == "text":
        return TextFeature(
            *spec.columns,
            vocabulary=shared or text.vocabulary(options.owner, "target"),
            max_length=options.max_length,
            dropout=text.subword_dropout if text.target_tokens == "subwords" else 0.0,
            vectors=text.target_vectors,
            window=None if inputs else options.window,
            stride=None if inputs else options.stride,
            monitor=options.monitor if inputs else ("val_loss", "min"),
        )
    if spec.modality == "label":
        return LabelFeature(*spec.columns, binary=kind == "binary_classifier")
    if spec.modality == "sound":
        return SpectrogramFeature(*spec.columns, frames_per_step=options.frames_per_step, **options.sound)
    if spec.modality == "pixels":
        image = {name: value for name, value in options.image.items() if name != "preprocess"}
        return PixelsFeature(*spec.columns, levels=options.levels, **image)
    return NumberFeature(*spec.columns)


def fixed_text(column: str, tokenizer: Callable, **options: Any) -> TextFeature:
    """Returns a text feature whose tokenizer is given as a function, for tasks with a fixed alphabet."""
    return TextFeature(column, vocabulary=Vocabulary(fixed=tokenizer), **options)


def refuse_subword_dropout(owner: str, text: TextOptions, kind: str | None) -> None:
    """Raises a ValueError if the options of a language model set subword dropout."""
    if text.subword_dropout:
        raise ValueError(
            f"{owner}: `subword_dropout` needs a model of kind seq2seq or classifier, whose examples stay the same "
            f"with any subwords; got subword_dropout={text.subword_dropout}, kind={kind!r}."
        )
