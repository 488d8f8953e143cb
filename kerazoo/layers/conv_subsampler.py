"""Convolutions that shorten a sequence before a recurrent layer or attention reads it."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import get_activation, serialize_activation
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import first_mask, zero_padding


@keras.saving.register_keras_serializable(package="kerazoo")
class ConvSubsampler(keras.layers.Layer):
    """Shortens a sequence by strided convolutions in time, each with a normalization and an activation.

    Output i of a convolution is centred at its input `strides * i`, so the alignment of outputs and inputs does not
    depend on the length of the batch. Two convolutions of stride 2 leave a quarter of the frames of a spectrogram. Each
    is computed as a product of a matrix with the inputs that an output reads, side by side, which XLA does quickly on a
    CPU, unlike convolutions.

    Args:
        filters: int or list of ints, each above 0. Channels of each convolution. Defaults to `(128, 128)`.
        kernel_size: int, above 0. Positions that an output reads. Defaults to `3`.
        strides: int, above 0. Step between the outputs of each convolution. Defaults to `2`.
        activation: Name, callable or None for none. Defaults to `"relu"`.
        dropout: float in `[0, 1)`. Dropout rate after each convolution. Defaults to `0.0`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, S, C]`.
        padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A float tensor `[B, S', filters[-1]]` in the compute dtype, where each convolution makes S to ceil(S / strides).

    Masking:
        Padding is read as zeros, like the border, so it never changes a valid position. An output is valid where the
        input at its centre is, see `subsample_mask`. The outputs at padding are zeros.

    Raises:
        ValueError: if `inputs` do not have 3 axes, or an argument is out of range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    subsampler = kz.layers.ConvSubsampler(filters=(16, 16))
    assert subsampler(np.ones((2, 13, 7), "float32")).shape == (2, 4, 16)
    ```

    Reference:
        Chan, Jaitly, Le and Vinyals, 2015, Listen, Attend and Spell, arXiv:1508.01211 (why a sequence is shortened);
        Dong, Xu and Xu, 2018, Speech-Transformer: A No-Recurrence Sequence-to-Sequence Model for Speech Recognition
        (two strided convolutions).
    """

    def __init__(
        self,
        filters: int | list[int] | tuple[int, ...] = (128, 128),
        kernel_size: int = 3,
        *,
        strides: int = 2,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = _checks.positive_ints("ConvSubsampler", "filters", filters)
        self.kernel_size = _checks.positive_int("ConvSubsampler", "kernel_size", kernel_size)
        self.strides = _checks.positive_int("ConvSubsampler", "strides", strides)
        self.activation = get_activation("ConvSubsampler", activation)
        self.dropout = _checks.rate("ConvSubsampler", "dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("ConvSubsampler", "inputs", inputs_shape, (3,))
        self.convolutions, self.norms, channels = [], [], inputs_shape[-1]
        for index, filters in enumerate(self.filters):
            convolution = keras.layers.Dense(
                filters,
                use_bias=False,  # the normalization has an offset of its own
                kernel_initializer=clone_initializer(self.kernel_initializer),
                dtype=self.dtype_policy,
                name=f"convolution_{index}",
            )
            norm = keras.layers.LayerNormalization(dtype=self.dtype_policy, name=f"norm_{index}")
            convolution.build((inputs_shape[0], None, self.kernel_size * channels))
            norm.build((inputs_shape[0], None, filters))
            self.convolutions.append(convolution)
            self.norms.append(norm)
            channels = filters

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        valid = first_mask(padding_mask, mask)
        x = zero_padding(ops.cast(inputs, self.compute_dtype), valid)
        for convolution, norm in zip(self.convolutions, self.norms):
            x = self.activation(norm(convolution(self._windows(x))))  # [B, S', C]
            valid = None if valid is None else valid[:, :: self.strides]
            x = zero_padding(self.dropout_layer(x, training=training), valid)
        return x

    def _windows(self, x):
        """Returns the inputs that each output reads, side by side, `[B, S', kernel_size * C]`."""
        before, more = (self.kernel_size - 1) // 2, self.kernel_size - 1
        padded = ops.pad(x, ((0, 0), (before, more - before), (0, 0)))
        parts = [padded[:, k : (k - more) or None : self.strides] for k in range(self.kernel_size)]
        return ops.concatenate(parts, axis=-1)

    def subsample_mask(self, mask: Any) -> Any:
        """Returns which outputs are valid, bool `[B, S']`, for the bool `[B, S]` of the inputs."""
        for _ in self.filters:
            mask = mask[:, :: self.strides]
        return mask

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None if previous_mask is None else self.subsample_mask(previous_mask)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": list(self.filters),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "activation": serialize_activation(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
