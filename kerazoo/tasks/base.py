"""What every task has: a name, the options that make it again, what it learnt from the data, saving."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable

from kerazoo import _checks
from kerazoo.tasks.splits import SPLITS

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


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What to learn: examples to model inputs, targets and weights, the loss, the metrics, and how to show an answer.

    `kerazoo.tasks.create` makes one. A subclass serves some kinds of model and gives `_learn`, `load`, `sizes`,
    `batch`, `loss`, `metrics`, `examples`, `graph_encode`, `graph_decode`, `show` and `measure`. It reads the data when
    it is first needed; a restored task works without the data until `load` or `examples` is called.

    Args:
        name: The name it was created by.
        kind: The kind of model that it trains: a kind of the catalog.
        options: Everything that makes it again.
        reader: Function from `"train"`, `"dev"` or `"test"` to a dictionary of columns: lists or arrays of raw values.
        restored: What it learnt, where that is known already.
        find: Function that fails, in the right words, if the data is not there; it reads as little as possible.
    """

    name: str
    kind: str
    options: dict
    reader: Callable = dataclasses.field(repr=False)
    restored: Known | None = dataclasses.field(default=None, repr=False)
    find: Callable = dataclasses.field(default=lambda: None, repr=False)

    monitor = ("val_loss", "min")
    length_names = ()
    max_length = None
    measured_by_loss = False  # whether many answers are right, so that none can be compared with the references

    @functools.cached_property
    def known(self):
        """What was learnt from the data; reads it the first time."""
        return self.restored if self.restored is not None else self._learn()

    @property
    def facts(self):
        """Plain values learnt from the data."""
        return self.known.facts

    @property
    def tokenizers(self):
        """Dictionary of role to tokenizer; empty for tasks without text."""
        return self.known.tokenizers

    @property
    def digest(self):
        """Hash of all that was learnt: models of two tasks with one digest understand each other."""
        parts = [self.kind, self.facts, {role: tokenizer.digest for role, tokenizer in self.tokenizers.items()}]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def measuring(self):
        """Options of the search when answers are measured."""
        return {}

    def columns(self, split):
        """Returns the raw columns of `split`, read once."""
        _checks.one_of(f"task {self.name}", "split", split, SPLITS)
        if split not in self._cache:
            columns = self.reader(split)
            if not len(next(iter(columns.values()))):
                raise _checks.DataError(f"task {self.name}: there are no {split} examples. Give it more data.")
            self._cache[split] = columns
        return self._cache[split]

    def save(self, folder):
        """Writes what `kerazoo.tasks.restore` needs into `folder`: `task.json` and a file for each vocabulary."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for role, tokenizer in self.tokenizers.items():
            tokenizer.save(folder / f"{role}.json")
        record = {
            "version": VERSION,
            "name": self.name,
            "kind": self.kind,
            "options": self.options,
            "facts": self.facts,
            "tokenizers": {role: tokenizer.digest for role, tokenizer in self.tokenizers.items()},
        }
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=FILE + ".")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / FILE)

    def encode(self, raw):
        """Returns the model's inputs for a list of raw values, as a dictionary of NumPy arrays."""
        return {name: value.numpy() for name, value in self.graph_encode(raw).items()}

    def read(self, lines):
        """Returns the raw values that the command line means by `lines`: the text itself, or what a file holds."""
        return list(lines)

    @functools.cached_property
    def _cache(self):
        return {}

    def _learn(self):
        raise NotImplementedError


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
        known = Known(record["facts"], {role: _load(folder, role, d) for role, d in record["tokenizers"].items()})
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, _checks.DataError):
            raise
        raise _checks.DataError(f"{folder}: cannot be read as a task: {error}.") from error
    return record, known


def _load(folder, role, digest):
    from kerazoo import text

    path = folder / f"{role}.json"
    tokenizer = text.load(path)
    if tokenizer.digest != digest:
        raise _checks.DataError(f"{path}: not the vocabulary of this task: hash {tokenizer.digest}, expected {digest}.")
    return tokenizer
