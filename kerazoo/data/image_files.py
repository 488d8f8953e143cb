"""Images from files, as arrays: one way of decoding for training, evaluation and prediction."""

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerazoo import _checks

# What names of images end in. Some of the formats cannot be decoded, and are refused instead of being overlooked.
IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic",
                    ".heif", ".ppm", ".pgm")  # fmt: skip
GREY_MODES = ("1", "L", "LA", "La")


def read_image(path: str | os.PathLike | bytes, shape: Sequence[Any]) -> np.ndarray:
    """Returns the image in a file, as an image viewer shows it.

    It is decoded by Pillow: palettes, CMYK and 16 bits are converted to 8 bits of grey or RGB, an image whose EXIF
    data says that it is turned or mirrored is set upright, of several frames or pages the first one is read, and
    transparency is ignored.

    Args:
        path: string or path of a PNG, JPEG, GIF, BMP, TIFF or WebP file, or another format that Pillow reads; or the
            bytes of such a file.
        shape: `(height, width, channels)`, with 1 channel for grey or 3 for RGB. The image is scaled, by linear
            interpolation with antialiasing, if its size differs; `None` as height or width keeps the size.

    Returns:
        uint8 array `[height, width, channels]`.

    Raises:
        DataError: if the file is missing, is no such image or is damaged.
        SetupError: if the package Pillow is not installed.
    """
    pillow = _import()
    opened = io.BytesIO(path) if isinstance(path, bytes) else path
    path = f"a file of {len(path):,} bytes" if isinstance(path, bytes) else path
    try:
        with pillow.Image.open(opened) as file:
            image = _converted(pillow, file, shape[2])
    except (MemoryError, _checks.DataError):
        raise
    except pillow.UnidentifiedImageError as error:
        raise _checks.DataError(f"{path}: not an image (PNG, JPEG, GIF, BMP, TIFF or WebP).") from error
    except OSError as error:
        reason = f"cannot be read: {error.strerror}" if error.strerror else f"a damaged image: {error}"
        raise _checks.DataError(f"{path}: {reason}.") from error
    except Exception as error:  # decoders of damaged files raise errors of any type
        raise _checks.DataError(f"{path}: a damaged image: {error or type(error).__name__}.") from error
    if None not in shape and image.size != (shape[1], shape[0]):
        image = image.resize((shape[1], shape[0]), pillow.Image.Resampling.BILINEAR)
    return np.array(image, np.uint8).reshape(image.height, image.width, shape[2])  # [H, W, C]


def encode_png(image: np.ndarray) -> bytes:
    """Returns the bytes of a PNG file.

    Args:
        image: uint8 array `[height, width, channels]`, with 1 channel for grey or 3 for RGB.

    Raises:
        SetupError: if the package Pillow is not installed.
    """
    file = io.BytesIO()
    _import().Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, format="PNG")
    return file.getvalue()


def _converted(pillow, file, channels):
    """Returns an upright image of mode `L` or `RGB`."""
    image = pillow.ImageOps.exif_transpose(file)
    if image.mode.startswith("I;16"):  # Pillow would clip these to 255
        image = pillow.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise _checks.DataError(
            f"{file.filename or 'a file'}: its pixels are numbers of 32 bits without a fixed range. Convert it to 8 or "
            "16 bits."
        )
    if channels == 3:
        return image.convert("RGB")
    return (image if image.mode in GREY_MODES else image.convert("RGB")).convert("L")


def _import() -> Any:
    try:
        import PIL
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise _checks.SetupError(
            f'images: the package Pillow is not installed ({error}). Install it with: pip install "kerazoo[images]"'
        ) from error
    del Image, ImageOps, UnidentifiedImageError  # imported into the package
    return PIL
