"""Every row of the catalog, made tiny, keeps the contract of models."""

import numpy as np
import pytest
from model_contracts import check_model
from toys import JAX, not_on_jax

import kerazoo as kz
from kerazoo.compress import quantization

TRANSFORMER = {"hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "dropout": 0.0}
SEQ2SEQ = {"source_vocabulary_size": 11, "target_vocabulary_size": 13}
PAIR = {**SEQ2SEQ, **TRANSFORMER, "num_encoder_layers": 1, "num_decoder_layers": 1}
PIXELS = {"image_shape": (3, 5, 1), "hidden_dim": 8, "num_heads": 2, "num_layers": 1, "embedding_dim": 7}
LM = {"vocabulary_size": 13, **TRANSFORMER, "num_layers": 1, "max_length": 17}
TINY = {
    "dense_autoencoder": {"input_shape": (5, 3, 1), "encoder_units": (7, 3), "decoder_units": (11,)},
    "dense_autoencoder_binary": {
        "input_shape": (5,),
        "encoder_units": (7, 3),
        "decoder_units": (11,),
        "encoder_activation": ("tanh",),
        "code_activation": "relu",
    },
    "dense_variational_autoencoder": {
        "input_shape": (5, 3, 1),
        "encoder_units": (7,),
        "latent_dim": 3,
        "decoder_units": (11,),
    },
    "mlp_classifier": {"input_shape": (5,), "units": (7,)},
    "mlp_encoder_classifier": {
        "input_shape": (8, 8, 1),
        "units": (7, 5, 3),
        "activation": ("relu", "tanh", None),
        "num_classes": 1,
    },
    "bag_dual_encoder": {"vocabulary_size": 11, "encoder.units": 7},
    "transformer_dual_encoder": {
        "vocabulary_size": 11,
        "encoder.num_layers": 1,
        "encoder.hidden_dim": 8,
        "encoder.num_heads": 2,
        "encoder.intermediate_dim": 11,
    },
    "transformer_masked_lm_tiny": {
        "vocabulary_size": 11,
        "encoder.num_layers": 1,
        "encoder.hidden_dim": 8,
        "encoder.num_heads": 2,
        "encoder.intermediate_dim": 11,
    },
    "minilm_l6": {
        "vocabulary_size": 11,
        "max_length": 19,
        "encoder.num_layers": 1,
        "encoder.hidden_dim": 8,
        "encoder.num_heads": 2,
        "encoder.intermediate_dim": 11,
    },
    "cnn_classifier": {"input_shape": (8, 8, 1), "filters": (5, 7)},
    "mobilenet_classifier": {"input_shape": (28, 28, 1), "filters": (3, 5, 7), "strides": (1, 2, 2)},
    "shufflenet_classifier": {"input_shape": (8, 8, 1), "filters": (4, 6, 6), "strides": (1, 2, 1)},
    "transformer_classifier": {**TRANSFORMER, "input_shape": (5, 7), "num_layers": 1},
    "linear_forecaster": {"input_shape": (13, 2), "output_length": 7, "kernel_size": 5},
    "patch_forecaster": {
        **TRANSFORMER,
        "input_shape": (13, 2),
        "output_length": 7,
        "num_layers": 1,
        "patch_length": 4,
        "patch_stride": 3,
        "quantiles": (0.2, 0.6),
    },
    "lstm_seq2seq": {**SEQ2SEQ, "embedding_dim": 7, "units": 5},
    "lstm_seq2seq_attention": {**SEQ2SEQ, "embedding_dim": 7, "units": 5},
    "transformer_seq2seq_tiny": {**PAIR, "num_decoder_layers": 2},
    "transformer_seq2seq_small": {**PAIR, "source_vocabulary_size": 13, "norm": "pre", "positions": "rotary"},
    "transformer_seq2seq_base": {**PAIR, "source_vocabulary_size": 13},
    "transformer_seq2seq_big": {**PAIR, "positions": "learned", "max_length": 19, "share_embeddings": False},
    "lstm_lm": {"vocabulary_size": 13, "embedding_dim": 7, "units": 5},
    "pixel_lstm": {"vocabulary_size": 13, **PIXELS},
    "pixel_lstm_seq2seq": {**SEQ2SEQ, **PIXELS, "distance": 1},
    "pixel_transformer": {"vocabulary_size": 13, **PIXELS},
    "pixel_transformer_seq2seq": {**SEQ2SEQ, **PIXELS, "image_shape": (5, 1, 3)},
    "transformer_lm_tiny": {**LM, "num_layers": 2},
    "transformer_lm_small": {**LM, "positions": "rotary", "num_key_value_heads": 1, "activation": "swiglu"},
    "transformer_lm_base": {**LM, "tie_output": False},
}

# On JAX one row of each class.
ONE_OF_EACH_CLASS = [
    "bag_dual_encoder", "cnn_classifier", "dense_autoencoder", "dense_variational_autoencoder", "lstm_lm", "pixel_lstm",
    "pixel_transformer_seq2seq", "lstm_seq2seq_attention", "mlp_classifier", "transformer_classifier",
    "linear_forecaster", "patch_forecaster",
    "transformer_lm_small", "transformer_masked_lm_tiny", "transformer_seq2seq_base",
]  # fmt: skip


# Rows whose class and parts are in other rows as well; `python -m pytest -m slow tests/models` has them.
REPEATED = [
    "lstm_seq2seq", "minilm_l6", "pixel_transformer", "transformer_dual_encoder", "transformer_lm_base",
    "transformer_seq2seq_small", "transformer_seq2seq_tiny",
]  # fmt: skip
ROWS = [pytest.param(name, marks=pytest.mark.slow if name in REPEATED else ()) for name in sorted(TINY)]
QUANTIZED = [
    "cnn_classifier", "dense_autoencoder", "lstm_seq2seq_attention", "patch_forecaster", "pixel_lstm",
    "transformer_lm_small", "transformer_seq2seq_base",
]  # fmt: skip
QUANTIZED_ROWS = [pytest.param(name, marks=() if name in QUANTIZED else pytest.mark.slow) for name in ONE_OF_EACH_CLASS]


def inputs_of(model):
    """Random inputs of three rows like those that the model builds itself from; sequences end in padding."""
    rng = np.random.default_rng(3)
    inputs = {}
    for name, zeros in model.build_inputs(batch_size=3, length=7).items():
        if zeros.dtype == "int32":
            size = 13 if name == "targets" else 11
            inputs[name] = rng.integers(3, size, size=zeros.shape).astype("int32")
        else:
            inputs[name] = rng.random(zeros.shape).astype("float32")
    if "source" in inputs and inputs["source"].dtype == "int32":
        inputs["source"][1, 4:] = 0
    return inputs


def test_every_row_is_here():
    assert sorted(TINY) == kz.list_models()
    classes = [kz.describe(name).class_name for name in ONE_OF_EACH_CLASS]
    assert sorted(classes) == sorted({kz.describe(name).class_name for name in TINY})


@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS if JAX else ROWS)
def test_row_keeps_the_contract(name):
    model = kz.create(name, **TINY[name])
    check_model(model, inputs_of(model))


