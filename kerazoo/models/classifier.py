"""Classifier: any encoder, pooling and a head of one value for each class."""

from typing import Any

import keras

from kerazoo import _checks
from kerazoo.layers import DenseEncoder, Dropout
from kerazoo.layers.pooling import POOLINGS, pool
from kerazoo.layers.products import Dense
from kerazoo.models.encoder_model import EncoderModel


@keras.saving.register_keras_serializable(package="kerazoo")
class Classifier(EncoderModel):
    """Encodes a source with any encoder, pools its valid positions and returns a logit for each class.

    By default the output is logits: compile the model with a loss of `from_logits=True`, such as
    `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`. With `head_activation="softmax"`, or `"sigmoid"` for
    a single output, it is probabilities.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, or a list of them, one for each source.
        num_classes: integer, above 0. Number of classes C; 1 for a binary classifier with one logit.
        source_embedding: a layer that turns token ids into vectors. None where the source is vectors or images.
            Defaults to `None`.
        pooling: `"mean"`, `"max"`, `"last"` or `"first"`. How the valid positions become one vector, see
            `kerazoo.layers.pool`. Defaults to `"mean"`.
        pooler_dim: integer, above 0. Width of a dense layer with tanh after the pooling, as in BERT. Defaults to
            `None`, no layer.
        dropout: float, in [0, 1). Rate before the head. Defaults to `0.0`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.
        input_shape: tuple of integers. Shape of one source without the batch, where there is no embedding. Defaults to
            that of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"` (and `"source_2"`, ... for several encoders), or the only source itself.
        training: boolean. Whether dropout is applied.

    Returns:
        Float32 tensor `[B, C]`: logits, or what `head_activation` makes of them.

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
        self,
        encoder: Any,
        num_classes: int,
        *,
        source_embedding: Any = None,
        pooling: str = "mean",
        pooler_dim: int | None = None,
        dropout: float = 0.0,
        head_activation: Any = None,
        input_shape: Any = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, source_embedding, input_shape=input_shape, **kwargs)
        owner = type(self).__name__
        self.num_classes = _checks.positive_int(owner, "num_classes", num_classes)
        self.pooling = _checks.one_of(owner, "pooling", pooling, POOLINGS)
        self.pooler = None
        if pooler_dim is not None:
            units = _checks.positive_int(owner, "pooler_dim", pooler_dim)
            self.pooler = Dense(units, activation="tanh", name="pooler", dtype=self.dtype_policy)
        rate = _checks.rate(owner, "dropout", dropout)
        self.dropout = Dropout(rate, name="dropout", dtype=self.dtype_policy)
        self._make_head(self.num_classes, head_activation)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.pool(self.encode(inputs, training=training))
        x = x if self.pooler is None else self.pooler(x)
        return self.apply_head(self.dropout(x, training=training))

    def pool(self, encoded: dict[str, Any]) -> Any:
        """Returns one vector `[B, D]` for each encoded source."""
        return pool(encoded["sequence"], encoded["mask"], self.pooling)


@keras.saving.register_keras_serializable(package="kerazoo")
class MLPClassifier(Classifier):
    """A multi-layer perceptron for vectors and small images.

    Args:
        input_shape: tuple of integers. Shape of one source without the batch, such as `(784,)` or `(8, 8, 1)`. Defaults
            to `(784,)`.
        units: integer or tuple of integers, above 0. Units of the hidden layers. Defaults to `(128,)`.
        num_classes: integer, above 0. Number of classes C; 1 for a binary classifier with one logit. Defaults to `10`.
        activation: string or callable, or a list of them, one for each hidden layer. Defaults to `"relu"`.
        dropout: float, in [0, 1). Rate after every hidden layer. Defaults to `0.0`.
        kernel_regularizer: string or `keras.regularizers.Regularizer`. Penalty on the kernels of the hidden layers,
            such as `"l2"`. Defaults to `None`.
        activity_regularizer: string or `keras.regularizers.Regularizer`. Penalty on the outputs of the hidden layers,
            such as `"l1"`. Defaults to `None`.
        head_activation: string or callable. Activation of the output; None for logits. Defaults to `None`.
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
        input_shape: tuple[int, ...] = (784,),
        units: Any = (128,),
        *,
        num_classes: int = 10,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_regularizer: Any = None,
        activity_regularizer: Any = None,
        head_activation: Any = None,
        **kwargs: Any,
    ):
        encoder = DenseEncoder(
            units,
            activation=activation,
            dropout=dropout,
            kernel_regularizer=kernel_regularizer,
            activity_regularizer=activity_regularizer,
            name="encoder",
            dtype=kwargs.get("dtype"),
        )
        super().__init__(encoder, num_classes, head_activation=head_activation, input_shape=input_shape, **kwargs)
