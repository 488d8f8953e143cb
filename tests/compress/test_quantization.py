"""Quantization: values against NumPy, every class of model, all programs, saving and loading, and the refusals."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo import _backend
from kerazoo.compress.quantization import weights_of
from kerazoo.compress.stored_weight import GROUP, StoredFormat, StoredWeight

RNG = np.random.default_rng(3)


def layer_with(value, name="kernel"):
    """A layer with one weight."""
    layer = keras.layers.Layer()
    layer.kernel = layer.add_weight(name=name, shape=value.shape, initializer="zeros")
    layer.kernel.assign(value)
    layer.built = True
    return layer


def stored(value, format, name="kernel", nonzero=None):
    layer = layer_with(value, name)
    weight = StoredWeight(layer.kernel, StoredFormat(name, format, nonzero))
    weight.replace(layer, layer.kernel)
    assert layer.kernel is weight and len(layer.variables) == len(weight.parts)
    weight.assign(value)
    return weight


def bits(weight):
    return sum(8 * ops.convert_to_numpy(part.value).nbytes for part in weight.parts.values())


@pytest.mark.parametrize("name, shape", [("kernel", (67, 11)), ("kernel", (3, 5, 7, 13)), ("embeddings", (17, 37)),
                                         ("depthwise_kernel", (3, 3, 41, 1))])  # fmt: skip
def test_int8_rounds_each_output_by_its_own_scale(name, shape):
    value = RNG.normal(size=shape).astype("float32") * np.exp(RNG.normal(size=shape[-1]))
    if name == "embeddings":
        scale = np.abs(value).max(axis=1, keepdims=True) / 127
    elif name == "depthwise_kernel":
        scale = np.abs(value).max(axis=(0, 1), keepdims=True) / 127
    else:
        scale = np.abs(value).max(axis=tuple(range(value.ndim - 1)), keepdims=True) / 127
    expected = np.rint(value / scale) * scale
    np.testing.assert_allclose(np.asarray(stored(value, "int8", name)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, shape", [("kernel", (67, 11)), ("kernel", (5, 7)), ("embeddings", (17, 37))])
def test_int4_has_a_scale_for_each_group_and_is_better_than_one_of_the_largest_value(name, shape):
    value = RNG.normal(size=shape).astype("float32")
    found = np.asarray(stored(value, "int4", name))
    matrix, rounded = (each.T if name == "embeddings" else each for each in (value, found))
    errors, plain = [], []
    for start in range(0, len(matrix), GROUP):
        part, now = matrix[start : start + GROUP], rounded[start : start + GROUP]
        scale = np.abs(part).max(axis=0) / 7
        plain.append(((np.rint(part / scale) * scale - part) ** 2).sum(axis=0))
        errors.append(((now - part) ** 2).sum(axis=0))
        assert all(len(np.unique(column)) <= 15 for column in now.T)
    assert (np.array(errors) <= np.array(plain) * 1.01).all() and np.sum(errors) < np.sum(plain)


@pytest.mark.parametrize("format, size", [("float32", 32), ("float16", 16), ("int8", 8), ("int4", 4)])
def test_zeros_take_one_bit_and_stay_zero(format, size):
    value = RNG.normal(size=(96, 40)).astype("float32") * (RNG.random((96, 40)) < 0.2)
    nonzero = int((value != 0).sum())
    dense, sparse = stored(value, format), stored(value, format, nonzero=nonzero)
    assert np.array_equal(np.asarray(sparse), np.asarray(dense))
    assert not np.asarray(sparse)[value == 0].any()
    scales = {"int8": 40 * 32, "int4": 3 * 40 * 16}.get(format, 0)
    assert bits(sparse) == value.size + 8 * math.ceil(nonzero * size / 8) + scales
    assert bits(dense) == value.size * size + scales


def test_more_values_than_are_stored_are_refused():
    with pytest.raises(ValueError, match="at most 7 values .* got 15"):
        stored(np.ones((3, 5), "float32"), "int8", nonzero=7)


def test_a_weight_without_any_value_is_stored():
    assert not np.asarray(stored(np.zeros((3, 5), "float32"), "int4", nonzero=0)).any()


@pytest.fixture
def model():
    model = kz.create(
        "lstm_seq2seq_attention", source_vocabulary_size=37, target_vocabulary_size=41, units=19, embedding_dim=17
    )
    model.build_from_inputs()
    return model


SOURCE = np.array([[5, 6, 7, 0], [9, 11, 13, 17], [8, 0, 0, 0]])


@pytest.mark.parametrize("format", ["int8", pytest.param("int4", marks=pytest.mark.slow), "float16"])
def test_a_quantized_model_decodes_like_one_with_the_rounded_weights(model, format):
    plain = kz.models.LSTMSeq2Seq.from_config(model.get_config())
    plain.build_from_inputs()
    plain.set_weights(model.get_weights())
    kz.compress.quantize(model, format)
    pairs = list(zip(weights_of(plain, "test"), kz.compress.stored_weights(model), strict=True))
    for (_, variable), weight in pairs:
        assert np.abs(np.asarray(variable.value) - np.asarray(weight)).max() < {"int4": 0.1}.get(format, 0.01)
        variable.assign(np.asarray(weight))
    options = {"search": "beam", "num_beams": 3, "max_length": 7, "jit_compile": False}
    one, two = model.generate(SOURCE, **options), plain.generate(SOURCE, **options)
    assert np.array_equal(one.tokens, two.tokens)
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-5)


@pytest.mark.usefixtures("programs")
def test_a_program_computes_each_weight_once_outside_of_its_loop(model, monkeypatch):
    kz.compress.quantize(model, "int8")
    computed = []
    compute = StoredWeight.compute
    monkeypatch.setattr(StoredWeight, "compute", lambda self: computed.append(self.path) or compute(self))
    model.generate(SOURCE, max_length=5, jit_compile=False)
    if keras.backend.backend() == "tensorflow":  # one program encodes, one searches
        assert max(computed.count(path) for path in computed) <= 2 and len(set(computed)) > 4
    x, step = ops.ones((2, 3)), {"weight": kz.compress.stored_weights(model)[0]}
    loop = _backend.compile(lambda x: ops.while_loop(
        lambda x, n: n < 5, lambda x, n: (x + ops.sum(step["weight"].value), n + 1), (x, ops.convert_to_tensor(0))
    )[0], model.variables)  # fmt: skip
    expected = 1 + 5 * np.asarray(step["weight"]).sum(dtype="float64")
    np.testing.assert_allclose(np.asarray(loop(x)), np.full((2, 3), expected), rtol=1e-4)


def test_the_weights_of_a_quantized_model_are_saved_and_loaded(model, tmp_path):
    described = kz.compress.quantize(model, "int4")
    model.save_weights(tmp_path / "small.weights.h5")
    assert model.count_params() < 0.65 * sum(math.prod(weight.shape) for weight in kz.compress.stored_weights(model))
    loaded = kz.models.LSTMSeq2Seq.from_config(model.get_config())
    loaded.build_from_inputs()
    kz.compress.prepare(loaded, described)
    loaded.load_weights(tmp_path / "small.weights.h5")
    targets = {"source": SOURCE, "targets": SOURCE}
    assert np.array_equal(np.asarray(model(targets)), np.asarray(loaded(targets)))
    assert [v.shape for v in loaded.variables] == [v.shape for v in model.variables]


def test_layers_of_keras_are_quantized(monkeypatch):
    monkeypatch.setattr("kerazoo.compress.quantization.MIN_SIZE", 1)
    layers = [keras.Input((9, 8, 3)), keras.layers.SeparableConv2D(13, 3), keras.layers.Conv2D(7, 3),
              keras.layers.Reshape((-1, 7)), keras.layers.MultiHeadAttention(3, 11), keras.layers.LSTM(5),
              keras.layers.Dense(53)]  # fmt: skip
    x = RNG.normal(size=(2, 9, 8, 3)).astype("float32")
    inputs = outputs = layers[0]
    for layer in layers[1:]:
        outputs = layer(outputs, outputs) if isinstance(layer, keras.layers.MultiHeadAttention) else layer(outputs)
    model = keras.Model(inputs, outputs)
    before = model.predict_on_batch(x)
    names = [each["name"] for each in kz.compress.quantize(model, "int8")]
    assert len(names) == 10
    np.testing.assert_allclose(model.predict_on_batch(x), before, atol=0.05)


@pytest.mark.parametrize("quantize", ["quantize", "round_weights"])
def test_each_channel_of_a_depthwise_convolution_has_its_own_scale(quantize):
    model = keras.Sequential([keras.Input((5, 5, 37)), keras.layers.DepthwiseConv2D(3)])
    (layer,) = model.layers
    kernel = RNG.normal(size=(3, 3, 37, 1)) * np.exp(3 * RNG.normal(size=(37, 1)))
    layer.kernel.assign(kernel)
    getattr(kz.compress, quantize)(model, "int8")
    scale = np.abs(kernel).max(axis=(0, 1), keepdims=True) / 127
    np.testing.assert_allclose(np.asarray(layer.kernel) / scale, np.rint(kernel / scale), atol=1e-3)


def test_bad_arguments_are_refused(model):
    with pytest.raises(ValueError, match=r"quantize: `format` must be one of .* got format='int9'"):
        kz.compress.quantize(model, "int9")
    with pytest.raises(ValueError, match="must be built first"):
        kz.compress.quantize(keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"must describe the \d+ kernels and embeddings of the model; got 0"):
        kz.compress.prepare(model, [])
    many = [{"name": "x", "format": "int8", "nonzero": 10**9}] * len(weights_of(model, "test"))
    with pytest.raises(ValueError, match="`nonzero` must be at most"):
        kz.compress.prepare(model, many)
    with pytest.raises(ValueError, match="must be what quantize returned"):
        kz.compress.prepare(model, [{"kind": "int8"}] * len(many))
    kz.compress.quantize(model)
    with pytest.raises(ValueError, match="has none that is not quantized"):
        kz.compress.quantize(model)
