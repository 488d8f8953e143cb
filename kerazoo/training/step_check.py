"""Checks of every step: labels within the classes, token ids within the vocabulary, a finite loss."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.training.distribution import scope_of
from kerazoo.training.losses import SparseCrossentropy, broadcast_weight

NOT_FINITE, OUT_OF_RANGE = 1, 2
SPARSE = (keras.losses.SparseCategoricalCrossentropy, SparseCrossentropy)


class StepCheck:
    """Creates the variables of a model, its loss, metrics and optimizer, and checks what its steps read and return.

    Args:
        model: A compiled `keras.Model`.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.ranges: dict[str, int] | None = None  # "labels" or the name of an input -> its largest value

    def build(self, feed: Any, block: Any) -> None:
        """Creates all variables before the first step, without computing anything."""
        if self.ranges is not None:
            return
        model = self.model
        outputs: Any = None
        sizes = {**getattr(model, "source_vocabulary_sizes", {}), "targets": getattr(model, "vocabulary_size", None)}
        self.ranges = {name: size - 1 for name, size in sizes.items() if size}
        strategy = getattr(model, "distribute_strategy", None)  # None but on TensorFlow
        custom = (
            type(model).train_step is not keras.Model.train_step or type(model).test_step is not keras.Model.test_step
        )
        if strategy is not None and strategy.num_replicas_in_sync == 1 and (custom or model.run_eagerly):
            return  # a step that may call anything creates its variables when it first runs
        specs = [keras.KerasTensor(array.shape, _dtype(array)) for array in feed.read(block.key, block.batch(0))]
        with scope_of(model):
            try:
                outputs = _CreateVariables(model, feed, block.key)(specs)
            except NotImplementedError:
                if not model.built:  # a built model whose `train_step` calls several networks needs no `call`
                    raise
            except Exception as error:
                raise _own_error(error) from None
            if model.optimizer is not None and not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
        if not keras.tree.is_nested(outputs) and len(getattr(outputs, "shape", ())) > 1:
            if _is_loss(model.loss, SPARSE, "sparse_categorical_crossentropy"):
                self.ranges["labels"] = outputs.shape[-1] - 1
            elif _is_loss(model.loss, keras.losses.BinaryCrossentropy, "binary_crossentropy"):
                self.ranges["labels"] = 1

    def __call__(self, batch: Any, logs: Any) -> Any:
        """Returns 0, `NOT_FINITE` or `OUT_OF_RANGE` for a step inside a program, an int32 scalar."""
        fault = ops.convert_to_tensor(0, "int32")
        if isinstance(logs, dict) and "loss" in logs:
            fault = ops.where(ops.all(ops.isfinite(logs["loss"])), fault, NOT_FINITE)
        for _, _, _, wrong in self._ranges(batch):
            fault = ops.where(ops.any(wrong), OUT_OF_RANGE, fault)
        return ops.cast(fault, "int32")

    def first(self, fault: Any, index: Any, found: Any) -> Any:
        """Returns index and number of the first fault, int32 `[2]`: that of earlier steps, else that of this one."""
        return ops.where(fault[1] > 0, fault, ops.stack([ops.cast(index, "int32"), found]))

    def explain(self, feed: Any, block: Any) -> None:
        """Raises a DataError if a label or a token of a block is out of its range."""
        for index in range(block.steps):
            batch = _whole(feed, block, index)
            for name, values, largest, wrong in self._ranges(batch):
                wrong = ops.convert_to_numpy(wrong)
                if not wrong.any():
                    continue
                position = tuple(np.argwhere(wrong)[0])
                examples = feed.examples(block.batch(index))
                where = f"example {examples[position[0]]}" if examples else f"row {position[0]}"
                kind = "labels" if name == "labels" else f"token ids of {name!r}"
                raise _checks.DataError(
                    f"{feed.owner}: {kind} must be from 0 to {largest}, as many as the model has; got "
                    f"{ops.convert_to_numpy(values)[position]} ({where} of batch {block.position + index})."
                )

    def summarize(self, feed: Any, block: Any, index: int) -> dict[str, dict]:
        """Returns smallest and largest number of each array of a batch, and how many are not finite."""
        batch = _whole(feed, block, index)
        summaries = {}
        for path, array in keras.tree.flatten_with_path(keras.tree.map_structure(_to_numpy, batch)):
            if array is not None and array.dtype.kind in "iuf" and array.size:
                finite = array[np.isfinite(array)]
                low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
                missing = array.size - finite.size
                summaries["/".join(map(str, path))] = {"min": low, "max": high, "not_finite": missing}
        return summaries

    def _ranges(self, batch) -> Iterator[tuple[str, Any, int, Any]]:
        """Yields name, values and largest value of labels and token ids, and which of them are out of range."""
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        parts = dict(inputs) if isinstance(inputs, dict) else {}
        if not keras.tree.is_nested(labels) and not keras.tree.is_nested(weights):
            parts["labels"] = labels
        for name, largest in (self.ranges or {}).items():
            if parts.get(name) is None:
                continue
            values = ops.convert_to_tensor(parts[name])
            wrong = ops.logical_or(values < 0, values > largest)
            if name == "labels":
                ignored = getattr(self.model.loss, "ignore_class", None)
                if ignored is not None:
                    wrong = ops.logical_and(wrong, values != ignored)
                if weights is not None and len(weights.shape) <= len(values.shape):
                    wrong = ops.logical_and(wrong, broadcast_weight(weights, ops.shape(values)) > 0)
            yield name, values, largest, wrong


class _CreateVariables(keras.Operation):
    """Runs the model, its loss and its metrics on symbolic tensors, which creates their variables."""

    def __init__(self, model, feed, key):
        super().__init__()
        self.model, self.feed, self.key = model, feed, key

    def call(self, data):
        batch = self.feed.batch(self.feed.arrays, self.key, data, np.int32(0))
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None and self.model.loss is not None:
            raise ValueError(
                f"{self.feed.owner}: a batch must be (inputs, targets) for a model with a loss; got one without "
                "targets. Arrays are a tuple, (x, y)."
            )
        y_pred = self.model(x, training=False)
        self.model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weights, training=False)
        self.model.compute_metrics(x, y, y_pred, weights)
        return y_pred


def _whole(feed, block, index):
    """Returns a batch of a block outside of the program."""
    data = feed.read(block.key, block.batch(index))
    return feed.batch(feed.arrays, block.key, data, np.int32(block.number + index))


def _own_error(error):
    """Returns the error of the model or its loss without the words that Keras adds for a symbolic call."""
    while "_create_variables" in str(error).lower() and error.__context__ is not None:
        error = error.__context__
    return error


def _is_loss(loss, classes, name):
    return isinstance(loss, classes) or name in (loss, getattr(loss, "__name__", None))


def _dtype(array):
    return "string" if array.dtype.kind == "O" else keras.backend.standardize_dtype(array.dtype)


def _to_numpy(tensor):
    return None if tensor is None else np.asarray(ops.convert_to_numpy(tensor))
