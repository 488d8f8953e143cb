"""Many steps of a Keras model in one JAX program."""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np


class BlockProgram:
    """The compiled programs of one model, one for each batch shape.

    The variables of the model are up to date between two blocks, so callbacks read and change them as usual.

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
        logs, state = self.step(state, self.feed.batch(arrays, key, data, number))
        logs = jax.tree.map(lambda value: jnp.asarray(value, jnp.result_type(value)), logs)
        return logs, tuple(list(part) for part in state)

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


class _CreateVariables(keras.Operation):
    """Runs the model, its loss and its metrics on symbolic tensors, which creates their variables."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x, y, sample_weight):
        y_pred = self.model(x, training=False)
        self.model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        self.model.compute_metrics(x, y, y_pred, sample_weight)
        return y_pred


def build(model, batch):
    """Creates all variables of a model, its loss, metrics and optimizer.

    Args:
        model: A compiled `keras.Model`.
        batch: What a train step takes, as arrays or their shapes and dtypes.
    """

    def symbolic(array):
        dtype = None if array is None else keras.backend.standardize_dtype(array.dtype)
        return None if array is None else keras.KerasTensor(array.shape, dtype)

    parts = keras.utils.unpack_x_y_sample_weight(keras.tree.map_structure(symbolic, batch))
    try:
        _CreateVariables(model)(*parts)
    except NotImplementedError:
        if not model.built:  # a built model whose `train_step` calls several networks needs no `call`
            raise
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def check_devices(model):
    """Raises a ValueError if several devices share the model."""
    del model
    distribution = keras.distribution.distribution()
    if distribution is not None:
        raise ValueError(
            f"fit: `model` must be on one device; got a {type(distribution).__name__} distribution. "
            "Use model.fit(...), which divides each batch among its devices."
        )
