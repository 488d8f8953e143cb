"""Pruning: the smallest weights become zero while a model trains, by a schedule."""

import re
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.compress.quantization import weights_of
from kerazoo.compress.sparsity import parse_sparsity
from kerazoo.compress.stored_weight import matrix_shape
from kerazoo.training.weight_averages import moving_averages


class Pruning(keras.callbacks.Callback):
    """Sets the smallest weights of each kernel and embedding to zero while a model trains, more and more of them.

    The share of zeros rises from 0 at step `begin` to `sparsity` at step `end`, as `s (1 - (1 - t)^3)` for t from 0 to
    1, fast at first, while there are many weights to choose from. Every `every_steps` the weights with the smallest
    absolute values in each kernel become zero. They stay zero: each update of the optimizer is followed by the masks,
    whatever momentum it has. After `end` the model trains with the masks as they are.

    The masks are variables of the optimizer, so that a checkpoint holds them and a resumed training goes on with them.
    Weights that are zero at the beginning stay zero, as in a model that was pruned before.

    Args:
        sparsity: float in [0, 1), the share of zeros of each kernel; or `"N:M"`, such as `"2:4"`: of every M
            consecutive inputs of an output at most N weights are not zero, which some devices multiply faster. 0 keeps
            the zeros that there are. Defaults to `0.8`.
        begin: int, not negative. The step before which all weights are trained. Defaults to `0`.
        end: int, not below `begin`. The step from which on the share of zeros does not change. Defaults to `1000`.
        every_steps: int, above 0. The steps between two updates of the masks. Defaults to `100`.
        layers: string. A regular expression that is found in the paths of the weights that are pruned. Defaults to
            `""`: all kernels and embeddings of at least 256 values.

    Raises:
        ValueError: if an argument is out of its range, or no weight is chosen.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(16)])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(96, 64)).astype("float32")
    pruning = kz.compress.Pruning(0.75, end=6, every_steps=2)
    model.fit(x, x[:, :16], batch_size=16, epochs=2, callbacks=[pruning], verbose=0)
    assert np.mean(keras.ops.convert_to_numpy(model.layers[0].kernel) == 0) == 0.75
    ```

    Reference:
        Zhu and Gupta (2017), To prune, or not to prune: exploring the efficacy of pruning for model compression,
        arXiv:1710.01878.
        Mishra et al. (2021), Accelerating Sparse Deep Neural Networks, arXiv:2104.08378 (2:4).
    """

    def __init__(
        self,
        sparsity: float | str = 0.8,
        begin: int = 0,
        end: int = 1000,
        every_steps: int = 100,
        layers: str = "",
    ):
        super().__init__()
        self.sparsity, self.group = parse_sparsity("Pruning", sparsity)
        self.begin = _checks.non_negative_int("Pruning", "begin", begin)
        self.end = _checks.non_negative_int("Pruning", "end", end)
        if self.end < self.begin:
            raise ValueError(f"Pruning: `end` must not be below `begin`; got begin={begin}, end={end}.")
        self.every_steps = _checks.positive_int("Pruning", "every_steps", every_steps)
        self.layers = layers
        self._masks: list[tuple[Any, Any]] = []
        self._optimizer = None

    def attach(self, model: keras.Model) -> None:
        """Gives the optimizer of a compiled model the masks. `fit` does so; a checkpoint is loaded after it.

        Args:
            model: a built and compiled `keras.Model`.
        """
        if self._optimizer is model.optimizer:
            return
        optimizer = self._optimizer = model.optimizer
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        while hasattr(optimizer, "inner_optimizer"):  # whose update the masks follow
            optimizer = optimizer.inner_optimizer
        chosen = [v for _, v in weights_of(model, "Pruning") if v.trainable and re.search(self.layers, v.path)]
        if not chosen:
            raise ValueError(
                f"Pruning: `layers` must be found in the path of a trained kernel or embedding; got {self.layers!r} "
                f"for {model.name!r}."
            )
        self._masks = []
        for variable in chosen:
            mask = optimizer.add_variable(
                variable.shape, initializer="ones", dtype="bool", name=f"{variable.name}_mask"
            )
            variable.constraint = Mask(mask)
            self._masks.append((variable, mask))

    def on_train_begin(self, logs: dict | None = None):
        """Adds the masks to the optimizer, unless they are there. At the beginning they are those of the zeros."""
        self.attach(self.model)
        self._due, self._share = self._step() // self.every_steps, 0.0
        for variable, mask in self._masks:
            nonzero = ops.convert_to_numpy(variable.value) != 0
            if nonzero.any() and ops.convert_to_numpy(mask.value).all():
                mask.assign(nonzero)

    def on_train_batch_end(self, batch: int, logs: dict | None = None):
        """Updates the masks every `every_steps`, and those of the averages of the weights."""
        step = self._step()
        due, share = step // self.every_steps, min(1.0, (step - self.begin) / max(1, self.end - self.begin))
        if (due != self._due or share == 1) and share >= 0 and self._share < 1:
            self._due, self._share = due, share
            self.update(share)
        masks = {id(variable): mask for variable, mask in self._masks}
        for variable, average in moving_averages(self.model.optimizer):
            if id(variable) in masks:
                average.assign(ops.where(masks[id(variable)].value, average.value, 0.0))

    def _step(self):
        return self.params["step"] if "step" in (self.params or {}) else int(self.model.optimizer.iterations.value)

    def update(self, share: float) -> None:
        """Makes the masks of a moment of the schedule, and sets the weights that they exclude to zero.

        Args:
            share: float in [0, 1]. 0 at `begin`, 1 from `end` on.
        """
        sparsity = self.sparsity * (1 - (1 - share) ** 3)
        for variable, mask in self._masks:
            value = ops.convert_to_numpy(variable.value)
            kept = _largest(value, variable.name, sparsity, self.group, share) & ops.convert_to_numpy(mask.value)
            mask.assign(kept)
            variable.assign(np.where(kept, value, 0))


