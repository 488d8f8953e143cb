"""The contract of every layer: one row, or a few, for each public class.

A new layer adds rows with `row(cls, config, inputs, **options)`; see contracts.check_layer for the options.
"""

import inspect

import keras
import numpy as np
import pytest
from toys import JAX

import contracts
from contracts import BATCH, SOURCE, TARGET
from kerazoo import layers

LAYERS = []


def row(cls, config, inputs, **options):
    marks = options.pop("marks", ())
    LAYERS.append(pytest.param(cls, config, inputs, options, id=f"{cls.__name__}-{len(LAYERS)}", marks=marks))


def floats(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def mask(length):
    """Booleans [B, length]: the rows are shorter by 0, 1, 2 positions."""
    return np.arange(length)[None, :] < length - np.arange(BATCH)[:, None]


def tokens(length, vocabulary_size):
    """Tokens [B, length] above 0, padded with 0."""
    rng = np.random.default_rng(length)
    return rng.integers(1, vocabulary_size, size=(BATCH, length)).astype("int32") * mask(length)


def encoded(width):
    return {"sequence": floats(BATCH, SOURCE, width), "mask": mask(SOURCE)}


SMALL = {"hidden_dim": 22, "num_heads": 2, "intermediate_dim": 17}
FULL = {"activation": "swiglu", "norm": "post", "normalization": "rms", "num_key_value_heads": 2, "positions": "rotary"}
DECODED = {"inputs": floats(BATCH, TARGET, 22), "encoded": encoded(13), "padding_mask": mask(TARGET)}

row(
    layers.Attention,
    {"num_heads": 2, "hidden_dim": 22},
    {"inputs": floats(BATCH, TARGET, 13), "padding_mask": mask(TARGET)},
)
row(
    layers.Attention,
    {"num_heads": 4, "hidden_dim": 24, "num_key_value_heads": 2, "rotary": True, "use_bias": False, "dropout": 0.1},
    {
        "inputs": floats(BATCH, TARGET, 13),
        "padding_mask": mask(TARGET),
        "attention_mask": np.ones((TARGET, TARGET), bool),
    },
)
row(layers.Dropout, {"rate": 0.3, "noise_shape": (None, 1, 13), "seed": 5}, {"inputs": floats(BATCH, TARGET, 13)})
row(
    layers.CrossAttention,
    {"num_heads": 2, "hidden_dim": 22, "num_key_value_heads": 1},
    {"inputs": floats(BATCH, TARGET, 13), "sequence": floats(BATCH, SOURCE, 11), "padding_mask": mask(SOURCE)},
)
row(layers.FeedForward, {"hidden_dim": 11, "intermediate_dim": 17}, {"inputs": floats(BATCH, TARGET, 13)})
row(
    layers.FeedForward,
    {"hidden_dim": 11, "intermediate_dim": 17, "activation": "geglu", "use_bias": False},
    {"inputs": floats(BATCH, 13)},
)
row(layers.SinusoidalPositions, {"base": 100.0}, {"inputs": floats(BATCH, TARGET, 13)})
row(layers.LearnedPositions, {"max_length": 11}, {"inputs": floats(BATCH, TARGET, 13)})
row(
    layers.TokenEmbedding,
    {"vocabulary_size": 19, "hidden_dim": 13, "scale": True, "positions": "learned", "max_length": 11, "dropout": 0.1},
    {"inputs": tokens(TARGET, 19)},
)
row(
    layers.TokenEmbedding,
    {"vocabulary_size": 19, "hidden_dim": 13, "positions": "sinusoidal"},
    {"inputs": tokens(TARGET, 19)},
)
row(
    layers.TokenEmbedding,
    {"vocabulary_size": 19, "hidden_dim": 13, "positions": "learned", "max_length": 11, "normalization": "layer"},
    {"inputs": tokens(TARGET, 19)},
)
row(
    layers.SentenceEmbedding,
    {"vocabulary_size": 19, "hidden_dim": 13, "sentence_ends": [3, 4, 5], "max_words": 3, "min_words": 2},
    {"inputs": tokens(TARGET, 19)},
)
row(layers.TransformerEncoderBlock, SMALL, {"inputs": floats(BATCH, SOURCE, 22), "padding_mask": mask(SOURCE)})
row(
    layers.TransformerEncoder,
    {**SMALL, "num_layers": 2},
    {"inputs": floats(BATCH, SOURCE, 22), "padding_mask": mask(SOURCE)},
)
row(
    layers.TransformerEncoder,
    {**SMALL, "num_layers": 2, "share_layers": True, "return_dict": False},
    {"inputs": floats(BATCH, SOURCE, 22), "padding_mask": mask(SOURCE)},
)
row(
    layers.TransformerEncoder,
    {**FULL, "hidden_dim": 24, "num_heads": 4, "intermediate_dim": 17, "num_layers": 1},
    {"inputs": floats(BATCH, SOURCE, 24)},
)
row(
    layers.TransformerEncoder,
    {**SMALL, "hidden_dim": 20, "num_layers": 2, "positions": "rotary", "max_position_gap": 3.5, "seed": 7},
    {"inputs": floats(BATCH, SOURCE, 20), "padding_mask": mask(SOURCE)},
)
row(layers.TransformerDecoderBlock, SMALL, DECODED)
row(layers.TransformerDecoder, {**SMALL, "num_layers": 2}, DECODED)
row(
    layers.TransformerDecoder,
    {**FULL, "hidden_dim": 24, "num_heads": 4, "intermediate_dim": 17, "num_layers": 1, "cross_attention": False},
    {"inputs": floats(BATCH, TARGET, 24), "padding_mask": mask(TARGET)},
)

row(
    layers.DenseEncoder,
    {"units": (17, 11), "activation": ("relu", None), "dropout": 0.1},
    {"inputs": floats(BATCH, 13)},
)
row(
    layers.BagEncoder,
    {"units": 13, "dropout": 0.1},
    {"inputs": floats(BATCH, SOURCE, 13), "padding_mask": mask(SOURCE)},
)
row(layers.DenseEncoder, {"units": (17,)}, {"inputs": floats(BATCH, SOURCE, 13), "padding_mask": mask(SOURCE)})
row(layers.DenseEncoder, {"units": (17,), "return_dict": False, "flatten": True}, {"inputs": floats(BATCH, 11, 13, 2)})
row(layers.DenseDecoder, {"units": (17,)}, {"inputs": floats(BATCH, TARGET, 11), "encoded": encoded(13)})
row(layers.LSTM, {"units": 11}, {"inputs": floats(BATCH, TARGET, 13), "padding_mask": mask(TARGET)})
row(
    layers.LSTMEncoder,
    {"units": 11, "num_layers": 2, "bidirectional": True, "dropout": 0.1},
    {"inputs": floats(BATCH, SOURCE, 13), "padding_mask": mask(SOURCE)},
)
row(
    layers.LSTMDecoder,
    {"units": 11, "attention": "additive"},
    {"inputs": floats(BATCH, TARGET, 17), "encoded": encoded(13), "padding_mask": mask(TARGET)},
)
row(
    layers.AlignmentAttention,
    {"units": 11, "score": "multiplicative"},
    {"queries": floats(BATCH, TARGET, 11), "sequence": floats(BATCH, SOURCE, 13), "padding_mask": mask(SOURCE)},
    float32=None,  # the attention weights
)
row(
    layers.PointerGenerator,
    {"units": 11},
    {
        "hidden": floats(BATCH, TARGET, 13),
        "logits": floats(BATCH, TARGET, 17),
        "sequence": floats(BATCH, SOURCE, 19),
        "tokens": tokens(SOURCE, 17),
        "padding_mask": mask(SOURCE),
    },
    float32=True,
)
row(
    layers.LSTMDecoder,
    {"units": 11, "num_layers": 3, "attention": "multiplicative", "dropout": 0.1, "recurrent_dropout": 0.1},
    {
        "inputs": floats(BATCH, TARGET, 17),
        "encoded": {**encoded(13), "state": ((floats(BATCH, 13), floats(BATCH, 13)), (floats(BATCH, 11),) * 2)},
        "padding_mask": mask(TARGET),
    },
)
row(layers.DenseEncoder, {"units": 17, "kernel_regularizer": "l1"}, {"inputs": floats(BATCH, 11, 13, 2)})
row(layers.ConvBlock, {"filters": 17, "strides": 2, "kernel_regularizer": "l2"}, {"inputs": floats(BATCH, 11, 13, 2)})
row(
    layers.SeparableConvBlock,
    {"filters": 17, "normalization": "batch", "activation": "tanh"},
    {"inputs": floats(BATCH, SOURCE, 11), "padding_mask": mask(SOURCE)},
)
row(layers.ShuffleBlock, {"filters": 12}, {"inputs": floats(BATCH, SOURCE, TARGET, 12)})
row(layers.ConvEncoder, {"filters": (11, 12), "block": "shuffle"}, {"inputs": floats(BATCH, 11, 13, 2)})
row(
    layers.ConvEncoder,
    {"filters": (11, 13), "block": "separable", "dropout": 0.1},
    {"inputs": floats(BATCH, SOURCE, 17), "padding_mask": mask(SOURCE)},
)
row(
    layers.ConvSubsampler,
    {"filters": (13, 17), "kernel_size": 5, "dropout": 0.1},
    {"inputs": floats(BATCH, SOURCE, 11), "padding_mask": mask(SOURCE)},
)
row(
    layers.SubsampledLSTMEncoder,
    {"units": 11, "bidirectional": True, "filters": (13, 17), "dropout": 0.1},
    {"inputs": floats(BATCH, SOURCE, 13), "padding_mask": mask(SOURCE)},
)
row(
    layers.SubsampledTransformerEncoder,
    {**SMALL, "num_layers": 1, "filters": (13,)},
    {"inputs": floats(BATCH, SOURCE, 13), "padding_mask": mask(SOURCE)},
)
row(
    layers.SpecAugment,
    {"time_width": 3, "frequency_width": 2, "time_fraction": 0.5},
    {"inputs": floats(BATCH, SOURCE, 13), "padding_mask": mask(SOURCE)},
)
row(
    layers.ConvEncoder,
    {"filters": (11, 14), "strides": ((2, 1), 2), "positions": "learned"},
    {"inputs": floats(BATCH, 11, 13, 2)},
)
row(
    layers.ConvEncoder,
    {"filters": 11, "positions": "sinusoidal"},
    {"inputs": floats(BATCH, SOURCE, 17), "padding_mask": mask(SOURCE)},
)
row(layers.SinusoidalPositions2D, {"base": 100.0}, {"inputs": floats(BATCH, TARGET, SOURCE, 13)})
row(
    layers.PatchEmbedding,
    {"patch_size": (2, 3), "hidden_dim": 11, "dropout": 0.1},
    {"inputs": floats(BATCH, 13, 17, 2)},
)
row(
    layers.PatchEmbedding,
    {"patch_size": 2, "hidden_dim": 11, "positions": "sinusoidal"},
    {"inputs": floats(BATCH, 13, 17, 2)},
)
row(
    layers.BackboneEncoder,
    {"backbone": "MobileNet", "alpha": 0.05, "positions": "sinusoidal"},
    {"inputs": np.abs(floats(BATCH, 33, 64, 1))},
    marks=pytest.mark.slow,  # 80 layers; its outputs are compared in tests/transfer/test_backbones.py
)
row(layers.PatchEncoder, {**SMALL, "num_layers": 2, "patch_size": 5}, {"inputs": floats(BATCH, 13, 17, 2)})
row(
    layers.PatchEncoder,
    {**SMALL, "num_layers": 1, "positions": "sinusoidal", "return_dict": False, "stem_filters": (3, 5)},
    {"inputs": floats(BATCH, 13, 17, 2)},
)
row(layers.RandomShift, {"max_shift": 2}, {"inputs": floats(BATCH, TARGET, 11), "padding_mask": mask(TARGET)})

row(
    layers.PixelDecoder,
    {"image_shape": (3, 2, 2), "hidden_dim": 11, "num_layers": 2},
    {"inputs": floats(BATCH, TARGET, 13)},
)
row(
    layers.PixelDecoder,
    {"image_shape": (3, 2, 2), "decoder": "transformer", "hidden_dim": 22, "num_heads": 2, "has_source": True},
    {"inputs": floats(BATCH, TARGET, 13), "encoded": encoded(17)},
)
row(
    layers.VariationalBottleneck,
    {"latent_dim": 11, "beta": 0.5, "free_bits": 0.1, "seed": 3},
    {"inputs": floats(BATCH, 13)},
    dead=("log_variance",),  # outside of training the code is the mean
)

row(layers.WordDropout, {"rate": 0.2, "seed": 3}, {"inputs": tokens(TARGET, 19)})
row(layers.WordReplacement, {"rate": 0.2, "vocabulary_size": 19, "first_id": 4}, {"inputs": tokens(TARGET, 19)})
row(layers.WordPermutation, {"distance": 2}, {"inputs": tokens(TARGET, 19)})


def test_every_public_layer_has_a_row():
    public = {name for name in layers.__all__ if inspect.isclass(getattr(layers, name))}
    public = {name for name in public if issubclass(getattr(layers, name), keras.layers.Layer)}
    missing = public - {case.values[0].__name__ for case in LAYERS}
    assert not missing, f"add a row to LAYERS for {sorted(missing)}"


if JAX:  # which compiles each row for seconds: all but the last row of a class are slow
    last = {case.values[0]: case.id for case in LAYERS}.values()
    LAYERS = [
        case if case.id in last else pytest.param(*case.values, id=case.id, marks=pytest.mark.slow) for case in LAYERS
    ]


@pytest.mark.parametrize(("cls", "config", "inputs", "options"), LAYERS)
def test_layer_keeps_the_contract(cls, config, inputs, options):
    contracts.check_layer(cls, config, inputs, **options)
