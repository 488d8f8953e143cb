"""Several devices, made of one processor in a process of its own: training equals that on one device."""

import os
import subprocess
import sys

import keras
import pytest

TENSORFLOW = keras.backend.backend() == "tensorflow"

DEVICES = (
    """
import tensorflow as tf
(processor,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
"""
    if TENSORFLOW
    else """
import contextlib, jax, keras
@contextlib.contextmanager
def scope():
    assert len(jax.devices()) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=jax.devices()))
    yield
    assert len(model.weights[0].value.sharding.device_set) == 2
    keras.distribution.set_distribution(None)
"""
)

CODE = """
import contextlib
import numpy as np
import kerazoo as kz
from keras import ops

rng = np.random.default_rng(0)
corpus = kz.data.Corpus({"x": rng.random((34, 5), "float32"), "y": rng.integers(0, 3, 34)})
plan = kz.data.Plan.of(corpus, batch_size=6)
def batch_fn(features, valid):
    return features["x"], features["y"]
batches = [batch_fn(*pair) for pair in kz.data.batches(corpus, plan)]
def train(*data, **options):
    global model
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    history = kz.training.fit(model, *data, steps_per_execution=3, jit_compile=False, **options).history
    return history, model.get_weights()
validation = {"validation_data": (corpus, plan, batch_fn)}
expected, weights = train(corpus, batch_fn, plan, **validation)
assert set(expected) == {"loss", "accuracy", "val_loss", "val_accuracy"}
for data, options in [((corpus, batch_fn, plan), validation), ((batches,), {})]:
    with scope():
        history, others = train(*data, **options)
    for name, value in history.items():
        np.testing.assert_allclose(value, expected[name], 1e-5, err_msg=name)
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-6)
"""

UNEVEN = """
with scope():
    try:
        train(corpus, batch_fn, kz.data.Plan.of(corpus, batch_size=5))
    except ValueError as error:
        print(error)
"""


def run(code):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_devices_equal_one():
    said = run(DEVICES + CODE + (UNEVEN if TENSORFLOW else ""))
    if TENSORFLOW:
        assert "the rows of a batch must be divisible by the number of replicas; got 5 rows, 2 replicas." in said


@pytest.mark.skipif(not TENSORFLOW, reason="strategies are TensorFlow's")
def test_other_strategies_are_refused():
    import types

    from kerazoo.training._block_tensorflow import count_devices

    class ElsewhereStrategy:
        num_replicas_in_sync = 3

    with pytest.raises(ValueError, match=r"on one device or under tf.distribute.MirroredStrategy; got a Elsewhere.* 3"):
        count_devices("fit", types.SimpleNamespace(distribute_strategy=ElsewhereStrategy()))
