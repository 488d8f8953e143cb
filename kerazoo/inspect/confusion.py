"""How often each class was predicted as each: the confusion matrix, and its picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerazoo.inspect import figures


def confusion_matrix(true: Sequence[str], predicted: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Returns the classes that occur, numbers in their order before other names, and how often each became each.

    Args:
        true: sequence of N names of classes.
        predicted: sequence of N names of classes.

    Returns:
        A pair of the C names and an int64 array `[C, C]` with the true classes in rows.

    Raises:
        ValueError: if the lengths differ.

    Example:

    ```python
    import kerazoo as kz

    classes, counts = kz.inspect.confusion_matrix(["a", "b", "b"], ["a", "a", "b"])
    assert classes == ["a", "b"] and counts.tolist() == [[1, 0], [1, 1]]
    ```
    """
    if len(true) != len(predicted):
        raise ValueError(f"confusion_matrix: `predicted` must have {len(true)} names; got {len(predicted)}.")
    classes = sorted({*predicted, *true}, key=by_number)
    ids = {name: index for index, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, ([ids[name] for name in true], [ids[name] for name in predicted]), 1)
    return classes, counts


def by_number(name: str) -> tuple[int, int, str]:
    """Returns what names are sorted by: numbers as such, before other texts."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


def draw_confusion(classes: Sequence[str], counts: Any) -> bytes:
    """Returns a confusion matrix as a picture, the bytes of a PNG file; dark cells are large shares of their row.

    Args:
        classes: sequence of C names.
        counts: array `[C, C]`. For each true class how often each class was predicted.

    Raises:
        SetupError: if the package matplotlib is not installed.
    """
    matrix = np.asarray(counts, np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = 1.5 + 0.4 * len(classes)
    figure = figures.new_figure(size, size)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{int(matrix[row, column])}", ha="center", va="center", fontsize=7, color=colour)
    figures.set_labels(axes.xaxis, classes, len(classes), 90 if max(map(len, classes)) > 3 else 0)
    figures.set_labels(axes.yaxis, classes, len(classes))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figures.png(figure)
