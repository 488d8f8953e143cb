"""Every argument check, its wording, and the faults that have an exit code.

A message names the owner, the argument, the rule, the value received and, where there is one, the way out.
"""

import base64
import difflib
import itertools
import numbers
import zlib


class DataError(ValueError):
    """Bad or missing data: the file, the line and the reason are in the message (exit code 3)."""

    exit_code = 3


class NoExamplesError(DataError):
    """A part of the data without a single example."""


class CheckpointError(ValueError):
    """A checkpoint or run directory that is damaged or belongs to something else (exit code 4)."""

    exit_code = 4


class SetupError(RuntimeError):
    """The machine cannot do this: disk, permission, lock, missing package (exit code 5)."""

    exit_code = 5


class DivergedError(RuntimeError):
    """The loss is no longer a finite number (exit code 6)."""

    exit_code = 6


class PreemptedError(RuntimeError):
    """Training was stopped from outside and its state is saved (exit code 75)."""

    exit_code = 75


def positive_int(owner, name, value):
    """Returns `value` if it is an integer above zero."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{owner}: `{name}` must be an integer above 0; got {name}={value!r}.")
    if value <= 0:
        raise ValueError(f"{owner}: `{name}` must be an integer above 0; got {name}={value!r}.")
    return int(value)


def positive_ints(owner, name, value):
    """Returns `value`, one integer above zero or several, as a tuple of at least one."""
    values = (value,) if isinstance(value, numbers.Integral) else value
    if not isinstance(values, list | tuple):
        raise TypeError(f"{owner}: `{name}` must be an integer above 0 or a list of them; got {name}={value!r}.")
    if not values:
        raise ValueError(f"{owner}: `{name}` must hold at least one integer above 0; got {name}={value!r}.")
    return tuple(positive_int(owner, f"{name}[{index}]", each) for index, each in enumerate(values))


def non_negative_int(owner, name, value):
    """Returns `value` if it is an integer of at least zero."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{owner}: `{name}` must be an integer of at least 0; got {name}={value!r}.")
    if value < 0:
        raise ValueError(f"{owner}: `{name}` must be an integer of at least 0; got {name}={value!r}.")
    return int(value)


def number(owner, name, value, low=None, high=None, low_open=False, high_open=False):
    """Returns `value` if it is a real number inside the interval; an open end excludes its bound."""
    rule = _interval(low, high, low_open, high_open)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: `{name}` must be a number{rule}; got {name}={value!r}.")
    below = low is not None and not (value > low if low_open else value >= low)
    above = high is not None and not (value < high if high_open else value <= high)
    if below or above:
        raise ValueError(f"{owner}: `{name}` must be a number{rule}; got {name}={value!r}.")
    return float(value)


def _interval(low, high, low_open, high_open):
    """Returns the interval in words, with a leading space; empty where there is no bound."""
    if low is None and high is None:
        return ""
    if high is None:
        return f" above {low}" if low_open else f" of at least {low}"
    if low is None:
        return f" below {high}" if high_open else f" of at most {high}"
    return f" in {'(' if low_open else '['}{low}, {high}{')' if high_open else ']'}"


def rate(owner, name, value):
    """Returns `value` if it is a dropout rate: a number in [0, 1)."""
    return number(owner, name, value, low=0, high=1, high_open=True)


def one_of(owner, name, value, choices):
    """Returns `value` if it is one of `choices`."""
    if value not in choices:
        allowed = ", ".join(repr(c) for c in choices)
        raise ValueError(f"{owner}: `{name}` must be one of {allowed}; got {name}={value!r}.{hint(value, choices)}")
    return value


def divisible(owner, name, value, divisor_name, divisor):
    """Refuses a `value` that `divisor` does not divide and names the divisors nearby that do."""
    if value % divisor:
        fits = [d for d in range(1, value + 1) if value % d == 0]
        nearest = sorted(sorted(fits, key=lambda d: abs(d - divisor))[:4])
        options = " or ".join(filter(None, [", ".join(map(str, nearest[:-1])), str(nearest[-1])]))
        raise ValueError(
            f"{owner}: `{name}` must be divisible by `{divisor_name}`; "
            f"got {name}={value}, {divisor_name}={divisor}. Try {divisor_name}={options}."
        )


def rank(owner, name, shape, ranks):
    """Refuses a tensor whose number of axes is not in `ranks`."""
    if len(shape) not in ranks:
        allowed = " or ".join(map(str, ranks))
        raise ValueError(f"{owner}: `{name}` must have {allowed} axes; got shape {tuple(shape)}.")


def close_names(name, known, limit=3):
    """Returns up to `limit` of the `known` names that look like `name`, best first."""
    return difflib.get_close_matches(str(name), [str(k) for k in known], n=limit, cutoff=0.5)


def hint(name, known):
    """Returns ' Did you mean ...?' where a known name is near, else the empty string."""
    close = close_names(name, known, limit=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def other_vocabulary(own, saved):
    """Returns in words how a vocabulary differs from the one that was saved, the empty string where it does not.

    Args:
        own: The `fingerprint` of the tokenizer that is here.
        saved: The one that is expected; `"size"` and `"lines"` may be missing.
    """
    if own["hash"] == saved["hash"]:
        return ""
    size = f" ({saved['size']:,} ids)" if "size" in saved else ""
    told = f"hash {own['hash'][:16]} ({own['size']:,} ids), expected {saved['hash'][:16]}{size}"
    if "lines" not in saved:
        return told
    here, there = (zlib.decompress(base64.b64decode(each["lines"])).decode().split("\n") for each in (own, saved))
    for number, (line, expected) in enumerate(itertools.zip_longest(here, there), 1):
        if line != expected:
            return f"{told}; line {number} is {_line(line)}, expected {_line(expected)}"
    return told


def _line(line):
    if line is None:
        return "missing"
    return line if len(line) <= 40 else line[:37] + "..."


def unknown(what, name, known, all_names):
    """Returns the error for a name that is not in a table; `all_names` says where the whole table is shown."""
    close = close_names(name, known)
    near = f" Close names: {', '.join(close)}." if close else ""
    return ValueError(f"Unknown {what} {str(name)!r}.{near} All: {all_names}.")
