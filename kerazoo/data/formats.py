"""The formats of tables: tab-separated, CSV, JSON lines and plain lines, chosen by the ending of a file's name."""

import csv
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from kerazoo import _checks
from kerazoo.data.lines import STDIN, BadLines, OnRead, Path, decode_lines, list_names, read_blocks, shorten

MAX_RECORD_LINES = 10_000  # a quote that is still open after so many lines was never meant to be closed


class Records(NamedTuple):
    """Records of a table.

    Args:
        numbers: the line number of each record, from 1.
        columns: one list of strings per chosen column.
    """

    numbers: Sequence[int]
    columns: list[list[str]]


class Check(Protocol):
    """A rule that the chosen values of every record must satisfy."""

    def all_valid(self, columns: list[list[str]]) -> bool:
        """Returns whether all values are valid; fast."""
        ...

    def fault(self, values: list[str]) -> str | None:
        """Returns the reason why the values of one record are not valid, else `None`."""
        ...


def ending(path: Path) -> str:
    """Returns the key of `PARSERS` that the name of a file ends in; standard input is tab-separated.

    Raises:
        DataError: if there is none.
    """
    if str(path) == STDIN:
        return "tsv"
    found = pathlib.Path(path).name.removesuffix(".gz").rpartition(".")[2]
    if found not in PARSERS:
        raise _checks.DataError(
            f"{path}: which format is it? A name ends in .{', .'.join(PARSERS)}, plain or .gz; "
            "for any other say format=tsv (or another of them)."
        )
    return found


def parse_file(
    path: Path,
    columns: Sequence[int | str],
    bad: BadLines,
    check: Check,
    *,
    header: bool | None = None,
    format: str | None = None,
    on_read: OnRead | None = None,
) -> Iterator[Records]:
    """Yields the valid records of a table, one `Records` for each block of the file.

    Args:
        path: string or path.
        columns: numbers from 0 or names.
        bad: called with path, line number and reason of each record that is not valid, in the order of the file.
        check: the `Check` of the chosen values.
        header: bool or `None`. See `read_records`. Defaults to `None`.
        format: string or `None`. See `read_records`. Defaults to `None`.
        on_read: see `kerazoo.data.lines.read_blocks`. Defaults to `None`.

    Raises:
        DataError: if the file cannot be read or a column is missing.
    """
    parser = PARSERS[format or ending(path)](path, columns)
    positions = parser.positions(header)
    for block in itertools.chain(read_blocks(path, on_read), [None]):
        numbers, rows, faults = parser(block)
        if positions is None and rows:
            for number in [number for number in faults if number < numbers[0]]:
                bad(path, number, faults.pop(number))
            positions = [_position(path, rows[0], column) for column in columns]
            numbers, rows = numbers[1:], rows[1:]
        if rows or faults:
            yield _valid_records(path, numbers, rows, faults, positions or [0], parser.separator, bad, check)


def _valid_records(path, numbers, rows, faults, positions, separator, bad, check):
    expected = max(positions) + 1
    if not faults and min(map(len, rows)) >= expected:
        columns = [[row[position] for row in rows] for position in positions]
        if check.all_valid(columns):
            return Records(numbers, columns)
    kept = []
    for number, row in sorted([*zip(numbers, rows), *faults.items()], key=lambda pair: pair[0]):
        fault = faults.get(number)
        if fault is None and len(row) < expected:
            plural = f"s separated by {separator}" if expected > 1 else ""
            fault = f"expected {expected} column{plural}, got {len(row)}: {shorten(row)}."
        values = [] if fault else [row[position] for position in positions]
        fault = fault or check.fault(values)
        if fault:
            bad(path, number, fault)
        else:
            kept.append((number, values))
    return Records([number for number, _ in kept], [[values[i] for _, values in kept] for i in range(len(positions))])


def _position(path, names, column):
    if isinstance(column, int):
        return column
    if names.count(column) != 1:
        times = "twice" if column in names else "not"
        raise _checks.DataError(
            f"{path}:1: column {column!r} is {times} in the header; it has: {list_names(names)}."
            f"{_checks.hint(column, names)}"
        )
    return names.index(column)


class _Parser:
    """Splits blocks of a file into records.

    A call takes the next block of `read_blocks`, or None after the last one. It returns the line number of each
    record, all values of each record, and a dictionary of line number to the reason why there is no record.
    """

    separator = "a tab"

    def __init__(self, path: Path, columns: Sequence[int | str]):
        self.path = path
        self.columns = columns
        self.number = 1  # of the first line of the next block

    def __call__(self, block: bytes | None) -> tuple[Sequence[int], list[list[str]], dict[int, str]]:
        if block is None:
            return [], [], {}
        lines, faults = decode_lines(block)
        first, self.number = self.number, self.number + len(lines)
        if not faults:
            return range(first, self.number), self.split(lines), {}
        kept = [index for index in range(len(lines)) if index not in faults]
        rows = self.split([lines[index] for index in kept])
        return [first + index for index in kept], rows, {first + index: fault for index, fault in faults.items()}

    def split(self, lines: list[str]) -> list[list[str]]:
        return [line.split("\t") for line in lines]

    def positions(self, header: bool | None) -> list[int] | None:
        """Returns the positions of the chosen columns, or None if a header line has to be read for them."""
        if header or (header is None and any(isinstance(column, str) for column in self.columns)):
            return None
        numbers = [column for column in self.columns if isinstance(column, int)]
        if len(numbers) < len(self.columns):
            raise _checks.DataError(
                f"{self.path}: has no header line, so columns have numbers; got columns {list(self.columns)}."
            )
        return numbers


