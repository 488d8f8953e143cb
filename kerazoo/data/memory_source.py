"""Examples that are in memory or made by a function."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kerazoo import _checks
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.held_out import HeldOut
from kerazoo.data.splits import SPLITS, split_origin

Columns = Mapping[str, Any]


class MemorySource(DataSource):
    """Columns in memory.

    A split that is missing from a dictionary is held out from train, 5 % each: equal values of the first column stay
    together, and every class stays in train (see `kerazoo.data.held_out`).

    Args:
        read: dictionary of split to a dictionary of columns (lists or arrays of the same length), or a function of the
            split that returns such columns.
        check: function without arguments that raises an error if `read` cannot work, such as a `SetupError` for a
            missing package. Defaults to `None`.
        columns: tuple of strings, the names of the columns; `None` reads them from the training examples. Defaults to
            `None`.

    Raises:
        ValueError: if a dictionary has no `"train"`, or columns differ in length.

    Example:

    ```python
    import kerazoo as kz

    source = kz.data.MemorySource({"train": {"source": ["ab", "c"], "target": ["ba", "c"]}, "dev": {"source": ["d"],
                                   "target": ["d"]}})
    print(source.columns, next(source.chunks("dev")).columns)
    ```
    """

    fractions = {"dev": 0.05, "test": 0.05}

    def __init__(
        self,
        read: Callable[[str], Columns] | Mapping[str, Columns],
        check: Callable[[], Any] | None = None,
        *,
        columns: tuple[str, ...] | None = None,
    ):
        if isinstance(read, Mapping) and "train" not in read:
            raise ValueError(f"MemorySource: `read` must have columns for 'train'; got {list(read)}.")
        self._read = read
        self._check = check
        self._columns = columns

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of every chunk."""
        return tuple(self._columns or self._of("train"))

    def check(self) -> None:
        """Calls the function that was given as `check`."""
        if self._check is not None:
            self._check()

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields all examples of a split in one chunk."""
        _checks.one_of("MemorySource", "split", split, SPLITS)
        given, fractions = (split, {})
        if isinstance(self._read, Mapping):
            given, fractions = split_origin(split, self._read, self.fractions)
        chunk = Chunk(self._of(given), progress=1.0)
        sizes = {name: len(column) for name, column in chunk.columns.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"MemorySource: columns must have the same length; got {sizes} in {given!r}.")
        yield HeldOut(lambda: [chunk], fractions, self.label_columns).select(split)(chunk) if fractions else chunk

    def _of(self, split):
        return self._read[split] if isinstance(self._read, Mapping) else self._read(split)
