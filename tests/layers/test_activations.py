"""Activations by name, as callables and one per layer; initializers and epsilon of the layers that take them."""

import keras
import numpy as np
import pytest
from keras import ops

import oracles
from kerazoo import layers
from kerazoo.layers.activations import get_activation, serialize_activation
from kerazoo.layers.initializers import clone_initializer

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="nothing here depends on the backend, and eager calls are slow on JAX",
)

B, T, D, U = 3, 5, 12, 11
RNG = np.random.default_rng(31)
X = RNG.normal(size=(B, T, D)).astype("float32")
ENCODED = {"sequence": RNG.normal(size=(B, 7, 13)).astype("float32"), "mask": np.ones((B, 7), bool)}
SIZES = {"hidden_dim": D, "num_heads": 3, "intermediate_dim": U}


@keras.saving.register_keras_serializable(package="tests")
def cube(x):
    return x * x * x


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(got), ops.convert_to_numpy(expected), tolerance, tolerance)


def test_a_name_a_callable_a_configuration_and_none_give_a_function():
    for value in ("gelu", layers.gelu, "relu", cube, keras.activations.serialize(cube), None):
        function = get_activation("Owner", value)
        assert callable(function)
        assert get_activation("Owner", serialize_activation(function)) is function
    close(get_activation("Owner", "gelu")(X), oracles.gelu(X))
    close(get_activation("Owner", None)(X), X, 0)
    with pytest.raises(ValueError, match="Owner: `activation` must be the name .*got activation='rellu'.*mean 'relu'"):
        get_activation("Owner", "rellu")
    with pytest.raises(ValueError, match="Owner: `activation` .*got activation=3"):
        get_activation("Owner", 3)


def test_a_dense_encoder_may_have_relu_after_its_first_layer_only():
    encoder = layers.DenseEncoder((17, U, 7), activation=("relu", None, None))
    x = RNG.normal(size=(B, 23)).astype("float32")
    got, weights = encoder(x)["sequence"], [ops.convert_to_numpy(w) for w in encoder.weights]
    expected = np.maximum(x @ weights[0] + weights[1], 0) @ weights[2] + weights[3]
    close(got[:, 0], expected @ weights[4] + weights[5])
    assert encoder.get_config()["activation"] == ["relu", None, None]


CASES = {
    "dense_encoder": lambda **options: layers.DenseEncoder((U, 7), **options),
    "dense_decoder": lambda **options: layers.DenseDecoder((U, 7), **options),
    "conv_encoder": lambda **options: layers.ConvEncoder((U, 7), **options),
    "transformer_encoder": lambda **options: layers.TransformerEncoder(2, **SIZES, **options),
    "transformer_decoder": lambda **options: layers.TransformerDecoder(2, **SIZES, cross_attention=False, **options),
}


@pytest.mark.parametrize("name", CASES)
def test_one_activation_per_layer(name):
    same, other = CASES[name](activation=["relu", "tanh"]), CASES[name](activation=[cube, "tanh"])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(other))
    for layer in (same, other, again):
        layer(X)
        layer.set_weights(same.get_weights())
    outputs = [keras.tree.flatten(layer(X))[-1] for layer in (same, other, again)]
    assert not np.allclose(outputs[0], outputs[1], atol=1e-3)
    close(outputs[1], outputs[2])
    with pytest.raises(ValueError, match=rf"{type(same).__name__}: `activation` .* 2 layers; got activation=\('relu',"):
        CASES[name](activation=("relu",))
    with pytest.raises(ValueError, match="`activation` must be the name .*got activation='rellu'"):
        CASES[name](activation=("relu", "rellu"))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_activations_of_an_lstm_are_those_of_keras(reverse):
    options = {"activation": "relu", "recurrent_activation": "hard_sigmoid"}
    ours = layers.LSTM(U, reverse=reverse, **options)
    keras_lstm = keras.layers.LSTM(U, return_sequences=True, go_backwards=reverse, **options)
    expected = keras_lstm(X)
    ours(X)
    ours.set_weights([*keras_lstm.get_weights(), *ours.get_weights()[3:]])
    outputs, _ = ours(X)
    close(outputs, np.flip(expected, axis=1) if reverse else expected)
    encoder = layers.LSTMEncoder(U, **options)
    assert [layer.activation for layer in encoder.forward_layers] == [keras.activations.relu]
    decoder = layers.LSTMDecoder(U, num_layers=2, **options)
    assert [layer.recurrent_activation for layer in decoder.recurrences] == [keras.activations.hard_sigmoid] * 2


