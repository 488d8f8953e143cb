"""Whether probabilities are what they say: the calibration of a classifier, its error, and one temperature for it."""

from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks
from kerazoo.inspect import figures

TEMPERATURES = (0.05, 20.0)


class Calibration(NamedTuple):
    """The predictions of a classifier by the probability of the predicted class, in bins of equal width.

    Args:
        edges: float64 array `[bins + 1]`. Where the bins begin and end; a bin holds its upper edge.
        counts: int64 array `[bins]`. The predictions of each bin.
        confidence: float64 array `[bins]`. Their mean probability, NaN in an empty bin.
        accuracy: float64 array `[bins]`. The share of them that is right, NaN in an empty bin.
        error: float. The expected calibration error: the mean of |accuracy - confidence| over all predictions.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def calibration(probabilities: Any, labels: Any, bins: int = 15) -> Calibration:
    """Returns how often predictions of a probability are right.

    Args:
        probabilities: float array `[N, C]`, rows of which the sum is one.
        labels: integer array `[N]`. The true classes.
        bins: integer, above 0. Defaults to `15`.

    Returns:
        `Calibration`.

    Raises:
        ValueError: if the shapes do not fit.

    Example:

    ```python
    import kerazoo as kz

    found = kz.inspect.calibration([[0.9, 0.1], [0.9, 0.1]], [0, 1], bins=5)
    assert abs(found.error - 0.4) < 1e-12
    ```

    Reference:
        Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, arXiv:1706.04599.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    _checks.positive_int("calibration", "bins", bins)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "calibration: `probabilities` must be [N, C] and `labels` [N], N above 0; got shapes "
            f"{probabilities.shape} and {labels.shape}."
        )
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    of_bin = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts, sums, hits = (
        np.bincount(of_bin, weights=each, minlength=bins) for each in (None, confidence, right.astype(np.float64))
    )
    with np.errstate(invalid="ignore"):
        means, accuracy = sums / counts, hits / counts
    error = float(np.abs(hits - sums).sum() / len(labels))
    return Calibration(edges, counts.astype(np.int64), means, accuracy, error)


def fit_temperature(logits: Any, labels: Any) -> float:
    """Returns the temperature by which logits are divided so that the likelihood of the labels is largest.

    Below 1 a classifier was too cautious, above 1 too sure. Its predictions stay the same.

    Args:
        logits: float array `[N, C]`.
        labels: integer array `[N]`. The true classes, of examples that the classifier was not trained on.

    Returns:
        A float between 0.05 and 20.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    assert kz.inspect.fit_temperature(np.eye(2), [0, 1]) < 1
    ```

    Reference:
        Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, arXiv:1706.04599.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    rows, (low, high) = np.arange(len(labels)), np.log(TEMPERATURES)

    def slope(log_temperature):
        """The derivative of the loss by the inverse of the temperature; the loss is convex in that."""
        scaled = logits * np.exp(-log_temperature)
        odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return float(((odds / odds.sum(axis=1, keepdims=True) * logits).sum(axis=1) - logits[rows, labels]).mean())

    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def draw_calibration(found: Calibration, title: str = "") -> bytes:
    """Returns a reliability diagram as a picture, the bytes of a PNG file: the share of right predictions by bin.

    Args:
        found: `Calibration`.
        title: string. Above the picture. Defaults to `""`.

    Raises:
        SetupError: if the package matplotlib is not installed.
    """
    figure = figures.new_figure(5, 5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middles, width = (found.edges[1:] + found.edges[:-1]) / 2, np.diff(found.edges) * 0.92
    filled = found.counts > 0
    bars = {"width": width[filled], "edgecolor": "black", "linewidth": 0.4}
    upper.bar(middles[filled], found.accuracy[filled], color=figures.COLOURS[0], label="share that is right", **bars)
    upper.plot([0, 1], [0, 1], "--", color="black", linewidth=1, label="calibrated")
    upper.plot(
        found.confidence[filled],
        found.accuracy[filled],
        "o",
        color=figures.COLOURS[1],
        label="at their mean",
        markersize=4,
    )
    upper.set_ylabel("share of right predictions", fontsize=9)
    upper.set_ylim(0, 1)
    upper.legend(fontsize=8, loc="upper left")
    upper.set_title(f"expected calibration error {found.error:.4f}", fontsize=9)
    lower.bar(middles[filled], found.counts[filled], color=figures.COLOURS[4], **bars)
    lower.set_yscale("log")
    lower.set_xlim(0, 1)
    lower.set_ylabel("predictions", fontsize=9)
    lower.set_xlabel("probability of the predicted class", fontsize=9)
    figures.set_title(figure, title)
    return figures.png(figure)
