"""The formats of tables: tab-separated, CSV, JSON lines and plain lines, chosen by the ending of a file's name."""

import csv
import dataclasses
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from kerazoo import _checks
from kerazoo.data.header_line import has_header
from kerazoo.data.lines import MAX_LINE, STDIN, BadLines, OnRead, Path, decode_lines, list_names, read_blocks, shorten
from kerazoo.data.quoted_values import has_quoted_values

WITHOUT_HEADER = " If it has no header, choose columns by their numbers, from 0."
MAX_RECORD_LINES = 10_000  # a quote that is still open after so many lines was never meant to be closed
DELIMITERS = {"tsv": "\t", "csv": ","}
OTHER = " For any other say format=tsv (or another of them)."
SPREADSHEET = " Save the table of the spreadsheet as CSV in UTF-8."
# Remedies for files of other endings.
OTHERS = {
    "json": " Write each record in a line of its own, as .jsonl; if they are, say format=jsonl.",
    **dict.fromkeys(("xlsx", "xls", "ods"), SPREADSHEET),
}
DELIMITER_NAMES = {"\t": "a tab", ",": "a comma", ";": "a semicolon", " ": "a blank"}


@dataclasses.dataclass(frozen=True)
class TableFormat:
    """How a table is written.

    Args:
        name: string, `"tsv"`, `"csv"`, `"jsonl"` or `"txt"`, or `None` for the ending of the file's name. Defaults to
            `None`.
        header: bool or `None`. Whether the first line contains the names of the columns. `None` means that it does if a
            column is chosen by name, or if `kerazoo.data.header_line.has_header` recognises it. Defaults to `None`.
        delimiter: string of one character, or `"tab"`. What separates the columns; with it a file of any ending is read
            as `"csv"`. `None` means a tab or a comma, by the format. Defaults to `None`.
        quote: string of one character that values may be enclosed in, or `""` for none. `None` means `'"'` in CSV, and
            in a TSV that values in quotes are recognised as such. Defaults to `None`.
        owner: string, for errors. Defaults to `"read_records"`.

    Raises:
        ValueError: if a value is none of these.
    """

    name: str | None = None
    header: bool | None = None
    delimiter: str | None = None
    quote: str | None = None
    owner: str = dataclasses.field(default="read_records", compare=False)

    def __post_init__(self):
        if self.name is not None:
            _checks.one_of(self.owner, "format", self.name, tuple(PARSERS))
        if self.delimiter is not None:
            named = {"tab": "\t", "\\t": "\t"}.get(self.delimiter, self.delimiter)
            object.__setattr__(self, "delimiter", named)
            if len(named) != 1 or named in '\n\r\0"' or self.name in ("jsonl", "txt"):
                raise ValueError(
                    f"{self.owner}: `delimiter` must be one character between the columns of a TSV or CSV, or 'tab'; "
                    f"got delimiter={self.delimiter!r}, format={self.name!r}."
                )
        if self.quote is not None and (len(self.quote) > 1 or self.quote in (*"\n\r\0", self.delimiter)):
            raise ValueError(
                f"{self.owner}: `quote` must be one character other than the delimiter, or '' for none; got "
                f"quote={self.quote!r}, delimiter={self.delimiter!r}."
            )

    @property
    def settings(self) -> list:
        """Plain values that decide what is read from a file."""
        return [self.name, self.header, self.delimiter, self.quote]

    def parser(self, path: Path, columns: Sequence[int | str]) -> "_Parser":
        """Returns the parser of a file."""
        name = self.name or ("csv" if self.delimiter else ending(path))
        delimiter = self.delimiter or DELIMITERS.get(name, "")
        if self.quote == "" and name in DELIMITERS:
            return _Parser(path, columns, delimiter)
        parser = _Quoted if self.quote and name in DELIMITERS else PARSERS[name]
        return parser(path, columns, delimiter, self.quote or '"')


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
        endings = f".{', .'.join(PARSERS)}, plain or .gz"
        raise _checks.DataError(f"{path}: which format is it? A name ends in {endings}.{OTHERS.get(found, OTHER)}")
    return found


