"""What a task learnt from the training data, and the folder that keeps it."""

import dataclasses
import json
import os
import pathlib
import tempfile

from kerazoo import _checks

FILE = "task.json"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Known:
    """What a task learnt from the training data and needs ever after.

    Args:
        facts: Dictionary of plain values: sizes, names of classes.
        tokenizers: Dictionary of role (`"source"`, `"target"`) to `kerazoo.text.Tokenizer`.
    """

    facts: dict
    tokenizers: dict = dataclasses.field(default_factory=dict)

    @property
    def vocabularies(self):
        """Dictionary of role to the vocabulary's fingerprint, by which another one is told."""
        return {role: tokenizer.fingerprint for role, tokenizer in self.tokenizers.items()}


def write(folder, name, kind, options, known):
    """Writes a task into `folder`: `task.json` and a file for each vocabulary."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for role, tokenizer in known.tokenizers.items():
        tokenizer.save(folder / f"{role}.json")
    record = {
        "version": VERSION,
        "name": name,
        "kind": kind,
        "options": options,
        "facts": known.facts,
        "tokenizers": known.vocabularies,
    }
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=FILE + ".")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / FILE)


def read_saved(folder):
    """Returns the record of a saved task and the `Known` that belongs to it.

    Raises:
        DataError: There is no task in `folder`, or its files do not belong together.
    """
    folder = pathlib.Path(folder)
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if record["version"] != VERSION:
            raise ValueError(f"written by another version ({record['version']}, this one reads {VERSION})")
        known = Known(record["facts"], {role: _load(folder, role, f) for role, f in record["tokenizers"].items()})
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, _checks.DataError):
            raise
        raise _checks.DataError(f"{folder}: cannot be read as a task: {error}.") from error
    return record, known


def _load(folder, role, saved):
    from kerazoo import text

    path = folder / f"{role}.json"
    tokenizer = text.load(path)
    if isinstance(saved, str):  # what folders held before fingerprints
        saved = {"hash": saved}
    difference = _checks.vocabulary_difference(tokenizer.fingerprint, saved)
    if difference:
        raise _checks.DataError(f"{path}: not the vocabulary of this task: {difference}. Put the file back.")
    return tokenizer
