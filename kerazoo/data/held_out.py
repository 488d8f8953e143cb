"""Splits that are held out from the training examples of a source."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kerazoo.data.data_source import Chunk, row_key
from kerazoo.data.splits import FEWEST, SplitAssignment, point_of


class HeldOut:
    """Divides the training examples of a source into train, dev and test, see `kerazoo.data.splits.SplitAssignment`.

    The key of an example is the value of its first column that holds no class, so that equal sources are in one split.
    Where there are fewer than `FEWEST` such values, it is the whole example, and where there are few different examples
    as well, each of several equal examples has its own key.

    Examples that can be read only once, from standard input, are all for training. Long texts and series are divided by
    position instead, so a class of a series may be missing in train.

    Args:
        chunks: function without arguments that returns an iterable of all training examples as `Chunk`s. They are read
            once more, without classes only the first of them.
        fractions: dictionary of `"dev"` and `"test"` to the fraction that each takes.
        label_columns: tuple of strings. The columns of classes, each of which stays in train; of the first one, every
            class is divided in the same proportions. Defaults to `()`.
        num_classes: integer. The number of classes in the first of them, if it is known. Defaults to `None`.
        further_columns: tuple of strings. Columns that are no part of an example as it is divided. Defaults to `()`.
        path_columns: tuple of strings. Columns of paths, which count from `folder`, so that files that were moved or
            are named in another way are divided as before. Defaults to `()`.
        folder: string. The folder of the data. Defaults to `"."`.
    """

    def __init__(
        self,
        chunks: Callable[[], Iterable[Chunk]],
        fractions: Mapping[str, float],
        label_columns: Sequence[str] = (),
        num_classes: int | None = None,
        further_columns: Sequence[str] = (),
        path_columns: Sequence[str] = (),
        folder: str = ".",
    ):
        self.label_columns = tuple(label_columns)
        self.further_columns = tuple(further_columns)
        self.path_columns = tuple(path_columns)
        self.folder = folder
        num_classes = num_classes if self.label_columns else 1
        for key_of in (self._first_column, self._whole_row, self._numbered_row):
            self._key_of = key_of
            self.assignment = SplitAssignment(self._rows(chunks()), fractions, num_classes)
            if self.assignment.large or self.assignment.num_keys >= min(FEWEST, self.assignment.num_rows / 2):
                break

    def select(self, split: str) -> Callable[[Chunk], Chunk]:
        """Returns a function that takes each `Chunk` in turn and returns its rows that belong to `split`."""
        counts: collections.Counter = collections.Counter()

        def selected(chunk):
            points = map(point_of, self._key_of(chunk, counts))
            return chunk.take([row for row, point in enumerate(points) if self.assignment.split_of(point) == split])

        return selected

    def _rows(self, chunks) -> Iterator[tuple[float, tuple[str, ...]]]:
        counts: collections.Counter = collections.Counter()
        for chunk in chunks:
            names = zip(*([str(value).strip() for value in chunk.columns[name]] for name in self.label_columns))
            points = map(point_of, self._key_of(chunk, counts))
            yield from zip(points, names if self.label_columns else [("",)] * chunk.num_rows)

    def _first_column(self, chunk, counts):
        columns = self._columns(chunk)
        name = next((name for name in columns if name not in self.label_columns), None)
        return self._whole_row(chunk, counts) if name is None else map(row_key, columns[name])

    def _whole_row(self, chunk, counts):
        return [b"\t".join(map(_bytes, values)) for values in zip(*self._columns(chunk).values())]

    def _columns(self, chunk):
        """Returns the columns of the examples as they are divided."""
        columns = {name: column for name, column in chunk.columns.items() if name not in self.further_columns}
        for name in self.path_columns:
            columns[name] = [os.path.relpath(value, self.folder) for value in columns[name]]
        return columns

    def _numbered_row(self, chunk, counts):
        for key in self._whole_row(chunk, counts):
            counts[key] += 1
            yield b"%s\t%d" % (key, counts[key])


def _bytes(value: Any) -> bytes:
    key = row_key(value)
    return key.encode() if isinstance(key, str) else key
