"""Images from files, as arrays of one size."""

from kerazoo import _checks


def read_image(path, shape):
    """Returns the image in `path` as uint8 of `shape` (height, width, channels), scaled where its size differs.

    A height or width of None leaves the size as it is.

    Raises:
        DataError: The file is missing or holds no PNG, JPEG, GIF or BMP image.
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