def parse_file(
    path: Path,
    columns: Sequence[int | str],
    bad: BadLines,
    check: Check,
    table_format: TableFormat,
    on_read: OnRead | None = None,
) -> Iterator[Records]:
    """Yields the valid records of a table, one `Records` for each block of the file.

    Args:
        path: string or path.
        columns: numbers from 0 or names.
        bad: called with path, line number and reason of each record that is not valid, in the order of the file.
        check: the `Check` of the chosen values.
        table_format: a `TableFormat`.
        on_read: see `kerazoo.data.lines.read_blocks`. Defaults to `None`.

    Raises:
        DataError: if the file cannot be read or a column is missing.
    """
    parser = table_format.parser(path, columns)
    parser.check_names(table_format.header)
    positions, width = None, 0
    for block in itertools.chain(_to_last_line(read_blocks(path, on_read)), [None]):
        numbers, rows, faults = parser(block)
        if positions is None and rows:
            names = rows[0] if parser.has_header(table_format.header, rows) else None
            if names:
                for number in [number for number in faults if number < numbers[0]]:
                    bad(path, number, faults.pop(number))
                numbers, rows = numbers[1:], rows[1:]
            width = len(names or next((row for row in rows if any(map(str.strip, row))), ""))
            positions = parser.positions(names)
        if rows or faults:
            yield _valid_records(path, numbers, rows, faults, positions or [0], width, parser, bad, check)


