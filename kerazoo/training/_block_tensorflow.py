"""Many steps of a Keras model in one TensorFlow graph, compiled with XLA where that works."""

import sys
import weakref

import keras
import tensorflow as tf

from kerazoo.training.build import build

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

    Under `tf.distribute.MirroredStrategy` each replica takes an equal share of each batch, and the logs are means over
    the replicas, as in `Model.fit`.

    Args:
        model: A compiled `keras.Model`. Variables that do not exist yet are created by the first step.
        kind: `"train"` or `"test"`.
        feed: A `DeviceFeed` or a `StreamFeed`.
        jit_compile: bool. Whether XLA compiles the programs. A model that XLA cannot compile runs without it, and one
            line on standard error reports it. Several replicas always run without it.
    """

    def __init__(self, model, kind, feed, jit_compile=True):
        self.model = model
        self.step = model.train_step if kind == "train" else model.test_step
        self.feed = feed
        self.strategy = model.distribute_strategy
        self.replicas = self.strategy.num_replicas_in_sync
        self.jit_compile = jit_compile and self.replicas == 1
        self.programs = {}

    def __call__(self, block):
        """Runs the steps of a block and returns the logs of the last one."""
        data = [tf.constant(array) for array in block.data]
        steps, number = tf.constant(block.steps), tf.constant(block.number, tf.int32)
        if self.model.run_eagerly:
            for index in range(block.steps):
                logs = self._distributed_step(block.key, [array[index] for array in data], number + index)
            return logs
        if block.key in self.programs:
            return self.programs[block.key](data, steps, number)
        jit_compile = self.jit_compile and self.model not in _refused
        try:
            program = self._compile(block.key, data, jit_compile)
            logs = program(data, steps, number)
        except REFUSALS as error:
            if not jit_compile:
                raise
            reason = str(error.message).strip().splitlines()[0].partition("{{")[0]
            print(f"XLA cannot compile {self.model.name}, so it runs without XLA: {reason}", file=sys.stderr)
            _refused.add(self.model)
            program = self._compile(block.key, data, False)
            logs = program(data, steps, number)
        self.programs[block.key] = program
        return logs

    def _step(self, key, data, number):
        return self.step(self.feed.batch(self.feed.arrays, key, data, number))

    def _distributed_step(self, key, data, number):
        """Runs one step on each replica."""

        def on_replica(data, number):
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            return self._step(key, [_share(array, index, self.replicas) for array in data], number)

        if self.replicas == 1:
            return self.strategy.run(self._step, (key, data, number))
        logs = self.strategy.run(on_replica, (data, number))
        return keras.tree.map_structure(lambda value: self.strategy.reduce("MEAN", value, axis=None), logs)

    def _loop(self, key, data, jit_compile):
        """Returns the function of a block; tracing one step creates the variables and gives the shapes of the logs."""
        specs = [tf.TensorSpec(array.shape[1:], array.dtype) for array in data]
        if self.replicas > 1:  # variables cannot be created on a replica
            with self.strategy.scope():
                build(self.model, self.feed.batch(self.feed.arrays, key, [array[0] for array in data], 0))
        # Traced for XLA as well: the gradient of a recurrence has static sizes only there.
        one_step = tf.function(
            lambda data, number: self._distributed_step(key, data, number), autograph=False, jit_compile=jit_compile
        )
        one_step = one_step.get_concrete_function(specs, tf.TensorSpec([], tf.int32))

        def loop(data, steps, number):
            def body(index, logs):
                return index + 1, one_step([array[index] for array in data], number + index)

            logs = keras.tree.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), one_step.structured_outputs)
            return tf.while_loop(lambda index, logs: index < steps, body, (tf.constant(0), logs))[1]

        return loop

    def _compile(self, key, data, jit_compile):
        loop = self._loop(key, data, jit_compile)
        specs = [tf.TensorSpec(array.shape, array.dtype) for array in data]
        function = tf.function(loop, autograph=False, jit_compile=jit_compile)
        # Called as a concrete function: TensorFlow warns of retracing when many functions come from one line of code.
        return function.get_concrete_function(specs, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32))


def _share(array, index, replicas):
    """Returns the rows of a batch that belong to the replica with number `index`."""
    rows, rest = divmod(array.shape[0], replicas)
    if rest:
        raise ValueError(
            f"fit: the rows of a batch must be divisible by the number of replicas; got {array.shape[0]} rows, "
            f"{replicas} replicas. Try batch_size={max(1, rows) * replicas}, or drop the remainder of a data set."
        )
    return tf.slice(array, [index * rows, *[0] * (len(array.shape) - 1)], [rows, *array.shape[1:]])


def count_devices(model):
    """Returns the number of devices that share a batch; a ValueError if the strategy is not supported."""
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync > 1 and not isinstance(strategy, tf.distribute.MirroredStrategy):
        raise ValueError(
            f"fit: `model` must be on one device or under tf.distribute.MirroredStrategy; got a "
            f"{type(strategy).__name__} with {strategy.num_replicas_in_sync} replicas."
        )
    return strategy.num_replicas_in_sync
