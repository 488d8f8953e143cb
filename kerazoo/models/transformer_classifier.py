"""TransformerClassifier: a Transformer encoder of texts, series and the rows of images, with a head."""

import math
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import Dropout, LearnedPositions, SinusoidalPositions, TokenEmbedding, TransformerEncoder
from kerazoo.models.classifier import Classifier


@keras.saving.register_keras_serializable(package="kerazoo")
class RowEmbedding(keras.layers.Layer):
    """Projects each row of a source to a vector and adds its position, so that a Transformer can read an image.

    Args:
        hidden_dim: integer, above 0. Width of the vectors.
        positions: `"learned"`, `"sinusoidal"` or None. Defaults to `"learned"`.
        dropout: float, in [0, 1). Rate after the positions. Defaults to `0.0`.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `[B, S, ...]`; all axes after the second are one row.
        training: boolean. Whether dropout is applied.

    Returns:
        Float tensor `[B, S, hidden_dim]` in the compute dtype.

    Raises:
        ValueError: if the size of a row is unknown.

    Example:

    ```python
    import numpy as np
    from kerazoo.models import RowEmbedding

    assert RowEmbedding(hidden_dim=16)(np.ones((2, 28, 28, 1), "float32")).shape == (2, 28, 16)
    ```
    """

    def __init__(self, hidden_dim: int, positions: str | None = "learned", *, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden_dim = _checks.positive_int("RowEmbedding", "hidden_dim", hidden_dim)
        self.positions = _checks.one_of("RowEmbedding", "positions", positions, ("learned", "sinusoidal", None))
        self.rate = _checks.rate("RowEmbedding", "dropout", dropout)
        self.dense = keras.layers.Dense(self.hidden_dim, name="dense", dtype=self.dtype_policy)
        self.dropout = Dropout(self.rate, name="dropout", dtype=self.dtype_policy)
        self.add_positions = None

    def build(self, inputs_shape: Any) -> None:
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

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = ops.reshape(inputs, (-1, ops.shape(inputs)[1], math.prod(inputs.shape[2:])))  # [B, S, F]
        x = self.dense(x)
        if self.add_positions is not None:
            x = self.add_positions(x)
        return self.dropout(x, training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        base = super().get_config()
        return {**base, "hidden_dim": self.hidden_dim, "positions": self.positions, "dropout": self.rate}


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerClassifier(Classifier):
    """A Transformer encoder, pooled: for token ids, for series of vectors, and for images, which it reads by rows.

    Args:
        num_classes: integer, above 0. Number of classes C; 1 for a binary classifier with one logit. Defaults to `10`.
        vocabulary_size: integer, above 0. Size of the vocabulary where the source is token ids. Defaults to `None`.
        input_shape: tuple of integers. Shape of one source without the batch where it is not token ids. Defaults to
            `(28, 28)`.
        num_layers: integer, above 0. Blocks of the encoder. Defaults to `2`.
        hidden_dim: integer, above 0. Width of the model. Defaults to `64`.
        num_heads: integer, above 0. Heads of the attention; divides `hidden_dim`. Defaults to `4`.
        intermediate_dim: integer, above 0. Width inside the feed-forward layers. Defaults to `128`.
        dropout: float, in [0, 1). Rate on embeddings, attention weights and outputs. Defaults to `0.1`.
        activation: string or callable. Activation of the feed-forward layers, such as `"relu"`, `"gelu"` or
            `"swiglu"`. Defaults to `"gelu"`.
        norm: `"pre"` or `"post"`. Whether normalization is before or after each part of a block. Defaults to `"pre"`.
        positions: `"learned"`, `"sinusoidal"` or `"rotary"`. Defaults to `"learned"`.
        max_length: integer, above 0. Maximum number of tokens of a source of token ids, where positions are learned.
            Defaults to `512`.
        pooling: `"mean"`, `"max"`, `"last"` or `"first"`. How the valid positions become one vector. Defaults to
            `"mean"`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.
        pad_id: integer. The padding token. Defaults to `0`.
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
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762;
        Dosovitskiy et al. (2021), An Image is Worth 16x16 Words, arXiv:2010.11929 (patches where this reads rows).
    """

    def __init__(
        self,
        num_classes: int = 10,
        vocabulary_size: int | None = None,
        *,
        input_shape: tuple[int, ...] = (28, 28),
        num_layers: int = 2,
        hidden_dim: int = 64,
        num_heads: int = 4,
        intermediate_dim: int = 128,
        dropout: float = 0.1,
        activation: Any = "gelu",
        norm: str = "pre",
        positions: str = "learned",
        max_length: int = 512,
        pooling: str = "mean",
        head_activation: Any = None,
        pad_id: int = 0,
        **kwargs: Any,
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
            num_heads=num_heads,
            intermediate_dim=intermediate_dim,
            dropout=dropout,
            activation=activation,
            norm=norm,
            positions="rotary" if positions == "rotary" else None,
            name="encoder",
            dtype=dtype,
        )
        super().__init__(
            encoder,
            num_classes,
            source_embedding=embedding,
            pooling=pooling,
            dropout=dropout,
            head_activation=head_activation,
            input_shape=input_shape if vocabulary_size is None else None,
            **kwargs,
        )
