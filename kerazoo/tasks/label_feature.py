"""A class out of several, or yes or no, as a feature."""

import collections
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.data.lines import list_names
from kerazoo.tasks.feature import Converted, Feature, Unseen

if TYPE_CHECKING:
    import keras

    from kerazoo.data import DataSource


class LabelFeature(Feature):
    """The name of a class.

    Blanks around a name are not part of it, and a whole number is the same class however it is written (`"1"`,
    `"1.0"`). The classes are the distinct names in the training part of the data, in alphabetical order, or in the
    order of their numbers where all of them are whole numbers. As a target it is one of C classes, or with
    `binary=True` one logit for the second of two classes. As an input it is a sequence of one token.

    Args:
        column: string. The name of the raw column, whose values are strings or numbers. Defaults to `"label"`.
        binary: bool. Whether the target is a single logit. Needs two classes, or digits, of which it then predicts
            whether they are odd. Defaults to `False`.
    """

    modality = "label"
    stored_exactly = True
    monitor = ("val_accuracy", "max")
    measures = ("accuracy", "f1")
    outputs = ("label", "probabilities", "classes")

    def __init__(self, column: str = "label", binary: bool = False):
        super().__init__(column)
        self.binary = bool(binary)
        self.kinds = ("binary_classifier",) if binary else ("classifier",)
        self._names: set[str] = set()
        self._declared = None

    @property
    def config(self) -> dict:
        return {**super().config, "binary": self.binary}

    @property
    def names(self) -> list[str]:
        """The names of the classes, in the order of their ids."""
        return self.state["names"]

    @property
    def needs_fit(self) -> bool:
        return not self._declared

    def declare(self, source: "DataSource") -> None:
        self._declared = source.class_names(self.columns[0])

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        self._names.update(map(class_name, columns[self.columns[0]]))
        return True

    def finish(self) -> bool:
        names = list(self._declared or sorted(self._names))
        if self.is_target and len(names) == 1:
            raise _checks.DataError(
                f"{self.owner}: a target needs at least 2 classes; column {self.columns[0]!r} has one in all of the "
                f"training data, {names[0]!r}. Name another column, or add examples of other classes."
            )
        if not self._declared and all(name.isdecimal() for name in names):
            names.sort(key=int)
        parity = False
        if self.binary and len(names) != 2:
            parity = all(name.isdecimal() for name in names)
            if not parity:
                raise ValueError(
                    f"{self.owner}: kind 'binary_classifier' needs 2 classes or digits; got {len(names)} classes: "
                    f"{', '.join(names[:5])}. Try kind 'classifier'."
                )
            names = ["even", "odd"]
        self.state = {"names": names, "parity": parity}
        return False

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        labels = self.references(columns[self.columns[0]])
        ids = {name: index for index, name in enumerate(self.names)}
        unknown = {row: self._unseen(label) for row, label in enumerate(labels) if label not in ids}
        values = np.array([ids.get(label, 0) for label in labels], np.int32)
        return Converted(values, faults=unknown)

    def raw(self, values: Any) -> list:
        return [self.names[index] for index in np.asarray(values).tolist()]

    def summary(self, values: Any) -> str:
        """Returns the classes with their counts, the most frequent first."""
        counts = np.bincount(np.asarray(values), minlength=len(self.names))
        order = np.argsort(-counts, kind="stable")
        return f"{len(self.names)} classes: " + list_names(f"{self.names[index]} {counts[index]:,}" for index in order)

    def references(self, values: Sequence) -> list:
        values = list(map(class_name, values))
        if not (self.state and self.state["parity"]):
            return values
        named = {label: label for label in self.names}
        return [named.get(label) or (self.names[int(label) % 2] if label.isdecimal() else label) for label in values]

    def load(self, values: Sequence) -> tuple[list, dict[int, str]]:
        """Returns the names, and a fault for each that a model cannot read as its input."""
        names, labels = set(self.names), list(map(class_name, values))
        if self.is_target:
            return labels, {}
        return labels, {row: self._unseen(label) for row, label in enumerate(labels) if label not in names}

    def unseen(self, references: Sequence[Sequence]) -> dict[str, int]:
        names = set(self.names)
        return dict(collections.Counter(accepted[0] for accepted in references if accepted[0] not in names))

    def _unseen(self, label):
        return Unseen(f"the class {label!r} is not in the training data.{_checks.hint(label, self.names)}")

    # As an input: one token; id 0 is reserved for padding.

    def inputs(self, values: Any) -> Any:
        from keras import ops

        return ops.expand_dims(ops.cast(values, "int32"), -1) + 1  # [B, 1]

    def pack(self, values: Sequence) -> Any:
        names = list(map(class_name, values))
        for name in names:
            _checks.one_of(self.owner, self.columns[0], name, self.names)
        return names

    def encode(self, *packed: Any) -> Any:
        import tensorflow as tf

        (names,) = packed
        equal = tf.equal(tf.expand_dims(tf.strings.strip(names), -1), tf.constant(self.names))  # [B, C]
        valid = tf.debugging.assert_equal(tf.reduce_any(equal, -1), True, message=f"one of {', '.join(self.names)}")
        with tf.control_dependencies([valid] if valid is not None else []):
            return tf.argmax(tf.cast(equal, tf.int32), axis=-1, output_type=tf.int32)[:, None] + 1

    def signature(self) -> list[tuple[list, str]]:
        return [([], "string")]

    def input_sizes(self) -> dict:
        return {"source_vocabulary_size": len(self.names) + 1, "max_length": 1, "pad_id": 0}

    # As a target.

    def targets(self, values: Any) -> Any:
        from keras import ops

        if self.binary:
            return ops.expand_dims(ops.cast(values, "float32"), -1)  # [B, 1]
        return ops.cast(values, "int32")  # [B]

    def target_sizes(self) -> dict:
        return {"num_classes": 1 if self.binary else len(self.names)}

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        import keras

        if self.binary:
            return keras.losses.BinaryCrossentropy(
                from_logits=True, label_smoothing=label_smoothing, reduction="mean_with_sample_weight"
            )
        from kerazoo.training.losses import SparseCrossentropy

        return SparseCrossentropy(label_smoothing=label_smoothing)

    def metrics(self) -> list:
        from kerazoo.training.metrics import F1, TokenAccuracy

        f1 = F1(2, average="binary") if self.binary else F1(max(len(self.names), 2), average="macro")
        return [TokenAccuracy(name="accuracy"), f1]

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        if values is None or not len(values):
            return {}
        return {"most frequent class": self.names[int(np.bincount(np.asarray(values)).argmax())]}

    def decode(self, outputs: Any) -> list:
        rows = [np.asarray(row) for row in outputs]
        return [self.names[int(row[0] > 0) if self.binary else int(np.argmax(row))] for row in rows]

    def ranked(self, outputs: Any) -> list[list[tuple[Any, float]]]:
        rows = self.probabilities(outputs).tolist()
        return [sorted(zip(self.names, row), key=lambda pair: -pair[1]) for row in rows]

    def class_logits(self, outputs: Any) -> np.ndarray:
        """Returns the logits of all classes, float64 `[N, C]`; a binary model has one logit, against 0."""
        logits = np.asarray(list(outputs), np.float64)
        return np.concatenate([np.zeros_like(logits), logits], axis=-1) if self.binary else logits

    def probabilities(self, outputs: Any) -> np.ndarray:
        """Returns the probabilities of all classes, float64 `[N, C]`."""
        logits = self.class_logits(outputs)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True)) if len(logits) else logits
        return odds / odds.sum(axis=-1, keepdims=True)

    def decode_in_graph(self, outputs: Any) -> dict:
        import tensorflow as tf

        logits = tf.concat([tf.zeros_like(outputs), outputs], axis=-1) if self.binary else outputs
        names = tf.constant(self.names)
        return {
            "label": tf.gather(names, tf.argmax(logits, axis=-1)),
            "probabilities": tf.nn.softmax(logits),
            "classes": tf.tile(names[None], [tf.shape(logits)[0], 1]),
        }


def class_name(value: Any) -> str:
    """Returns the name of a class as it is compared: without blanks around it, and a whole number without fraction."""
    name = str(value).strip()
    whole, point, fraction = name.partition(".")
    return whole if point and fraction and not fraction.strip("0") and whole.lstrip("+-").isdecimal() else name
