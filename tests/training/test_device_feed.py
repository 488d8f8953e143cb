"""Batches gathered on the device: as those of the pipeline, packed and augmented ones too, and after a resume."""

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo.training import device_feed, fit
from kerazoo.training.process_feed import ProcessFeed

TENSORFLOW = keras.backend.backend() == "tensorflow"


@pytest.fixture
def corpus():
    rng = np.random.default_rng(2)
    return kz.data.Corpus(
        {
            "source": kz.data.Ragged.from_rows([rng.integers(1, 200, n) for n in (3, 0, 7, 5, 2)], np.uint8),
            "targets": kz.data.Ragged.from_rows([rng.integers(1, 9, n) for n in (1, 2, 3, 4, 5)]),
            "image": rng.integers(0, 256, (5, 2, 3)).astype(np.uint8),
            "label": rng.integers(0, 9, 5),
            "value": rng.random((5, 2)),
        }
    )


def test_gather_equals_the_batches_of_the_corpus(corpus):
    rows, lengths = np.array([4, 2, -1, 1, 3], np.int32), {"source": 6, "targets": 5}
    features, valid = device_feed.gather(
        device_feed.to_device("fit", corpus.features), ops.convert_to_tensor(rows), lengths
    )
    expected, real = corpus.batch(rows, lengths)
    np.testing.assert_array_equal(valid, real)
    for name, array in expected.items():
        found = ops.convert_to_numpy(features[name])
        np.testing.assert_array_equal(found, array.astype(found.dtype))
        assert found.dtype.itemsize == min(4, array.dtype.itemsize), name


def test_corpus_of_empty_rows():
    arrays = device_feed.to_device("fit", {"source": kz.data.Ragged.from_rows([[], []])})
    features, _ = device_feed.gather(arrays, ops.convert_to_tensor(np.array([1, -1], np.int32)), {"source": 3})
    np.testing.assert_array_equal(features["source"], np.zeros((2, 3)))


def test_token_lengths_are_those_of_the_targets(corpus):
    np.testing.assert_array_equal(device_feed.token_lengths(corpus.features), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(device_feed.token_lengths({"source": corpus.features["source"]}), [3, 0, 7, 5, 2])
    assert device_feed.token_lengths({"image": corpus.features["image"]}) is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        TypeError, match=r"features on the device must be numbers; got 'word' of dtype <U1. .*kerazoo.data.dataset"
    ):
        device_feed.to_device("fit", {"word": np.array(["a"])})
    with pytest.raises(
        ValueError, match=r"feature 'id' has values or offsets up to 4294967296, above the range of 32 bits"
    ):
        device_feed.to_device("fit", {"id": np.array([2**32])})


def test_packed_rows_equal_those_of_the_pipeline(corpus):
    held = kz.data.Corpus({name: corpus.features[name] for name in ("source", "targets")})
    (batch,) = kz.data.PackedPlan.of(held, tokens=1000).epoch(0)
    shape = kz.data.PackedPlan.of(held, tokens=1000).shapes[0]
    rows = np.concatenate([batch.rows, np.full_like(batch.rows[:1], -1)])
    found = device_feed.gather(device_feed.to_device("fit", held.features), ops.convert_to_tensor(rows), shape.lengths)
    expected = held.batch(rows, shape.lengths)
    np.testing.assert_array_equal(found[1], expected[1])
    assert set(found[0]) == set(expected[0])
    for name, array in expected[0].items():
        np.testing.assert_array_equal(ops.convert_to_numpy(found[0][name]), array)


def sequences(examples=37, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(4, 17, rng.integers(1, 8)) for _ in range(examples)]
    return kz.data.Corpus({"source": kz.data.Ragged.from_rows(rows), "targets": kz.data.Ragged.from_rows(rows)})


