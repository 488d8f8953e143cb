"""Examples in tables: TSV, CSV, JSON lines and plain lines."""

import copy
import functools
import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerazoo import _checks
from kerazoo.data import cache, formats
from kerazoo.data.data_source import Chunk
from kerazoo.data.file_source import FileSource, ReadProgress
from kerazoo.data.lines import STDIN, BadLines
from kerazoo.data.records import Column, read_record_blocks

HELD_OUT = 0.05  # of train, for a dev or test split that is not given


class TableSource(FileSource):
    """Columns of tables, as lists of strings.

    A dev or test split that is not given is held out from train: equal sources stay together, and every class stays in
    train (see `kerazoo.data.held_out`).

    Args:
        data_dir: string or path. A folder with a file `train` and optionally `dev` and `test`, ending in .tsv, .csv,
            .jsonl or .txt, plain or .gz; one file; a pattern; several with weights, `"own.tsv@3,web-*.csv.gz@0.5"`; or
            `"-"` for standard input (see `kerazoo.data.find_data_files`).
        columns: dictionary of the name of a column of the chunks to the column of the table: its number from 0, its
            name in the header, a field of JSON (`"a.b"` for one inside another), or a list of several whose values
            are joined by a blank. Defaults to `{"source": 0, "target": 1}`.
        header: bool or `None`. Whether the first line contains the names of the columns. `None` means that it does if
            a column is chosen by name or if it is recognised, see `kerazoo.data.read_records`. Defaults to `None`.
        format: string, `"tsv"`, `"csv"`, `"jsonl"` or `"txt"`, for files whose names do not say it. Defaults to `None`.
        delimiter: string. The character between columns, see `kerazoo.data.read_records`. Defaults to `None`.
        quote: string. The character around values, see `kerazoo.data.read_records`. Defaults to `None`.
        dev_data: string, path or `None`. File or pattern of the dev examples if not found by name. Defaults to `None`.
        test_data: the same for the test examples. Defaults to `None`.
        bad_lines: string, `"stop"` to raise at a bad line or `"skip"` to leave it out. Defaults to `"stop"`.
        path_columns: tuple of names of `columns` whose values are paths of files, relative to the folder of their
            table. The chunks contain absolute paths. Defaults to `()`.
        held_out: float in [0, 0.5). The fraction of train that a dev and a test split that is not given takes; 0 for
            none of them, so that all examples are for training. Defaults to `0.05`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    path = pathlib.Path(tempfile.mkdtemp()) / "captions.tsv"
    path.write_text("file\\tcaption\\n1.png\\tA dog.\\n")
    source = kz.data.TableSource(path, {"image": "file", "text": "caption"}, path_columns=["image"])
    for split in source.splits():
        for chunk in source.chunks(split):
            print(split, chunk.columns, chunk.locations)
    ```
    """

    def __init__(
        self,
        data_dir: str | os.PathLike,
        columns: Mapping[str, Column] | None = None,
        *,
        header: bool | None = None,
        format: str | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        dev_data: str | os.PathLike | None = None,
        test_data: str | os.PathLike | None = None,
        bad_lines: str = "stop",
        path_columns: Sequence[str] = (),
        held_out: float = HELD_OUT,
    ):
        super().__init__(data_dir, formats.EXTENSIONS, dev_data=dev_data, test_data=test_data, bad_lines=bad_lines)
        fraction = check_held_out("TableSource", held_out)
        self.fractions = {"dev": fraction, "test": fraction} if fraction else {}
        columns = {"source": 0, "target": 1} if columns is None else dict(columns)
        if not columns:
            raise ValueError("TableSource: `columns` must name at least one column; got {}.")
        self.columns = tuple(columns)
        self.given = [check_column("TableSource", name, column) for name, column in columns.items()]
        self._used: list | None = None
        self.format = formats.TableFormat(format, header, delimiter, quote, owner="TableSource")
        for name in path_columns:
            _checks.one_of("TableSource", "path_columns", name, self.columns)
        self.path_columns = tuple(path_columns)
        self._files: dict[tuple, list[str]] = {}

    @property
    def settings(self) -> list:
        """Plain values that decide what is read from the files."""
        return [*super().settings, list(self.columns), self.chosen, self.format.settings, list(self.path_columns)]

    @functools.cached_property
    def chosen(self) -> list:
        """The columns of the table; those that were given by number have the name in the first header, if there is one.

        So a file whose columns have another order is read correctly.
        """
        if self._used is not None:
            return self._used
        numbers = [each for column in self.given for each in _listed(column) if isinstance(each, int)]
        path = next((part.paths[0] for part in self.parts("train")), STDIN) if numbers else STDIN
        names = [] if path == STDIN else formats.header_names(path, self.format)
        named = [
            [_name_of(names, each) if isinstance(each, int) else each for each in _listed(column)]
            for column in self.given
        ]
        return [column if len(column) > 1 else column[0] for column in named]

    def resolved_columns(self) -> list:
        """Returns the chosen columns, by name where there is a header."""
        return self.chosen

    def use_columns(self, columns: list) -> None:
        """Reads these columns, whatever their order in the files is."""
        self._used = list(columns)

    def with_columns(self, columns: Sequence[str]) -> "TableSource":
        """Returns the source as one that reads further columns of the tables.

        Args:
            columns: list of strings. Names in the header, numbers from 0, or fields of JSON; those that the chunks have
                already change nothing.
        """
        source, added = copy.copy(self), [name for name in columns if name not in self.columns]
        chosen = [check_column("TableSource", "columns", name) for name in added]
        source.columns, source.given = (*self.columns, *added), [*self.given, *chosen]
        source._used = None if self._used is None else [*self._used, *chosen]
        source.further_columns = (*self.further_columns, *added)
        source.__dict__.pop("chosen", None)
        source._held_out = {}
        return source

    def fingerprint(self, split: str) -> Any:
        """Returns plain values that change whenever the table or a file that it names does."""
        values = super().fingerprint(split)
        if values is None or not self.path_columns:
            return values
        hashed = hashlib.sha256()
        for part in self.parts(split):
            for table in part.paths:
                for path in self._named_files(table, str(cache.fingerprint([table]))):
                    try:
                        status = os.stat(path)
                    except OSError:  # the error is raised with its location when the file is read
                        hashed.update(f"{path}\n".encode())
                    else:
                        hashed.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        return [*values, hashed.hexdigest()]

    def _named_files(self, table, state):
        """Returns the files that a table names, read once for each state of the table: all splits may be in it."""
        if (table, state) not in self._files:
            bad, found = BadLines("skip"), []
            for chunk in self.read(table, bad, ReadProgress([])):
                found += itertools.chain.from_iterable(chunk.columns[name] for name in self.path_columns)
            self._files[table, state] = found
        return self._files[table, state]

    def read(self, path, bad, progress) -> Iterator[Chunk]:
        """Yields a chunk for each block of a table."""
        folder = pathlib.Path() if path == STDIN else pathlib.Path(path).parent
        folder = os.path.abspath(folder)
        for numbers, columns in read_record_blocks(path, self.chosen, bad, self.format, progress.on_read):
            named = dict(zip(self.columns, columns))
            for name in self.path_columns:
                named[name] = [os.path.join(folder, value) for value in named[name]]
            yield Chunk(named, locations=[f"{path}:{number}" for number in numbers])


