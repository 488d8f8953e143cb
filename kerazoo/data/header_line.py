"""Whether the first line of a table names its columns, where nothing else says so."""

import re
from collections.abc import Sequence

from kerazoo import _checks
from kerazoo.data.lines import Path, shorten
from kerazoo.data.plain_numbers import is_missing, parse_number

MAX_ROWS = 1000  # that are compared with the first line
FEW_ROWS = 8  # that show nothing about how often the values of a column repeat
REPEATS = 4  # rows for each distinct value of a column of classes
NAME = re.compile(r"[^\W\d_][\w.\-]*( [\w.\-]+){0,2}")
# What columns are called, in lower case.
_USUAL = """
    text texts sentence sentence1 sentence2 sent1 sent2 text_a text_b words word tokens document article passage
    title body content comment message review tweet description abstract summary headline name names
    label labels class classes category target targets tag tags sentiment stars rating score polarity emotion intent
    topic gold source src tgt trg input inputs output outputs prompt completion response instruction
    question query answer context premise hypothesis reference translation
    file files filename file_name path image images img audio wav caption url
    id ids idx index nr number row date time datetime timestamp month year day value key lang language
    english german french spanish italian en de fr es it pt nl ru zh ja ko ar cs pl tr
"""
USUAL_NAMES = frozenset(_USUAL.split())


def has_header(path: Path, rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether the first row of a table contains the names of its columns.

    It does if all its values are distinct and no numbers, and they are usual names of columns, or a column has numbers
    in all other rows.

    Args:
        path: the file, for errors.
        rows: the first records of the table.

    Raises:
        DataError: if it may contain names or not: it looks like names, and a column that repeats few values in all
            other rows has another one there.
    """
    first, others = [value.strip() for value in rows[0]], rows[1 : 1 + MAX_ROWS]
    named = {index: value for index, value in enumerate(first) if value}  # that of an index is often empty
    if not named or any(is_missing(value) or parse_number(value) is not None for value in named.values()):
        return False
    if len(set(named.values())) < len(named):
        return False
    if len(named) > 1 and all(value.lower() in USUAL_NAMES for value in named.values()):
        return True
    columns = {index: [row[index].strip() for row in others if index < len(row)] for index in named}
    if any(map(_all_numbers, columns.values())):
        return True
    if not all(map(_looks_like_name, named.values())) or any(named[index] in columns[index] for index in named):
        return False
    if any(map(_all_repeat, columns.values())):
        raise _checks.DataError(
            f"{path}:1: does the first line name the columns? It has {shorten(rows[0])}, which no other line has, even "
            "in a column of few values. Say header=True or header=False."
        )
    return False


def _all_numbers(values):
    present = [value for value in values if not is_missing(value)]
    return bool(present) and all(parse_number(value) is not None for value in present)


def _all_repeat(values):
    return len(values) >= FEW_ROWS and len(set(values)) * REPEATS <= len(values)


def _looks_like_name(value):
    return len(value) <= 40 and NAME.fullmatch(value) is not None
