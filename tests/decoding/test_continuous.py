"""The loop over continuous values is what recomputing everything in NumPy gives, with and without a stop."""

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import decoding


class ValueToy(decoding.ContinuousDecodable):
    """The state is tanh(A h + E values + source); the outputs are B h, of which the last may be a stop logit."""

    num_values, output_length = 3, 11

    def __init__(self, has_stop=False, bias=0.0):
        rng = np.random.default_rng(4)
        self.has_stop, self.output_width, self.bias = has_stop, 3 + has_stop, bias
        self.a, self.e = (rng.normal(size=shape).astype("float32") for shape in ((5, 5), (3, 5)))
        self.b = 2 * rng.normal(size=(5, self.output_width)).astype("float32")

    def encode(self, inputs, training=False):
        return {"source": ops.tanh(inputs)}

    def start_values(self, encoded):
        return encoded["source"][:, :3]

    def start(self, batch_size, max_length, encoded=None):
        return {"state": {"h": ops.zeros((batch_size, 5))}, "memory": encoded}

    def step(self, values, cache, index):
        h = ops.tanh(ops.matmul(cache["state"]["h"], self.a) + ops.matmul(values, self.e) + cache["memory"]["source"])
        outputs = ops.matmul(h, self.b) + (np.array([0, 0, 0, self.bias], "float32") if self.has_stop else 0.0)
        return outputs, {**cache, "state": {"h": h}}

    def next_values(self, outputs):
        return outputs[..., :3]

    def recompute(self, source, length, threshold=0.5):
        """All outputs [T, width] of one source."""
        h, source = np.zeros(5), np.tanh(source)
        values, found = source[:3], []
        while len(found) < length:
            h = np.tanh(h @ self.a + values @ self.e + source)
            found.append(h @ self.b + (np.array([0, 0, 0, self.bias]) if self.has_stop else 0))
            values = found[-1][:3]
            if self.has_stop and 1 / (1 + np.exp(-found[-1][3])) > threshold:
                break
        return np.stack(found)


SOURCES = np.random.default_rng(9).normal(size=(7, 5)).astype("float32")


def test_equals_recomputation_in_one_batch_and_in_several():
    model = ValueToy()
    found = decoding.generate_values(model, SOURCES)
    expected = np.stack([model.recompute(row, 11) for row in SOURCES])
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    np.testing.assert_array_equal(found.outputs, found.values)
    assert found.lengths.tolist() == [11] * 7 and len(found) == 7
    parts = decoding.generate_values(model, SOURCES, batch_size=3)
    np.testing.assert_allclose(parts.values, found.values, atol=1e-5)
    assert decoding.generate_values(model, SOURCES[:0], 2).values.shape == (0, 2, 3)


@pytest.mark.parametrize("threshold, bias", [(0.5, -1.0), (0.9, 1.0)])
def test_a_sequence_ends_with_the_position_whose_stop_probability_is_above_the_threshold(threshold, bias):
    model = ValueToy(has_stop=True, bias=bias)
    found = decoding.generate_values(model, SOURCES, 13, stop_threshold=threshold)
    for row, source in enumerate(SOURCES):
        expected = model.recompute(source, 13, threshold)
        assert found.lengths[row] == len(expected)
        np.testing.assert_allclose(found.outputs[row, : len(expected)], expected, atol=1e-3)
        assert not found.outputs[row, len(expected) :].any() and not found.values[row, len(expected) :].any()
    assert len(set(found.lengths.tolist())) > 2, "the test needs sequences of several lengths"


def test_the_loop_ends_with_the_longest_sequence():
    """Padding rows do not keep it running."""
    steps = []

    class Counting(ValueToy):
        def step(self, values, cache, index):
            steps.append(int(index))
            return super().step(values, cache, index)

    if keras.backend.backend() == "jax":
        pytest.skip("JAX traces the step once")
    model = Counting(has_stop=True, bias=-1.0)
    encoded = model.encode(ops.convert_to_tensor(SOURCES))
    found = decoding.decode_values(model, 13, encoded, row_mask=np.arange(7) < 2)
    longest = max(len(model.recompute(row, 13)) for row in SOURCES[:2])
    assert longest < 13 and max(steps) + 1 == longest == int(np.max(found["lengths"]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"max_length": -1}, "generate_values: `max_length` must be an integer above 0; got max_length=-1"),
        (
            {"stop_threshold": 1},
            r"generate_values: `stop_threshold` must be a number in \(0, 1\); got stop_threshold=1",
        ),
        ({"batch_size": 0}, "generate_values: `batch_size` must be an integer above 0; got batch_size=0"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.generate_values(ValueToy(), SOURCES, **arguments)
    with pytest.raises(
        TypeError, match="generate_values: `model` must be a kerazoo.decoding.ContinuousDecodable.* dict"
    ):
        decoding.generate_values({}, SOURCES)
