"""An encoder to a code and a decoder back."""

import math

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import DenseDecoder, DenseEncoder, masked_mean
from kerazoo.models.source import SourceModel


@keras.saving.register_keras_serializable(package="kerazoo")
class Autoencoder(SourceModel):
    """Encodes a source and decodes one vector from the code, without any look at the source.

    Trained with the binary cross-entropy of its logits against the source itself, it reconstructs; with one output and
    a label it is a binary classifier.

    Args:
        encoder: A layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`.
        decoder: A layer that works without inputs, such as `kerazoo.layers.DenseDecoder`.
        output_size: Numbers in the output, such as the pixels of the source.
        source_embedding: Turns token ids into vectors; None where the source is vectors or images.
        input_shape: Shape of one source without the batch, where there is no embedding.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: A dictionary with `"source"`, or the source itself.
        training: Whether dropout acts.

    Returns:
        Logits float32 [B, output_size], the source laid out flat.

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

    def __init__(self, encoder, decoder, output_size, source_embedding=None, input_shape=None, **kwargs):
        super().__init__(encoder, source_embedding, input_shape, **kwargs)
        self.decoder = decoder
        self.output_size = _checks.positive_int(type(self).__name__, "output_size", output_size)
        self.head = keras.layers.Dense(self.output_size, name="head", dtype=self.dtype_policy)

    def call(self, inputs, training=None):
        encoded = self.encode(inputs, training=training)
        return ops.cast(self.head(self.decoder(None, encoded=encoded, training=training)), "float32")

    def codes(self, inputs):
        """Returns the code of each source, floats [B, D]: the mean over its real positions."""
        encoded = self.encode(inputs)
        return masked_mean(encoded["sequence"], encoded["mask"])

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict:
        """Returns zeros for `"source"`."""
        return {"source": self._build_source(batch_size, length)}


@keras.saving.register_keras_serializable(package="kerazoo")
class DenseAutoencoder(Autoencoder):
    """An autoencoder of dense layers for vectors and images.

    Args:
        input_shape: Shape of one source without the batch, such as (784,) or (8, 8, 1).
        encoder_units: Widths of the encoder's layers; the last one is the size of the code.
        decoder_units: Widths of the decoder's layers.
        output_size: Numbers in the output, those of the source by default; 1 for the binary form.
        activation: Of all layers but the last.
        dropout: Rate after every layer, in [0, 1).
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
    """

    def __init__(
        self,
        input_shape=(784,),
        encoder_units=(128, 128),
        decoder_units=(128,),
        output_size=None,
        activation="relu",
        dropout=0.0,
        **kwargs,
    ):
        dtype = kwargs.get("dtype")
        super().__init__(
            DenseEncoder(encoder_units, activation, dropout, name="encoder", dtype=dtype),
            DenseDecoder(decoder_units, activation, dropout, name="decoder", dtype=dtype),
            math.prod(input_shape) if output_size is None else output_size,
            input_shape=input_shape,
            **kwargs,
        )
