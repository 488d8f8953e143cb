"""The rows that follow a window of a series, as a target."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kerazoo import _checks
from kerazoo.data.series_source import FILE
from kerazoo.tasks.feature import Feature, check_pairs
from kerazoo.tasks.series_feature import SeriesFeature

if TYPE_CHECKING:
    import keras

    from kerazoo.data import DataSource
    from kerazoo.data.dates import Dates

LOSSES = ("mean_squared_error", "mean_absolute_error")


class FutureFeature(SeriesFeature):
    """The rows of a series that follow a window, `[horizon, variables]`, which forecasters predict.

    They are scaled by the mean and the deviation of the window's feature. A forecaster is trained with the mean squared
    or absolute error of scaled numbers, or with the quantile loss. A prediction is an array `[horizon, variables]` in
    the units of the data: the numbers, or the quantile nearest to 0.5.

    Args:
        column: string. The name of the raw column. Defaults to `"future"`.
        scaled_by: `SeriesFeature` of the windows.
        length: int. The rows that follow a window, which a restored feature must have been fitted with. Defaults to
            `None`: any.
        quantiles: tuple of floats, in (0, 1) and ascending. The quantiles that are predicted. Defaults to `None`.
        loss: string, `"mean_squared_error"` or `"mean_absolute_error"`, without quantiles. Defaults to
            `"mean_squared_error"`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    kinds = ("forecaster",)
    continuous = True
    measures = ("mean_squared_error", "mean_absolute_error", "mase", "smape")

    def __init__(
        self,
        column: str = "future",
        *,
        scaled_by: SeriesFeature,
        length: int | None = None,
        quantiles: Sequence[float] | None = None,
        loss: str = "mean_squared_error",
    ):
        super().__init__(column, length=length)
        self.scaled_by = scaled_by
        self.quantiles = _checks.quantiles(self.owner, "quantiles", quantiles)
        self.loss_name = _checks.one_of(self.owner, "loss", loss, LOSSES)
        if self.quantiles and loss != LOSSES[0]:
            raise ValueError(
                f"{self.owner}: quantiles have a loss of their own; got quantiles={quantiles}, loss={loss!r}. "
                "Leave one of them out."
            )
        self.outputs = ("forecast", "quantiles") if self.quantiles else ("forecast",)

    @property
    def median(self) -> int:
        """The number of the quantile that is the prediction, the one nearest to 0.5."""
        return min(range(len(self.quantiles)), key=lambda index: abs(self.quantiles[index] - 0.5))

    def restore(self, state: Mapping) -> None:
        self._same_option("quantiles", tuple(state.get("quantiles", ())), self.quantiles)
        super().restore(state)

    def declare(self, source: "DataSource") -> None:
        super().declare(source)
        if self.state is None or "season" not in self.state:
            raise ValueError(
                f"{self.owner}: a future needs a source that knows its season; got {type(source).__name__}."
            )
        if self.quantiles:
            self.state["quantiles"] = list(self.quantiles)

    @property
    def scaled_by_column(self) -> str:
        """The column of the names of the files, where each has a scale."""
        return FILE if "files" in (self.state or {}) else ""

    def of_file(self, name: str) -> Self:
        feature = copy.copy(super().of_file(name))
        feature.scaled_by = self.scaled_by.of_file(name)
        return feature

    def check_model(self, model: Any) -> None:
        """Refuses a model whose forecast depends on the scale of the window, where each file has a scale."""
        if self.scaled_by_column and not getattr(model, "instance_normalization", False):
            raise ValueError(
                f"{self.owner}: several files have a scale each, and a model must normalize its windows so that it can "
                f"predict other files as well; got {type(model).__name__} without. Set instance_normalization=True."
            )

    def statistics(
        self,
        predictions: Sequence,
        references: Sequence[Sequence],
        measures: Sequence[str] | None = None,
        groups: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Returns the statistics of the measures, those of each file with its own scale."""
        if not self.scaled_by_column:
            return super().statistics(predictions, references, measures)
        check_pairs(self.owner, predictions, references)
        found: dict[str, np.ndarray] = {}
        for name in dict.fromkeys(groups):
            rows = [row for row, group in enumerate(groups) if group == name]
            chosen = [predictions[row] for row in rows], [references[row] for row in rows]
            for measure, values in self.of_file(name).statistics(*chosen, measures).items():
                found.setdefault(measure, np.zeros((len(groups), *values.shape[1:])))[rows] = values
        return found

    def targets(self, values: Any) -> Any:
        return self.inputs(values)  # [B, H, V]

    def weights(self, targets: Any, valid: Any) -> Any:
        """Returns the weights of the rows, 1 for those of each valid example."""
        from keras import ops

        return ops.repeat(ops.cast(valid, "float32")[:, None], self.shape[0], axis=1)  # [B, H]

    def target_sizes(self) -> dict:
        rows, variables = self.shape
        return {"output_length": rows, "num_values": variables, "quantiles": self.quantiles or None}

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        import keras

        from kerazoo.training import QuantileLoss

        self._no_label_smoothing("numbers", label_smoothing)
        if self.quantiles:
            return QuantileLoss(self.quantiles)
        cls = {
            "mean_squared_error": keras.losses.MeanSquaredError,
            "mean_absolute_error": keras.losses.MeanAbsoluteError,
        }
        return cls[self.loss_name](reduction="mean_with_sample_weight")

    def decode(self, outputs: Any) -> list:
        return [each[..., self.median] if self.quantiles else each for each in self.decode_quantiles(outputs)]

    def decode_quantiles(self, outputs: Any) -> list:
        """Returns the numbers `[H, V]` for each row of outputs `[H, V * Q]`, or the quantiles `[H, V, Q]` of each."""
        mean, deviation = self._scale
        rows, variables = self.shape
        if not self.quantiles:
            return [np.asarray(row, np.float64) * deviation + mean for row in outputs]
        parts = [np.reshape(np.asarray(row, np.float64), (rows, variables, len(self.quantiles))) for row in outputs]
        # Quantiles that are learnt one by one may cross.
        return [np.sort(part * deviation[:, None] + mean[:, None], axis=2) for part in parts]

    def decode_in_graph(self, outputs: Any) -> dict:
        import tensorflow as tf

        mean, deviation = (tf.constant(value, tf.float64) for value in self._scale)
        rows, variables = self.shape
        outputs = tf.cast(outputs, tf.float64)
        if not self.quantiles:
            return {"forecast": tf.reshape(outputs, [-1, rows, variables]) * deviation + mean}
        parts = tf.reshape(outputs, [-1, rows, variables, len(self.quantiles)])
        parts = tf.sort(parts * deviation[:, None] + mean[:, None], axis=3)
        return {"forecast": parts[..., self.median], "quantiles": parts}

    def table(self, outputs: Any, dates: "Dates | None" = None) -> list[list[str]]:
        """Returns a forecast as a table of text: the names of the columns, then a row for each row of the future.

        Args:
            outputs: the outputs of the model for one window, `[H, V]` or `[H, V * Q]`.
            dates: `Dates` of the rows up to the last one of the window, which the forecast goes on with. Defaults to
                `None`: the rows are numbered from 1.
        """
        (found,) = self.decode_quantiles([outputs])
        names, rows = self.scaled_by.state["names"], self.shape[0]
        first = ("date", dates.after(rows)) if dates else ("row", list(map(str, range(1, rows + 1))))
        header = [f"{name} {level:g}" for name in names for level in self.quantiles] if self.quantiles else names
        numbers = np.reshape(found, (rows, -1)).tolist()
        return [[first[0], *header], *([each, *(f"{n:.8g}" for n in row)] for each, row in zip(first[1], numbers))]

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        seasons = {self.of_file(name).season for name in self.state.get("files", ())} or {self.season}
        usable = {season for season in seasons if 1 < season <= self.scaled_by.shape[0]}  # a longer one does not fit
        found = {"last value": 1}
        if len(seasons) == 1 and usable:
            found[f"value of one season ({self.season} rows) before"] = self.season
        elif usable:
            found["value of one season of the file before"] = 0
        return found

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        rows = int(fitted) or (self.season if self.season <= self.scaled_by.shape[0] else 1)
        rows = np.arange(self.shape[0]) % rows - rows
        return [np.asarray(window)[rows] for window in raw]

    def measure_options(self, name: str) -> dict[str, Any]:
        """Returns the error of the seasonal naive forecast of the training rows for `mase`, the scale for `smape`."""
        mean, deviation = self._scale
        if name == "mase":
            return {"naive_error": np.array(self.state["naive_error"]) / deviation}
        return {"mean": mean, "deviation": deviation} if name == "smape" else {}

    @property
    def season(self) -> int:
        """Rows of a season, 1 where there is none."""
        return int(self.state["season"])

    @property
    def _scale(self):
        return np.array(self.scaled_by.state["mean"]), np.array(self.scaled_by.state["deviation"])
