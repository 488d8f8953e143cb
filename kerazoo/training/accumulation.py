"""Gradients of several batches that make one update, as if those were one large batch."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerazoo import _checks


@keras.saving.register_keras_serializable(package="kerazoo")
class GradientAccumulation(keras.optimizers.Optimizer):
    """Gives another optimizer the mean gradient of every `steps` batches, so one update has the memory of one batch.

    The gradient of a batch is that of its mean loss over n positions. The update takes the sum of n times the gradient,
    divided by the sum of n, which is the gradient of the mean loss over all positions of the batches together. Here n
    is what the loss divides by: for `reduction="mean_with_sample_weight"`, as that of `SparseCrossentropy`, the sum of
    the weights, so the tokens that are not padding; for other losses the number of targets, padding included.
    `kerazoo.training.fit` sets `batch_weight` to n before each step. Elsewhere it is 1, which is the plain mean that
    `gradient_accumulation_steps` of Keras' optimizers takes.

    Everything else of an update happens once for `steps` batches: clipping, weight decay, moving averages, and the
    count of `iterations` that a learning rate schedule gets. Sums that are not complete at the end of an epoch go on in
    the next one.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer`. What updates the weights.
        steps: int, above 0. The number of batches of an update.
        name: string. Name of the optimizer. Defaults to `"gradient_accumulation"`.

    Raises:
        ValueError: if `steps` is not above 0, or there are several replicas.

    Example:

    ```python
    import keras

    import kerazoo as kz

    optimizer = kz.training.GradientAccumulation(keras.optimizers.Adam(1e-3), steps=4)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer, "mse")
    ```

    Reference:
        Ott et al. (2018), Scaling Neural Machine Translation, section 4.1, arXiv:1806.00187.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, steps: int, name: str = "gradient_accumulation"):
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.steps = _checks.positive_int("GradientAccumulation", "steps", steps)

    def build(self, variables: list):
        """Creates the sums of gradients, and the variables of the inner optimizer."""
        self.inner_optimizer.build(variables)
        super().build(variables)
        scalar = {"shape": (), "dtype": "float32"}
        self.batch_weight = self.add_variable(**scalar, initializer="ones", name="batch_weight")
        self.total_weight = self.add_variable(**scalar, name="total_weight")
        self.batches = self.add_variable(shape=(), dtype="int32", name="batches")
        self.sums = self.add_optimizer_variables(variables, "sum")

    @property
    def variables(self):
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def iterations(self):
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    def apply(self, grads: list, trainable_variables: Any = None):
        """Adds gradients to the sums, and updates the weights after the last of `steps` batches.

        The variables may be a part of those that the optimizer was built with.
        """
        if not self.built:
            self.build(list(trainable_variables))
        trainable_variables = list(trainable_variables or self._trainable_variables)
        sums = self._sums_of(trainable_variables)
        accumulators = self._accumulators(sums)
        values, last = self._added([v.value for v in accumulators], grads, sums)
        for variable, value in zip(accumulators, values):
            variable.assign(value)

        def update():
            self.inner_optimizer.apply(self._mean(values, grads, sums), trainable_variables)
            for variable in accumulators:
                variable.assign(ops.zeros_like(variable.value))

        ops.cond(last, update, lambda: None)

    def stateless_apply(self, optimizer_variables: list, grads: list, trainable_variables: list):
        """The same for values in place of variables: returns those of the weights, and those of the optimizer.

        The weights are those that are trained, which may be a part of those that the optimizer was built with.
        """
        sums = self._sums_of([variable for variable in self._trainable_variables if variable.trainable])
        accumulators = self._accumulators(sums)
        values = map(ops.convert_to_tensor, optimizer_variables)
        current = {id(variable): value for variable, value in zip(self.variables, values)}
        inner = [current[id(variable)] for variable in self.inner_optimizer.variables]
        with keras.StatelessScope(state_mapping=[(self.batch_weight, current[id(self.batch_weight)])]):
            values, last = self._added([current[id(variable)] for variable in accumulators], grads, sums)

        def update():
            mean = self._mean(values, grads, sums)
            return *self.inner_optimizer.stateless_apply(inner, mean, trainable_variables), [
                *map(ops.zeros_like, values)
            ]

        weights, inner, values = ops.cond(last, update, lambda: (list(trainable_variables), inner, values))
        current.update({id(variable): value for variable, value in zip(accumulators, values)})
        return weights, [*(current[id(variable)] for variable in self._variables), *inner]

    def finalize_variable_values(self, var_list: list):
        """Puts the moving averages of the inner optimizer into the weights, if it has some."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def _sums_of(self, variables):
        """Returns the sum of each of some variables, None where it has none."""
        return [self.sums[self._get_variable_index(variable)] for variable in variables]

    def _accumulators(self, sums):
        """Returns the variables that an update sets back to zero."""
        return [self.total_weight, self.batches, *(each for each in sums if each is not None)]

    def _added(self, values, grads, sums):
        """Returns the values of `_accumulators` after one more batch, and whether that was the last one."""
        weight, (total, batches, *before) = self.batch_weight.value, values
        given = [grad for grad, each in zip(grads, sums) if each is not None]
        after = [
            each if grad is None else each + ops.cast(weight, each.dtype) * ops.convert_to_tensor(grad)
            for each, grad in zip(before, given, strict=True)
        ]
        return [total + weight, batches + 1, *after], ops.equal(batches + 1, self.steps)

    def _mean(self, values, grads, sums):
        total, _, *added = values
        total, rest = ops.where(total > 0, total, 1.0), iter(added)  # without a position all sums are zero
        means = [grad if each is None else next(rest) for grad, each in zip(grads, sums)]
        return [
            mean if grad is None or each is None else mean / ops.cast(total, mean.dtype)
            for mean, grad, each in zip(means, grads, sums)
        ]

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"inner_optimizer": inner, "steps": self.steps, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None):
        inner = keras.saving.deserialize_keras_object(config.pop("inner_optimizer"), custom_objects=custom_objects)
        return cls(inner, **config)


def weigher(model: keras.Model) -> Callable[[Any], Any] | None:
    """Returns a function of a batch that sets `batch_weight` of the optimizer and returns it, None without a sum.

    The variable is set where the function is called, so within a `keras.StatelessScope` on JAX.
    """
    optimizer = getattr(model, "optimizer", None)
    while optimizer is not None and not isinstance(optimizer, GradientAccumulation):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    if optimizer is None:
        return None

    def weigh(batch):
        if optimizer.built:  # a model with a `train_step` of its own may build it later, and takes the plain mean
            optimizer.batch_weight.assign(_batch_weight(model.loss, batch))

    return weigh


def _batch_weight(loss, batch):
    """Returns the number that the loss of a batch divides by, up to a factor that all batches share."""
    _, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
    if targets is None:
        return ops.ones(())
    shape = keras.tree.flatten(targets)[0].shape
    weighted = getattr(loss, "reduction", None) == "mean_with_sample_weight"
    if not weighted or weights is None or keras.tree.is_nested(weights) or keras.tree.is_nested(targets):
        return ops.convert_to_tensor(float(math.prod(shape)), "float32")
    positions = math.prod(shape[len(weights.shape) :])  # an example's weight is that of each of its positions
    return ops.sum(ops.cast(weights, "float32")) * positions
