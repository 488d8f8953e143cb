"""Calibration: ranges against NumPy, products against those of integers, what is saved, and the refusals."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo.compress.calibration import InputValues
from kerazoo.compress.input_rounding import rounded

RNG = np.random.default_rng(5)
SOURCE = np.array([[5, 6, 7, 0], [9, 11, 13, 17], [8, 0, 0, 0]])


def codes(x, limits):
    """The integers of a range, less the one of zero, and their scale."""
    low, high = limits
    scale = (high - low) / 255
    zero = round(-128 - low / scale)
    return np.clip(np.rint(x.astype("float64") / scale) + zero, -128, 127).astype(int) - zero, scale


def weight_codes(kernel):
    scale = np.abs(kernel).max(axis=0) / 127
    return np.rint(kernel / scale).astype(int), scale


def product(x, limits, kernel):
    """The product of integers, as hardware computes it."""
    (left, one), (right, two) = codes(x, limits), weight_codes(kernel)
    return (left @ right) * one * two


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("percentile", [100, 99.9, 95])
def test_ranges_are_percentiles(shift, percentile):
    parts, values = RNG.normal(shift, size=(7, 5003)).astype("float32"), InputValues()
    for part in parts:
        values.add(part)
    low, high = values.range(percentile)
    expected = np.percentile(parts, [100 - percentile, percentile])
    np.testing.assert_allclose((low, high), (min(0, expected[0]), expected[1]), rtol=0.03, atol=0.01)
    assert low >= parts.min() or percentile == 100
    assert values.count == parts.size


def test_ranges_of_few_values():
    values = InputValues()
    values.add(np.zeros((3, 5), "float32"))
    assert values.range(99.9) is None
    values.add(np.array([1e-9, np.nan, np.inf, 1e9]))
    assert values.range(100) == (0, 1e9) and values.count == 17


def test_zero_stays_zero_and_values_are_clipped():
    x = np.array([-3.0, -1.0, 0.0, 0.004, 2.0, 9.0], "float32")
    found = ops.convert_to_numpy(rounded(ops.convert_to_tensor(x), (-1.0, 2.0)))
    assert found[2] == 0 and found[0] == found[1] and found[4] == found[5]
    np.testing.assert_allclose(found, np.clip(x, -1, 2), atol=0.012)


def test_dense_layers_multiply_integers():
    layers = [keras.Input((67,)), kz.layers.DenseEncoder(units=(31,), return_dict=False), keras.layers.Dense(13)]
    model = keras.Sequential(layers)
    x = RNG.normal(size=(11, 67)).astype("float32")
    before = [np.array(weight) for weight in model.get_weights()]
    ranges = kz.compress.calibrate(model, [x[:5], x[5:]])
    first, second = ranges
    assert first == (x.min(), x.max()) and second[0] == 0 < second[1]
    kz.compress.quantize(model, "int8", ranges)
    hidden = np.maximum(product(x, first, before[0]) + before[1], 0)
    expected = product(hidden.astype("float32"), second, before[2]) + before[3]
    found = model.predict_on_batch(x)
    # A hidden value in the middle of two integers may be rounded to either.
    assert np.mean(np.abs(found - expected) < 1e-4) > 0.9 and np.abs(found - expected).max() < 0.1
    assert np.abs(found - expected).mean() < 0.05 * np.abs(found - (np.maximum(x @ before[0], 0) @ before[2])).mean()


def test_an_lstm_multiplies_integers():
    lstm = kz.layers.LSTM(17)
    inputs = keras.Input((5, 19))
    model = keras.Model(inputs, lstm(inputs)[0])
    x = RNG.normal(size=(3, 5, 19)).astype("float32")
    kernel, recurrent, bias = (np.array(weight) for weight in model.get_weights()[:3])
    ranges = kz.compress.calibrate(model, [x])
    of_x, of_h = ranges
    assert of_x == (x.min(), x.max()) and -1 < of_h[0] < 0 < of_h[1] < 1
    kz.compress.quantize(model, "int8", ranges)
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    h = c = np.zeros((3, 17))
    for step in range(5):
        gates = product(x[:, step], of_x, kernel) + product(h, of_h, recurrent) + bias
        enter, forget, new, leave = np.split(gates, 4, axis=-1)
        c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(new)
        h = sigmoid(leave) * np.tanh(c)
    found = model.predict_on_batch(x)
    np.testing.assert_allclose(found[:, -1], h, atol=2e-3)


def test_convolutions_and_logits_of_an_embedding_read_rounded_inputs():
    inputs = keras.Input((9, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(11, 3)(inputs))
    x = RNG.normal(size=(2, 9, 8, 3)).astype("float32")
    ranges = kz.compress.calibrate(model, [x])
    kz.compress.quantize(model, "int8", ranges)
    layer, (limits,) = model.layers[1], ranges
    expected = ops.conv(rounded(ops.convert_to_tensor(x), limits), layer.kernel.value) + layer.bias
    np.testing.assert_allclose(model.predict_on_batch(x), ops.convert_to_numpy(expected), atol=1e-4)
    table = kz.layers.TokenEmbedding(23, 13)
    hidden = ops.convert_to_tensor(RNG.normal(size=(2, 3, 13)).astype("float32"))
    table.build((None, None))
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, table(table(tokens), reverse=True))
    ranges = kz.compress.calibrate(model, [SOURCE])
    rows = ops.convert_to_numpy(table.table.embeddings)
    kz.compress.quantize(model, "int8", ranges)
    (limits,) = ranges
    np.testing.assert_allclose(table(hidden, reverse=True), product(np.array(hidden), limits, rows.T), atol=1e-4)
    stored = np.array(kz.compress.stored_weights(model)[0])
    np.testing.assert_allclose(np.array(table.table(SOURCE)), stored[SOURCE], atol=1e-6)


def test_a_model_that_generates_is_saved_and_loaded(tmp_path):
    model = kz.create(
        "lstm_seq2seq_attention", source_vocabulary_size=37, target_vocabulary_size=41, units=19, embedding_dim=17
    )
    model.build_from_inputs()
    inputs = {"source": SOURCE, "targets": SOURCE}
    before = np.array(model(inputs))
    ranges = kz.compress.calibrate(model, [inputs], percentile=99.9)
    described = kz.compress.quantize(model, "int8", ranges)
    assert [each["inputs"] for each in described] == ranges and sum(each is not None for each in ranges) > 5
    logits = np.array(model(inputs))
    assert 0 < np.abs(logits - before).max() < 0.1
    model.save_weights(tmp_path / "small.weights.h5")
    loaded = kz.models.LSTMSeq2Seq.from_config(model.get_config())
    loaded.build_from_inputs()
    kz.compress.prepare(loaded, json.loads(json.dumps(described)))
    loaded.load_weights(tmp_path / "small.weights.h5")
    assert np.array_equal(logits, np.array(loaded(inputs)))
    options = {"max_length": 5, "jit_compile": False}
    one, two = (each.generate(SOURCE, **options) for each in (model, loaded))
    assert np.array_equal(one.tokens, two.tokens)
    forced = kz.decoding.score(
        model, SOURCE, [row[:length].tolist() for row, length in zip(one.tokens[:, 0], one.lengths[:, 0])]
    )
    np.testing.assert_allclose(forced.scores, one.scores[:, 0], atol=1e-4)


def test_bad_arguments_are_refused():
    model = keras.Sequential([keras.Input((41,)), keras.layers.Dense(13, name="one")])
    x = np.ones((2, 41), "float32")
    with pytest.raises(ValueError, match=r"calibrate: `percentile` must be .* got percentile=50"):
        kz.compress.calibrate(model, [x], percentile=50)
    with pytest.raises(ValueError, match="at least one batch; got none"):
        kz.compress.calibrate(model, [])
    with pytest.raises(ValueError, match="`input_ranges` need format='int8'; got format='int4'"):
        kz.compress.quantize(model, "int4", [(0.0, 1.0)])
    with pytest.raises(ValueError, match="must be those of the 1 kernels and embeddings of the model; got 2"):
        kz.compress.quantize(model, "int8", [(0.0, 1.0), None])
    for limits in ((1.0, 2.0), (0.0, 0.0), (0.0, np.nan), ("a", 1.0)):
        with pytest.raises(ValueError, match="`inputs` must be|must be what quantize returned"):
            kz.compress.prepare(model, [{"name": "x", "format": "int8", "inputs": limits}])
    with pytest.raises(ValueError, match="must be two numbers around 0"):
        kz.compress.quantize(model, "int8", [(1.0, 2.0)])
