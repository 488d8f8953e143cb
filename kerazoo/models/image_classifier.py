"""CNNClassifier: a convolutional classifier of small images, with plain, separable or shuffled blocks."""

from typing import Any

import keras

from kerazoo.layers import ConvEncoder
from kerazoo.models.classifier import Classifier


@keras.saving.register_keras_serializable(package="kerazoo")
class CNNClassifier(Classifier):
    """Convolutional blocks, the mean over the positions that they leave, and a head.

    The defaults are two plain convolutions that halve the image. With `block="separable"` the blocks are those of
    MobileNet, with `block="shuffle"` those of ShuffleNet V2; the catalog's rows `mobilenet_classifier` and
    `shufflenet_classifier` have their sizes.

    Args:
        input_shape: tuple of 3 integers. Height, width and channels of an image. Defaults to `(28, 28, 1)`.
        filters: integer or tuple of integers, above 0. Channels of each block. Defaults to `(32, 64)`.
        num_classes: integer, above 0. Number of classes C; 1 for a binary classifier with one logit. Defaults to `10`.
        strides: integer or tuple of integers, above 0. Stride of each block. Defaults to 2 for all.
        kernel_size: integer, above 0. Size of the square kernels. Defaults to `3`.
        block: `"plain"`, `"separable"` or `"shuffle"`. Kind of the blocks after the first. Defaults to `"plain"`.
        activation: string or callable. Activation of the convolutions. Defaults to `"relu"`.
        normalization: `"batch"`, `"layer"` or None. Defaults to `"batch"`.
        dropout: float, in [0, 1). Rate before the head. Defaults to `0.0`.
        kernel_regularizer: string or `keras.regularizers.Regularizer`. Penalty on the kernels of the convolutions, such
            as `"l2"`. Defaults to `None`.
        pooling: `"mean"` or `"max"`. How the positions become one vector. Defaults to `"mean"`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.CNNClassifier(input_shape=(8, 8, 1), filters=(8, 16, 16), strides=(1, 2, 1), block="shuffle")
    assert model(np.ones((2, 8, 8, 1), "float32")).shape == (2, 10)
    ```

    Reference:
        LeCun, Bottou, Bengio and Haffner (1998), Gradient-Based Learning Applied to Document Recognition.
        Springenberg, Dosovitskiy, Brox and Riedmiller (2015), Striving for Simplicity: The All Convolutional Net,
        arXiv:1412.6806 (strides instead of pooling).
        Howard et al. (2017), MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications,
        arXiv:1704.04861.
        Ma, Zhang, Zheng and Sun (2018), ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design,
        arXiv:1807.11164.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int] = (28, 28, 1),
        filters: Any = (32, 64),
        *,
        num_classes: int = 10,
        strides: Any = None,
        kernel_size: int = 3,
        block: str = "plain",
        activation: Any = "relu",
        normalization: str | None = "batch",
        dropout: float = 0.0,
        kernel_regularizer: Any = None,
        pooling: str = "mean",
        head_activation: Any = None,
        **kwargs: Any,
    ):
        if len(input_shape) != 3:
            raise ValueError(
                f"{type(self).__name__}: `input_shape` must be height, width and channels; "
                f"got input_shape={tuple(input_shape)}."
            )
        encoder = ConvEncoder(
            filters,
            kernel_size=kernel_size,
            strides=strides,
            block=block,
            normalization=normalization,
            activation=activation,
            kernel_regularizer=kernel_regularizer,
            name="encoder",
            dtype=kwargs.get("dtype"),
        )
        super().__init__(
            encoder,
            num_classes,
            pooling=pooling,
            dropout=dropout,
            head_activation=head_activation,
            input_shape=input_shape,
            **kwargs,
        )
