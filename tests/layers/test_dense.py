"""The dense encoder and decoder: ranks, masks, penalties, and the cached step."""

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo.layers import DenseDecoder, DenseEncoder

B, T, S, D, U, W = 3, 7, 5, 11, 13, 2
MASK = np.arange(S)[None] < np.array([[S], [2], [1]])


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(got), ops.convert_to_numpy(expected), tolerance, tolerance)


def source(width=17):
    return {"sequence": floats(B, S, width, seed=1), "mask": MASK}


def perceptron(layer, x):
    for dense in layer.dense_layers:
        kernel, bias = dense.get_weights()
        x = np.maximum(x @ kernel + bias, 0)
    return x


@pytest.mark.parametrize("shape", [(B, D), (B, S, D), (B, 2, 5, 7)])
def test_encoder_equals_numpy_for_vectors_positions_and_images(shape):
    encoder, inputs = DenseEncoder(units=(U, 17)), floats(*shape)
    encoded = encoder(inputs)
    positions = inputs if len(shape) == 3 else inputs.reshape(B, 1, -1)
    close(encoded["sequence"], perceptron(encoder, positions))
    assert encoded["sequence"].shape == (B, positions.shape[1], 17)
    assert encoded["mask"].shape == (B, positions.shape[1]) and np.all(encoded["mask"])


def test_encoder_has_the_sizes_of_the_dense_autoencoder():
    encoder = DenseEncoder()
    encoder.build((None, 784))
    assert [w.shape for w in encoder.weights] == [(784, 128), (128,), (128, 128), (128,)]


def test_a_flattened_sequence_is_one_vector():
    encoder, inputs = DenseEncoder(units=(U, 17), flatten=True), floats(B, S, D)
    encoded = encoder(inputs, padding_mask=MASK)
    close(encoded["sequence"], perceptron(encoder, inputs.reshape(B, 1, S * D)))
    assert np.asarray(encoded["mask"]).tolist() == [[True]] * B
    with pytest.raises(ValueError, match="`inputs` must have known features; got shape"):
        DenseEncoder(U, flatten=True).build((None, None, D))


def test_encoder_passes_the_mask_of_positions_on():
    assert np.array_equal(DenseEncoder(U)(floats(B, S, D), padding_mask=MASK)["mask"], MASK)


@pytest.mark.parametrize("penalty", ["l2", keras.regularizers.L1(0.3)])
def test_penalties_by_name_or_object_count_every_kernel_and_output(penalty):
    encoder = DenseEncoder((U, 17), kernel_regularizer=penalty)
    x = floats(B, D)
    encoder(x)
    kernels = [dense.kernel for dense in encoder.dense_layers]
    close(sum(encoder.losses), sum(keras.regularizers.get(penalty)(kernel) for kernel in kernels))

    encoder = DenseEncoder(U, activity_regularizer=penalty)
    outputs = encoder(x)["sequence"]
    close(sum(encoder.losses), keras.regularizers.get(penalty)(outputs) / B)
    again = DenseEncoder.from_config(encoder.get_config())
    assert again.get_config() == encoder.get_config()


def test_dropout_acts_in_training_only():
    decoder, inputs = DenseDecoder(U, dropout=0.5), floats(B, T, D)
    close(decoder(inputs, training=False), decoder(inputs))
    assert not np.allclose(decoder(inputs, training=True), decoder(inputs))
    encoder = DenseEncoder(U, dropout=0.5)
    close(encoder(inputs, training=False)["sequence"], encoder(inputs)["sequence"])
    assert not np.allclose(encoder(inputs, training=True)["sequence"], encoder(inputs)["sequence"])


def test_decoder_without_inputs_reads_the_mean_of_the_valid_positions():
    decoder = DenseDecoder((U, 17))
    outputs = decoder(None, source())
    mean = np.stack([sequence[mask].mean(0) for sequence, mask in zip(source()["sequence"], MASK)])
    assert outputs.shape == (B, 17)
    close(outputs, perceptron(decoder, mean))
    noisy = {**source(), "sequence": np.where(MASK[..., None], source()["sequence"], 100.0)}
    close(decoder(None, noisy), outputs)


def test_decoder_with_inputs_sees_its_own_position_and_the_mean():
    decoder, inputs = DenseDecoder(U), floats(B, T, D)
    outputs = decoder(inputs, source())
    changed = np.concatenate([inputs[:, :4], inputs[:, 4:5] + 1, inputs[:, 5:]], axis=1)
    differs = np.any(~np.isclose(decoder(changed, source()), outputs), axis=(0, 2))
    assert differs.tolist() == [False] * 4 + [True] + [False] * 2


@pytest.mark.parametrize("encoded", [None, source()], ids=["alone", "encoded"])
def test_step_by_step_equals_the_full_pass_with_beams(encoded):
    decoder, inputs = DenseDecoder((U, 17)), floats(B * W, T, D)
    expected = decoder(inputs, encoded and {name: np.repeat(x, W, axis=0) for name, x in encoded.items()})
    cache = decoder.start(B, T, encoded)
    assert cache["state"] == {}
    for t in range(T):
        outputs, cache = decoder.step(inputs[:, t], cache, t)
        close(outputs, expected[:, t])


def test_a_saved_decoder_without_inputs_loads(tmp_path):
    symbols = {
        "sequence": keras.Input((None, 17), name="sequence"),
        "mask": keras.Input((None,), dtype="bool", name="mask"),
    }
    model = keras.Model(symbols, DenseDecoder(U)(None, symbols))
    model.save(tmp_path / "model.keras")
    close(keras.saving.load_model(tmp_path / "model.keras")(source()), model(source()))


def twice(layer, first, second):
    layer(*first)
    layer(*second)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DenseEncoder(()), ValueError, r"DenseEncoder: `units` must have at least one .* units=\(\)"),
        (lambda: DenseEncoder((3, 0)), ValueError, r"DenseEncoder: `units\[1\]` must be .* got units\[1\]=0"),
        (lambda: DenseEncoder("128"), TypeError, r"DenseEncoder: `units` must be an integer .* units='128'"),
        (lambda: DenseEncoder(U, dropout=1), ValueError, r"DenseEncoder: `dropout` .* dropout=1"),
        (lambda: DenseEncoder(U)(floats(B)), ValueError, r"DenseEncoder: `inputs` must have 2 or 3 or 4 axes"),
        (
            lambda: DenseEncoder(U)(keras.Input((None, 5, 1))),
            ValueError,
            r"DenseEncoder: `inputs` must have known features; got shape \(None, None, 5, 1\)",
        ),
        (lambda: DenseDecoder(-1), ValueError, r"DenseDecoder: `units\[0\]` .* units\[0\]=-1"),
        (lambda: DenseDecoder(U)(floats(B, D)), ValueError, r"DenseDecoder: `inputs` must have 3 axes"),
        (lambda: DenseDecoder(U).build(), ValueError, r"`inputs` or `encoded` is needed; got inputs=None"),
        (
            lambda: twice(DenseDecoder(U), (floats(B, T, D),), (None, source())),
            ValueError,
            r"DenseDecoder: `inputs` and `encoded` .* had \['inputs'\]; got \['encoded'\]",
        ),
    ],
)
def test_errors_name_argument_and_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
