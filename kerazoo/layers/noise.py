"""Token noise: tokens are dropped, replaced or permuted at random, in training only."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.masking import segment_mask


class TokenNoise(keras.layers.Layer):
    """The base of the noise layers: the identity in inference; a subclass implements `_apply`."""

    def __init__(self, pad_id: int = 0, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.pad_id = _checks.non_negative_int(type(self).__name__, "pad_id", pad_id)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.transform(inputs, self.seed_generator)[0] if training else inputs

    def transform(self, tokens: Any, seed: keras.random.SeedGenerator, segments: Any = None) -> tuple[Any, Any]:
        """Returns the noisy tokens and their segments, in training and in inference.

        Args:
            tokens: int tensor `[B, T]`.
            seed: `keras.random.SeedGenerator` of the noise.
            segments: int tensor `[B, T]`, the number of each position's sequence from 1, 0 for padding, where several
                sequences share a row; else None. Defaults to `None`.
        """
        if segments is None:
            segments = ops.cast(ops.not_equal(tokens, self.pad_id), "int32")
        return self._apply(ops.convert_to_tensor(tokens), ops.cast(segments, "int32"), seed)

    def _apply(self, tokens: Any, segments: Any, seed: keras.random.SeedGenerator) -> tuple[Any, Any]:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pad_id": self.pad_id, "seed": self.seed}


@keras.saving.register_keras_serializable(package="kerazoo")
class WordDropout(TokenNoise):
    """Drops tokens at random in training; the tokens after them close the gap.

    A sequence that would lose all its tokens keeps them all.

    Args:
        rate: float in `[0, 1)`. Probability of dropping a token. Defaults to `0.1`.
        pad_id: int. The padding token. Defaults to `0`.
        seed: int or None. Seed of the noise. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor `[B, T]`, token ids.
        training: bool. Whether to drop tokens.

    Returns:
        Token ids of the same dtype, `[B, T]`, padded on the right.

    Raises:
        ValueError: if `rate` is outside of [0, 1).

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    tokens = np.array([[5, 6, 7, 8, 0]])
    noisy = np.array(kz.layers.WordDropout(rate=0.5, seed=1)(tokens, training=True))[0]
    assert [token for token in noisy if token] == [token for token in tokens[0] if token in noisy and token]
    ```

    Reference:
        Iyyer, Manjunatha, Boyd-Graber and Daume III, 2015, Deep Unordered Composition Rivals Syntactic Methods for
        Text Classification;
        Lample, Conneau, Denoyer and Ranzato, 2018, Unsupervised Machine Translation Using Monolingual Corpora Only,
        arXiv:1711.00043 (as noise of a source).
    """

    def __init__(self, rate: float = 0.1, *, pad_id: int = 0, seed: int | None = None, **kwargs: Any):
        super().__init__(pad_id, seed, **kwargs)
        self.rate = _checks.rate("WordDropout", "rate", rate)

    def _apply(self, tokens: Any, segments: Any, seed: keras.random.SeedGenerator) -> tuple[Any, Any]:
        valid = segments > 0
        kept = ops.logical_and(valid, keras.random.uniform(ops.shape(tokens), seed=seed) >= self.rate)
        any_kept = ops.any(ops.logical_and(segment_mask(segments), kept[:, None, :]), axis=2)  # in the same sequence
        kept = ops.logical_or(kept, ops.logical_and(valid, ops.logical_not(any_kept)))
        positions = ops.arange(ops.shape(tokens)[1], dtype="int32")
        order = ops.argsort(ops.where(kept, positions, positions + ops.shape(tokens)[1]), axis=1)
        within = positions < ops.sum(ops.cast(kept, "int32"), axis=1, keepdims=True)
        tokens = ops.where(within, ops.take_along_axis(tokens, order, axis=1), ops.full_like(tokens, self.pad_id))
        return tokens, ops.where(within, ops.take_along_axis(segments, order, axis=1), 0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="kerazoo")
class WordReplacement(TokenNoise):
    """Replaces tokens at random in training, by one token or by random tokens of the vocabulary.

    Tokens keep their positions, so it may also be applied to the inputs of a decoder.

    Args:
        rate: float in `[0, 1)`. Probability of replacing a token. Defaults to `0.1`.
        replacement_id: int or None. The token that replaces others; None samples from all tokens from `first_id` on.
            Defaults to `3`.
        vocabulary_size: int or None. Number of tokens V; needed with `replacement_id=None`. Defaults to `None`.
        first_id: int. Tokens below it are special and are not replaced. Defaults to `3`.
        pad_id: int. The padding token. Defaults to `0`.
        seed: int or None. Seed of the noise. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor `[B, T]`, token ids.
        training: bool. Whether to replace tokens.

    Returns:
        Token ids of the same dtype, `[B, T]`.

    Raises:
        ValueError: if `rate` is outside of [0, 1), or `replacement_id` is None and `vocabulary_size` is not above
            `first_id`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    tokens = np.array([[5, 6, 7, 8, 2]])
    noisy = np.array(kz.layers.WordReplacement(rate=0.5, seed=1)(tokens, training=True))
    assert ((noisy == tokens) | (noisy == 3)).all()
    ```

    Reference:
        Bowman, Vilnis, Vinyals, Dai, Jozefowicz and Bengio, 2016, Generating Sentences from a Continuous Space,
        arXiv:1511.06349 (inputs of a decoder);
        Xie, Wang, Li, Levy, Nie, Jurafsky and Ng, 2017, Data Noising as Smoothing in Neural Network Language Models,
        arXiv:1703.02573.
    """

    def __init__(
        self,
        rate: float = 0.1,
        replacement_id: int | None = 3,
        *,
        vocabulary_size: int | None = None,
        first_id: int = 3,
        pad_id: int = 0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(pad_id, seed, **kwargs)
        owner = "WordReplacement"
        self.rate = _checks.rate(owner, "rate", rate)
        self.first_id = _checks.non_negative_int(owner, "first_id", first_id)
        self.replacement_id = replacement_id
        self.vocabulary_size = vocabulary_size
        if replacement_id is not None:
            _checks.non_negative_int(owner, "replacement_id", replacement_id)
        elif vocabulary_size is None or vocabulary_size <= first_id:
            raise ValueError(
                f"{owner}: `vocabulary_size` must be above `first_id` to sample tokens; got "
                f"vocabulary_size={vocabulary_size}, first_id={first_id}."
            )

    def _apply(self, tokens: Any, segments: Any, seed: keras.random.SeedGenerator) -> tuple[Any, Any]:
        chosen = keras.random.uniform(ops.shape(tokens), seed=seed) < self.rate
        chosen = ops.logical_and(chosen, ops.logical_and(segments > 0, tokens >= self.first_id))
        if self.replacement_id is not None:
            new = ops.full_like(tokens, self.replacement_id)
        else:
            shape = ops.shape(tokens)
            new = ops.cast(keras.random.randint(shape, self.first_id, self.vocabulary_size, seed=seed), tokens.dtype)
        return ops.where(chosen, new, tokens), segments

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rate": self.rate,
            "replacement_id": self.replacement_id,
            "vocabulary_size": self.vocabulary_size,
            "first_id": self.first_id,
        }


@keras.saving.register_keras_serializable(package="kerazoo")
class WordPermutation(TokenNoise):
    """Permutes tokens at random in training, each by a few positions at most.

    Each position gets the key `position + u`, with u uniform between 0 and `distance + 1`, and the tokens are sorted
    by their keys.

    Args:
        distance: int, above 0. By how many positions a token may move. Defaults to `3`.
        pad_id: int. The padding token. Defaults to `0`.
        seed: int or None. Seed of the noise. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: int tensor `[B, T]`, token ids.
        training: bool. Whether to permute tokens.

    Returns:
        Token ids of the same dtype, `[B, T]`, with padding on the right.

    Raises:
        ValueError: if `distance` is not above 0.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    tokens = np.array([[5, 6, 7, 8, 0]])
    noisy = np.array(kz.layers.WordPermutation(distance=2, seed=1)(tokens, training=True))[0]
    assert sorted(noisy[:4]) == [5, 6, 7, 8] and noisy[4] == 0
    ```

    Reference:
        Lample, Conneau, Denoyer and Ranzato, 2018, Unsupervised Machine Translation Using Monolingual Corpora Only,
        arXiv:1711.00043.
    """

    def __init__(self, distance: int = 3, *, pad_id: int = 0, seed: int | None = None, **kwargs: Any):
        super().__init__(pad_id, seed, **kwargs)
        self.distance = _checks.positive_int("WordPermutation", "distance", distance)

    def _apply(self, tokens: Any, segments: Any, seed: keras.random.SeedGenerator) -> tuple[Any, Any]:
        length = ops.shape(tokens)[1]
        offsets = keras.random.uniform(ops.shape(tokens), 0.0, self.distance + 1.0, seed=seed)
        keys = ops.cast(ops.arange(length, dtype="int32"), "float32") + offsets
        # Keep the order of the sequences, and padding last: all keys of a sequence are below those of the next.
        sequence = ops.where(segments > 0, segments, length + 1)
        keys = keys + ops.cast(sequence * (length + self.distance + 1), "float32")
        return ops.take_along_axis(tokens, ops.argsort(keys, axis=1), axis=1), segments

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "distance": self.distance}
