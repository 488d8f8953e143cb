"""Whether a tab-separated file has its values in quotes, as spreadsheets write it, or quotes that are text."""

import csv
import re

from kerazoo import _checks
from kerazoo.data.lines import Path, shorten
from kerazoo.data.plain_numbers import parse_number

QUOTED = '"[^"]*+(?:""[^"]*+)*+"'  # a whole value in quotes, in which a quote is doubled
FEW_VALUES = 2  # fewer values in quotes show nothing about why they are
MANY_LINES = 100  # a quote that is still open after so many lines was never meant to be closed


def has_quoted_values(path: Path, block: str, delimiter: str, first_number: int) -> bool:
    """Returns whether values in quotes are to be unquoted.

    A program that quotes does so for every value that contains a quote, a delimiter or a line end. So quotes are text
    if a value contains them otherwise; and they are to be removed if a value in quotes contains what must be quoted,
    if the number of columns is constant only without them, if every value but numbers is in quotes, or if exactly the
    values with a comma are, as a spreadsheet does it.

    Args:
        path: the file, for errors.
        block: whole lines of the file, in which there is a quote.
        delimiter: string. The character between values.
        first_number: integer. The number of the first line of the block.

    Raises:
        DataError: if both may be.
    """
    block = block.replace("\r\n", "\n")
    block = block if block.endswith("\n") else block + "\n"
    value = f'(?>{QUOTED}|[^"{re.escape(delimiter)}\n]*+)'
    record = f"{value}(?:{re.escape(delimiter)}{value})*+\n"
    end = re.match(f"(?:{record})*+", block).end()  # type: ignore[union-attr]
    # A value in quotes may go on in the next block.
    tail = block[end:]
    unclosed = re.fullmatch(f'(?:{value}{re.escape(delimiter)})*+"[^"]*+(?:""[^"]*+)*+', tail)
    whole = not tail or (unclosed is not None and tail.count("\n") < MANY_LINES)
    around = rf"(?:^|(?<={re.escape(delimiter)})){{}}(?={re.escape(delimiter)}|$)"
    single = re.findall(around.format(QUOTED.replace('[^"]', f'[^"\n{re.escape(delimiter)}]')), block, re.MULTILINE)
    doubled = any('""' in found[1:-1] for found in single) or (whole and '""' in _without_empty(block, delimiter))
    if not whole and not doubled:
        return False
    if whole and (doubled or _columns_fit_unquoted(block[:end], delimiter) or _quoted_by_rule(block, delimiter)):
        return True
    line = block[: block.index('"')].count("\n")
    example = shorten(single[0] if single else block.split("\n")[line])
    raise _checks.DataError(
        f"{path}:{first_number + line}: are the quotes of {example} around the value, as spreadsheets write it, or a "
        "part of it? Say quote='\"' or quote=''."
    )


def _without_empty(block, delimiter):
    """Returns the block without the values that are nothing but an empty pair of quotes."""
    bound = re.escape(delimiter)
    return re.sub(rf'(?:^|(?<={bound}))""(?={bound}|$)', "", block, flags=re.MULTILINE)


def _columns_fit_unquoted(block, delimiter):
    """Returns whether all records have the same number of columns only if quotes are removed."""
    lines = block.split("\n")[:-1]
    try:
        unquoted = {len(row) for row in csv.reader((line + "\n" for line in lines), delimiter=delimiter)}
    except csv.Error:  # a carriage return in a value without quotes, as no program that quotes writes it
        return False
    return len(unquoted) == 1 and len({line.count(delimiter) for line in lines}) > 1


def _quoted_by_rule(block, delimiter):
    """Returns whether every value but numbers is in quotes, or exactly the values with a comma are."""
    values = [value for line in block.split("\n") for value in line.split(delimiter) if value]
    quoted = [value for value in values if value[0] == '"']
    plain = [value for value in values if value[0] != '"']
    if len(quoted) < FEW_VALUES or not all(re.fullmatch(QUOTED, value) for value in quoted):
        return False
    commas = all("," in value for value in quoted) and not any("," in value for value in plain)
    return commas or all(parse_number(value) is not None for value in plain)
