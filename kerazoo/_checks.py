"""Argument checks with their messages, and the errors that have an exit code.

A message names the owner, the argument, the rule, the value received and, if there is one, the way out.
"""

import base64
import difflib
import itertools
import math
import numbers
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

MAX_LINES_BYTES = 1 << 26  # of a vocabulary that is shown in a message


# Each layer takes time and memory to make, whatever its size; the deepest networks of papers have about this many.
MAX_LAYERS = 1000


class DataError(ValueError):
    """Bad or missing data; the message names the file, the line and the reason (exit code 3)."""

    exit_code = 3


class NoExamplesError(DataError):
    """A split of the data without examples."""


class MissingDataError(DataError):
    """A file or folder of the data that is not there."""

    data_is_missing = True


class CheckpointError(ValueError):
    """A checkpoint or run directory that is damaged or belongs to another run (exit code 4)."""

    exit_code = 4


class SetupError(RuntimeError):
    """A fault of the environment: disk, permission, lock, missing package (exit code 5)."""

    exit_code = 5


class DivergedError(RuntimeError):
    """The loss is not finite any more (exit code 6)."""

    exit_code = 6


class PreemptedError(RuntimeError):
    """Training was stopped by a signal after its state was saved (exit code 75)."""

    exit_code = 75


MAX_INT = 2**31 - 1  # of sizes and counts


def positive_int(owner: str, name: str, value: Any) -> int:
    """Returns `value` if it is an integer above zero and at most 2,147,483,647."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{owner}: `{name}` must be an integer above 0; got {name}={value!r}.")
    if value <= 0:
        raise ValueError(f"{owner}: `{name}` must be an integer above 0; got {name}={value!r}.")
    return not_above(owner, name, int(value), MAX_INT)


def not_above(owner: str, name: str, value: int, high: int) -> int:
    """Returns `value` if it is not above `high`."""
    if value > high:
        raise ValueError(f"{owner}: `{name}` must be at most {high:,}; got {name}={value!r}.")
    return value


def num_layers(owner: str, name: str, value: Any) -> int:
    """Returns `value` if it is an integer above zero and at most `MAX_LAYERS`."""
    return not_above(owner, name, positive_int(owner, name, value), MAX_LAYERS)


def positive_ints(owner: str, name: str, value: Any) -> tuple[int, ...]:
    """Returns `value`, an integer above zero or a sequence of them, as a tuple of at least one."""
    values = (value,) if isinstance(value, numbers.Integral) else value
    if not isinstance(values, list | tuple):
        raise TypeError(f"{owner}: `{name}` must be an integer above 0 or a list of them; got {name}={value!r}.")
    if not values:
        raise ValueError(f"{owner}: `{name}` must have at least one integer above 0; got {name}={value!r}.")
    if len(values) > MAX_LAYERS:
        raise ValueError(f"{owner}: `{name}` must have at most {MAX_LAYERS:,} integers; got {len(values):,}.")
    return tuple(positive_int(owner, f"{name}[{index}]", each) for index, each in enumerate(values))


def non_negative_int(owner: str, name: str, value: Any) -> int:
    """Returns `value` if it is an integer of at least zero."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{owner}: `{name}` must be an integer of at least 0; got {name}={value!r}.")
    if value < 0:
        raise ValueError(f"{owner}: `{name}` must be an integer of at least 0; got {name}={value!r}.")
    return int(value)