class Mask(keras.constraints.Constraint):
    """Sets the weights to zero that a mask excludes.

    Args:
        mask: bool variable of the shape of the weight, True for weights that are kept.
    """

    def __init__(self, mask: Any):
        self.mask = mask

    def __call__(self, w: Any) -> Any:
        w = ops.convert_to_tensor(w)  # JAX makes no zeros like a variable of Keras
        return ops.where(self.mask.value, w, ops.zeros_like(w))


def sparsity_of(model: keras.Model) -> float:
    """Returns the share of zeros in the kernels and embeddings of a built model."""
    values = [ops.convert_to_numpy(variable.value) for _, variable in weights_of(model, "sparsity_of")]
    return sum(int((value == 0).sum()) for value in values) / sum(value.size for value in values)


def _largest(value, name, sparsity, group, share):
    """Returns True for the weights that a sparsity keeps."""
    if group is not None:
        return _largest_of_groups(value, name, group, share)
    zeros = round(sparsity * value.size)
    kept = np.ones(value.size, bool)
    kept[np.argsort(np.abs(value).reshape(-1), kind="stable")[:zeros]] = False
    return kept.reshape(value.shape)


def _largest_of_groups(value, name, group, share):
    """Returns True for the largest weights of every M inputs of an output; the last ones may be fewer."""
    n, m = group
    zeros = round((m - n) * (1 - (1 - share) ** 3))
    rows, columns = matrix_shape(name, value.shape)
    by_row = "embeddings" in name
    matrix = value.reshape(columns, rows) if by_row else value.reshape(rows, columns).T  # [columns, rows]
    # Of the last group the missing ones are left out first.
    padded = np.pad(np.abs(matrix), ((0, 0), (0, -rows % m)), constant_values=-1)
    order = np.argsort(padded.reshape(columns, -1, m), axis=-1, kind="stable")
    kept = np.ones(order.shape, bool)
    np.put_along_axis(kept, order[..., :zeros], False, axis=-1)
    kept = kept.reshape(columns, -1)[:, :rows]
    return kept.reshape(value.shape) if by_row else kept.T.reshape(value.shape)
