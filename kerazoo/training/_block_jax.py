"""Many steps of a Keras model in one JAX program."""

import os

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerazoo import _checks
from kerazoo.training import processes
from kerazoo.training.accumulation import weigher
from kerazoo.training.blocks import has_convolutions


class BlockProgram:
    """The compiled programs of one model, one for each batch shape.

    The variables of the model are up to date between two blocks, so callbacks read and change them as usual. Under a
    `keras.distribution` each batch is divided among its devices, and the state is laid out as its variables are. A
    batch whose rows are not divisible by the devices is computed by all of them. Several processes read the examples of
    their own devices.

    Args:
        model: A compiled `keras.Model` whose variables exist.
        kind: `"train"` or `"test"`.
        feed: A `Feed`.
        check: The `StepCheck` of the model.
        jit_compile: Not used: JAX compiles with XLA unless the model runs eagerly.
        change_batch: Function of a batch and the number of its step, or `None`. See `fit`. Defaults to `None`.
    """

    def __init__(self, model, kind, feed, check, jit_compile=True, change_batch=None):
        del jit_compile
        self.model = model
        self.kind = kind
        self.step = model.train_step if kind == "train" else model.test_step
        self.feed = feed
        self.check = check
        self.change_batch = change_batch
        self.weigh = weigher(model) if kind == "train" else None
        self.distribution = keras.distribution.distribution()
        if self.distribution is not None:
            feed.arrays = jax.device_put(feed.arrays, self._sharding())  # once, and not with every block
        self.compiled_step = jax.jit(self._step, static_argnums=0, inline=True)
        self.compiled_loop = jax.jit(self._loop, static_argnums=0, donate_argnums=1)
        # XLA on a CPU runs a convolution inside a loop without its fast kernels.
        self.loop_in_xla = jax.default_backend() != "cpu" or not has_convolutions(model)

    def __call__(self, block):
        """Runs the steps of a block; returns the logs of the last one, and index and number of the first fault."""
        model, variables = self.model, self._variables()
        state = tuple([variable.value for variable in part] for part in variables)
        run = self.compiled_loop if self.loop_in_xla and not model.run_eagerly else self._run_one_by_one
        steps, number = np.int32(block.steps), np.int32(block.number)
        data = block.data if processes.count() == 1 or self.distribution is None else self._read(block)
        logs, fault, state = run(block.key, state, self.feed.arrays, data, steps, number)
        for part, values in zip(variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        return logs, fault

    def _step(self, key, state, arrays, data, number):
        batch = self.feed.batch(arrays, key, data, number)
        if self.distribution is not None:
            batch = jax.tree.map(self._distribute, batch)
        batch = self._changed(state, batch, number)
        state = self._weighed(state, batch)
        logs, state = self.step(state, batch)
        fault = self.check(batch, logs)
        logs = jax.tree.map(lambda value: jnp.asarray(value, jnp.result_type(value)), logs)
        state = tuple(list(part) for part in state)
        if self.distribution is not None:
            logs, fault = jax.lax.with_sharding_constraint((logs, fault), self._sharding())
            state = jax.lax.with_sharding_constraint(state, self._state_shardings())
        return logs, fault, state

    def _changed(self, state, batch, number):
        """Returns the batch for the step."""
        if self.change_batch is None:
            return batch
        variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        with keras.StatelessScope(state_mapping=zip(variables, [*state[0], *state[1]])):
            return self.change_batch(batch, number)

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
        return jax.lax.with_sharding_constraint(array, self._sharding(array.shape, 0))

    def _sharding(self, shape=(), axis=None):
        """Returns the sharding of an array whose axis `axis` is divided among the devices, replicated otherwise."""
        mesh, name = self.distribution.device_mesh, self.distribution.batch_dim_name
        count = mesh.shape[mesh.axis_names.index(name)]
        divided = axis is not None and axis < len(shape) and shape[axis] % count == 0
        axes = (*[None] * (axis or 0), name) if divided else ()
        return jax.sharding.NamedSharding(mesh.backend_mesh, jax.sharding.PartitionSpec(*axes))

    def _variables(self):
        """Returns the variables of the state: trainable, others, those of the optimizer in training, of the metrics."""
        model = self.model
        variables = [model.trainable_variables, model.non_trainable_variables, model.metrics_variables]
        if self.kind == "train":
            variables.insert(2, model.optimizer.variables if model.optimizer is not None else [])
        return variables

    def _state_shardings(self):
        """Returns the shardings of the state, which are those of its variables, replicated where they have none."""
        layouts = [[getattr(each, "_layout", None) for each in part] for part in self._variables()]
        return tuple(
            [self._sharding() if layout is None else layout.backend_layout for layout in part] for part in layouts
        )

    def _read(self, block):
        """Returns the data of a block, of which this process reads what its own devices need."""
        shape, rows = block.data[0].shape, block.data[0].shape[1:2]
        indices = self._sharding(shape, 1).addressable_devices_indices_map(shape).values()
        parts = {_bounds(index, rows) for index in indices}
        read = {bounds: self._read_rows(block, bounds) for bounds in parts}
        arrays = []
        for number, first in enumerate(next(iter(read.values()))):
            shape = (first.shape[0], *rows, *first.shape[2:]) if first.ndim > 1 else first.shape
            part = lambda index, number=number: read[_bounds(index, rows)][number]  # noqa: E731
            arrays.append(jax.make_array_from_callback(shape, self._sharding(shape, 1), part))
        return arrays

    def _read_rows(self, block, part):
        """Returns the arrays of some rows of the batches of a block; those after its last batch are zeros."""
        capacity = block.data[0].shape[0]
        data = [array[: block.steps, slice(*part)] if array.ndim > 1 else array for array in block.data]
        arrays = self.feed.read(block.key, data)
        fill = lambda array: [(0, capacity - len(array)), *[(0, 0)] * (array.ndim - 1)]  # noqa: E731
        return [np.pad(array.astype(jax.dtypes.canonicalize_dtype(array.dtype)), fill(array)) for array in arrays]

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


def start_profile(folder):
    """Begins to record what the devices do, for TensorBoard."""
    jax.profiler.start_trace(folder)


def stop_profile():
    """Writes what was recorded."""
    jax.profiler.stop_trace()


def make_deterministic():
    """Raises a SetupError unless XLA was started so that operations give the same numbers in each process."""
    if jax.default_backend() == "gpu" and "xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", ""):
        raise _checks.SetupError(
            "deterministic training: JAX on a GPU reads it from the environment when it starts. Put "
            "xla_gpu_deterministic_ops=true among the XLA_FLAGS."
        )


def count_devices(owner, model):
    """Returns by what the rows of a batch must be divisible: nothing, for all devices compute one that is not."""
    del owner, model
    return 1


def _bounds(index, rows):
    """Returns first and last row of the part of an array `[capacity, rows, ...]` that `index` selects."""
    return index[1].indices(*rows)[:2] if len(index) > 1 else (0, *rows)
