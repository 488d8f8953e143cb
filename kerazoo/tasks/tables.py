"""The user's own text: tables of any format, and pairs of files with a line for each sentence."""

import functools

from kerazoo import _checks
from kerazoo.data import find_data_files, formats, parallel_source, read_records
from kerazoo.tasks import labels
from kerazoo.tasks.language import LanguageTask
from kerazoo.tasks.reading import Reading
from kerazoo.tasks.sequences import SequenceTask
from kerazoo.tasks.text_options import TextOptions

WATCH = ("val_token_accuracy", "max")


def build(
    name,
    kind,
    data_dir=None,
    source_column=0,
    target_column=1,
    header=None,
    format=None,
    dev_data=None,
    test_data=None,
    max_length=512,
    length=128,
    bad_lines="stop",
    restored=None,
    **text,
):
    """Returns the task `table`: text to text, text to a class, or text alone, from the records of tables.

    Args:
        name: The task's name.
        kind: `"seq2seq"`, `"classifier"` (the target column is the class) or `"language_model"` (the source column
            alone is read, in `target_tokens`).
        data_dir: A folder with a file `train` and maybe `dev` and `test`, ending in .tsv, .csv, .jsonl or .txt, plain
            or .gz; one file; a pattern; or several with weights: `"own.tsv@3,web-*.csv.gz"` (`find_data_files`). A dev
            or test split that is missing is drawn from train by a hash of the source, 5 % each.
        source_column: Column of the source: its number from 0, its name in the header, or a field of JSON, `"a.b"` for
            one inside another. Several with commas between them are joined by a blank.
        target_column: Column of the target.
        header: Whether the first line names the columns; by default it does where a column is chosen by name.
        format: `"tsv"`, `"csv"`, `"jsonl"` or `"txt"` for files whose names do not say it.
        dev_data: File or pattern of the dev examples, where it is not found by its name.
        test_data: The same for test.
        max_length: Most tokens of a source or target; what is longer is cut off.
        length: Tokens of a window of a language model.
        bad_lines: `"stop"` at a bad line, or `"skip"` it and count.
        restored: What a saved task knew.
        **text: Options of `TextOptions`.
    """
    owner = f"task {name}"
    needs(owner, data_dir, "a folder with train.tsv or a file")
    source_column = column(owner, "source_column", source_column)
    target_column = column(owner, "target_column", target_column)
    _common(owner, max_length, bad_lines)
    _checks.positive_int(owner, "length", length)
    if format is not None:
        _checks.one_of(owner, "format", format, tuple(formats.PARSERS))
    text = TextOptions.of(owner, text)
    options = {
        "data_dir": str(data_dir),
        "source_column": source_column,
        "target_column": target_column,
        "header": header,
        "format": format,
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "max_length": max_length,
        "length": length,
        "bad_lines": bad_lines,
        **text.to_dict(),
    }
    columns = (source_column,) if kind == "language_model" else (source_column, target_column)

    def records(path, bad, tick):
        return read_records(path, columns, bad, header, format or _format(name, path), tick)

    find = functools.partial(find_data_files, data_dir, dev_data=dev_data, test_data=test_data)
    names = {"language_model": ("text",), "classifier": ("source", "label", "where")}.get(kind, ("source", "target"))
    reading = Reading(find, records, names, bad_lines, [columns, header, format])
    parts, kept = (name, kind, options, reading, restored, reading.sources), {"fingerprint": reading.fingerprint}
    if kind == "language_model":
        return LanguageTask(*parts, text.learner(owner, "target"), length=length, stride=length, **kept)
    if kind == "classifier":
        return labels.LabelTask(*parts, text.learner(owner, "source"), limit=max_length, **kept)
    return SequenceTask(*parts, text.pair(owner), max_length, max_length, WATCH, **kept)


def build_parallel(
    name,
    kind,
    data_dir=None,
    source_language=None,
    target_language=None,
    dev_data=None,
    test_data=None,
    max_length=512,
    bad_lines="stop",
    restored=None,
    **text,
):
    """Returns the task `parallel`: text to text, line by line from two files such as `train.en` and `train.de`.

    Args:
        name: The task's name.
        kind: The kind of model.
        data_dir: A folder with `train.en` and `train.de` and maybe `dev` and `test`, plain or .gz; the file or a
            pattern of the sources; or several with weights, as for `table`.
        source_language: What the names of the files of sources end in, such as `"en"`.
        target_language: What the names of the files of targets end in; all else in the name is the same.
        dev_data: File or pattern of the dev sources, where it is not found by its name.
        test_data: The same for test.
        max_length: Most tokens of a source or target; what is longer is cut off.
        bad_lines: `"stop"` where one of two lines is bad, or `"skip"` both and count. Files of unequal length stop.
        restored: What a saved task knew.
        **text: Options of `TextOptions`.
    """
    owner = f"task {name}"
    needs(owner, data_dir, "a folder with train.en and train.de or the file of the sources")
    for option, value in (("source_language", source_language), ("target_language", target_language)):
        if not isinstance(value, str) or not value:
            raise ValueError(f"{owner}: needs `{option}`, what the files' names end in, such as 'en'; got {value!r}.")
    _common(owner, max_length, bad_lines)
    text = TextOptions.of(owner, text)
    options = {
        "data_dir": str(data_dir),
        "source_language": source_language,
        "target_language": target_language,
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "max_length": max_length,
        "bad_lines": bad_lines,
        **text.to_dict(),
    }

    def beside(path):
        return path, parallel_source.target_file(path, source_language, target_language)

    def records(path, bad, tick):
        for numbers, *pairs in parallel_source.read_pairs(*beside(path), bad, tick):
            for number, *values in zip(numbers, *pairs):
                yield f"{path}:{number}", values

    extensions = (f".{source_language}", f".{source_language}.gz")
    find = functools.partial(find_data_files, data_dir, extensions, dev_data=dev_data, test_data=test_data)
    reading = Reading(find, records, ("source", "target"), bad_lines, (), beside)
    return SequenceTask(
        *(name, kind, options, reading, restored, reading.sources, text.pair(owner), max_length, max_length, WATCH),
        fingerprint=reading.fingerprint,
    )


def column(owner, option, value):
    """Returns a column as a number, a name, or a list of several; a string of digits is a number."""
    several = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    chosen = [int(each) if isinstance(each, str) and each.strip().isdecimal() else each for each in several]
    for each in chosen:
        if not isinstance(each, str):
            _checks.non_negative_int(owner, option, each)
        elif not each:
            raise ValueError(f"{owner}: `{option}` must be a number, a name or several of them; got {value!r}.")
    return chosen if len(chosen) > 1 else chosen[0]


def needs(owner, data_dir, what):
    """Refuses a task of files that was not told where they are."""
    if data_dir is None:
        raise ValueError(f"{owner}: needs `data_dir`, {what}; got data_dir=None.")


def _common(owner, max_length, bad_lines):
    _checks.positive_int(owner, "max_length", max_length)
    _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))


def _format(name, path):
    """Returns the format by the ending; the task `tsv` takes what has none for tab-separated."""
    try:
        return formats.ending(path)
    except _checks.DataError:
        if name == "tsv":
            return "tsv"
        raise
