"""Positional encodings: sinusoids or a learned table added to embeddings, or rotation of queries and keys."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks


def _frequencies(width: int, base: float) -> np.ndarray:
    """Returns radians per position for each pair of channels, float32 [ceil(width / 2)]; computed in float64."""
    return np.power(base, -np.arange(0, width, 2) / width).astype("float32")


def rotary(x: Any, positions: Any, base: float = 10000.0) -> Any:
    """Rotates queries or keys so that their dot product depends on the distance of their positions only.

    The two halves of a head form pairs (i, i + K/2); pair i rotates by `position / base^(2i/K)`. The paper pairs
    neighbours (2i, 2i + 1) instead; the two differ by a fixed permutation of the channels. The angles are computed in
    float32 for any dtype of `x`.

    Args:
        x: float tensor `[B, T, H, K]`, queries or keys; the width of a head K is even.
        positions: int tensor `[T]` or `[B, T]`, the position of each.
        base: float. The slowest pair needs about `2 pi base` positions for a full turn. Defaults to `10000.0`.

    Returns:
        A float tensor `[B, T, H, K]` in the dtype of `x`.

    Raises:
        ValueError: if K is odd.

    Example:

    ```python
    import numpy as np
    from keras import ops
    from kerazoo.layers import rotary

    x = np.random.default_rng(0).normal(size=(1, 2, 1, 4)).astype("float32")
    near = ops.convert_to_numpy(rotary(x, np.array([3, 5])))[0, :, 0]
    far = ops.convert_to_numpy(rotary(x, np.array([103, 105])))[0, :, 0]
    assert np.allclose(near[0] @ near[1], far[0] @ far[1], atol=1e-4)
    ```

    Reference:
        Su, Lu, Pan, Murtadha, Wen and Liu, 2021, RoFormer: Enhanced Transformer with Rotary Position Embedding,
        arXiv:2104.09864.
    """
    width = x.shape[-1]
    if width % 2:
        raise ValueError(
            f"rotary: the width of a head must be even; got {width}. Choose `hidden_dim` divisible by 2 x `num_heads`."
        )
    angles = ops.cast(positions, "float32")[..., None, None] * _frequencies(width, base)  # [(B,) T, 1, K/2]
    cosine, sine = ops.cast(ops.cos(angles), x.dtype), ops.cast(ops.sin(angles), x.dtype)
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)


def _positions(inputs: Any, start_index: Any, positions: Any) -> Any:
    """Returns the given positions [B, T] of the inputs [B, T, D], else [T] from `start_index` on."""
    if positions is not None:
        return ops.cast(positions, "int32")
    return ops.arange(ops.shape(inputs)[1], dtype="int32") + ops.cast(start_index, "int32")


def _sinusoids(steps: Any, width: int, base: float) -> Any:
    """Returns the sines and then the cosines of positions `steps` [..., T], float32 [..., T, width]."""
    # Half of the channels, rounded up, are sines: an odd width has one cosine less.
    angles = ops.cast(steps, "float32")[..., None] * _frequencies(width, base)  # [..., T, ceil(D/2)]
    return ops.concatenate([ops.sin(angles), ops.cos(angles[..., : width // 2])], axis=-1)  # [..., T, D]


def spaced_positions(positions: Any, max_gap: float, seed: keras.random.SeedGenerator | None = None) -> Any:
    """Returns positions with random distances from one to the next, or all with the mean distance.

    Args:
        positions: int tensor `[B, S]`. In each sequence of a row 0, 1, 2 and so on.
        max_gap: float, at least 1. The distances are uniform between 1 and this number.
        seed: `keras.random.SeedGenerator` of the distances. Defaults to `None`: all are `(1 + max_gap) / 2`.

    Returns:
        A float32 tensor `[B, S]`. The first position of each sequence is 0.
    """
    if seed is None:
        return ops.cast(positions, "float32") * ((1 + max_gap) / 2)
    total = ops.cumsum(keras.random.uniform(ops.shape(positions), 1, max_gap, seed=seed), axis=1)  # [B, S]
    first = ops.arange(ops.shape(positions)[1], dtype="int32") - ops.cast(positions, "int32")
    return total - ops.take_along_axis(total, first, axis=1)


@keras.saving.register_keras_serializable(package="kerazoo")
class SinusoidalPositions(keras.layers.Layer):
    """Adds sines and cosines of the position to a batch of sequences. It has no weights and no maximum length.

    Channel i has the angle `position / base^(2i/D)`. The sines fill the first half of the channels and the cosines the
    second; the paper interleaves them, which is the same up to a fixed permutation of the channels.

    Args:
        base: float, above 1. The slowest channel needs about `2 pi base` positions for a full turn. Defaults to
            `10000.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`.
        start_index: int or int32 scalar. Position of the first input. Defaults to `0`.
        positions: int tensor `[B, T]`, the position of each input, instead of consecutive ones. Defaults to `None`.

    Returns:
        A float tensor `[B, T, D]` in the compute dtype.

    Masking:
        Padding gets positions too. The Keras mask of `inputs` is passed on.

    Raises:
        ValueError: if `base` is not above 1, or `inputs` do not have 3 axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    x = np.zeros((2, 5, 6), "float32")
    layer = kz.layers.SinusoidalPositions()
    assert np.allclose(layer(x)[:, 3:], layer(x[:, 3:], start_index=3), atol=1e-6)
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(self, base: float = 10000.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.base = _checks.number("SinusoidalPositions", "base", base, low=1, low_open=True)
        self.supports_masking = True

    def call(self, inputs: Any, start_index: Any = 0, positions: Any = None) -> Any:
        _checks.rank("SinusoidalPositions", "inputs", inputs.shape, (3,))
        steps = _positions(inputs, start_index, positions)  # [T] or [B, T]
        return inputs + ops.cast(_sinusoids(steps, inputs.shape[-1], self.base), inputs.dtype)

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "base": self.base}


