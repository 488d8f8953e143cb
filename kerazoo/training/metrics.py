"""Metrics that leave out padding: positions of weight zero are not counted.

Pass them to `compile` as `weighted_metrics`; in `metrics` Keras passes them no weights. Each update is a few sums, so
they cost little inside a compiled program.
"""

import math
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.training.losses import broadcast_weight, token_crossentropy


class _Ratio(keras.metrics.Metric):
    """A weighted sum divided by the sum of the weights. Subclasses define `_values`."""

    def __init__(self, name: str):
        super().__init__(name=name, dtype="float32")
        self.total = self.add_variable((), "zeros", dtype="float32", name="total")
        self.count = self.add_variable((), "zeros", dtype="float32", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        y_pred = ops.convert_to_tensor(y_pred)
        positions = ops.shape(y_pred)[:-1]
        y_true = ops.reshape(ops.cast(y_true, "int32"), positions)  # classes may come as [B, 1]
        weight = broadcast_weight(1.0 if sample_weight is None else sample_weight, positions)
        values, weight = self._values(y_true, y_pred, weight)
        self.total.assign_add(ops.sum(ops.cast(values, "float32") * weight))
        self.count.assign_add(ops.sum(weight))

    def _values(self, y_true, y_pred, weight):
        """Returns the values and their weights, both `[B]` or `[B, T]`."""
        raise NotImplementedError

    def result(self) -> Any:
        return ops.divide_no_nan(self.total.value, self.count.value)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="kerazoo")
class TokenAccuracy(_Ratio):
    """Computes the share of targets whose logit is the highest; with one logit, whose sign is right.

    Args:
        name: string. Name of the metric. Defaults to `"accuracy"`.

    Call arguments:
        y_true: int tensor `[B]` or `[B, T]`.
        y_pred: float tensor `[B, V]` or `[B, T, V]`, the logits; `V = 1` for a binary classifier.
        sample_weight: tensor in the shape of `y_true`, or `[B]`. Defaults to 1.

    Returns:
        float32 scalar in `[0, 1]`.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    accuracy = kz.training.TokenAccuracy()
    accuracy.update_state(np.array([[1, 0]]), np.zeros((1, 2, 3)), sample_weight=np.array([[1, 0]]))
    print(float(accuracy.result()))
    ```
    """

    def __init__(self, name: str = "accuracy"):
        super().__init__(name)

    def _values(self, y_true, y_pred, weight):
        return ops.equal(predicted_classes(y_pred), y_true), weight


@keras.saving.register_keras_serializable(package="kerazoo")
class SequenceAccuracy(_Ratio):
    """Computes the share of sequences whose tokens are all right, padding left out.

    Sequences of padding alone are not counted. The tokens are predicted by teacher forcing, so the value is above that
    of a search.

    Args:
        end_id: int. The token that ends a sequence, where a row may hold several, as packed rows do. Defaults to
            `None`: a row is a sequence.
        name: string. Name of the metric. Defaults to `"sequence_accuracy"`.

    Call arguments:
        y_true: int tensor `[B, T]`.
        y_pred: float tensor `[B, T, V]`, the logits.
        sample_weight: tensor `[B, T]`. Defaults to 1.

    Returns:
        float32 scalar in `[0, 1]`.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    accuracy = kz.training.SequenceAccuracy()
    accuracy.update_state(np.array([[0, 2], [0, 0]]), np.eye(3)[[[0, 1], [0, 0]]])
    print(float(accuracy.result()))
    ```
    """

    def __init__(self, end_id: int | None = None, name: str = "sequence_accuracy"):
        super().__init__(name)
        self.end_id = None if end_id is None else _checks.non_negative_int("SequenceAccuracy", "end_id", end_id)

    def _values(self, y_true, y_pred, weight):
        valid = weight > 0
        wrong = ops.logical_and(valid, ops.not_equal(predicted_classes(y_pred), y_true))  # [B, T]
        if self.end_id is not None:
            return self._of_parts(wrong, valid, ops.cast(ops.equal(y_true, self.end_id), "int32"))
        return ops.logical_not(ops.any(wrong, axis=-1)), ops.cast(ops.any(valid, axis=-1), "float32")  # [B]

    def _of_parts(self, wrong, valid, is_end):
        """Returns the same for the sequences that make up the rows, `[B * T]`, most of which are empty."""
        rows, length = ops.shape(is_end)
        numbers = ops.arange(rows, dtype="int32")[:, None] * length + ops.cumsum(is_end, axis=-1) - is_end  # [B, T]
        counts = ops.reshape(ops.cast(ops.stack([wrong, valid], axis=-1), "float32"), (-1, 2))
        counts = ops.segment_sum(counts, ops.reshape(numbers, (-1,)), num_segments=rows * length)
        return ops.equal(counts[:, 0], 0), ops.cast(counts[:, 1] > 0, "float32")

    def get_config(self) -> dict[str, Any]:
        return {"end_id": self.end_id, **super().get_config()}


