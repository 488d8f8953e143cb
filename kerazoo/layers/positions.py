"""Where a token stands: sinusoids or a learned table added to embeddings, or the rotation of queries and keys."""

import keras
import numpy as np
from keras import ops

from kerazoo import _checks


def _rates(width, base):
    """Turns per position of every pair of channels, in radians, float32 [ceil(width / 2)]; computed in float64."""
    return np.power(base, -np.arange(0, width, 2) / width).astype("float32")


def rotary(x, positions, base: float = 10000.0):
    """Rotates queries or keys so that their dot product depends on how far apart they stand, not on where.

    The two halves of a head form pairs (i, i + K/2); the pair i turns by `position / base^(2i/K)`. The paper pairs
    neighbours (2i, 2i + 1) instead; the two differ by a fixed order of the channels, which the kernels learn anyway.
    The angles are computed in float32 whatever the dtype of `x`.

    Args:
        x: Queries or keys, floats [B, T, H, K]; the width of a head K is even.
        positions: Where each of them stands, integers [T] or [B, T].
        base: The slowest pair needs about `2 pi base` positions for a full turn.

    Returns:
        Floats [B, T, H, K] in the dtype of `x`.

    Raises:
        ValueError: when K is odd.

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
        Su, Lu, Pan, Murtadha, Wen, Liu (2021), RoFormer: Enhanced Transformer with Rotary Position Embedding,
        arXiv:2104.09864.
    """
    width = x.shape[-1]
    if width % 2:
        raise ValueError(
            f"rotary: the width of a head must be even; got {width}. Choose `hidden_dim` divisible by 2 x `num_heads`."
        )
    angles = ops.cast(positions, "float32")[..., None, None] * _rates(width, base)  # [T, 1, K/2] or [B, T, 1, K/2]
    cosine, sine = ops.cast(ops.cos(angles), x.dtype), ops.cast(ops.sin(angles), x.dtype)
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)


def _places(inputs, start_index, positions):
    """Where the inputs [B, T, D] stand: the positions [B, T] that are given, else [T] from `start_index` on."""
    if positions is not None:
        return ops.cast(positions, "int32")
    return ops.arange(ops.shape(inputs)[1], dtype="int32") + ops.cast(start_index, "int32")


@keras.saving.register_keras_serializable(package="kerazoo")
class SinusoidalPositions(keras.layers.Layer):
    """Adds sines and cosines of the position to a batch of sequences; nothing is learned and no length is too long.

    Channel i turns by `position / base^(2i/D)`. The sines fill the first half of the channels and the cosines the
    second; the paper interleaves them, which is the same up to a fixed order of the channels.

    Args:
        base: The slowest channel needs about `2 pi base` positions for a full turn. Default 10000.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [B, T, D].
        start_index: Position of the first of them, an integer or a scalar int32 tensor. Default 0.
        positions: Where each of them stands, integers [B, T], instead of one behind the other. Default None.

    Returns:
        Floats [B, T, D] in the compute dtype.

    Masking:
        Padding gets positions like everything else.

    Raises:
        ValueError: when `base` is not above 1, or `inputs` has not 3 axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    x = np.zeros((2, 5, 6), "float32")
    layer = kz.layers.SinusoidalPositions()
    assert np.allclose(layer(x)[:, 3:], layer(x[:, 3:], start_index=3), atol=1e-6)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(self, base: float = 10000.0, **kwargs):
        super().__init__(**kwargs)
        self.base = _checks.number("SinusoidalPositions", "base", base, low=1, low_open=True)
        self.supports_masking = True

    def call(self, inputs, start_index=0, positions=None):
        _checks.rank("SinusoidalPositions", "inputs", inputs.shape, (3,))
        width = inputs.shape[-1]
        # Half of the channels, rounded up, are sines: an odd width has one cosine less.
        places = _places(inputs, start_index, positions)  # [T] or [B, T]
        angles = ops.cast(places, "float32")[..., None] * _rates(width, self.base)  # [..., T, ceil(D/2)]
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles[..., : width // 2])], axis=-1)  # [..., T, D]
        return inputs + ops.cast(waves, inputs.dtype)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "base": self.base}


@keras.saving.register_keras_serializable(package="kerazoo")
class LearnedPositions(keras.layers.Layer):
    """Adds a learned vector for each position to a batch of sequences; positions from `max_length` on have none.

    Args:
        max_length: Number of positions in the table, above 0.
        initializer: How the table starts. Default: a normal distribution of deviation 0.02.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [B, T, D].
        start_index: Position of the first of them, an integer or a scalar int32 tensor. Default 0.
        positions: Where each of them stands, integers [B, T], instead of one behind the other. Default None.

    Returns:
        Floats [B, T, D] in the compute dtype.

    Masking:
        Padding gets positions like everything else.

    Raises:
        ValueError: when more than `max_length` positions are asked for, as far as lengths and `start_index` are known
            before the program runs. What only the compiled program knows is the caller's to bound.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    layer = kz.layers.LearnedPositions(max_length=7)
    assert layer(np.zeros((2, 5, 6), "float32"), start_index=2).shape == (2, 5, 6)
    ```

    Reference:
        Gehring, Auli, Grangier, Yarats, Dauphin (2017), Convolutional Sequence to Sequence Learning, arXiv:1705.03122.
    """

    def __init__(self, max_length: int, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.max_length = _checks.positive_int("LearnedPositions", "max_length", max_length)
        self.initializer = keras.initializers.get(initializer or keras.initializers.RandomNormal(stddev=0.02))
        self.supports_masking = True

    def build(self, inputs_shape):
        _checks.rank("LearnedPositions", "inputs", inputs_shape, (3,))
        self.table = self.add_weight(
            name="table", shape=(self.max_length, inputs_shape[-1]), initializer=self.initializer
        )

    def call(self, inputs, start_index=0, positions=None):
        _checks.rank("LearnedPositions", "inputs", inputs.shape, (3,))
        length = inputs.shape[1]
        counted = positions is None and isinstance(length, int) and isinstance(start_index, int)
        if counted and start_index + length > self.max_length:
            raise ValueError(
                f"LearnedPositions: the table ends at `max_length`; got max_length={self.max_length} for "
                f"{start_index + length} tokens. Raise max_length, cut the sequences, or use positions without a limit."
            )
        return inputs + ops.take(self.table, _places(inputs, start_index, positions), axis=0)  # [T, D] or [B, T, D]

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "max_length": self.max_length, "initializer": initializer}
