"""Losses and metrics of pairs of vectors: what a dual encoder is trained with."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks


@keras.saving.register_keras_serializable(package="kerazoo")
class InBatchCrossentropy(keras.losses.Loss):
    """Cross-entropy of finding the partner of each vector among those of the whole batch.

    The logits of a first vector are its dot products with all second vectors of the batch, of which its own is the
    right one; the others are the negatives. The same is computed from the second to the first vectors, and the loss is
    the mean of both. Examples of weight zero, which fill up a batch, are no negatives, and neither is another example
    whose first or second text is that of the example itself, for it may be a right partner as well.

    Args:
        name: string. Name of the loss. Defaults to `"in_batch_crossentropy"`.

    Call arguments:
        y_true: int tensor `[B, 2]`, numbers of the first and of the second text: equal texts have equal numbers.
        y_pred: float tensor `[B, 2 * D]`, the two vectors, as `kerazoo.models.DualEncoder` returns them.
        sample_weight: tensor `[B]`, the weight of each example. Defaults to 1.

    Returns:
        float32 scalar, the weighted mean over the examples; 0 for one example alone.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    vectors = np.array([[9, 0, 9, 0], [0, 9, 0, 9]], "float32")
    print(kz.training.InBatchCrossentropy()(np.array([[1, 2], [3, 4]]), vectors))
    ```

    Reference: Karpukhin et al. 2020, Dense Passage Retrieval for Open-Domain Question Answering, arXiv:2004.04906;
    Radford et al. 2021, arXiv:2103.00020 (both directions).
    """

    def __init__(self, name: str = "in_batch_crossentropy"):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        logits, weight = in_batch_logits(y_true, y_pred, sample_weight)
        right = ops.diagonal(logits)
        losses = 0.5 * (ops.logsumexp(logits, axis=1) + ops.logsumexp(logits, axis=0)) - right  # [B]
        return ops.divide_no_nan(ops.sum(losses * weight), ops.sum(weight))

    def call(self, y_true: Any, y_pred: Any):
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="kerazoo")
class CosineError(keras.losses.Loss):
    """Mean squared difference of the cosine of two vectors and a similarity.

    Args:
        name: string. Name of the loss. Defaults to `"cosine_error"`.

    Call arguments:
        y_true: float tensor `[B]` or `[B, 1]`, the similarities, from 0 to 1 where no pair is less than unrelated.
        y_pred: float tensor `[B, 2 * D]`, the two vectors, as `kerazoo.models.DualEncoder` returns them.
        sample_weight: tensor `[B]`, the weight of each example. Defaults to 1.

    Returns:
        float32 scalar.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    print(kz.training.CosineError()(np.array([1.0]), np.array([[3, 0, 0, 5]], "float32")))
    ```

    Reference: Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084 (regression).
    """

    def __init__(self, name: str = "cosine_error"):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        return super().__call__(y_true, y_pred, _weights(y_pred, sample_weight))

    def call(self, y_true: Any, y_pred: Any):
        return ops.square(pair_cosines(y_pred) - ops.reshape(ops.cast(y_true, "float32"), (-1,)))  # [B]

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="kerazoo")
class InBatchAccuracy(keras.metrics.Metric):
    """Computes the share of first vectors whose nearest second vector of the batch is their own.

    Its value depends on the size of the batches: more examples are harder to tell apart. Examples that are no negatives
    are left out as in `InBatchCrossentropy`.

    Args:
        name: string. Name of the metric. Defaults to `"accuracy"`.

    Call arguments:
        y_true: int tensor `[B, 2]`, as for `InBatchCrossentropy`.
        y_pred: float tensor `[B, 2 * D]`, the two vectors.
        sample_weight: tensor `[B]`. Defaults to 1.

    Returns:
        float32 scalar in `[0, 1]`.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    accuracy = kz.training.InBatchAccuracy()
    accuracy.update_state(np.array([[1, 2], [3, 4]]), np.array([[1, 0, 1, 0], [0, 1, 0, 1]], "float32"))
    print(float(accuracy.result()))
    ```
    """

    def __init__(self, name: str = "accuracy"):
        super().__init__(name=name, dtype="float32")
        self.total = self.add_variable((), "zeros", dtype="float32", name="total")
        self.count = self.add_variable((), "zeros", dtype="float32", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        logits, weight = in_batch_logits(y_true, y_pred, sample_weight)
        others = logits - 1e9 * ops.eye(ops.shape(logits)[0])
        hits = ops.cast(ops.diagonal(logits) > ops.max(others, axis=1), "float32")
        self.total.assign_add(ops.sum(hits * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self) -> Any:
        return ops.divide_no_nan(self.total.value, self.count.value)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="kerazoo")
class CosineCorrelation(keras.metrics.Metric):
    """Computes Pearson's correlation of the cosines of pairs of vectors and their similarities, over all batches.

    Args:
        name: string. Name of the metric. Defaults to `"pearson"`.

    Call arguments:
        y_true: float tensor `[B]` or `[B, 1]`, the similarities.
        y_pred: float tensor `[B, 2 * D]`, the two vectors.
        sample_weight: tensor `[B]`. Defaults to 1.

    Returns:
        float32 scalar in `[-1, 1]`; 0 if all cosines or all similarities are equal.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    correlation = kz.training.CosineCorrelation()
    correlation.update_state(np.array([1.0, 0.0]), np.array([[1, 0, 1, 0], [1, 0, 0, 1]], "float32"))
    print(float(correlation.result()))
    ```
    """

    def __init__(self, name: str = "pearson"):
        super().__init__(name=name, dtype="float32")
        # The weight, and the weighted sums of x, y, x x, y y and x y; x is the cosine, y the similarity.
        self.sums = self.add_variable((6,), "zeros", dtype="float32", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        x, y = pair_cosines(y_pred), ops.reshape(ops.cast(y_true, "float32"), (-1,))
        weight = _weights(y_pred, sample_weight)
        values = ops.stack([ops.ones_like(x), x, y, x * x, y * y, x * y])  # [6, B]
        self.sums.assign_add(ops.sum(values * weight, axis=1))

    def result(self) -> Any:
        sums = self.sums.value
        x, y, xx, yy, xy = (ops.divide_no_nan(sums[index], sums[0]) for index in range(1, 6))
        scale = ops.sqrt(ops.maximum((xx - x * x) * (yy - y * y), 0.0))
        return ops.divide_no_nan(xy - x * y, scale)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def pair_cosines(vectors: Any) -> Any:
    """Returns the cosines, float32 `[B]`, of pairs of vectors that stand side by side, `[B, 2 * D]`."""
    first, second = ops.split(ops.cast(vectors, "float32"), 2, axis=-1)
    squares = ops.sum(ops.square(first), axis=-1) * ops.sum(ops.square(second), axis=-1)
    return ops.sum(first * second, axis=-1) * ops.rsqrt(ops.maximum(squares, 1e-12))


def in_batch_logits(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any]:
    """Returns the logits of all pairs of a batch, float32 `[B, B]`, and the weights of the examples, float32 `[B]`.

    Row by column is a first by a second vector; pairs that are no negatives have a logit of -1e9.

    Args:
        y_true: int tensor `[B, 2]`, numbers of the first and of the second text.
        y_pred: float tensor `[B, 2 * D]`, the two vectors.
        sample_weight: tensor `[B]` or `[B, 1]`. Defaults to 1.
    """
    _checks.rank("InBatchCrossentropy", "y_true", y_true.shape, (2,))
    first, second = ops.split(ops.cast(y_pred, "float32"), 2, axis=-1)
    weight = _weights(y_pred, sample_weight)
    ids = ops.cast(y_true, "int32")
    same = ops.any(ops.equal(ids[:, None, :], ids[None, :, :]), axis=-1)  # [B, B]
    valid = ops.logical_and(weight[:, None] > 0, weight[None, :] > 0)
    negative = ops.logical_and(ops.logical_not(same), valid)
    partner = ops.eye(ops.shape(ids)[0], dtype="bool")
    logits = ops.matmul(first, ops.transpose(second))
    return ops.where(ops.logical_or(partner, negative), logits, -1e9), weight


def _weights(y_pred, sample_weight):
    """Returns the weights of the examples, float32 `[B]`."""
    rows = ops.shape(y_pred)[:1]
    weight = ops.cast(1.0 if sample_weight is None else sample_weight, "float32")
    return ops.broadcast_to(ops.reshape(weight, (-1,)), rows)