def _to_last_line(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yields blocks of lines without the empty lines at the end of the file, unless all lines are empty."""
    held, has_text = b"", False  # empty lines that more lines may follow
    for block in blocks:
        length = len(block.rstrip(b"\r\n"))
        if not length:
            held += block
            continue
        end = block.find(b"\n", length) + 1 or len(block)
        yield held + block[:end]
        held, has_text = block[end:], True
    if held and not has_text:
        yield held


def first_rows(path: Path, table_format: TableFormat) -> list[list[str]]:
    """Returns all values of the records in the first block of a table, of two at least if it has two."""
    parser, rows = table_format.parser(path, ()), []
    for block in itertools.chain(read_blocks(path), [None]):
        rows += parser(block)[1]
        if len(rows) > 1:
            break
    return rows


def header_names(path: Path, table_format: TableFormat) -> list[str]:
    """Returns the names in the header of a table, none if it has no header or its format has no names."""
    parser, rows = table_format.parser(path, ()), first_rows(path, table_format)
    if not parser.named or not rows or not parser.has_header(table_format.header, rows):
        return []
    return [name.strip() for name in rows[0]]


def _valid_records(path, numbers, rows, faults, positions, width, parser, bad, check):
    expected = max(positions) + 1
    lengths = set(map(len, rows))
    if not faults and min(lengths) >= expected and max(lengths) <= width:
        columns = [[row[position] for row in rows] for position in positions]
        if check.all_valid(columns):
            return Records(numbers, columns)
    kept = []
    for number, row in sorted([*zip(numbers, rows), *faults.items()], key=lambda pair: pair[0]):
        fault = faults.get(number)
        if fault is None and (len(row) < expected or any(map(str.strip, row[max(width, expected) :]))):
            fault = parser.wrong_width(row, expected if len(row) < expected else width)
            if 1 < width < expected and "Say " not in fault:
                fault += f" Say a number from 0 to {width - 1}."
        values = [] if fault else [row[position] for position in positions]
        fault = fault or check.fault(values)
        if fault:
            bad(path, number, fault)
        else:
            kept.append((number, values))
    return Records([number for number, _ in kept], [[values[i] for _, values in kept] for i in range(len(positions))])


class _Parser:
    """Splits blocks of a file into records at a delimiter.

    A call takes the next block of `read_blocks`, or None after the last one. It returns the line number of each
    record, all values of each record, and a dictionary of line number to the reason why there is no record.
    """

    named = True  # whether a header may name the columns

    def __init__(self, path: Path, columns: Sequence[int | str], delimiter: str, quote: str = ""):
        self.path = path
        self.columns = columns
        self.delimiter = delimiter
        self.quote = quote
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
        return [line.split(self.delimiter) for line in lines]

    def check_names(self, header: bool | None) -> None:
        """Raises a DataError if columns have names and the file has none."""
        if header is False and any(isinstance(column, str) for column in self.columns):
            raise _checks.DataError(
                f"{self.path}: has no header line, so columns have numbers; got columns {list(self.columns)}."
            )

    def has_header(self, header: bool | None, rows: list[list[str]]) -> bool:
        """Returns whether the first of the rows contains the names of the columns."""
        if header is None and all(isinstance(column, int) for column in self.columns):
            return has_header(self.path, rows)
        return header is not False

    def positions(self, names: list[str] | None) -> list[int]:
        """Returns the positions of the chosen columns, with the names of all columns if there is a header."""
        return [column if isinstance(column, int) else self._position(names or [], column) for column in self.columns]

    def _position(self, names, column):
        names = [name.strip() for name in names]
        if names.count(column) != 1:
            times = "twice" if column in names else "not"
            raise _checks.DataError(
                f"{self.path}:1: column {column!r} is {times} in the header; it has: {list_names(names)}."
                f"{self._other_delimiter(names) or _checks.hint(column, names) or WITHOUT_HEADER}"
            )
        return names.index(column)

    def wrong_width(self, row: list[str], expected: int) -> str:
        """Returns the reason why a row of another number of columns is no record."""
        separated = DELIMITER_NAMES.get(self.delimiter, repr(self.delimiter))
        plural = f"s separated by {separated}" if expected > 1 or len(row) > 1 else ""
        line = shorten(self.delimiter.join(row))
        return f"expected {expected} column{plural}, got {len(row)}: {line}.{self._other_delimiter(row)}"

    def _other_delimiter(self, row):
        if len(row) == 1:
            for delimiter, name in (("\t", "'tab'"), (";", "';'"), ("|", "'|'"), (",", "','")):
                if delimiter in row[0] and delimiter != self.delimiter:
                    return f" Is there another delimiter? Say delimiter={name}."
        return ""


class _PlainLines(_Parser):
    named = False

    def split(self, lines):
        return [[line] for line in lines]

    def check_names(self, header):
        super().check_names(False)

    def has_header(self, header, rows):
        return bool(header)

    def wrong_width(self, row, expected):
        return f"expected {expected} columns, but a .txt has one: {shorten(row)}. Say format=tsv or format=csv."


class _Quoted(_Parser):
    """CSV, in which a value in quotes may contain line ends.

    After a bad record reading goes on in the line after its first one, so one quote too many costs one line.
    """

    def __init__(self, path, columns, delimiter, quote):
        super().__init__(path, columns, delimiter, quote)
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
            unfinished = "end of data" in error and not self._too_long(begin, stop)
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

    def _too_long(self, begin, stop):
        return stop - begin >= MAX_RECORD_LINES or sum(len(line or "") for line in self.lines[begin:stop]) > MAX_LINE

    def _read(self, begin, stop, numbers, rows):
        """Appends the records of some lines; returns the index after the last of them and the error that ended it."""
        lines = (f"{self.lines[index]}\n" for index in range(begin, stop))
        reader = csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True)
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


class _TabSeparated(_Quoted):
    """Values between tabs, in quotes or not: the first block that contains a quote decides for the whole file."""

    in_quotes: bool | None = None

    def __call__(self, block):
        if self.in_quotes is None and block and self.quote.encode() in block:
            text = block.decode("utf-8", errors="replace")
            self.in_quotes = has_quoted_values(self.path, text, self.delimiter, self.number)
        return super().__call__(block) if self.in_quotes else _Parser.__call__(self, block)


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
                f"This line has: {fields}. Choose columns by these names."
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

    def check_names(self, header):
        pass

    def has_header(self, header, rows):
        return False

    def positions(self, names):
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
                raise ValueError(f"no field {name!r} among {list_names(fields)}{_checks.hint(part, fields)}")
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


PARSERS: dict[str, Callable[..., _Parser]] = {
    "tsv": _TabSeparated,
    "csv": _Quoted,
    "jsonl": _JsonLines,
    "txt": _PlainLines,
}
EXTENSIONS = tuple(f".{name}{packed}" for name in PARSERS for packed in ("", ".gz"))
