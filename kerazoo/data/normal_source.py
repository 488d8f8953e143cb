"""A source without anomalies in its train and dev examples, and the column that tells them."""

import copy
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.plain_numbers import parse_number
from kerazoo.data.wrapped_source import WrappedSource


class AnomalyColumn(NamedTuple):
    """A column that tells which examples are anomalies.

    Args:
        column: string. The name of the column.
        value: string. The value of anomalies. Defaults to `None`: all values but 0 and false.
    """

    column: str
    value: str | None = None

    @classmethod
    def parse(cls, owner: str, text: str) -> "AnomalyColumn":
        """Returns the column and the value that `"COLUMN"` or `"COLUMN=VALUE"` names.

        Raises:
            ValueError: if one of them is empty.
        """
        column, equals, value = (part.strip() for part in str(text).partition("="))
        if not column or (equals and not value):
            raise ValueError(f"{owner}: `anomalies` must be COLUMN or COLUMN=VALUE; got anomalies={text!r}.")
        return cls(column, value or None)

    def kinds(self, values: Any) -> list[str]:
        """Returns the values of an example that make it an anomaly, an empty list for a normal example.

        Args:
            values: the value of the column, or a tuple or list of several, such as those of the rows of a window.
        """
        listed = values if isinstance(values, tuple | list) else (values,)
        return [value for value in map(str, listed) if self._is_anomaly(value.strip())]

    def _is_anomaly(self, value):
        if self.value is not None:
            return value == self.value
        return parse_number(value) != 0 and value.lower() != "false"


class NormalSource(WrappedSource):
    """The examples of another source, without anomalies in train and dev.

    Args:
        source: `DataSource`. The source.
        anomalies: `AnomalyColumn`. Which of its examples are anomalies.

    Raises:
        ValueError: if the source has no such column.

    Example:

    ```python
    import kerazoo as kz

    columns = {"image": [[0], [1], [2]], "label": ["3", "4", "3"]}
    source = kz.data.MemorySource({"train": columns, "dev": columns, "test": columns})
    normal = kz.data.NormalSource(source, kz.data.AnomalyColumn("label", "3"))
    assert [len(next(normal.chunks(split)).columns["image"]) for split in ("train", "test")] == [1, 3]
    ```
    """

    def __init__(self, source: DataSource, anomalies: AnomalyColumn):
        super().__init__(source.with_columns([anomalies.column]))
        self.anomalies = anomalies

    def with_label_columns(self, columns: Sequence[str]) -> DataSource:
        """Returns the source as one whose `columns` hold classes."""
        return self._of(self.source.with_label_columns(columns))

    def with_columns(self, columns: Sequence[str]) -> DataSource:
        """Returns the source as one that reads further columns."""
        return self._of(self.source.with_columns(columns))

    def with_test_data(self, path: str | os.PathLike) -> DataSource | None:
        """Returns the source as one whose test examples are in other files, `None` if it reads no files."""
        source = self.source.with_test_data(path)
        return None if source is None else self._of(source)

    def describe_series(self, column: str) -> dict[str, Any] | None:
        """Returns what the source describes; all its training rows count, anomalies as well."""
        return self.source.describe_series(column)

    def fingerprint(self, split: str) -> Any:
        """Returns the anomalies and the fingerprint of the source, `None` if it has none."""
        found = self.source.fingerprint(split)
        return None if found is None else [list(self.anomalies), found]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the examples of the source, those of train and dev without anomalies."""
        for chunk in self.source.chunks(split):
            if split == "test":
                yield chunk
                continue
            values = chunk.columns[self.anomalies.column]
            kept = [row for row in range(chunk.num_rows) if not self.anomalies.kinds(values[row])]
            if kept or chunk.skipped:
                yield chunk.take(kept)

    def _of(self, source):
        changed = copy.copy(self)
        changed.source = source
        return changed
