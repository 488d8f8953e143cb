"""Many steps of a Keras model in one TensorFlow graph, compiled with XLA where that works."""

import sys
import weakref

import numpy as np
import tensorflow as tf

# What TensorFlow raises when XLA refuses a graph. All of it happens before the first operation runs.
REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.InternalError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
)
_REFUSED = weakref.WeakSet()  # the models that XLA could not compile: trying again would only take time


def endless(example):
    """Returns what `Model.fit` takes as data: a stream of nothing, for the programs know their batches."""
    del example
    return tf.data.Dataset.range(1 << 62)


def outline(function):
    """Returns what `function` returns, or something of the same shapes and dtypes."""
    return function()


def refuse_many_devices(model):
    """Says how many devices share the model if they are more than one, else returns the empty string."""
    replicas = model.distribute_strategy.num_replicas_in_sync
    return f"a strategy with {replicas} replicas" if replicas > 1 else ""


class Programs:
    """The compiled programs of one model over one corpus, one for each batch shape.

    Args:
        model: A built and compiled Keras model.
        step: `"train"` or `"test"`.
        arrays: The corpus on the device.
        batch: Function of `(arrays, rows, shape_index, step)` that returns the data of the step of that number.
        jit: Whether XLA compiles the programs. A model that XLA refuses runs without it, and one line says so.
    """

    def __init__(self, model, step, arrays, batch, jit=True):
        self.model = model
        self.step = model.train_step if step == "train" else model.test_step
        self.arrays = arrays
        self.batch = batch
        self.jit = jit
        self.programs = {}

    def __call__(self, block, capacity):
        """Runs the steps of `block` and returns the logs."""
        steps = len(block.rows)
        if self.model.run_eagerly:
            return self._run(block)
        rows = tf.constant(np.pad(block.rows, [(0, capacity - steps)] + [(0, 0)] * (block.rows.ndim - 1)))
        steps, first = tf.constant(steps), tf.constant(block.first, tf.int32)
        if block.shape_index in self.programs:
            return self.programs[block.shape_index](rows, steps, first)
        program = self._compile(block.shape_index, rows.shape)
        try:
            logs = program(rows, steps, first)
        except REFUSALS as error:
            if not self.jit or self.model in _REFUSED:
                raise
            reason = str(error.message).strip().splitlines()[0].partition("{{")[0]
            print(f"XLA cannot compile {self.model.name}, so it runs without XLA: {reason}", file=sys.stderr)
            _REFUSED.add(self.model)
            program = self._compile(block.shape_index, rows.shape)
            logs = program(rows, steps, first)
        self.programs[block.shape_index] = program
        return logs

    def _compile(self, shape_index, shape):
        function = tf.function(
            lambda rows, steps, first: self._loop(shape_index, rows, steps, first),
            input_signature=[tf.TensorSpec(shape, tf.int32), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)],
            jit_compile=self.jit and self.model not in _REFUSED,
            autograph=False,
        )
        # Called as a concrete function: TensorFlow warns of retracing when many functions come from one line of code.
        return function.get_concrete_function()

    def _loop(self, shape_index, rows, steps, first):
        def body(i):
            self.step(self.batch(self.arrays, rows[i], shape_index, first + i))
            return (i + 1,)

        tf.while_loop(lambda i: i < steps, body, (tf.constant(0),))
        return self.model.get_metrics_result()

    def _run(self, block):
        for number, row in enumerate(block.rows, block.first):
            self.step(self.batch(self.arrays, tf.constant(row), block.shape_index, tf.constant(number, tf.int32)))
        return self.model.get_metrics_result()
