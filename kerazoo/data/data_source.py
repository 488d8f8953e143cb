"""Where examples come from: the interface of all sources of data."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks
from kerazoo.data.splits import SPLITS


class Chunk(NamedTuple):
    """Some examples, as raw columns.

    Args:
        columns: dictionary of name to a list or an array, all of the same length.
        skipped: integer. Bad lines that were left out since the chunk before. Defaults to `0`.
        continues: bool. Whether the last example goes on in the next chunk. Defaults to `False`.
        progress: float in [0, 1]. Fraction of the split that is read by now, `0.0` if unknown. Defaults to `0.0`.
        locations: list of strings or `None`. Where each example comes from, such as `"file:line"`, for error messages.
            Defaults to `None`.
    """

    columns: Mapping[str, Any]
    skipped: int = 0
    continues: bool = False
    progress: float = 0.0
    locations: Sequence[str] | None = None

    @property
    def num_rows(self) -> int:
        """The number of examples."""
        return len(next(iter(self.columns.values())))

    def take(self, rows: Sequence[int]) -> "Chunk":
        """Returns the chunk with the chosen rows, in the order of `rows`."""

        def chosen(column):
            return column[np.asarray(rows, np.int64)] if isinstance(column, np.ndarray) else [column[r] for r in rows]

        columns = {name: chosen(column) for name, column in self.columns.items()}
        locations = None if self.locations is None else [self.locations[row] for row in rows]
        return self._replace(columns=columns, locations=locations)


class DataSource:
    """A source of examples in three splits.

    A subclass sets `columns` and implements `chunks`; `check`, `splits` and `fingerprint` have defaults.
    """

    columns: tuple[str, ...] = ()
    """Names of the columns of every chunk."""

    label_columns: tuple[str, ...] = ()
    """Names of the columns of classes, which splits that are held out from train respect."""

    rows_continue = False
    """Whether one example may be spread over several chunks."""

    def check(self) -> None:
        """Raises an error if the data is not there. Reads as little as possible.

        Raises:
            DataError: if data is missing or unusable.
            SetupError: if a package is missing.
        """

    def splits(self) -> tuple[str, ...]:
        """Returns those of `"train"`, `"dev"`, `"test"` that are given or can be held out from train by a hash."""
        return SPLITS

    def with_label_columns(self, columns: Sequence[str]) -> "DataSource":
        """Returns the source as one whose `columns` hold classes.

        A split that is held out from train then leaves every class in train, and has the classes of the first of the
        columns in the same proportions.
        """
        source = copy.copy(self)
        source.label_columns = tuple(columns)
        return source

    def with_columns(self, columns: Sequence[str]) -> "DataSource":
        """Returns the source as one whose chunks have these further columns of the data as well.

        Args:
            columns: list of strings. Names of columns; those that the chunks have already change nothing.

        Raises:
            ValueError: if the data has no such column.
        """
        for column in columns:
            if column not in self.columns:
                raise ValueError(
                    f"{type(self).__name__}: has no column {column!r}; it has: {', '.join(self.columns)}."
                    f"{_checks.hint(column, self.columns)}"
                )
        return self

    def with_test_data(self, path: str | os.PathLike) -> "DataSource | None":
        """Returns the source as one whose test examples are in other files, and that has no others.

        Args:
            path: string or path. A file, a pattern or a folder, as for the test examples of the source.

        Returns:
            A `DataSource`, or `None` if this source reads no files.
        """
        del path
        return None

    def class_names(self, column: str) -> list[str] | None:
        """Returns the names of the classes of a column if the data declares them, else `None`."""
        del column
        return None

    def describe_series(self, column: str) -> dict[str, Any] | None:
        """Returns a description of a column of windows that does not depend on how they overlap, else `None`.

        Returns:
            Dictionary with `names` of the variables, `shape` of a window, and `mean` and `deviation` of each variable
            over the training rows, a deviation of 0 replaced by 1; and `delimiter` and `quote` of the files, as for
            `kerazoo.data.read_series`, if they were given.
        """
        del column
        return None

    def resolved_columns(self) -> list | None:
        """Returns which columns of the files are read, by the names in the header of the training data.

        Returns:
            Plain values for `use_columns`, or `None` if the columns need no header.
        """
        return None

    def use_columns(self, columns: list) -> None:
        """Reads the columns that `resolved_columns` returned for the data that a model was trained on.

        Args:
            columns: list, as returned by `resolved_columns`.

        Raises:
            ValueError: if other columns are chosen.
        """

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the examples of a split, each `Chunk` with the columns `columns`.

        Args:
            split: string, `"train"`, `"dev"` or `"test"`.

        Raises:
            DataError: if data is missing or bad.
        """
        raise NotImplementedError

    def fingerprint(self, split: str) -> Any:
        """Returns plain values that change whenever the examples of a split do.

        Returns:
            Nested lists of strings and numbers, or `None` if the examples can be read only once or are made anew each
            time, so that nothing that is derived from them can be kept.
        """
        return None


def row_key(value: Any) -> str | bytes:
    """Returns a string or bytes that identify a raw value."""
    if isinstance(value, str | bytes):
        return value
    return value.tobytes() if isinstance(value, np.ndarray | np.generic) else str(value)
