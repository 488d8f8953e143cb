"""Losses that leave out padding."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks


class PositionLoss(keras.losses.Loss):
    """The base of losses with one value for each position, averaged over the positions by their weights.

    Args:
        name: string. Name of the loss.
    """

    def __init__(self, name: str):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        if sample_weight is not None:
            # One weight for each position, so that their sum counts all of them.
            sample_weight = broadcast_weight(sample_weight, ops.shape(y_pred)[:-1])
        return super().__call__(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="kerazoo")
class SparseCrossentropy(PositionLoss):
    """Cross-entropy of integer targets and logits, averaged over the tokens of a batch that are not padding.

    The sum of weight times cross-entropy over all positions is divided by the sum of the weights. Padding has weight
    zero, so it changes nothing; a batch whose weights are all zero has loss zero. With label smoothing, a share of
    the target probability is spread evenly over all classes. Everything is computed in float32.

    Args:
        label_smoothing: float in `[0, 1)`. Share of the target probability that is spread over the classes. Defaults
            to `0.0`.
        name: string. Name of the loss. Defaults to `"sparse_crossentropy"`.

    Call arguments:
        y_true: int tensor `[...]`, the classes: `[B]` for one class an example, `[B, T]` for sequences.
        y_pred: float tensor `[..., V]`, the logits.
        sample_weight: tensor `[...]`, the weight of each target, or `[B]`, the weight of each example. Defaults to 1.

    Returns:
        float32 scalar.

    Raises:
        ValueError: if `label_smoothing` is out of its range.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    loss = kz.training.SparseCrossentropy(label_smoothing=0.1)
    targets = np.array([[5, 2, 0]])
    print(loss(targets, np.zeros((1, 3, 7), "float32"), sample_weight=targets > 0))
    ```

    Reference: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, Rethinking the Inception Architecture for Computer
    Vision, arXiv:1512.00567 (label smoothing).
    """

    from_logits = True

    def __init__(self, label_smoothing: float = 0.0, name: str = "sparse_crossentropy"):
        super().__init__(name)
        self.label_smoothing = _checks.number(
            "SparseCrossentropy", "label_smoothing", label_smoothing, low=0, high=1, high_open=True
        )

    def call(self, y_true: Any, y_pred: Any):
        return token_crossentropy(y_true, y_pred, self.label_smoothing)

    def get_config(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing, "name": self.name}


def token_crossentropy(y_true: Any, y_pred: Any, label_smoothing: float = 0.0) -> Any:
    """Returns the cross-entropy of every target, float32 `[...]`, from integers `[...]` and logits `[..., V]`."""
    logits = ops.cast(y_pred, "float32")
    targets = ops.cast(y_true, "int32")
    losses = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    if label_smoothing:
        # The mean over all classes of -log p, without making the log-probabilities of every class.
        uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    return losses


def broadcast_weight(weight: Any, shape: Any) -> Any:
    """Returns `weight` as float32 of `shape`: the weight of an example becomes that of each of its positions."""
    weight = ops.cast(weight, "float32")
    for _ in range(len(shape) - len(weight.shape)):
        weight = ops.expand_dims(weight, -1)
    return ops.broadcast_to(weight, shape)


def weighted_mean(values: Any, weights: Any = None) -> Any:
    """Returns the mean of values `[B, ...]` by weights of their first axes, by equal ones where there are none."""
    if weights is None:
        return ops.mean(values)
    weights = broadcast_weight(weights, ops.shape(values))
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1e-7)


@keras.saving.register_keras_serializable(package="kerazoo")
class QuantileLoss(PositionLoss):
    """The pinball loss of predicted quantiles, averaged over quantiles and values.

    For quantile q and error e = y - prediction it is max(q e, (q - 1) e), whose mean is smallest where the prediction
    is the quantile q of y.

    Args:
        quantiles: tuple of Q floats, in (0, 1) and ascending.
        name: string. Name of the loss. Defaults to `"quantile_loss"`.

    Call arguments:
        y_true: float tensor `[..., V]`, the values.
        y_pred: float tensor `[..., V * Q]`, the quantiles of each value side by side.
        sample_weight: tensor `[...]`, the weight of each vector. Defaults to 1.

    Returns:
        float32 scalar.

    Raises:
        ValueError: if `quantiles` are not ascending numbers in (0, 1).

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    loss = kz.training.QuantileLoss((0.1, 0.5, 0.9))
    print(loss(np.ones((2, 5, 1), "float32"), np.zeros((2, 5, 3), "float32")))
    ```

    Reference: Koenker and Bassett 1978, Regression Quantiles.
    """

    def __init__(self, quantiles: Any, name: str = "quantile_loss"):
        super().__init__(name)
        self.quantiles = _checks.quantiles("QuantileLoss", "quantiles", quantiles)

    def call(self, y_true: Any, y_pred: Any):
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        y_pred = ops.reshape(y_pred, (*ops.shape(y_true), len(self.quantiles)))  # [..., V, Q]
        errors, levels = y_true[..., None] - y_pred, np.array(self.quantiles, "float32")
        return ops.mean(ops.maximum(levels * errors, (levels - 1) * errors), axis=(-2, -1))

    def get_config(self) -> dict[str, Any]:
        return {"quantiles": self.quantiles, "name": self.name}


@keras.saving.register_keras_serializable(package="kerazoo")
class SpectrogramLoss(PositionLoss):
    """The mean absolute error of frames, plus the binary cross-entropy of the logit that the sound ends with them.

    Both are averaged over the positions that are not padding.

    Args:
        name: string. Name of the loss. Defaults to `"spectrogram_loss"`.

    Call arguments:
        y_true: float tensor `[..., F + 1]`, the values of a position, then 1 where it is the last one, else 0.
        y_pred: float tensor `[..., F + 1]`, the predicted values, then the logit of the last position.
        sample_weight: tensor `[...]`, the weight of each position. Defaults to 1.

    Returns:
        float32 scalar.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    loss = kz.training.SpectrogramLoss()
    print(loss(np.ones((2, 5, 4), "float32"), np.zeros((2, 5, 4), "float32")))
    ```

    Reference: Wang et al. 2017, Tacotron: Towards End-to-End Speech Synthesis, arXiv:1703.10135 (the error of frames);
    Shen et al. 2018, arXiv:1712.05884 (the logit of the end).
    """

    def __init__(self, name: str = "spectrogram_loss"):
        super().__init__(name)

    def call(self, y_true: Any, y_pred: Any):
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        errors = ops.mean(ops.abs(y_true[..., :-1] - y_pred[..., :-1]), axis=-1)
        ends = ops.binary_crossentropy(y_true[..., -1], y_pred[..., -1], from_logits=True)
        return errors + ends

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}