@pytest.mark.parametrize("make", [kz.data.Plan, kz.data.PackedPlan])
def test_a_process_reads_a_part_of_the_rows(make):
    corpus = sequences()
    feeds = [
        feed("fit", corpus, lambda *batch: batch, make.of(corpus, batch_size=5))
        for feed in (device_feed.DeviceFeed, ProcessFeed)
    ]
    (key, (rows,)), *others = feeds[0].batches(0)
    expected, valid = feeds[0].batch(feeds[0].arrays, key, [ops.convert_to_tensor(rows)], 0)
    block = np.stack([rows, *(other for k, (other,) in others if k == key)])
    read = feeds[1].read(key, [block[:, 1:3]])  # rows 1 and 2 of each batch
    found, found_valid = feeds[1].batch((), key, [array[0] for array in read], 0)
    assert len(block) > 1 and {len(array) for array in read} == {len(block)}
    np.testing.assert_array_equal(found_valid, ops.convert_to_numpy(valid)[1:3])
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], ops.convert_to_numpy(array)[1:3])


def batch_fn(features, valid):
    """The inputs are the mean of the tokens of a row and its number of sequences."""
    del valid
    segments = features.get("source_segments", features["source"])
    inputs = ops.stack(
        [ops.mean(ops.cast(features["source"], "float32"), axis=1), ops.cast(ops.max(segments, axis=1), "float32")], 1
    )
    return inputs, ops.sum(ops.cast(features["targets"], "float32"), axis=1, keepdims=True)


def network():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    return model


def weights(model):
    return [ops.convert_to_numpy(v.value) for v in model.trainable_variables]


def test_a_packed_epoch_equals_its_batches_one_by_one():
    corpus = sequences()
    plan = kz.data.PackedPlan.of(corpus, batch_size=5)
    assert plan.steps > 2
    one, other = network(), network()
    fit(one, corpus, batch_fn, plan, epochs=2, steps_per_execution=3)
    for epoch in range(2):
        for batch in plan.epoch(epoch):
            features, valid = corpus.batch(batch.rows, plan.shapes[0].lengths)
            other.train_on_batch(*(ops.convert_to_numpy(x) for x in batch_fn(features, valid)))
    for a, b in zip(weights(one), weights(other)):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


@pytest.mark.parametrize("packed", [True, *([False] if TENSORFLOW else [])])
def test_a_resumed_run_changes_its_batches_as_one_without_interruption(packed):
    corpus = sequences()
    make = kz.data.PackedPlan if packed else kz.data.Plan
    plan = make.of(corpus, batch_size=5, **({} if packed else {"max_shapes": 1}))
    items = ["word_dropout:rate=0.3"] if packed else ["replacement:rate=0.2", "permutation:distance=1"]
    augment = kz.data.Augment(items, corpus, seed=4, packed=packed)
    once = {"steps_per_execution": 2, "jit_compile": False}

    def train(model, epochs, augment=augment, resume=None):
        fit(model, corpus, batch_fn, plan, epochs=epochs, augment=augment, resume=resume, **once)
        return weights(model)

    whole, plain = train(network(), 2), train(network(), 2, augment=None)
    interrupted = network()
    train(interrupted, 1)
    rest = train(interrupted, 2, resume={"epoch": 1, "position": 0, "step": plan.steps})
    for a, b in zip(whole, rest):
        np.testing.assert_array_equal(a, b)
    assert not all(np.array_equal(a, b) for a, b in zip(whole, plain))


def test_dev_examples_are_never_changed():
    corpus = sequences()
    plan = kz.data.Plan.of(corpus, batch_size=37, shuffle=False)

    def blank(features, step):
        return {**features, "targets": features["targets"] * 0}

    model = network()
    options = {"jit_compile": False}
    history = fit(model, corpus, batch_fn, plan, validation_data=(corpus, plan), augment=blank, **options).history
    plain = network()
    plain.set_weights(model.get_weights())
    (loss,) = fit(plain, corpus, batch_fn, plan, **options).history["loss"]  # before its only step
    assert np.isclose(history["val_loss"][0], loss, rtol=1e-5)
    assert not np.isclose(history["loss"][0], loss, rtol=0.1)


def test_streams_number_their_batches_as_the_programs_do():
    corpus = sequences()
    plan = kz.data.Plan.of(corpus, batch_size=5, max_shapes=2)
    steps = []

    def note(features, step):
        steps.append(int(step))
        return features

    for epoch, start in ((0, 0), (2, 3)):
        assert len(list(kz.data.batches(corpus, plan, epoch=epoch, start=start, augment=note))) == plan.steps - start
    assert steps == [*range(plan.steps), *range(2 * plan.steps + 3, 3 * plan.steps)]
