"""What every task has: a name, the options that make it again, what it learnt from the data, saving."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk, cache, prepare
from kerazoo.tasks.splits import SPLITS

FILE = "task.json"
VERSION = 1
SAMPLE = 1 << 25  # characters of text that vocabularies are learnt from, at most


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
        reader: Function from `"train"`, `"dev"` or `"test"` to a dictionary of columns: lists or arrays of raw values;
            or, for data that may be large, to an iterator of `kerazoo.data.Chunk`.
        restored: What it learnt, where that is known already.
        find: Function that fails, in the right words, if the data is not there; it reads as little as possible.
        fingerprint: Function from a split to plain values that change when its data does; what was prepared is then
            kept in the cache. None, the default, for data that is made anew each time.
    """

    name: str
    kind: str
    options: dict
    reader: Callable = dataclasses.field(repr=False)
    restored: Known | None = dataclasses.field(default=None, repr=False)
    find: Callable = dataclasses.field(default=lambda: None, repr=False)
    fingerprint: Callable = dataclasses.field(default=lambda split: None, repr=False, kw_only=True)

    monitor = ("val_loss", "min")
    length_names = ()
    max_length = None
    measured_by_loss = False  # whether many answers are right, so that none can be compared with the references

    @functools.cached_property
    def known(self):
        """What was learnt from the data; reads it the first time."""
        if self.restored is not None:
            return self.restored
        key = self._key(SPLITS, self.options)
        if key is None:
            return self._learn()
        return cache.entry(key, lambda folder: self._write(folder, self._learn()), lambda folder: read_saved(folder)[1])

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

    def chunks(self, split):
        """Yields the raw examples of `split` as `kerazoo.data.Chunk`s."""
        _checks.one_of(f"task {self.name}", "split", split, SPLITS)
        made = self.reader(split)
        return iter([Chunk(made)] if isinstance(made, dict) else made)

    def columns(self, split):
        """Returns the raw columns of `split`, all in memory, read once."""
        if split not in self._cache:
            columns = joined(self.chunks(split))
            if not columns or not len(next(iter(columns.values()))):
                raise _checks.DataError(f"task {self.name}, {split}: there are no examples. Give it more data.")
            self._cache[split] = columns
        return self._cache[split]

    def sample(self):
        """Returns the training columns to learn vocabularies from: all of it up to `SAMPLE` characters.

        Of more, examples that lie evenly apart are taken.
        """
        return thinned(self.chunks("train"), SAMPLE)

    def prepared(self, split, convert, depends=()):
        """Returns the `Corpus` of a split, from the cache where it was made before.

        Args:
            split: `"train"`, `"dev"` or `"test"`.
            convert: Function of a `Chunk` to `(features, notes)`, as for `kerazoo.data.prepare`.
            depends: Plain values that `convert` depends on, such as the digests of tokenizers.
        """
        label = f"task {self.name}, {split}"
        return prepare(label, lambda: self.chunks(split), convert, self._key((split,), depends))

    def save(self, folder):
        """Writes what `kerazoo.tasks.restore` needs into `folder`: `task.json` and a file for each vocabulary."""
        self._write(folder, self.known)

    def _write(self, folder, known):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for role, tokenizer in known.tokenizers.items():
            tokenizer.save(folder / f"{role}.json")
        record = {
            "version": VERSION,
            "name": self.name,
            "kind": self.kind,
            "options": self.options,
            "facts": known.facts,
            "tokenizers": {role: tokenizer.digest for role, tokenizer in known.tokenizers.items()},
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

    def _key(self, splits, depends):
        """Returns the name of the entry of these splits in the cache, or None where nothing is kept."""
        if cache.cache_dir() is None:
            return None
        prints = [self.fingerprint(split) for split in splits]
        return None if None in prints else cache.key(type(self).__name__, self.kind, list(splits), prints, depends)

    def _learn(self):
        raise NotImplementedError


def joined(chunks):
    """Returns the columns of all chunks as one dictionary."""
    lists, going_on = {}, False
    for chunk in chunks:
        for name, column in chunk.columns.items():
            if name not in lists or isinstance(column, tuple):
                lists[name] = column if isinstance(column, np.ndarray | tuple) else list(column)
            elif isinstance(column, np.ndarray):
                lists[name] = np.concatenate([lists[name], column])
            else:
                if going_on:
                    lists[name][-1] += column[0]
                lists[name] += column[1:] if going_on else column
        going_on = chunk.more
    return lists


def thinned(chunks, characters):
    """Returns columns of lists of strings with at most about so many characters, examples that lie evenly apart."""
    kept, size, step, place = {}, 0, 1, 0
    for chunk in chunks:
        first = next(iter(chunk.columns))
        rows = range(-place % step, len(chunk.columns[first]), step)
        for name, column in chunk.columns.items():
            kept.setdefault(name, []).extend(column[row] for row in rows)
        size += sum(len(column[row]) for column in chunk.columns.values() for row in rows)
        place += len(chunk.columns[first])
        while size > characters and len(kept[first]) > 1:
            kept = {name: column[::2] for name, column in kept.items()}
            size, step = sum(len(value) for column in kept.values() for value in column), 2 * step
    return kept


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
