"""Any encoder with any decoder: the full grid, on one tiny table of words."""

import numpy as np
import pytest
from model_contracts import check_model

from kerazoo import layers, models

# Words of unequal length and what to write for them; 0 pads and 2 ends.
SOURCE = np.array([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0], [5, 5, 10, 0, 0]], "int32")
TARGETS = np.array([[7, 6, 5, 4, 3, 2, 0], [9, 8, 2, 0, 0, 0, 0], [10, 5, 5, 12, 11, 4, 2]], "int32")
BLOCK = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "dropout": 0.0}

ENCODERS = {
    "dense": lambda: layers.DenseEncoder(units=(7,)),
    "conv": lambda: layers.ConvEncoder(filters=(7, 5), kernel_size=3),
    "lstm": lambda: layers.LSTMEncoder(units=5, bidirectional=True),
    "transformer": lambda: layers.TransformerEncoder(**BLOCK),
}
DECODERS = {
    "dense": lambda: layers.DenseDecoder(units=(7,), activation="tanh"),
    "lstm": lambda: layers.LSTMDecoder(units=5, attention="additive"),
    "transformer": lambda: layers.TransformerDecoder(**BLOCK),
}


def join(encoder, decoder, **options):
    return models.EncoderDecoder(
        ENCODERS[encoder](),
        DECODERS[decoder](),
        source_embedding=layers.TokenEmbedding(11, 8, positions="sinusoidal"),
        vocabulary_size=13,
        **options,
    )


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_pair_keeps_the_contract(encoder, decoder):
    check_model(join(encoder, decoder), {"source": SOURCE, "targets": TARGETS})


@pytest.mark.parametrize("encoder, decoder", [("dense", "lstm"), ("conv", "transformer"), ("lstm", "dense")])
def test_images_and_series_are_sources_too(encoder, decoder):
    shape = (3, 5, 7) if encoder == "lstm" else (3, 8, 8, 1)
    source = np.random.default_rng(0).random(shape).astype("float32")
    model = models.EncoderDecoder(ENCODERS[encoder](), DECODERS[decoder](), vocabulary_size=13)
    # What a dense encoder makes of an image is one position: attention has nothing to choose from.
    check_model(model, {"source": source, "targets": TARGETS}, dead=("attention",) if encoder == "dense" else ())
