"""Options written as text: `NAME:OPTION=VALUE,OPTION=VALUE` and `OPTION=VALUE`."""

import ast
from collections.abc import Iterable
from typing import Any


def parse_options(subject: str, text: str) -> tuple[str, dict[str, Any]]:
    """Returns the name and the options of `"NAME"` or `"NAME:OPTION=VALUE,OPTION=VALUE"`.

    A value is a Python literal or else plain text. A comma inside a literal does not end it: `conv:filters=(8, 16)`,
    `series:names=['a,b', 'c']`.

    Args:
        subject: string. The beginning of an error message, such as ``"Augment: `items`"``.
        text: string. What is parsed.

    Raises:
        TypeError: if `text` is not a string.
        ValueError: if `text` is not of this form, or gives an option twice.
    """
    rule = f"{subject} must be NAME or NAME:OPTION=VALUE,OPTION=VALUE; got {text!r}."
    if not isinstance(text, str):
        raise TypeError(rule)
    name, _, rest = text.partition(":")
    if not name.strip():
        raise ValueError(rule)
    options: dict[str, Any] = {}
    parts = rest.split(",") if rest.strip() else []
    while parts:
        part = parts.pop(0)
        while _opens_literal(part) and parts:
            part += "," + parts.pop(0)
        if _opens_literal(part):
            raise ValueError(f"{rule} The value in {part.strip()!r} does not end.")
        option, equals, value = part.partition("=")
        option = option.strip()
        if not equals or not option:
            raise ValueError(rule)
        if option in options:
            raise ValueError(f"{rule} The option {option!r} is there twice.")
        options[option] = literal(value)
    return name.strip(), options


def parse_assignments(subject: str, items: Iterable[str]) -> dict[str, Any]:
    """Returns the options of strings `"OPTION=VALUE"`, in which the value is everything after the first `=`.

    Args:
        subject: string. The beginning of an error message, such as ``"`task_option`"``.
        items: iterable of strings. Of an option that is given twice the last value counts.

    Raises:
        ValueError: if a string is not of this form.
    """
    options = {}
    for item in items:
        option, equals, value = item.partition("=")
        if not equals or not option.strip():
            raise ValueError(f"{subject} must be OPTION=VALUE; got {item!r}.")
        options[option.strip()] = literal(value)
    return options


def literal(text: str) -> Any:
    """Returns the value of a Python literal; other text as it is, without white space around it."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text.strip()


def _opens_literal(part: str) -> bool:
    """Returns whether the value in `"OPTION=VALUE"` begins like a literal that goes on behind the next comma."""
    value = part.partition("=")[2].strip()
    return value[:1] in ("(", "[", "{", "'", '"') and literal(value) == value
