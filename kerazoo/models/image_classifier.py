"""Convolutional classifiers of small images: plain, as in MobileNet, as in ShuffleNet."""

import keras

from kerazoo.layers import ConvEncoder
from kerazoo.models.classifier import Classifier


@keras.saving.register_keras_serializable(package="kerazoo")
class CNNClassifier(Classifier):
    """Plain convolutions that halve the image, the mean over its places, and a head.

    Args:
        input_shape: Height, width and channels of an image.
        filters: Channels of each convolution.
        strides: Step of each convolution, one integer or one for each; None for 2 everywhere.
        kernel_size: Side of the square kernels.
        num_classes: Number of classes C; 1 for a binary classifier with one logit.
        activation: Of the convolutions.
        normalization: `"batch"`, `"layer"` or None.
        dropout: Rate before the head, in [0, 1).
        kernel_regularizer: Penalty on the kernels of the convolutions, such as `"l2"`.
        pooling: How the places become one vector: `"mean"` or `"max"`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.CNNClassifier(input_shape=(8, 8, 1), filters=(8, 16))
    assert model(np.ones((2, 8, 8, 1), "float32")).shape == (2, 10)
    ```

    Reference:
        LeCun et al. (1998), Gradient-based learning applied to document recognition; Springenberg et al. (2015),
        Striving for Simplicity: The All Convolutional Net, arXiv 1412.6806 (strides instead of pooling).
    """

    block = "plain"

    def __init__(
        self,
        input_shape=(28, 28, 1),
        filters=(32, 64),
        strides=None,
        kernel_size=3,
        num_classes=10,
        activation="relu",
        normalization="batch",
        dropout=0.0,
        kernel_regularizer=None,
        pooling="mean",
        **kwargs,
    ):
        if len(input_shape) != 3:
            raise ValueError(
                f"{type(self).__name__}: `input_shape` must be height, width and channels; "
                f"got input_shape={tuple(input_shape)}."
            )
        encoder = ConvEncoder(
            filters,
            kernel_size,
            strides,
            self.block,
            normalization,
            activation,
            kernel_regularizer=kernel_regularizer,
            name="encoder",
            dtype=kwargs.get("dtype"),
        )
        super().__init__(encoder, num_classes, None, pooling, dropout, input_shape, **kwargs)


@keras.saving.register_keras_serializable(package="kerazoo")
class MobileNetClassifier(CNNClassifier):
    """Depthwise separable convolutions as in MobileNet, for small images.

    The defaults are the layers of MobileNet at a quarter of their width. Of its five halvings the first and the last
    are left out: an image of 28 x 28 would be a single place long before the end.

    Args:
        input_shape: Height, width and channels of an image.
        filters: Channels of each convolution.
        strides: Step of each convolution, one integer or one for each.
        kernel_size: Side of the square kernels.
        num_classes: Number of classes C; 1 for a binary classifier with one logit.
        activation: Of the convolutions.
        normalization: `"batch"`, `"layer"` or None.
        dropout: Rate before the head, in [0, 1).
        kernel_regularizer: Penalty on the kernels of the convolutions, such as `"l2"`.
        pooling: How the places become one vector: `"mean"` or `"max"`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.MobileNetClassifier(input_shape=(8, 8, 1), filters=(8, 16, 16), strides=(1, 2, 1))
    assert model(np.ones((2, 8, 8, 1), "float32")).shape == (2, 10)
    ```

    Reference:
        Howard et al. (2017), MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications,
        arXiv 1704.04861.
    """

    block = "separable"

    def __init__(
        self,
        input_shape=(28, 28, 1),
        filters=(8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256),
        strides=(1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1),
        kernel_size=3,
        num_classes=10,
        activation="relu",
        normalization="batch",
        dropout=0.0,
        kernel_regularizer=None,
        pooling="mean",
        **kwargs,
    ):
        options = (activation, normalization, dropout, kernel_regularizer, pooling)
        super().__init__(input_shape, filters, strides, kernel_size, num_classes, *options, **kwargs)


@keras.saving.register_keras_serializable(package="kerazoo")
class ShuffleNetClassifier(CNNClassifier):
    """Convolutions of half the channels with the channels shuffled in between, as in ShuffleNet V2, for small images.

    The defaults are the stages of ShuffleNet V2 0.5x. The two halvings before them and the wide convolution after them
    are left out.

    Args:
        input_shape: Height, width and channels of an image.
        filters: Channels of each block, even numbers.
        strides: Step of each block, one integer or one for each.
        kernel_size: Side of the square kernels.
        num_classes: Number of classes C; 1 for a binary classifier with one logit.
        activation: Of the convolutions.
        normalization: `"batch"`, `"layer"` or None.
        dropout: Rate before the head, in [0, 1).
        kernel_regularizer: Penalty on the kernels of the convolutions, such as `"l2"`.
        pooling: How the places become one vector: `"mean"` or `"max"`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.ShuffleNetClassifier(input_shape=(8, 8, 1), filters=(8, 16, 16), strides=(1, 2, 1))
    assert model(np.ones((2, 8, 8, 1), "float32")).shape == (2, 10)
    ```

    Reference:
        Ma, Zhang, Zheng and Sun (2018), ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design,
        arXiv 1807.11164.
    """

    block = "shuffle"

    def __init__(
        self,
        input_shape=(28, 28, 1),
        filters=(24, *(48,) * 4, *(96,) * 8, *(192,) * 4),
        strides=(1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1),
        kernel_size=3,
        num_classes=10,
        activation="relu",
        normalization="batch",
        dropout=0.0,
        kernel_regularizer=None,
        pooling="mean",
        **kwargs,
    ):
        options = (activation, normalization, dropout, kernel_regularizer, pooling)
        super().__init__(input_shape, filters, strides, kernel_size, num_classes, *options, **kwargs)
