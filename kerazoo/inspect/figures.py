"""What all pictures share: a figure without a window, its bytes, and texts as labels."""

import importlib.util
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerazoo import _checks

MAX_LABELS = 80  # of an axis that are written one by one
MAX_CHARACTERS = 24  # of a label
# Colours that people with any colour vision tell apart: Okabe and Ito (2008), without yellow, which is pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def new_figure(width: float, height: float) -> Any:
    """Returns a figure of matplotlib of a size in inches, which no window shows.

    Raises:
        SetupError: if the package matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise _checks.SetupError("pictures need matplotlib. Install it with: pip install 'kerazoo[viz]'")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Any, dpi: int = 100) -> bytes:
    """Returns a figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def label(text: Any) -> str:
    """Returns a text as matplotlib writes it as it is, with visible blanks and a limited length."""
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))
    text = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
    return (text.replace(" ", "␣") if not text.strip() else text).replace("$", r"\$")


def set_title(figure: Any, title: str) -> None:
    """Writes a title above a figure, in as many lines as its width needs."""
    width = max(20, int(12 * figure.get_figwidth()))
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, width)]
    figure.suptitle("\n".join(lines).replace("$", r"\$"), fontsize=10)


def set_labels(axis: Any, labels: Sequence[Any] | None, count: int, rotation: int = 0) -> None:
    """Writes labels along an axis of matplotlib, one for each of `count` positions, or numbers where they are many."""
    if labels is None or count > MAX_LABELS:
        return
    axis.set_ticks(np.arange(count), [label(each) for each in labels], fontsize=8, rotation=rotation)
