"""Dropout against an independent computation of its mask, and the statistics of the mask."""

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo.layers import Dropout
from kerazoo.layers.dropout import random_bits
from kerazoo.layers.seeds import StepSeeds

SHAPE = (41, 43, 47)


def bits(seed, step=7, shape=SHAPE):
    return np.array(random_bits(shape, StepSeeds(seed, step)))


def mix(x, key=0):
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x + key) % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_bits_equal_those_of_python_integers():
    made = bits(3, shape=(2, 3, 5))
    first, second = (int(word) for word in np.array(StepSeeds(3, 7).next()))
    first = mix((first + mix((second + 0x9E3779B1) % 2**32)) % 2**32)
    second = mix(first ^ second)
    want = [mix((i * 0x9E3779B1 + first) % 2**32, second) for i in range(30)]
    assert made.dtype == np.uint32 and made.ravel().tolist() == want


def test_bits_are_uniform_and_independent():
    made = bits(1)
    n = made.size
    for bit in range(32):
        share = np.mean(made >> bit & 1)
        assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(n), bit
    values = made.ravel() / 2**32 - 0.5
    counts = np.histogram(values, 64, (-0.5, 0.5))[0]
    assert np.sum((counts - n / 64) ** 2 / (n / 64)) < 63 + 5 * np.sqrt(2 * 63)
    others = [values[lag:] for lag in (1, 2, 43, 47, 43 * 47)]
    others += [bits(seed, step).ravel() / 2**32 - 0.5 for seed, step in ((2, 7), (1, 8), (0, 0), (1, 6))]
    for other in others:
        correlation = np.mean(values[: other.size] * other) * 12
        assert abs(correlation) < 4 / np.sqrt(other.size)


def test_neighbouring_seeds_do_not_give_shifted_masks():
    made, other = bits(1).ravel(), bits(1, step=8).ravel()
    assert len(np.intersect1d(made, other)) < 2 * made.size**2 / 2**32  # as few as by chance


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_mean(rate):
    layer = Dropout(rate, seed=3)
    x = np.full(SHAPE, 2.0, "float32")
    made = np.array(layer(x, training=True))
    n = made.size
    assert abs(np.mean(made == 0) - rate) < 4 * np.sqrt(rate * (1 - rate) / n)
    np.testing.assert_allclose(np.unique(made), [0, 2 / (1 - rate)], rtol=1e-6)
    again = np.array(layer(x, training=True))
    assert abs(np.mean((made == 0) & (again == 0)) - rate**2) < 4 * np.sqrt(rate**2 * (1 - rate**2) / n)


def test_dropout_does_nothing_in_inference_or_at_rate_0():
    x = np.ones((3, 5), "float32")
    assert np.array_equal(Dropout(0.5)(x), x) and np.array_equal(Dropout(0.0)(x, training=True), x)
    assert np.array_equal(Dropout(1.0)(x, training=True), 0 * x)


def test_dropout_drops_whole_axes_with_a_noise_shape():
    made = np.array(Dropout(0.5, noise_shape=(None, 1, 47), seed=1)(np.ones(SHAPE, "float32"), training=True))
    assert np.array_equal(made, np.broadcast_to(made[:, :1], SHAPE)) and 0.4 < np.mean(made == 0) < 0.6


def test_dropout_keeps_nan_where_it_is_not_dropped_and_the_dtype():
    made = Dropout(0.5, seed=1, dtype="bfloat16")(np.full((41, 43), np.nan, "float32"), training=True)
    assert keras.backend.standardize_dtype(made.dtype) == "bfloat16"
    made = np.array(ops.cast(made, "float32"))
    assert 0.4 < np.mean(np.isnan(made)) < 0.6 and np.all(np.isnan(made) | (made == 0))


def test_dropout_takes_a_batch_of_unknown_size():
    inputs = keras.Input((None, 13))
    outputs = Dropout(0.5, seed=1)(inputs, training=True)
    assert outputs.shape == (None, None, 13)
    made = np.array(keras.Model(inputs, outputs)(np.ones((5, 7, 13), "float32")))
    assert 0.3 < np.mean(made == 0) < 0.7
