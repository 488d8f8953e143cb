"""The LSTM decoder and its attention: the cached step, beams, first states and masks."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import oracles
from kerazoo import _backend
from kerazoo.layers import AlignmentAttention, LSTMDecoder, LSTMEncoder

pytestmark = not_on_jax  # the contracts of layers and of models run there

B, T, S, D, U, W = 3, 7, 5, 11, 13, 2
MASK = np.arange(S)[None] < np.array([[S], [2], [1]])
ATTENTION = pytest.mark.parametrize("attention", [None, "additive", "multiplicative"])


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(got), ops.convert_to_numpy(expected), tolerance, tolerance)


def encoded(width=U, layers=1, state=True):
    found = {"sequence": floats(B, S, width, seed=4), "mask": MASK}
    states = tuple((floats(B, width, seed=5 + i), floats(B, width, seed=50 + i)) for i in range(layers))
    return {**found, "state": states} if state else found


def stepped(decoder, inputs, cache):
    """The outputs of one step after another, compiled as a search would compile it."""
    step = _backend.compile(decoder.step, decoder.variables)
    outputs = []
    for t in range(inputs.shape[1]):
        output, cache = step(inputs[:, t], cache, np.int32(t))
        outputs.append(ops.convert_to_numpy(output))
    return np.stack(outputs, 1)


@ATTENTION
@pytest.mark.parametrize("layers", [1, 2])
def test_step_by_step_equals_the_full_pass(attention, layers):
    decoder = LSTMDecoder(U, layers, attention=attention)
    inputs, source = floats(B, T, D), encoded(17, 2)
    expected = decoder(inputs, source)
    cache = decoder.start(B, T, source)
    assert set(cache) == {"state", "memory"}
    assert (cache["memory"] == {}) == (attention is None)
    close(stepped(decoder, inputs, cache), expected)


@ATTENTION
def test_beams_share_the_memory_of_their_source(attention):
    """Row b * W + w of the state belongs to source b; the memory stays as it is."""
    decoder = LSTMDecoder(U, attention=attention)
    inputs, source = floats(B * W, T, D), encoded()
    repeated = keras.tree.map_structure(lambda x: np.repeat(x, W, axis=0), source)
    expected = decoder(inputs, repeated)
    cache = decoder.start(B, T, source)
    cache["state"] = keras.tree.map_structure(lambda x: ops.repeat(x, W, axis=0), cache["state"])
    close(stepped(decoder, inputs, cache), expected)


@ATTENTION
def test_step_keeps_dtypes_and_shapes_for_a_loop(attention):
    decoder = LSTMDecoder(U, attention=attention, dtype="mixed_bfloat16")
    decoder(floats(B, T, D), encoded())
    cache = decoder.start(B, T, encoded())
    output, after = decoder.step(ops.cast(floats(B, D), "bfloat16"), cache, 0)
    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"
    for old, new in zip(
        keras.tree.flatten(cache), keras.tree.flatten({name: after[name] for name in cache}), strict=True
    ):
        assert (old.dtype, old.shape) == (new.dtype, new.shape)


def test_without_an_encoder_the_state_starts_at_zero():
    decoder = LSTMDecoder(U, num_layers=2)
    inputs = floats(B, T, D)
    expected = decoder(inputs)
    cache = decoder.start(B, T)
    assert cache["memory"] == {}
    assert not any(np.any(part) for part in keras.tree.flatten(cache["state"]))
    close(stepped(decoder, inputs, cache), expected)


@pytest.mark.parametrize(("encoder_layers", "layers", "taken"), [(3, 2, [1, 2]), (1, 3, [0, 0, 0]), (2, 2, [0, 1])])
def test_states_of_the_same_width_are_taken_as_they_are_from_the_top(encoder_layers, layers, taken):
    decoder, source = LSTMDecoder(U, layers), encoded(U, encoder_layers)
    decoder(floats(B, T, D), source)
    states = decoder.start(B, T, source)["state"]
    for state, index in zip(states, taken, strict=True):
        close(state[0], source["state"][index][0])
        close(state[1], source["state"][index][1])


def test_states_of_another_width_go_through_a_dense_layer():
    source = LSTMEncoder(17, bidirectional=True)(floats(B, S, D), padding_mask=MASK)
    decoder = LSTMDecoder(U)
    assert decoder(floats(B, T, D), source).shape == (B, T, U)
    kernel, bias = decoder.bridges[0].get_weights()
    expected = np.concatenate([np.asarray(part) for part in source["state"][0]], -1) @ kernel + bias
    (h, c), *_ = decoder.start(B, T, source)["state"]
    close(h, np.tanh(expected[:, :U]))
    close(c, expected[:, U:])


def test_without_states_the_mean_of_the_valid_positions_starts_the_decoder():
    source, decoder = encoded(17, state=False), LSTMDecoder(U, num_layers=2)
    decoder(floats(B, T, D), source)
    mean = np.stack([sequence[mask].mean(0) for sequence, mask in zip(source["sequence"], MASK)])
    for bridge, (h, c) in zip(decoder.bridges, decoder.start(B, T, source)["state"], strict=True):
        expected = mean @ bridge.get_weights()[0]
        close(h, np.tanh(expected[:, :U]))
        close(c, expected[:, U:])


@ATTENTION
def test_no_output_sees_the_future_or_the_padding_of_the_source(attention):
    decoder, inputs, source = LSTMDecoder(U, attention=attention), floats(B, T, D), encoded()
    expected = decoder(inputs, source)
    later = np.concatenate([inputs[:, :4], inputs[:, 4:] + 1], axis=1)
    close(decoder(later, source)[:, :4], expected[:, :4])
    noisy = {**source, "sequence": np.where(MASK[..., None], source["sequence"], 100.0)}
    close(decoder(inputs, noisy), expected)


def test_padding_of_the_targets_changes_no_valid_position():
    decoder, inputs, source = LSTMDecoder(U, attention="additive"), floats(B, T, D), encoded()
    mask = np.arange(T)[None] < np.array([[T], [3], [1]])
    expected = np.asarray(decoder(inputs, source))
    noisy = np.where(mask[..., None], inputs, 100.0)
    close(np.asarray(decoder(noisy, source, padding_mask=mask))[mask], expected[mask])


@pytest.mark.parametrize("score", ["additive", "multiplicative"])
def test_attention_equals_numpy(score):
    attention = AlignmentAttention(U, score)
    queries, sequence = floats(B, T, U), floats(B, S, D, seed=1)
    context, weights = attention(queries, sequence, MASK)
    key = attention.key_dense.get_weights()
    other = []
    if score == "additive":
        attention.query_dense.set_weights([attention.query_dense.get_weights()[0], floats(U, seed=2)])
        context, weights = attention(queries, sequence, MASK)
        other = [*attention.query_dense.get_weights(), attention.energy_dense.get_weights()[0][:, 0]]
    expected = oracles.alignment(queries, sequence, MASK, *key, *other)
    close(context, expected[0])
    close(weights, expected[1])


def test_attention_weights_can_be_had():
    decoder = LSTMDecoder(U, attention="multiplicative")
    outputs, weights = decoder(floats(B, T, D), encoded(), return_attention_scores=True)
    close(outputs, decoder(floats(B, T, D), encoded()))
    weights = np.asarray(weights)
    assert weights.shape == (B, T, S)
    close(weights.sum(-1), np.ones((B, T)))
    assert not np.any(np.moveaxis(weights, 1, 2)[~MASK])


def test_a_source_of_padding_only_gives_finite_numbers():
    decoder = LSTMDecoder(U, attention="additive")
    source = {**encoded(state=False), "mask": np.zeros((B, S), bool)}
    assert np.all(np.isfinite(decoder(floats(B, T, D), source)))


def test_dropout_acts_in_training_only():
    decoder, inputs = LSTMDecoder(U, attention="additive", dropout=0.3, recurrent_dropout=0.3), floats(B, T, D)
    expected = decoder(inputs, encoded())
    close(decoder(inputs, encoded(), training=False), expected)
    assert not np.allclose(decoder(inputs, encoded(), training=True), expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about graphs of TensorFlow")
def test_batch_and_lengths_may_be_unknown():
    import tensorflow as tf

    decoder, source = LSTMDecoder(U, attention="additive"), encoded()
    expected = decoder(floats(B, T, D), source)
    specs = keras.tree.map_structure(lambda x: tf.TensorSpec((None, *[None] * (x.ndim > 2)), x.dtype), source)
    specs["sequence"] = tf.TensorSpec((None, None, U))
    specs["mask"] = tf.TensorSpec((None, None), tf.bool)
    specs["state"] = keras.tree.map_structure(lambda x: tf.TensorSpec((None, U)), source["state"])

    @tf.function(input_signature=[tf.TensorSpec((None, None, D)), specs])
    def first(inputs, source):
        cache = decoder.start(tf.shape(inputs)[0], tf.shape(inputs)[1], source)
        return decoder(inputs, source), decoder.step(inputs[:, 0], cache, 0)[0]

    outputs, step = first(floats(B, T, D), source)
    close(outputs, expected)
    close(step, expected[:, 0])


def with_encoder(decoder, first, second):
    decoder(floats(B, T, D), first)
    decoder(floats(B, T, D), second)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LSTMDecoder(-1), ValueError, r"LSTMDecoder: `units` .* units=-1"),
        (lambda: LSTMDecoder(U, True), TypeError, r"LSTMDecoder: `num_layers` .* num_layers=True"),
        (lambda: LSTMDecoder(U, attention="additiv"), ValueError, r"attention='additiv'.* Did you mean 'additive'"),
        (lambda: LSTMDecoder(U, dropout=1.0), ValueError, r"LSTMDecoder: `dropout` .* dropout=1.0"),
        (lambda: LSTMDecoder(U, recurrent_dropout=1.5), ValueError, r"`recurrent_dropout` .* recurrent_dropout=1.5"),
        (lambda: LSTMDecoder(U)(floats(B, D)), ValueError, r"LSTMDecoder: `inputs` must have 3 axes"),
        (
            lambda: LSTMDecoder(U, attention="additive")(floats(B, T, D)),
            ValueError,
            r"LSTMDecoder: `encoded` is needed for attention='additive'; got encoded=None",
        ),
        (
            lambda: with_encoder(LSTMDecoder(U), encoded(), encoded(state=False)),
            ValueError,
            r"LSTMDecoder: `encoded` must be of the kind .* 'state', got 'sequence'",
        ),
        (lambda: with_encoder(LSTMDecoder(U), None, encoded()), ValueError, r"from None, got 'state'"),
        (lambda: AlignmentAttention(U, "dot"), ValueError, r"AlignmentAttention: `score` .* score='dot'"),
        (lambda: AlignmentAttention(0), ValueError, r"AlignmentAttention: `units` .* units=0"),
        (
            lambda: AlignmentAttention(U)(floats(B, T, D), floats(B, S, D)),
            ValueError,
            r"`units` must be the width of the queries .* units=13, queries of width 11. Try units=11",
        ),
        (lambda: AlignmentAttention(U)(floats(B, U), floats(B, S, D)), ValueError, r"`queries` must have 3 axes"),
        (lambda: AlignmentAttention(U)(floats(B, T, U), floats(B, D)), ValueError, r"`sequence` must have 3 axes"),
    ],
)
def test_errors_name_argument_and_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
