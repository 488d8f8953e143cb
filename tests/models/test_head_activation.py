"""Logits or probabilities: the activation of the head, and the warning where a loss expects the other."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops
from toys import jitted, not_on_jax

import kerazoo as kz

param = pytest.param
FROM_LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
IMAGES = np.random.default_rng(0).random((3, 5)).astype("float32")


def dense(**options):
    return kz.models.DenseAutoencoder((5,), (7,), decoder_units=(3,), output_size=1, **options)


def compile_warnings(model, loss):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.compile("sgd", loss)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    "make",
    [
        dense,
        lambda **options: kz.models.MLPClassifier((5,), (7,), num_classes=3, **options),
        param(lambda **options: kz.models.CNNClassifier((5, 1, 1), (7,), num_classes=3, **options), marks=not_on_jax),
        param(
            lambda **options: kz.models.TransformerClassifier(
                3, input_shape=(5, 1), num_layers=1, hidden_dim=8, num_heads=2, **options
            ),
            marks=not_on_jax,
        ),
        lambda **options: kz.create("dense+classifier", num_classes=3, input_shape=(5,), **options),
        lambda **options: kz.create("dense+dense", input_shape=(5,), **options),
    ],
)
def test_families_have_an_activation_of_the_head(make):
    keras.utils.set_random_seed(0)
    logits, probabilities = make(), make(head_activation="sigmoid", dtype="mixed_bfloat16")
    logits.build_from_inputs(), probabilities.build_from_inputs()
    probabilities.set_weights(logits.get_weights())
    inputs = logits.build_inputs(3)
    inputs["source"] = IMAGES.reshape(inputs["source"].shape)
    expected = 1 / (1 + np.exp(-ops.convert_to_numpy(jitted(logits, logits.variables)(inputs))))
    found = ops.convert_to_numpy(jitted(probabilities, probabilities.variables)(inputs))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_callable_activation_is_saved(tmp_path):
    model = dense(head_activation=keras.activations.sigmoid)
    model.build_from_inputs()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(IMAGES), model(IMAGES), atol=1e-6)
    assert again.head_activation is keras.activations.sigmoid


@pytest.mark.parametrize(
    "loss",
    ["binary_crossentropy", "BinaryCrossentropy", keras.losses.BinaryCrossentropy(), keras.losses.binary_crossentropy,
     "binary_focal_crossentropy", "kl_divergence", ["binary_crossentropy"]],
)  # fmt: skip
def test_probabilities_expected_of_logits(loss):
    (message,) = compile_warnings(dense(), loss)
    assert message.startswith("DenseAutoencoder: loss=") and "(head_activation=None)" in message
    assert message.endswith("Pass a loss with from_logits=True, or head_activation='sigmoid' or 'softmax'.")
    assert compile_warnings(dense(head_activation="sigmoid"), loss) == []


def test_logits_expected_of_probabilities():
    (message,) = compile_warnings(dense(head_activation="sigmoid"), FROM_LOGITS)
    assert "BinaryCrossentropy expects logits, but the model returns probabilities" in message
    (message,) = compile_warnings(dense(head_activation="softmax"), kz.training.SparseCrossentropy())
    assert "SparseCrossentropy expects logits" in message and "head_activation='softmax'" in message


@pytest.mark.parametrize("loss", [FROM_LOGITS, "mse", None, kz.training.SparseCrossentropy()])
def test_losses_that_fit_are_silent(loss):
    assert compile_warnings(dense(), loss) == []
    assert compile_warnings(dense(head_activation="relu"), FROM_LOGITS) == []


def test_models_of_tokens_return_logits():
    (message,) = compile_warnings(kz.create("lstm_seq2seq"), "sparse_categorical_crossentropy")
    assert message.startswith("LSTMSeq2Seq: loss='sparse_categorical_crossentropy' expects probabilities")
    assert message.endswith("Pass a loss with from_logits=True.")


@not_on_jax
def test_digits_are_learnt_with_the_loss_that_fits():
    """What the warning is for: the same training with the string loss of every tutorial stays near chance."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = (digits.data / 16).astype("float32"), digits.target
    accuracy = {}
    for activation in (None, "softmax"):
        keras.utils.set_random_seed(0)
        model = kz.models.MLPClassifier((64,), (32,), head_activation=activation)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
        accuracy[activation] = model.fit(images, labels, batch_size=64, epochs=5, verbose=0).history["accuracy"][-1]
    assert accuracy["softmax"] > 0.9 and accuracy[None] < 0.5, accuracy


def test_dropout_of_a_classifier_computes_in_the_dtype_of_its_policy():
    model = kz.models.Classifier(kz.layers.DenseEncoder(7), 3, dropout=0.1, dtype="mixed_bfloat16")
    assert model.dropout.compute_dtype == model.head.compute_dtype == "bfloat16"
