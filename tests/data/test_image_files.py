import numpy as np
import pytest

from kerazoo._checks import DataError
from kerazoo.data.image_files import read_image

tf = pytest.importorskip("tensorflow")


def test_images_of_any_size_and_kind(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(tf.io.encode_png(image).numpy())
    assert np.array_equal(read_image(path, (5, 7, 3)), image)
    small = read_image(path, (2, 3, 1))
    assert small.shape == (2, 3, 1) and small.dtype == np.uint8
    photo = tmp_path / "a.jpg"
    photo.write_bytes(tf.io.encode_jpeg(image).numpy())
    assert read_image(photo, (5, 7, 1)).shape == (5, 7, 1)


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="missing.png: cannot be read: No such file"):
        read_image(tmp_path / "missing.png", (8, 8, 1))
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(DataError, match="text.png: not an image"):
        read_image(path, (8, 8, 1))
