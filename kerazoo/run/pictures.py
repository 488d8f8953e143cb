"""Pictures of samples of images, series and sound, drawn with matplotlib where it is installed."""

import importlib.util
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks, _files
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
    samples = max(map(len, sounds.values()), default=0)
    for each, (name, part) in zip(axes[len(axes) - len(sounds) :], sounds.items()):
        _draw_sound(each, name, part, samples)
    return _png(figure, dpi=80)


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


def draw_errors(errors: Sequence[float], is_anomaly: Sequence[bool], threshold: float | None) -> bytes | None:
    """Returns histograms of the errors of reconstructions, the bytes of a PNG file; `None` without matplotlib.

    Args:
        errors: list of floats.
        is_anomaly: list of bools, empty where the data does not tell.
        threshold: float or `None`. It is a vertical line.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    found = np.maximum(np.asarray(errors, np.float64), 1e-12)
    marks = np.asarray(is_anomaly, bool) if len(is_anomaly) else np.zeros(len(found), bool)
    bins = np.geomspace(found.min(), max(found.max(), found.min() * 1.01), 60)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.hist(found[~marks], bins, alpha=0.6, label="normal" if marks.any() else "examples")
    if marks.any():
        axes.hist(found[marks], bins, alpha=0.6, color="C3", label="anomalies")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label="threshold")
    axes.set_xscale("log")
    axes.set_xlabel("mean squared error of the reconstruction")
    axes.set_ylabel("examples")
    axes.legend(fontsize=8)
    return _png(figure, dpi=100)


def draw_rates(rows: Sequence[tuple], chosen: float) -> bytes | None:
    """Returns the losses of a sweep over learning rates as a picture, a PNG file; `None` without matplotlib.

    Args:
        rows: list of rate, loss and smoothed loss of each step.
        chosen: float. The rate that is marked.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    rates, losses, smoothed = zip(*rows)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, linewidth=0.6, color="C7", label="loss of the batch")
    axes.plot(rates, smoothed, color="C0", label="smoothed")
    axes.axvline(chosen, color="C3", linestyle="--", label=f"chosen: {chosen:g}")
    axes.set_xscale("log")
    low, high = min(smoothed), max(smoothed[: len(smoothed) // 2] or smoothed)
    axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low) or 1.0)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend()
    return _png(figure, dpi=100)


def draw_frontier(results: Mapping[str, Any]) -> bytes | None:
    """Returns the measure of variants over the size of their weights, a PNG file; `None` without matplotlib.

    Args:
        results: dict. What `kerazoo.run.compress` returns.
    """
    measured = {name: each for name, each in results["variants"].items() if "dev" in each}
    if importlib.util.find_spec("matplotlib") is None or not measured:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    points = {name: (each["weights_bytes"] / 1000, each["dev"][results["metric"]]) for name, each in measured.items()}
    for marks, colour, label in ((True, "C0", "on the frontier"), (False, "C7", "dominated")):
        chosen = [point for name, point in points.items() if (name in results["frontier"]) == marks]
        if chosen:
            axes.scatter(*zip(*chosen), color=colour, label=label, zorder=2)
    best = sorted(points[name] for name in results["frontier"])
    axes.plot(*zip(*best), color="C0", linewidth=0.8, alpha=0.5, zorder=1)
    for name, point in points.items():
        axes.annotate(name, point, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel("weights, KB")
    axes.set_ylabel(f"{results['metric']}, dev")
    axes.legend(fontsize=8)
    return _png(figure, dpi=120)


def write_series_picture(
    path: str | os.PathLike,
    numbers: np.ndarray,
    names: Sequence[str],
    spans: Sequence[tuple[int, int]],
    found: Sequence[Any],
    threshold: float | None,
) -> None:
    """Draws a series with the windows that are anomalies in red, and below it the error of each window.

    Args:
        path: string or path. The PNG file.
        numbers: float array `[rows, V]`. The first variables are drawn.
        names: list of strings. The names of the variables.
        spans: list of pairs of ints. The first row of each window and the one after its last.
        found: list of `kerazoo.run.Reconstruction`, one for each window.
        threshold: float or `None`. It is a horizontal line.

    Raises:
        SetupError: if the package matplotlib is not installed, or the file cannot be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise _checks.SetupError("pictures of series need matplotlib. Install it with: pip install 'kerazoo[viz]'")
    from matplotlib.figure import Figure

    variables = min(numbers.shape[1], MAX_VARIABLES)
    figure = Figure(figsize=(10, 1.5 * (variables + 1)), layout="constrained")
    axes = figure.subplots(variables + 1, 1, sharex=True, squeeze=False)[:, 0]
    for variable, each in enumerate(axes[:-1]):
        each.plot(numbers[:, variable], linewidth=0.8)
        each.set_ylabel(names[variable].replace("$", r"\$"), fontsize=8)
    middles = [(first + end - 1) / 2 for first, end in spans]
    axes[-1].plot(middles, [each.error for each in found], linewidth=0.8, color="C1")
    axes[-1].set_yscale("log")
    axes[-1].set_ylabel("error", fontsize=8)
    axes[-1].set_xlabel("row")
    if threshold is not None:
        axes[-1].axhline(threshold, color="black", linestyle="--", linewidth=0.8)
    for first, end in _joined([span for span, each in zip(spans, found) if each.is_anomaly]):
        for each in axes:
            each.axvspan(first - 0.5, end - 0.5, color="C3", alpha=0.25, linewidth=0)
    _files.write_file(path, _png(figure, dpi=100))


def _png(figure, dpi):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def _joined(spans):
    """Returns spans in order, those that overlap or touch as one."""
    joined: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


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


def _draw_sound(axes, name, part, samples):
    """Draws the spectrogram of samples, low frequencies at the bottom, 80 dB from black to white.

    The picture is as wide as the spectrogram of a sound of so many samples.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(part, np.float64), WINDOW)[:: WINDOW // 4]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2  # [columns, frequencies]
    decibels = 10 * np.log10(np.maximum(power, 1e-12 + power.max() * 1e-8))
    axes.imshow(decibels.T, origin="lower", aspect="auto", cmap="magma")
    axes.set_xlim(-0.5, (samples - WINDOW) // (WINDOW // 4) + 0.5)
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