@keras.saving.register_keras_serializable(package="kerazoo")
class SpanAccuracy(_Ratio):
    """Computes the share of masked spans that are predicted exactly, each given the spans before it.

    The targets are spans, each after its mask. A span counts as right if all its tokens are, and what follows it, so
    that it ends where it should.

    Args:
        first_mask: int. The token of the mask before the first span.
        num_masks: int, above 0. How many masks there are; they have consecutive numbers.
        name: string. Name of the metric. Defaults to `"span_accuracy"`.

    Call arguments:
        y_true: int tensor `[B, T]`.
        y_pred: float tensor `[B, T, V]`, the logits.
        sample_weight: tensor `[B, T]`. Defaults to 1.

    Returns:
        float32 scalar in `[0, 1]`.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    accuracy = kz.training.SpanAccuracy(first_mask=5, num_masks=2)
    targets = np.array([[5, 3, 6, 4, 2]])  # the first span is 3, the second one 4
    accuracy.update_state(targets, np.eye(7)[[[5, 3, 6, 3, 2]]])
    assert float(accuracy.result()) == 0.5
    ```
    """

    def __init__(self, first_mask: int, num_masks: int, name: str = "span_accuracy"):
        super().__init__(name)
        self.first_mask = _checks.non_negative_int("SpanAccuracy", "first_mask", first_mask)
        self.num_masks = _checks.positive_int("SpanAccuracy", "num_masks", num_masks)

    def _values(self, y_true, y_pred, weight):
        is_mask = ops.logical_and(y_true >= self.first_mask, y_true < self.first_mask + self.num_masks)
        # A mask tells that the span before it ends, so it belongs to that one.
        span = ops.cumsum(ops.cast(is_mask, "int32"), axis=1) - ops.cast(is_mask, "int32")  # [B, T], from 1
        valid = weight > 0
        wrong = ops.logical_and(valid, ops.not_equal(predicted_classes(y_pred), y_true))
        of_span = ops.equal(span[:, :, None], 1 + ops.arange(self.num_masks, dtype="int32"))  # [B, T, spans]
        is_wrong = ops.any(ops.logical_and(of_span, wrong[:, :, None]), axis=1)
        exists = ops.any(ops.logical_and(of_span, valid[:, :, None]), axis=1)
        return ops.logical_not(is_wrong), ops.cast(exists, "float32")

    def get_config(self) -> dict[str, Any]:
        return {"first_mask": self.first_mask, "num_masks": self.num_masks, "name": self.name}


@keras.saving.register_keras_serializable(package="kerazoo")
class Perplexity(_Ratio):
    """Computes e to the power of the mean cross-entropy of the targets, over all batches together.

    Label smoothing and regularization are left out, so models that were trained in different ways can be compared.

    Args:
        name: string. Name of the metric. Defaults to `"perplexity"`.

    Call arguments:
        y_true: int tensor `[B]` or `[B, T]`.
        y_pred: float tensor `[B, V]` or `[B, T, V]`, the logits.
        sample_weight: tensor in the shape of `y_true`, or `[B]`. Defaults to 1.

    Returns:
        float32 scalar of at least 1; `V` for a model whose classes are all equally probable.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    perplexity = kz.training.Perplexity()
    perplexity.update_state(np.array([[1, 0]]), np.zeros((1, 2, 3)))
    print(float(perplexity.result()))
    ```
    """

    def __init__(self, name: str = "perplexity"):
        super().__init__(name)

    def _values(self, y_true, y_pred, weight):
        return token_crossentropy(y_true, y_pred), weight

    def result(self) -> Any:
        return ops.exp(super().result())


