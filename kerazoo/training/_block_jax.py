"""Many steps of a Keras model in one JAX program."""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerazoo.training.build import build


class BlockProgram:
    """The compiled programs of one model, one for each batch shape.

    The variables of the model are up to date between two blocks, so callbacks read and change them as usual. Under a
    `keras.distribution` each batch is divided among its devices.

    Args:
        model: A compiled `keras.Model`. Variables that do not exist yet are created before the first step.
        kind: `"train"` or `"test"`.
        feed: A `DeviceFeed` or a `StreamFeed`.
        jit_compile: Not used: JAX compiles with XLA unless the model runs eagerly.
    """

    def __init__(self, model, kind, feed, jit_compile=True):
        del jit_compile
        self.model = model
        self.kind = kind
        self.step = model.train_step if kind == "train" else model.test_step
        self.feed = feed
        self.distribution = keras.distribution.distribution()
        self.built = False
        self.compiled_step = jax.jit(self._step, static_argnums=0, inline=True)
        self.compiled_loop = jax.jit(self._loop, static_argnums=0, donate_argnums=1)

    def __call__(self, block):
        """Runs the steps of a block and returns the logs of the last one."""
        if not self.built:
            first = [array[0] for array in block.data]
            build(self.model, jax.eval_shape(lambda: self.feed.batch(self.feed.arrays, block.key, first, np.int32(0))))
            self.built = True
        variables = self._variables()
        state = tuple([variable.value for variable in part] for part in variables)
        run = self._run_eagerly if self.model.run_eagerly else self.compiled_loop
        steps, number = np.int32(block.steps), np.int32(block.number)
        logs, state = run(block.key, state, self.feed.arrays, block.data, steps, number)
        for part, values in zip(variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        return logs

    def _variables(self):
        """Returns the lists of variables that Keras' steps take as their state."""
        model = self.model
        parts = [model.trainable_variables, model.non_trainable_variables, model.metrics_variables]
        if self.kind == "train":
            parts.insert(2, model.optimizer.variables if model.optimizer is not None else [])
        return parts

    def _step(self, key, state, arrays, data, number):
        batch = self.feed.batch(arrays, key, data, number)
        if self.distribution is not None:
            batch = jax.tree.map(self._distribute, batch)
        logs, state = self.step(state, batch)
        logs = jax.tree.map(lambda value: jnp.asarray(value, jnp.result_type(value)), logs)
        return logs, tuple(list(part) for part in state)

    def _distribute(self, array):
        """Divides an array of a batch among the devices."""
        return keras.distribution.distribute_tensor(array, self.distribution.get_data_layout(array.shape))

    def _loop(self, key, state, arrays, data, steps, number):
        step = functools.partial(self.compiled_step, key)  # traced once, for the shapes of the logs and for the loop

        def body(index, carried):
            _, state = carried
            return step(state, arrays, [array[index] for array in data], number + index)

        logs, _ = jax.eval_shape(step, state, arrays, [array[0] for array in data], number)
        logs = jax.tree.map(lambda spec: jnp.zeros(spec.shape, spec.dtype), logs)
        return jax.lax.fori_loop(0, steps, body, (logs, state))

    def _run_eagerly(self, key, state, arrays, data, steps, number):
        for index in range(steps):
            logs, state = self._step(key, state, arrays, [array[index] for array in data], number + np.int32(index))
        return logs, state


def count_devices(model):
    """Returns the number of devices that share a batch; a ValueError if several processes share the model."""
    del model
    if jax.process_count() > 1:
        raise ValueError(
            f"fit: `model` must be in one process; got {jax.process_count()}. Use model.fit(...), which divides the "
            "data among them."
        )
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
