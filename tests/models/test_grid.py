"""Any encoder with any decoder of tokens or of values, by name.

Pairs whose parts both occur in other pairs are marked `slow`.
"""

import numpy as np
import pytest
from model_contracts import DECODERS, ENCODERS, SOURCE, TARGETS, check_model, create_tiny
from toys import JAX, not_on_jax

from kerazoo import layers, models

# The decoder that an encoder has in the quick suite.
QUICK = {"dense": "lstm", "conv": "transformer", "lstm": "transformer", "transformer": "lstm"}
SLOW = pytest.mark.slow
PAIRS = [
    pytest.param(encoder, decoder, marks=() if QUICK[encoder] == decoder else SLOW)
    for encoder in ENCODERS
    for decoder in ("lstm", "transformer")
]


# The catalog has other pairs, and the layers themselves are all tested on JAX.
@pytest.mark.parametrize("encoder, decoder", [pytest.param("conv", "lstm", marks=SLOW)] if JAX else PAIRS)
def test_pair_keeps_the_contract(encoder, decoder):
    model = create_tiny(f"{encoder}+{decoder}", source_vocabulary_size=11, embedding_dim=8)
    check_model(model, {"source": SOURCE, "targets": TARGETS})


@not_on_jax
@pytest.mark.parametrize("encoder", ["lstm", *(pytest.param(name, marks=SLOW) for name in ENCODERS if name != "lstm")])
def test_dense_decoder_of_tokens_keeps_the_contract(encoder):
    model = models.EncoderDecoder(
        create_tiny(f"{encoder}+dense", source_vocabulary_size=11, embedding_dim=8).encoder,
        layers.DenseDecoder(**DECODERS["dense"]),
        source_embedding=layers.TokenEmbedding(11, 8, positions="sinusoidal"),
        vocabulary_size=13,
    )
    check_model(model, {"source": SOURCE, "targets": TARGETS})


@pytest.mark.parametrize("encoder, decoder", [("lstm", "transformer")] if JAX else PAIRS)
def test_pair_of_values_keeps_the_contract(encoder, decoder):
    targets = np.random.default_rng(1).normal(size=(3, 7, 2)).astype("float32")
    model = create_tiny(
        f"{encoder}+{decoder}_values", source_vocabulary_size=11, embedding_dim=8, first_values="learned"
    )
    check_model(model, {"source": SOURCE, "targets": targets})
