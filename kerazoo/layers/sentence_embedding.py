"""SentenceEmbedding: one vector for each sentence of a text."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.embedding import TokenEmbedding, check_tokens


@keras.saving.register_keras_serializable(package="kerazoo")
class SentenceEmbedding(TokenEmbedding):
    """Embeds token ids and adds up the vectors of each sentence, so that a text becomes one vector for each sentence.

    Each vector is first multiplied, element by element, by a trained vector of the token's position in its sentence; at
    the start of training its entries are normally distributed, with mean and standard deviation 1, so that one word has
    another vector in each position. An encoder then reads a text of 200 words as at most 67 vectors.

    Args:
        vocabulary_size: int, above 0. Number of tokens V.
        hidden_dim: int, above 0. Width D of a vector.
        sentence_ends: sequence of ints. The token ids that end a sentence, such as that of a full stop.
        max_words: int, above 0. Positions of a sentence that have a vector each; the words after them share the last
            one. Defaults to `32`.
        min_words: int, above 0. How short the sentences of a text are on average, at least, with the token that ends
            them: a text of T tokens becomes at most `T // min_words + 1` vectors, and if it has more sentences, the
            last vector is the sum of those that are left. Defaults to `3`.
        **kwargs: the other arguments of `kerazoo.layers.TokenEmbedding`; positions, if any, are those of the sentences.

    Call arguments:
        inputs: int tensor `[B, T]`, token ids.
        training: bool. Whether to apply dropout.

    Returns:
        A float tensor `[B, T // min_words + 1, D]` in the compute dtype.

    Masking:
        The Keras mask of the sentences is False where a text has no further sentence; padding adds nothing to a
        sentence. `padding_mask(tokens)` returns the same mask.

    Raises:
        ValueError: if a size is out of range, `sentence_ends` has no id or one that is none of the vocabulary, or
            tokens have another number of axes.
        TypeError: if tokens are floats.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    embedding = kz.layers.SentenceEmbedding(vocabulary_size=11, hidden_dim=6, sentence_ends=[5])
    tokens = np.array([[7, 8, 9, 5, 8, 7, 5, 0]])
    assert embedding(tokens).shape == (1, 3, 6)
    assert np.array_equal(embedding.padding_mask(tokens), [[True, True, False]])
    ```

    Reference:
        Sukhbaatar, Szlam, Weston and Fergus, 2015, End-To-End Memory Networks, arXiv:1503.08895;
        Henaff et al., 2016, Tracking the World State with Recurrent Entity Networks, arXiv:1612.03969 (trained vectors
        of the positions).
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int,
        *,
        sentence_ends: Sequence[int],
        max_words: int = 32,
        min_words: int = 3,
        **kwargs: Any,
    ):
        super().__init__(vocabulary_size, hidden_dim, **kwargs)
        owner = "SentenceEmbedding"
        self.sentence_ends = [int(each) for each in sentence_ends]
        for each in self.sentence_ends:
            if not 0 <= each < self.vocabulary_size or each == self.pad_id:
                raise ValueError(
                    f"{owner}: `sentence_ends` must be ids of the vocabulary, from 0 to {self.vocabulary_size - 1} and "
                    f"not that of padding, {self.pad_id}; got {each}."
                )
        if not self.sentence_ends:
            raise ValueError(f"{owner}: `sentence_ends` must have an id; got {list(sentence_ends)}.")
        self.max_words = _checks.positive_int(owner, "max_words", max_words)
        self.min_words = _checks.positive_int(owner, "min_words", min_words)

    def build(self, inputs_shape: Any) -> None:
        super().build(inputs_shape)
        self.word_positions = self.add_weight(
            shape=(self.max_words, self.hidden_dim),
            initializer=keras.initializers.RandomNormal(mean=1.0, stddev=1.0),
            name="word_positions",
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        check_tokens("SentenceEmbedding", inputs, (2,))
        members = self._members(inputs)  # [B, N, T]
        words = ops.sum(members, axis=-1)  # [B, N]
        begins = ops.einsum("bnt,bn->bt", members, ops.cumsum(words, axis=1) - words)  # [B, T]
        position = ops.clip(_indices(inputs) - ops.cast(begins, "int32"), 0, self.max_words - 1)
        factors = ops.take(ops.cast(self.word_positions, self.compute_dtype), position, axis=0)
        x = self.table(inputs) * factors  # [B, T, D]
        x = ops.matmul(ops.cast(members, self.compute_dtype), x)  # [B, N, D]
        if self.scale:
            x = x * self.hidden_dim**0.5
        if self.add_positions is not None:
            x = self.add_positions(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(x, training=training)

    def _members(self, tokens):
        """Returns float32 `[B, N, T]`: 1 where a token is one of a sentence."""
        table = ops.any(ops.equal(ops.arange(self.vocabulary_size)[:, None], ops.array(self.sentence_ends)), axis=1)
        ends = ops.cast(ops.take(table, tokens, axis=0), "int32")  # [B, T]
        valid = super().padding_mask(tokens)
        limit = ops.sum(ops.cast(valid, "int32"), axis=1, keepdims=True) // self.min_words  # whatever the padding is
        number = ops.minimum(ops.cumsum(ends, axis=1) - ends, limit)
        # T // min_words + 1 positions; the number is computed from a slice because T may be unknown.
        numbers = _indices(ops.pad(tokens, [[0, 0], [0, 1]])[:, :: self.min_words])  # [B, N]
        members = ops.equal(number[:, None, :], numbers[:, :, None])
        return ops.cast(ops.logical_and(members, valid[:, None, :]), "float32")

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.padding_mask(inputs)

    def padding_mask(self, tokens: Any) -> Any:
        """Returns bools `[B, T // min_words + 1]`, True where a text has a sentence.

        Args:
            tokens: int tensor `[B, T]`.
        """
        return ops.any(self._members(tokens) > 0, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sentence_ends": self.sentence_ends,
            "max_words": self.max_words,
            "min_words": self.min_words,
        }


def _indices(tokens):
    """Returns int32 of the shape `[B, T]` of tokens: 0, 1, 2, ... in each row."""
    return ops.cumsum(ops.ones_like(tokens, dtype="int32"), axis=1) - 1
