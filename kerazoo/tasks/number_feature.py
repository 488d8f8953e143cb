"""Numbers, one or several for each example, as a feature."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo.data.plain_numbers import decimal_hint, parse_number
from kerazoo.tasks.feature import Converted, Feature
from kerazoo.tasks.scaling import Sums

if TYPE_CHECKING:
    import keras


class NumberFeature(Feature):
    """One or several numbers for each example.

    Each column is scaled to mean 0 and standard deviation 1 by the values of the training part. As an input it is a
    vector; as a target it is trained with the mean squared error of the scaled numbers, and predicted in its own unit.

    Args:
        *columns: strings. The names of the raw columns; their values are numbers or strings that hold one.
    """

    modality = "number"
    kinds = ("classifier", "autoencoder")
    measures = ("mean_squared_error", "mean_absolute_error")
    outputs = ("value",)

    def __init__(self, *columns: str):
        super().__init__(*(columns or ("number",)))
        self._sums = Sums()

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        values, faults = self._numbers(columns)
        self._sums.add(np.delete(values, list(faults), axis=0))
        return True

    def finish(self) -> bool:
        if self._sums.count:
            mean, deviation = self._sums.result()
        else:
            mean, deviation = [0.0] * len(self.columns), [1.0] * len(self.columns)
        self.state = {"mean": mean, "deviation": deviation}
        return False

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        values, faults = self._numbers(columns)
        return Converted(self._scaled(values).astype(np.float32), faults=faults)

    def load(self, values: Sequence) -> tuple[list, dict[int, str]]:
        numbers = [parse_number(value) for value in values]
        faults = {row: self._fault(self.columns[0], values[row]) for row, v in enumerate(numbers) if v is None}
        return numbers, faults

    def references(self, values: Sequence) -> list:
        return [value if len(self.columns) == 1 else list(value) for value in values]

    def inputs(self, values: Any) -> Any:
        from keras import ops

        return ops.cast(values, "float32")  # [B, N]

    def pack(self, values: Sequence) -> Any:
        numbers = [parse_number(value) for value in values]
        for number, value in zip(numbers, values):
            if number is None:
                raise ValueError(f"{self.owner}: an input must be a finite number; got {value!r}.")
        return np.array(numbers, np.float64)

    def encode(self, *packed: Any) -> Any:
        from keras import ops

        if isinstance(packed[0], np.ndarray):  # in float64, which JAX has not
            return self._scaled(np.stack(packed, axis=-1)).astype(np.float32)
        columns = [
            (ops.convert_to_tensor(column) - mean) / deviation
            for column, mean, deviation in zip(packed, self.state["mean"], self.state["deviation"])
        ]
        return ops.stack([ops.cast(column, "float32") for column in columns], axis=-1)  # [B, N]

    def signature(self) -> list[tuple[list, str]]:
        return [([], "float64")] * len(self.columns)

    def input_sizes(self) -> dict:
        return {"input_shape": (len(self.columns),)}

    targets = inputs

    def target_sizes(self) -> dict:
        return {"num_classes": len(self.columns), "output_size": len(self.columns)}

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        import keras

        self._no_label_smoothing("numbers", label_smoothing)
        return keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        mean = list(self.state["mean"])
        return {"mean of the training targets": mean[0] if len(mean) == 1 else mean}

    def decode(self, outputs: Any) -> list:
        values = np.asarray(outputs, np.float64).reshape(-1, len(self.columns))
        rows = (values * np.array(self.state["deviation"]) + np.array(self.state["mean"])).tolist()
        return [row[0] for row in rows] if len(self.columns) == 1 else rows

    def decode_in_graph(self, outputs: Any) -> dict:
        import tensorflow as tf

        values = tf.cast(outputs, tf.float64) * tf.constant(self.state["deviation"], tf.float64)
        values = values + tf.constant(self.state["mean"], tf.float64)
        return {"value": values[:, 0] if len(self.columns) == 1 else values}

    def _numbers(self, columns):
        """Returns the numbers float64 `[N, columns]`, and the faults by row."""
        lists = [list(columns[name]) for name in self.columns]
        numbers = [[parse_number(value) for value in row] for row in zip(*lists)]
        values = np.array([[math.nan if number is None else number for number in row] for row in numbers])
        values = values.reshape(-1, len(self.columns))
        faults = {}
        for row, column in np.argwhere(np.isnan(values)).tolist():
            name, value = self.columns[column], lists[column][row]
            faults[row] = self._fault(name, value)
        return values, faults

    @staticmethod
    def _fault(name, value):
        return f"column {name!r} holds no finite number: {value!r}.{decimal_hint(value)}"

    def _scaled(self, values):
        return (values - np.array(self.state["mean"])) / np.array(self.state["deviation"])
