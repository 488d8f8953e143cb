"""Many steps of a Keras model in one JAX program."""

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerazoo.training.accumulation import weigher
from kerazoo.training.blocks import has_convolutions


class BlockProgram:
    """The compiled programs of one model, one for each batch shape.

    The variables of the model are up to date between two blocks, so callbacks read and change them as usual. Under a
    `keras.distribution` each batch is divided among its devices.

    Args:
        model: A compiled `keras.Model` whose variables exist.
        kind: `"train"` or `"test"`.
        feed: A `Feed`.
        check: The `StepCheck` of the model.
        jit_compile: Not used: JAX compiles with XLA unless the model runs eagerly.
    """

    def __init__(self, model, kind, feed, check, jit_compile=True):
        del jit_compile
        self.model = model
        self.kind = kind
        self.step = model.train_step if kind == "train" else model.test_step
        self.feed = feed
        self.check = check
        self.weigh = weigher(model) if kind == "train" else None
        self.distribution = keras.distribution.distribution()
        self.compiled_step = jax.jit(self._step, static_argnums=0, inline=True)
        self.compiled_loop = jax.jit(self._loop, static_argnums=0, donate_argnums=1)
        # XLA on a CPU runs a convolution inside a loop without its fast kernels.
        self.loop_in_xla = jax.default_backend() != "cpu" or not has_convolutions(model)

    def __call__(self, block):
        """Runs the steps of a block; returns the logs of the last one, and index and number of the first fault."""
        model = self.model
        variables = [model.trainable_variables, model.non_trainable_variables, model.metrics_variables]
        if self.kind == "train":
            variables.insert(2, model.optimizer.variables if model.optimizer is not None else [])
        state = tuple([variable.value for variable in part] for part in variables)
        run = self.compiled_loop if self.loop_in_xla and not model.run_eagerly else self._run_one_by_one
        steps, number = np.int32(block.steps), np.int32(block.number)
        logs, fault, state = run(block.key, state, self.feed.arrays, block.data, steps, number)
        for part, values in zip(variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        return logs, fault

    def _step(self, key, state, arrays, data, number):
        batch = self.feed.batch(arrays, key, data, number)
        if self.distribution is not None:
            batch = jax.tree.map(self._distribute, batch)
        state = self._weighed(state, batch)
        logs, state = self.step(state, batch)
        fault = self.check(batch, logs)
        logs = jax.tree.map(lambda value: jnp.asarray(value, jnp.result_type(value)), logs)
        return logs, fault, tuple(list(part) for part in state)

    def _weighed(self, state, batch):
        """Returns the state, with the weight of the batch among the variables of an optimizer that takes it."""
        if self.weigh is None:
            return state
        variables = self.model.optimizer.variables
        with keras.StatelessScope(state_mapping=zip(variables, state[2])) as scope:
            self.weigh(batch)
        return (*state[:2], [scope.get_current_value(variable) for variable in variables], state[3])

    def _distribute(self, array):
        """Divides an array of a batch among the devices."""
        return keras.distribution.distribute_tensor(array, self.distribution.get_data_layout(array.shape))

    def _loop(self, key, state, arrays, data, steps, number):
        def body(index, carried):
            _, fault, state = carried
            # Traced once, for the shapes of the logs and for the loop.
            logs, found, state = self.compiled_step(
                key, state, arrays, [array[index] for array in data], number + index
            )
            return logs, self.check.first(fault, index, found), state

        first = [array[0] for array in data]
        logs, _, _ = jax.eval_shape(lambda: self.compiled_step(key, state, arrays, first, number))
        logs = jax.tree.map(lambda spec: jnp.zeros(spec.shape, spec.dtype), logs)
        return jax.lax.fori_loop(0, steps, body, (logs, jnp.zeros(2, "int32"), state))

    def _run_one_by_one(self, key, state, arrays, data, steps, number):
        step = self._step if self.model.run_eagerly else self.compiled_step
        fault = jnp.zeros(2, "int32")
        for index in range(steps):
            one = [array[index] for array in data]
            logs, found, state = step(key, state, arrays, one, number + np.int32(index))
            fault = self.check.first(fault, index, found)
        return logs, fault, state


def count_devices(owner, model):
    """Returns the number of devices that share a batch; a ValueError if several processes share the model."""
    del model
    if jax.process_count() > 1:
        raise ValueError(
            f"{owner}: `model` must be in one process; got {jax.process_count()}. Use model.fit(...), which divides "
            "the data among them."
        )
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
