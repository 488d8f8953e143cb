"""Many steps of a Keras model in one TensorFlow graph, compiled with XLA where that works."""

import contextlib
import functools
import sys
import threading
import weakref
from typing import Any

import keras
import tensorflow as tf

from kerazoo.training.accumulation import weigher
from kerazoo.training.blocks import has_convolutions

# What TensorFlow raises when XLA refuses a graph. It is raised before the first operation runs.
REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.InternalError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
)
_refused = weakref.WeakSet()  # the models that XLA could not compile


class BlockProgram:
    """The compiled programs of one model, one for each batch shape.

    Under `tf.distribute.MirroredStrategy` each replica takes an equal share of each batch. The loss and the gradients
    are those of the whole batch on one device, and the logs are means over the replicas.

    Args:
        model: A compiled `keras.Model`.
        kind: `"train"` or `"test"`.
        feed: A `Feed`.
        check: The `StepCheck` of the model.
        jit_compile: bool. Whether XLA compiles the programs. A model that XLA cannot compile runs without it, and one
            line on standard error reports it. Several replicas, and convolutions on a CPU, always run without it.
        change_batch: Function of a batch and the number of its step, or `None`. See `fit`. Defaults to `None`.
    """

    def __init__(self, model, kind, feed, check, jit_compile=True, change_batch=None):
        self.model = model
        self.step = model.train_step if kind == "train" else model.test_step
        self.feed = feed
        self.check = check
        self.change_batch = change_batch
        self.weigh = weigher(model) if kind == "train" else None
        self.strategy = model.distribute_strategy
        self.replicas = self.strategy.num_replicas_in_sync
        # XLA on a CPU runs a convolution inside a loop without its fast kernels, which takes 35 times as long.
        is_slow = has_convolutions(model) and not tf.config.list_logical_devices("GPU")
        self.jit_compile = jit_compile and self.replicas == 1 and not is_slow
        self.programs = {}

    def __call__(self, block):
        """Runs the steps of a block; returns the logs of the last one, and index and number of the first fault."""
        data = [tf.constant(array) for array in block.data]
        steps, number = tf.constant(block.steps), tf.constant(block.number, tf.int32)
        if self.model.run_eagerly:
            fault = tf.zeros(2, tf.int32)
            for index in range(block.steps):
                logs, found = self._step(block.key, [array[index] for array in data], number + index)
                fault = self.check.first(fault, index, found)
            return logs, fault
        if block.key in self.programs:
            return self.programs[block.key](data, steps, number)
        jit_compile = self.jit_compile and self.model not in _refused
        try:
            self.programs[block.key] = self._compile(block.key, data, jit_compile)
            return self.programs[block.key](data, steps, number)
        except REFUSALS as error:
            if not jit_compile:
                raise
            reason = str(error.message).strip().splitlines()[0].partition("{{")[0]
            print(f"XLA cannot compile {self.model.name}, so it runs without XLA: {reason}", file=sys.stderr)
            _refused.add(self.model)
            self.programs[block.key] = self._compile(block.key, data, False)
            return self.programs[block.key](data, steps, number)

    def _step(self, key, data, number):
        """Runs one step on each replica; returns the logs and the number of a fault."""

        rows: dict[int, Any] = {}  # of a batch without padding, divided by the replicas; by the thread of the replica

        def on_replica(data, number):
            if self.replicas > 1:
                index = tf.distribute.get_replica_context().replica_id_in_sync_group
                rows[threading.get_ident()] = self.feed.valid_rows(data) / self.replicas
                data = [_share(self.feed.owner, array, index, self.replicas) for array in data]
            batch = self.feed.batch(self.feed.arrays, key, data, number)
            if self.change_batch is not None:
                batch = self.change_batch(batch, number)
            if self.weigh is not None:
                self.weigh(batch)
            logs = self.step(batch)
            return logs, self.check(batch, logs)

        if self.replicas == 1:
            return self.strategy.run(on_replica, (data, number))
        with _as_one_device(self.model, rows):
            logs, fault = self.strategy.run(on_replica, (data, number))
        logs = keras.tree.map_structure(lambda value: self.strategy.reduce("MEAN", value, axis=None), logs)
        return logs, tf.reduce_max(tf.stack(self.strategy.experimental_local_results(fault)))

    def _compile(self, key, data, jit_compile):
        specs = [tf.TensorSpec(array.shape, array.dtype) for array in data]
        scalar = tf.TensorSpec([], tf.int32)
        # Traced for XLA as well: the gradient of a recurrence has static sizes only there.
        step = tf.function(functools.partial(self._step, key), autograph=False, jit_compile=jit_compile)
        step = step.get_concrete_function([tf.TensorSpec(spec.shape[1:], spec.dtype) for spec in specs], scalar)

        def loop(data, steps, number):
            def body(index, logs, fault):
                logs, found = step([array[index] for array in data], number + index)
                return index + 1, logs, self.check.first(fault, index, found)

            logs, _ = step.structured_outputs
            logs = keras.tree.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), logs)
            start = tf.constant(0), logs, tf.zeros(2, tf.int32)
            return tf.while_loop(lambda index, *_: index < steps, body, start)[1:]

        # Called as a concrete function: TensorFlow warns of retracing when many functions come from one line of code.
        return tf.function(loop, autograph=False, jit_compile=jit_compile).get_concrete_function(specs, scalar, scalar)


