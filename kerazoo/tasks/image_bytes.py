"""The bytes of image files to pixels, with TensorFlow's operations alone."""

from collections.abc import Sequence
from typing import Any

# Weights of red, green and blue in a grey pixel, in units of 1 / 65,536: ITU-R 601, as Pillow rounds them.
GREY = (19595, 38470, 7471)


def decode_images(files: Any, shape: Sequence[int]) -> Any:
    """Returns the images in the bytes of PNG, JPEG, GIF or BMP files, inside a graph or outside.

    It follows `kerazoo.data.image_files.read_image`, which decodes with Pillow: transparency is ignored, of several
    frames the first one is taken, and an image of another size is scaled by linear interpolation with antialiasing. A
    file of the size `shape` gives the same pixels as with Pillow; scaled pixels differ by at most 1 of 255, for Pillow
    rounds between its two passes. Other than Pillow, TensorFlow does not turn an image upright by its EXIF data, fills
    the transparent pixels of a GIF, and reads no TIFF or WebP. A BMP file with a palette is refused, because
    TensorFlow would take the numbers of its colours for grey.

    Args:
        files: string tensor `[B]`. The bytes of the files.
        shape: `(height, width, channels)`, with 1 channel for grey or 3 for RGB.

    Returns:
        uint8 tensor `[B, height, width, channels]`.

    Raises:
        InvalidArgumentError: if the bytes are no such image, when the graph runs.
    """
    import tensorflow as tf

    spec = tf.TensorSpec(list(shape), tf.uint8)
    return tf.map_fn(lambda file: _decode(tf, file, *shape), files, fn_output_signature=spec)


def _decode(tf, file, height, width, channels):
    header = tf.io.decode_raw(tf.strings.substr(tf.strings.join([file, tf.constant(b"\0" * 30)]), 0, 30), tf.uint8)
    is_palette = tf.logical_and(tf.strings.substr(file, 0, 2) == b"BM", header[28] < 24)
    checked = tf.debugging.Assert(tf.logical_not(is_palette), ["a BMP file must have 24 or 32 bits for each pixel"])
    with tf.control_dependencies([] if checked is None else [checked]):
        image = tf.cond(
            tf.io.is_jpeg(file),
            lambda: tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_image(file, expand_animations=False),
        )  # [H, W, 1 to 4]
    image = _converted(tf, image, channels)
    unscaled = tf.logical_and(tf.shape(image)[0] == height, tf.shape(image)[1] == width)
    image = tf.cond(unscaled, lambda: image, lambda: _resized(tf, image, height, width))
    return tf.ensure_shape(image, [height, width, channels])


def _converted(tf, image, channels):
    """Returns an image of grey, grey and alpha, RGB, or RGB and alpha with 1 or 3 channels."""
    colours = tf.shape(image)[-1]
    grey = colours < 3
    if channels == 3:
        return tf.cond(grey, lambda: tf.repeat(image[:, :, :1], 3, axis=-1), lambda: image[:, :, :3])

    def weighted():
        total = tf.reduce_sum(tf.cast(image[:, :, :3], tf.int32) * tf.constant(GREY), axis=-1, keepdims=True)
        return tf.cast(tf.bitwise.right_shift(total + 0x8000, 16), tf.uint8)

    return tf.cond(grey, lambda: image[:, :, :1], weighted)


def _resized(tf, image, height, width):
    scaled = tf.image.resize(image, [height, width], "bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)
