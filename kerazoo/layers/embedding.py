"""Token embeddings with positions, and logits from the same table."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.layers import masking
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.positions import LearnedPositions, SinusoidalPositions
from kerazoo.layers.products import ReversibleEmbedding
from kerazoo.layers.transformer_block import NORMALIZATIONS, normalization_layer

POSITIONS = (None, "sinusoidal", "learned")


@keras.saving.register_keras_serializable(package="kerazoo")
class TokenEmbedding(keras.layers.Layer):
    """Embeds token ids, adds their positions, and maps vectors back to logits with the same table.

    With `scale` the vectors are multiplied by the square root of their width before the positions are added, as in the
    paper. The table is initialized with standard deviation `1 / sqrt(hidden_dim)`, so that scaled vectors have variance
    one and so have the logits of a normalized decoder. `vectors` replace these initial values; they are ordinary
    weights afterwards and are saved as such, not in the configuration.

    Args:
        vocabulary_size: int, above 0. Number of tokens V.
        hidden_dim: int, above 0. Width D of a vector.
        scale: bool. Whether to multiply the vectors by sqrt(D). Defaults to `False`.
        positions: None, `"sinusoidal"` (any length) or `"learned"` (up to `max_length`). Defaults to `None`.
        max_length: int or None. Number of learned positions; other kinds ignore it. Defaults to `None`.
        dropout: float in `[0, 1)`. Dropout rate after the positions. Defaults to `0.0`.
        embeddings_initializer: Initializer of the table, None for a normal distribution with standard deviation
            1 / sqrt(D). Defaults to `None`.
        normalization: None, `"layer"` or `"rms"`. How the sum of a vector and its position is normalized, as in BERT.
            Defaults to `None`.
        epsilon: float, above 0. Added to the variance or the mean square. Defaults to `1e-5`.
        shared_table: the `table` of another embedding of this size, which both use then, or None. It is not part of the
            configuration. Defaults to `None`.
        vectors: float array `[V, D]` or None. Initial word vectors. Defaults to `None`.
        freeze_embeddings: bool. Whether the table is not trainable; learned positions still are. Defaults to `False`.
        pad_id: int. The padding token. Defaults to `0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor `[B, T]` or `[B]`, token ids; with `reverse`, float tensor `[..., D]`.
        start_index: int or int32 scalar. Position of the first token. Defaults to `0`.
        positions: int tensor `[B, T]`, the position of each token, instead of consecutive ones. Defaults to `None`.
        reverse: bool. Whether to multiply by the transposed table instead. Defaults to `False`.
        training: bool. Whether to apply dropout.

    Returns:
        A float tensor `[B, T, D]` or `[B, D]` in the compute dtype; with `reverse`, logits, float32 `[..., V]`.

    Masking:
        Tokens `[B, T]` give their embeddings a Keras mask, which is False at `pad_id`. The layers that follow in a
        model read it. `padding_mask(tokens)` returns the same mask.

    Raises:
        ValueError: if the kind of positions is unknown, learned positions have no `max_length`, `vectors` have another
            shape, or there are more tokens than learned positions.
        TypeError: if tokens are floats.

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
        Press and Wolf, 2017, Using the Output Embedding to Improve Language Models, arXiv:1608.05859;
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int,
        *,
        scale: bool = False,
        positions: str | None = None,
        max_length: int | None = None,
        dropout: float = 0.0,
        embeddings_initializer: Any = None,
        normalization: str | None = None,
        epsilon: float = 1e-5,
        shared_table: Any = None,
        vectors: Any = None,
        freeze_embeddings: bool = False,
        pad_id: int = 0,
        **kwargs: Any,
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
        default = keras.initializers.RandomNormal(stddev=self.hidden_dim**-0.5)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer or default)
        self.freeze_embeddings = bool(freeze_embeddings)
        self.pad_id = _checks.non_negative_int(owner, "pad_id", pad_id)
        self.supports_masking = True

        self.table = shared_table or ReversibleEmbedding(
            self.vocabulary_size,
            self.hidden_dim,
            embeddings_initializer=self._constant(vectors) or self.embeddings_initializer,
            trainable=not self.freeze_embeddings,
            name="table",
            dtype=self.dtype_policy,
        )
        # Otherwise Keras warns where logits are computed from vectors with a mask.
        self.table.supports_masking = True
        self.add_positions = None
        if positions == "sinusoidal":
            self.add_positions = SinusoidalPositions(name="positions", dtype=self.dtype_policy)
        elif self.max_length is not None and positions == "learned":
            self.add_positions = LearnedPositions(self.max_length, name="positions", dtype=self.dtype_policy)
        self.normalization = _checks.one_of(owner, "normalization", normalization, (None, *NORMALIZATIONS))
        self.epsilon = _checks.number(owner, "epsilon", epsilon, low=0, low_open=True)
        self.norm = None
        if self.normalization is not None:
            self.norm = normalization_layer(self.normalization, self.epsilon, "norm", self.dtype_policy)
        self.dropout = Dropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)

    def _constant(self, vectors: Any) -> Any:
        """Returns an initializer that gives the word vectors, which also works where Keras delays making weights."""
        if vectors is None:
            return None
        vectors = self._checked(vectors)
        return lambda shape, dtype=None: ops.convert_to_tensor(vectors, dtype=dtype)

    def _checked(self, vectors: Any) -> np.ndarray:
        vectors = np.asarray(vectors)
        if vectors.shape != (self.vocabulary_size, self.hidden_dim):
            raise ValueError(
                f"TokenEmbedding: `vectors` must have shape [vocabulary_size, hidden_dim] = "
                f"{(self.vocabulary_size, self.hidden_dim)}; got {vectors.shape}."
            )
        return vectors

    def load_vectors(self, vectors: Any) -> None:
        """Assigns word vectors to the table of a built layer.

        With `scale` they are divided by sqrt(D), so that the layer returns the vectors unchanged.

        Args:
            vectors: float array `[V, D]`.
        """
        vectors = self._checked(vectors)
        self.table.embeddings.assign(vectors / self.hidden_dim**0.5 if self.scale else vectors)

    def build(self, inputs_shape: Any) -> None:
        if not self.table.built:  # by the embedding that it is shared with
            self.table.build()
        if self.add_positions is not None:
            self.add_positions.build((None, None, self.hidden_dim))
        if self.norm is not None:
            self.norm.build((None, None, self.hidden_dim))

    def call(
        self,
        inputs: Any,
        start_index: Any = 0,
        reverse: bool = False,
        positions: Any = None,
        training: bool | None = None,
    ) -> Any:
        if reverse:
            return ops.cast(self.table(inputs, reverse=True), "float32")  # [..., V]
        check_tokens("TokenEmbedding", inputs, (1, 2))
        single = len(inputs.shape) == 1
        x = self.table(inputs[:, None] if single else inputs)  # [B, T, D]
        if self.scale:
            x = x * self.hidden_dim**0.5
        if self.add_positions is not None:
            x = self.add_positions(x, start_index=start_index, positions=positions)
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x, training=training)
        return ops.squeeze(x, axis=1) if single else x

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Returns the padding mask of tokens `[B, T]`; vectors, and single tokens `[B]`, keep the mask they have."""
        return previous_mask if _is_float(inputs) or len(inputs.shape) != 2 else self.padding_mask(inputs)

    def padding_mask(self, tokens: Any) -> Any:
        """Returns bools of the shape of `tokens`, True where the token is not `pad_id`.

        Args:
            tokens: int tensor of any shape.
        """
        return masking.padding_mask(tokens, self.pad_id)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "scale": self.scale,
            "positions": self.positions,
            "max_length": self.max_length,
            "dropout": self.dropout_rate,
            "normalization": self.normalization,
            "epsilon": self.epsilon,
            "shared_table": None,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "vectors": None,
            "freeze_embeddings": self.freeze_embeddings,
            "pad_id": self.pad_id,
        }


def check_tokens(owner: str, inputs: Any, ranks: tuple[int, ...]) -> None:
    """Refuses inputs that are floats or have another number of axes."""
    _checks.rank(owner, "inputs", inputs.shape, ranks)
    if _is_float(inputs):
        raise TypeError(
            f"{owner}: `inputs` must be token ids, integers; got dtype {inputs.dtype}. "
            'Cast them, or use keras.Input(..., dtype="int32").'
        )


def _is_float(x: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))
