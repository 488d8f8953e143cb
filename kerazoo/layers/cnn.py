"""The convolutional encoder of images and sequences."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.conv_blocks import NORMALIZATIONS, ConvBlock, SeparableConvBlock
from kerazoo.layers.shuffle import ShuffleBlock

BLOCKS = {"plain": ConvBlock, "separable": SeparableConvBlock, "shuffle": ShuffleBlock}


@keras.saving.register_keras_serializable(package="kerazoo")
class ConvEncoder(keras.layers.Layer):
    """A stack of convolutional blocks; an image becomes a sequence of its places, row by row.

    The first block is plain for every kind, as in MobileNet and ShuffleNet: the few channels of an image leave nothing
    to separate. Sequences keep their length.

    Args:
        filters: Channels of each block, one integer or several. Default (32, 64).
        kernel_size: Side of the square kernels, in positions. Default 3.
        strides: Step of every block, one integer or one for each; above 1 for images only. Default None: 2 for
            images, which halves both sides in each block, and 1 for sequences.
        block: Kind of the blocks after the first: "plain" (default), "separable" or "shuffle".
        normalization: "batch", "layer", None, or "auto" (default): "batch" for images, "layer" for sequences.
        activation: Name or function. Default "relu".
        dropout: Rate in [0, 1) after every block. Default 0.
        kernel_regularizer: Penalty on the kernels, by name or as a Keras object. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor: images [B, H, W, C] or sequences [B, S, C].
        padding_mask: Bool tensor [B, S], True = real position, for sequences; else None.
        training: Whether to apply dropout and to learn the statistics of batch normalisation.

    Returns:
        A dict with "sequence", [B, H'W', filters[-1]] for images and [B, S, filters[-1]] for sequences, in the compute
        dtype, and "mask", bool [B, H'W'] or [B, S].

    Masking:
        Padding never changes a real position: each block reads padded positions as zeros. Batch normalisation of
        sequences counts real positions only.

    Raises:
        ValueError: If `inputs` have another number of axes, an argument is out of range, or sequences meet strides
            above 1.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.ConvEncoder(filters=(8, 16, 16), block="shuffle")
    encoded = encoder(np.ones((2, 28, 28, 1), "float32"))
    assert encoded["sequence"].shape == (2, 16, 16)  # 4 x 4 places of 16 channels
    ```

    Reference:
        LeCun, Bottou, Bengio and Haffner, 1998, Gradient-based learning applied to document recognition. Howard et
        al., 2017, MobileNets, arXiv:1704.04861. Ma, Zhang, Zheng and Sun, 2018, ShuffleNet V2, arXiv:1807.11164.
    """

    def __init__(
        self,
        filters=(32, 64),
        kernel_size=3,
        strides=None,
        block="plain",
        normalization="auto",
        activation="relu",
        dropout=0.0,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = _checks.positive_ints("ConvEncoder", "filters", filters)
        self.kernel_size = _checks.positive_int("ConvEncoder", "kernel_size", kernel_size)
        self.strides = None if strides is None else self._one_for_each(strides)
        self.block = _checks.one_of("ConvEncoder", "block", block, tuple(BLOCKS))
        self.normalization = _checks.one_of("ConvEncoder", "normalization", normalization, NORMALIZATIONS)
        self.activation = keras.activations.get(activation)
        self.dropout = _checks.rate("ConvEncoder", "dropout", dropout)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")

    def _one_for_each(self, strides):
        strides = _checks.positive_ints("ConvEncoder", "strides", strides)
        if len(strides) not in (1, len(self.filters)):
            raise ValueError(
                f"ConvEncoder: `strides` must be one integer or as many as `filters`; "
                f"got strides={strides}, filters={self.filters}."
            )
        return strides * len(self.filters) if len(strides) == 1 else strides

    def build(self, inputs_shape):
        _checks.rank("ConvEncoder", "inputs", inputs_shape, (3, 4))
        strides = self.strides or (2 if len(inputs_shape) == 4 else 1,) * len(self.filters)
        self.blocks = []
        for index, (filters, step) in enumerate(zip(self.filters, strides)):
            block = BLOCKS[self.block if index else "plain"](
                filters,
                self.kernel_size,
                step,
                self.normalization,
                self.activation,
                self.kernel_regularizer,
                dtype=self.dtype_policy,
                name=f"block_{index}",
            )
            block.build((*inputs_shape[:-1], self.filters[index - 1] if index else inputs_shape[-1]))
            self.blocks.append(block)

    def call(self, inputs, padding_mask=None, training=None):
        x, image = inputs, len(inputs.shape) == 4
        if image:
            padding_mask = None
        for block in self.blocks:
            x = block(x, padding_mask=padding_mask, training=training)
            x = self.dropout_layer(x, training=training)
        if image:
            _, height, width, _ = ops.shape(x)
            x = ops.reshape(x, (-1, height * width, self.filters[-1]))  # [B, H'W', C]
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(x)[:2], dtype="bool")
        return {"sequence": x, "mask": padding_mask}

    def get_config(self):
        return {
            **super().get_config(),
            "filters": list(self.filters),
            "kernel_size": self.kernel_size,
            "strides": None if self.strides is None else list(self.strides),
            "block": self.block,
            "normalization": self.normalization,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
