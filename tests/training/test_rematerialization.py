"""Blocks that compute their activations again: the same training, in less memory."""

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo import training


def language_model(remat, dropout=0.3):
    keras.utils.set_random_seed(5)
    made = kz.models.TransformerLM(
        11, num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=12, max_length=64, dropout=dropout
    )
    made({"targets": np.ones((4, 7), "int32")})
    if remat:
        for block in training.numbered_blocks(made):
            training.rematerialize(block)
    made.compile(keras.optimizers.SGD(0.5), training.SparseCrossentropy())
    return made


def tokens():
    rows = np.random.default_rng(0).integers(4, 11, (12, 7))
    return {"targets": rows}, rows


def test_training_is_the_same():
    """Dropout draws the same numbers in the forward pass, in the second one, and without rematerialization."""
    plain, made = language_model(False), language_model(True)
    assert len(training.numbered_blocks(made)) == 2
    for each in (plain, made):
        training.fit(each, tokens(), batch_size=4, epochs=2, jit_compile=False)  # JAX compiles all the same
    for one, two in zip(made.variables, plain.variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one.value), ops.convert_to_numpy(two.value), 1e-5, 1e-6)
    np.testing.assert_array_equal(made.predict_on_batch(tokens()[0]).shape, (12, 7, 11))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX shows what a gradient computes again")
def test_the_gradient_computes_each_block_again():
    import jax

    def loss_of(made):
        def loss(values):
            with keras.StatelessScope(state_mapping=list(zip(made.trainable_variables, values))):
                return ops.mean(made({"targets": ops.ones((4, 7), "int32")}, training=True))

        values = [variable.value for variable in made.trainable_variables]
        return str(jax.make_jaxpr(jax.grad(loss))(values))

    plain, again = (loss_of(language_model(remat, dropout=0.0)) for remat in (False, True))
    assert plain.count("remat") == 0 and again.count("remat") == 2  # one for each block
    assert again.count("dot_general") > plain.count("dot_general")
