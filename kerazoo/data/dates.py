"""The dates of a series: what is read as one, the step between rows, and rows that are missing."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kerazoo import _checks
from kerazoo.data.lines import Path

ISO = re.compile(r"\d{4}-\d{2}(-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?)?")
OTHER = re.compile(r"\d{1,4}[./]\d{1,2}[./]\d{1,4}.*|\d{1,2}-\d{1,2}-\d{4}.*")
DAY = np.timedelta64(1, "D")
RULE = "dates are written as in 2024-03-31, 2024-03 or 2024-03-31 18:30"


class Dates(NamedTuple):
    """The dates of the rows of a series.

    Args:
        values: datetime64 `[rows]`, ascending.
        step: timedelta64 or int. The time from one row to the next; an integer counts months.
        row_numbers: int `[rows]`. The number of each row in the series without gaps.
    """

    values: np.ndarray
    step: np.timedelta64 | int
    row_numbers: np.ndarray

    def after(self, count: int) -> list[str]:
        """Returns the dates of the `count` rows that follow the last one, as text."""
        if isinstance(self.step, int):
            return _months_after(self.values[-1], [self.step * number for number in range(1, count + 1)])
        dates = self.values[-1] + self.step * np.arange(1, count + 1)
        whole_days = (dates == dates.astype("datetime64[D]")).all() and self.step % DAY == np.timedelta64(0, "D")
        return [
            str(date.astype("datetime64[D]" if whole_days else "datetime64[s]")).replace("T", " ") for date in dates
        ]


def is_date(text: str) -> bool:
    """Returns whether a value is a date in ISO form."""
    return ISO.fullmatch(text.strip()) is not None


def is_year(text: str) -> bool:
    """Returns whether a value is a year of four digits."""
    return re.fullmatch(r"[12]\d{3}", text.strip()) is not None


def looks_like_date(text: str) -> bool:
    """Returns whether a value is a date in another form, such as 31.03.2024 or 3/31/2024."""
    return OTHER.fullmatch(text.strip()) is not None


def read_dates(path: Path, column: str, lines: Sequence[int], texts: Sequence[str]) -> Dates:
    """Returns the dates of a column.

    The step is the most frequent time between two rows; where that is about a month, a quarter or a year, it is a
    number of calendar months.

    Args:
        path: the file, for errors.
        column: string. The name of the column, for errors.
        lines: the line of each date, for errors.
        texts: list of strings.

    Raises:
        DataError: if a value is no date, or the dates do not ascend in such steps.
    """
    for line, text in zip(lines, texts):
        if not (is_date(text) or is_year(text)):
            raise _checks.DataError(f"{path}:{line}: column {column!r} holds no date: {text!r}; {RULE}.")
    try:
        values = np.array([text.strip().replace(" ", "T") for text in texts], "datetime64[us]")
    except ValueError as error:
        raise _checks.DataError(f"{path}: column {column!r} holds a date that does not exist: {error}.") from error
    times = np.diff(values)
    descends = np.flatnonzero(times <= np.timedelta64(0, "us"))
    if len(descends):
        row = int(descends[0])
        raise _checks.DataError(
            f"{path}:{lines[row + 1]}: the date {texts[row + 1]!r} does not follow that of the row before, "
            f"{texts[row]!r}. Sort the rows by time, one row for each date."
        )
    if len(values) < 2:
        return Dates(values, 1, np.zeros(len(values), np.int64))
    found, counts = np.unique(times, return_counts=True)
    step = found[counts.argmax()]
    months = values.astype("datetime64[M]").astype(np.int64)
    if step >= 28 * DAY:
        steps, counts = np.unique(np.diff(months), return_counts=True)
        size = int(steps[counts.argmax()])
        row_numbers = (months - months[0]) / size
        step = size
    else:
        row_numbers = (values - values[0]) / step
    whole = np.round(row_numbers).astype(np.int64)
    off = np.flatnonzero((np.abs(row_numbers - whole) > 1e-6) | (np.diff(whole, prepend=-1) < 1))
    if len(off):
        row = int(off[0])
        raise _checks.DataError(
            f"{path}:{lines[row]}: the date {texts[row]!r} is no whole number of steps of {in_words(step)} after the "
            f"first, {texts[0]!r}. Give the rows in equal steps of time."
        )
    return Dates(values, step, whole)


def in_words(step: np.timedelta64 | int) -> str:
    """Returns a step as text, such as `1 hour`."""
    if isinstance(step, int):
        count, unit = (step // 12, "year") if step % 12 == 0 else (step, "month")
    else:
        seconds = float(step / np.timedelta64(1, "s"))
        sizes = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
        unit, size = next((pair for pair in sizes if seconds % pair[1] == 0), ("second", 1))
        count = seconds / size
    return f"{count:g} {unit}{'s' if count != 1 else ''}"


def fill_gaps(numbers: np.ndarray, row_numbers: np.ndarray) -> np.ndarray:
    """Returns the series without gaps: missing rows and values lie on the line between their neighbours in time.

    Values before the first or after the last one of a variable are equal to it.

    Args:
        numbers: float `[rows, V]`, NaN where a value is missing.
        row_numbers: int `[rows]`. The number of each row in the series without gaps.

    Raises:
        ValueError: if a variable has no value at all.
    """
    filled = np.empty((row_numbers[-1] + 1, numbers.shape[1]))
    for variable, values in enumerate(numbers.T):
        valid = ~np.isnan(values)
        if not valid.any():
            raise ValueError(f"variable {variable} has no value")
        filled[:, variable] = np.interp(np.arange(len(filled)), row_numbers[valid], values[valid])
    return filled


def _months_after(last, counts):
    """Returns dates some months after one of them; a day that a month lacks is its last."""
    month, day = last.astype("datetime64[M]"), int((last - last.astype("datetime64[M]")) / DAY)
    found = []
    for count in counts:
        first, next_first = ((month + np.timedelta64(n, "M")).astype("datetime64[D]") for n in (count, count + 1))
        size = int((next_first - first) / DAY)
        found.append(str(first + min(day, size - 1) * DAY))
    return found
