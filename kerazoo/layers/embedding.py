"""Tokens to vectors and back: one table, with positions and dropout where they are wanted."""

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.layers import sequences
from kerazoo.layers.positions import LearnedPositions, SinusoidalPositions

POSITIONS = (None, "sinusoidal", "learned")


@keras.saving.register_keras_serializable(package="kerazoo")
class TokenEmbedding(keras.layers.Layer):
    """Looks up the vector of each token, adds its position, and turns vectors back into logits with the same table.

    With `scale` the vectors are multiplied by the square root of their width before the positions are added, as in the
    paper. The table starts with deviation `1 / sqrt(hidden_dim)`, so that scaled vectors have variance one and so have
    the logits of a normalised decoder. Given word `vectors` replace that start; they are weights like any other
    afterwards and are saved as such, not in the configuration.

    Args:
        vocabulary_size: Number of tokens V, above 0.
        hidden_dim: Width of a vector D, above 0.
        scale: Multiply the vectors by sqrt(D). Default False.
        positions: None, "sinusoidal" (any length) or "learned" (up to `max_length`). Default None.
        max_length: Number of learned positions; the other kinds do not look at it.
        dropout: Rate of the dropout after the positions, in [0, 1). Default 0.
        embeddings_initializer: How the table starts. Default: normal with deviation 1 / sqrt(D).
        vectors: Word vectors to start from, array [V, D]. Default None.
        freeze_embeddings: Keep the table as it is; learned positions still train. Default False.
        pad_id: The token that fills up short rows. Default 0.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Tokens, integer [B, T] or [B]; with `reverse`, floats [..., D].
        start_index: Position of the first token, an integer or a scalar int32 tensor. Default 0.
        positions: Where each token stands, integers [B, T], instead of one behind the other. Default None.
        reverse: Multiply by the transposed table instead. Default False.
        training: Whether dropout acts.

    Returns:
        Floats [B, T, D] or [B, D] in the compute dtype; with `reverse`, logits, float32 [..., V].

    Masking:
        `padding_mask(tokens)` tells the real tokens from `pad_id`; padding has a vector like any other token.

    Raises:
        ValueError: for an unknown kind of positions, learned positions without `max_length`, vectors of another shape,
            or more tokens than `max_length` where the positions are learned.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    embedding = kz.layers.TokenEmbedding(vocabulary_size=11, hidden_dim=6, scale=True, positions="sinusoidal")
    x = embedding(np.array([[3, 4, 0]]))
    assert x.shape == (1, 3, 6)
    assert embedding(x, reverse=True).shape == (1, 3, 11)
    ```

    Reference:
        Press and Wolf (2017), Using the Output Embedding to Improve Language Models, arXiv:1608.05859;
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int,
        scale: bool = False,
        positions: str | None = None,
        max_length: int | None = None,
        dropout: float = 0.0,
        embeddings_initializer=None,
        vectors=None,
        freeze_embeddings: bool = False,
        pad_id: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        owner = "TokenEmbedding"
        self.vocabulary_size = _checks.positive_int(owner, "vocabulary_size", vocabulary_size)
        self.hidden_dim = _checks.positive_int(owner, "hidden_dim", hidden_dim)
        self.scale = bool(scale)
        self.positions = _checks.one_of(owner, "positions", positions, POSITIONS)
        self.max_length = None if max_length is None else _checks.positive_int(owner, "max_length", max_length)
        if positions == "learned" and max_length is None:
            raise ValueError(f"{owner}: positions='learned' needs `max_length`; got max_length=None.")
        self.dropout_rate = _checks.rate(owner, "dropout", dropout)
        start = embeddings_initializer or keras.initializers.RandomNormal(stddev=self.hidden_dim**-0.5)
        self.embeddings_initializer = keras.initializers.get(start)
        self.freeze_embeddings = bool(freeze_embeddings)
        self.pad_id = _checks.non_negative_int(owner, "pad_id", pad_id)
        self.supports_masking = True

        self.table = keras.layers.ReversibleEmbedding(
            self.vocabulary_size,
            self.hidden_dim,
            embeddings_initializer=self._given(vectors) or self.embeddings_initializer,
            trainable=not self.freeze_embeddings,
            name="table",
            dtype=self.dtype_policy,
        )
        self.add_positions = None
        if positions == "sinusoidal":
            self.add_positions = SinusoidalPositions(name="positions", dtype=self.dtype_policy)
        elif positions == "learned":
            self.add_positions = LearnedPositions(self.max_length, name="positions", dtype=self.dtype_policy)
        self.dropout = keras.layers.Dropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)

    def _given(self, vectors):
        """An initializer that gives the word vectors: it works wherever Keras may delay the making of a weight."""
        if vectors is None:
            return None
        vectors = self._checked(vectors)
        return lambda shape, dtype=None: ops.convert_to_tensor(vectors, dtype=dtype)

    def _checked(self, vectors):
        vectors = np.asarray(vectors)
        if vectors.shape != (self.vocabulary_size, self.hidden_dim):
            raise ValueError(
                f"TokenEmbedding: `vectors` must have shape [vocabulary_size, hidden_dim] = "
                f"{(self.vocabulary_size, self.hidden_dim)}; got {vectors.shape}."
            )
        return vectors

    def load_vectors(self, vectors):
        """Puts word vectors, an array [V, D], into the table of a built layer.

        With `scale` the table gets them divided by sqrt(D), so that the layer gives the vectors as they are.
        """
        vectors = self._checked(vectors)
        self.table.embeddings.assign(vectors / self.hidden_dim**0.5 if self.scale else vectors)

    def build(self, inputs_shape):
        self.table.build()
        if self.add_positions is not None:
            self.add_positions.build((None, None, self.hidden_dim))

    def call(self, inputs, start_index=0, reverse: bool = False, positions=None, training: bool | None = None):
        if reverse:
            return ops.cast(self.table(inputs, reverse=True), "float32")  # [..., V]
        _checks.rank("TokenEmbedding", "inputs", inputs.shape, (1, 2))
        single = len(inputs.shape) == 1
        x = self.table(inputs[:, None] if single else inputs)  # [B, T, D]
        if self.scale:
            x = x * self.hidden_dim**0.5
        if self.add_positions is not None:
            x = self.add_positions(x, start_index=start_index, positions=positions)
        x = self.dropout(x, training=training)
        return ops.squeeze(x, axis=1) if single else x

    def padding_mask(self, tokens):
        """Booleans of the shape of `tokens`, True where the token is not `pad_id`."""
        return sequences.padding_mask(tokens, self.pad_id)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "scale": self.scale,
            "positions": self.positions,
            "max_length": self.max_length,
            "dropout": self.dropout_rate,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "vectors": None,
            "freeze_embeddings": self.freeze_embeddings,
            "pad_id": self.pad_id,
        }
