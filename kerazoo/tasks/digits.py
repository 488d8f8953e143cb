"""Handwritten digits: the 1,797 images of 8x8 pixels that scikit-learn ships."""

import functools

import numpy as np

from kerazoo import _checks
from kerazoo.data import DataSource, MemorySource
from kerazoo.data.splits import split_rows
from kerazoo.tasks.own_data import image_features, normal_source
from kerazoo.tasks.task import Task

FRACTIONS = {"dev": 0.1, "test": 0.1}
LEVELS = 16  # the pixels are counts of 0 to 16


def build(
    name: str, kind: str | None, preprocess: str | None = None, levels: int = 16, anomalies: str | None = None
) -> Task:
    """Returns the task `digits`: an image to its digit, to odd or even, or to itself, or generated pixel by pixel.

    80 % of the images are for train, 10 % each for dev and test.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        preprocess: string. `"scale"` pixels to [0, 1], or `"standardise"` them by the training images. Defaults to
            `"scale"`.
        levels: int. The levels of brightness of generated pixels. Defaults to `16`.
        anomalies: string. For an autoencoder: `label=DIGIT` leaves a digit out of train and dev, and an evaluation
            looks for it in test. Defaults to `None`.
    """
    features = image_features(f"task {name}", kind, {"channels": 1, "preprocess": preprocess}, levels)
    source: DataSource = MemorySource(read, images, columns=("image", "label"))
    source = normal_source(f"task {name}", source, features[1], anomalies)
    options = {"preprocess": preprocess and str(preprocess), "levels": levels, "anomalies": anomalies}
    return Task(source, *features, name, kind or "", options)


def read(split: str) -> dict:
    """Returns the columns of a split."""
    pixels, labels = images()
    rows = split_rows(split, [image.tobytes() for image in pixels], FRACTIONS)
    return {"image": pixels[rows], "label": [str(label) for label in labels[rows]]}


@functools.cache
def images() -> tuple[np.ndarray, np.ndarray]:
    """Returns all images, uint8 `[N, 8, 8, 1]` of 0 to 255, and their digits.

    Raises:
        SetupError: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _checks.SetupError(
            'task digits: the package scikit-learn is not installed. Install it with: pip install "kerazoo[demo]"'
        ) from error
    digits = load_digits()
    return np.rint(digits.images * (255 / LEVELS)).astype(np.uint8)[..., None], digits.target  # [N, 8, 8, 1]
