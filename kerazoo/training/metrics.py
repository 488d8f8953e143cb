"""Metrics that count real tokens only: what has weight zero is neither right nor wrong.

Give them to `compile` as `weighted_metrics`, or Keras passes them no weights. Each update is a few sums, so they cost
little inside a compiled program.
"""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.training.error_rates import edit_distance, sequence_error_rate, token_error_rate
from kerazoo.training.losses import spread, token_crossentropy

__all__ = [
    "F1",
    "Perplexity",
    "SequenceAccuracy",
    "TokenAccuracy",
    "edit_distance",
    "sequence_error_rate",
    "token_error_rate",
]


class _Ratio(keras.metrics.Metric):
    """A weighted sum over the sum of its weights; subclasses say what is summed."""

    def __init__(self, name):
        super().__init__(name=name, dtype="float32")
        self.total = self.add_variable((), "zeros", dtype="float32", name="total")
        self.count = self.add_variable((), "zeros", dtype="float32", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        positions = ops.shape(y_pred)[:-1]
        y_true = ops.reshape(ops.cast(y_true, "int32"), positions)  # classes may come as [B, 1]
        weight = spread(1.0 if sample_weight is None else sample_weight, positions)
        values, weight = self._values(y_true, y_pred, weight)
        self.total.assign_add(ops.sum(ops.cast(values, "float32") * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(self.total.value, self.count.value)

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="kerazoo")
class TokenAccuracy(_Ratio):
    """Share of the real targets whose logit is the highest; with one logit, whose side of zero is right.

    Args:
        name: Name of the metric.

    Call arguments:
        y_true: Integers `[B]` or `[B, T]`.
        y_pred: Logits `[B, V]` or `[B, T, V]`; V = 1 for yes or no.
        sample_weight: Numbers as `y_true`, or `[B]`; 1 by default.

    Returns:
        A float32 scalar in [0, 1].

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    accuracy = kz.training.TokenAccuracy()
    accuracy.update_state(np.array([[1, 0]]), np.zeros((1, 2, 3)), sample_weight=np.array([[1, 0]]))
    print(float(accuracy.result()))
    ```
    """

    def __init__(self, name="accuracy"):
        super().__init__(name)

    def _values(self, y_true, y_pred, weight):
        return ops.equal(predicted(y_pred), y_true), weight


@keras.saving.register_keras_serializable(package="kerazoo")
class SequenceAccuracy(_Ratio):
    """Share of the sequences of which every real token is right; sequences without a real token do not count.

    The tokens are predicted from the true ones before them, so this is more than a search reaches.

    Args:
        name: Name of the metric.

    Call arguments:
        y_true: Integers `[B, T]`.
        y_pred: Logits `[B, T, V]`.
        sample_weight: Numbers `[B, T]`; 1 by default.

    Returns:
        A float32 scalar in [0, 1].

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    accuracy = kz.training.SequenceAccuracy()
    accuracy.update_state(np.array([[0, 2], [0, 0]]), np.eye(3)[[[0, 1], [0, 0]]])
    print(float(accuracy.result()))
    ```
    """

    def __init__(self, name="sequence_accuracy"):
        super().__init__(name)

    def _values(self, y_true, y_pred, weight):
        real = weight > 0
        wrong = ops.logical_and(real, ops.not_equal(predicted(y_pred), y_true))  # [B, T]
        return ops.logical_not(ops.any(wrong, axis=-1)), ops.cast(ops.any(real, axis=-1), "float32")  # [B]


@keras.saving.register_keras_serializable(package="kerazoo")
class Perplexity(_Ratio):
    """e to the power of the mean cross-entropy of the real targets, over all batches together.

    Label smoothing and regularisation are no part of it, so it compares models however they were trained.

    Args:
        name: Name of the metric.

    Call arguments:
        y_true: Integers `[B]` or `[B, T]`.
        y_pred: Logits `[B, V]` or `[B, T, V]`.
        sample_weight: Numbers as `y_true`, or `[B]`; 1 by default.

    Returns:
        A float32 scalar of at least 1; V for a model that finds all classes equally likely.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    perplexity = kz.training.Perplexity()
    perplexity.update_state(np.array([[1, 0]]), np.zeros((1, 2, 3)))
    print(float(perplexity.result()))
    ```
    """

    def __init__(self, name="perplexity"):
        super().__init__(name)

    def _values(self, y_true, y_pred, weight):
        return token_crossentropy(y_true, y_pred), weight

    def result(self):
        return ops.exp(super().result())


@keras.saving.register_keras_serializable(package="kerazoo")
class F1(keras.metrics.Metric):
    """Harmonic mean of precision and recall, from the counts over all batches.

    `2 * true positives / (2 * true positives + false positives + false negatives)`: for every class and then averaged
    over those that occur (`"macro"`), from the counts of all classes together (`"micro"`), or of class 1 alone
    (`"binary"`).

    Args:
        num_classes: Number of classes, at least 2; 2 also where the model has one logit for yes or no.
        average: `"macro"` (default), `"micro"` or `"binary"`; the last needs two classes.
        name: Name of the metric.

    Call arguments:
        y_true: Integers `[B]` or `[B, T]`.
        y_pred: Logits `[B, V]` or `[B, T, V]`; V = 1 for yes or no.
        sample_weight: Numbers as `y_true`, or `[B]`; 1 by default.

    Returns:
        A float32 scalar in [0, 1].

    Raises:
        ValueError: `average` is unknown, or does not fit `num_classes`.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    f1 = kz.training.F1(num_classes=3)
    f1.update_state(np.array([0, 1, 2]), np.eye(3)[[0, 1, 1]])
    print(float(f1.result()))
    ```
    """

    def __init__(self, num_classes, average="macro", name="f1"):
        super().__init__(name=name, dtype="float32")
        self.num_classes = _checks.positive_int("F1", "num_classes", num_classes)
        self.average = _checks.one_of("F1", "average", average, ("macro", "micro", "binary"))
        if num_classes < 2 or (average == "binary" and num_classes != 2):
            rule = "2 with average='binary'" if average == "binary" else "at least 2"
            raise ValueError(f"F1: `num_classes` must be {rule}; got num_classes={num_classes}.")
        self.counts = {
            kind: self.add_variable((num_classes,), "zeros", dtype="float32", name=kind)
            for kind in ("right", "answered", "true")
        }

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        positions = ops.shape(y_pred)[:-1]
        weight = ops.reshape(spread(1.0 if sample_weight is None else sample_weight, positions), (1, -1))
        answered = self._one_hot(predicted(y_pred))  # [N, C]
        true = self._one_hot(ops.cast(y_true, "int32"))
        for kind, hits in (("right", answered * true), ("answered", answered), ("true", true)):
            self.counts[kind].assign_add(ops.matmul(weight, hits)[0])

    def _one_hot(self, classes):
        return ops.one_hot(ops.reshape(classes, (-1,)), self.num_classes, dtype="float32")

    def result(self):
        right, answered, true = (self.counts[kind].value for kind in ("right", "answered", "true"))
        if self.average == "micro":
            return ops.divide_no_nan(2.0 * ops.sum(right), ops.sum(answered) + ops.sum(true))
        scores = ops.divide_no_nan(2.0 * right, answered + true)
        if self.average == "binary":
            return scores[1]
        return ops.divide_no_nan(ops.sum(scores), ops.sum(ops.cast(answered + true > 0, "float32")))

    def get_config(self):
        return {"num_classes": self.num_classes, "average": self.average, "name": self.name}


def predicted(logits):
    """Returns the class of the highest logit, int32 `[...]`; of a single logit, whether it is above zero."""
    if logits.shape[-1] == 1:
        return ops.cast(logits[..., 0] > 0, "int32")
    return ops.cast(ops.argmax(logits, axis=-1), "int32")
