"""The convolutional encoder of images and sequences."""

import math
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import get_activation, one_per_layer, serialize_activation
from kerazoo.layers.conv_blocks import NORMALIZATIONS, ConvBlock, SeparableConvBlock, ShuffleBlock, image_strides
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import encoded_mask, first_mask
from kerazoo.layers.positions import LearnedPositions, SinusoidalPositions, SinusoidalPositions2D

BLOCKS = {"plain": ConvBlock, "separable": SeparableConvBlock, "shuffle": ShuffleBlock}


@keras.saving.register_keras_serializable(package="kerazoo")
class ConvEncoder(keras.layers.Layer):
    """Encodes images or sequences by a stack of convolutional blocks.

    The feature map of an image becomes a sequence of its positions, row by row. Where the strides reduce its height to
    1, that is one vector for each column, from left to right, as for lines of writing. A decoder that attends to the
    sequence cannot tell equal features at two positions apart unless `positions` are added to them. Sequences keep
    their length. The first block is plain for every kind, as in MobileNet and ShuffleNet, because an image has few
    channels.

    Args:
        filters: int or list of ints, each above 0. Channels of each block. Defaults to `(32, 64)`.
        kernel_size: int, above 0. Side of the square kernels, in positions. Defaults to `3`.
        strides: int or list of ints, one for each block, each above 0; above 1 for images only. An entry of the list
            may be a pair, the strides along height and width, for plain blocks. None gives 2 for images, which halves
            both sides in each block, and 1 for sequences. Defaults to `None`.
        block: `"plain"`, `"separable"` or `"shuffle"`. Kind of the blocks after the first. Defaults to `"plain"`.
        normalization: `"batch"`, `"layer"`, None, or `"auto"`, that is `"batch"` for images and `"layer"` for
            sequences. Defaults to `"auto"`.
        activation: Name, callable or None for none; or a list with one for each block. Defaults to `"relu"`.
        dropout: float in `[0, 1)`. Dropout rate after each block. Defaults to `0.0`.
        positions: `"sinusoidal"`, `"learned"` or None. Positions that are added to the outputs: of an image in two
            dimensions, see `SinusoidalPositions2D`, or a learned vector for each position, for which the size of the
            inputs must be known. Defaults to `None`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernels. Defaults to `None`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float or int tensor. Images `[B, H, W, C]` or sequences `[B, S, C]`.
        padding_mask: bool tensor `[B, S]` for sequences, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout, and whether batch normalization uses the statistics of the batch and
            updates its own.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A dict with "sequence", `[B, H'W', filters[-1]]` for images and `[B, S, filters[-1]]` for sequences, in the
        compute dtype, and "mask", bool `[B, H'W']` or `[B, S]`. With `return_dict=False` the sequence alone.

    Masking:
        Each block reads padding as zeros, so padding never changes a valid position. Batch normalization of sequences
        counts valid positions only.

    Raises:
        ValueError: if `inputs` have another number of axes, an argument is out of range, a list has another length
            than `filters`, `strides` is above 1 for sequences, or `positions` are learned and the size is unknown.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.ConvEncoder(filters=(8, 16, 16), block="shuffle")
    encoded = encoder(np.ones((2, 28, 28, 1), "float32"))
    assert encoded["sequence"].shape == (2, 16, 16)  # 4 x 4 positions of 16 channels
    ```

    Reference:
        LeCun, Bottou, Bengio and Haffner, 1998, Gradient-based learning applied to document recognition;
        Howard et al., 2017, MobileNets, arXiv:1704.04861;
        Ma, Zhang, Zheng and Sun, 2018, ShuffleNet V2, arXiv:1807.11164.
    """

    def __init__(
        self,
        filters: int | list[int] | tuple[int, ...] = (32, 64),
        kernel_size: int = 3,
        *,
        strides: Any = None,
        block: str = "plain",
        normalization: str | None = "auto",
        activation: Any = "relu",
        dropout: float = 0.0,
        positions: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        return_dict: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = _checks.positive_ints("ConvEncoder", "filters", filters)
        self.kernel_size = _checks.positive_int("ConvEncoder", "kernel_size", kernel_size)
        self.strides = None if strides is None else self._one_stride_per_block(strides)
        self.block = _checks.one_of("ConvEncoder", "block", block, tuple(BLOCKS))
        self.normalization = _checks.one_of("ConvEncoder", "normalization", normalization, NORMALIZATIONS)
        for each in one_per_layer("ConvEncoder", "activation", activation, len(self.filters)):
            get_activation("ConvEncoder", each)
        self.activation = activation
        self.dropout = _checks.rate("ConvEncoder", "dropout", dropout)
        self.positions = _checks.one_of("ConvEncoder", "positions", positions, ("sinusoidal", "learned", None))
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.return_dict = bool(return_dict)
        self.dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self.supports_masking = True

    def _one_stride_per_block(self, strides: Any) -> tuple[Any, ...]:
        listed = strides if isinstance(strides, list | tuple) else (strides,)
        listed = tuple(image_strides("ConvEncoder", f"strides[{index}]", each) for index, each in enumerate(listed))
        if len(listed) not in (1, len(self.filters)):
            raise ValueError(
                f"ConvEncoder: `strides` must be one integer or as many as `filters`; "
                f"got strides={strides}, filters={self.filters}."
            )
        return listed * len(self.filters) if len(listed) == 1 else listed

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("ConvEncoder", "inputs", inputs_shape, (3, 4))
        strides = self.strides or (2 if len(inputs_shape) == 4 else 1,) * len(self.filters)
        activations = one_per_layer("ConvEncoder", "activation", self.activation, len(self.filters))
        self.blocks = []
        for index, (filters, stride, activation) in enumerate(zip(self.filters, strides, activations)):
            block = BLOCKS[self.block if index else "plain"](
                filters,
                self.kernel_size,
                strides=stride,
                normalization=self.normalization,
                activation=activation,
                kernel_initializer=clone_initializer(self.kernel_initializer),
                kernel_regularizer=self.kernel_regularizer,
                dtype=self.dtype_policy,
                name=f"block_{index}",
            )
            block.build((*inputs_shape[:-1], self.filters[index - 1] if index else inputs_shape[-1]))
            self.blocks.append(block)
        self.add_positions = self._make_positions(inputs_shape, strides)

    def _make_positions(self, inputs_shape: Any, strides: tuple) -> Any:
        """Returns the layer that adds positions to the outputs, built; None where there are none."""
        if self.positions is None:
            return None
        image = len(inputs_shape) == 4
        options = {"name": "positions", "dtype": self.dtype_policy}
        sizes = list(inputs_shape[1:-1])
        if self.positions == "sinusoidal":
            layer = SinusoidalPositions2D(**options) if image else SinusoidalPositions(**options)
            layer.build((inputs_shape[0], *sizes, self.filters[-1]))
            return layer
        if None in sizes:
            raise ValueError(
                "ConvEncoder: `inputs` must have a known size where positions are learned; got shape "
                f"{tuple(inputs_shape)}. Try positions='sinusoidal'."
            )
        for stride in strides:
            pair = stride if isinstance(stride, tuple) else (stride,) * len(sizes)
            sizes = [-(-size // step) for size, step in zip(sizes, pair)]
        layer = LearnedPositions(math.prod(sizes), **options)
        layer.build((inputs_shape[0], math.prod(sizes), self.filters[-1]))
        return layer

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        x, image = inputs, len(inputs.shape) == 4
        valid = None if image else first_mask(padding_mask, mask)
        for block in self.blocks:
            x = block(x, padding_mask=valid, training=training)
            x = self.dropout_layer(x, training=training)
        if self.positions == "sinusoidal":
            x = self.add_positions(x)
        if image:
            _, height, width, _ = ops.shape(x)
            x = ops.reshape(x, (-1, height * width, self.filters[-1]))  # [B, H'W', C]
        if self.positions == "learned":
            x = self.add_positions(x)
        if not self.return_dict:
            return x
        if valid is None:
            valid = ops.ones(ops.shape(x)[:2], dtype="bool")  # [B, H'W'] or [B, S]
        return {"sequence": x, "mask": valid}

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = previous_mask if len(inputs.shape) == 3 else None
        return encoded_mask(mask) if self.return_dict else mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": list(self.filters),
            "kernel_size": self.kernel_size,
            "strides": None if self.strides is None else [_listed(each) for each in self.strides],
            "block": self.block,
            "normalization": self.normalization,
            "activation": serialize_activation(self.activation),
            "dropout": self.dropout,
            "positions": self.positions,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "return_dict": self.return_dict,
        }


def _listed(stride: Any) -> Any:
    return list(stride) if isinstance(stride, tuple) else stride
