"""Convolutional blocks for images and sequences: plain, depthwise separable (MobileNet), and shuffled (ShuffleNet)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import get_activation, serialize_activation
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import first_mask, zero_padding

NORMALIZATIONS = ("auto", "batch", "layer", None)
# With Keras' default of 0.99 the initial statistics, which no data was measured for, dominate a short training.
MOMENTUM = 0.9


def image_strides(owner: str, name: str, value: Any) -> int | tuple[int, int]:
    """Returns strides as one integer where they are equal, else as a pair of those of height and width.

    Raises:
        ValueError: if a stride is not above 0, or there are not two of them.
        TypeError: if a stride is no integer.
    """
    if not isinstance(value, list | tuple):
        return _checks.positive_int(owner, name, value)
    height, *others = _checks.positive_ints(owner, name, value)
    if len(others) > 1:
        raise ValueError(
            f"{owner}: `{name}` must be an integer above 0, or a pair for height and width; got {name}={value!r}."
        )
    width = others[0] if others else height
    return height if height == width else (height, width)


class Block(keras.layers.Layer):
    """The base of all blocks: their arguments, and the way they make their sublayers."""

    branches = 1  # the number of branches among which `filters` are divided
    has_uneven_strides = False  # whether height and width may have different strides

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        *,
        strides: int | tuple[int, int] = 1,
        normalization: str | None = "auto",
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.filters = _checks.positive_int(owner, "filters", filters)
        if self.filters % self.branches:
            raise ValueError(
                f"{owner}: `filters` must be even, one half for each branch; got filters={self.filters}. "
                f"Try filters={self.filters + 1}."
            )
        self.kernel_size = _checks.positive_int(owner, "kernel_size", kernel_size)
        self.strides = image_strides(owner, "strides", strides)
        if isinstance(self.strides, tuple) and not self.has_uneven_strides:
            raise ValueError(
                f"{owner}: `strides` must be one integer, for a depthwise convolution has the same along both axes; "
                f"got strides={strides}."
            )
        self.normalization = _checks.one_of(owner, "normalization", normalization, NORMALIZATIONS)
        self.activation = get_activation(owner, activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def check_inputs(self, shape: Any) -> None:
        """Raises a ValueError if the inputs are neither images nor sequences, or if strides would shorten sequences."""
        owner = type(self).__name__
        _checks.rank(owner, "inputs", shape, (3, 4))
        if len(shape) == 3 and self.strides != 1:
            raise ValueError(
                f"{owner}: `strides` must be 1 for sequences, which keep their length; "
                f"got strides={self.strides}, inputs of shape {tuple(shape)}. Try strides=1."
            )

    def sublayer(self, cls: type, filters: int, name: str, **options: Any) -> Any:
        """Makes a sublayer with the options of this block, `options` excepted."""
        inherited = {
            "normalization": self.normalization,
            "activation": self.activation,
            "kernel_initializer": clone_initializer(self.kernel_initializer),
            "kernel_regularizer": self.kernel_regularizer,
        }
        return cls(filters, name=name, dtype=self.dtype_policy, **{**inherited, **options})

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "normalization": self.normalization,
            "activation": serialize_activation(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


class NormalizedConvolution(Block):
    """A convolution, a normalization and an activation; subclasses make the convolution in `_convolution`."""

    def _convolution(self, rank: int, **options: Any) -> Any:
        raise NotImplementedError

    def build(self, inputs_shape: Any) -> None:
        self.check_inputs(inputs_shape)
        kind = self.normalization
        if kind == "auto":
            kind = "batch" if len(inputs_shape) == 4 else "layer"
        self.convolution = self._convolution(
            rank=len(inputs_shape) - 2,
            strides=self.strides,
            padding="same",
            data_format="channels_last",
            use_bias=kind is None,  # a normalization has an offset of its own
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build(inputs_shape)
        outputs_shape = self.convolution.compute_output_shape(inputs_shape)
        self._channels = outputs_shape[-1]
        self.norm: Any = None
        if kind is not None:
            options = {"dtype": self.dtype_policy, "name": "norm"}
            if kind == "batch":
                self.norm = keras.layers.BatchNormalization(momentum=MOMENTUM, **options)
            else:
                self.norm = keras.layers.LayerNormalization(**options)
            self.norm.build(outputs_shape)

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        valid = _sequence_mask(inputs, padding_mask, mask)
        # Keras casts floats only, and TensorFlow's convolutions refuse integers.
        x = self.convolution(zero_padding(ops.cast(inputs, self.compute_dtype), valid))
        if x.shape[-1] != self._channels:  # TensorFlow with oneDNN returns empty inputs as they are
            x = ops.reshape(x, (*ops.shape(x)[:-1], self._channels))
        if isinstance(self.norm, keras.layers.BatchNormalization):
            # Zeroing also makes a new tensor, without the mask that Keras attaches to the result.
            x = zero_padding(self.norm(x, training=training, mask=valid), valid)
        elif self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


def _sequence_mask(inputs: Any, *masks: Any) -> Any:
    """Returns the first mask that is given for sequences; images have none."""
    return first_mask(*masks) if len(inputs.shape) == 3 else None


@keras.saving.register_keras_serializable(package="kerazoo")
class DepthwiseConvBlock(NormalizedConvolution):
    """A sublayer of other blocks: each channel is convolved separately, so `filters` is the number of channels."""

    def _convolution(self, rank: int, **options: Any) -> Any:
        cls = keras.layers.DepthwiseConv1D if rank == 1 else keras.layers.DepthwiseConv2D
        options["depthwise_initializer"] = self.kernel_initializer
        return cls(self.kernel_size, depthwise_regularizer=self.kernel_regularizer, **options)


@keras.saving.register_keras_serializable(package="kerazoo")
class ConvBlock(NormalizedConvolution):
    """Applies a convolution, a normalization and an activation to images or sequences.

    Borders are padded with zeros, so with `strides=1` the size stays. Batch normalization counts valid positions only
    and makes the rows of a batch depend on each other in training; layer normalization normalizes the channels of each
    position.

    Args:
        filters: int, above 0. Channels of the output.
        kernel_size: int, above 0. Side of the square kernel, in positions. Defaults to `3`.
        strides: int or pair of ints, above 0. Step between outputs, or those along height and width; above 1 for images
            only. Defaults to `1`.
        normalization: `"batch"`, `"layer"`, None, or `"auto"`, that is `"batch"` for images and `"layer"` for
            sequences. Defaults to `"auto"`.
        activation: Name or callable, None for none. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernel. Defaults to `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float or int tensor. Images `[B, H, W, C]` or sequences `[B, T, C]`.
        padding_mask: bool tensor `[B, T]` for sequences, True = valid position. Defaults to `None`.
        training: bool. Whether batch normalization uses the statistics of the batch and updates its own.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A float tensor `[B, H', W', filters]` with H' = ceil(H / strides), or `[B, T, filters]`, in the compute dtype.

    Masking:
        Padding is read as zeros, like the border, so it never changes a valid position. The outputs at padding are
        meaningless.

    Raises:
        ValueError: if `inputs` have another number of axes, or `strides` is above 1 for sequences.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    assert kz.layers.ConvBlock(7, strides=2)(np.ones((2, 28, 28, 1), "float32")).shape == (2, 14, 14, 7)
    assert kz.layers.ConvBlock(7)(np.ones((2, 11, 3), "float32")).shape == (2, 11, 7)
    ```

    Reference:
        LeCun, Bottou, Bengio and Haffner, 1998, Gradient-based learning applied to document recognition;
        Ioffe and Szegedy, 2015, Batch Normalization, arXiv:1502.03167;
        Ba, Kiros and Hinton, 2016, Layer Normalization, arXiv:1607.06450.
    """

    has_uneven_strides = True

    def _convolution(self, rank: int, **options: Any) -> Any:
        cls = keras.layers.Conv1D if rank == 1 else keras.layers.Conv2D
        options["kernel_initializer"] = self.kernel_initializer
        return cls(self.filters, self.kernel_size, kernel_regularizer=self.kernel_regularizer, **options)


@keras.saving.register_keras_serializable(package="kerazoo")
class SeparableConvBlock(Block):
    """Convolves each channel separately and then across channels: the block of MobileNet.

    Both convolutions are followed by normalization and activation. With kernels of 3 x 3 and many channels it takes
    about a ninth of the multiplications of a plain block.

    Args:
        filters: int, above 0. Channels of the output.
        kernel_size: int, above 0. Side of the square kernel of the first convolution, in positions. Defaults to `3`.
        strides: int, above 0. Step of the first convolution; above 1 for images only. Defaults to `1`.
        normalization: `"batch"`, `"layer"`, None, or `"auto"`, that is `"batch"` for images and `"layer"` for
            sequences. Defaults to `"auto"`.
        activation: Name or callable, None for none. Defaults to `"relu"`.
        kernel_initializer: Initializer of both kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: Regularizer of both kernels. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float or int tensor. Images `[B, H, W, C]` or sequences `[B, T, C]`.
        padding_mask: bool tensor `[B, T]` for sequences, True = valid position. Defaults to `None`.
        training: bool. Whether batch normalization uses the statistics of the batch and updates its own.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A float tensor `[B, H', W', filters]` or `[B, T, filters]`, in the compute dtype.

    Masking:
        As in `ConvBlock`: padding never changes a valid position.

    Raises:
        ValueError: if `inputs` have another number of axes, or `strides` is above 1 for sequences.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    block = kz.layers.SeparableConvBlock(64)
    assert block(np.ones((2, 7, 7, 32), "float32")).shape == (2, 7, 7, 64)
    assert block.count_params() < 0.15 * 3 * 3 * 32 * 64 + 512
    ```

    Reference:
        Howard et al., 2017, MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications,
        arXiv:1704.04861.
    """

    def build(self, inputs_shape: Any) -> None:
        self.check_inputs(inputs_shape)
        channels = inputs_shape[-1]
        self.depthwise = self.sublayer(
            DepthwiseConvBlock, channels, "depthwise", kernel_size=self.kernel_size, strides=self.strides
        )
        self.pointwise = self.sublayer(ConvBlock, self.filters, "pointwise", kernel_size=1)
        self.depthwise.build(inputs_shape)
        self.pointwise.build(inputs_shape)

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        valid = _sequence_mask(inputs, padding_mask, mask)
        x = self.depthwise(inputs, padding_mask=valid, training=training)
        return self.pointwise(x, padding_mask=valid, training=training)


def channel_shuffle(x: Any, groups: int) -> Any:
    """Interleaves the channels of all groups: [a1 a2 b1 b2] becomes [a1 b1 a2 b2].

    Args:
        x: tensor with the channels last, `[..., C]`.
        groups: int, above 0. Number of groups, a divisor of C.

    Returns:
        A tensor of the same dtype and shape.

    Raises:
        ValueError: if `groups` does not divide the number of channels.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import channel_shuffle

    shuffled = channel_shuffle(np.array([[1, 2, 3, 4, 5, 6]]), groups=2)
    assert np.array(shuffled).tolist() == [[1, 4, 2, 5, 3, 6]]
    ```
    """
    x = ops.convert_to_tensor(x)
    channels = x.shape[-1]
    groups = _checks.positive_int("channel_shuffle", "groups", groups)
    _checks.divisible("channel_shuffle", "channels", channels, "groups", groups)
    leading = ops.shape(x)[:-1]
    if None in leading:  # a symbolic tensor can only be reshaped if its sizes are known: pick the channels one by one
        return ops.take(x, np.arange(channels).reshape(groups, -1).T.reshape(-1), axis=-1)
    x = ops.reshape(x, (*leading, groups, channels // groups))  # [..., G, C/G]
    return ops.reshape(ops.swapaxes(x, -1, -2), (*leading, channels))  # [..., C]


@keras.saving.register_keras_serializable(package="kerazoo")
class ShuffleBlock(Block):
    """Convolves one half of the channels, passes the other on, and shuffles them: the block of ShuffleNet V2.

    The convolved branch consists of a convolution across channels, a depthwise one, and a second one across channels.
    Where `strides` or the number of channels change, both branches start from all channels, and the second is a
    depthwise convolution followed by one across channels. Unlike version 1 it has no grouped convolutions, which are
    slow in practice.

    Args:
        filters: int, above 0 and even. Channels of the output.
        kernel_size: int, above 0. Side of the square kernel, in positions. Defaults to `3`.
        strides: int, above 0. Step between outputs; above 1 for images only. Defaults to `1`.
        normalization: `"batch"`, `"layer"`, None, or `"auto"`, that is `"batch"` for images and `"layer"` for
            sequences. Defaults to `"auto"`.
        activation: Name or callable, None for none. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernels. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float or int tensor. Images `[B, H, W, C]` or sequences `[B, T, C]`.
        padding_mask: bool tensor `[B, T]` for sequences, True = valid position. Defaults to `None`.
        training: bool. Whether batch normalization uses the statistics of the batch and updates its own.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A float tensor `[B, H', W', filters]` or `[B, T, filters]`, in the compute dtype.

    Masking:
        As in `ConvBlock`: padding never changes a valid position.

    Raises:
        ValueError: if `filters` is odd, `inputs` have another number of axes, or `strides` is above 1 for sequences.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    assert kz.layers.ShuffleBlock(24)(np.ones((2, 7, 7, 24), "float32")).shape == (2, 7, 7, 24)
    assert kz.layers.ShuffleBlock(48, strides=2)(np.ones((2, 7, 7, 24), "float32")).shape == (2, 4, 4, 48)
    ```

    Reference:
        Zhang, Zhou, Lin and Sun, 2017, ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
        Devices, arXiv:1707.01083 (the shuffle);
        Ma, Zhang, Zheng and Sun, 2018, ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design,
        arXiv:1807.11164 (the block).
    """

    branches = 2

    def build(self, inputs_shape: Any) -> None:
        self.check_inputs(inputs_shape)
        *positions, channels = inputs_shape
        half = self.filters // 2
        self.passes_half = self.strides == 1 and channels == self.filters
        spatial = {"kernel_size": self.kernel_size, "strides": self.strides, "activation": None}
        self.branch = [
            self.sublayer(ConvBlock, half, "expand", kernel_size=1),
            self.sublayer(DepthwiseConvBlock, half, "depthwise", **spatial),
            self.sublayer(ConvBlock, half, "project", kernel_size=1),
        ]
        self.shortcut = []
        if not self.passes_half:
            self.shortcut = [
                self.sublayer(DepthwiseConvBlock, channels, "shortcut_depthwise", **spatial),
                self.sublayer(ConvBlock, half, "shortcut_project", kernel_size=1),
            ]
        for layer, width in zip(self.branch, (half if self.passes_half else channels, half, half)):
            layer.build((*positions, width))
        for layer in self.shortcut:
            layer.build(inputs_shape)

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        valid = _sequence_mask(inputs, padding_mask, mask)
        x = ops.cast(inputs, self.compute_dtype)
        shortcut, x = ops.split(x, 2, axis=-1) if self.passes_half else (x, x)
        for layer in self.branch:
            x = layer(x, padding_mask=valid, training=training)
        for layer in self.shortcut:
            shortcut = layer(shortcut, padding_mask=valid, training=training)
        return channel_shuffle(ops.concatenate([shortcut, x], axis=-1), groups=2)
