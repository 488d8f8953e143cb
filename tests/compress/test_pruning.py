"""Pruning: the schedule of the paper, N:M, zeros that stay through momentum, averages, resume and quantization."""

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo.compress.pruning import sparsity_of
from kerazoo.compress.sparsity import parse_sparsity

RNG = np.random.default_rng(5)
X = RNG.normal(size=(96, 29)).astype("float32")
Y = (X @ RNG.normal(size=(29, 3))).argmax(axis=1)


def compiled(optimizer="adam"):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((29,)), keras.layers.Dense(23, "relu", name="hidden"), keras.layers.Dense(3)])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model


def fit(model, pruning, epochs=2, **options):
    """12 steps an epoch."""
    given = {"batch_size": 8, "steps_per_execution": 4, "jit_compile": False, **options}
    return kz.training.fit(model, (X, Y), epochs=epochs, callbacks=[pruning], **given)


def kernel(model):
    return np.asarray(model.get_layer("hidden").kernel.value)


def test_the_share_of_zeros_follows_the_schedule():
    model, pruning, shares = compiled(), kz.compress.Pruning(0.8, begin=4, end=20, every_steps=4), []

    class Log(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            shares.append((self.params["step"], np.mean(kernel(self.model) == 0)))

    kz.training.fit(
        model, (X, Y), epochs=2, batch_size=8, steps_per_execution=4, jit_compile=False, callbacks=[pruning, Log()]
    )
    assert [step for step, _ in shares] == [4, 8, 12, 16, 20, 24]
    for step, share in shares:
        expected = 0.8 * (1 - (1 - min(1, (step - 4) / 16)) ** 3)  # equation 1 of the paper, from a sparsity of 0
        assert share == pytest.approx(expected, abs=1 / kernel(model).size)
    assert sparsity_of(model) == shares[-1][1]  # the head has less than 256 weights


def test_the_weights_that_become_zero_are_the_smallest():
    model, pruning = compiled(), kz.compress.Pruning(0.6)
    pruning.attach(model)
    before = kernel(model)
    pruning.update(1.0)
    kept = kernel(model) != 0
    assert np.abs(before[kept]).min() >= np.abs(before[~kept]).max()
    assert np.array_equal(kernel(model)[kept], before[kept])


@pytest.mark.parametrize("name, make", [
    ("adam", lambda: keras.optimizers.Adam(0.01)),
    ("muon", lambda: keras.optimizers.Muon(0.01)),
    ("averages", lambda: keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True)),
    ("accumulation", lambda: kz.training.GradientAccumulation(keras.optimizers.AdamW(0.01), 2)),
])  # fmt: skip
def test_zeros_stay_zero_whatever_the_momentum_of_the_optimizer(name, make):
    model = compiled(make())
    fit(model, kz.compress.Pruning(0.75, end=4, every_steps=4))
    first = kernel(model) == 0
    assert first.mean() == pytest.approx(0.75, abs=0.001)
    assert not np.array_equal(first, kernel(compiled()) == 0)


def test_a_training_that_is_resumed_has_the_same_masks_and_weights(tmp_path):
    options = {"end": 16, "every_steps": 4}
    whole, store = compiled(), kz.training.CheckpointStore(tmp_path / "checkpoints", keep=9)
    saver = kz.training.Checkpoints(store, every_steps=6)
    kz.training.fit(whole, (X, Y), epochs=2, batch_size=8, steps_per_execution=2, jit_compile=False,
                    callbacks=[kz.compress.Pruning(0.8, **options), saver])  # fmt: skip
    for name in store.names()[:-1]:
        if name != "step-000000006":
            kz.training.checkpoints._files.remove_folder(store.directory / name)
    kz.training.checkpoints._files.remove_folder(store.directory / store.names()[-1])
    model, pruning = compiled(), kz.compress.Pruning(0.8, **options)
    pruning.attach(model)
    state = store.restore(model)
    assert state["step"] == 6 and 0 < np.mean(kernel(model) == 0) < 0.8
    fit(model, pruning, resume=state, steps_per_execution=2)
    assert np.array_equal(kernel(model), kernel(whole)) and np.mean(kernel(model) == 0) > 0.79


def test_a_pruned_model_that_is_trained_further_keeps_its_zeros():
    model = compiled()
    fit(model, kz.compress.Pruning(0.7, end=4, every_steps=4), epochs=1)
    zeros = kernel(model) == 0
    model.compile(keras.optimizers.Adam(0.01), model.loss, jit_compile=False)
    fit(model, kz.compress.Pruning(0.0), epochs=1)
    assert np.array_equal(kernel(model) == 0, zeros)


def test_zeros_survive_quantization_and_shrink_it():
    model = compiled()
    fit(model, kz.compress.Pruning(0.75, end=4, every_steps=4), epochs=1)
    zeros, before = kernel(model) == 0, model.predict_on_batch(X)
    described = kz.compress.quantize(model, "int8")
    assert described[0]["nonzero"] == (~zeros).sum()
    assert not kernel(model)[zeros].any()
    np.testing.assert_allclose(model.predict_on_batch(X), before, atol=0.1)


def test_two_of_four():
    model, pruning = compiled(), kz.compress.Pruning("2:4")
    pruning.attach(model)
    before = kernel(model)
    pruning.update(1.0)
    after = kernel(model)
    for column, kept in zip(before.T, (after != 0).T):
        for start in range(0, 28, 4):
            order = np.argsort(np.abs(column[start : start + 4]))
            assert np.array_equal(np.flatnonzero(kept[start : start + 4]), np.sort(order[2:]))
        assert kept[28]  # a group of one


def test_plain_fit_of_keras_prunes_as_well():
    model, pruning = compiled(), kz.compress.Pruning(0.5, end=12, every_steps=5)
    model.fit(X, Y, batch_size=8, epochs=2, callbacks=[pruning], verbose=0)
    assert np.mean(kernel(model) == 0) == pytest.approx(0.5, abs=0.001)


def test_bad_arguments_are_refused():
    for value in ("1:1", "4:2", "much", 1.0, -0.1):
        with pytest.raises(ValueError, match="`sparsity` must be a share of zeros"):
            parse_sparsity("Pruning", value)
    assert parse_sparsity("Pruning", "0.5") == (0.5, None) and parse_sparsity("Pruning", "1:4") == (0.75, (1, 4))
    with pytest.raises(ValueError, match="`end` must not be below `begin`"):
        kz.compress.Pruning(0.5, begin=7, end=5)
    with pytest.raises(ValueError, match="`layers` must be found in the path"):
        kz.compress.Pruning(0.5, layers="nothing").attach(compiled())
