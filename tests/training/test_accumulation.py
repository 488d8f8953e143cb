"""Gradients of several batches as one: equal to the large batch, whatever the batches weigh, and exact in resume."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

from kerazoo import training

LENGTH, CLASSES = 3, 7


def arrays(examples=40):
    """Sequences whose later positions are padding, so the weights of batches differ; one batch of 5 has none at all."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(examples, LENGTH, 5)).astype("float32")
    lengths = rng.integers(0, LENGTH + 1, examples)
    lengths[5:10] = 0
    weights = (np.arange(LENGTH) < lengths[:, None]).astype("float32")
    return inputs, rng.integers(0, CLASSES, (examples, LENGTH)), weights


def model(optimizer, loss=None, policy="float32", seed=1):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((LENGTH, 5)), keras.layers.Dense(4, "tanh", dtype=policy)]
    made = keras.Sequential([*layers, keras.layers.Dense(CLASSES, dtype=policy)])
    made.compile(optimizer, loss or training.SparseCrossentropy())
    return made


def run(made, batch_size, data=None, **options):
    options = {"epochs": 2, "shuffle": False, "jit_compile": False, "steps_per_execution": 3, **options}
    return training.fit(made, data or arrays(), batch_size=batch_size, **options)


def values(made):
    return [np.array(ops.convert_to_numpy(v.value)) for v in [*made.variables, *made.optimizer.variables]]


INNER = {
    "sgd": lambda: keras.optimizers.SGD(0.5, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.05, global_clipnorm=0.1, weight_decay=0.1),
    "averages": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, 4), use_ema=True),
}


@pytest.mark.parametrize("name", INNER)
def test_equals_the_large_batch(name):
    expected = model(INNER[name]())
    run(expected, 20)
    made = model(training.GradientAccumulation(INNER[name](), 4))
    run(made, 5, jit_compile=name == "adam")
    for one, two in zip(made.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    assert int(made.optimizer.iterations) == int(expected.optimizer.iterations) == 4
    np.testing.assert_allclose(float(made.optimizer.learning_rate), float(expected.optimizer.learning_rate))


@not_on_jax
def test_a_loss_of_all_positions_counts_them():
    """Batches of different size, as the last one of an epoch."""
    inputs, labels, _ = arrays(8)
    data = inputs, np.eye(CLASSES, dtype="float32")[labels]
    expected, made = (
        model(optimizer, "mse") for optimizer in ("sgd", training.GradientAccumulation(INNER["sgd"](), 2))
    )
    expected.compile(INNER["sgd"](), "mse")
    run(expected, 8, data, epochs=1)
    run(made, 5, data, epochs=1)
    for one, two in zip(made.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_a_run_that_stops_between_two_updates_goes_on_exactly(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.params["step"] == 6:
                raise KeyboardInterrupt

    def made(seed=1):
        return model(training.GradientAccumulation(INNER["adam"](), 4), seed=seed)

    store, whole, other = training.CheckpointStore(tmp_path), made(), made(seed=2)
    run(whole, 5)
    with pytest.raises(KeyboardInterrupt):
        run(made(), 5, callbacks=[training.Checkpoints(store, every_steps=3), Stop()])
    state = store.restore(other)
    assert state["step"] == 6 and np.abs(values(other)[-1]).max() > 0
    run(other, 5, resume=state)
    for one, two in zip(values(other), values(whole), strict=True):
        np.testing.assert_array_equal(one, two)


@not_on_jax
def test_under_a_loss_scale():
    """With float16 the gradients that overflow are left out, until the scale fits."""
    accumulated = training.GradientAccumulation(INNER["sgd"](), 2)
    made = model(keras.optimizers.LossScaleOptimizer(accumulated), policy="mixed_float16")
    first = run(made, 5, epochs=1).history["loss"][0]
    assert run(made, 5, epochs=4).history["loss"][-1] < first
    assert int(made.optimizer.iterations) > 8


def test_its_configuration_makes_it_again():
    optimizer = training.GradientAccumulation(keras.optimizers.Adam(0.25), 3)
    other = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert other.steps == 3 and float(other.learning_rate) == 0.25
    other.learning_rate = 0.5
    assert float(other.inner_optimizer.learning_rate) == 0.5
    with pytest.raises(ValueError, match=r"GradientAccumulation: `steps` must be an integer above 0; got steps=0"):
        training.GradientAccumulation(keras.optimizers.Adam(), 0)


@not_on_jax
def test_keras_fit_takes_the_plain_mean():
    inputs, labels, _ = arrays(8)
    expected, made = model(INNER["sgd"]()), model(training.GradientAccumulation(INNER["sgd"](), 2))
    expected.fit(inputs, labels, batch_size=8, shuffle=False, verbose=0)
    made.fit(inputs, labels, batch_size=4, shuffle=False, verbose=0)
    for one, two in zip(made.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@not_on_jax  # where one program divides the batch
def test_several_replicas_are_refused():
    import tensorflow as tf

    from kerazoo.training._block_tensorflow import count_devices

    class Two(tf.distribute.MirroredStrategy):
        num_replicas_in_sync = 2

    made = model(training.GradientAccumulation(INNER["sgd"](), 2))
    made._distribute_strategy = object.__new__(Two)
    with pytest.raises(ValueError, match=r"fit: GradientAccumulation needs one device on TensorFlow; got 2 replicas"):
        count_devices("fit", made)
