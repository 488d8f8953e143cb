"""Handwritten digits: the 1,797 images of 8x8 pixels that scikit-learn ships."""

import functools

import numpy as np

from kerazoo import _checks
from kerazoo.tasks import pixels
from kerazoo.tasks.images import KINDS
from kerazoo.tasks.splits import rows_of

SHARES = {"dev": 0.1, "test": 0.1}
LEVELS = 16  # the pixels are counts of 0 to 16


def build(name, kind, preprocess=None, restored=None):
    """Returns the task `digits`: an image to its digit, to odd or even, or to itself; 80 % train, 10 % dev and test.

    Args:
        name: The task's name.
        kind: The kind of model.
        preprocess: `"scale"` pixels to [0, 1], the default, or `"standardise"` them by the training images.
        restored: What a saved task knew.
    """
    preprocess = pixels.option(f"task {name}", kind, preprocess, restored)
    return KINDS[kind](name, kind, {"preprocess": preprocess}, read, restored, images)


def read(split):
    """Returns the columns of a split."""
    every, labels = images()
    rows = rows_of(split, [image.tobytes() for image in every], SHARES)
    return {"image": every[rows], "label": labels[rows], "names": [str(digit) for digit in range(10)]}


@functools.cache
def images():
    """Returns all images, uint8 `[N, 8, 8, 1]` of 0 to 255, and their digits.

    Raises:
        SetupError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _checks.SetupError(
            'task digits: the package scikit-learn is not installed. Install it with: pip install "kerazoo[demo]"'
        ) from error
    digits = load_digits()
    return np.rint(digits.images * (255 / LEVELS)).astype(np.uint8)[..., None], digits.target  # [N, 8, 8, 1]
