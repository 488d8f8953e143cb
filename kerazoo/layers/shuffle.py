"""Channel shuffling, and the block of ShuffleNet that lives on it."""

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.layers.conv_blocks import Block, ConvBlock, DepthwiseConvBlock


def channel_shuffle(x, groups):
    """Deals the channels of every group out over the whole, like cards: [a1 a2 b1 b2] becomes [a1 b1 a2 b2].

    Args:
        x: Tensor with the channels last [..., C].
        groups: Number of groups, a divisor of C.

    Returns:
        A tensor of the same dtype and shape.

    Raises:
        ValueError: If `groups` does not divide the channels.

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
    if None in leading:  # a symbolic tensor can only be reshaped with its sizes known: pick the channels one by one
        return ops.take(x, np.arange(channels).reshape(groups, -1).T.reshape(-1), axis=-1)
    x = ops.reshape(x, (*leading, groups, channels // groups))
    return ops.reshape(ops.swapaxes(x, -1, -2), (*leading, channels))


@keras.saving.register_keras_serializable(package="kerazoo")
class ShuffleBlock(Block):
    """The block of ShuffleNet V2: one half of the channels is convolved, the other passes, then they are shuffled.

    The branch that is convolved goes through a convolution across channels, one of every channel by itself, and again
    one across channels. Where `strides` or the number of channels change, nothing can pass: both branches start from
    all channels, and the second is a separable block. Unlike version 1 it has no convolutions in groups, which are
    slow in practice.

    Args:
        filters: Channels of the output, an even number.
        kernel_size: Side of the square kernel, in positions. Default 3.
        strides: Step between outputs; above 1 for images only. Default 1.
        normalization: "batch", "layer", None, or "auto" (default): "batch" for images, "layer" for sequences.
        activation: Name or function. Default "relu".
        kernel_regularizer: Penalty on the kernels, by name or as a Keras object. Default None.
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
        ValueError: If `filters` is odd, `inputs` have another number of axes, or sequences meet strides above 1.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    assert kz.layers.ShuffleBlock(24)(np.ones((2, 7, 7, 24), "float32")).shape == (2, 7, 7, 24)
    assert kz.layers.ShuffleBlock(48, strides=2)(np.ones((2, 7, 7, 24), "float32")).shape == (2, 4, 4, 48)
    ```

    Reference:
        Zhang, Zhou, Lin and Sun, 2017, ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
        Devices, arXiv:1707.01083 (the shuffle). Ma, Zhang, Zheng and Sun, 2018, ShuffleNet V2: Practical Guidelines
        for Efficient CNN Architecture Design, arXiv:1807.11164 (the block).
    """

    branches = 2

    def build(self, inputs_shape):
        self.check_inputs(inputs_shape)
        *places, channels = inputs_shape
        half = self.filters // 2
        self.passes = self.strides == 1 and channels == self.filters
        spatial = {"kernel_size": self.kernel_size, "strides": self.strides, "activation": None}
        self.branch = [
            self.part(ConvBlock, half, "expand", kernel_size=1),
            self.part(DepthwiseConvBlock, half, "depthwise", **spatial),
            self.part(ConvBlock, half, "project", kernel_size=1),
        ]
        self.shortcut = []
        if not self.passes:
            self.shortcut = [
                self.part(DepthwiseConvBlock, channels, "shortcut_depthwise", **spatial),
                self.part(ConvBlock, half, "shortcut_project", kernel_size=1),
            ]
        for layer, width in zip(self.branch, (half if self.passes else channels, half, half)):
            layer.build((*places, width))
        for layer in self.shortcut:
            layer.build(inputs_shape)

    def call(self, inputs, padding_mask=None, training=None):
        passing, x = ops.split(inputs, 2, axis=-1) if self.passes else (inputs, inputs)
        for layer in self.branch:
            x = layer(x, padding_mask=padding_mask, training=training)
        for layer in self.shortcut:
            passing = layer(passing, padding_mask=padding_mask, training=training)
        return channel_shuffle(ops.concatenate([passing, x], axis=-1), groups=2)
