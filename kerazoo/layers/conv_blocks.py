"""Convolutional blocks for images and sequences: plain, and depthwise separable as in MobileNet."""

import keras
from keras import ops

from kerazoo import _checks

NORMALIZATIONS = ("auto", "batch", "layer", None)
# Keras' own 0.99 remembers the first statistics, which nothing was measured for, through a whole short training.
MOMENTUM = 0.9


class Block(keras.layers.Layer):
    """What all blocks have in common: their arguments, and the parts they are made of."""

    branches = 1  # branches among which the filters are divided

    def __init__(
        self,
        filters,
        kernel_size=3,
        strides=1,
        normalization="auto",
        activation="relu",
        kernel_regularizer=None,
        **kwargs,
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
        self.strides = _checks.positive_int(owner, "strides", strides)
        self.normalization = _checks.one_of(owner, "normalization", normalization, NORMALIZATIONS)
        self.activation = keras.activations.get(activation)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def check_inputs(self, shape):
        """Refuses inputs that are neither images nor sequences, and sequences that strides would shorten."""
        owner = type(self).__name__
        _checks.rank(owner, "inputs", shape, (3, 4))
        if len(shape) == 3 and self.strides > 1:
            raise ValueError(
                f"{owner}: `strides` must be 1 for sequences, whose positions keep their places; "
                f"got strides={self.strides}, inputs of shape {tuple(shape)}. Try strides=1."
            )

    def part(self, cls, filters, name, **options):
        """Makes a part with the options of this block."""
        inherited = {
            "normalization": self.normalization,
            "activation": self.activation,
            "kernel_regularizer": self.kernel_regularizer,
        }
        return cls(filters, name=name, dtype=self.dtype_policy, **{**inherited, **options})

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "normalization": self.normalization,
            "activation": keras.activations.serialize(self.activation),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


class NormalizedConvolution(Block):
    """One convolution, a normalisation, an activation; `_convolution` of the subclass makes the first."""

    def build(self, inputs_shape):
        self.check_inputs(inputs_shape)
        kind = self.normalization
        if kind == "auto":
            kind = "batch" if len(inputs_shape) == 4 else "layer"
        self.convolution = self._convolution(
            rank=len(inputs_shape) - 2,
            strides=self.strides,
            padding="same",
            data_format="channels_last",
            use_bias=kind is None,  # a normalisation brings its own
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build(inputs_shape)
        self.norm = None
        if kind is not None:
            options = {"dtype": self.dtype_policy, "name": "norm"}
            if kind == "batch":
                self.norm = keras.layers.BatchNormalization(momentum=MOMENTUM, **options)
            else:
                self.norm = keras.layers.LayerNormalization(**options)
            self.norm.build(self.convolution.compute_output_shape(inputs_shape))

    def call(self, inputs, padding_mask=None, training=None):
        x = self.convolution(without_padding(inputs, padding_mask))
        if isinstance(self.norm, keras.layers.BatchNormalization):
            # A tensor of its own also leaves behind the mask that Keras ties to the result, or warns of.
            x = without_padding(self.norm(x, training=training, mask=padding_mask), padding_mask)
        elif self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


def without_padding(x, mask):
    """Returns `x` [B, T, C] with zeros where `mask` [B, T] says padding."""
    return x if mask is None else ops.where(mask[..., None], x, ops.zeros_like(x))


@keras.saving.register_keras_serializable(package="kerazoo")
class DepthwiseConvBlock(NormalizedConvolution):
    """A part of other blocks: every channel is convolved by itself, so `filters` is the number of channels."""

    def _convolution(self, rank, **options):
        make = keras.layers.DepthwiseConv1D if rank == 1 else keras.layers.DepthwiseConv2D
        return make(self.kernel_size, depthwise_regularizer=self.kernel_regularizer, **options)


@keras.saving.register_keras_serializable(package="kerazoo")
class ConvBlock(NormalizedConvolution):
    """A convolution, a normalisation and an activation, over images or over sequences.

    Borders are padded with zeros, so with `strides=1` the size stays. Batch normalisation counts real positions only
    and ties the rows of a batch together in training; layer normalisation works on the channels of each position.

    Args:
        filters: Channels of the output, at least 1.
        kernel_size: Side of the square kernel, in positions. Default 3.
        strides: Step between outputs; above 1 for images only. Default 1.
        normalization: "batch", "layer", None, or "auto" (default): "batch" for images, "layer" for sequences.
        activation: Name or function. Default "relu".
        kernel_regularizer: Penalty on the kernel, by name or as a Keras object. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor: images [B, H, W, C] or sequences [B, T, C].
        padding_mask: Bool tensor [B, T], True = real position, for sequences; else None.
        training: Whether batch normalisation uses and learns the statistics of the batch.

    Returns:
        Float tensor [B, H', W', filters], H' = ceil(H / strides), or [B, T, filters], in the compute dtype.

    Masking:
        Padded positions are read as zeros, like the border, so padding never changes a real position; what stands at
        padded positions of the result means nothing.

    Raises:
        ValueError: If `inputs` have another number of axes, or sequences meet strides above 1.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    assert kz.layers.ConvBlock(7, strides=2)(np.ones((2, 28, 28, 1), "float32")).shape == (2, 14, 14, 7)
    assert kz.layers.ConvBlock(7)(np.ones((2, 11, 3), "float32")).shape == (2, 11, 7)
    ```

    Reference:
        LeCun, Bottou, Bengio and Haffner, 1998, Gradient-based learning applied to document recognition.
        Ioffe and Szegedy, 2015, Batch Normalization, arXiv:1502.03167. Ba, Kiros and Hinton, 2016, Layer
        Normalization, arXiv:1607.06450.
    """

    def _convolution(self, rank, **options):
        make = keras.layers.Conv1D if rank == 1 else keras.layers.Conv2D
        return make(self.filters, self.kernel_size, kernel_regularizer=self.kernel_regularizer, **options)


@keras.saving.register_keras_serializable(package="kerazoo")
class SeparableConvBlock(Block):
    """A convolution of every channel by itself, then one across channels: the block of MobileNet.

    Both are followed by normalisation and activation. With kernels of 3 x 3 it needs about a ninth of the products of
    a plain block of many channels.

    Args:
        filters: Channels of the output, at least 1.
        kernel_size: Side of the square kernel of the first convolution, in positions. Default 3.
        strides: Step of the first convolution; above 1 for images only. Default 1.
        normalization: "batch", "layer", None, or "auto" (default): "batch" for images, "layer" for sequences.
        activation: Name or function. Default "relu".
        kernel_regularizer: Penalty on both kernels, by name or as a Keras object. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor: images [B, H, W, C] or sequences [B, T, C].
        padding_mask: Bool tensor [B, T], True = real position, for sequences; else None.
        training: Whether batch normalisation uses and learns the statistics of the batch.

    Returns:
        Float tensor [B, H', W', filters] or [B, T, filters], in the compute dtype.

    Masking:
        As in `ConvBlock`: padding never changes a real position.

    Raises:
        ValueError: If `inputs` have another number of axes, or sequences meet strides above 1.

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

    def build(self, inputs_shape):
        self.check_inputs(inputs_shape)
        channels = inputs_shape[-1]
        self.depthwise = self.part(
            DepthwiseConvBlock, channels, "depthwise", kernel_size=self.kernel_size, strides=self.strides
        )
        self.pointwise = self.part(ConvBlock, self.filters, "pointwise", kernel_size=1)
        self.depthwise.build(inputs_shape)
        self.pointwise.build(inputs_shape)

    def call(self, inputs, padding_mask=None, training=None):
        x = self.depthwise(inputs, padding_mask=padding_mask, training=training)
        return self.pointwise(x, padding_mask=padding_mask, training=training)
