"""Vectors on a plane: the two directions in which they differ most, and their picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks
from kerazoo.inspect import figures

MARKERS = "osD^vP*X"


class Projection(NamedTuple):
    """Vectors on a plane.

    Args:
        points: float32 array `[N, 2]`.
        shares: pair of floats. The share of the variance along each axis.
    """

    points: np.ndarray
    shares: tuple[float, float]


def project(vectors: Any) -> Projection:
    """Returns vectors on the plane of their two principal components.

    Args:
        vectors: float array `[N, D]`, N and D at least 2.

    Returns:
        `Projection`. The sign of each axis is that of its largest component.

    Raises:
        ValueError: if there are too few vectors or numbers.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    found = kz.inspect.project(np.random.default_rng(0).normal(size=(7, 5)))
    assert found.points.shape == (7, 2)
    ```

    Reference:
        Pearson (1901), On Lines and Planes of Closest Fit to Systems of Points in Space.
    """
    vectors = np.asarray(vectors, np.float64)
    _checks.rank("project", "vectors", vectors.shape, (2,))
    if min(vectors.shape) < 2:
        raise ValueError(f"project: `vectors` must have at least 2 rows and columns; got shape {vectors.shape}.")
    centred = vectors - vectors.mean(axis=0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    total = max(float((singular**2).sum()), 1e-30)
    first, second = (singular[:2] ** 2 / total).tolist()
    return Projection((left[:, :2] * singular[:2] * signs).astype(np.float32), (first, second))


def draw_projection(
    found: Projection,
    groups: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    title: str = "",
) -> bytes:
    """Returns vectors on a plane as a picture, the bytes of a PNG file.

    Args:
        found: `Projection`.
        groups: sequence of N names. Points of one name have one colour and one shape. Defaults to `None`: one group.
        labels: sequence of N texts that are written beside the points, empty for none. Defaults to `None`.
        title: string. Above the picture. Defaults to `""`.

    Raises:
        SetupError: if the package matplotlib is not installed.
    """
    names = [str(each) for each in groups] if groups is not None else [""] * len(found.points)
    figure = figures.new_figure(7, 5.5)
    axes = figure.subplots()
    for number, name in enumerate(sorted(set(names))):
        rows = [row for row, each in enumerate(names) if each == name]
        colour = figures.COLOURS[number % len(figures.COLOURS)]
        marker = MARKERS[number % len(MARKERS)]
        axes.scatter(*found.points[rows].T, s=16, alpha=0.7, color=colour, marker=marker, label=figures.label(name))
    for point, text in zip(found.points, labels or ()):
        if text:
            axes.annotate(figures.label(text), point, xytext=(4, 3), textcoords="offset points", fontsize=8)
    axes.set_xlabel(f"first principal component ({found.shares[0]:.0%} of the variance)", fontsize=9)
    axes.set_ylabel(f"second principal component ({found.shares[1]:.0%})", fontsize=9)
    if len(set(names)) > 1:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figures.set_title(figure, title)
    return figures.png(figure)