@keras.saving.register_keras_serializable(package="kerazoo")
class BitsPerDimension(_Ratio):
    """Computes the mean cross-entropy of the targets in bits, over all batches together.

    That is the length of the code of one pixel, with the model as the code book; label smoothing is left out.

    Args:
        name: string. Name of the metric. Defaults to `"bits_per_dimension"`.

    Call arguments:
        y_true: int tensor `[B]` or `[B, T]`.
        y_pred: float tensor `[B, V]` or `[B, T, V]`, the logits.
        sample_weight: tensor in the shape of `y_true`, or `[B]`. Defaults to 1.

    Returns:
        float32 scalar of at least 0; `log2(V)` for a model whose classes are all equally probable.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    bits = kz.training.BitsPerDimension()
    bits.update_state(np.array([[1, 0]]), np.zeros((1, 2, 4)))
    assert round(float(bits.result()), 5) == 2
    ```
    """

    def __init__(self, name: str = "bits_per_dimension"):
        super().__init__(name)

    def _values(self, y_true, y_pred, weight):
        return token_crossentropy(y_true, y_pred) / math.log(2), weight


@keras.saving.register_keras_serializable(package="kerazoo")
class F1(keras.metrics.Metric):
    """Computes the harmonic mean of precision and recall from the counts over all batches.

    `2 * true positives / (2 * true positives + false positives + false negatives)`: for every class and then averaged
    over those that occur (`"macro"`), from the counts of all classes together (`"micro"`), or of class 1 alone
    (`"binary"`).

    Args:
        num_classes: int, at least 2. Number of classes; 2 for a binary classifier of one logit.
        average: `"macro"`, `"micro"` or `"binary"`, which needs two classes. Defaults to `"macro"`.
        name: string. Name of the metric. Defaults to `"f1"`.

    Call arguments:
        y_true: int tensor `[B]` or `[B, T]`.
        y_pred: float tensor `[B, V]` or `[B, T, V]`, the logits; `V = 1` for a binary classifier.
        sample_weight: tensor in the shape of `y_true`, or `[B]`. Defaults to 1.

    Returns:
        float32 scalar in `[0, 1]`.

    Raises:
        ValueError: if `average` is unknown, or does not fit `num_classes`.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    f1 = kz.training.F1(num_classes=3)
    f1.update_state(np.array([0, 1, 2]), np.eye(3)[[0, 1, 1]])
    print(float(f1.result()))
    ```
    """

    def __init__(self, num_classes: int, average: str = "macro", name: str = "f1"):
        super().__init__(name=name, dtype="float32")
        self.num_classes = _checks.positive_int("F1", "num_classes", num_classes)
        self.average = _checks.one_of("F1", "average", average, ("macro", "micro", "binary"))
        if num_classes < 2 or (average == "binary" and num_classes != 2):
            rule = "2 with average='binary'" if average == "binary" else "at least 2"
            raise ValueError(f"F1: `num_classes` must be {rule}; got num_classes={num_classes}.")
        self.counts = {
            kind: self.add_variable((num_classes,), "zeros", dtype="float32", name=kind)
            for kind in ("correct", "predicted", "true")
        }

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None):
        y_pred = ops.convert_to_tensor(y_pred)
        positions = ops.shape(y_pred)[:-1]
        weight = ops.reshape(broadcast_weight(1.0 if sample_weight is None else sample_weight, positions), (1, -1))
        predicted = self._one_hot(predicted_classes(y_pred))  # [N, C]
        true = self._one_hot(ops.cast(y_true, "int32"))
        for kind, hits in (("correct", predicted * true), ("predicted", predicted), ("true", true)):
            self.counts[kind].assign_add(ops.matmul(weight, hits)[0])

    def _one_hot(self, classes):
        return ops.one_hot(ops.reshape(classes, (-1,)), self.num_classes, dtype="float32")

    def result(self) -> Any:
        correct, predicted, true = (self.counts[kind].value for kind in ("correct", "predicted", "true"))
        if self.average == "micro":
            return ops.divide_no_nan(2.0 * ops.sum(correct), ops.sum(predicted) + ops.sum(true))
        scores = ops.divide_no_nan(2.0 * correct, predicted + true)
        if self.average == "binary":
            return scores[1]
        return ops.divide_no_nan(ops.sum(scores), ops.sum(ops.cast(predicted + true > 0, "float32")))

    def get_config(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "average": self.average, "name": self.name}


def predicted_classes(logits: Any) -> Any:
    """Returns the class of the highest logit, int32 `[...]`; for a single logit, whether it is above zero."""
    if logits.shape[-1] == 1:
        return ops.cast(logits[..., 0] > 0, "int32")
    return ops.cast(ops.argmax(logits, axis=-1), "int32")
