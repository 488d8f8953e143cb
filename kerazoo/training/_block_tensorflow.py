"""Many steps of a Keras model in one TensorFlow graph, compiled with XLA where that works."""

import sys
import weakref

import keras
import tensorflow as tf

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

    Args:
        model: A compiled `keras.Model`. Variables that do not exist yet are created by the first step.
        kind: `"train"` or `"test"`.
        feed: A `DeviceFeed` or a `StreamFeed`.
        jit_compile: bool. Whether XLA compiles the programs. A model that XLA cannot compile runs without it, and one
            line on standard error reports it.
    """

    def __init__(self, model, kind, feed, jit_compile=True):
        self.model = model
        self.step = model.train_step if kind == "train" else model.test_step
        self.feed = feed
        self.jit_compile = jit_compile
        self.programs = {}

    def __call__(self, block):
        """Runs the steps of a block and returns the logs of the last one."""
        data = [tf.constant(array) for array in block.data]
        steps, number = tf.constant(block.steps), tf.constant(block.number, tf.int32)
        if self.model.run_eagerly:
            for index in range(block.steps):
                logs = self._step(block.key, [array[index] for array in data], number + index)
            return logs
        if block.key in self.programs:
            return self.programs[block.key](data, steps, number)
        loop = self._loop(block.key, data)
        jit_compile = self.jit_compile and self.model not in _refused
        try:
            program = self._compile(loop, data, jit_compile)
            logs = program(data, steps, number)
        except REFUSALS as error:
            if not jit_compile:
                raise
            reason = str(error.message).strip().splitlines()[0].partition("{{")[0]
            print(f"XLA cannot compile {self.model.name}, so it runs without XLA: {reason}", file=sys.stderr)
            _refused.add(self.model)
            program = self._compile(loop, data, False)
            logs = program(data, steps, number)
        self.programs[block.key] = program
        return logs

    def _step(self, key, data, number):
        return self.step(self.feed.batch(self.feed.arrays, key, data, number))

    def _loop(self, key, data):
        """Returns the function of a block; tracing one step creates the variables and gives the shapes of the logs."""
        specs = [tf.TensorSpec(array.shape[1:], array.dtype) for array in data]
        one_step = tf.function(lambda data, number: self._step(key, data, number), autograph=False)
        one_step = one_step.get_concrete_function(specs, tf.TensorSpec([], tf.int32))

        def loop(data, steps, number):
            def body(index, logs):
                return index + 1, one_step([array[index] for array in data], number + index)

            logs = keras.tree.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), one_step.structured_outputs)
            return tf.while_loop(lambda index, logs: index < steps, body, (tf.constant(0), logs))[1]

        return loop

    def _compile(self, loop, data, jit_compile):
        specs = [tf.TensorSpec(array.shape, array.dtype) for array in data]
        function = tf.function(loop, autograph=False, jit_compile=jit_compile)
        # Called as a concrete function: TensorFlow warns of retracing when many functions come from one line of code.
        return function.get_concrete_function(specs, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32))


def check_devices(model):
    """Raises a ValueError if several devices share the model."""
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            f"fit: `model` must be on one device; got a {type(model.distribute_strategy).__name__} with {replicas} "
            "replicas. Use model.fit(kerazoo.data.dataset(...)), which divides each batch among them."
        )
