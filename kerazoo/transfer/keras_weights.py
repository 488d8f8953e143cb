"""HDF5 files of a Keras model, whose structure is compared with that of the model, or of its network of images."""

import os
import tempfile

import keras
import numpy as np

from kerazoo import _checks
from kerazoo.layers import BackboneEncoder
from kerazoo.training import processes
from kerazoo.transfer.tensor_names import MAX_NAMED
from kerazoo.transfer.weight_files import WeightFile, opened

OPTIMIZER = "optimizer/"  # of a compiled model, which is not read


def load(model: keras.Model, file: WeightFile) -> tuple[dict[str, int], keras.Model]:
    """Loads an HDF5 file that Keras wrote for a model of the same structure, or for the network of its encoder.

    The network is that of a `BackboneEncoder`, whose file may also be one of the older kind, without names of the
    layers of this model, in their order.

    Args:
        model: A built `keras.Model`.
        file: `WeightFile`, open.

    Returns:
        The number of weights of each array, and the model that they belong to.

    Raises:
        CheckpointError: if an array is missing, surplus or of another shape, or cannot be read.
    """
    encoders = [layer for layer in model._flatten_layers() if isinstance(layer, BackboneEncoder)]
    name, network = type(model).__name__, model
    if len(encoders) == 1:
        name, network = encoders[0].backbone_name, encoders[0].backbone
    if file.layers:
        return _load_in_order(network, file, name), network
    expected = _saved_shapes(model)
    if set(expected).isdisjoint(file.shapes):
        model, expected = network, _saved_shapes(network)
    return _load_by_name(model, file, expected, name), model


def _saved_shapes(model):
    """Returns the names and shapes of the arrays that Keras writes for a model."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "model.weights.h5")
        model.save_weights(copy)
        with opened(copy) as saved:
            return {name: shape for name, shape in saved.shapes.items() if not name.startswith(OPTIMIZER)}


def _load_in_order(model, file, owner):
    """Loads an older file, which has the layers with weights in the order of the model."""
    layers = [(layer.name, layer.weights) for layer in model.layers if layer.weights]
    if len(layers) != len(file.layers):
        more = "" if len(layers) > len(file.layers) else " Take a file without the classifier (notop)."
        raise _checks.CheckpointError(
            f"{file.path}: does not fit {owner}: it has {len(file.layers)} layers with weights, the model "
            f"{len(layers)}.{more}"
        )
    pairs = []
    for (name, variables), (given, arrays) in zip(layers, file.layers):
        shapes = [tuple(variable.shape) for variable in variables]
        found = [file.shapes[array] for array in arrays]
        if found != shapes:
            raise _checks.CheckpointError(
                f"{file.path}: does not fit {owner}: its layer {given} has the shapes {found}, {name} needs {shapes}."
            )
        pairs += zip(variables, arrays)
    values = [file.read(array) for _, array in pairs]
    for (variable, _), value in zip(pairs, values):
        processes.assign(variable, value.astype(variable.dtype))
    return {array: int(np.size(value)) for (_, array), value in zip(pairs, values)}


def _load_by_name(model, file, expected, owner):
    """Loads a `.weights.h5`.

    Keras reads a file of the model's own making, into which the values were copied: nothing else of `file` reaches it,
    and a file that ends within a value is noticed before the model is changed.
    """
    import h5py

    _compare(owner, file, expected)
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "model.weights.h5")
        model.save_weights(copy)
        values = {name: file.read(name) for name in expected}
        with h5py.File(copy, "r+") as target:
            for name, value in values.items():
                target[name][...] = value
        model.load_weights(copy)
    return {name: int(value.size) for name, value in values.items()}


def _compare(owner, file, expected):
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
        raise _checks.CheckpointError(f"{file.path}: does not fit {owner}: {'; '.join(found)}.")
