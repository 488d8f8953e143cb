"""Direct forecasters: all rows of the future of a series at once, by linear maps or a Transformer over patches."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.layers import Dropout, LearnedPositions, TransformerEncoder, series_moments
from kerazoo.models.base_model import BaseModel, get_input


class Forecaster(BaseModel):
    """The base of models that compute the future of each variable of a series from its window alone, at once.

    All variables share the weights, so a model reads any number of them. A subclass implements `forecast` and
    `build_forecast`.

    Args:
        input_shape: tuple of two integers, above 0. Rows L and variables V of a window.
        output_length: integer, above 0. Number of rows H that are predicted.
        quantiles: tuple of floats, in (0, 1) and ascending. The quantiles that are predicted for each value. Defaults
            to `None`: one number for each value.
        instance_normalization: boolean. Whether each variable of each window is scaled by its own mean and deviation,
            and the forecast scaled back. Defaults to `True`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.
    """

    def __init__(
        self,
        input_shape: Any,
        output_length: int,
        *,
        quantiles: Any = None,
        instance_normalization: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.window_shape = _checks.positive_ints(owner, "input_shape", input_shape)
        _checks.rank(owner, "input_shape", self.window_shape, (2,))
        self.output_length = _checks.positive_int(owner, "output_length", output_length)
        self.quantiles = _checks.quantiles(owner, "quantiles", quantiles)
        self.instance_normalization = bool(instance_normalization)
        self.num_outputs = self.output_length * max(1, len(self.quantiles))  # of one variable

    def forecast(self, rows: Any, training: bool | None = None) -> Any:
        """Returns `num_outputs` numbers, `[B, V, num_outputs]`, for the windows `[B, V, L]` of single variables."""
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        series = ops.cast(get_input(inputs, "source", type(self).__name__), "float32")  # [B, L, V]
        _checks.rank(type(self).__name__, "source", series.shape, (3,))
        scale = series_moments(series) if self.instance_normalization else None
        if scale is not None:
            series = (series - scale[0]) / scale[1]
        found = ops.cast(self.forecast(ops.transpose(series, (0, 2, 1)), training=training), "float32")
        copies = max(1, len(self.quantiles))
        found = ops.reshape(found, (-1, series.shape[2], self.output_length, copies))
        found = ops.transpose(found, (0, 2, 1, 3))  # [B, H, V, Q]
        if scale is not None:
            found = found * scale[1][..., None] + scale[0][..., None]
        return ops.reshape(found, (-1, self.output_length, series.shape[2] * copies))

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict[str, Any]:
        """Returns zeros for `"source"`; the length of a window is that of `input_shape`."""
        return {"source": np.zeros((batch_size, *self.window_shape), "float32")}


@keras.saving.register_keras_serializable(package="kerazoo")
class LinearForecaster(Forecaster):
    """Computes the future of each variable by a linear map of its window, for the trend and for the rest of it.

    The trend is a moving average, at the ends of the window over repeated values. All variables share the two maps.
    With `instance_normalization` each window is scaled by its own mean and deviation first, which the paper does not.

    Args:
        input_shape: tuple of two integers, above 0. Rows L and variables V of a window. Defaults to `(336, 7)`.
        output_length: integer, above 0. Number of rows H that are predicted. Defaults to `96`.
        kernel_size: odd integer, above 0. Rows of the moving average; 1 for a single map. Defaults to `25`.
        dropout: float, in [0, 1). Rate at which values of the window are dropped in training. Defaults to `0.0`.
        quantiles: tuple of floats, in (0, 1) and ascending. The quantiles that are predicted for each value. Defaults
            to `None`: one number for each value.
        instance_normalization: boolean. See above. Defaults to `True`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"`, float values `[B, L, V]`, or the source itself.
        training: boolean. Whether dropout is applied.

    Returns:
        Float32 tensor `[B, H, V]`; with Q quantiles `[B, H, V * Q]`, those of a variable side by side.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.create("linear_forecaster", input_shape=(24, 3), output_length=12, kernel_size=5)
    assert model(np.ones((2, 24, 3), "float32")).shape == (2, 12, 3)
    ```

    Reference:
        Zeng, Chen, Zhang and Xu (2022), Are Transformers Effective for Time Series Forecasting?, arXiv:2205.13504
        (DLinear);
        Li, Qi, Li and Xu (2023), Revisiting Long-term Time Series Forecasting: An Investigation on Linear Mapping,
        arXiv:2305.10721 (the normalization of each window).
    """

    def __init__(
        self,
        input_shape: Any = (336, 7),
        output_length: int = 96,
        *,
        kernel_size: int = 25,
        dropout: float = 0.0,
        quantiles: Any = None,
        instance_normalization: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            input_shape,
            output_length,
            quantiles=quantiles,
            instance_normalization=instance_normalization,
            **kwargs,
        )
        self.kernel_size = _checks.positive_int("LinearForecaster", "kernel_size", kernel_size)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"LinearForecaster: `kernel_size` must be odd; got kernel_size={kernel_size}.")
        rate = _checks.rate("LinearForecaster", "dropout", dropout)
        self.dropout = Dropout(rate, name="dropout", dtype=self.dtype_policy)
        names = ("rest", "trend") if self.kernel_size > 1 else ("rest",)
        # Equal weights make the first forecast the mean of the window.
        mean = keras.initializers.Constant(1 / self.window_shape[0])
        self.maps = [
            keras.layers.Dense(self.num_outputs, kernel_initializer=mean, name=name, dtype=self.dtype_policy)
            for name in names
        ]

    def forecast(self, rows: Any, training: bool | None = None) -> Any:
        rows = self.dropout(rows, training=training)  # [B, V, L]
        if self.kernel_size == 1:
            return self.maps[0](rows)
        trend = _moving_average(rows, self.kernel_size)
        return self.maps[0](rows - trend) + self.maps[1](trend)


def _moving_average(rows, size):
    """Returns the mean of `size` neighbours of each value of rows [B, V, L], whose ends are repeated."""
    half = size // 2
    first, last = ops.repeat(rows[:, :, :1], half, axis=2), ops.repeat(rows[:, :, -1:], half, axis=2)
    padded = ops.concatenate([first, rows, last], axis=2)[..., None]  # [B, V, L + size - 1, 1]
    return ops.average_pool(padded, (1, size), (1, 1), padding="valid", data_format="channels_last")[..., 0]


@keras.saving.register_keras_serializable(package="kerazoo")
class PatchForecaster(Forecaster):
    """Computes the future of each variable by a Transformer encoder over patches of its window.

    Each variable is a sequence of its own, and all share the weights. A window is cut into overlapping patches of
    consecutive rows, its last row repeated for one patch more; a dense layer maps what the encoder returns for all
    patches to the future. Unlike in the paper the blocks normalize layers, not batches.

    Args:
        input_shape: tuple of two integers, above 0. Rows L and variables V of a window. Defaults to `(336, 7)`.
        output_length: integer, above 0. Number of rows H that are predicted. Defaults to `96`.
        patch_length: integer, above 0 and at most L. Rows of a patch. Defaults to `16`.
        patch_stride: integer, above 0. Rows from one patch to the next. Defaults to `8`.
        num_layers: integer, above 0. Blocks of the encoder. Defaults to `3`.
        hidden_dim: integer, above 0. Width of the encoder. Defaults to `16`.
        num_heads: integer, above 0. Heads of the attention; divides `hidden_dim`. Defaults to `4`.
        intermediate_dim: integer, above 0. Width inside the feed-forward layers. Defaults to `128`.
        dropout: float, in [0, 1). Rate on embeddings, attention weights, outputs and before the head. Defaults to
            `0.3`.
        activation: string or callable. Activation of the feed-forward layers. Defaults to `"gelu"`.
        norm: `"pre"` or `"post"`. Whether normalization is before or after each part of a block. Defaults to `"post"`.
        quantiles: tuple of floats, in (0, 1) and ascending. The quantiles that are predicted for each value. Defaults
            to `None`: one number for each value.
        instance_normalization: boolean. Whether each variable of each window is scaled by its own mean and deviation,
            and the forecast scaled back. Defaults to `True`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"`, float values `[B, L, V]`, or the source itself.
        training: boolean. Whether dropout is applied.

    Returns:
        Float32 tensor `[B, H, V]`; with Q quantiles `[B, H, V * Q]`, those of a variable side by side.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.create("patch_forecaster", input_shape=(24, 3), output_length=12, patch_length=8, patch_stride=4)
    assert model(np.ones((2, 24, 3), "float32")).shape == (2, 12, 3)
    ```

    Reference:
        Nie, Nguyen, Sinthong and Kalagnanam (2022), A Time Series is Worth 64 Words: Long-term Forecasting with
        Transformers, arXiv:2211.14730 (PatchTST).
    """

    def __init__(
        self,
        input_shape: Any = (336, 7),
        output_length: int = 96,
        *,
        patch_length: int = 16,
        patch_stride: int = 8,
        num_layers: int = 3,
        hidden_dim: int = 16,
        num_heads: int = 4,
        intermediate_dim: int = 128,
        dropout: float = 0.3,
        activation: Any = "gelu",
        norm: str = "post",
        quantiles: Any = None,
        instance_normalization: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            input_shape,
            output_length,
            quantiles=quantiles,
            instance_normalization=instance_normalization,
            **kwargs,
        )
        owner = "PatchForecaster"
        self.patch_length = _checks.positive_int(owner, "patch_length", patch_length)
        self.patch_stride = _checks.positive_int(owner, "patch_stride", patch_stride)
        _checks.not_above(owner, "patch_length", self.patch_length, self.window_shape[0])
        # Row numbers of each patch; those after the window are its last row again.
        last = self.window_shape[0] - 1
        starts = np.arange(0, last + 2 - self.patch_length + self.patch_stride, self.patch_stride)
        self.patch_rows = np.minimum(starts[:, None] + np.arange(self.patch_length), last).astype("int32")  # [N, P]
        dtype = self.dtype_policy
        self.embedding = keras.layers.Dense(hidden_dim, name="patches", dtype=dtype)
        self.positions = LearnedPositions(len(self.patch_rows), name="positions", dtype=dtype)
        self.dropout = Dropout(_checks.rate(owner, "dropout", dropout), name="dropout", dtype=dtype)
        self.encoder = TransformerEncoder(
            num_layers,
            hidden_dim,
            num_heads=num_heads,
            intermediate_dim=intermediate_dim,
            dropout=dropout,
            activation=activation,
            norm=norm,
            name="encoder",
            dtype=dtype,
        )
        self.head = keras.layers.Dense(self.num_outputs, name="head", dtype=dtype)

    def forecast(self, rows: Any, training: bool | None = None) -> Any:
        num_patches, width = self.patch_rows.shape[0], self.embedding.units
        patches = ops.take(rows, self.patch_rows, axis=2)  # [B, V, N, P]
        x = ops.reshape(patches, (-1, num_patches, self.patch_length))  # [B * V, N, P]
        x = self.dropout(self.positions(self.embedding(x)), training=training)
        x = self.encoder(x, training=training)["sequence"]  # [B * V, N, D]
        x = self.dropout(ops.reshape(x, (-1, num_patches * width)), training=training)
        return ops.reshape(self.head(x), (-1, rows.shape[1], self.num_outputs))