def _listed(column):
    return column if isinstance(column, list) else [column]


def _name_of(names, number):
    """Returns the name of a column, or its number if it has no name or one that is not unique."""
    unique = number < len(names) and names.count(names[number]) == 1
    return names[number] if unique and names[number] else number


def check_held_out(owner: str, held_out: float) -> float:
    """Returns the fraction of train that a split takes, checked.

    Raises:
        ValueError: if it is not in [0, 0.5).
    """
    return _checks.number(owner, "held_out", held_out, low=0, high=0.5, high_open=True)


def check_column(owner: str, name: str, value: Column) -> int | str | list[int | str]:
    """Returns a column of a table as a number, a name, or a list of several.

    Args:
        owner: string, for errors.
        name: string, the name of the argument, for errors.
        value: integer, string or list of them. A string of digits is a number; one with commas is several.

    Raises:
        ValueError: if a number is negative or a name is empty.
        TypeError: if it is neither number nor name.
    """
    parts: Any = value if isinstance(value, list | tuple) else [value]
    if isinstance(value, str):
        parts = value.split(",")
    chosen: list[int | str] = [
        int(each) if isinstance(each, str) and each.strip().isdecimal() else each for each in parts
    ]
    for each in chosen:
        if not isinstance(each, str):
            _checks.non_negative_int(owner, name, each)
        elif not each:
            raise ValueError(f"{owner}: `{name}` must be a number, a name or several of them; got {value!r}.")
    if not chosen:
        raise ValueError(f"{owner}: `{name}` must be a number, a name or several of them; got {value!r}.")
    return chosen if len(chosen) > 1 else chosen[0]
