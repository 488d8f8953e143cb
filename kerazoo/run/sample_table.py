"""Sample predictions beside their references: as text, and as a table that fits the terminal."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo.run.control_characters import printable

MAX_NUMBERS = 64  # of an array that are shown one by one
MAX_LINES = 6  # of a cell on a terminal
MIN_WIDTH = 12  # of wrapped lines
MAX_WIDTH = 160  # of a table where there is no terminal
GAP = "  "


class Sample(NamedTuple):
    """A raw input, the accepted references, and the prediction.

    Args:
        raw: raw input: a string, an array, or a tuple of them.
        references: list of accepted targets.
        prediction: the prediction, as the task decodes it.
        quantiles: array `[H, V, Q]`, those of a forecast. Defaults to `None`.
        kind: string. How it was chosen: `"random"`, `"best"` or `"worst"`. Defaults to `"random"`.
    """

    raw: Any
    references: list
    prediction: Any
    quantiles: Any = None
    kind: str = "random"


def as_text(sample: Sample) -> dict:
    """Returns the whole sample in plain values: `input`, `references`, `prediction`, `correct` or not, and `kind`."""
    prediction = sample.prediction
    return {
        "input": text(sample.raw),
        "references": list(map(text, sample.references)),
        "prediction": text(prediction),
        "correct": isinstance(prediction, str) and prediction in sample.references,
        "kind": sample.kind,
    }


def text(value: Any) -> str:
    """Returns a raw value or a prediction in words: all of a text, the numbers or the shape of an array."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return " | ".join(map(text, value))
    array = np.asarray(value)
    if not array.ndim:
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if array.size <= MAX_NUMBERS and array.ndim < 3:
        return "[" + ", ".join(text(row) if row.ndim else f"{row:.4g}" for row in array) + "]"
    shape = "x".join(map(str, array.shape))
    return f"[{shape}] {array.min():.4g} to {array.max():.4g}, mean {array.mean():.4g}"


def table(samples: Sequence[Sample], split: str, width: int | None = None) -> str:
    """Returns samples as lines of text: the input, the reference, and the prediction where it differs.

    A row that does not fit is written as one line for each of the three.

    Args:
        samples: list of `Sample`.
        split: string. The split that the samples are from.
        width: int. The columns of the terminal, at which lines are wrapped; no cell has more than six of them. Defaults
            to `None`: nothing is wrapped or left out.
    """
    if not samples:
        return ""
    head = ["input", "reference", f"prediction ({split})"]
    rows = [[printable(cell) for cell in cells(as_text(sample))] for sample in samples]
    widths = [max(_columns(row[column]) for row in [head, *rows]) for column in range(3)]
    if sum(widths) + 2 * len(GAP) > (width or MAX_WIDTH):
        return "\n\n".join(_block(head, row, width) for row in rows)
    lines = [GAP.join(map(_padded, row, widths)).rstrip() for row in [head, *rows]]
    return "\n".join([lines[0], "-" * max(map(_columns, lines)), *lines[1:]])


def cells(row: dict) -> list[str]:
    """Returns input, reference and prediction of a sample `as_text`; what is repeated is named."""
    repeated = row["references"][0] == row["input"] and len(row["input"]) > len("= input")
    prediction = "= reference" if row["correct"] else row["prediction"]
    return [row["input"], "= input" if repeated else " or ".join(row["references"]), prediction]


def _block(names, row, width):
    """Returns a row as one line for each cell, wrapped at `width`."""
    indent = max(map(len, names)) + len(GAP)
    lines = []
    for name, cell in zip(names, row):
        first, *others = [cell] if width is None else _wrapped(cell, max(width - indent, MIN_WIDTH))
        lines += [f"{name:{indent}}{first}", *(" " * indent + line for line in others)]
    return "\n".join(lines)


def _padded(cell, width):
    return cell + " " * (width - _columns(cell))


def _wrapped(cell, width):
    """Returns the lines of a cell, broken at blanks where there are any."""
    lines, line = [], ""
    for piece in re.findall(r" *[^ ]+| +$", cell):
        if line and _columns(line + piece) > width:
            lines.append(line)
            line, piece = "", piece.lstrip()
        while _columns(piece) > width:
            end = next(end for end in range(len(piece), 0, -1) if end == 1 or _columns(piece[:end]) <= width)
            lines.append(piece[:end])
            piece = piece[end:]
        line += piece
    lines.append(line)
    if len(lines) <= MAX_LINES:
        return lines
    return [*lines[: MAX_LINES - 1], "... (all of it in report.md)"[:width]]


def _columns(cell):
    """Returns how many columns of a terminal a text takes."""
    if cell.isascii():
        return len(cell)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in cell)