def test_copies_of_an_initializer_give_different_values():
    initializer = keras.initializers.RandomNormal()
    copy = clone_initializer(initializer)
    assert not np.allclose(initializer((3, 5)), copy((3, 5)))
    assert clone_initializer(None) is None and clone_initializer(cube) is cube
    encoder = layers.TransformerEncoder(2, **SIZES, kernel_initializer=initializer)
    encoder.build((None, None, D))
    first, second = (block.feed_forward.expand.kernel for block in encoder.blocks)
    assert not np.allclose(first, second)


INITIALIZED = {
    "attention": (lambda **options: layers.Attention(D, 3, **options), (X,)),
    "cross_attention": (lambda **options: layers.CrossAttention(D, 3, **options), (X, ENCODED["sequence"])),
    "feed_forward": (lambda **options: layers.FeedForward(D, U, **options), (X,)),
    "encoder_block": (lambda **options: layers.TransformerEncoderBlock(**SIZES, **options), (X,)),
    "decoder_block": (lambda **options: layers.TransformerDecoderBlock(**SIZES, **options), (X, ENCODED)),
    "encoder": (lambda **options: layers.TransformerEncoder(2, **SIZES, **options), (X,)),
    "decoder": (lambda **options: layers.TransformerDecoder(2, **SIZES, **options), (X, ENCODED)),
    "dense": (lambda **options: layers.DenseEncoder((U, 7), **options), (X,)),
}
KERNELS_ONLY = {
    "conv_block": (lambda **options: layers.ConvBlock(U, **options), (X,)),
    "separable_block": (lambda **options: layers.SeparableConvBlock(U, **options), (X,)),
    "shuffle_block": (lambda **options: layers.ShuffleBlock(14, **options), (X,)),
    "conv_encoder": (lambda **options: layers.ConvEncoder((U, 7), block="separable", **options), (X,)),
    "alignment": (lambda **options: layers.AlignmentAttention(U, "additive", **options), (X, ENCODED["sequence"])),
    "lstm": (lambda **options: layers.LSTM(U, **options), (X,)),
    "lstm_encoder": (lambda **options: layers.LSTMEncoder(U, bidirectional=True, **options), (X,)),
    "lstm_decoder": (lambda **options: layers.LSTMDecoder(U, attention="additive", **options), (X, ENCODED)),
}


@pytest.mark.parametrize("name", [*INITIALIZED, *KERNELS_ONLY])
def test_initializers_reach_every_kernel_and_bias(name):
    make, inputs = {**INITIALIZED, **KERNELS_ONLY}[name]
    options = {"kernel_initializer": keras.initializers.Constant(0.25)}
    if name in INITIALIZED:
        options["bias_initializer"] = keras.initializers.Constant(0.5)
    if "lstm" in name:
        options["recurrent_initializer"] = "zeros"
    layer = make(**options)
    layer(*inputs)
    expected = {"kernel": 0.25, "recurrent_kernel": 0, **({"bias": 0.5} if name in INITIALIZED else {})}
    weights = [weight for weight in layer.weights if weight.name in expected]
    assert any(weight.name == "kernel" for weight in weights)
    for weight in weights:
        assert np.all(ops.convert_to_numpy(weight) == expected[weight.name]), weight.path
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_epsilon_reaches_every_normalization():
    for layer in (
        layers.TransformerEncoder(2, **SIZES, epsilon=0.25),
        layers.TransformerDecoder(2, **SIZES, epsilon=0.25, normalization="rms"),
    ):
        norms = [part for part in layer._flatten_layers() if part.name.endswith("norm")]
        assert len(norms) == (5 if isinstance(layer, layers.TransformerEncoder) else 7)
        assert all(norm.epsilon == 0.25 for norm in norms)
    with pytest.raises(ValueError, match="TransformerEncoderBlock: `epsilon` must be a number above 0; got epsilon=0"):
        layers.TransformerEncoder(2, **SIZES, epsilon=0)