@contextlib.contextmanager
def _as_one_device(model, rows):
    """Within it the steps of the replicas add up to the step of one device.

    Keras takes the mean over the replicas of their losses, and each replica clips its own gradients. Here a loss that
    is a weighted mean counts by the weights that the replica has of the batch, and the gradients are added up first.
    In the mean loss of the epoch a batch counts by its rows without padding.
    """
    replicas, optimizer, loss = model.distribute_strategy.num_replicas_in_sync, model.optimizer, model._compile_loss
    patches = []
    if loss is not None and getattr(model.loss, "reduction", None) == "mean_with_sample_weight":
        compute = loss.call

        def weighted(y_true, y_pred, sample_weight=None):
            value = compute(y_true, y_pred, sample_weight)
            if sample_weight is None or keras.tree.is_nested(sample_weight):
                return value
            weight = tf.reduce_sum(tf.cast(sample_weight, "float32"))
            share = tf.math.divide_no_nan(replicas * weight, _sum([weight])[0])
            return value * tf.cast(share, value.dtype)

        patches.append((loss, "call", weighted))
    if loss is not None:
        tracker = model._loss_tracker
        update = tracker.update_state

        def by_rows(values, sample_weight=None):
            return update(values, sample_weight=None if sample_weight is None else rows[threading.get_ident()])

        patches.append((tracker, "update_state", by_rows))
    if optimizer is not None:
        clip = optimizer._clip_gradients

        def add_up(gradients):
            sums = iter(_sum([gradient for gradient in gradients if gradient is not None]))
            return clip([None if gradient is None else next(sums) for gradient in gradients])

        patches += [(optimizer, "_clip_gradients", add_up), (optimizer, "_all_reduce_sum_gradients", list)]
    for owner, name, function in patches:
        setattr(owner, name, function)
    try:
        yield
    finally:
        for owner, name, _ in patches:
            delattr(owner, name)


def _sum(tensors):
    """Returns the sums of tensors over the replicas."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def _share(owner, array, index, replicas):
    """Returns the rows of a batch that belong to the replica with number `index`."""
    rows, rest = divmod(array.shape[0], replicas)
    if rest:
        raise ValueError(
            f"{owner}: the rows of a batch must be divisible by the number of replicas; got {array.shape[0]} rows, "
            f"{replicas} replicas. Try batch_size={max(1, rows) * replicas}, or drop the remainder of a data set."
        )
    return tf.slice(array, [index * rows, *[0] * (len(array.shape) - 1)], [rows, *array.shape[1:]])


def start_profile(folder):
    """Begins to record what the devices do, for TensorBoard."""
    tf.profiler.experimental.start(folder)


def stop_profile():
    """Writes what was recorded."""
    tf.profiler.experimental.stop()


def make_deterministic():
    """Lets operations give the same numbers in each process; this holds until the process ends."""
    tf.config.experimental.enable_op_determinism()


def count_devices(owner, model):
    """Returns the number of devices that share a batch; a ValueError if the strategy is not supported."""
    strategy = model.distribute_strategy
    supported = (tf.distribute.MirroredStrategy, tf.distribute.TPUStrategy)
    if strategy.num_replicas_in_sync > 1 and not isinstance(strategy, supported):
        raise ValueError(
            f"{owner}: `model` must be on one device or under tf.distribute.MirroredStrategy; got a "
            f"{type(strategy).__name__} with {strategy.num_replicas_in_sync} replicas."
        )
    if strategy.num_replicas_in_sync > 1 and weigher(model) is not None:
        raise ValueError(
            f"{owner}: GradientAccumulation needs one device on TensorFlow; got {strategy.num_replicas_in_sync} "
            "replicas. Leave out `gradient_accumulation_steps`, or use the JAX backend."
        )
    return strategy.num_replicas_in_sync
