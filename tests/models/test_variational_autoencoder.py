"""The variational autoencoder: its bottleneck, its bound and its samples against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import kerazoo as kz
from kerazoo import layers
from kerazoo.layers import VariationalBottleneck


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def made(**options):
    keras.utils.set_random_seed(3)
    sizes = {"input_shape": (7,), "encoder_units": (11,), "latent_dim": 5, "decoder_units": (13,)}
    model = kz.create("dense_variational_autoencoder", **sizes, **options)
    model.build_from_inputs()
    model.bottleneck.log_variance.kernel.assign(floats(11, 5))
    return model


@pytest.mark.parametrize("free_bits", [0.0, 0.4])
def test_the_divergence_is_that_of_normal_distributions(free_bits):
    bottleneck = VariationalBottleneck(3, beta=0.7, free_bits=free_bits, seed=1)
    x = floats(11, 5)
    bottleneck(x)
    bottleneck.log_variance.kernel.assign(floats(5, 3, seed=2))
    bottleneck(x, training=True)
    mean = x @ np.array(bottleneck.mean.kernel)
    variance = np.exp(x @ np.array(bottleneck.log_variance.kernel))
    each = np.mean((mean**2 + variance - 1 - np.log(variance)) / 2, axis=0)
    assert float(bottleneck.losses[0]) == pytest.approx(0.7 * np.maximum(each, free_bits).sum(), rel=1e-5)


def test_samples_have_the_mean_and_the_variance_of_the_code():
    mean, log_variance = np.array([[1.0, -2.0]], "float32"), np.log(np.array([[4.0, 0.25]], "float32"))
    codes = np.array(layers.sample_normal(np.repeat(mean, 20011, 0), np.repeat(log_variance, 20011, 0), seed=5))
    np.testing.assert_allclose(codes.mean(0), mean[0], atol=0.05)
    np.testing.assert_allclose(codes.std(0), [2.0, 0.5], rtol=0.03)


def test_the_loss_of_training_is_the_negative_bound_of_each_output():
    model, x = made(beta=1.0), np.random.default_rng(0).random((4999, 7)).astype("float32")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    outputs = model(x, training=True)
    total = 7 * (float(loss(x, outputs)) + float(sum(model.losses)))
    assert total == pytest.approx(-float(ops.mean(model.elbo(x, x, num_samples=3))), rel=0.01)


@not_on_jax
def test_the_bound_is_the_same_for_the_same_seed_and_below_that_of_the_mean():
    model, x = made(), np.random.default_rng(0).random((997, 7)).astype("float32")
    bound = np.array(model.elbo(x, x, seed=1))
    assert np.array_equal(bound, model.elbo(x, x, seed=1)) and not np.array_equal(bound, model.elbo(x, x, seed=2))
    logits = np.array(model(x))
    mean, log_variance = map(np.array, model.posterior(x))
    divergence = (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1) / 2
    of_mean = (x * logits - np.logaddexp(0, logits)).sum(-1) - divergence
    assert bound.shape == (997,) and bound.mean() < of_mean.mean()
    np.testing.assert_allclose(np.array(model.codes(x)), mean, atol=1e-6)


def test_samples_are_decoded_normal_codes():
    model = made()
    assert np.array_equal(model.sample(11, seed=4), model.sample(11, seed=4))
    assert not np.array_equal(model.sample(11, seed=4), model.sample(11, seed=5))
    expected = model.decode(keras.random.normal((11, 5), seed=4))
    np.testing.assert_allclose(model.sample(11, seed=4), expected, atol=1e-6)
    with pytest.raises(ValueError, match="`num_samples` must be an integer above 0; got num_samples=0"):
        model.sample(0)
