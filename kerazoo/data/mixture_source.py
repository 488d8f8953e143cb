"""Several sources with weights as one."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data.data_source import Chunk, DataSource, row_key
from kerazoo.data.splits import SPLITS, assign_split


class MixtureSource(DataSource):
    """Examples of several sources in turn, each with a weight.

    An epoch contains each training example of a source `weight` times. The fractional part of a weight keeps that
    fraction of the examples once more, chosen by a hash of the example, so it is the same in every epoch. Dev and test
    examples are yielded once. The examples of the sources take turns, one of each, until all are read.

    Args:
        sources: list of `DataSource`s with the same columns.
        weights: list of floats above 0, one per source.

    Raises:
        ValueError: if there is no source, or the numbers of sources and weights differ.

    Example:

    ```python
    import kerazoo as kz

    own = kz.data.MemorySource({"train": {"text": ["a", "b"]}})
    other = kz.data.MemorySource({"train": {"text": ["c", "d", "e"]}})
    mixture = kz.data.MixtureSource([own, other], weights=[2, 1])
    print([text for chunk in mixture.chunks("train") for text in chunk.columns["text"]])
    ```
    """

    def __init__(self, sources: Sequence[DataSource], weights: Sequence[float]):
        if not sources or len(sources) != len(weights):
            raise ValueError(
                "MixtureSource: `sources` and `weights` must be equally long and not empty; got "
                f"{len(sources)} sources, {len(weights)} weights."
            )
        self.sources = tuple(sources)
        self.weights = tuple(
            _checks.number("MixtureSource", f"weights[{index}]", weight, low=0, low_open=True)
            for index, weight in enumerate(weights)
        )
        self.rows_continue = any(source.rows_continue for source in sources)
        for weight in self.weights:
            if self.rows_continue and weight != int(weight):
                raise ValueError(f"MixtureSource: the weight of a text must be a whole number; got {weight}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of every chunk, in the order of the first source."""
        return self.sources[0].columns

    def check(self) -> None:
        """Checks every source, and that all have the same columns.

        Raises:
            ValueError: if the columns differ.
        """
        for source in self.sources:
            source.check()
            if set(source.columns) != set(self.columns):
                raise ValueError(
                    f"MixtureSource: `sources` must have the same columns; got {list(self.columns)} and "
                    f"{list(source.columns)}."
                )

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that any of the sources has."""
        return tuple(split for split in SPLITS if any(split in source.splits() for source in self.sources))

    def with_label_columns(self, columns: Sequence[str]) -> DataSource:
        """Returns the mixture of sources whose `columns` hold classes."""
        mixture = MixtureSource([source.with_label_columns(columns) for source in self.sources], self.weights)
        mixture.label_columns = tuple(columns)
        return mixture

    def with_columns(self, columns: Sequence[str]) -> DataSource:
        """Returns the mixture of sources that read further columns."""
        mixture = MixtureSource([source.with_columns(columns) for source in self.sources], self.weights)
        mixture.label_columns = self.label_columns
        return mixture

    def resolved_columns(self) -> list | None:
        """Returns which columns each of the sources reads, `None` if all of them need no header."""
        columns = [source.resolved_columns() for source in self.sources]
        return columns if any(columns) else None

    def use_columns(self, columns: list) -> None:
        """Reads the columns that `resolved_columns` returned, those of each source."""
        for source, chosen in zip(self.sources, columns, strict=True):
            if chosen is not None:
                source.use_columns(chosen)

    def class_names(self, column: str) -> list[str] | None:
        """Returns the names of the classes of a column if all sources declare the same ones, else `None`."""
        declared = [source.class_names(column) for source in self.sources]
        return declared[0] if all(names == declared[0] for names in declared) else None

    def fingerprint(self, split: str) -> Any:
        """Returns the fingerprints and weights of the sources; `None` if one of them has none."""
        prints = [source.fingerprint(split) for source in self._with(split)]
        return None if None in prints else [list(self.weights), prints]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the examples of all sources that have the split."""
        weight_of = dict(zip(self.sources, self.weights)) if split == "train" else {}
        if self.rows_continue:
            for source in self._with(split):
                for _ in range(int(weight_of.get(source, 1))):
                    yield from source.chunks(split)
            return
        parts = [self._weighted(source.chunks(split), weight_of.get(source, 1.0)) for source in self._with(split)]
        yield from interleave(parts, statistics.fmean)

    def _with(self, split):
        return [source for source in self.sources if split in source.splits()]

    def _weighted(self, chunks, weight):
        for chunk in chunks:
            yield weighted(chunk._replace(columns={name: chunk.columns[name] for name in self.columns}), weight)


