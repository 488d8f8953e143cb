"""Many steps of a Keras model in one JAX program."""

import jax
import keras
import numpy as np


class _Endless(keras.utils.PyDataset):
    """A data set that is never read, unless Keras wants an example of a batch to build a layer with."""

    def __init__(self, example):
        super().__init__()
        self.example = example

    num_batches = 1 << 62

    def __getitem__(self, index):
        return jax.tree.map(np.asarray, self.example())


def endless(example):
    """Returns what `Model.fit` takes as data: a stream of nothing, for the programs know their batches."""
    return _Endless(example)


def outline(function):
    """Returns what `function` returns, or something of the same shapes and dtypes."""
    return jax.eval_shape(function)


def refuse_many_devices(model):
    """Says how many devices share the model if they are more than one, else returns the empty string."""
    del model
    distribution = keras.distribution.distribution()
    return f"a {type(distribution).__name__}" if distribution is not None else ""


class Programs:
    """The compiled programs of one model over one corpus, one for each batch shape.

    Args:
        model: A built and compiled Keras model.
        step: `"train"` or `"test"`.
        arrays: The corpus on the device.
        batch: Function of `(arrays, rows, shape_index, step)` that returns the data of the step of that number.
        jit: Not used: JAX always compiles with XLA.
    """

    def __init__(self, model, step, arrays, batch, jit=True):
        del jit
        self.model = model
        self.step = model.train_step if step == "train" else model.test_step
        self.arrays = arrays
        self.batch = batch
        self.program = jax.jit(self._loop, static_argnums=0, donate_argnums=1)

    def __call__(self, state, block, capacity):
        """Runs the steps of `block` from `state` and returns the logs and the new state."""
        steps = len(block.rows)
        state = tuple(list(part) for part in state)
        if self.model.run_eagerly:
            return self._run(state, block)
        rows = np.pad(block.rows, [(0, capacity - steps)] + [(0, 0)] * (block.rows.ndim - 1))
        return self.program(block.shape_index, state, self.arrays, rows, np.int32(steps), np.int32(block.first))

    def _loop(self, shape_index, state, arrays, rows, steps, first):
        def body(i, state):
            _, state = self.step(state, self.batch(arrays, rows[i], shape_index, first + i))
            return tuple(list(part) for part in state)

        state = jax.lax.fori_loop(0, steps, body, state)
        return self._logs(state), state

    def _run(self, state, block):
        for number, row in enumerate(block.rows, block.first):
            _, state = self.step(state, self.batch(self.arrays, row, block.shape_index, np.int32(number)))
        return self._logs(state), state

    def _logs(self, state):
        # The last part of the state holds the metrics; the model's own variables are out of date while it trains.
        with keras.StatelessScope(state_mapping=list(zip(self.model.metrics_variables, state[-1], strict=True))):
            return self.model.get_metrics_result()
