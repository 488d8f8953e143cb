"""Moving averages of the weights: their values, what is validated and saved, and runs that are interrupted."""

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import _checks, training
from kerazoo.training.weight_averages import moving_averages

STEPS = 5  # of an epoch
MOMENTUM = 0.75


def arrays():
    inputs = np.random.default_rng(0).random((23, 5)).astype("float32")
    return inputs, (inputs[:, 0] > 0.5).astype("int32")


def model(seed=1, policy="float32"):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((5,)), keras.layers.Dropout(0.3), keras.layers.Dense(2, dtype=policy)]
    made = keras.Sequential(layers)
    optimizer = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=MOMENTUM)
    made.compile(optimizer, training.SparseCrossentropy())
    return made


class Watch(keras.callbacks.Callback):
    """Keeps the kernel after each step, and the one that is validated."""

    def __init__(self):
        super().__init__()
        self.kernels, self.validated = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.kernels.append(self.model.get_weights()[0])

    def on_test_batch_begin(self, batch, logs=None):
        self.validated.append(self.model.get_weights()[0])


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.params["step"] == 7:
            raise KeyboardInterrupt


def run(made, callbacks, **options):
    options = {"epochs": 2, "steps_per_execution": 1, "jit_compile": False, "batch_size": 5, **options}
    callbacks = [training.EvaluateAverages(), *callbacks]
    return training.fit(made, arrays(), callbacks=callbacks, validation_data=arrays(), **options)


def values(made):
    return [np.array(ops.convert_to_numpy(v.value)) for v in [*made.variables, *made.optimizer.variables]]


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_averages_are_validated_saved_and_used(tmp_path):
    store, watch, made = training.CheckpointStore(tmp_path), Watch(), model()
    run(made, [watch, training.Checkpoints(store, "val_loss")])
    average = watch.kernels[0]
    for step, kernel in enumerate(watch.kernels[1:], 2):
        average = MOMENTUM * average + (1 - MOMENTUM) * kernel
        if step == STEPS:
            np.testing.assert_allclose(watch.validated[0], average, 1e-5)
    np.testing.assert_allclose(watch.validated[-1], average, 1e-5)
    np.testing.assert_allclose(made.layers[-1].kernel, average, 1e-5)  # the end of training, as in Keras
    plain = keras.Sequential([keras.Input((5,)), *made.layers])  # without an optimizer, as a run is loaded
    store.restore(plain)
    np.testing.assert_allclose(plain.layers[-1].kernel, average, 1e-5)
    going_on = model(seed=2)
    store.restore(going_on)
    assert np.array_equal(going_on.layers[-1].kernel, watch.kernels[-1])
    going_on.optimizer.finalize_variable_values(going_on.trainable_variables)
    np.testing.assert_allclose(going_on.layers[-1].kernel, average, 1e-5)


def test_validation_leaves_the_weights_alone_and_a_resumed_run_is_exact(tmp_path):
    store, whole = training.CheckpointStore(tmp_path), model()
    run(whole, [training.Checkpoints(training.CheckpointStore(tmp_path / "whole"))])
    unseen = model()
    training.fit(unseen, arrays(), epochs=2, batch_size=5, steps_per_execution=1, jit_compile=False)
    assert same(values(unseen), values(whole))
    with pytest.raises(KeyboardInterrupt):
        run(model(), [training.Checkpoints(store, every_steps=1), Stop()])
    made = model(seed=9)
    state = store.restore(made)
    assert state["step"] == 7
    run(made, [], resume=state)
    assert same(values(made), values(whole))


def test_a_checkpoint_without_averages_is_another_optimizer(tmp_path):
    store, made = training.CheckpointStore(tmp_path), model()
    made.compile(keras.optimizers.Adam(0.1), training.SparseCrossentropy())
    made.optimizer.build(made.trainable_variables)
    store.save(made, {"step": 1})
    with pytest.raises(
        _checks.CheckpointError, match=r"does not fit the optimizer: variable 3 of 6 is saved as .*_velocity .*average"
    ):
        store.restore(model())


def test_averages_under_a_loss_scale(tmp_path):
    made = model(policy="mixed_float16")
    made.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, use_ema=True)), training.SparseCrossentropy()
    )
    assert moving_averages(made.optimizer) == []
    training.fit(made, arrays(), epochs=1, batch_size=23, steps_per_execution=1, jit_compile=False)
    assert [pair[0] is v for pair, v in zip(moving_averages(made.optimizer), made.trainable_variables)] == [True, True]
    store = training.CheckpointStore(tmp_path)
    store.save(made, {"step": 1})
    restored = values(made)
    for variable in [*made.variables, *made.optimizer.variables]:
        variable.assign(variable.value * 0)
    store.restore(made)
    assert same(values(made), restored)