@keras.saving.register_keras_serializable(package="kerazoo")
class SinusoidalPositions2D(keras.layers.Layer):
    """Adds sines and cosines of row and column to a batch of feature maps. It has no weights and no maximum size.

    The first half of the channels has the sinusoids of the row, the second half those of the column, each as in
    `SinusoidalPositions`. An odd number of channels has one more for the column.

    Args:
        base: float, above 1. The slowest channel needs about `2 pi base` positions for a full turn. Defaults to
            `10000.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, H, W, D]`.

    Returns:
        A float tensor `[B, H, W, D]` in the compute dtype.

    Raises:
        ValueError: if `base` is not above 1, or `inputs` do not have 4 axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    x = np.zeros((2, 3, 5, 8), "float32")
    positions = np.array(kz.layers.SinusoidalPositions2D()(x))
    assert np.array_equal(positions[:, 1, 4, :4], positions[:, 1, 0, :4])  # the same row
    assert np.array_equal(positions[:, 1, 4, 4:], positions[:, 2, 4, 4:])  # the same column
    ```

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762;
        Parmar et al., 2018, Image Transformer, arXiv:1802.05751 (half of the channels for each of two dimensions).
    """

    def __init__(self, base: float = 10000.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.base = _checks.number("SinusoidalPositions2D", "base", base, low=1, low_open=True)

    def call(self, inputs: Any) -> Any:
        _checks.rank("SinusoidalPositions2D", "inputs", inputs.shape, (4,))
        _, height, width, channels = ops.shape(inputs)
        rows = _sinusoids(ops.arange(height, dtype="int32"), channels // 2, self.base)[:, None]  # [H, 1, D/2]
        columns = _sinusoids(ops.arange(width, dtype="int32"), channels - channels // 2, self.base)  # [W, D/2]
        rows = ops.broadcast_to(rows, (height, width, channels // 2))
        columns = ops.broadcast_to(columns[None], (height, width, channels - channels // 2))
        return inputs + ops.cast(ops.concatenate([rows, columns], axis=-1), inputs.dtype)

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "base": self.base}


@keras.saving.register_keras_serializable(package="kerazoo")
class LearnedPositions(keras.layers.Layer):
    """Adds a learned vector for each position, up to `max_length`, to a batch of sequences.

    Args:
        max_length: int, above 0. Number of positions.
        initializer: Initializer of the table, None for a normal distribution with standard deviation 0.02. Defaults to
            `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`.
        start_index: int or int32 scalar. Position of the first input. Defaults to `0`.
        positions: int tensor `[B, T]`, the position of each input, instead of consecutive ones. Defaults to `None`.

    Returns:
        A float tensor `[B, T, D]` in the compute dtype.

    Masking:
        Padding gets positions too. The Keras mask of `inputs` is passed on.

    Raises:
        ValueError: if positions from `max_length` on are needed, as far as the length of `inputs` and `start_index`
            are Python integers. Beyond that the caller has to bound them.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    layer = kz.layers.LearnedPositions(max_length=7)
    assert layer(np.zeros((2, 5, 6), "float32"), start_index=2).shape == (2, 5, 6)
    ```

    Reference:
        Gehring, Auli, Grangier, Yarats and Dauphin, 2017, Convolutional Sequence to Sequence Learning,
        arXiv:1705.03122.
    """

    def __init__(self, max_length: int, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.max_length = _checks.positive_int("LearnedPositions", "max_length", max_length)
        self.initializer = keras.initializers.get(initializer or keras.initializers.RandomNormal(stddev=0.02))
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("LearnedPositions", "inputs", inputs_shape, (3,))
        self.table = self.add_weight(
            name="table", shape=(self.max_length, inputs_shape[-1]), initializer=self.initializer
        )

    def call(self, inputs: Any, start_index: Any = 0, positions: Any = None) -> Any:
        _checks.rank("LearnedPositions", "inputs", inputs.shape, (3,))
        length = inputs.shape[1]
        counted = positions is None and isinstance(length, int) and isinstance(start_index, int)
        if counted and start_index + length > self.max_length:
            raise ValueError(
                f"LearnedPositions: the table ends at `max_length`; got max_length={self.max_length} for "
                f"{start_index + length} tokens. Raise max_length, cut the sequences, or use positions without a limit."
            )
        steps = _positions(inputs, start_index, positions)  # [T] or [B, T]
        return inputs + ops.take(self.table, steps, axis=0)  # [B, T, D]

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "max_length": self.max_length, "initializer": initializer}
