"""ContinuousEncoderDecoder: any encoder with any decoder that reads and predicts vectors of numbers."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import ContinuousDecodable, GeneratedValues, generate_values
from kerazoo.layers import (
    Dropout,
    SinusoidalPositions,
    TransformerDecoder,
    last_valid,
    series_moments,
    shift_values_right,
)
from kerazoo.models.base_model import get_input, optional_input
from kerazoo.models.encoder_model import EncoderModel

STARTS = ("zeros", "learned", "last")


@keras.saving.register_keras_serializable(package="kerazoo")
class ContinuousEncoderDecoder(EncoderModel, ContinuousDecodable):
    """Encodes a source with any encoder and predicts a sequence of vectors, such as the future of a series.

    The decoder reads the values before each position: the true ones in training (teacher forcing), its own predictions
    in `generate`. A dense layer projects them to the width of the decoder; a Transformer without rotary positions gets
    sinusoidal ones. With `instance_normalization` each variable of a source, and of its targets, is scaled by the mean
    and the deviation of that source, and the outputs are scaled back, so that the level of a series does not matter.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, such as `kerazoo.layers.LSTMEncoder`,
            or a list of them, one for each source.
        decoder: a layer with `call`, `start` and `step`, such as `kerazoo.layers.TransformerDecoder`.
        num_values: integer, above 0. Width F of the vectors.
        output_length: integer, above 0. Number of positions that `generate` predicts; the largest number with `stop`.
        quantiles: tuple of floats, in (0, 1) and ascending. The quantiles that are predicted for each value; the one
            nearest to 0.5 is what the decoder reads. Defaults to `None`: one number for each value.
        stop: boolean. Whether the last output of each position is the logit of the probability that the sequence ends
            with it. Defaults to `False`.
        first_values: `"zeros"`, `"learned"` or `"last"`. The vector before the first position; `"last"` is the last one
            of the source, a series whose first F variables are the values. Defaults to `"zeros"`.
        instance_normalization: boolean. Whether a source, a series whose first F variables are the values, is
            normalized as above. Defaults to `False`.
        input_dropout: float, in [0, 1). Rate at which the projected values that the decoder reads are dropped in
            training, so that it relies on the source as well. Defaults to `0.0`.
        source_embedding: a layer that turns source token ids into vectors. None where the source is vectors or images.
            A list for several sources. Defaults to `None`.
        input_shape: tuple of integers. Shape of one source without the batch, where there is no source embedding. A
            list for several sources. Defaults to that of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"`, token ids `[B, S]`, vectors or images, and `"targets"`, float values
            `[B, T, F]`, not shifted. Further encoders read `"source_2"`, `"source_3"` and so on. `"source_mask"`,
            booleans `[B, S]`, marks the valid positions of vectors `[B, S, D]`.
        training: boolean. Whether dropout is applied.

    Returns:
        Float32 tensor `[B, T, output_width]`: for each of the F values its prediction or its quantiles, then the stop
        logit. The outputs of position t depend on the source and on the targets before t.

    Raises:
        ValueError: if an argument is out of its range, or several sources are to be normalized.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.ContinuousEncoderDecoder(
        encoder=kz.layers.LSTMEncoder(units=8),
        decoder=kz.layers.LSTMDecoder(units=8),
        num_values=3,
        output_length=5,
    )
    series, future = np.ones((2, 11, 3), "float32"), np.ones((2, 5, 3), "float32")
    assert model({"source": series, "targets": future}).shape == (2, 5, 3)
    assert model.generate(series).values.shape == (2, 5, 3)
    ```

    Reference:
        Graves (2013), Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850;
        Kim et al. (2022), Reversible Instance Normalization for Accurate Time-Series Forecasting against Distribution
        Shift, ICLR (the normalization, without their affine weights).
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        *,
        num_values: int,
        output_length: int,
        quantiles: Any = None,
        stop: bool = False,
        first_values: str = "zeros",
        instance_normalization: bool = False,
        input_dropout: float = 0.0,
        source_embedding: Any = None,
        input_shape: Any = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, source_embedding, input_shape=input_shape, **kwargs)
        owner = type(self).__name__
        self.num_values = _checks.positive_int(owner, "num_values", num_values)
        self.output_length = _checks.positive_int(owner, "output_length", output_length)
        self.quantiles = _checks.quantiles(owner, "quantiles", quantiles)
        self.has_stop = bool(stop)
        self.first_values = _checks.one_of(owner, "first_values", first_values, STARTS)
        self.instance_normalization = bool(instance_normalization)
        if self.join is not None and (self.first_values == "last" or self.instance_normalization):
            raise ValueError(
                f"{owner}: a single source, a series, is normalized or continued; "
                f"got {len(self.source_names)} encoders with first_values={first_values!r}, "
                f"instance_normalization={instance_normalization}."
            )
        self.decoder = decoder
        width = getattr(decoder, "hidden_dim", None) or decoder.units
        width = width if isinstance(width, int) else width[0]
        self.projection = keras.layers.Dense(width, name="values", dtype=self.dtype_policy)
        unordered = isinstance(decoder, TransformerDecoder) and decoder.get_config()["positions"] is None
        self.positions = SinusoidalPositions(name="positions", dtype=self.dtype_policy) if unordered else None
        self.dropout = Dropout(
            _checks.rate(owner, "input_dropout", input_dropout), name="input_dropout", dtype=self.dtype_policy
        )
        self.output_width = self.num_values * max(1, len(self.quantiles)) + self.has_stop
        self.head = keras.layers.Dense(self.output_width, name="head", dtype=self.dtype_policy)
        if self.first_values == "learned":
            self.learned_start = self.add_weight(name="first_values", shape=(self.num_values,), initializer="zeros")

    @property
    def prefers_jit(self) -> bool:
        """Whether decoding is faster with XLA on TensorFlow."""
        return self.decoder.prefers_jit

    def encode(self, inputs: Any, training: bool | None = False) -> dict[str, Any]:
        """Returns the encoded source with `"scale"`, its mean and deviation, and `"last"`, where they are needed.

        Args:
            inputs: a source, or a dictionary with `"source"`, see `kerazoo.models.EncoderModel`.
            training: boolean. Whether dropout is applied. Defaults to `False`.
        """
        added = {}
        if self.first_values == "last" or self.instance_normalization:
            source, mask = get_input(inputs, "source", type(self).__name__), optional_input(inputs, "source_mask")
            source = ops.cast(source, "float32")
            self._check_series(source)
            if self.first_values == "last":
                added["last"] = last_valid(source, mask)[:, : self.num_values]  # [B, F]
            if self.instance_normalization:
                mean, deviation = series_moments(source, mask)  # [B, 1, V]
                added["mean"], added["deviation"] = (x[:, :, : self.num_values] for x in (mean, deviation))
                source = (source - mean) / deviation
                inputs = {**inputs, "source": source} if isinstance(inputs, dict) else source
        return {**super().encode(inputs, training=training), **added}

    def _check_series(self, source):
        if len(source.shape) != 3 or source.shape[-1] < self.num_values:
            raise ValueError(
                f"{type(self).__name__}: a source that is normalized or continued must be a series [B, S, V] of at "
                f"least num_values={self.num_values} variables; got shape {tuple(source.shape)}."
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        encoded = self.encode(inputs, training=training)
        targets = ops.cast(get_input(inputs, "targets", type(self).__name__), "float32")
        values = shift_values_right(targets, self.start_values(encoded))  # [B, T, F]
        x = self._read(values, encoded, training=training)  # [B, T, D]
        return self._outputs(self.decoder(x, encoded=_for_decoder(encoded), training=training), encoded)

    def _read(self, values, scale, start_index=0, training=None):
        """Returns the inputs [B, T, D] of the decoder for values [B, T, F]."""
        if self.instance_normalization:
            values = (values - scale["mean"]) / scale["deviation"]
        x = self.projection(values)
        if self.positions is not None:
            x = self.positions(x, start_index=start_index)
        return self.dropout(x, training=training)

    def _outputs(self, x, scale):
        """Returns the outputs [B, T, output_width] for the decoder's outputs [B, T, D]."""
        x = ops.cast(self.head(x), "float32")
        if not self.instance_normalization:
            return x
        copies = max(1, len(self.quantiles))
        deviation, mean = (ops.repeat(scale[name], copies, axis=2) for name in ("deviation", "mean"))
        scaled = x[:, :, : copies * self.num_values] * deviation + mean
        return ops.concatenate([scaled, x[:, :, -1:]], axis=2) if self.has_stop else scaled

    def start_values(self, encoded: Any) -> Any:
        """Returns the values before the first position, float32 `[B, F]`."""
        if self.first_values == "last":
            return encoded["last"]
        zeros = ops.zeros((ops.shape(encoded["mask"])[0], self.num_values), dtype="float32")
        return zeros + ops.cast(self.learned_start, "float32") if self.first_values == "learned" else zeros

    def start(self, batch_size: Any, max_length: int, encoded: Any = None) -> dict[str, Any]:
        """Returns the cache before the first of at most `max_length` positions, see `ContinuousDecodable`."""
        cache = self.decoder.start(batch_size, max_length, _for_decoder(encoded))
        scale = {name: encoded[name] for name in ("mean", "deviation") if name in encoded}
        return {**cache, "memory": {"decoder": cache["memory"], "scale": scale}}

    def step(self, values: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns outputs `[B, output_width]` of position `index` from the values `[B, F]` before it, and the cache."""
        memory = cache["memory"]
        values = ops.cast(values, "float32")[:, None]
        x = self._read(values, memory["scale"], start_index=index)[:, 0]  # [B, D]
        x, cache = self.decoder.step(x, {**cache, "memory": memory["decoder"]}, index)
        return self._outputs(x[:, None], memory["scale"])[:, 0], {**cache, "memory": memory}

    def next_values(self, outputs: Any) -> Any:
        """Returns the values `[..., F]` that outputs `[..., output_width]` predict: the quantile nearest to 0.5."""
        if not self.quantiles:
            return outputs[..., : self.num_values]
        median = min(range(len(self.quantiles)), key=lambda index: abs(self.quantiles[index] - 0.5))
        return outputs[..., median : self.num_values * len(self.quantiles) : len(self.quantiles)]

    def generate(self, source: Any, *, source_mask: Any = None, **options: Any) -> GeneratedValues:
        """Returns the predicted sequence of each source, see `kerazoo.decoding.generate_values`.

        Args:
            source: token ids `[B, S]`, padded or ragged lists; or vectors, or images; or a dictionary of all sources.
            source_mask: booleans `[B, S]` for vectors `[B, S, D]`, True for valid positions. Defaults to `None`.
            **options: `max_length`, `stop_threshold`, `batch_size` and `jit_compile` of `generate_values`.
        """
        if source_mask is not None:
            source = {"source": source, "source_mask": source_mask}
        self._build_for(source)
        return generate_values(self, source, **options)

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict[str, Any]:
        """Returns zeros for each source and for `"targets"`."""
        targets = np.zeros((batch_size, min(length, self.output_length), self.num_values), "float32")
        return {**super().build_inputs(batch_size, length), "targets": targets}


def _for_decoder(encoded):
    """Returns what a decoder reads of the encoded source."""
    return {name: encoded[name] for name in ("sequence", "mask", "state") if name in encoded}
