"""A task in a folder: the state of its features, and a file for each vocabulary."""

import os
import pathlib
from typing import TYPE_CHECKING

from kerazoo import _checks, _files
from kerazoo.tasks.text_feature import TextFeature

if TYPE_CHECKING:
    from kerazoo.tasks.task import Task

FILE = "task.json"
VERSION = 2


def write(folder: str | os.PathLike, task: "Task") -> None:
    """Writes a fitted task into `folder`: `task.json` and a file for each vocabulary."""
    columns = task.source.resolved_columns()
    _write(folder, task, {"name": task.name, "kind": task.kind, "options": task.options, "columns": columns})


def write_state(folder: str | os.PathLike, task: "Task") -> None:
    """Writes the state of the features of a task, without its name and options."""
    _write(folder, task, {})


def _write(folder, task, record):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for role, tokenizer in task.tokenizers.items():
        tokenizer.save(folder / f"{role}.json")
    record = {"version": VERSION, **record, "state": task.state, "tokenizers": task.vocabularies}
    _files.write_record(folder / FILE, record)


def read(folder: str | os.PathLike) -> dict:
    """Returns the record of a saved task.

    Raises:
        DataError: if there is no task in `folder`, or one of another version.
    """
    folder = pathlib.Path(folder)
    try:
        record = _files.read_record(folder / FILE)
        if record["version"] != VERSION:
            raise ValueError(f"written by another version ({record['version']}, this one reads {VERSION})")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _checks.DataError(f"{folder}: cannot be read as a task: {error}.") from error
    return record


def read_state(folder: str | os.PathLike, task: "Task") -> None:
    """Restores the state of the features of `task`.

    Raises:
        DataError: if the files do not belong together.
        ValueError: if a feature was fitted with other options.
    """
    folder, record = pathlib.Path(folder), read(folder)
    try:
        states, tokenizers = record["state"], record["tokenizers"]
        for name, feature in task.arrays.items():
            feature.restore(states[name])
            role = name.replace("targets", "target")
            if isinstance(feature, TextFeature) and role in tokenizers:
                feature.restore_tokenizer(_load_tokenizer(folder, role, tokenizers[role]))
        if record.get("columns") is not None:
            task.source.use_columns(record["columns"])
    except (KeyError, TypeError) as error:
        raise _checks.DataError(f"{folder}: cannot be read as a task: {error!r}.") from error


def _load_tokenizer(folder, role, expected):
    from kerazoo import text

    path = folder / f"{role}.json"
    tokenizer = text.load(path)
    difference = _checks.vocabulary_difference(tokenizer.fingerprint, expected)
    if difference:
        raise _checks.DataError(f"{path}: not the vocabulary of this task: {difference}. Put the file back.")
    return tokenizer
