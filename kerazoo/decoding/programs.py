"""Compiled programs, which are kept with the model whose variables they read."""

import functools
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
from keras import ops

from kerazoo import _backend
from kerazoo.decoding.protocol import SourceModel

log = logging.getLogger("kerazoo")


class Program:
    """A function of nests of arrays with the batch as first axis, compiled once for each set of shapes.

    Args:
        function: callable. Takes nests of tensors and returns a nest of tensors.
        variables: list of the Keras variables that the function reads.
        jit_compile: bool. Whether TensorFlow compiles with XLA.
        description: str. What the function does, for the log.
    """

    def __init__(self, function: Callable, variables: list, jit_compile: bool, description: str):
        self.function = _backend.compile(function, variables, jit_compile)
        self.description = description
        self.shapes: set[tuple] = set()

    def __call__(self, *inputs: Any) -> Any:
        shapes = tuple(tuple(x.shape) for x in keras.tree.flatten(inputs))
        if shapes not in self.shapes:
            self.shapes.add(shapes)
            batch_size = min(shape[0] for shape in shapes if shape)
            log.info("compiling %s for batches of %d; calls of similar size reuse it", self.description, batch_size)
        return self.function(*keras.tree.map_structure(ops.convert_to_tensor, inputs))


def cached_program(
    models: Sequence[SourceModel], key: Hashable, function: Callable, jit_compile: bool, description: str
) -> Program:
    """Returns the program of `function`, which is made once and kept with the first of `models`.

    Args:
        models: sequence of `SourceModel`. The models whose variables the function reads. With other variables, as of a
            model that was built again, another program is made.
        key: hashable. Everything else that the function depends on.
        function: callable. See `Program`.
        jit_compile: bool. See `Program`.
        description: str. See `Program`.
    """
    variables = [variable for model in models for variable in model.variables]
    # Straight into the dictionary: Keras would track an attribute as a part of the model.
    programs = vars(models[0]).setdefault("_compiled_programs", {})
    key = (key, jit_compile, tuple(map(id, variables)))
    if key not in programs:
        programs[key] = Program(function, variables, jit_compile, description)
    return programs[key]


def encoder_program(model: SourceModel, source: Any, jit_compile: bool) -> Callable:
    """Returns the program that encodes sources like the arrays `source`; an empty nest is its own encoding.

    This is a program of its own: on a GPU TensorFlow runs LSTMs with cuDNN, whose kernels XLA does not support.
    """
    if not keras.tree.flatten(source):
        return lambda source: source
    jit_compile = jit_compile and not any(device.startswith("gpu") for device in keras.distribution.list_devices())
    return cached_program(
        (model,), "encode", functools.partial(model.encode, training=False), jit_compile, "the encoder"
    )


def none_if_empty(nest: Any) -> Any:
    """Returns a nest of tensors, or `None` if it holds none: programs take an empty nest where there is no source."""
    return nest if keras.tree.flatten(nest) else None
