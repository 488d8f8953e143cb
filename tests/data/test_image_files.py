"""Images are read as a viewer shows them, whatever their format; the pixels are known."""

import importlib
import struct

import numpy as np
import pytest
from PIL import Image

from kerazoo._checks import DataError, SetupError
from kerazoo.data.image_files import IMAGE_EXTENSIONS, read_image

COLOURS = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [200, 200, 40], [90, 90, 90]], np.uint8)
# 7 x 11 blocks of 8 pixels: what JPEG and WebP change is little.
SMALL = COLOURS[np.random.default_rng(0).integers(0, 5, (7, 11))]
PIXELS = SMALL.repeat(8, 0).repeat(8, 1)
JPEG = {"quality": 95, "subsampling": 0}
GREY = np.round(PIXELS @ [0.299, 0.587, 0.114])


def save(path, image, **options):
    image.save(path, **options)
    return path


def difference(path, channels=3, expected=PIXELS):
    found = read_image(path, (None, None, channels))
    assert found.dtype == np.uint8 and found.shape == (*expected.shape[:2], channels)
    return np.abs(found.astype(int) - (GREY[..., None] if channels == 1 else expected)).mean()


CASES = {
    "rgb.png": ("RGB", {}),
    "alpha.png": ("RGBA", {}),
    "palette.png": ("P", {}),
    "palette.bmp": ("P", {}),
    "palette.tiff": ("P", {}),
    "rgb.bmp": ("RGB", {}),
    "a.gif": ("P", {}),
    "rgb.jpg": ("RGB", JPEG),
    "cmyk.jpg": ("CMYK", JPEG),
    "cmyk.tif": ("CMYK", {}),
    "lzw.tif": ("RGB", {"compression": "tiff_lzw"}),
    "a.webp": ("RGB", {"lossless": True}),
    "a.ppm": ("RGB", {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_gives_its_colours(tmp_path, name, channels):
    mode, options = CASES[name]
    image = Image.fromarray(PIXELS)
    path = save(tmp_path / name, image.quantize(5) if mode == "P" else image.convert(mode), **options)
    assert difference(path, channels) < (4 if path.suffix == ".jpg" else 0.6)
    assert path.suffix in IMAGE_EXTENSIONS


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_images(tmp_path, mode):
    grey = np.where(GREY > 100, 255, 0).astype(np.uint8)
    image = Image.fromarray(grey).convert(mode) if mode != "I;16" else Image.fromarray(grey.astype(np.uint16) * 257)
    path = save(tmp_path / "a.png", image)
    assert (read_image(path, (None, None, 1))[..., 0] == grey).all()
    assert (read_image(path, (None, None, 3)) == grey[..., None]).all()


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    levels = np.array([[0, 255, 256, 4096, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        path = save(tmp_path / name, Image.fromarray(levels))
        assert read_image(path, (None, None, 1))[0, :, 0].tolist() == [0, 0, 1, 16, 255]
    floats = save(tmp_path / "f.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(DataError, match=r"f.tif: its pixels are numbers of 32 bits without a fixed range\. Convert"):
        read_image(floats, (None, None, 1))


TURNED = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
          5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
          8: lambda a: np.rot90(a, -1)}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_turned_images_are_set_upright(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](PIXELS)))
    options = {"jpg": JPEG, "webp": {"lossless": True}}.get(ending, {})
    path = save(tmp_path / f"a.{ending}", stored, exif=exif, **options)
    assert difference(path) < 4


def test_images_are_scaled_with_antialiasing(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS))
    board = np.indices((64, 64)).sum(0) % 2 * 255  # one pixel of each colour: grey when it is made small
    small = read_image(save(tmp_path / "b.png", Image.fromarray(board.astype(np.uint8))), (8, 8, 1))
    assert small.shape == (8, 8, 1) and np.abs(small[1:-1, 1:-1].astype(int) - 127).max() < 5
    assert read_image(path, (20, 9, 1)).shape == (20, 9, 1)


def test_the_first_frame_is_read(tmp_path):
    frames = [Image.fromarray(np.full((3, 5), level, np.uint8)) for level in (10, 200)]
    for name in ("a.gif", "a.tif", "a.webp"):
        path = save(tmp_path / name, frames[0].convert("RGB"), save_all=True, append_images=[frames[1].convert("RGB")])
        assert np.abs(read_image(path, (None, None, 1)).astype(int) - 10).max() <= 2


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="missing.png: cannot be read: No such file"):
        read_image(tmp_path / "missing.png", (8, 8, 1))
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_image(tmp_path, (8, 8, 1))
    for content in (b"hello", b"", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(20)):
        path = tmp_path / "text.png"
        path.write_bytes(content)
        with pytest.raises(DataError, match="text.png: (not an image|a damaged image)"):
            read_image(path, (8, 8, 1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.tif", "a.webp"])
def test_damaged_images_are_refused_or_read(tmp_path, name):
    path = save(tmp_path / name, Image.fromarray(PIXELS))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{name}: (not an image|a damaged image: .+)"):
        read_image(path, (8, 8, 3))
    random = np.random.default_rng(0)
    for _ in range(20):
        broken = bytearray(content)
        broken[random.integers(len(broken))] ^= 1 << random.integers(8)
        path.write_bytes(broken)
        try:
            assert read_image(path, (8, 8, 3)).shape == (8, 8, 3)
        except DataError as error:
            assert str(error).startswith(str(path))


def test_an_image_of_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    path = save(tmp_path / "a.bmp", Image.fromarray(PIXELS))
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", 1 << 20, 1 << 20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.bmp: a damaged image: Image size \(1099511627776 pixels\) exceeds limit"):
        read_image(path, (8, 8, 3))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(importlib.sys.modules, "PIL", None)
    with pytest.raises(SetupError, match=r'the package Pillow is not installed .* pip install "kerazoo\[images\]"'):
        read_image(tmp_path / "a.png", (8, 8, 1))