def weighted(chunk: Chunk, weight: float) -> Chunk:
    """Returns the chunk with each row repeated `weight` times; a hash of the row decides over the fractional part."""
    if weight == 1:
        return chunk
    whole, part = int(weight), weight - int(weight)
    counts = [whole] * chunk.num_rows
    if part:
        for row, values in enumerate(zip(*chunk.columns.values())):
            keys = [key.encode() if isinstance(key, str) else key for key in map(row_key, values)]
            counts[row] += assign_split(b"\t".join(keys), {"kept": part}) == "kept"
    return chunk.take(np.repeat(np.arange(chunk.num_rows), counts).tolist())


def interleave(
    iterators: Iterable[Iterator[Chunk]], combine: Callable[[Iterable[float]], float] = max
) -> Iterator[Chunk]:
    """Yields one row of each iterator in turn, until all are at their end.

    So the first examples of a mixture are a mixture as well.

    Args:
        iterators: iterators of `Chunk`s with the same columns.
        combine: function of the progress of all iterators to that of the whole. Defaults to `max`.
    """
    waiting = [_Reader(iterator) for iterator in iterators]
    if len(waiting) == 1:
        yield from waiting[0].iterator
        return
    readers = list(waiting)
    while True:
        readers = [reader for reader in readers if reader.fill()]
        skipped = sum(reader.pop_skipped() for reader in waiting)
        progress = combine([reader.progress for reader in waiting]) if waiting else 0.0
        if not readers:
            if skipped:
                yield Chunk({name: [] for name in waiting[0].names}, skipped, progress=progress)
            return
        rows = min(reader.remaining for reader in readers)
        yield _alternate([reader.take(rows) for reader in readers], rows)._replace(skipped=skipped, progress=progress)


class _Reader:
    """Reads any number of rows from an iterator of chunks."""

    def __init__(self, iterator):
        self.iterator = iterator
        self.chunk: Chunk | None = None
        self.position = 0
        self.skipped, self.progress, self.names = 0, 0.0, ()

    @property
    def remaining(self):
        return 0 if self.chunk is None else self.chunk.num_rows - self.position

    def fill(self):
        """Returns whether there is a row, having read the next chunk if necessary."""
        while not self.remaining:
            self.chunk, self.position = next(self.iterator, None), 0
            if self.chunk is None:
                return False
            self.skipped += self.chunk.skipped
            self.progress = self.chunk.progress
            self.names = tuple(self.chunk.columns)
        return True

    def pop_skipped(self):
        skipped, self.skipped = self.skipped, 0
        return skipped

    def take(self, rows):
        begin, self.position = self.position, self.position + rows
        part = slice(begin, self.position)
        if self.chunk is None:
            raise ValueError("nothing was read yet")
        columns = {name: column[part] for name, column in self.chunk.columns.items()}
        locations = None if self.chunk.locations is None else self.chunk.locations[part]
        return Chunk(columns, locations=locations)


def _alternate(chunks, rows):
    """Returns equally long chunks as one, with alternating rows."""
    if len(chunks) == 1:
        return chunks[0]

    def join(columns):
        if all(isinstance(column, np.ndarray) for column in columns):
            return np.stack(columns, axis=1).reshape(rows * len(columns), *columns[0].shape[1:])
        joined = [None] * (rows * len(columns))
        for index, column in enumerate(columns):
            joined[index :: len(columns)] = column
        return joined

    columns = {name: join([chunk.columns[name] for chunk in chunks]) for name in chunks[0].columns}
    locations = [chunk.locations for chunk in chunks if chunk.locations is not None]
    return Chunk(columns, locations=list(join(locations)) if len(locations) == len(chunks) else None)
