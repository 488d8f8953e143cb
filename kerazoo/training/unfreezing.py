"""Layers that are frozen, and that training unfreezes at the beginning of given epochs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerazoo import _checks

NOT_YET = -1


def set_trainable(layer: keras.layers.Layer, trainable: bool) -> None:
    """Freezes or unfreezes a layer and all layers in it, one by one.

    Unlike `layer.trainable = False` it leaves the layers around those with weights as they are, so that a part of a
    frozen layer can be unfrozen later. Frozen batch normalization uses its moving statistics and does not change them,
    as in Keras; frozen dropout still drops.

    Args:
        layer: `keras.layers.Layer`.
        trainable: bool. Whether its weights are trained from now on.
    """
    for each in layer._flatten_layers():
        if each._layers:  # the flag would be passed on to the layers inside
            for variable in each._trainable_variables:
                variable.trainable = trainable
        else:
            each.trainable = trainable


class Unfreeze(keras.callbacks.Callback):
    """Unfreezes layers at the beginning of given epochs, for `kerazoo.training.fit`.

    The optimizer has its variables for all of these layers from the beginning (call `build_optimizer`), so that
    checkpoints do not depend on the epoch, and a resumed training is exact. `fit` compiles a new program after each
    change. What Adam, AdamW and the Adam part of Muon divide by to correct the bias of their averages counts the
    updates since a layer was unfrozen: by those of the whole training its first updates would be several times too
    large.

    Args:
        layers: mapping from the number of an epoch, counted from 1, to a list of layers that are trained from that
            epoch on, frozen by `set_trainable`.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5), keras.layers.Dense(2)])
    unfreeze = kz.training.Unfreeze({2: [model.layers[0]]})
    model.compile("adam", "mse")
    unfreeze.build_optimizer(model)
    x = np.ones((8, 3), "float32")
    kz.training.fit(model, (x, x[:, :2]), epochs=3, batch_size=4, callbacks=[unfreeze])
    ```

    Reference:
        Howard and Ruder, 2018, Universal Language Model Fine-tuning for Text Classification, section 3.3,
        arXiv:1801.06146.
    """

    def __init__(self, layers: Mapping[int, Sequence[keras.layers.Layer]]):
        super().__init__()
        self.layers = {
            _checks.positive_int("Unfreeze", "layers", epoch): list(each) for epoch, each in sorted(layers.items())
        }
        self._starts: list[tuple[Any, dict[int, keras.Variable]]] = []  # by optimizer: the updates before each epoch

    def build_optimizer(self, model: keras.Model) -> None:
        """Builds the optimizer of a compiled model for all weights that are trained at some time; freezes the layers.

        Args:
            model: `keras.Model`. One that is compiled; its optimizer is not built yet.
        """
        for layers in self.layers.values():
            for layer in layers:
                set_trainable(layer, True)
        model.optimizer.build(model.trainable_variables)
        for layers in self.layers.values():
            for layer in layers:
                set_trainable(layer, False)
        for optimizer in _optimizers(model.optimizer):
            _take_some(optimizer)
            if hasattr(optimizer, "inner_optimizer"):
                continue
            starts = {
                epoch: optimizer.add_variable((), keras.initializers.Constant(NOT_YET), "int32", name=f"start_{epoch}")
                for epoch in self.layers
            }
            self._starts.append((optimizer, starts))
            self._correct(optimizer, starts)

    def _correct(self, optimizer, starts):
        """Lets the correction of the bias of a layer count the updates since it was unfrozen."""
        betas = [getattr(optimizer, f"{prefix}beta_{n}", None) for prefix in ("", "adam_") for n in (1, 2)]
        betas = [beta for beta in betas if beta is not None]
        velocities = getattr(optimizer, "adam_velocities", None)  # of Muon: None where it is not Adam
        if len(betas) != 2 or isinstance(optimizer, keras.optimizers.Lion):
            return
        late = {optimizer._get_variable_index(v): starts[epoch] for v, epoch in self._first_epochs()}
        update = optimizer.update_step

        def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
            index = optimizer._get_variable_index(variable)
            if index in late and (velocities is None or velocities[index] is not None):
                learning_rate = learning_rate * _correction(betas, optimizer.iterations, late[index])
            update(gradient, variable, learning_rate)

        optimizer.update_step = update_step

    def _first_epochs(self):
        """Returns the weights of the layers with the first epoch in which they are trained."""
        found: dict[int, tuple[keras.Variable, int]] = {}
        for epoch, layers in self.layers.items():
            for variable in [each for layer in layers for each in _trained(layer)]:
                found.setdefault(id(variable), (variable, epoch))
        return list(found.values())

    def first_epochs(self) -> dict[int, int]:
        """Returns the number of the first epoch in which each weight is trained, by the `id` of the variable."""
        return {id(variable): epoch for variable, epoch in self._first_epochs()}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None):
        """Unfreezes the layers of this epoch and of those before it."""
        for number, layers in self.layers.items():
            if number > epoch + 1:
                continue
            for layer in layers:
                set_trainable(layer, True)
            for optimizer, starts in self._starts:
                if int(ops.convert_to_numpy(starts[number].value)) == NOT_YET:
                    # A number and not the variable, whose buffer JAX would donate twice.
                    starts[number].assign(int(ops.convert_to_numpy(optimizer.iterations)))


def _optimizers(optimizer) -> Iterator[keras.optimizers.Optimizer]:
    """Yields an optimizer and those inside it."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def _trained(layer):
    """Returns the weights of a layer that `set_trainable` changes."""
    return [variable for each in layer._flatten_layers() for variable in each._trainable_variables]


def _correction(betas, updates, start):
    """Returns by what a rate is multiplied so that the averages are corrected by the updates since `start`."""
    whole = ops.cast(updates, "float32") + 1.0
    since = whole - ops.cast(start.value, "float32")
    one, two = ((1.0 - beta**whole) / (1.0 - beta**since) for beta in betas)
    return one / ops.sqrt(two)


def _take_some(optimizer):
    """Lets `stateless_apply` of an optimizer, which JAX calls, take a part of its variables: those that are trained."""
    if keras.backend.backend() != "jax" or hasattr(optimizer, "inner_optimizer"):
        return

    def stateless_apply(optimizer_variables: list, grads: list, trainable_variables: list) -> tuple[list, list]:
        trained = [variable for variable in optimizer._trainable_variables if variable.trainable]
        mapping = [*zip(trained, trainable_variables, strict=True), *zip(optimizer.variables, optimizer_variables)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            optimizer.apply(grads, trained)
        weights, state = ([scope.get_current_value(v) for v in part] for part in (trained, optimizer.variables))
        return weights, state

    optimizer.stateless_apply = stateless_apply
