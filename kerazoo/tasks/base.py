"""What every task has: a name, the options that make it again, what it learnt from the data, saving."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Callable

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk, Stream, cache, prepare
from kerazoo.data.preparing import Progress
from kerazoo.tasks.known import Known, read_saved, write
from kerazoo.tasks.splits import SPLITS

SAMPLE = 1 << 25  # characters of text that vocabularies are learnt from, at most


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
        streamed: Whether training examples are read as they come, in every epoch anew; `load("train")` is then a
            `kerazoo.data.Stream`, and what the task learns it learns from the first of them.
    """

    name: str
    kind: str
    options: dict
    reader: Callable = dataclasses.field(repr=False)
    restored: Known | None = dataclasses.field(default=None, repr=False)
    find: Callable = dataclasses.field(default=lambda: None, repr=False)
    fingerprint: Callable = dataclasses.field(default=lambda split: None, repr=False, kw_only=True)
    streamed: bool = dataclasses.field(default=False, repr=False, kw_only=True)

    monitor = ("val_loss", "min")
    length_names = ()
    max_length = None
    measured_by_loss = False  # whether many answers are right, so that none can be compared with the references

    @functools.cached_property
    def known(self):
        """What was learnt from the data; reads it the first time."""
        if self.restored is not None:
            return self.restored
        key = self._key(SPLITS, type(self).__name__, self.kind, self.options, self.streamed)
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
        parts = [self.kind, self.facts, {role: tokenizer.hash for role, tokenizer in self.tokenizers.items()}]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def vocabularies(self):
        """Dictionary of role to the fingerprint of its vocabulary; empty for tasks without text."""
        return self.known.vocabularies

    @property
    def vectors(self):
        """Dictionary of role to the file of word vectors that its embedding starts from."""
        given = {role: self.options.get(f"{role}_vectors") for role in self.tokenizers}
        return {role: path for role, path in given.items() if path is not None}

    def drawn(self, seed):
        """Returns the `Drawn` training corpus where subwords are left to chance, else None."""
        return None

    @property
    def measuring(self):
        """Options of the search when answers are measured."""
        return {}

    def chunks(self, split):
        """Yields the raw examples of `split` as `kerazoo.data.Chunk`s."""
        _checks.one_of(f"task {self.name}", "split", split, SPLITS)
        if split == "train" and "begun" in self._cache:
            return self._cache.pop("begun")
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

        Of more, examples that lie evenly apart are taken; of a stream, the first.
        """
        if self.streamed:
            begun, size, chunks = [], 0, self.chunks("train")
            while size < SAMPLE and (chunk := next(chunks, None)):
                begun.append(chunk)
                size += sum(len(value) for column in chunk.columns.values() for value in column)
            self._cache["begun"] = itertools.chain(begun, chunks)  # for it may be that nobody can read them again
            return joined(begun)
        with Progress(f"the vocabulary of task {self.name}") as progress:
            return thinned(progress.over(self.chunks("train")), SAMPLE)

    def prepared(self, split, convert, depends=()):
        """Returns the `Corpus` of a split, from the cache where it was made before.

        Args:
            split: `"train"`, `"dev"` or `"test"`.
            convert: Function of a `Chunk` to `(features, notes)`, as for `kerazoo.data.prepare`.
            depends: Plain values that `convert` depends on, such as the digests of tokenizers.
        """
        if self.streamed and split == "train":
            return Stream(lambda: self.chunks("train"), convert)
        label, key = f"task {self.name}, {split}", self._key((split,), convert.__qualname__, depends)
        return prepare(label, lambda: self.chunks(split), convert, key)

    def save(self, folder):
        """Writes what `kerazoo.tasks.restore` needs into `folder`: `task.json` and a file for each vocabulary."""
        self._write(folder, self.known)

    def _write(self, folder, known):
        write(folder, self.name, self.kind, self.options, known)

    def encode(self, raw):
        """Returns the model's inputs for a list of raw values, as a dictionary of NumPy arrays."""
        return {name: value.numpy() for name, value in self.graph_encode(raw).items()}

    def read(self, lines):
        """Returns the raw values that the command line means by `lines`: the text itself, or what a file holds."""
        return list(lines)

    @functools.cached_property
    def _cache(self):
        return {}

    def _key(self, splits, *depends):
        """Returns the name of the entry of these splits in the cache, or None where nothing is kept."""
        if cache.cache_dir() is None:
            return None
        prints = [self.fingerprint(split) for split in splits]
        return None if None in prints else cache.key(list(splits), prints, *depends)

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
        going_on = chunk.continues
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
