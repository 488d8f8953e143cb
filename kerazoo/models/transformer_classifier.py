"""A Transformer encoder that classifies texts, series, and images row by row."""

import math

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import LearnedPositions, SinusoidalPositions, TokenEmbedding, TransformerEncoder
from kerazoo.models.classifier import Classifier


@keras.saving.register_keras_serializable(package="kerazoo")
class RowEmbedding(keras.layers.Layer):
    """Turns each row of a source into a vector and adds its position: what a Transformer can read of an image.

    Args:
        hidden_dim: Width of the vectors.
        positions: `"learned"`, `"sinusoidal"` or None.
        dropout: Rate after the positions, in [0, 1).

    Call arguments:
        inputs: Floats [B, S, ...]; everything after the second axis is one row.
        training: Whether dropout acts.

    Returns:
        Floats [B, S, hidden_dim] in the compute dtype.

    Example:

    ```python
    import numpy as np
    from kerazoo.models import RowEmbedding

    assert RowEmbedding(hidden_dim=16)(np.ones((2, 28, 28, 1), "float32")).shape == (2, 28, 16)
    ```
    """

    def __init__(self, hidden_dim, positions="learned", dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = _checks.positive_int("RowEmbedding", "hidden_dim", hidden_dim)
        self.positions = _checks.one_of("RowEmbedding", "positions", positions, ("learned", "sinusoidal", None))
        self.rate = _checks.rate("RowEmbedding", "dropout", dropout)
        self.dense = keras.layers.Dense(self.hidden_dim, name="dense", dtype=self.dtype_policy)
        self.dropout = keras.layers.Dropout(self.rate, name="dropout", dtype=self.dtype_policy)
        self.add_positions = None

    def build(self, inputs_shape):
        if len(inputs_shape) < 3 or None in inputs_shape[2:]:
            raise ValueError(
                "RowEmbedding: `inputs` must have rows of known size, [B, S, ...]; "
                f"got shape {tuple(inputs_shape)}. For token ids give vocabulary_size."
            )
        self.dense.build((*inputs_shape[:2], math.prod(inputs_shape[2:])))
        if self.positions == "learned":
            self.add_positions = LearnedPositions(inputs_shape[1], name="positions", dtype=self.dtype_policy)
        elif self.positions == "sinusoidal":
            self.add_positions = SinusoidalPositions(name="positions", dtype=self.dtype_policy)
        if self.add_positions is not None:
            self.add_positions.build((*inputs_shape[:2], self.hidden_dim))

    def call(self, inputs, training=None):
        x = ops.reshape(inputs, (-1, ops.shape(inputs)[1], math.prod(inputs.shape[2:])))  # [B, S, F]
        x = self.dense(x)
        if self.add_positions is not None:
            x = self.add_positions(x)
        return self.dropout(x, training=training)

    def get_config(self):
        """Returns the constructor arguments."""
        base = super().get_config()
        return {**base, "hidden_dim": self.hidden_dim, "positions": self.positions, "dropout": self.rate}


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerClassifier(Classifier):
    """A Transformer encoder, pooled: for token ids, for series of vectors, and for images, whose rows it reads.

    Args:
        num_classes: Number of classes C; 1 for a binary classifier with one logit.
        vocabulary_size: Size of the vocabulary where the source is token ids, else None.
        input_shape: Shape of one source without the batch where it is not token ids, such as (28, 28).
        num_layers: Blocks of the encoder.
        hidden_dim: Width of the model.
        num_heads: Heads of the attention; divides `hidden_dim`.
        intermediate_dim: Width inside the feed-forward layers.
        dropout: Rate on embeddings, attention weights and outputs, in [0, 1).
        activation: Of the feed-forward layers: `"relu"`, `"gelu"`, `"silu"`, `"swiglu"`, `"geglu"`.
        norm: Where the normalisation stands, `"pre"` or `"post"`.
        positions: `"learned"`, `"sinusoidal"` or `"rotary"`.
        max_length: Most tokens of a source of token ids, where positions are learned.
        pooling: How the real positions become one vector: `"mean"`, `"max"`, or `"last"` of them.
        pad_id: The token that fills up short rows.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    images = kz.models.TransformerClassifier(num_classes=10, input_shape=(28, 28), hidden_dim=16, num_heads=2)
    assert images(np.ones((2, 28, 28), "float32")).shape == (2, 10)
    texts = kz.models.TransformerClassifier(num_classes=3, vocabulary_size=50, positions="sinusoidal")
    assert texts({"source": np.array([[5, 6, 7], [8, 0, 0]])}).shape == (2, 3)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv 1706.03762;
        Dosovitskiy et al. (2021), An Image is Worth 16x16 Words, arXiv 2010.11929 (patches where this reads rows).
    """

    def __init__(
        self,
        num_classes=10,
        vocabulary_size=None,
        input_shape=(28, 28),
        num_layers=2,
        hidden_dim=64,
        num_heads=4,
        intermediate_dim=128,
        dropout=0.1,
        activation="gelu",
        norm="pre",
        positions="learned",
        max_length=512,
        pooling="mean",
        pad_id=0,
        **kwargs,
    ):
        dtype = kwargs.get("dtype")
        _checks.one_of("TransformerClassifier", "positions", positions, ("learned", "sinusoidal", "rotary"))
        shared = {
            "positions": None if positions == "rotary" else positions,
            "dropout": dropout,
            "name": "embedding",
            "dtype": dtype,
        }
        if vocabulary_size is None:
            embedding = RowEmbedding(hidden_dim, **shared)
        else:
            embedding = TokenEmbedding(vocabulary_size, hidden_dim, max_length=max_length, pad_id=pad_id, **shared)
        encoder = TransformerEncoder(
            num_layers,
            hidden_dim,
            num_heads,
            intermediate_dim,
            dropout=dropout,
            activation=activation,
            norm=norm,
            positions="rotary" if positions == "rotary" else None,
            name="encoder",
            dtype=dtype,
        )
        shape = input_shape if vocabulary_size is None else None
        super().__init__(encoder, num_classes, embedding, pooling, dropout, shape, **kwargs)
