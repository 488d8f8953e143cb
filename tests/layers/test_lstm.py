"""The LSTM recurrence and the encoder made of it, against Keras and against plain NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

import oracles
from kerazoo.layers import LSTM, LSTMEncoder, lstm
from kerazoo.layers.dropout import dropout

B, T, D, U = 3, 5, 7, 11
RIGHT = np.arange(T)[None] < np.array([[T], [2], [1]])
ANY = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [0, 1, 0, 0, 0]], bool)
MASKS = pytest.mark.parametrize("mask", [None, RIGHT, ANY], ids=["none", "right", "any"])
REVERSE = pytest.mark.parametrize("reverse", [False, True])
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about graphs of TensorFlow")


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(got), ops.convert_to_numpy(expected), tolerance, tolerance)


def built(reverse=False, **options):
    """A recurrence ancestry biases are not zero, and its weights."""
    layer = LSTM(U, reverse=reverse, **options)
    layer.build((None, None, D))
    layer.set_weights([*layer.get_weights()[:2], floats(4 * U, seed=3)])
    return layer, layer.get_weights()


@MASKS
@REVERSE
def test_recurrence_equals_numpy(mask, reverse):
    layer, weights = built(reverse)
    inputs, h, c = floats(B, T, D), floats(B, U, seed=1), floats(B, U, seed=2)
    outputs, state = layer(inputs, initial_state=(h, c), padding_mask=mask)
    expected = oracles.lstm(inputs, h, c, *weights, mask=mask, reverse=reverse)
    for got, value in zip((outputs, *state), expected):
        close(got, value)


@MASKS
@REVERSE
def test_weights_of_keras_give_the_outputs_of_keras(mask, reverse):
    theirs = keras.layers.LSTM(U, return_sequences=True, return_state=True, go_backwards=reverse)
    inputs = floats(B, T, D)
    expected, h, c = theirs(inputs, mask=mask)
    ours = LSTM(U, reverse=reverse)
    ours.build(inputs.shape)
    ours.set_weights(theirs.get_weights())
    outputs, state = ours(inputs, padding_mask=mask)
    expected = np.asarray(expected)[:, ::-1] if reverse else np.asarray(expected)
    close(outputs, expected if mask is None else expected * mask[..., None])  # Keras repeats, we give zeros
    close(state[0], h)
    close(state[1], c)


def test_bias_of_the_forget_gate_starts_at_one():
    layer = LSTM(U)
    layer.build((None, None, D))
    bias = layer.get_weights()[2]
    assert bias.tolist() == [0] * U + [1] * U + [0] * 2 * U


@MASKS
@REVERSE
def test_the_fused_kernel_of_keras_gets_the_right_inputs(mask, reverse, monkeypatch):
    """Without a GPU Keras uses its own loop: what is around it is tested here."""
    mask = RIGHT & np.array([[True], [True], [False]]) if mask is ANY else mask  # a padding row
    layer, _ = built(reverse)
    inputs, state = floats(B, T, D), (floats(B, U, seed=1), floats(B, U, seed=2))
    expected, last = layer(inputs, initial_state=state, padding_mask=mask)
    monkeypatch.setattr(lstm, "_keras_has_fused_kernel", lambda masked: True)
    outputs, fused = layer(inputs, initial_state=state, padding_mask=mask)
    for got, value in zip((outputs, *fused), (expected, *last)):
        close(got, value)


@pytest.mark.gpu
@REVERSE
def test_cudnn_equals_our_loop(reverse):
    layer, _ = built(reverse)
    for mask in (None, RIGHT):
        layer.use_cudnn = "auto"
        outputs, state = layer(floats(B, T, D), padding_mask=mask)
        layer.use_cudnn = False
        expected, last = layer(floats(B, T, D), padding_mask=mask)
        for got, value in zip((outputs, *state), (expected, *last)):
            close(got, value, 1e-3)


def test_step_by_step_equals_the_whole_sequence():
    layer, _ = built()
    inputs = floats(B, T, D)
    expected, last = layer(inputs)
    state = layer.zero_state(B)
    for t in range(T):
        outputs, state = layer.step(inputs[:, t], state)
        close(outputs, expected[:, t])
    close(state[1], last[1])


def test_recurrent_dropout_draws_once_for_a_sequence():
    layer, weights = built(recurrent_dropout=0.4, seed=13)
    inputs, zeros = floats(B, T, D), np.zeros((B, U), "float32")
    keep = dropout(ops.ones((B, U)), 0.4, keras.random.SeedGenerator(13))
    expected, *_ = oracles.lstm(inputs, zeros, zeros, *weights, keep=np.asarray(keep))
    close(layer(inputs, training=True)[0], expected)
    assert not np.allclose(layer(inputs, training=True)[0], expected)  # the next call samples anew
    close(layer(inputs)[0], oracles.lstm(inputs, zeros, zeros, *weights)[0])


@REVERSE
def test_padding_changes_no_valid_position(reverse):
    layer, _ = built(reverse)
    inputs = floats(B, T, D)
    noisy = np.where(ANY[..., None], inputs, 100.0)
    outputs, state = layer(inputs, padding_mask=ANY)
    again, other = layer(noisy, padding_mask=ANY)
    for got, value in zip((again, *other), (outputs, *state)):
        close(got, value)
    assert not np.any(np.asarray(outputs)[~ANY])


def test_a_padded_row_is_encoded_as_if_alone():
    encoder = LSTMEncoder(U, bidirectional=True)
    inputs, row, length = floats(B, T, D), 1, 2
    assert RIGHT[row].sum() == length
    encoded = encoder(inputs, padding_mask=RIGHT)
    alone = encoder(inputs[row : row + 1, :length])
    close(encoded["sequence"][row, :length], alone["sequence"][0])
    for (h, c), (h_alone, c_alone) in zip(encoded["state"], alone["state"], strict=True):
        close(h[row], h_alone[0])
        close(c[row], c_alone[0])


def test_the_encoder_gives_sequence_mask_and_the_state_of_every_layer():
    width = 2 * U
    encoded = LSTMEncoder(U, num_layers=2, bidirectional=True)(floats(B, T, D))
    assert set(encoded) == {"sequence", "mask", "state"}
    assert encoded["sequence"].shape == (B, T, width)
    assert encoded["mask"].shape == (B, T) and np.all(encoded["mask"])
    assert [(h.shape, c.shape) for h, c in encoded["state"]] == [((B, width), (B, width))] * 2
    h, _ = encoded["state"][-1]
    close(h[:, :U], encoded["sequence"][:, -1, :U])  # forward ends at the last position
    close(h[:, U:], encoded["sequence"][:, 0, U:])  # backward ends at the first


def test_dropout_of_the_encoder_acts_in_training_only():
    encoder = LSTMEncoder(U, dropout=0.5, recurrent_dropout=0.3)
    inputs = floats(B, T, D)
    expected = encoder(inputs)["sequence"]
    close(encoder(inputs, training=False)["sequence"], expected)
    assert not np.allclose(encoder(inputs, training=True)["sequence"], expected)


@tensorflow_only
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("length", [T, None])
def test_gradients_in_compiled_tensorflow(jit, length):
    import tensorflow as tf

    layer, _ = built()
    values = [w.value for w in layer.trainable_weights]

    def gradients(inputs, mask):
        with tf.GradientTape() as tape:
            outputs, (h, c) = layer(inputs, padding_mask=mask)
            value = ops.sum(outputs**2) + ops.sum(h * c)
        return tape.gradient(value, values)

    signature = [tf.TensorSpec((None, length, D)), tf.TensorSpec((None, length), tf.bool)]
    compiled = tf.function(gradients, input_signature=signature, jit_compile=jit)
    inputs = tf.constant(floats(B, T, D))
    for got, value in zip(compiled(inputs, ANY), gradients(inputs, tf.constant(ANY))):
        close(got, value)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="about programs of JAX")
def test_gradients_in_compiled_jax():
    import jax

    layer, _ = built()

    def value(weights):
        (outputs, (h, c)), _ = layer.stateless_call(weights, others, floats(B, T, D), padding_mask=ANY)
        return ops.sum(outputs**2) + ops.sum(h * c)

    weights, others = ([w.value for w in ws] for ws in (layer.trainable_weights, layer.non_trainable_variables))
    for got, expected in zip(jax.jit(jax.grad(value))(weights), jax.grad(value)(weights)):
        close(got, expected)


@tensorflow_only
def test_an_exported_encoder_takes_any_batch_and_length(tmp_path):
    import tensorflow as tf

    encoder = LSTMEncoder(U, bidirectional=True)
    expected = encoder(floats(B, T, D), padding_mask=RIGHT)["sequence"]
    archive = keras.export.ExportArchive()
    archive.track(encoder)
    signature = [tf.TensorSpec((None, None, D)), tf.TensorSpec((None, None), tf.bool)]
    archive.add_endpoint("encode", lambda x, mask: encoder(x, padding_mask=mask)["sequence"], signature)
    archive.write_out(str(tmp_path), verbose=False)
    served = tf.saved_model.load(str(tmp_path))
    close(served.encode(tf.constant(floats(B, T, D)), tf.constant(RIGHT)), expected)
    assert served.encode(tf.ones((2, 13, D)), tf.ones((2, 13), tf.bool)).shape == (2, 13, 2 * U)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LSTM(0), ValueError, r"LSTM: `units` .* units=0"),
        (lambda: LSTM(U, recurrent_dropout=1), ValueError, r"LSTM: `recurrent_dropout` .* recurrent_dropout=1"),
        (lambda: LSTM(U, use_cudnn="yes"), ValueError, r"LSTM: `use_cudnn` .* use_cudnn='yes'"),
        (lambda: LSTM(U)(floats(B, D)), ValueError, r"LSTM: `inputs` must have 3 axes; got shape \(3, 7\)"),
        (lambda: LSTMEncoder(2.5), TypeError, r"LSTMEncoder: `units` .* units=2.5"),
        (lambda: LSTMEncoder(U, num_layers=0), ValueError, r"LSTMEncoder: `num_layers` .* num_layers=0"),
        (lambda: LSTMEncoder(U, dropout=-0.1), ValueError, r"LSTMEncoder: `dropout` .* dropout=-0.1"),
        (lambda: LSTMEncoder(U, recurrent_dropout=2), ValueError, r"`recurrent_dropout` .* recurrent_dropout=2"),
        (lambda: LSTMEncoder(U)(floats(B, D)), ValueError, r"LSTMEncoder: `inputs` must have 3 axes"),
    ],
)
def test_errors_name_argument_and_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
