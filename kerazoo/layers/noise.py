"""Noise for sequences of tokens: some are left out, replaced, or change places, in training only."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.sequences import segment_mask


class TokenNoise(keras.layers.Layer):
    """What the layers of noise have in common: nothing happens in inference; a subclass gives `transform`."""

    def __init__(self, pad_id: int = 0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.pad_id = _checks.non_negative_int(type(self).__name__, "pad_id", pad_id)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        return self.transform(inputs, self.seed_generator)[0] if training else inputs

    def transform(self, tokens, seed, segments=None):
        """Returns the noisy tokens and their segments, whatever the mode.

        Args:
            tokens: Tokens, integer [B, T].
            seed: A `keras.random.SeedGenerator`.
            segments: Where several sequences share a row, the number of each position's sequence from 1, integers
                [B, T], 0 for padding; else None.
        """
        if segments is None:
            segments = ops.cast(ops.not_equal(tokens, self.pad_id), "int32")
        return self._noisy(ops.convert_to_tensor(tokens), ops.cast(segments, "int32"), seed)

    def get_config(self):
        return {**super().get_config(), "pad_id": self.pad_id, "seed": self.seed}


@keras.saving.register_keras_serializable(package="kerazoo")
class WordDropout(TokenNoise):
    """Leaves out tokens at random in training; those behind them close the gap.

    A sequence that would lose all its tokens keeps them all.

    Args:
        rate: How probable it is that a token is left out, in [0, 1).
        pad_id: The token that fills up short rows. Default 0.
        seed: Seed of the draws, or None (default).
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Tokens, integer [B, T].
        training: Whether to leave anything out.

    Returns:
        Tokens of the same dtype, [B, T], padded anew.

    Raises:
        ValueError: when `rate` lies outside [0, 1).

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    tokens = np.array([[5, 6, 7, 8, 0]])
    noisy = np.array(kz.layers.WordDropout(rate=0.5, seed=1)(tokens, training=True))[0]
    assert [token for token in noisy if token] == [token for token in tokens[0] if token in noisy and token]
    ```

    Reference:
        Iyyer, Manjunatha, Boyd-Graber, Daume III (2015), Deep Unordered Composition Rivals Syntactic Methods for Text
        Classification, ACL; Lample, Conneau, Denoyer, Ranzato (2018), Unsupervised Machine Translation Using
        Monolingual Corpora Only, arXiv:1711.00043 (as noise of a source).
    """

    def __init__(self, rate: float = 0.1, pad_id: int = 0, seed=None, **kwargs):
        super().__init__(pad_id, seed, **kwargs)
        self.rate = _checks.rate("WordDropout", "rate", rate)

    def _noisy(self, tokens, segments, seed):
        real = segments > 0
        kept = ops.logical_and(real, keras.random.uniform(ops.shape(tokens), seed=seed) >= self.rate)
        any_kept = ops.any(ops.logical_and(segment_mask(segments), kept[:, None, :]), axis=2)  # in the same sequence
        kept = ops.logical_or(kept, ops.logical_and(real, ops.logical_not(any_kept)))
        places = ops.arange(ops.shape(tokens)[1], dtype="int32")
        order = ops.argsort(ops.where(kept, places, places + ops.shape(tokens)[1]), axis=1)
        within = places < ops.sum(ops.cast(kept, "int32"), axis=1, keepdims=True)
        tokens = ops.where(within, ops.take_along_axis(tokens, order, axis=1), ops.full_like(tokens, self.pad_id))
        return tokens, ops.where(within, ops.take_along_axis(segments, order, axis=1), 0)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="kerazoo")
class WordReplacement(TokenNoise):
    """Replaces tokens at random in training, by one token or by any token of the vocabulary.

    Every position stays where it is, so it may also be applied to what a decoder reads.

    Args:
        rate: How probable it is that a token is replaced, in [0, 1).
        replacement_id: The token that replaces; None draws from all tokens from `first_id` on. Default 3.
        vocabulary_size: Number of tokens V, needed where they are drawn.
        first_id: Tokens below it are special and stay as they are. Default 3.
        pad_id: The token that fills up short rows. Default 0.
        seed: Seed of the draws, or None (default).
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Tokens, integer [B, T].
        training: Whether to replace anything.

    Returns:
        Tokens of the same dtype, [B, T].

    Raises:
        ValueError: when `rate` lies outside [0, 1), or tokens are to be drawn and `vocabulary_size` does not tell from
            how many.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    tokens = np.array([[5, 6, 7, 8, 2]])
    noisy = np.array(kz.layers.WordReplacement(rate=0.5, seed=1)(tokens, training=True))
    assert ((noisy == tokens) | (noisy == 3)).all()
    ```

    Reference:
        Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio (2016), Generating Sentences from a Continuous Space,
        arXiv:1511.06349 (what a decoder reads); Xie, Wang, Li, Levy, Nie, Jurafsky, Ng (2017), Data Noising as
        Smoothing in Neural Network Language Models, arXiv:1703.02573.
    """

    def __init__(
        self,
        rate: float = 0.1,
        replacement_id: int | None = 3,
        vocabulary_size: int | None = None,
        first_id: int = 3,
        pad_id: int = 0,
        seed=None,
        **kwargs,
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
                f"{owner}: `vocabulary_size` must be above `first_id` to draw tokens; got "
                f"vocabulary_size={vocabulary_size}, first_id={first_id}."
            )

    def _noisy(self, tokens, segments, seed):
        chosen = keras.random.uniform(ops.shape(tokens), seed=seed) < self.rate
        chosen = ops.logical_and(chosen, ops.logical_and(segments > 0, tokens >= self.first_id))
        if self.replacement_id is not None:
            new = ops.full_like(tokens, self.replacement_id)
        else:
            shape = ops.shape(tokens)
            new = ops.cast(keras.random.randint(shape, self.first_id, self.vocabulary_size, seed=seed), tokens.dtype)
        return ops.where(chosen, new, tokens), segments

    def get_config(self):
        return {
            **super().get_config(),
            "rate": self.rate,
            "replacement_id": self.replacement_id,
            "vocabulary_size": self.vocabulary_size,
            "first_id": self.first_id,
        }


@keras.saving.register_keras_serializable(package="kerazoo")
class WordPermutation(TokenNoise):
    """Lets tokens change places at random in training, none by more than a few positions.

    Each position gets the key `position + u`, u even between 0 and `distance + 1`, and the tokens are sorted by it.

    Args:
        distance: By how many positions a token may move at most, above 0. Default 3.
        pad_id: The token that fills up short rows. Default 0.
        seed: Seed of the draws, or None (default).
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Tokens, integer [B, T].
        training: Whether to move anything.

    Returns:
        Tokens of the same dtype, [B, T]; padding stays behind them.

    Raises:
        ValueError: when `distance` is not above 0.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    tokens = np.array([[5, 6, 7, 8, 0]])
    noisy = np.array(kz.layers.WordPermutation(distance=2, seed=1)(tokens, training=True))[0]
    assert sorted(noisy[:4]) == [5, 6, 7, 8] and noisy[4] == 0
    ```

    Reference:
        Lample, Conneau, Denoyer, Ranzato (2018), Unsupervised Machine Translation Using Monolingual Corpora Only,
        arXiv:1711.00043.
    """

    def __init__(self, distance: int = 3, pad_id: int = 0, seed=None, **kwargs):
        super().__init__(pad_id, seed, **kwargs)
        self.distance = _checks.positive_int("WordPermutation", "distance", distance)

    def _noisy(self, tokens, segments, seed):
        length = ops.shape(tokens)[1]
        drawn = keras.random.uniform(ops.shape(tokens), 0.0, self.distance + 1.0, seed=seed)
        keys = ops.cast(ops.arange(length, dtype="int32"), "float32") + drawn
        # Sequences stay one behind the other, and padding stays last: all keys of one lie below all of the next.
        sequence = ops.where(segments > 0, segments, length + 1)
        keys = keys + ops.cast(sequence * (length + self.distance + 1), "float32")
        return ops.take_along_axis(tokens, ops.argsort(keys, axis=1), axis=1), segments

    def get_config(self):
        return {**super().get_config(), "distance": self.distance}
