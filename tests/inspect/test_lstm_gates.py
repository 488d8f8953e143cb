"""The gates of LSTM layers are those of a cell in NumPy, in both directions and past padding."""

import numpy as np

import kerazoo as kz
from kerazoo.models.replaced_calls import replaced_calls

TOKENS = {"source": np.array([[5, 6, 7, 0, 0], [8, 4, 5, 6, 7]]), "targets": np.array([[8, 9, 2], [4, 2, 0]])}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_gates(layer, x, valid):
    """The gates of an LSTM layer from a zero state, position by position."""
    kernel, recurrent, bias = (np.asarray(each, np.float64) for each in layer.keras_lstm.cell.weights)
    h = c = np.zeros((len(x), layer.units))
    found = np.full((6, *x.shape[:2], layer.units), np.nan)
    for t in reversed(range(x.shape[1])) if layer.reverse else range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        new_c = f * c + i * g
        new_h = o * np.tanh(new_c)
        here = valid[:, t, None]
        h, c = np.where(here, new_h, h), np.where(here, new_c, c)
        found[:, :, t] = np.where(here, np.stack([i, f, g, o, new_c, new_h]), np.nan)
    return found


def test_gates_equal_those_of_a_cell_in_numpy():
    model = kz.create("lstm_seq2seq_attention", source_vocabulary_size=11, target_vocabulary_size=13, units=6,
                      encoder_units=5, embedding_dim=3)  # fmt: skip
    model.build_from_inputs()
    before = np.asarray(model(TOKENS))
    found = kz.inspect.lstm_gates(model, TOKENS)
    assert set(found) == {"encoder.forward_0", "encoder.backward_0", "decoder.lstm_0"}
    x, valid = np.asarray(model.source_embedding(TOKENS["source"])), TOKENS["source"] != 0
    for path, layer in (
        ("forward_0", model.encoder.forward_layers[0]),
        ("backward_0", model.encoder.backward_layers[0]),
    ):
        expected = numpy_gates(layer, x, valid)
        np.testing.assert_allclose(np.stack(found[f"encoder.{path}"]), expected, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(model(TOKENS)), before)


def test_the_outputs_of_a_decoder_are_those_of_its_layer():
    model = kz.create("lstm_lm", vocabulary_size=11, units=5, embedding_dim=3)
    model.build_from_inputs()
    outputs = []

    def recorded(call):
        def recorded_call(*args, **kwargs):
            outputs.append(call(*args, **kwargs))
            return outputs[-1]

        return recorded_call

    with replaced_calls([(model.decoder.recurrences[0], recorded)]):
        found = kz.inspect.lstm_gates(model, {"targets": TOKENS["targets"]})["decoder.lstm_0"]
    np.testing.assert_allclose(found.outputs, np.asarray(outputs[0][0]), atol=1e-5)
    np.testing.assert_allclose(found.state[:, -1], np.asarray(outputs[0][1][1]), atol=1e-5)


def test_a_model_without_an_lstm_has_none_and_gates_are_drawn():
    assert kz.inspect.lstm_gates(kz.create("mlp_classifier", input_shape=(5,)), {"source": np.ones((1, 5))}) == {}
    gates = kz.inspect.LSTMGates(*np.random.default_rng(0).random((6, 7, 5)))
    gates.state[3] = np.nan  # padding
    assert kz.inspect.draw_gates(gates, list("abcdefg"), "a title")[:4] == b"\x89PNG"
