"""Compiled programs, kept with the model they belong to, and a word when a new one is made."""

import logging

import keras
from keras import ops

from kerazoo import _backend

log = logging.getLogger("kerazoo")


class Program:
    """A function of nests of arrays, the batch as first axis, that is compiled once for each set of shapes.

    Args:
        function: Takes nests of tensors and returns a nest of tensors.
        variables: The Keras variables that it reads.
        jit: Whether TensorFlow compiles with XLA.
        what: What it does, for the word that it compiles.
    """

    def __init__(self, function, variables, jit, what):
        self.function = _backend.compile(function, variables, jit)
        self.what = what
        self.shapes = set()

    def __call__(self, *inputs):
        shapes = tuple(tuple(x.shape) for x in keras.tree.flatten(inputs))
        if shapes not in self.shapes:
            self.shapes.add(shapes)
            log.info("compiling %s for batches of %d; calls of like size reuse it", self.what, shapes[0][0])
        return self.function(*keras.tree.map_structure(ops.convert_to_tensor, inputs))


def kept(models, key, function, jit, what):
    """Returns the program of `function`, which is made once and kept with the first of `models`.

    Args:
        models: The models whose variables the function reads. With other variables, as a model has that was built
            anew, another program is made.
        key: Whatever else the function depends on, hashable.
        function, jit, what: As in `Program`.
    """
    variables = [variable for model in models for variable in model.variables]
    # Straight into the dictionary: Keras would take an attribute for a part of the model.
    programs = vars(models[0]).setdefault("_kept_programs", {})
    key = (key, jit, tuple(map(id, variables)))
    if key not in programs:
        programs[key] = Program(function, variables, jit, what)
    return programs[key]


def encode(model, source, jit):
    """Returns what `model` makes of the arrays `source`; `()`, a nest of nothing, where there is none.

    This is a program of its own: on a GPU TensorFlow leaves LSTMs to cuDNN, whose kernels XLA refuses.
    """
    if not keras.tree.flatten(source):
        return ()
    jit = jit and not any(device.startswith("gpu") for device in keras.distribution.list_devices())
    program = kept((model,), "encode", lambda source: model.encode(source, training=False), jit, "the encoder")
    return program(source)


def something(nest):
    """Returns a nest of tensors, None if there are none in it: what a program is given where there is no source."""
    return nest if keras.tree.flatten(nest) else None
