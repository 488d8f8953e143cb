"""Weights of classes as weights of examples."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks


class ClassWeights:
    """Multiplies the weights of a batch by those of its classes.

    Args:
        owner: string. The function that messages name.
        class_weight: Dictionary of class, an int of at least 0, to weight; a class that it lacks has weight 1.

    Call arguments:
        batch: `(inputs, targets)` or `(inputs, targets, weights)`. The targets are classes `[B]` or `[B, 1]`, or
            one-hot vectors `[B, C]`.

    Returns:
        `(inputs, targets, weights)` with weights `[B]`.
    """

    def __init__(self, owner: str, class_weight: Mapping[int, float]):
        self.owner = owner
        names = [_checks.non_negative_int(owner, "class_weight", name) for name in class_weight]
        self.table = np.ones(max(names, default=0) + 2, "float32")  # the last one is that of all higher classes
        for name, weight in zip(names, class_weight.values()):
            self.table[name] = _checks.number(owner, f"class_weight[{name}]", weight, low=0)

    def __call__(self, batch: Any) -> tuple:
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if targets is None or keras.tree.is_nested(targets) or len(targets.shape) > 2:
            raise ValueError(
                f"{self.owner}: `class_weight` needs one class for each example; got targets of "
                f"{keras.tree.map_structure(lambda target: tuple(target.shape), targets)}. Try `sample_weight`."
            )
        classes = targets
        if len(targets.shape) == 2:
            classes = targets[:, 0] if targets.shape[1] == 1 else ops.argmax(targets, axis=-1)
        classes = ops.clip(ops.cast(classes, "int32"), 0, len(self.table) - 1)
        by_class = ops.take(ops.convert_to_tensor(self.table), classes, axis=0)
        if weights is not None:
            by_class = by_class * ops.reshape(ops.cast(weights, "float32"), ops.shape(by_class))
        return inputs, targets, by_class
