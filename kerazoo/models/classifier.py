"""Any encoder with a head: one label for a vector, an image, a series or a text."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import DenseEncoder, last_real, masked_mean
from kerazoo.models.source import SourceModel

POOLINGS = ("mean", "max", "last")


@keras.saving.register_keras_serializable(package="kerazoo")
class Classifier(SourceModel):
    """Encodes a source with any encoder, pools its real positions and gives a logit for each class.

    Args:
        encoder: A layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`.
        num_classes: Number of classes C; 1 for a binary classifier with one logit.
        source_embedding: Turns token ids into vectors; None where the source is vectors or images.
        pooling: How the real positions become one vector: `"mean"`, `"max"`, or `"last"` of them.
        dropout: Rate before the head, in [0, 1).
        input_shape: Shape of one source without the batch, where there is no embedding.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: A dictionary with `"source"`, or the source itself.
        training: Whether dropout acts.

    Returns:
        Logits float32 [B, C].

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.Classifier(kz.layers.LSTMEncoder(units=16), num_classes=5, pooling="last")
    series = np.ones((2, 9, 3), "float32")
    assert model({"source": series}).shape == (2, 5)
    ```
    """

    def __init__(
        self, encoder, num_classes, source_embedding=None, pooling="mean", dropout=0.0, input_shape=None, **kwargs
    ):
        super().__init__(encoder, source_embedding, input_shape, **kwargs)
        owner = type(self).__name__
        self.num_classes = _checks.positive_int(owner, "num_classes", num_classes)
        self.pooling = _checks.one_of(owner, "pooling", pooling, POOLINGS)
        self.dropout = keras.layers.Dropout(_checks.rate(owner, "dropout", dropout), name="dropout")
        self.head = keras.layers.Dense(self.num_classes, name="head", dtype=self.dtype_policy)

    def call(self, inputs, training=None):
        x = self.dropout(self.pool(self.encode(inputs, training=training)), training=training)
        return ops.cast(self.head(x), "float32")

    def pool(self, encoded):
        """Returns one vector [B, D] for each encoded source."""
        sequence, mask = encoded["sequence"], encoded["mask"]
        if self.pooling == "mean":
            return masked_mean(sequence, mask)
        if self.pooling == "last":
            return last_real(sequence, mask)
        lowest = ops.cast(-1e4, sequence.dtype)  # far below any activation, and a number in float16 too
        return ops.max(ops.where(mask[:, :, None], sequence, lowest), axis=1)

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict:
        """Returns zeros for `"source"`."""
        return {"source": self._build_source(batch_size, length)}


@keras.saving.register_keras_serializable(package="kerazoo")
class MLPClassifier(Classifier):
    """A multi-layer perceptron for vectors and small images.

    Args:
        input_shape: Shape of one source without the batch, such as (784,) or (8, 8, 1).
        units: Widths of the hidden layers.
        num_classes: Number of classes C; 1 for a binary classifier with one logit.
        activation: Of the hidden layers.
        dropout: Rate after every hidden layer, in [0, 1).
        kernel_regularizer: Penalty on the kernels of the hidden layers, such as `"l2"`.
        activity_regularizer: Penalty on the outputs of the hidden layers, such as `"l1"`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.MLPClassifier(input_shape=(784,), units=(128,), num_classes=10)
    assert model(np.ones((2, 784), "float32")).shape == (2, 10)
    ```
    """

    def __init__(
        self,
        input_shape=(784,),
        units=(128,),
        num_classes=10,
        activation="relu",
        dropout=0.0,
        kernel_regularizer=None,
        activity_regularizer=None,
        **kwargs,
    ):
        encoder = DenseEncoder(
            units,
            activation,
            dropout,
            kernel_regularizer,
            activity_regularizer,
            name="encoder",
            dtype=kwargs.get("dtype"),
        )
        super().__init__(encoder, num_classes, input_shape=input_shape, **kwargs)
