"""Pictures of samples of images, series and sound, drawn with matplotlib where it is installed."""

import importlib.util
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerazoo import _files
from kerazoo.run.sample_table import Sample

MISSING = "Pictures of the samples need matplotlib: `pip install 'kerazoo[viz]'`."
MAX_VARIABLES = 4  # of a series that are drawn
GAP, GREY = 2, 128  # pixels between the images of a grid, and their value
WINDOW = 256  # samples of sound in a column of its spectrogram


def needed(sample: Sample) -> bool:
    """Returns whether a sample has an image, a series or a sound."""
    return any(_drawable(part) for part in _parts(sample))


def draw(sample: Sample) -> bytes | None:
    """Returns a sample as a picture, the bytes of a PNG file; `None` without matplotlib or anything to draw."""
    parts = _named(sample)
    images = {name: part for name, part in parts.items() if _drawable(part) and np.ndim(part) == 3}
    series = {name: part for name, part in parts.items() if _drawable(part) and np.ndim(part) == 2}
    sounds = {name: part for name, part in parts.items() if _drawable(part) and np.ndim(part) == 1}
    if not (images or series or sounds) or importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    variables = min((np.shape(part)[1] for part in series.values()), default=0)
    widths = [2.5] * len(images) + [4.0] * (min(variables, MAX_VARIABLES) + len(sounds))
    figure = Figure(figsize=(sum(widths), 2.5), layout="constrained")
    axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    for each, (name, part) in zip(axes, images.items()):
        _draw_image(each, name, part)
    for variable, each in enumerate(axes[len(images) : len(axes) - len(sounds)]):
        _draw_series(each, series, variable, sample.quantiles)
    for each, (name, part) in zip(axes[len(axes) - len(sounds) :], sounds.items()):
        _draw_sound(each, name, part)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    return file.getvalue()


def write_image_grid(path: str | os.PathLike, rows: Sequence[Sequence[Any]]) -> None:
    """Writes images as one picture, a PNG file, with a narrow gap between them.

    Args:
        path: string or path. The file.
        rows: list of lists of images `[H, W, C]` of one size, uint8 or floats in [0, 1].

    Raises:
        SetupError: if the package Pillow is not installed, or the file cannot be written.
    """
    from kerazoo.data.image_files import encode_png

    height, width, channels = np.shape(rows[0][0])
    columns = max(map(len, rows))
    picture = np.full((len(rows) * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), GREY, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * (height + GAP) + GAP, column * (width + GAP) + GAP
            picture[top : top + height, left : left + width] = np.rint(255 * _unit_pixels(image))
    _files.write_file(path, encode_png(picture))


def _unit_pixels(image):
    """Returns the pixels of an image as floats in [0, 1]."""
    pixels = np.asarray(image)
    return np.clip(pixels.astype(np.float64) / (255 if pixels.dtype.kind in "iu" else 1), 0, 1)


def draw_confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes | None:
    """Returns a confusion matrix as a picture, the bytes of a PNG file; `None` without matplotlib.

    Args:
        classes: list of strings.
        counts: list of lists of ints. For each true class how often each class was predicted.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    matrix = np.asarray(counts, np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = [name.replace("$", r"\$") for name in classes]  # which begins a formula
    size = 1.5 + 0.4 * len(classes)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{int(matrix[row, column])}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(classes)), names, rotation=90 if max(map(len, classes)) > 3 else 0, fontsize=8)
    axes.set_yticks(range(len(classes)), names, fontsize=8)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def _named(sample):
    """Returns the parts of a sample by name, without a reference that repeats the input."""
    inputs = sample.raw if isinstance(sample.raw, tuple) else (sample.raw,)
    named: dict[str, Any] = {f"input {n}" if len(inputs) > 1 else "input": part for n, part in enumerate(inputs, 1)}
    named |= {"reference": sample.references[0], "prediction": sample.prediction}
    if _drawable(named["reference"]) and any(np.array_equal(part, named["reference"]) for part in inputs):
        del named["reference"]
    return named


def _parts(sample):
    return _named(sample).values()


def _drawable(part):
    is_sound = isinstance(part, np.ndarray) and part.ndim == 1 and len(part) >= 2 * WINDOW
    return is_sound or (not isinstance(part, str) and np.ndim(part) in (2, 3))


def _draw_image(axes, name, part):
    pixels = _unit_pixels(part)
    axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
    axes.set_title(name, fontsize=9)
    axes.set_axis_off()


def _draw_sound(axes, name, part):
    """Draws the spectrogram of samples, low frequencies at the bottom, 80 dB from black to white."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(part, np.float64), WINDOW)[:: WINDOW // 4]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2  # [columns, frequencies]
    decibels = 10 * np.log10(np.maximum(power, 1e-12 + power.max() * 1e-8))
    axes.imshow(decibels.T, origin="lower", aspect="auto", cmap="magma")
    axes.set_title(name, fontsize=9)
    axes.set_axis_off()


def _draw_series(axes, parts, variable, quantiles):
    """Draws one variable of each part over its rows; a forecast begins where the input ends, with its quantiles."""
    is_forecast = {"input", "reference"} <= set(parts) and len(parts["input"][0]) == len(parts["reference"][0])
    for name, part in parts.items():
        values = np.asarray(part, np.float64)[:, variable]  # [L]
        first = len(parts["input"]) if is_forecast and name != "input" else 0
        axes.plot(range(first, first + len(values)), values, "--" if name == "prediction" else "-", label=name)
    if quantiles is not None:
        rows = range(len(parts["input"]), len(parts["input"]) + len(quantiles))
        lowest, highest = quantiles[:, variable, 0], quantiles[:, variable, -1]
        axes.fill_between(rows, lowest, highest, color="C2", alpha=0.25, label="quantiles")
    axes.legend(fontsize=8)
