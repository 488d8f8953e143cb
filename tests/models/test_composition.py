"""Composed models with one vector as output, with images and series as sources, and with several sources."""

import numpy as np
import pytest
from model_contracts import ENCODERS, SOURCE, TARGETS, check_model, create_tiny
from toys import JAX, not_on_jax

import kerazoo as kz

SLOW = pytest.mark.slow
# On JAX one case of each kind; the layers themselves are all tested there.
IMAGES_AND_SERIES = [
    ("dense+lstm", (8, 8, 1)),
    ("conv+transformer", (8, 8, 1)),
    ("vit+transformer", (8, 11, 2)),
    pytest.param("vit+classifier", (8, 11, 2), marks=SLOW),
    ("lstm+lstm", (5, 7)),
    pytest.param("lstm+classifier", (5, 3, 2), marks=SLOW),
    ("transformer+transformer", (5, 3, 2)),
    pytest.param("transformer+dense", (5, 7), marks=SLOW),
    ("conv+variational", (8, 8, 1)),
    ("conv_lstm+transformer", (13, 7)),
    pytest.param("conv_transformer+lstm", (13, 7), marks=SLOW),
]
SOURCES = ["conv,lstm+transformer", pytest.param("transformer,dense+lstm", marks=SLOW), "conv,lstm+classifier"]
# Every encoder and every output; `python -m pytest -m slow` has the other pairs.
VECTORS = [
    pytest.param(encoder, decoder, marks=() if (place + index) % 3 == 0 else SLOW)
    for place, encoder in enumerate(ENCODERS)
    for index, decoder in enumerate(("dense", "classifier", "binary_classifier"))
]


def random_source(*shape):
    return np.random.default_rng(0).random((3, *shape)).astype("float32")


@not_on_jax
@pytest.mark.parametrize("encoder, decoder", VECTORS)
def test_output_of_one_vector_keeps_the_contract(encoder, decoder):
    model = create_tiny(f"{encoder}+{decoder}", vocabulary_size=11)
    check_model(model, {"source": SOURCE})
    assert model.output_size == 3 if decoder == "dense" else model.num_classes == (3 if decoder == "classifier" else 1)


@pytest.mark.parametrize("name, shape", IMAGES_AND_SERIES[2:3] if JAX else IMAGES_AND_SERIES)
def test_images_and_series_are_sources_too(name, shape):
    inputs = {"source": random_source(*shape)}
    model = create_tiny(name, input_shape=shape)
    if kz.describe(name).kind == "seq2seq":
        inputs["targets"] = TARGETS
    # What a dense encoder makes of an image is one position: attention has nothing to choose from.
    check_model(model, inputs, dead=("attention",) if name.startswith("dense") else ())


@pytest.mark.parametrize("name", SOURCES[2:] if JAX else SOURCES)
def test_several_sources_keep_the_contract(name):
    """An image and a text."""
    shape = (4, 3, 2) if name.startswith("transformer") else (8, 8, 1)
    model = create_tiny(name, source_vocabulary_size=[None, 11], input_shape=[shape, None])
    inputs = {"source": random_source(*shape), "source_2": SOURCE}
    if kz.describe(name).kind == "seq2seq":
        inputs["targets"] = TARGETS
    check_model(model, inputs)
    assert "state" not in model.encode(inputs)


@not_on_jax
@pytest.mark.usefixtures("run_eagerly")
def test_several_sources_are_searched_alone_and_together():
    """Ragged texts beside vectors: padding of one source changes no other row."""
    model = create_tiny("dense,lstm+lstm", source_vocabulary_size=[None, 11], input_shape=[(7,), None])
    vectors, texts = random_source(7), [[3, 4, 5, 6, 7], [8, 9], [5]]
    together = model.generate({"source": vectors, "source_2": texts}, max_length=5)
    for row in range(3):
        alone = model.generate({"source": vectors[row : row + 1], "source_2": texts[row : row + 1]}, max_length=5)
        assert alone.sequences()[0] == together.sequences()[row]
        np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=1e-5)


def test_sources_are_joined_in_the_widest_width_with_their_masks():
    model = create_tiny("conv,lstm+transformer", source_vocabulary_size=[None, 11], input_shape=[(8, 8, 1), None])
    encoded = model.encode({"source": random_source(8, 8, 1), "source_2": SOURCE})
    assert encoded["sequence"].shape == (3, 4 + 5, 10) and sorted(encoded) == ["mask", "sequence"]
    mask = np.array(encoded["mask"])
    assert mask[:, :4].all() and (mask[:, 4:] == (SOURCE > 0)).all()
    assert model.join.projections[0].units == 10 and model.join.projections[1] is None
    assert model.source_pad_ids == {"source": None, "source_2": 0}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda model: model(SOURCE), "Classifier: inputs must be a dictionary with 'source', 'source_2'"),
        (lambda model: model({"source": SOURCE}), "inputs must have a part 'source_2'; got 'source'. Did you mean 'so"),
        (
            lambda model: kz.models.Classifier([model.encoder[0]] * 2, 3, source_embedding=[None]),
            r"Classifier: `source_embedding` must be a list of 2, one for each encoder; got source_embedding=\[None\]",
        ),
        (lambda model: create_tiny("lstm,lstm+lstm").build_inputs(), "`input_shape` is needed .*for 'source'"),
    ],
)
def test_several_sources_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(create_tiny("lstm,lstm+classifier", source_vocabulary_size=[11, 13]))


def test_packing_of_several_sources_is_refused():
    sizes = {"source_vocabulary_size": [11, 11]}
    with pytest.raises(ValueError, match="EncoderDecoder: packing is for one source; got 2 encoders"):
        kz.models.check_packing(create_tiny("transformer,transformer+transformer", **sizes))


def test_a_vision_transformer_reads_no_tokens():
    with pytest.raises(ValueError, match=r"vit\+lstm: PatchEncoder reads images.* got source_vocabulary_size=11"):
        create_tiny("vit+lstm", source_vocabulary_size=11)


@not_on_jax
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", None])
def test_a_decoder_tells_the_positions_of_an_image_apart(positions):
    """Two equal halves of an image have unequal vectors only with positions."""
    model = create_tiny("conv+transformer", input_shape=(8, 24, 1), positions=positions, max_length=7)
    encoded = model.encode(np.tile(random_source(8, 1, 1), (1, 1, 24, 1)))["sequence"]
    inner = np.reshape(encoded, (3, 2, 6, 5))[:, :, 2:4]
    assert np.allclose(inner[:, :, 0], inner[:, :, 1], atol=1e-5) == (positions is None)
    assert create_tiny("conv+lstm", source_vocabulary_size=11).encoder.positions is None  # the embedding has them
    other = create_tiny("conv+transformer", input_shape=(8, 24, 1), **{"encoder.positions": None})
    assert other.encoder.positions is None


def test_images_are_encoded_alike_in_batches_of_any_targets():
    """Batches hold targets of similar lengths, so statistics of a batch would differ from those of all images."""
    model = create_tiny("conv+lstm", input_shape=(8, 8, 1))
    assert model.encoder.normalization == "layer" and create_tiny("conv+classifier").encoder.normalization == "auto"
    dark, light = random_source(8, 8, 1), 9 * random_source(8, 8, 1)
    together = model.encode(np.concatenate([dark, light]), training=True)["sequence"]
    np.testing.assert_allclose(together[:3], model.encode(dark, training=True)["sequence"], atol=1e-5)
    other = create_tiny("conv+lstm", input_shape=(8, 8, 1), **{"encoder.normalization": "batch"})
    assert other.encoder.normalization == "batch"
