"""Distillation: a model is trained to predict what another one, or several, predict."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.training.losses import weighted_mean

OUTPUTS = ("classes", "values")


def distil(
    model: keras.Model,
    teachers: keras.Model | Sequence[keras.Model],
    *,
    weight: float = 0.5,
    temperature: float = 2.0,
    hidden_weight: float = 0.0,
    outputs: str = "classes",
) -> None:
    """Adds to the training loss of a model its distance to the outputs of teachers, which read the same batches.

    The loss becomes `(1 - weight)` times the loss that the model is compiled with, and `weight` times the distance to
    the teachers: the cross-entropy of the softmax of both at `temperature`, less the entropy of the teacher and times
    the squared temperature, so that its gradient keeps its size; for one logit that of the sigmoid, for `values` the
    mean squared error. Several teachers give the mean of their probabilities or values. Positions count by the weights
    of the batch. The loss of a validation stays as it is.

    With `hidden_weight` the encoded sequences are compared as well, by the cosines between all pairs of positions of an
    example: they need no equal widths, so no layer that maps one to the other.

    Args:
        model: `keras.Model`, the student, which is changed: its `compute_loss`.
        teachers: built `keras.Model`, or a list of them, with the inputs and the outputs of the student.
        weight: float in [0, 1]. The share of the distance. Defaults to `0.5`.
        temperature: float, above 0. What logits are divided by. Defaults to `2.0`.
        hidden_weight: float, not negative. The factor of the distance of the encoded sequences, for models with an
            `encoder`. Defaults to `0.0`.
        outputs: string. `"classes"` for logits, or `"values"`. Defaults to `"classes"`.

    Raises:
        ValueError: if an argument is out of its range, or a model has no encoder to compare.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    x, y = np.random.default_rng(0).normal(size=(64, 8)).astype("float32"), np.arange(64) % 3
    teacher = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dense(3)])
    student = keras.Sequential([keras.layers.Dense(3)])
    teacher(x)
    student.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    kz.compress.distil(student, teacher, weight=0.9)
    student.fit(x, y, epochs=2, verbose=0)
    ```

    Reference:
        Hinton, Vinyals and Dean (2015), Distilling the Knowledge in a Neural Network, arXiv:1503.02531.
        Tung and Mori (2019), Similarity-Preserving Knowledge Distillation, arXiv:1907.09682 (encoded sequences).
    """
    owner = "distil"
    weight = _checks.number(owner, "weight", weight, low=0, high=1)
    temperature = _checks.number(owner, "temperature", temperature, low=0, low_open=True)
    hidden_weight = _checks.number(owner, "hidden_weight", hidden_weight, low=0)
    _checks.one_of(owner, "outputs", outputs, OUTPUTS)
    models: list[Any] = list(teachers) if isinstance(teachers, list | tuple) else [teachers]
    if not models:
        raise ValueError("distil: `teachers` must be one or more models; got none.")
    encoded = [_Encoded(owner, each) for each in (model, *models)] if hidden_weight else []
    own_loss = model.compute_loss

    def compute_loss(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = own_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if not training:
            return loss
        predicted = [ops.stop_gradient(teacher(x, training=False)) for teacher in models]
        distances = _distances(predicted, y_pred, temperature, outputs)
        weights = None if keras.tree.is_nested(sample_weight) else sample_weight
        total = (1 - weight) * loss + weight * weighted_mean(distances, weights)
        if hidden_weight:
            student, *others = [each.similarities() for each in encoded]
            for other in others:
                total += hidden_weight / len(others) * ops.mean(ops.square(student - ops.stop_gradient(other)))
        return total

    model.compute_loss = compute_loss


def _distances(predicted, outputs, temperature, kind):
    """Returns the distance of the outputs `[..., C]` to the mean of those of the teachers, `[...]`."""
    outputs = ops.cast(outputs, "float32")
    predicted = [ops.cast(each, "float32") for each in predicted]
    if kind == "values":
        return ops.mean(ops.square(outputs - sum(predicted) / len(predicted)), axis=-1)
    if outputs.shape[-1] == 1:  # one logit is that of two classes
        outputs, *predicted = (ops.concatenate([each, ops.zeros_like(each)], axis=-1) for each in (outputs, *predicted))
    target = sum(ops.softmax(each / temperature, axis=-1) for each in predicted) / len(predicted)
    difference = ops.log(ops.maximum(target, 1e-30)) - ops.log_softmax(outputs / temperature, axis=-1)
    return temperature**2 * ops.sum(target * difference, axis=-1)


class _Encoded:
    """The encoded sequence of the last pass of a model."""

    def __init__(self, owner, model):
        encoder: Any = getattr(model, "encoder", None)
        if not isinstance(encoder, keras.layers.Layer):
            raise ValueError(f"{owner}: `hidden_weight` needs a model with one encoder; got {model.name!r}.")
        self.last: Any = None
        call = encoder.call

        def kept(*args, **kwargs):
            self.last = call(*args, **kwargs)
            return self.last

        encoder.call = kept

    def similarities(self):
        """Returns the cosines `[B, S, S]` between the valid positions of each example, 0 elsewhere."""
        x, mask = ops.cast(self.last["sequence"], "float32"), ops.cast(self.last["mask"], "float32")
        x = x / ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))
        x = x * mask[..., None]
        return ops.matmul(x, ops.transpose(x, (0, 2, 1)))
