"""Any encoder with any decoder or head, by name; several sources too."""

import numpy as np
import pytest
from model_contracts import check_model

import kerazoo as kz
from kerazoo import layers, models

# Words of unequal length and what to write for them; 0 pads and 2 ends.
SOURCE = np.array([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0], [5, 5, 10, 0, 0]], "int32")
TARGETS = np.array([[7, 6, 5, 4, 3, 2, 0], [9, 8, 2, 0, 0, 0, 0], [10, 5, 5, 12, 11, 4, 2]], "int32")
BLOCK = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "dropout": 0.0}

ENCODERS = {
    "dense": {"units": (7,)},
    "conv": {"filters": (7, 5), "kernel_size": 3},
    "lstm": {"units": 5, "bidirectional": True},
    "transformer": BLOCK,
}
DECODERS = {
    "lstm": {"units": 5, "attention": "additive"},
    "transformer": BLOCK,
    "dense": {"units": (7,), "activation": "tanh"},
    "classifier": {},
    "binary_classifier": {},
}
OUTPUTS = {"dense": {"output_size": 3}, "classifier": {"num_classes": 3}, "binary_classifier": {}}


def random_source(*shape):
    return np.random.default_rng(0).random((3, *shape)).astype("float32")


def create(name, **options):
    """Returns the tiny model of a composed name."""
    encoders, decoder = name.split("+")
    sizes = {f"decoder.{size}": value for size, value in DECODERS[decoder].items()}
    for number, encoder in enumerate(encoders.split(","), 1):
        prefix = "encoder" if number == 1 else f"encoder_{number}"
        sizes |= {f"{prefix}.{size}": value for size, value in ENCODERS[encoder].items()}
    return kz.create(name, **OUTPUTS.get(decoder, {"vocabulary_size": 13}), **sizes, **options)


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_pair_keeps_the_contract(encoder, decoder):
    model = create(f"{encoder}+{decoder}", source_vocabulary_size=11, embedding_dim=8)
    check_model(model, {"source": SOURCE, "targets": TARGETS})


@pytest.mark.parametrize("encoder", ENCODERS)
def test_dense_decoder_of_tokens_keeps_the_contract(encoder):
    model = models.EncoderDecoder(
        create(f"{encoder}+dense", source_vocabulary_size=11, embedding_dim=8).encoder,
        layers.DenseDecoder(**DECODERS["dense"]),
        source_embedding=layers.TokenEmbedding(11, 8, positions="sinusoidal"),
        vocabulary_size=13,
    )
    check_model(model, {"source": SOURCE, "targets": TARGETS})


@pytest.mark.parametrize("decoder", OUTPUTS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_output_of_one_vector_keeps_the_contract(encoder, decoder):
    model = create(f"{encoder}+{decoder}", vocabulary_size=11)
    check_model(model, {"source": SOURCE})
    assert model.output_size == 3 if decoder == "dense" else model.num_classes == (3 if decoder == "classifier" else 1)


@pytest.mark.parametrize(
    "name, shape",
    [
        ("dense+lstm", (8, 8, 1)),
        ("conv+transformer", (8, 8, 1)),
        ("lstm+lstm", (5, 7)),
        ("lstm+classifier", (5, 3, 2)),
        ("transformer+transformer", (5, 3, 2)),
        ("transformer+dense", (5, 7)),
    ],
)
def test_images_and_series_are_sources_too(name, shape):
    inputs = {"source": random_source(*shape)}
    model = create(name, input_shape=shape)
    if kz.describe(name).kind == "seq2seq":
        inputs["targets"] = TARGETS
    # What a dense encoder makes of an image is one position: attention has nothing to choose from.
    check_model(model, inputs, dead=("attention",) if name.startswith("dense") else ())


@pytest.mark.parametrize("name", ["conv,lstm+transformer", "transformer,dense+lstm", "conv,lstm+classifier"])
def test_several_sources_keep_the_contract(name):
    """An image and a text."""
    shape = (4, 3, 2) if name.startswith("transformer") else (8, 8, 1)
    model = create(name, source_vocabulary_size=[None, 11], input_shape=[shape, None])
    inputs = {"source": random_source(*shape), "source_2": SOURCE}
    if kz.describe(name).kind == "seq2seq":
        inputs["targets"] = TARGETS
    check_model(model, inputs)
    assert "state" not in model.encode(inputs)
