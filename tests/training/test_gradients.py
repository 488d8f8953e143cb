"""The gradient of a score by its input, on each backend, alone and as a compiled program that reads weights."""

import keras
import numpy as np
from keras import ops

from kerazoo import _backend


def test_values_and_gradients_equal_the_formula():
    layer = keras.layers.Dense(3)
    layer.build((None, 5))
    x, factor = np.random.default_rng(0).normal(size=(2, 5)).astype("float32"), np.float32(2)
    kernel = ops.convert_to_numpy(layer.kernel)

    def score(x, factor):
        return factor * ops.sum(ops.square(layer(x)), axis=-1)

    both = _backend.value_and_gradient(score)
    for program in (both, _backend.compile(both, layer.variables)):
        values, gradient = map(ops.convert_to_numpy, program(x, factor))
        np.testing.assert_allclose(values, 2 * np.square(x @ kernel).sum(-1), rtol=1e-4)
        np.testing.assert_allclose(gradient, 4 * (x @ kernel) @ kernel.T, rtol=1e-4)


def test_what_does_not_depend_on_the_input_has_no_gradient():
    _, gradient = _backend.value_and_gradient(lambda x: ops.ones(2))(np.ones((2, 3), "float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(gradient), np.zeros((2, 3)))
