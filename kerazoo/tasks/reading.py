"""Examples from files by split: mixtures with weights, splits by hash, chunk by chunk."""

import functools
import itertools
import os

from kerazoo import _checks
from kerazoo.data import Chunk, cache, lines
from kerazoo.data.lines import BadLines
from kerazoo.tasks.splits import origin, place

SHARES = {"dev": 0.05, "test": 0.05}
ROWS = 1 << 16  # examples of a chunk, at most
CHARACTERS = 1 << 22  # characters of a chunk after which it ends


class Reading:
    """The columns of records in files, by split.

    Args:
        find: Function that returns the list of `kerazoo.data.DataFiles`.
        records: Function of `(path, bad, tick)` to an iterator of `(where, values)`.
        names: Names of the columns, one for each value; `"where"` behind them asks for that as well.
        bad_lines: `"stop"` or `"skip"`.
        depends: Plain values that decide what `records` yields.
        beside: Function of a path to all the files that are read with it.
    """

    def __init__(self, find, records, names, bad_lines="stop", depends=(), beside=lambda path: (path,)):
        self.sources = functools.cache(find)
        self.records = records
        self.names = names
        self.bad_lines = bad_lines
        self.depends = [*depends, bad_lines]
        self.beside = beside
        self.once = Once()

    def fingerprint(self, split):
        """Returns plain values that change when the examples of a split do; None for what can be read only once."""
        parts = []
        for paths, shares, weight in self._parts(split):
            if lines.STDIN in paths:
                return None
            parts.append([cache.fingerprint([each for path in paths for each in self.beside(path)]), shares, weight])
        return [self.depends, parts]

    def __call__(self, split):
        """Returns an iterator of the `Chunk`s of a split."""
        self.once.check(split, self._paths(split))
        bad, meter = BadLines(self.bad_lines), Meter(self._paths(split))
        rows = self._rows(split, bad, meter)
        if "where" in self.names:
            rows = ([*values, where] for where, values in rows)
        else:
            rows = (values for _, values in rows)
        return chunked(rows, self.names, bad, meter)

    def _parts(self, split):
        """Yields the paths of each source, the shares that are drawn from them by hash, and the weight."""
        for source in self.sources():
            given, shares = origin(split, source.files, SHARES)
            if paths := source.files.get(given, ()):
                yield paths, shares, source.weight if split == "train" else 1.0

    def _paths(self, split):
        return [each for paths, _, _ in self._parts(split) for path in paths for each in self.beside(path)]

    def _rows(self, split, bad, meter):
        def one(paths, shares, weight):
            for path in paths:
                for where, values in self.records(path, bad, meter.tick):
                    if not shares or place(values[0], shares) == split:
                        yield from itertools.repeat((where, values), copies(values, weight))

        return interleaved([one(*part) for part in self._parts(split)])


def chunked(rows, names, bad=None, meter=None):
    """Yields lists of strings as `Chunk`s of a bounded number of rows and characters.

    Args:
        rows: Iterable of lists with a value for each of `names`.
        names: Names of the columns.
        bad: The `BadLines` that counts on the way.
        meter: The `Meter` of what is read.
    """
    bad, meter = bad or BadLines(), meter or Meter(())
    taken, size, told = [], 0, 0

    def chunk():
        columns = zip(*taken) if taken else [()] * len(names)
        return Chunk(dict(zip(names, map(list, columns))), bad.count - told, progress=meter.share)

    for values in rows:
        taken.append(values)
        size += sum(map(len, values))
        if len(taken) == ROWS or size >= CHARACTERS:
            yield chunk()
            taken, size, told = [], 0, bad.count
    if taken or bad.count > told:
        yield chunk()


class Once:
    """Refuses what standard input cannot do: be read twice, or hold more than training examples."""

    def __init__(self):
        self.read = False

    def check(self, split, paths):
        """Notes that the files are being read."""
        if lines.STDIN not in paths:
            return
        if split != "train":
            raise _checks.DataError(
                f"-: standard input holds training examples alone. Name a file: --task_option={split}_data=FILE."
            )
        if self.read:
            raise _checks.DataError("-: standard input can be read only once: use --feed=stream with --epochs=1.")
        self.read = True


class Meter:
    """How much of some files is read by now."""

    def __init__(self, paths):
        self.total = sum(os.path.getsize(path) for path in paths if path != lines.STDIN and os.path.exists(path))
        self.read = 0

    def tick(self, count):
        """Notes that `count` more bytes were read."""
        self.read += count

    @property
    def share(self):
        """The share that is read, in [0, 1]."""
        return min(self.read / self.total, 1.0) if self.total else 0.0


def copies(values, weight):
    """Returns how often an epoch sees an example; a hash of it decides over the fraction of the weight."""
    whole = int(weight)
    part = weight - whole
    return whole + (part > 0 and place("\t".join(values), {"kept": part}) == "kept")


def interleaved(iterators):
    """Yields one of each iterator in turn, so that the first examples of a mixture are a mixture as well."""
    iterators = list(iterators)
    while iterators:
        for iterator in list(iterators):
            try:
                yield next(iterator)
            except StopIteration:
                iterators.remove(iterator)
