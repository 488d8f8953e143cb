"""Packed and changed batches inside the compiled programs: the same as outside, and the same after a resume."""

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo.data.pipeline import gather
from kerazoo.training import fit


def sequences(examples=37, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(4, 17, rng.integers(1, 8)) for _ in range(examples)]
    return kz.data.Corpus({"source": kz.data.Ragged.from_rows(rows), "targets": kz.data.Ragged.from_rows(rows)})


def batch_fn(features, valid):
    """The mean of a row's tokens is learnt, and its number of sequences counts."""
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
            features, valid = gather(corpus, batch.rows, plan.shapes[0])
            other.train_on_batch(*(ops.convert_to_numpy(x) for x in batch_fn(features, valid)))
    for a, b in zip(weights(one), weights(other)):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


@pytest.mark.parametrize("packed", [False, True])
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
    begun = network()
    train(begun, 1)
    rest = train(begun, 2, resume={"epoch": 1, "position": 0, "step": plan.steps})
    for a, b in zip(whole, rest):
        np.testing.assert_array_equal(a, b)
    assert not all(np.array_equal(a, b) for a, b in zip(whole, plain))


def test_dev_examples_are_never_changed():
    corpus = sequences()
    plan = kz.data.Plan.of(corpus, batch_size=37, shuffle=False)

    def blank(features, step):
        return {**features, "targets": features["targets"] * 0}

    model = network()
    history = fit(model, corpus, batch_fn, plan, epochs=1, validation_data=(corpus, plan), augment=blank).history
    plain = network()
    plain.set_weights(model.get_weights())
    (loss,) = fit(plain, corpus, batch_fn, plan, epochs=1).history["loss"]  # before its only step
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
