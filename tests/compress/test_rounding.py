"""Quantization-aware training: the rounding is that of what is stored, and training makes its loss small."""

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo.compress.quantization import weights_of

RNG = np.random.default_rng(17)
X = RNG.normal(size=(160, 37)).astype("float32")
Y = (X @ RNG.normal(size=(37, 3))).argmax(axis=1)


def built(seed=3):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((37,)), keras.layers.Dense(29, "relu"), keras.layers.Dense(3)])


@pytest.mark.parametrize("format", ["int8", "int4"])
def test_weights_are_rounded_as_they_are_stored(format):
    rounded, stored = built(), built()
    kz.compress.round_weights(rounded, format)
    kz.compress.quantize(stored, format)
    np.testing.assert_allclose(rounded.predict_on_batch(X), stored.predict_on_batch(X), atol=1e-5)
    embedding = keras.Sequential([keras.Input((5,), dtype="int32"), keras.layers.Embedding(19, 43)])
    other = keras.models.clone_model(embedding)
    other.set_weights(embedding.get_weights())
    kz.compress.round_weights(embedding, format)
    kz.compress.quantize(other, format)
    ids = RNG.integers(0, 19, (2, 5))
    np.testing.assert_allclose(np.asarray(embedding(ids)), np.asarray(other(ids)), atol=1e-6)


def test_training_goes_through_the_rounding_in_every_step():
    model = built()
    variable = weights_of(model, "test")[0][1]
    kz.compress.round_weights(model, "int4")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, steps_per_execution=5, jit_compile=False)
    before, count = np.asarray(variable.value), len(model.trainable_variables)
    history = model.fit(X, Y, batch_size=32, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0] and count == 4
    assert not np.allclose(before, np.asarray(variable.value), atol=1e-3)
    trained = model.evaluate(X, Y, verbose=0)
    plain = built(5)
    plain.set_weights(model.get_weights())
    kz.compress.quantize(plain, "int4")
    plain.compile(loss=loss)
    assert plain.evaluate(X, Y, verbose=0) == pytest.approx(trained, abs=1e-4)


def test_other_formats_are_refused():
    with pytest.raises(ValueError, match="`format` must be one of 'int8', 'int4'"):
        kz.compress.round_weights(built(), "float16")
