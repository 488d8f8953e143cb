"""The strategies of TensorFlow that copy a model to the devices of one machine."""

import functools
import os

import tensorflow as tf


def devices() -> list[str]:
    """Returns the devices that copies lie on: the cores of a TPU, else the GPUs, else the CPUs."""
    if _has_tpu():
        return [device.name for device in tf.config.list_logical_devices("TPU")] or ["TPU"]
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


@functools.cache  # a model and its optimizer must be of the same object
def strategy(count: int) -> tf.distribute.Strategy:
    """Returns the strategy of so many devices."""
    if _has_tpu():  # untested: nobody has run this on a TPU yet
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    return tf.distribute.MirroredStrategy(devices()[:count])


def _has_tpu():
    return "TPU_NAME" in os.environ or "COLAB_TPU_ADDR" in os.environ
