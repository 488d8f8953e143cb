"""Vectors of raw inputs from a trained run: those of a dual encoder, or the pooled output of any encoder."""

import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks, _files

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor

SIDES = ("source", "target")
WIDTH = 16  # texts are padded to a multiple of it, so that few shapes are compiled


def embed(predictor: "Predictor", raw: Sequence, side: str = "source") -> np.ndarray:
    """Returns a vector for each raw input, see `Predictor.embed`.

    Args:
        predictor: `Predictor`.
        raw: list of raw inputs; for a dual encoder, of single texts.
        side: string. `"source"` or `"target"`. Defaults to `"source"`.
    """
    _checks.one_of("Predictor.embed", "side", side, SIDES)
    encode, function = _of_model(predictor, side)
    program, rows = _program(predictor.model, side, function), {}
    order = sorted(range(len(raw)), key=lambda row: len(raw[row]) if isinstance(raw[row], str) else 0)
    for start in range(0, len(order), predictor.batch_size):
        numbers = order[start : start + predictor.batch_size]
        inputs = {name: _padded(np.asarray(x)) for name, x in encode([raw[number] for number in numbers]).items()}
        rows.update(zip(numbers, np.asarray(program(inputs), np.float32), strict=True))
    if not rows:
        return np.zeros((0, 0), np.float32)
    return np.stack([rows[number] for number in range(len(raw))])


def write_vectors(path: str | os.PathLike, vectors: np.ndarray) -> None:
    """Writes vectors as a file of NumPy, which appears when it is complete.

    Args:
        path: string or path. The file, `.npy`.
        vectors: array `[N, D]`.
    """
    buffer = io.BytesIO()
    np.save(buffer, vectors)
    _files.write_file(path, buffer.getvalue())


def _of_model(predictor, side):
    """Returns the function from raw inputs to inputs of the model, and that from those to vectors."""
    from kerazoo import models
    from kerazoo.models.encoder_model import EncoderModel

    model, task = predictor.model, predictor.task
    if isinstance(model, models.DualEncoder):
        index = SIDES.index(side)
        name, feature = task.input_names[index], task.inputs[index]
        return lambda part: {name: feature.encode(feature.pack(part))}, lambda inputs: model.embed(inputs, name)
    if not isinstance(model, EncoderModel):
        raise ValueError(
            f"{task.owner}: needs a model with an encoder, whose output is pooled to a vector; got "
            f"{type(model).__name__}."
        )
    if side != "source":
        raise ValueError(f"{task.owner}: only a dual encoder has vectors of the target; got side={side!r}.")

    return task.encode, lambda inputs: model.pool(model.encode(inputs, training=False))


def _program(model: Any, side: str, function: Callable) -> Callable:
    """Returns the compiled function, which is kept with the model."""
    from kerazoo import _backend

    # Straight into the dictionary: Keras would track an attribute as a part of the model.
    programs = vars(model).setdefault("_embedding_programs", {})
    if side not in programs:
        programs[side] = _backend.compile(function, model.variables)
    return programs[side]


def _padded(array):
    """Returns token ids with further padding on the right; other arrays as they are."""
    if array.ndim != 2 or array.dtype != np.int32:
        return array
    return np.pad(array, [(0, 0), (0, -array.shape[1] % WIDTH)])
