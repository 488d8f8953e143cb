"""Numbers as files write them: plain decimal numbers in ASCII."""

import math
from typing import Any

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "nil", "-", "?", "#n/a"))


def parse_number(value: Any) -> float | None:
    """Returns a finite number, or `None` if `value` is none.

    A string must be a decimal number in ASCII digits, such as `"-1.5e3"`, with blanks around it or not. What Python
    reads beyond that, such as `"1_000"`, is no number of a file.

    Args:
        value: string, number or anything else.
    """
    if isinstance(value, str):
        value = value.strip()
        if not value.isascii() or "_" in value:
            return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def decimal_hint(text: Any) -> str:
    """Returns a remedy, with a blank before it, for a value that is a number with a decimal comma; else nothing."""
    comma = isinstance(text, str) and parse_number(text.replace(",", ".", 1)) is not None
    return " Write decimals with a point." if comma else ""


def is_missing(text: str) -> bool:
    """Returns whether a value of a table says that there is none: empty, or a word such as `NA`."""
    return text.strip().lower() in MISSING