@not_on_jax
@pytest.mark.parametrize("name", ["cnn_classifier", "mobilenet_classifier", "shufflenet_classifier"])
def test_image_rows_take_the_smallest_images(name):
    """In full size on images of 8 x 8; those of 28 x 28 are the default, which the count of parameters builds."""
    model = kz.create(name, input_shape=(8, 8, 1))
    assert model(np.ones((2, 8, 8, 1), "float32")).shape == (2, 10)


def test_the_encoder_of_100_50_50_has_one_relu_after_its_first_layer():
    model = kz.create("mlp_encoder_classifier")
    source = np.random.default_rng(0).normal(size=(11, 100)).astype("float32")
    codes = np.array(model.encode(source)["sequence"])[:, 0]
    first, second = model.encoder.dense_layers
    assert first.kernel.shape == (100, 50) and second.kernel.shape == (50, 50)
    hidden = np.maximum(source @ np.array(first.kernel) + np.array(first.bias), 0)
    np.testing.assert_allclose(codes, hidden @ np.array(second.kernel) + np.array(second.bias), atol=1e-5)
    assert (codes < 0).any()


def test_the_code_of_an_autoencoder_is_linear_unless_it_has_an_activation():
    source = np.array([[1.0, 2.0, 3.0], [-1.0, 2.0, -3.0]], "float32")
    sizes = {"input_shape": (3,), "encoder_units": (3,), "decoder_units": (3,), "decoder_activation": None}
    for activation, expected in ((None, source), ("relu", np.maximum(source, 0))):
        model = kz.create("dense_autoencoder", **sizes, code_activation=activation)
        model.build_from_inputs()
        model.set_weights([np.zeros(w.shape) if w.ndim == 1 else np.eye(3) for w in model.get_weights()])
        np.testing.assert_array_equal(model.codes(source), expected)
        np.testing.assert_array_equal(model(source), expected)
    kept = kz.create("dense_autoencoder", encoder_units=(7, 5, 3), encoder_activation=("tanh", "relu"))
    names = [layer.activation.__name__ for layer in kept.encoder.dense_layers]
    assert names == ["tanh", "relu", "linear"]


@pytest.mark.parametrize("name", ["cnn_classifier", "transformer_lm_small"] if JAX else QUANTIZED_ROWS)
def test_a_quantized_row_computes_with_the_rounded_weights(name, monkeypatch):
    monkeypatch.setattr(quantization, "MIN_SIZE", 1)
    model, plain = kz.create(name, **TINY[name]), kz.create(name, **TINY[name])
    for each in (model, plain):
        each.build_from_inputs()
    plain.set_weights(model.get_weights())
    kz.compress.quantize(model, "int8")
    for (_, variable), weight in zip(
        quantization.weights_of(plain, name), kz.compress.stored_weights(model), strict=True
    ):
        variable.assign(np.asarray(weight))
    inputs = inputs_of(plain)
    np.testing.assert_allclose(np.asarray(model(inputs)), np.asarray(plain(inputs)), rtol=1e-5, atol=1e-5)
