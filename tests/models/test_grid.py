"""Any encoder with any decoder of tokens or of values, by name."""

import numpy as np
import pytest
from model_contracts import DECODERS, ENCODERS, SOURCE, TARGETS, check_model, create_tiny
from toys import JAX

from kerazoo import layers, models

PAIRS = [(encoder, decoder) for encoder in ENCODERS for decoder in ("lstm", "transformer")]
if JAX:  # the catalog has other pairs, and the layers themselves are all tested there
    PAIRS = [("conv", "lstm")]


@pytest.mark.parametrize("encoder, decoder", PAIRS)
def test_pair_keeps_the_contract(encoder, decoder):
    model = create_tiny(f"{encoder}+{decoder}", source_vocabulary_size=11, embedding_dim=8)
    check_model(model, {"source": SOURCE, "targets": TARGETS})


@pytest.mark.parametrize("encoder", ["lstm"] if JAX else ENCODERS)
def test_dense_decoder_of_tokens_keeps_the_contract(encoder):
    model = models.EncoderDecoder(
        create_tiny(f"{encoder}+dense", source_vocabulary_size=11, embedding_dim=8).encoder,
        layers.DenseDecoder(**DECODERS["dense"]),
        source_embedding=layers.TokenEmbedding(11, 8, positions="sinusoidal"),
        vocabulary_size=13,
    )
    check_model(model, {"source": SOURCE, "targets": TARGETS})


VALUE_PAIRS = [(encoder, decoder) for encoder in ENCODERS for decoder in ("lstm_values", "transformer_values")]


@pytest.mark.parametrize("encoder, decoder", [("lstm", "transformer_values")] if JAX else VALUE_PAIRS)
def test_pair_of_values_keeps_the_contract(encoder, decoder):
    targets = np.random.default_rng(1).normal(size=(3, 7, 2)).astype("float32")
    model = create_tiny(f"{encoder}+{decoder}", source_vocabulary_size=11, embedding_dim=8, first_values="learned")
    check_model(model, {"source": SOURCE, "targets": targets})
