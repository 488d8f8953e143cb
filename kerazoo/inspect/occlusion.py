"""How much a score loses where a part of the input is covered, of images, texts, sounds and series."""

import itertools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _backend, _checks
from kerazoo.inspect.attribution import Score


def occlusion(
    model: keras.Model,
    inputs: Mapping[str, Any],
    score: Score,
    source: str = "source",
    *,
    size: int | None = None,
    stride: int | None = None,
    fill: Any = None,
) -> np.ndarray:
    """Returns by how much a score falls where a window of the source is covered, the mean of the windows there.

    Args:
        model: `keras.Model`.
        inputs: dictionary. The inputs of the model.
        score: function of the outputs of the model that returns a tensor `[B]`, such as `class_score([3])`.
        source: string. The input that is covered. Defaults to `"source"`.
        size: integer, above 0. The side of a window, positions or pixels. Defaults to 1 for token ids, else to a
            seventh of the smallest side of images and a twentieth of a sequence.
        stride: integer, above 0, at most `size`. From one window to the next. Defaults to half of `size`.
        fill: what stands in a covered position: a token id, a number, or an array of the last axis. Defaults to the
            padding token, or the mean of the source over its positions.

    Returns:
        float32 array `[B, S]` for token ids and sequences `[B, S, D]`, and `[B, H, W]` for images. It is positive
        where the source adds to the score.

    Raises:
        ValueError: if a size is out of range.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    model = kz.create("cnn_classifier", input_shape=(8, 8, 1), filters=(4,))
    inputs = {"source": np.ones((1, 8, 8, 1), "float32")}
    assert kz.inspect.occlusion(model, inputs, kz.inspect.class_score([2])).shape == (1, 8, 8)
    ```

    Reference:
        Zeiler and Fergus (2013), Visualizing and Understanding Convolutional Networks, arXiv:1311.2901.
    """
    values = np.asarray(inputs[source])
    is_tokens = values.dtype.kind in "iu"
    axes = values.shape[1:3] if values.ndim == 4 else values.shape[1:2]
    if size is None:
        size = 1 if is_tokens else max(1, min(axes) // (7 if len(axes) == 2 else 20))
    size = _checks.positive_int("occlusion", "size", size)
    stride = _checks.positive_int("occlusion", "stride", stride or max(1, size // 2))
    _checks.not_above("occlusion", "stride", stride, size)
    if fill is None and is_tokens:
        fill = getattr(model, "source_pad_ids", {}).get(source, getattr(model, "pad_id", 0))
    if fill is None:
        fill = values.mean(axis=tuple(range(1, 1 + len(axes))), keepdims=True) if values.ndim > 2 else 0.0

    def scored(covered, others):
        return score(model({**others, source: covered}, training=False))

    program = _backend.compile(scored, model.variables)
    others = {name: np.asarray(value) for name, value in inputs.items() if name != source}
    whole = np.asarray(ops.convert_to_numpy(program(values, others)), np.float64)
    lost, windows = np.zeros((len(values), *axes)), np.zeros(axes)
    for begins in itertools.product(*(_begins(length, size, stride) for length in axes)):
        window = tuple(slice(begin, begin + size) for begin in begins)
        covered = values.copy()
        covered[(slice(None), *window)] = fill
        loss = whole - np.asarray(ops.convert_to_numpy(program(covered, others)), np.float64)
        lost[(slice(None), *window)] += loss.reshape(-1, *(1,) * len(axes))
        windows[window] += 1
    return (lost / windows).astype(np.float32)


def _begins(length, size, stride):
    """Returns where windows begin, the last of which ends at the end."""
    last = max(0, length - size)
    return sorted({*range(0, last, stride), last})
