"""Losses that count real tokens only."""

import keras
from keras import ops

from kerazoo import _checks


@keras.saving.register_keras_serializable(package="kerazoo")
class SparseCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer targets and logits, averaged over the real tokens of a batch.

    The sum over all positions of weight times cross-entropy is divided by the sum of the weights, so padding, whose
    weight is zero, changes nothing, and a batch without any weight has loss zero. With label smoothing, a share of
    the target probability is spread evenly over all classes. Everything is computed in float32.

    Args:
        label_smoothing: Share of the target probability that is spread over the classes, in [0, 1).
        name: Name of the loss.

    Call arguments:
        y_true: Integers `[...]`, the classes: `[B]` for one answer an example, `[B, T]` for sequences.
        y_pred: Logits `[..., V]` of any float dtype.
        sample_weight: Numbers `[...]`, the weight of each target, or `[B]`, that of each example; 1 by default.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: `label_smoothing` lies outside [0, 1).

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    loss = kz.training.SparseCrossentropy(label_smoothing=0.1)
    targets = np.array([[5, 2, 0]])
    print(loss(targets, np.zeros((1, 3, 7), "float32"), sample_weight=targets > 0))
    ```

    Reference: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, Rethinking the Inception Architecture for Computer
    Vision, arXiv 1512.00567 (label smoothing).
    """

    def __init__(self, label_smoothing=0.0, name="sparse_crossentropy"):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")
        self.label_smoothing = _checks.number(
            "SparseCrossentropy", "label_smoothing", label_smoothing, low=0, high=1, high_open=True
        )

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            sample_weight = spread(sample_weight, ops.shape(y_pred)[:-1])  # the sum of weights counts every position
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        return token_crossentropy(y_true, y_pred, self.label_smoothing)

    def get_config(self):
        return {"label_smoothing": self.label_smoothing, "name": self.name}


def token_crossentropy(y_true, y_pred, label_smoothing=0.0):
    """Returns the cross-entropy of every target, float32 `[...]`, from integers `[...]` and logits `[..., V]`."""
    logits = ops.cast(y_pred, "float32")
    targets = ops.cast(y_true, "int32")
    losses = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    if label_smoothing:
        # The mean over all classes of -log p, without making the log-probabilities of every class.
        uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    return losses


def spread(weight, shape):
    """Returns `weight` as float32 of `shape`: a weight of an example becomes the weight of each of its positions."""
    weight = ops.cast(weight, "float32")
    for _ in range(len(shape) - len(weight.shape)):
        weight = ops.expand_dims(weight, -1)
    return ops.broadcast_to(weight, shape)
