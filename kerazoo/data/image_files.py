"""Images from files, as arrays."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerazoo import _checks


def read_image(path: str | os.PathLike, shape: Sequence[Any]) -> np.ndarray:
    """Returns the image in a file.

    Args:
        path: string or path of a PNG, JPEG, GIF or BMP file.
        shape: `(height, width, channels)`. The image is scaled if its size differs; `None` as height or width keeps
            the size.

    Returns:
        uint8 array `[height, width, channels]`.

    Raises:
        DataError: if the file is missing or is no such image.
    """
    import tensorflow as tf

    try:
        with open(path, "rb") as file:
            image = tf.io.decode_image(file.read(), channels=shape[-1], expand_animations=False)
    except OSError as error:
        raise _checks.DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except tf.errors.InvalidArgumentError as error:
        raise _checks.DataError(f"{path}: not an image (PNG, JPEG, GIF or BMP).") from error
    if None not in shape and image.shape[:2] != tuple(shape[:2]):
        image = tf.cast(tf.round(tf.image.resize(image, shape[:2], antialias=True)), tf.uint8)
    return image.numpy()  # [H, W, C]
