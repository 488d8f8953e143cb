"""What a graph decodes from the bytes of image files, beside Pillow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kerazoo.data.image_files import read_image
from kerazoo.tasks.image_bytes import decode_images

H, W = 37, 53
PIXELS = np.clip(
    np.add.outer(np.arange(H) * 5, np.arange(W) * 2)[..., None] + np.random.default_rng(0).integers(0, 60, (H, W, 3)),
    0,
    255,
).astype(np.uint8)
RGB = Image.fromarray(PIXELS)
FILES = {
    "rgb.png": RGB,
    "rgb.jpg": RGB,
    "rgb.gif": RGB.quantize(32),
    "rgb.bmp": RGB,
    "grey.png": RGB.convert("L"),
    "grey.jpg": RGB.convert("L"),
    "alpha.png": RGB.convert("RGBA"),
    "grey-alpha.png": RGB.convert("LA"),
    "palette.png": RGB.quantize(32),
    "bits.png": RGB.convert("1"),
    "cmyk.jpg": RGB.convert("CMYK"),
    "wide.png": Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257),
}


def decoded(data, shape):
    return decode_images(tf.constant([data]), shape)[0].numpy().astype(int)


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pillow(name, tmp_path):
    path = tmp_path / name
    FILES[name].save(path)
    for channels in (1, 3):
        np.testing.assert_array_equal(decoded(path.read_bytes(), (H, W, channels)), read_image(path, (H, W, channels)))
    for shape in ((17, 19, 3), (61, 89, 1), (17, 89, 3)):
        assert np.abs(decoded(path.read_bytes(), shape) - read_image(path, shape)).max() <= 1


def test_a_batch_mixes_formats_and_may_be_empty():
    graph = tf.function(
        lambda files: decode_images(files, (5, 7, 1)), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    files = []
    for form in ("PNG", "JPEG", "GIF", "BMP"):
        buffer = io.BytesIO()
        RGB.save(buffer, form)
        files.append(buffer.getvalue())
    images = graph(tf.constant(files)).numpy()
    assert images.shape == (4, 5, 7, 1) and images.dtype == np.uint8
    assert np.abs(images.astype(int) - images[0]).max() < 20
    assert graph(tf.constant([], tf.string)).shape == (0, 5, 7, 1)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "Unknown image file format|Input is empty"),
        (b"no image", "Unknown image file format"),
        ("palette", "a BMP file must have 24 or 32 bits for each pixel"),
    ],
)
def test_what_is_no_image_is_refused(data, message):
    if data == "palette":
        buffer = io.BytesIO()
        RGB.quantize(32).save(buffer, "BMP")
        data = buffer.getvalue()
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decoded(data, (5, 7, 3))
