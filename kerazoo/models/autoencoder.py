"""Autoencoder: an encoder to a code and a decoder from the code to a vector."""

import math
from typing import Any

import keras

from kerazoo import _checks
from kerazoo.layers import DenseDecoder, DenseEncoder
from kerazoo.layers.activations import one_per_layer
from kerazoo.models.encoder_model import EncoderModel


@keras.saving.register_keras_serializable(package="kerazoo")
class Autoencoder(EncoderModel):
    """Encodes a source and decodes one vector from the code alone.

    Trained against the source itself it reconstructs; with one output and a label it is a binary classifier. By default
    the output is logits: compile the model with a loss of `from_logits=True`, such as
    `keras.losses.BinaryCrossentropy(from_logits=True)`. With `head_activation="sigmoid"` it is probabilities. For the
    mean squared error the default is right.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, or a list of them, one for each source.
        decoder: a layer that works without inputs, such as `kerazoo.layers.DenseDecoder`.
        output_size: integer, above 0. Size of the output, such as the number of pixels of the source.
        source_embedding: a layer that turns token ids into vectors. None where the source is vectors or images.
            Defaults to `None`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.
        input_shape: tuple of integers. Shape of one source without the batch, where there is no embedding. Defaults to
            that of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"` (and `"source_2"`, ... for several encoders), or the only source itself.
        training: boolean. Whether dropout is applied.

    Returns:
        Float32 tensor `[B, output_size]`: logits, or what `head_activation` makes of them. An image is flattened.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.Autoencoder(kz.layers.DenseEncoder(), kz.layers.DenseDecoder(), output_size=64)
    images = np.ones((2, 8, 8, 1), "float32")
    assert model(images).shape == (2, 64)
    assert model.codes(images).shape == (2, 128)
    ```

    Reference:
        Hinton and Salakhutdinov (2006), Reducing the Dimensionality of Data with Neural Networks.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        *,
        output_size: int,
        source_embedding: Any = None,
        head_activation: Any = None,
        input_shape: Any = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, source_embedding, input_shape=input_shape, **kwargs)
        self.decoder = decoder
        self.output_size = _checks.positive_int(type(self).__name__, "output_size", output_size)
        self._make_head(self.output_size, head_activation)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        encoded = self.encode(inputs, training=training)
        return self.apply_head(self.decoder(None, encoded=encoded, training=training))

    def codes(self, inputs: Any) -> Any:
        """Returns the code of each source, floats `[B, D]`: the mean over its valid positions."""
        return self.pool(self.encode(inputs))


@keras.saving.register_keras_serializable(package="kerazoo")
class DenseAutoencoder(Autoencoder):
    """An autoencoder of dense layers for vectors, images and windows of series, all numbers of which it reads together.

    Args:
        input_shape: tuple of integers. Shape of one source without the batch, such as `(784,)` or `(8, 8, 1)`. Defaults
            to `(784,)`.
        encoder_units: integer or tuple of integers, above 0. Units of the encoder's layers; the last is the size of the
            code. Defaults to `(128, 128)`.
        decoder_units: integer or tuple of integers, above 0. Units of the decoder's layers. Defaults to `(128,)`.
        output_size: integer, above 0. Size of the output; 1 for a binary classifier. Defaults to the size of the
            source.
        encoder_activation: string or callable, or a list of them, one for each layer. Activation of the encoder's
            layers before the code. Defaults to `"relu"`.
        code_activation: string or callable. Activation of the code, the encoder's last layer; None for a linear code,
            as in the paper. With `"relu"` a code has no negative values, and a unit that gives 0 for all sources is
            lost. Defaults to `None`.
        decoder_activation: string or callable, or a list of them, one for each layer. Activation of the decoder's
            layers. Defaults to `"relu"`.
        dropout: float, in [0, 1). Rate after every layer. Defaults to `0.0`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import keras
    import numpy as np
    import kerazoo as kz

    model = kz.models.DenseAutoencoder(input_shape=(8, 8, 1))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    images = np.ones((2, 8, 8, 1), "float32")
    model.train_on_batch({"source": images}, images.reshape(2, 64))
    ```

    Reference:
        Hinton and Salakhutdinov (2006), Reducing the Dimensionality of Data with Neural Networks.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...] = (784,),
        encoder_units: Any = (128, 128),
        *,
        decoder_units: Any = (128,),
        output_size: int | None = None,
        encoder_activation: Any = "relu",
        code_activation: Any = None,
        decoder_activation: Any = "relu",
        dropout: float = 0.0,
        head_activation: Any = None,
        **kwargs: Any,
    ):
        owner, options = type(self).__name__, {"dropout": dropout, "dtype": kwargs.get("dtype")}
        encoder_units = _checks.positive_ints(owner, "encoder_units", encoder_units)
        activations = one_per_layer(owner, "encoder_activation", encoder_activation, len(encoder_units) - 1)
        super().__init__(
            DenseEncoder(
                encoder_units, activation=[*activations, code_activation], flatten=True, name="encoder", **options
            ),
            DenseDecoder(decoder_units, activation=decoder_activation, name="decoder", **options),
            output_size=math.prod(input_shape) if output_size is None else output_size,
            head_activation=head_activation,
            input_shape=input_shape,
            **kwargs,
        )