class _PlainLines(_Parser):
    separator = "nothing: a .txt has one column"

    def split(self, lines):
        return [[line] for line in lines]

    def positions(self, header):
        return super().positions(False)


class _Csv(_Parser):
    """CSV, in which a quoted value may contain line ends.

    After a bad record reading goes on in the line after its first one, so one quote too many costs one line.
    """

    separator = "a comma"

    def __init__(self, path, columns):
        super().__init__(path, columns)
        csv.field_size_limit(max(csv.field_size_limit(), min(sys.maxsize, 2**31 - 1)))
        self.lines: list[str | None] = []  # those of a record that goes on in the next block; None for no text
        self.numbers: list[int] = []
        self.reasons: dict[int, str] = {}

    def __call__(self, block):
        if block is not None:
            lines, faults = decode_lines(block)
            self.lines += [None if index in faults else line for index, line in enumerate(lines)]
            self.numbers += range(self.number, self.number + len(lines))
            self.reasons.update({self.number + index: fault for index, fault in faults.items()})
            self.number += len(lines)
        numbers, rows, faults = [], [], {}
        begin = 0
        while begin < len(self.lines):
            stop = self.lines.index(None, begin) if self.reasons else len(self.lines)
            begin, error = self._read(begin, stop, numbers, rows)
            unfinished = "end of data" in error and stop - begin < MAX_RECORD_LINES
            if unfinished and stop == len(self.lines) and block is not None:
                break
            if stop < len(self.lines) and (unfinished or not error):  # the record ends at a line that is no text
                number = self.numbers.pop(stop)
                faults[number] = self.reasons.pop(number)
                del self.lines[stop]
                begin += unfinished
            elif error:
                reason = "a quote is never closed" if "end of data" in error else error
                faults[self.numbers[begin]] = f"not CSV: {reason}: {shorten(self.lines[begin] or '')}."
                begin += 1
        del self.lines[:begin], self.numbers[:begin]
        return numbers, rows, faults

    def _read(self, begin, stop, numbers, rows):
        """Appends the records of some lines; returns the index after the last of them and the error that ended it."""
        reader = csv.reader((f"{self.lines[index]}\n" for index in range(begin, stop)), strict=True)
        start = begin
        try:
            for values in reader:
                end = begin + reader.line_num
                if end - start > MAX_RECORD_LINES:
                    return start, "unexpected end of data"
                numbers.append(self.numbers[start])
                rows.append(values)
                start = end
        except csv.Error as error:
            return start, str(error)
        return start, ""


class _JsonLines(_PlainLines):
    """JSON lines: an object with the chosen fields in each line."""

    def __call__(self, block):
        numbers, split, faults = super().__call__(block)
        lines = [line for (line,) in split]
        if lines and not all(isinstance(column, str) for column in self.columns):
            record = _load(lines[0])
            fields = list_names(record) if isinstance(record, dict) else "no object"
            raise _checks.DataError(
                f"{self.path}:{numbers[0]}: JSON lines have fields with names; got columns {list(self.columns)}. "
                f"This line has: {fields}."
            )
        kept, rows = [], []
        for number, line in zip(numbers, lines):
            try:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError(f"expected an object, got {_kind(record)}")
                rows.append([_field(record, column) for column in self.columns])
                kept.append(number)
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                faults[number] = f"not a JSON record: {reason}: {shorten(line)}."
        return kept, rows, faults

    def positions(self, header):
        return list(range(len(self.columns)))


def _load(line):
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _field(record, name):
    """Returns the value of a field as text."""
    value = record
    if name in record:
        value = record[name]
    else:
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                fields = list(value) if isinstance(value, dict) else []
                raise ValueError(f"no field {name!r}; there is {list_names(fields)}.{_checks.hint(part, fields)}")
            value = value[part]
    if isinstance(value, str):
        value.encode()  # half a surrogate pair, which JSON can write, is no text: a UnicodeEncodeError is a ValueError
        if "\x00" in value:
            raise ValueError(f"field {name!r} holds a NUL")
        return value
    if isinstance(value, dict | list) or value is None:
        raise ValueError(f"field {name!r} is {_kind(value)}, not a text or number")
    return json.dumps(value)


def _kind(value):
    return {dict: "an object", list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number or bool")


PARSERS: dict[str, Callable[[Path, Sequence[int | str]], _Parser]] = {
    "tsv": _Parser,
    "csv": _Csv,
    "jsonl": _JsonLines,
    "txt": _PlainLines,
}
EXTENSIONS = tuple(f".{name}{packed}" for name in PARSERS for packed in ("", ".gz"))
