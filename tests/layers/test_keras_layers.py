"""Layers of the library between layers of Keras."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import JAX

from kerazoo import layers, models

B, S, V, D = 3, 5, 17, 12
RNG = np.random.default_rng(3)
TOKENS = RNG.integers(1, V, (B, S)) * (np.arange(S) < np.array([[5], [3], [2]]))
SIZES = {"num_layers": 1, "hidden_dim": D, "num_heads": 3, "intermediate_dim": 11}


def encoders(**options):
    return [
        layers.DenseEncoder(7, **options),
        layers.ConvEncoder((7, 8), **options),
        layers.LSTMEncoder(7, bidirectional=True, **options),
        layers.TransformerEncoder(**SIZES, **options),
    ]


def test_an_encoder_stands_in_a_sequential_before_a_dense_layer(tmp_path):
    vectors = RNG.normal(size=(B, D)).astype("float32")
    encoder = layers.DenseEncoder((7, 5), return_dict=False)
    model = keras.Sequential([keras.Input((D,)), encoder, keras.layers.Dense(2)])
    assert model.output_shape == (None, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(vectors), model(vectors), rtol=1e-6)
    images = RNG.normal(size=(B, 2, 3, 4)).astype("float32")
    assert layers.DenseEncoder(7, return_dict=False)(images).shape == (B, 7)


@pytest.mark.parametrize("index", range(2 if JAX else 4))
def test_the_sequence_alone_is_that_of_the_dictionary_and_keeps_the_mask(index):
    x = keras.layers.Embedding(V, D, mask_zero=True)(TOKENS)
    whole, alone = encoders()[index], encoders(return_dict=False)[index]
    encoded = whole(x)
    alone(x)
    alone.set_weights(whole.get_weights())
    sequence = alone(x)
    np.testing.assert_allclose(sequence, encoded["sequence"], rtol=1e-5, atol=1e-6)
    pooled = keras.layers.GlobalAveragePooling1D()(sequence)
    np.testing.assert_allclose(pooled, layers.masked_mean(sequence, TOKENS > 0), rtol=1e-5, atol=1e-6)


def test_both_directions_are_those_of_keras():
    x = RNG.normal(size=(B, S, D)).astype("float32")
    expected = keras.layers.Bidirectional(keras.layers.LSTM(7, return_sequences=True))
    encoder = layers.LSTMEncoder(7, bidirectional=True, return_dict=False)
    outputs, mask = expected(x, mask=TOKENS > 0), ops.convert_to_tensor(TOKENS > 0)
    encoder(x)
    encoder.set_weights([weight for weight in expected.get_weights()])
    np.testing.assert_allclose(encoder(x, padding_mask=mask), outputs, rtol=1e-5, atol=1e-6)


def test_refusals_name_what_works():
    with pytest.raises(ValueError, match=r"got kerazoo.layers.LSTM. .*LSTMEncoder\(7, bidirectional=True, return_d"):
        keras.layers.Bidirectional(layers.LSTM(7))
    model = models.Classifier(layers.DenseEncoder(7, return_dict=False), 3, name="classes")
    with pytest.raises(ValueError, match="Classifier: `encoder` must return .*got DenseEncoder.*Try return_dict=True"):
        model.encode(np.ones((B, D), "float32"))