def number(
    owner: str,
    name: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Returns `value` as a float if it is a number in the interval; an open end excludes its bound.

    It must be finite, unless `high` is infinite.
    """
    rule = _interval(low, high, low_open, high_open)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: `{name}` must be a number{rule}; got {name}={value!r}.")
    result = float(value)
    below = low is not None and not (result > low if low_open else result >= low)
    above = high is not None and not (result < high if high_open else result <= high)
    if below or above or not (math.isfinite(result) or result == high):
        what = "a finite number" if math.isinf(result) else "a number"
        raise ValueError(f"{owner}: `{name}` must be {what}{rule}; got {name}={value!r}.")
    return result


def _interval(low: float | None, high: float | None, low_open: bool, high_open: bool) -> str:
    """Returns the interval in words, with a leading space; empty where there is no bound."""
    if low is None and high is None:
        return ""
    if high is None:
        return f" above {low}" if low_open else f" of at least {low}"
    if low is None:
        return f" below {high}" if high_open else f" of at most {high}"
    return f" in {'(' if low_open else '['}{low}, {high}{')' if high_open else ']'}"


def rate(owner: str, name: str, value: Any) -> float:
    """Returns `value` if it is a dropout rate: a number in [0, 1)."""
    return number(owner, name, value, low=0, high=1, high_open=True)


def quantiles(owner: str, name: str, value: Any) -> tuple[float, ...]:
    """Returns `value`, ascending numbers in (0, 1), as a tuple of floats; `None` gives the empty tuple."""
    values = () if value is None else value if isinstance(value, list | tuple) else (value,)
    found = tuple(number(owner, name, each, low=0, high=1, low_open=True, high_open=True) for each in values)
    if list(found) != sorted(set(found)):
        raise ValueError(f"{owner}: `{name}` must be ascending, each once; got {name}={value!r}.")
    return found


def one_of(owner: str, name: str, value: Any, choices: Collection) -> Any:
    """Returns `value` if it is one of `choices`."""
    if value not in choices:
        allowed = ", ".join(repr(c) for c in choices)
        raise ValueError(f"{owner}: `{name}` must be one of {allowed}; got {name}={value!r}.{hint(value, choices)}")
    return value


def divisible(owner: str, name: str, value: int, divisor_name: str, divisor: int) -> None:
    """Refuses a `value` that `divisor` does not divide; the message offers the nearest divisors."""
    if value % divisor:
        fits = [d for d in range(1, value + 1) if value % d == 0]
        nearest = sorted(sorted(fits, key=lambda d: abs(d - divisor))[:4])
        options = " or ".join(filter(None, [", ".join(map(str, nearest[:-1])), str(nearest[-1])]))
        raise ValueError(
            f"{owner}: `{name}` must be divisible by `{divisor_name}`; "
            f"got {name}={value}, {divisor_name}={divisor}. Try {divisor_name}={options}."
        )


def rank(owner: str, name: str, shape: Sequence, ranks: Collection[int]) -> None:
    """Refuses a tensor whose number of axes is not in `ranks`."""
    if len(shape) not in ranks:
        allowed = " or ".join(map(str, ranks))
        raise ValueError(f"{owner}: `{name}` must have {allowed} axes; got shape {tuple(shape)}.")


def close_names(name: Any, choices: Iterable, limit: int = 3) -> list[str]:
    """Returns up to `limit` of the names in `choices` that resemble `name` or share a word with it, nearest first."""

    def closeness(choice):
        words, others = (re.split(r"[\W_]+", each.lower()) for each in (name, choice))
        shared = sum(any(_ratio(word, other) >= 0.8 for other in others) for word in words)
        return shared / max(len(words), len(others)), _ratio(name, choice)

    name = str(name)
    scores = {choice: closeness(choice) for choice in map(str, choices)}
    close = [choice for choice, (shared, ratio) in scores.items() if shared or ratio >= 0.65]
    return sorted(close, key=lambda choice: -sum(scores[choice]))[:limit]


def _ratio(one: str, two: str) -> float:
    """Returns how similar two words are, from 0 to 1."""
    return difflib.SequenceMatcher(None, one, two).ratio()


def hint(name: Any, choices: Iterable) -> str:
    """Returns ' Did you mean ...?' if one of `choices` is near, else the empty string."""
    close = close_names(name, choices, limit=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def vocabulary_difference(fingerprint: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Returns the difference between two vocabularies in words, the empty string if there is none.

    Args:
        fingerprint: mapping. The `fingerprint` of the tokenizer.
        expected: mapping. The `fingerprint` that it should have; `"size"` and `"lines"` may be missing.
    """
    if fingerprint["hash"] == expected["hash"]:
        return ""
    size = f" ({expected['size']:,} ids)" if "size" in expected else ""
    hashes = f"hash {fingerprint['hash'][:16]} ({fingerprint['size']:,} ids), expected {expected['hash'][:16]}{size}"
    if "lines" not in expected:
        return hashes
    texts = (_decompressed(each["lines"]) for each in (fingerprint, expected))
    pairs = itertools.zip_longest(*(text.split("\n") for text in texts))
    for number, (line, expected_line) in enumerate(pairs, 1):
        if line != expected_line:
            return f"{hashes}; line {number} is {_shortened(line)}, expected {_shortened(expected_line)}"
    return hashes


def _decompressed(lines: str) -> str:
    """Returns the lines of a vocabulary, which may come from elsewhere: at most `MAX_LINES_BYTES` of them."""
    try:
        return zlib.decompressobj().decompress(base64.b64decode(lines), MAX_LINES_BYTES).decode(errors="replace")
    except zlib.error as error:
        raise ValueError(f"the lines of a vocabulary are damaged: {error}") from error


def _shortened(line: str | None) -> str:
    if line is None:
        return "missing"
    return line if len(line) <= 40 else line[:37] + "..."


def unknown(what: str, name: Any, choices: Iterable, all_names: str) -> ValueError:
    """Returns the error for a name that is not in a table; `all_names` is the table, or the call that lists it."""
    close = close_names(name, choices)
    near = f" Close names: {', '.join(close)}." if close else ""
    return ValueError(f"Unknown {what} {str(name)!r}.{near} All: {all_names}.")
