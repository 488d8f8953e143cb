"""Low rank: the matrices against the singular values, training, decoding, saving, and quantization of the factors."""

import math

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo.compress.quantization import weights_of

RNG = np.random.default_rng(11)
SOURCE = np.array([[5, 6, 7, 0], [9, 11, 13, 17]])
SIZES = {"source_vocabulary_size": 67, "target_vocabulary_size": 71, "num_encoder_layers": 1, "num_decoder_layers": 1,
         "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 61, "dropout": 0.0, "tie_output": False}  # fmt: skip


def built():
    model = kz.models.TransformerSeq2Seq(**SIZES)
    model.build_from_inputs()
    return model


@pytest.fixture
def model():
    """A model whose weights have a rank of 3, and a little noise."""
    model = built()
    for _, variable in weights_of(model, "test"):
        rows, columns = math.prod(variable.shape[:-1]), variable.shape[-1]
        value = RNG.normal(size=(rows, 3)) @ RNG.normal(size=(3, columns)) / 10 + RNG.normal(size=(rows, columns)) / 1e3
        variable.assign(value.reshape(variable.shape))
    return model


def test_the_rank_is_the_smallest_with_the_share_of_the_energy(model):
    values = [np.array(variable.value) for _, variable in weights_of(model, "test")]
    described = kz.compress.factorize(model, 0.999)
    assert [each["rank"] for each in described] == [3] * len(values)
    layer = model.encoder.blocks[0].feed_forward.expand
    value = next(value for value in values if value.shape == (32, 61))
    left, sizes, right = np.linalg.svd(value)
    np.testing.assert_allclose(np.asarray(layer.kernel), (left[:, :3] * sizes[:3]) @ right[:3], atol=1e-5)
    x = RNG.normal(size=(2, 5, 32)).astype("float32")
    np.testing.assert_allclose(np.asarray(layer(x)), x @ np.asarray(layer.kernel) + np.asarray(layer.bias), atol=1e-5)


def test_a_factorized_model_predicts_decodes_trains_and_loads(model, tmp_path):
    inputs = {"source": SOURCE, "targets": SOURCE}
    before, count = np.asarray(model(inputs)), model.count_params()
    described = kz.compress.factorize(model, 0.999)
    assert model.count_params() < 0.4 * count
    np.testing.assert_allclose(np.asarray(model(inputs)), before, atol=0.2)
    model.compile(keras.optimizers.Adam(0.01), kz.training.SparseCrossentropy(), run_eagerly=True)
    losses = [float(model.train_on_batch(inputs, SOURCE)) for _ in range(3)]
    assert losses[-1] < losses[0]
    tokens = model.generate(SOURCE, max_length=5, jit_compile=False).tokens
    model.save_weights(tmp_path / "low.weights.h5")
    loaded = built()
    kz.compress.prepare_factors(loaded, described)
    loaded.load_weights(tmp_path / "low.weights.h5")
    np.testing.assert_allclose(np.asarray(loaded(inputs)), np.asarray(model(inputs)), atol=1e-6)
    assert np.array_equal(loaded.generate(SOURCE, max_length=5, jit_compile=False).tokens, tokens)


def test_factors_are_quantized(model, monkeypatch):
    monkeypatch.setattr("kerazoo.compress.quantization.MIN_SIZE", 64)
    inputs = {"source": SOURCE, "targets": SOURCE}
    factors = kz.compress.factorize(model, 0.999)
    before = np.asarray(model(inputs))
    stored = kz.compress.quantize(model, "int8")
    assert len(kz.compress.stored_weights(model)) == len(stored) >= len(factors)
    np.testing.assert_allclose(np.asarray(model(inputs)), before, atol=0.3)
    loaded = built()
    kz.compress.prepare_factors(loaded, factors)
    kz.compress.prepare(loaded, stored)
    loaded.set_weights(model.get_weights())
    np.testing.assert_array_equal(np.asarray(loaded(inputs)), np.asarray(model(inputs)))


def test_bad_arguments_are_refused(model):
    with pytest.raises(ValueError, match="`energy` must be a number"):
        kz.compress.factorize(model, 1.0)
    with pytest.raises(ValueError, match="whose weights have their energy in more directions"):
        kz.compress.factorize(built(), 0.99)
    count = len(weights_of(model, "test"))
    with pytest.raises(ValueError, match=rf"must describe the {count} kernels"):
        kz.compress.prepare_factors(model, [])
    with pytest.raises(ValueError, match="`rank` must be at most"):
        kz.compress.prepare_factors(model, [{"rank": 10**6}] * count)
