"""Two sources as two vectors: the contract, what is shared, and the refusals."""

import numpy as np
import pytest
from model_contracts import BLOCK, SOURCE, TARGETS, check_model
from toys import not_on_jax

import kerazoo as kz

PAIR = {"source": SOURCE, "source_2": SOURCE[::-1, :3].copy()}
SIZES = {"bag": {"units": 7}, "lstm": {"units": 5}, "transformer": BLOCK}


def create(name, **options):
    sizes = {}
    for number, encoder in enumerate(name.partition("+")[0].split(","), 1):
        prefix = "encoder" if number == 1 else f"encoder_{number}"
        sizes |= {f"{prefix}.{size}": value for size, value in SIZES[encoder].items()}
    return kz.create(name, **{"vocabulary_size": (11, 11), **options}, **sizes)


@pytest.mark.parametrize(
    "name, options",
    [
        ("transformer+dual_encoder", {"pooling": "first", "trainable_temperature": True}),
        pytest.param("lstm,bag+dual_encoder", {"projection_dim": 6, "pooling": "max"}, marks=not_on_jax),
    ],
)
def test_models_keep_the_contract(name, options):
    check_model(create(name, **options), PAIR)


def test_an_encoder_is_shared_or_each_source_has_its_own():
    shared, own = create("bag+dual_encoder"), create("bag,bag+dual_encoder")
    for model in (shared, own):
        model.build_from_inputs()
    assert [len(model.weights) for model in (shared, own)] == [1, 2]
    first, second = np.split(np.asarray(shared({"source": SOURCE, "source_2": SOURCE})), 2, axis=1)
    np.testing.assert_array_equal(first, second)
    other = np.asarray(own.embed({"source_2": SOURCE}, "source_2"))
    assert not np.allclose(other, own.embed(SOURCE))


def test_vectors_are_means_of_length_one_and_the_output_has_the_temperature():
    model = create("bag+dual_encoder", temperature=0.25)
    model.build_from_inputs()
    table = np.asarray(model.source_embedding.table.embeddings)
    expected = np.stack([table[row[row > 0]].mean(0) for row in SOURCE])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed(SOURCE), expected, atol=1e-6)
    first, second = np.split(np.asarray(model(PAIR)), 2, axis=1)
    np.testing.assert_allclose(first, 2 * expected, atol=1e-6)
    np.testing.assert_allclose(second, 2 * np.asarray(model.embed({"source_2": PAIR["source_2"]}, "source_2")))


@not_on_jax
def test_padding_and_empty_texts():
    model = create("transformer+dual_encoder")
    longer = np.pad(SOURCE, [(0, 0), (0, 6)])
    np.testing.assert_allclose(model.embed(longer), model.embed(SOURCE), atol=1e-5)
    np.testing.assert_array_equal(create("bag+dual_encoder").embed(np.zeros((2, 3), "int32")), np.zeros((2, 7)))


def test_a_learned_temperature_is_a_weight_with_a_lower_bound():
    model = create("bag+dual_encoder", trainable_temperature=True, temperature=0.04)
    model.build_from_inputs()
    norms = np.linalg.norm(np.asarray(model(PAIR))[:, :7], axis=1)
    np.testing.assert_allclose(norms, 5, rtol=1e-5)
    model.log_temperature.assign(-50.0)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(model(PAIR))[:, :7], axis=1), 10, rtol=1e-5)


@not_on_jax
def test_a_bag_serves_classifiers_and_decoders():
    classifier = kz.create("bag+classifier", vocabulary_size=11, num_classes=3, **{"encoder.units": 7})
    assert classifier(SOURCE).shape == (3, 3) and classifier.source_embedding.positions is None
    decoder = {"decoder.units": 5, "vocabulary_size": 13, "source_vocabulary_size": 11, "encoder.units": 7}
    assert kz.create("bag+lstm", **decoder)({"source": SOURCE, "targets": TARGETS}).shape == (3, 7, 13)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: create("bag+dual_encoder", vocabulary_size=(11, 13)), r"`source_vocabulary_size`.*\(11, 13\)"),
        (lambda: create("bag,bag,bag+dual_encoder", vocabulary_size=(3, 3, 3)), "a list of two; got 3"),
        (lambda: create("bag+dual_encoder", pooling="median"), "`pooling` must be one of .*'median'"),
        (lambda: create("bag+dual_encoder", temperature=0.001), "`temperature` must be .*0.001"),
        (lambda: kz.layers.BagEncoder(7)(np.ones((2, 3, 5), "float32")), r"width `units`.*\(2, 3, 5\), units=7"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
