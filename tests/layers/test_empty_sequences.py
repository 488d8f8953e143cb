"""Sources and targets of length 0 give what padding alone gives."""

import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

from kerazoo import layers, models

pytestmark = not_on_jax  # the contracts of layers and of models run there

B, T, S, D = 3, 5, 2, 12
RNG = np.random.default_rng(7)
TARGETS = RNG.normal(size=(B, T, D)).astype("float32")
EMPTY, PADDED = np.zeros((B, 0, D), "float32"), RNG.normal(size=(B, S, D)).astype("float32")
PADDING = np.zeros((B, S), bool)
SIZES = {"num_layers": 1, "hidden_dim": D, "num_heads": 4, "intermediate_dim": 11}


def encoders():
    return [
        layers.DenseEncoder(7),
        layers.ConvEncoder((7, 8)),
        layers.LSTMEncoder(7, bidirectional=True),
        *(layers.TransformerEncoder(**SIZES, num_key_value_heads=heads) for heads in (4, 2, 1)),
    ]


def decoders():
    return [
        layers.DenseDecoder(7),
        *(layers.LSTMDecoder(7, attention=attention) for attention in (None, "additive", "multiplicative")),
        *(layers.TransformerDecoder(**SIZES, num_key_value_heads=heads) for heads in (4, 2, 1)),
    ]


def name(layer):
    return type(layer).__name__


@pytest.mark.parametrize("encoder", encoders(), ids=name)
def test_empty_sources_are_encoded(encoder):
    encoder(PADDED)
    encoded = encoder(EMPTY)
    assert encoded["sequence"].shape[:2] == encoded["mask"].shape == (B, 0)
    padded = encoder(PADDED, padding_mask=PADDING)
    for state, expected in zip(encoded.get("state", ()), padded.get("state", ())):
        for part, value in zip(state, expected):
            np.testing.assert_array_equal(part, value)


@pytest.mark.parametrize("decoder", decoders(), ids=name)
def test_decoders_read_empty_sources_and_targets(decoder):
    empty = {"sequence": EMPTY, "mask": np.zeros((B, 0), bool)}
    expected = decoder(TARGETS, {"sequence": PADDED * 0, "mask": PADDING})
    np.testing.assert_allclose(decoder(TARGETS, empty), expected, atol=1e-6)
    assert decoder(EMPTY, empty).shape == (B, 0, expected.shape[-1])


def test_a_search_step_attends_to_an_empty_source():
    attention = layers.CrossAttention(D, 4, num_key_value_heads=2)
    attention(TARGETS, PADDED)
    memory = attention.memory(ops.convert_to_tensor(EMPTY))
    outputs, weights = attention.step_many(TARGETS, memory, np.zeros((B, 0), bool), return_attention_scores=True)
    assert weights.shape == (B, T, 0)
    np.testing.assert_allclose(outputs, attention(TARGETS, PADDED, padding_mask=PADDING), atol=1e-6)


@pytest.mark.parametrize("pooling", layers.pooling.POOLINGS)
def test_classes_of_an_empty_source_are_the_bias_of_the_head(pooling):
    model = models.Classifier(layers.DenseEncoder(7), 3, pooling=pooling)
    model({"source": PADDED})
    model.head.bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(model({"source": EMPTY}), [[1.0, 2.0, 3.0]] * B)
    if pooling != "last":
        np.testing.assert_array_equal(model({"source": PADDED, "source_mask": PADDING}), [[1.0, 2.0, 3.0]] * B)


def test_the_mean_and_the_last_of_nothing_are_zeros():
    for function in (layers.masked_mean, layers.last_valid):
        np.testing.assert_array_equal(function(EMPTY), np.zeros((B, D)))
        np.testing.assert_array_equal(function(EMPTY, np.zeros((B, 0), bool)), np.zeros((B, D)))
