"""The formats of tables: tab-separated, CSV, JSON lines and plain lines, chosen by the ending of a file's name."""

import collections
import csv
import json
import os
import pathlib
import sys

from kerazoo import _checks
from kerazoo.data.faults import BadLines, good, listed, shorten
from kerazoo.data.lines import STDIN

RECORD_LINES = 10_000  # a quote that is still open after so many lines was never meant to be closed


def ending(path):
    """Returns the key of `FORMATS` that the name of a file ends in; standard input is tab-separated.

    Raises:
        DataError: There is none.
    """
    if os.fspath(path) == STDIN:
        return "tsv"
    name = pathlib.Path(path).name.removesuffix(".gz")
    found = name.rpartition(".")[2]
    if found not in FORMATS:
        raise _checks.DataError(
            f"{path}: which format is it? A name ends in .{', .'.join(FORMATS)}, plain or .gz; "
            "for any other say format=tsv (or another of them)."
        )
    return found


def _tsv(path, lines, columns, header, bad):
    rows = good(path, lines, bad)
    return chosen(path, ((number, line.split("\t"), line) for number, line in rows), columns, header, bad, "a tab")


def _txt(path, lines, columns, header, bad):
    rows = ((number, [line], line) for number, line in good(path, lines, bad))
    return chosen(path, rows, columns, False, bad, "nothing: a .txt has one column")


def _csv(path, lines, columns, header, bad):
    csv.field_size_limit(max(csv.field_size_limit(), min(sys.maxsize, 2**31 - 1)))
    rows = ((number, values, values) for number, values in _csv_records(path, lines, bad))
    return chosen(path, rows, columns, header, bad, "a comma")


def _csv_records(path, lines, bad):
    """Yields number of the first line and values of each record; a quoted value may run over several lines.

    After a bad record reading goes on in the line behind its first, so one quote too many costs one line.
    """
    lines, waiting, taken = iter(lines), collections.deque(), []

    def feed():
        while len(taken) < RECORD_LINES:
            line = waiting.popleft() if waiting else next(lines, None)
            if line is None:
                return
            taken.append(line)
            if line[2]:  # no text: the record ends here, and is bad
                return
            yield line[1] + "\n"

    reader = csv.reader(feed(), strict=True)
    while True:
        fault = None
        try:
            values = next(reader, None)
        except csv.Error as error:
            fault = "a quote is never closed" if "end of data" in str(error) else str(error)
        if not taken:
            return
        (number, first, _), broken = taken[0], taken[-1][2]
        if not fault and not broken:
            yield number, values
        else:
            if broken:
                bad(path, taken.pop()[0], broken)
            else:
                bad(path, number, f"not CSV: {fault}: {shorten(first)}.")
            waiting.extendleft(reversed(taken[1:]))
            reader = csv.reader(feed(), strict=True)
        taken.clear()


def _jsonl(path, lines, columns, header, bad):
    if not all(isinstance(column, str) for column in columns):
        number, line = next(good(path, lines, BadLines()))
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        there = listed(record) if isinstance(record, dict) else "no object"
        raise _checks.DataError(
            f"{path}:{number}: JSON lines have fields with names; got columns {columns}. This line has: {there}."
        )
    for number, line in good(path, lines, bad):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"expected an object, got {_kind(record)}")
            values = [_field(record, column) for column in columns]
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            bad(path, number, f"not a JSON record: {reason}: {shorten(line)}.")
        else:
            yield number, values


def _field(record, name):
    """Returns the value of a field as text."""
    value, place = record, name
    if name not in record:
        for place in name.split("."):
            if not isinstance(value, dict) or place not in value:
                there = list(value) if isinstance(value, dict) else []
                raise ValueError(f"no field {name!r}; there is {listed(there)}.{_checks.hint(place, there)}")
            value = value[place]
    else:
        value = record[name]
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


def chosen(path, rows, columns, header, bad, separator):
    """Yields number and chosen values of the rows of a table; a header line is read first."""
    if header or (header is None and any(isinstance(column, str) for column in columns)):
        _, names, _ = next(rows, (0, [], ""))
        columns = [_place(path, names, column) for column in columns]
    elif not all(isinstance(column, int) for column in columns):
        raise _checks.DataError(f"{path}: has no header line, so columns have numbers; got columns {columns}.")
    least = max(columns) + 1
    for number, values, line in rows:
        if len(values) >= least:
            yield number, [values[column] for column in columns]
        else:
            plural = f"s separated by {separator}" if least > 1 else ""
            bad(path, number, f"expected {least} column{plural}, got {len(values)}: {shorten(line)}.")


def _place(path, names, column):
    if isinstance(column, int):
        return column
    if names.count(column) != 1:
        times = "twice" if column in names else "not"
        raise _checks.DataError(
            f"{path}:1: column {column!r} is {times} in the header; it has: {listed(names)}."
            f"{_checks.hint(column, names)}"
        )
    return names.index(column)


FORMATS = {"tsv": _tsv, "csv": _csv, "jsonl": _jsonl, "txt": _txt}
EXTENSIONS = tuple(f".{name}{packed}" for name in FORMATS for packed in ("", ".gz"))
