"""A decoder for images that are generated pixel by pixel, which knows the pixels above and the place in the image."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.layers.lstm_decoder import LSTMDecoder
from kerazoo.layers.masking import masked_mean
from kerazoo.layers.transformer_decoder import TransformerDecoder


@keras.saving.register_keras_serializable(package="kerazoo")
class PixelDecoder(keras.layers.Layer):
    """Decodes an image pixel by pixel with an LSTM or a Transformer that reads the neighbours and place of each pixel.

    Pixels come row by row, each with its channels, so that the pixel above is a whole row of positions back. The
    vectors of the pixels that come before within `distance` rows and columns are multiplied by one kernel, as a masked
    convolution does, and learned vectors of the row, the column and the channel are added. Where there is an encoded
    source, such as a class, a projection of its mean is added at each position too. The sum is what an
    `LSTMDecoder` or a `TransformerDecoder` reads. Repeated steps compute what `call` computes.

    Args:
        image_shape: tuple of ints, each above 0. Height, width and channels.
        decoder: `"lstm"` or `"transformer"`. Defaults to `"lstm"`.
        hidden_dim: int, above 0. Width U of the decoder. Defaults to `128`.
        num_layers: int, above 0. Layers of the decoder. Defaults to `1`.
        num_heads: int, above 0. Heads of a Transformer; divides `hidden_dim`. Defaults to `4`.
        distance: int, above 0. Rows above and columns to either side whose pixels are read. Defaults to `2`.
        dropout: float in `[0, 1)`. Dropout rate inside the decoder. Defaults to `0.0`.
        has_source: bool. Whether there is an encoded source, such as a class. Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`, embedded pixels shifted by one: the input at position t is pixel t - 1.
        encoded: dict of an encoder; None without `has_source`. Defaults to `None`.
        training: bool. Whether to apply dropout.

    Returns:
        A float tensor `[B, T, U]` in the compute dtype.

    Raises:
        ValueError: if `image_shape` has not three entries, `decoder` is unknown, `encoded` is missing or not expected,
            or there are more positions than pixels.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    decoder = kz.layers.PixelDecoder(image_shape=(3, 5, 1), hidden_dim=11)
    x = np.random.default_rng(0).normal(size=(2, 15, 4)).astype("float32")
    whole = decoder(x)
    cache = decoder.start(batch_size=2, max_length=15)
    for t in range(15):
        y, cache = decoder.step(x[:, t], cache, t)
    assert np.allclose(y, whole[:, 14], atol=1e-5)
    ```

    Reference:
        van den Oord, Kalchbrenner and Kavukcuoglu, 2016, Pixel Recurrent Neural Networks, arXiv:1601.06759 (masked
        convolution of the input);
        van den Oord et al., 2016, Conditional Image Generation with PixelCNN Decoders, arXiv:1606.05328 (source);
        Parmar et al., 2018, Image Transformer, arXiv:1802.05751 (vectors of row, column and channel).
    """

    # Of the decoding protocol, see `EncoderDecoder`: a step needs the pixels of the steps before.
    supports_parallel_decoding = False

    def __init__(
        self,
        image_shape: tuple[int, ...],
        decoder: str = "lstm",
        *,
        hidden_dim: int = 128,
        num_layers: int = 1,
        num_heads: int = 4,
        distance: int = 2,
        dropout: float = 0.0,
        has_source: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        owner = "PixelDecoder"
        self.image_shape = _checks.positive_ints(owner, "image_shape", image_shape)
        if len(self.image_shape) != 3:
            raise ValueError(
                f"{owner}: `image_shape` must be height, width and channels; got image_shape={image_shape!r}."
            )
        self.kind = _checks.one_of(owner, "decoder", decoder, ("lstm", "transformer"))
        self.hidden_dim = _checks.positive_int(owner, "hidden_dim", hidden_dim)
        self.num_layers, self.num_heads, self.dropout = num_layers, num_heads, dropout
        self.distance = _checks.positive_int(owner, "distance", distance)
        self.has_source = bool(has_source)
        self.lags, self.inside = _neighbours(self.image_shape, self.distance)
        self.mix = keras.layers.Dense(self.hidden_dim, name="mix", dtype=self.dtype_policy)
        if self.has_source:
            self.condition = keras.layers.Dense(
                self.hidden_dim, use_bias=False, name="condition", dtype=self.dtype_policy
            )
        self.decoder = self._decoder()

    def _decoder(self) -> Any:
        options = {"dropout": self.dropout, "name": self.kind, "dtype": self.dtype_policy}
        if self.kind == "lstm":
            return LSTMDecoder(self.hidden_dim, self.num_layers, **options)
        return TransformerDecoder(
            self.num_layers,
            self.hidden_dim,
            num_heads=self.num_heads,
            intermediate_dim=4 * self.hidden_dim,
            activation="gelu",
            cross_attention=False,
            **options,
        )

    @property
    def prefers_jit(self) -> bool:
        """Whether decoding is faster with XLA on TensorFlow."""
        return self.decoder.prefers_jit

    @property
    def num_positions(self) -> int:
        """The number of pixels times channels."""
        return int(np.prod(self.image_shape))

    def build(self, inputs_shape: Any, encoded_shape: Any = None) -> None:
        _checks.rank("PixelDecoder", "inputs", inputs_shape, (3,))
        self._check_source(encoded_shape)
        self.mix.build((*inputs_shape[:2], inputs_shape[-1] * len(self.lags)))
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.tables = [
            self.add_weight(name=name, shape=(size, self.hidden_dim), initializer=initializer)
            for name, size in zip(("rows", "columns", "channels"), self.image_shape)
        ]
        self.width = inputs_shape[-1]
        if encoded_shape is not None:
            self.condition.build((None, encoded_shape["sequence"][-1]))
        hidden_shape = (*inputs_shape[:2], self.hidden_dim)
        self.decoder.build(hidden_shape)

    def call(self, inputs: Any, encoded: Any = None, training: bool | None = None) -> Any:
        self._check_source(encoded)
        length = ops.shape(inputs)[1]
        if isinstance(length, int) and length > self.num_positions:
            raise ValueError(
                f"PixelDecoder: an image of shape {self.image_shape} has {self.num_positions} positions; got {length}."
            )
        oldest = max(self.lags)
        before = ops.pad(inputs, ((0, 0), (oldest, 0), (0, 0)))  # [B, oldest + T, D]
        taken = [before[:, oldest - lag : oldest - lag + length] for lag in self.lags]
        positions = ops.arange(length, dtype="int32")  # [T]
        inside = ops.cast(ops.take(self.inside, positions, axis=0), self.compute_dtype)  # [T, N]
        x = ops.concatenate([x * inside[None, :, n : n + 1] for n, x in enumerate(taken)], axis=-1)
        x = self.mix(x) + self._places(positions)
        if encoded is not None:
            x = x + self._condition(encoded)[:, None]
        return self.decoder(x, training=training)

    def _places(self, positions: Any) -> Any:
        """Returns the sum of the vectors of row, column and channel of positions [...], floats [..., hidden_dim]."""
        _, width, channels = self.image_shape
        parts = (positions // (width * channels), positions // channels % width, positions % channels)
        vectors = [ops.take(table, part, axis=0) for table, part in zip(self.tables, parts)]
        return ops.cast(vectors[0] + vectors[1] + vectors[2], self.compute_dtype)

    def _check_source(self, encoded: Any) -> None:
        if self.has_source != (encoded is not None):
            rule = "is needed" if self.has_source else "must be None"
            raise ValueError(
                f"PixelDecoder: `encoded` {rule} with has_source={self.has_source}; got {type(encoded).__name__}."
            )

    def _condition(self, encoded: Any) -> Any:
        """Returns what a source adds to each of its positions, floats [B, hidden_dim]."""
        return self.condition(masked_mean(encoded["sequence"], encoded["mask"]))

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache before the first pixel: that of `decoder`, and the vectors of the pixels before.

        Args:
            batch_size: int or int scalar. Number of sources.
            max_length: int. Maximum number of positions.
            encoded: dict of an encoder, or None. Defaults to `None`.
            num_beams: int. Number of hypotheses of each source. Defaults to `1`.
        """
        self._check_source(encoded)
        cache = self.decoder.start(batch_size, max_length, None, num_beams)
        before = ops.zeros((batch_size, max(self.lags), self.width), self.compute_dtype)
        memory = {} if encoded is None else {"condition": self._condition(encoded)}
        return {
            **cache,
            "state": {"before": before, "decoder": cache["state"]},
            "memory": {**memory, "decoder": cache["memory"]},
        }

    def step(self, inputs: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the outputs `[B, U]` of one position, and the cache after it.

        Args:
            inputs: float tensor `[B, D]`.
            cache: dict, the result of `start` or of the step before.
            index: int scalar, the position.
        """
        state, memory = cache["state"], cache["memory"]
        index = ops.minimum(ops.cast(index, "int32"), self.num_positions - 1)
        inputs = ops.cast(inputs, self.compute_dtype)
        before = ops.concatenate([state["before"], inputs[:, None]], axis=1)  # [R, oldest + 1, D]
        x = ops.take(before, np.array([max(self.lags) - lag for lag in self.lags], "int32"), axis=1)  # [R, N, D]
        inside = ops.cast(ops.take(ops.convert_to_tensor(self.inside), index, axis=0), self.compute_dtype)  # [N]
        x = self.mix(ops.reshape(x * inside[None, :, None], (-1, len(self.lags) * self.width)))
        x = x + self._places(index)[None]  # [R, hidden_dim]
        if "condition" in memory:  # which the hypotheses of a source share
            condition = memory["condition"][:, None]
            x = ops.reshape(ops.reshape(x, (ops.shape(condition)[0], -1, self.hidden_dim)) + condition, ops.shape(x))
        inner = {**cache, "state": state["decoder"], "memory": memory["decoder"]}
        x, inner = self.decoder.step(x, inner, index)
        return x, {**inner, "state": {"before": before[:, 1:], "decoder": inner["state"]}, "memory": memory}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_shape": list(self.image_shape),
            "decoder": self.kind,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "distance": self.distance,
            "dropout": self.dropout,
            "has_source": self.has_source,
        }


def _neighbours(shape: tuple[int, ...], distance: int) -> tuple[list[int], np.ndarray]:
    """Returns how many positions before each position its neighbours are, and which of them the image has.

    Returns:
        A list of N ints, and bools [T, N]. Position t reads pixel t - 1, so that a lag of 0 is the value before, and
        the pixel at the left is `channels - 1` back.
    """
    height, width, channels = shape
    row, column = (np.repeat(part.reshape(-1), channels) for part in np.mgrid[:height, :width])
    lags, inside = list(range(channels)), [np.ones(len(row), bool)] * channels
    for up in range(distance + 1):
        for right in range(-distance, distance + 1):
            if up == 0 and right >= -1:  # the pixel itself, those that come later, and the one at the left
                continue
            exists = (row >= up) & (column + right >= 0) & (column + right < width)
            if exists.any():
                lags.append((up * width - right) * channels - 1)
                inside.append(exists)
    return lags, np.stack(inside, axis=1)
