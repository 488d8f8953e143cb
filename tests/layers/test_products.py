"""Products with a wide kernel: outputs and gradients equal those of a plain product, compiled and not."""

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo.layers import products
from kerazoo.layers.products import Dense, ReversibleEmbedding

B, T, D, V = 3, 5, 7, 11


@pytest.fixture(params=[True, False], ids=["compiled", "eager"])
def gradients(request, monkeypatch):
    """Function from (function of arrays, arrays) to the gradients of the sum of its squares, with XLA and without."""
    monkeypatch.setattr(products, "WIDE", 2)
    if keras.backend.backend() == "jax":
        import jax

        def compute(function, *arrays):
            gradient = jax.grad(lambda arrays: ops.sum(function(*arrays) ** 2))
            return (jax.jit(gradient) if request.param else gradient)(arrays)

    else:
        import tensorflow as tf

        def compute(function, *arrays):
            def gradient(arrays):
                with tf.GradientTape() as tape:
                    tape.watch(arrays)
                    total = ops.sum(function(*arrays) ** 2)
                return tape.gradient(total, arrays)

            arrays = tuple(map(tf.constant, arrays))
            return (tf.function(gradient, jit_compile=True) if request.param else gradient)(arrays)

    return compute


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("shape", [(B, D), (B, T, D)])
def test_the_gradients_are_those_of_numpy(gradients, shape):
    x, kernel = floats(*shape), floats(D, V, seed=1)
    dy = 2 * (x @ kernel)
    for_x, for_kernel = gradients(products.product, x, kernel)
    np.testing.assert_allclose(for_x, dy @ kernel.T, 1e-4, 1e-4)
    np.testing.assert_allclose(for_kernel, x.reshape(-1, D).T @ dy.reshape(-1, V), 1e-4, 1e-4)


def test_the_gradient_of_a_gradient_is_that_of_a_plain_product(gradients):
    x, kernel = floats(B, D), floats(D, V, seed=1)

    def penalty(product):
        if keras.backend.backend() == "jax":
            import jax

            return lambda x, kernel: jax.grad(lambda x: ops.sum(product(x, kernel) ** 3))(x)

        import tensorflow as tf

        def gradient(x, kernel):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = ops.sum(product(x, kernel) ** 3)
            return tape.gradient(total, x)

        return gradient

    for made, expected in zip(
        gradients(penalty(products.product), x, kernel), gradients(penalty(ops.matmul), x, kernel)
    ):
        np.testing.assert_allclose(made, expected, 1e-3, 1e-3)


def test_dense_computes_what_the_layer_of_keras_computes():
    x = floats(B, T, D)
    ours, theirs = Dense(V, "relu"), keras.layers.Dense(V, "relu")
    theirs.build(x.shape)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), 1e-6, 1e-6)
    no_bias = Dense(V, use_bias=False)
    no_bias.build(x.shape)
    np.testing.assert_allclose(no_bias(x), x @ np.asarray(no_bias.kernel), 1e-5, 1e-5)


def test_reversible_embedding_computes_what_the_layer_of_keras_computes():
    ours, theirs = ReversibleEmbedding(V, D), keras.layers.ReversibleEmbedding(V, D)
    tokens, x = np.arange(V), floats(B, T, D)
    ours(tokens), theirs(tokens)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(tokens), theirs(tokens), 1e-6)
    np.testing.assert_allclose(ours(x, reverse=True), theirs(x, reverse=True), 1e-5, 1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about graphs of TensorFlow")
def test_the_barrier_is_used_in_programs_of_xla_alone(monkeypatch):
    import tensorflow as tf

    from kerazoo import _backend

    found = []
    for jit_compile in (True, False):
        tf.function(lambda: found.append(_backend.has_barrier()), jit_compile=jit_compile)()
    assert found == [True, False] and not _backend.has_barrier()
