"""The `.weights.h5` of a Keras model, whose structure is compared with what the model itself would write."""

import os
import tempfile

import keras

from kerazoo import _checks
from kerazoo.transfer.tensor_names import MAX_NAMED
from kerazoo.transfer.weight_files import WeightFile, opened

OPTIMIZER = "optimizer/"  # of a compiled model, which is not read


def load(model: keras.Model, file: WeightFile) -> dict[str, int]:
    """Loads an HDF5 file that `keras.Model.save_weights` wrote for a model of the same structure.

    Keras reads a file of the model's own making, into which the values were copied: nothing else of `file` reaches it,
    and a file that ends within a value is noticed before the model is changed.

    Args:
        model: A built `keras.Model`.
        file: `WeightFile`, open.

    Returns:
        The number of weights of each array.

    Raises:
        CheckpointError: if an array is missing, surplus or of another shape, or cannot be read.
    """
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "model.weights.h5")
        model.save_weights(copy)
        with opened(copy) as saved:
            expected = {name: shape for name, shape in saved.shapes.items() if not name.startswith(OPTIMIZER)}
        _compare(model, file, expected)
        values = {name: file.read(name) for name in expected}
        with h5py.File(copy, "r+") as target:
            for name, value in values.items():
                target[name][...] = value
        model.load_weights(copy)
    return {name: int(value.size) for name, value in values.items()}


def _compare(model, file, expected):
    """Refuses a file that has other arrays than expected."""
    given = {name: shape for name, shape in file.shapes.items() if not name.startswith(OPTIMIZER)}
    faults = {
        "it lacks": [f"{name} {shape}" for name, shape in expected.items() if name not in given],
        "the model has no place for": [f"{name} {shape}" for name, shape in given.items() if name not in expected],
        "other shapes:": [
            f"{name} is {given[name]}, the model needs {shape}"
            for name, shape in expected.items()
            if given.get(name, shape) != shape
        ],
    }
    found = [
        f"{what} {', '.join(names[:MAX_NAMED])}" + (f" and {len(names) - MAX_NAMED:,} more" * (len(names) > MAX_NAMED))
        for what, names in faults.items()
        if names
    ]
    if found:
        raise _checks.CheckpointError(f"{file.path}: does not fit {type(model).__name__}: {'; '.join(found)}.")
