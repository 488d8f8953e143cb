"""Tasks over the user's own files: tables, pairs of files, long texts, folders of images or sound, series."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kerazoo import _checks
from kerazoo.data import (
    AnomalyColumn,
    DataSource,
    ImageFolderSource,
    MixtureSource,
    NormalSource,
    ParallelSource,
    SeriesSource,
    SoundFolderSource,
    TableSource,
    TaggedSource,
    TextSource,
)
from kerazoo.data.table_source import HELD_OUT, check_column
from kerazoo.data.tagged_source import TAG, parse_parts
from kerazoo.tasks.feature import Feature
from kerazoo.tasks.feature_pairs import (
    FeatureOptions,
    FeatureSpec,
    make_features,
    parse_features,
    parse_target,
    refuse_subword_dropout,
)
from kerazoo.tasks.preprocessing import parse_preprocess
from kerazoo.tasks.table_arguments import table_arguments
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_options import TextOptions

MONITOR = ("val_token_accuracy", "max")
FILES = ("image", "pixels", "sound")  # modalities whose columns are names of files
# The features of a table by the kind of model, where none are chosen.
TABLE_FEATURES = {
    "seq2seq": ("text:source", "text:target"),
    "classifier": ("text:source", "label:target"),
    "binary_classifier": ("text:source", "label:target"),
    "language_model": ("", "text:source"),
}


def build_table(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    inputs: str | None = None,
    targets: str | None = None,
    source_column: int | str | list = 0,
    target_column: int | str | list = 1,
    header: bool | None = None,
    format: str | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    held_out: float = HELD_OUT,
    max_length: int = 512,
    truncate: str = "end",
    length: int = 128,
    bad_lines: str = "stop",
    height: int | None = None,
    width: int | None = None,
    channels: int = 3,
    preprocess: str | None = None,
    sample_rate: int = 16000,
    resample: bool = True,
    num_mel_bins: int = 40,
    frames_per_step: int = 4,
    levels: int = 16,
    **text: Any,
) -> Task:
    """Returns the task `table`: columns of tables as features.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. A folder with a file `train` and optionally `dev` and `test`, ending in .tsv, .csv, .jsonl or
            .txt, plain or .gz; one file; a pattern; or several with weights: `"own.tsv@3,web-*.csv.gz"`. A part may
            have a tag, which becomes a special token at the start of the source, and columns of its own:
            `"all.tsv#tag=de;target=1@2,all.tsv#tag=fr;target=2"`. A missing dev or test split is selected from train by
            a hash of the source, so that every class stays in train and is divided in the same proportions;
            of a set of a few examples they are empty. Required. Defaults to `None`, which raises an error.
        inputs: string. The input features as `"MODALITY:COLUMN"`, several separated by commas: `"image:file"`,
            `"sound:file"`, `"text:question,text:context"`. Files are relative to the folder of their table.
            `"tag:COLUMN"` before a text makes the value of a column a special token at its start; the tags of parts are
            the column `tag`. Defaults to the text in `source_column` after the tag, or no input for a language model.
        targets: string. The target feature in the same form. Defaults to the text in `target_column`, or its class for
            a classifier, or the text in `source_column` for a language model.
        source_column: int or string. The column of the source: its number from 0, its name in the header, or a field of
            JSON, `"a.b"` for one inside another. Several separated by commas are joined by a blank. Defaults to `0`.
        target_column: int or string. The column of the target. Defaults to `1`.
        header: bool. Whether the first line names the columns. Defaults to whether a column is chosen by name or the
            line is recognised; where it may be either, the data is refused.
        format: string. `"tsv"`, `"csv"`, `"jsonl"` or `"txt"` for files of another ending. Defaults to `None`.
        delimiter: string. The character between columns, or `"tab"`. Defaults to a comma or a tab, by the format.
        quote: string. The character around values, or `""` for none. Defaults to `'"'` for CSV; in a TSV values in
            quotes are recognised, and where quotes may be text as well, the data is refused.
        dev_data: string. A file or pattern of the dev examples, where it is not found by its name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        held_out: float in [0, 0.5). The share of train that a missing dev or test split takes; 0 trains on all
            examples. Defaults to `0.05`.
        max_length: int. The largest number of tokens of a text; longer ones are truncated. Defaults to `512`.
        truncate: string. Which part of a longer input text is left out, its `"end"` or its `"start"`. Defaults to
            `"end"`.
        length: int. The tokens of a window of a language model. Defaults to `128`.
        bad_lines: string. `"stop"` at a bad line, or `"skip"` it and count. Defaults to `"stop"`.
        height: int. The height that images are resized to. Defaults to that of the first training image.
        width: int. The width that images are resized to. Defaults to that of the first training image.
        channels: int, 1 or 3. The channels of images. Defaults to `3`.
        preprocess: string. The preprocessing of images. Defaults to `"scale"`.
        sample_rate: int. The samples of a second that sound is brought to. Defaults to `16000`.
        resample: bool. Whether sound with another rate is converted; False refuses it. Defaults to `True`.
        num_mel_bins: int. The mel filters of the frames of sound. Defaults to `40`.
        frames_per_step: int. The frames of sound that a decoder predicts at once. Defaults to `4`.
        levels: int. The levels of brightness of pixels as a target. Defaults to `16`.
        **text: options of `TextOptions`.
    """
    owner = f"task {name}"
    data_dir = _require(owner, data_dir, "a folder with train.tsv or a file")
    source_column = check_column(owner, "source_column", source_column)
    target_column = check_column(owner, "target_column", target_column)
    _checks.positive_int(owner, "max_length", max_length)
    _checks.positive_int(owner, "length", length)
    shared = table_arguments(
        owner, header=header, format=format, delimiter=delimiter, quote=quote, dev_data=dev_data, test_data=test_data,
        held_out=held_out, bad_lines=bad_lines,
    )  # fmt: skip
    text_options = TextOptions.of(owner, text)
    sound = {"sample_rate": sample_rate, "resample": bool(resample), "num_mel_bins": num_mel_bins}
    options = {
        "data_dir": str(data_dir),
        "inputs": inputs,
        "targets": targets,
        "source_column": source_column,
        "target_column": target_column,
        **shared,
        "max_length": max_length,
        "truncate": _checks.one_of(owner, "truncate", truncate, ("end", "start")),
        "length": length,
        "height": height,
        "width": width,
        "channels": channels,
        "preprocess": preprocess,
        **sound,
        "frames_per_step": frames_per_step,
        "levels": levels,
        **text_options.to_dict(),
    }
    chosen, target = _chosen(owner, kind, inputs, targets, TABLE_FEATURES)
    bare = [spec.modality for spec in [*chosen, target] if not spec.columns]
    if bare:
        raise ValueError(
            f"{owner}: `inputs` and `targets` must name the column of each feature, as {bare[0]}:COLUMN; got "
            f"inputs={inputs!r}, targets={targets!r}."
        )
    columns: dict[str, Any] = {column: column for spec in [*chosen, target] for column in spec.columns}
    for column, given in (("source", source_column), ("target", target_column)):
        if inputs is None and targets is None and column in columns:
            columns[column] = given
    columns = {column: check_column(owner, "inputs", value) for column, value in columns.items()}
    image = {"height": height, "width": width, "channels": channels, "preprocess": preprocess}
    if not chosen:
        refuse_subword_dropout(owner, text_options, kind)
    made = FeatureOptions(
        owner,
        text_options,
        max_length,
        length,
        image=image,
        sound=sound,
        frames_per_step=frames_per_step,
        levels=levels,
        monitor=MONITOR,
        truncate=truncate,
    )
    paths = [column for spec in [*chosen, target] if spec.modality in FILES for column in spec.columns]

    def table(data_dir, part):
        read = {column: check_column(owner, column, part.get(column, given)) for column, given in columns.items()}
        if TAG in part:
            read.pop(TAG, None)
        kind_of_file = format or ("tsv" if name == "tsv" else None)
        return TableSource(data_dir, read, **{**shared, "format": kind_of_file}, path_columns=paths)

    source = _mixture(owner, data_dir, tuple(columns), table, dev_data or test_data)
    if inputs is None and TAG in source.columns and TAG not in columns:
        chosen = _with_tag(owner, chosen)
    return Task(source, *make_features(chosen, target, kind, made), name, kind or "", options, bad_lines)


def build_parallel(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    source_language: str | None = None,
    target_language: str | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    max_length: int = 512,
    bad_lines: str = "stop",
    **text: Any,
) -> Task:
    """Returns the task `parallel`: text to text, line by line from two files such as `train.en` and `train.de`.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. A folder with `train.en` and `train.de` and optionally `dev` and `test`, plain or .gz; the
            file or a pattern of the sources; or several with weights, as for `table`. A part may have a tag, which
            becomes a special token at the start of the source, and languages of its own:
            `"news#tag=de;target=de@2,news#tag=fr;target=fr"`. Required. Defaults to `None`, which raises an error.
        source_language: string. What the names of the files of sources end in, such as `"en"`. Required. Defaults to
            `None`, which raises an error.
        target_language: string. What the names of the files of targets end in; the rest of the name is the same.
            Required. Defaults to `None`, which raises an error.
        dev_data: string. A file or pattern of the dev sources, where it is not found by its name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        max_length: int. The largest number of tokens of a source or target; longer ones are truncated. Defaults to
            `512`.
        bad_lines: string. `"stop"` where one of two lines is bad, or `"skip"` both and count. Files of unequal length
            stop. Defaults to `"stop"`.
        **text: options of `TextOptions`.
    """
    owner = f"task {name}"
    data_dir = _require(owner, data_dir, "a folder with train.en and train.de or the file of the sources")
    source_language = _language(owner, "source_language", source_language)
    target_language = _language(owner, "target_language", target_language)
    _check_files(owner, max_length, bad_lines)
    text_options = TextOptions.of(owner, text)
    files = {"dev_data": dev_data and str(dev_data), "test_data": test_data and str(test_data), "bad_lines": bad_lines}
    languages = {"source_language": source_language, "target_language": target_language}
    options = {"data_dir": str(data_dir), **languages, **files, "max_length": max_length, **text_options.to_dict()}

    def pairs(data_dir, part):
        read = part.get("source", source_language), part.get("target", target_language)
        return ParallelSource(data_dir, read[0], target_language=read[1], **files)

    source = _mixture(owner, data_dir, ("source", "target"), pairs, dev_data or test_data)
    made = FeatureOptions(owner, text_options, max_length, monitor=MONITOR)
    chosen = [FeatureSpec("text", ("source",))]
    chosen = _with_tag(owner, chosen) if TAG in source.columns else chosen
    features = make_features(chosen, FeatureSpec("text", ("target",)), kind, made)
    return Task(source, *features, name, kind or "", options, bad_lines)


def build_text(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    length: int = 128,
    stride: int | None = None,
    bad_lines: str = "stop",
    **text: Any,
) -> Task:
    """Returns the task `text`: each file is one text, and the model is trained to continue it.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. A file, a folder with `train.txt` and optionally `dev.txt` and `test.txt`, a pattern, or
            several with weights, which are whole numbers here. Where there is no dev or test text, the last tenth of
            each training text is divided: its last 5 % are for test, the 5 % before for dev, cut at line ends, or at
            blanks where no line end is near. Required. Defaults to `None`, which raises an error.
        dev_data: string. A file or pattern of the dev texts, where they are not found by name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        length: int. The tokens of a window. Defaults to `128`.
        stride: int. The tokens from one training window to the next. Windows that overlap are made in memory. Defaults
            to `length`.
        bad_lines: string. `"stop"` at a line that is no text, or `"skip"` it and count. Defaults to `"stop"`.
        **text: options of `TextOptions`, those of the target.
    """
    owner = f"task {name}"
    data_dir = _require(owner, data_dir, "a text file or a folder with train.txt")
    _checks.positive_int(owner, "length", length)
    _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))
    stride = length if stride is None else _checks.positive_int(owner, "stride", stride)
    text_options = TextOptions.of(owner, text, roles=("target",))
    files = {"dev_data": dev_data and str(dev_data), "test_data": test_data and str(test_data), "bad_lines": bad_lines}
    options = {"data_dir": str(data_dir), **files, "length": length, "stride": stride, **text_options.to_dict()}
    refuse_subword_dropout(owner, text_options, kind)
    made = FeatureOptions(owner, text_options, window=length, stride=stride)
    features = make_features([], FeatureSpec("text", ("text",)), kind, made)
    return Task(TextSource(data_dir, **files), *features, name, kind or "", options, bad_lines)


def build_images(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    height: int | None = None,
    width: int | None = None,
    channels: int = 3,
    bad_lines: str = "stop",
    preprocess: str | None = None,
    levels: int = 16,
    anomalies: str | None = None,
) -> Task:
    """Returns the task `images`: an image to its class, to yes or no, or to itself; or generated pixel by pixel.

    Args:
        name: string. The task's name.
        kind: string. `"classifier"`, `"binary_classifier"` (with two classes), `"autoencoder"`, `"seq2seq"` for the
            image of a class, or `"language_model"` for an image from nothing or from its first rows.
        data_dir: string. A folder with `train/CLASS/IMAGE` and optionally `dev` and `test` of the same form; or with
            `CLASS/IMAGE`. A missing dev or test split is selected from train by a hash of class and file name, 5 %
            of each class. Images are PNG, JPEG, GIF, BMP, TIFF or WebP, read with Pillow. Required. Defaults to `None`,
            which raises an error.
        height: int. The height that images are resized to. Defaults to that of the first training image.
        width: int. The width that images are resized to. Defaults to that of the first training image.
        channels: int. 1 for grey or 3 for colour. Defaults to `3`.
        bad_lines: string. `"stop"` at a file that holds no image, or `"skip"` it, and name and count it.
            Defaults to `"stop"`.
        preprocess: string. `"scale"` pixels to [0, 1], or `"standardise"` them by the training images. Defaults to
            `"scale"`.
        levels: int. The levels of brightness of generated pixels. Defaults to `16`.
        anomalies: string. For an autoencoder: the column, and the value, of the examples that are left out of train and
            dev, and that an evaluation looks for in test; `label=CLASS` for the images of a class. Defaults to `None`.
    """
    owner = f"task {name}"
    data_dir = _require(owner, data_dir, "a folder with one folder of images for each class")
    _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))
    image = {"height": height, "width": width, "channels": channels, "preprocess": preprocess}
    options = {"data_dir": str(data_dir), **image, "bad_lines": bad_lines, "levels": levels, "anomalies": anomalies}
    features = image_features(owner, kind, image, levels)
    source = normal_source(owner, ImageFolderSource(data_dir), features[1], anomalies)
    return Task(source, *features, name, kind or "", options, bad_lines)


def build_sounds(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    sample_rate: int = 16000,
    resample: bool = True,
    num_mel_bins: int = 40,
    frames_per_step: int = 4,
    max_length: int = 512,
    bad_lines: str = "stop",
    **text: Any,
) -> Task:
    """Returns the task `sounds`: a recording to its transcript, or a transcript to its recording.

    Args:
        name: string. The task's name.
        kind: string. `"seq2seq"` for a model that writes the transcript of a recording, `"forecaster"` for one that
            generates the sound of a text.
        data_dir: string. A folder with `transcripts.tsv`, or with `train/transcripts.tsv` and optionally `dev` and
            `test` of the same form. A line is a file, a tab and its transcript, then optionally a tab and the speaker;
            a first line with the names `file`, `text` and `speaker` allows another order. Or a folder in the form of
            LJSpeech: `metadata.csv` with `ID|text|normalized text`, and `wavs/ID.wav`. A missing dev or test split is
            selected from train by a hash, 5 % each, of the file or, where there are ten or more, of the speaker.
            Files are WAV, or with the package soundfile FLAC and others; channels are mixed to one. Required. Defaults
            to `None`, which raises an error.
        sample_rate: int. The samples of a second that files are brought to. Defaults to `16000`.
        resample: bool. Whether a file with another rate is converted; False refuses it. Defaults to `True`.
        num_mel_bins: int. The mel filters of the frames that a model reads or predicts. Defaults to `40`.
        frames_per_step: int. The frames of sound that a decoder predicts at once. Defaults to `4`.
        max_length: int. The largest number of tokens of a transcript; longer ones are truncated. Defaults to `512`.
        bad_lines: string. `"stop"` at a line without a transcript or a file that holds no sound, or `"skip"` it, and
            name and count it. Defaults to `"stop"`.
        **text: options of `TextOptions`, those of the target, or of the source where sound is generated.
    """
    owner = f"task {name}"
    data_dir = _require(owner, data_dir, "a folder with transcripts.tsv or metadata.csv")
    _check_files(owner, max_length, bad_lines)
    generates_sound = kind == "forecaster"
    text_options = TextOptions.of(owner, text, roles=("source",) if generates_sound else ("target",))
    sound = {"sample_rate": sample_rate, "resample": bool(resample), "num_mel_bins": num_mel_bins}
    options = {"data_dir": str(data_dir), **sound, "frames_per_step": frames_per_step, "max_length": max_length}
    options |= {"bad_lines": bad_lines, **text_options.to_dict()}
    if generates_sound:
        features = speech_generation_features(owner, kind, text_options, max_length, sound, frames_per_step)
    else:
        features = speech_features(owner, kind, text_options, max_length, sound)
    source = SoundFolderSource(data_dir, bad_lines=bad_lines)
    return Task(source, *features, name, kind or "", options, bad_lines)


def speech_features(
    owner: str, kind: str | None, text: TextOptions, max_length: int, sound: dict
) -> tuple[tuple[Feature, ...], Feature]:
    """Returns the features of a recording in the column `sound` and of its transcript in the column `text`."""
    made = FeatureOptions(owner, text, max_length, sound=sound, monitor=MONITOR)
    inputs, target = make_features([FeatureSpec("sound", ("sound",))], FeatureSpec("text", ("text",)), kind, made)
    target.measures = ("word_error_rate", "sequence_error_rate")
    return inputs, target


def speech_generation_features(
    owner: str, kind: str | None, text: TextOptions, max_length: int, sound: dict, frames_per_step: int
) -> tuple[tuple[Feature, ...], Feature]:
    """Returns the features of a text in the column `text` and of its sound in the column `sound`."""
    made = FeatureOptions(owner, text, max_length, sound=sound, frames_per_step=frames_per_step)
    return make_features([FeatureSpec("text", ("text",))], FeatureSpec("sound", ("sound",)), kind, made)


def build_series(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    columns: str | Sequence[str] | None = None,
    inputs: str | None = None,
    targets: str | None = None,
    length: int = 12,
    stride: int = 1,
    delimiter: str | None = None,
    quote: str | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    bad_lines: str = "stop",
    preprocess: str | None = None,
    anomalies: str | None = None,
) -> Task:
    """Returns the task `series`: windows of one or more series of numbers to themselves, to a class or to a number.

    A window that is reconstructed badly is unlike the training data, which finds anomalies. All columns are scaled to
    mean 0 and standard deviation 1 by the numbers of the training rows alone.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. A CSV or TSV file with a header, plain or .gz; a pattern; a folder with `train.csv` and
            optionally `dev.csv` and `test.csv`; or a folder of series, each in a file of its own. Where there is no dev
            or test file, the last 15 % of the rows of each training file are for test, the 15 % before for dev.
            Required. Defaults to `None`, which raises an error.
        columns: string. The names of the columns of numbers, separated by commas. Defaults to all that hold numbers.
        inputs: string. `"series"`. Defaults to `"series"`.
        targets: string. `"series"` for the window itself, `"label:COLUMN"` or `"number:COLUMN"` for the value of a
            column in the last row of the window. The rows after a window are what the task `forecast` predicts.
            Defaults to `"series"`.
        length: int. The rows of a window. Defaults to `12`.
        stride: int. The rows from one window to the next. Defaults to `1`.
        delimiter: string. The character between columns, as for `table`. Defaults to `None`.
        quote: string. The character around values, as for `table`. Defaults to `None`.
        dev_data: string. A file or pattern of the dev rows, where they are not found by name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        bad_lines: string. `"stop"` at a row that lacks a number, or `"skip"` it and count. Defaults to `"stop"`.
        preprocess: string. `"standardise"`, as above; or `"spectrogram"` or `"mel_spectrogram"` of that, such as
            `"mel_spectrogram:fft_length=64,num_mel_bins=16"`, which is then also what is reconstructed. Defaults to
            `"standardise"`.
        anomalies: string. For windows to themselves: a column that tells anomalies, rows whose value is not 0, or with
            `COLUMN=VALUE` those with this value. Windows with such rows are left out of train and dev, and an
            evaluation looks for them in test. It is none of the `columns`. Defaults to `None`.
    """
    owner = f"task {name}"
    data_dir = _require(owner, data_dir, "a CSV file with a header")
    sizes = {
        "length": _checks.positive_int(owner, "length", length),
        "stride": _checks.positive_int(owner, "stride", stride),
    }
    columns = ",".join(columns) if isinstance(columns, list | tuple) else columns
    files = {
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "bad_lines": _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip")),
    }
    options = {"data_dir": str(data_dir), "columns": columns, "inputs": inputs, "targets": targets, **sizes, **files}
    dialect = {"delimiter": delimiter, "quote": quote}
    options |= {**dialect, "preprocess": preprocess and str(preprocess), "anomalies": anomalies}
    parse_preprocess(owner, "series", preprocess)
    chosen, target = _chosen(owner, kind, inputs or "series", targets or "series", {})
    chosen = [_with_column(spec, "window") for spec in chosen]
    target = _with_column(target, "window" if target.modality == "series" else "")
    if [spec for spec in chosen if spec != FeatureSpec("series", ("window",))]:
        raise ValueError(f"{owner}: `inputs` must be 'series'; got inputs={inputs!r}.")
    if target.modality == "series" and target.columns != ("window",):
        raise ValueError(
            f"{owner}: `targets` must be 'series', 'label:COLUMN' or 'number:COLUMN'; got targets={targets!r}. The "
            "rows after a window are what the task forecast predicts."
        )
    labels = target.columns if target.modality != "series" else ()
    made = FeatureOptions(owner, series_length=length, preprocess=preprocess)
    features = make_features(chosen, target, kind, made)
    source: DataSource = SeriesSource(data_dir, columns, labels=labels, **sizes, **dialect, **files)
    source = normal_source(owner, source, features[1], anomalies)
    return Task(source, *features, name, kind or "", options, bad_lines)


def normal_source(owner: str, source: DataSource, target: Feature, anomalies: str | None) -> DataSource:
    """Returns the source without anomalies in train and dev, or as it is where `anomalies` is `None`.

    Raises:
        ValueError: if the target is not an image or a window, which an autoencoder reconstructs.
    """
    if anomalies is None:
        return source
    if "autoencoder" not in target.kinds:
        raise ValueError(
            f"{owner}: `anomalies` are found by autoencoders, and the target is a {target.modality}; got "
            f"anomalies={anomalies!r}. Leave it out."
        )
    return NormalSource(source, AnomalyColumn.parse(owner, anomalies))


def image_features(owner: str, kind: str | None, image: dict, levels: int = 16) -> tuple[tuple[Feature, ...], Feature]:
    """Returns the features of images: to a class, to yes or no, to themselves, or generated pixel by pixel.

    Raises:
        ValueError: if an autoencoder is to reconstruct standardised pixels, or pixels are generated from them.
    """
    name, _ = parse_preprocess(owner, "images", image.get("preprocess"))
    if name == "standardise" and kind in ("autoencoder", "seq2seq", "language_model"):
        raise ValueError(
            f"{owner}: models of kind {kind} predict pixels in [0, 1], and standardised ones are not; got "
            "preprocess='standardise'. Leave the option out, or set preprocess=scale."
        )
    of_image, of_label = FeatureSpec("image", ("image",)), FeatureSpec("label", ("label",))
    pixels = FeatureSpec("pixels", ("image",))
    inputs, target = {
        "autoencoder": ([of_image], of_image),
        "seq2seq": ([of_label], pixels),
        "language_model": ([], pixels),
    }.get(str(kind), ([of_image], of_label))
    return make_features(inputs, target, kind, FeatureOptions(owner, image=image, levels=levels))


def _chosen(owner, kind, inputs, targets, defaults):
    """Returns the specs of the inputs and of the target, those of the kind of model where none are given."""
    if inputs is None and targets is None:
        if kind not in (None, *defaults):
            raise ValueError(
                f"{owner}: models of kind {kind} need `inputs` and `targets`, such as inputs='text:review', "
                f"targets='number:score'; got neither."
            )
        inputs, targets = defaults[kind or next(iter(defaults))]
    if targets is None:
        raise ValueError(f"{owner}: `inputs` needs `targets` as well; got inputs={inputs!r}, targets=None.")
    target = parse_target(owner, targets)
    return parse_features(owner, "inputs", inputs) if inputs else [], target


def _with_column(spec, default):
    """Returns the spec with its columns, or the default one."""
    if not spec.columns and not default:
        raise ValueError(f"`targets` of modality {spec.modality} must name a column: targets='{spec.modality}:COLUMN'.")
    return spec if spec.columns else FeatureSpec(spec.modality, (default,))


def _mixture(
    owner: str,
    data_dir: str | os.PathLike,
    names: tuple[str, ...],
    make: Callable[[Any, Mapping[str, str]], DataSource],
    held_out: Any,
) -> DataSource:
    """Returns the source of `data_dir`, or of its parts where they have tags or other options."""
    parts = parse_parts(owner, data_dir, names)
    if not parts:
        return make(data_dir, {})
    if held_out:
        raise ValueError(
            f"{owner}: parts of `data_dir` with options have dev and test examples of their own, found by their names; "
            f"got {str(held_out)!r} for all of them. Leave dev_data and test_data out."
        )
    sources = [make(part.data_dir, part.options) for part in parts]
    tagged = [
        TaggedSource(source, part.options[TAG]) if TAG in part.options else source
        for source, part in zip(sources, parts)
    ]
    return MixtureSource(tagged, [part.weight for part in parts])


def _with_tag(owner, chosen):
    """Returns the input features with the tag of the part before the first one."""
    if not chosen or chosen[0].modality != "text":
        raise ValueError(
            f"{owner}: a tag stands before a text; got {chosen[0].modality if chosen else 'no'} input. Leave the tags "
            "of `data_dir` out."
        )
    first = chosen[0]
    return [dataclasses.replace(first, columns=(TAG, *first.columns), tags=first.tags + 1), *chosen[1:]]


def _require(owner: str, data_dir: str | os.PathLike | None, what: str) -> str | os.PathLike:
    if data_dir is None:
        raise ValueError(f"{owner}: needs `data_dir`, {what}; got data_dir=None.")
    return data_dir


def _language(owner, option, value) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{owner}: needs `{option}`, what the files' names end in; got {value!r}. Say {option}=en.")
    return value


def _check_files(owner, max_length, bad_lines):
    _checks.positive_int(owner, "max_length", max_length)
    _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))
