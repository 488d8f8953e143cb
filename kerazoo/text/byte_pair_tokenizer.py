"""BytePairTokenizer: text as subwords that byte-pair encoding merges from bytes."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from kerazoo import _checks
from kerazoo.text.merges import ALPHABET, BytePairMerges, fit_merges
from kerazoo.text.pre_tokenization import split_bytes, split_words
from kerazoo.text.rows import keep_values
from kerazoo.text.tokenizer import SPECIAL_TOKENS, Tokenizer, max_tokens, standardize
from kerazoo.text.word_tokenizer import WordTokenizer


class BytePairTokenizer(Tokenizer):
    """Tokenizes text into subwords: a frequent word is one token, a rare one several, and none is unknown.

    Byte-pair encoding over the bytes of UTF-8. Text is split into words with the blank before them, numbers, signs and
    white space. Within each of these the merges join bytes to longer and longer subwords. The merges are fitted with
    the library `tokenizers`; tokenizing needs TensorFlow alone and gives the same ids as the library, except beside
    characters that are newer than the Unicode tables of TensorFlow (5,055 code points with TensorFlow 2.21): such a
    letter counts as a sign, and the text is split before it. The ids of this class agree with each other in training,
    prediction and export; do not mix them with ids that the library gave for such text.

    `detokenize(tokenize(text))` equals `text` for every text in UTF-8. With `case` or `normalization` it equals the
    standardized text. Bytes that are not UTF-8 are read as U+FFFD.

    Args:
        merges: sequence of strings `"LEFT RIGHT"` in the order in which they are applied. Each side is a byte or the
            result of an earlier merge, written in the alphabet of `BytePairTokenizer.alphabet`. Byte `b` has the id
            `b + 4`, then each merge that gives a new subword has the next id.
        case: string. `"lower"` or `"upper"` changes the case of the text first, `None` keeps it. Defaults to `None`.
        normalization: string. `"nfkc"` brings the text into that normal form first, `None` keeps it. Defaults to
            `None`.

    Raises:
        ValueError: if a merge joins subwords that do not exist, or is there twice.

    Example:

    ```python
    import kerazoo as kz

    tokenizer = kz.text.BytePairTokenizer(["z o", "zo o", "Ġ zoo"])  # Ġ is the blank
    ids = tokenizer.encode(["zoo zoo!", "né"])  # [[261, 262, 37], [114, 199, 173]]
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == ["zoo zoo!", "né"]
    ```

    Reference:
        - Sennrich, Haddow and Birch (2016), Neural Machine Translation of Rare Words with Subword Units,
          arXiv:1508.07909.
        - Provilkov, Emelianenko and Voita (2020), BPE-Dropout: Simple and Effective Subword Regularization,
          arXiv:1910.13267.
    """

    alphabet = ALPHABET  # the character that stands for each byte in `merges` and `vocabulary`

    def __init__(self, merges: Iterable[str], *, case: str | None = None, normalization: str | None = None):
        merges = list(merges)
        vocabulary, pairs, merged = _subwords(merges)
        byte = {character: value for value, character in enumerate(self.alphabet)}
        token_bytes = [bytes(byte[character] for character in subword) for subword in vocabulary]
        super().__init__(vocabulary, ["", *token_bytes], case=case, normalization=normalization)
        self._merges = "\n".join(merges)  # one string, since tf.Module would track every entry of a list
        self._apply_merges = BytePairMerges(pairs, merged, self.vocabulary_size)

    @classmethod
    def fit(
        cls,
        strings: Iterable[str],
        vocabulary_size: int | None = 8000,
        *,
        case: str | None = None,
        normalization: str | None = None,
    ) -> Self:
        """Returns the tokenizer of the subwords that byte-pair encoding finds in text.

        Args:
            strings: iterable of strings. The text.
            vocabulary_size: integer above 260. Maximum number of ids, with the four special ones and the 256 bytes.
                Defaults to `8000`.
            case: string. `"lower"`, `"upper"` or `None`. Defaults to `None`.
            normalization: string. `"nfkc"` or `None`. Defaults to `None`.

        Raises:
            ValueError: if `vocabulary_size` is too small.
            SetupError: if the package `tokenizers` is not installed.
        """
        size = 8000 if vocabulary_size is None else vocabulary_size
        count = max_tokens(f"{cls.__name__}.fit", size, len(SPECIAL_TOKENS) + len(ALPHABET))
        merges = fit_merges(standardize(list(strings), case, normalization), count)
        return cls(merges, case=case, normalization=normalization)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the tokenizer that `get_config` describes."""
        return cls(config["merges"], case=config["case"], normalization=config.get("normalization"))

    def get_config(self) -> dict[str, Any]:
        """Returns everything that determines the tokenizer, as plain values."""
        config = super().get_config()
        del config["vocabulary"]  # follows from the merges
        return {**config, "merges": self._merges.split("\n") if self._merges else []}

    @staticmethod
    def split(text: str) -> list[str]:
        """Returns the words of one string, over which error rates are computed; they do not depend on the merges."""
        return WordTokenizer.split(text)

    def tokenize_with_dropout(self, strings, dropout: float, seed: int | Sequence[int]) -> tf.RaggedTensor:
        """Returns the ids of strings with merges dropped at random (BPE-dropout), for use in training.

        Args:
            strings: string tensor `[B]` or list of strings.
            dropout: float in `[0, 1)`. Probability that a merge is dropped; 0 gives the ids of `tokenize`.
            seed: non-negative integer or a sequence of them, such as `(seed, epoch)`. Equal seeds give equal ids.

        Returns:
            int32 ragged tensor `[B, (T)]`.

        Raises:
            ValueError: if `dropout` is not in `[0, 1)`.
        """
        _checks.rate(f"{type(self).__name__}.tokenize_with_dropout", "dropout", dropout)
        state = np.random.SeedSequence(seed).generate_state(2).view(np.int32)
        rate = tf.constant(dropout, tf.float32)
        return self._tokenize_with_dropout(tf.convert_to_tensor(strings, tf.string), rate, state)

    def _ids(self, strings):
        words, index, counts = split_words(strings)
        raw, starts, lengths = split_bytes(words)
        merged = self._apply_merges(tf.cast(raw, tf.int32) + len(SPECIAL_TOKENS), starts)  # each distinct word once
        words = tf.RaggedTensor.from_row_lengths(merged, lengths, validate=False)
        words = keep_values(words, words.flat_values >= 0)
        return _joined(tf.gather(words, index), counts)

    @functools.cached_property
    def _tokenize_with_dropout(self) -> Any:
        inputs = [tf.TensorSpec([None], tf.string), tf.TensorSpec([], tf.float32), tf.TensorSpec([2], tf.int32)]
        return tf.function(self._ids_with_dropout, inputs, autograph=False)

    def _ids_with_dropout(self, strings, dropout, seed):
        words, index, counts = split_words(self._standardized(strings))
        raw, starts, lengths = split_bytes(words)
        raw, starts = (
            tf.gather(tf.RaggedTensor.from_row_lengths(values, lengths, validate=False), index)
            for values in (raw, starts)
        )
        ids = tf.cast(raw.flat_values, tf.int32) + len(SPECIAL_TOKENS)
        merged = self._apply_merges(ids, starts.flat_values, dropout, seed)
        merged = _joined(raw.with_flat_values(merged), counts)
        return keep_values(merged, merged.flat_values >= 0)


def _joined(words, counts):
    """Returns rows of `counts` words each from `words`, which has one word in a row."""
    ends = tf.concat([[0], tf.cumsum(counts)], 0)
    return tf.RaggedTensor.from_row_splits(words.flat_values, tf.gather(words.row_splits, ends), validate=False)


def _subwords(merges):
    """Returns the subwords, and for each merge its pair of ids and the id of its result."""
    ids = {character: len(SPECIAL_TOKENS) + value for value, character in enumerate(ALPHABET)}
    pairs, merged = {}, []
    for index, merge in enumerate(merges):
        left, _, right = merge.partition(" ") if isinstance(merge, str) else ("", "", "")
        if left not in ids or right not in ids:
            raise ValueError(f"BytePairTokenizer: `merges[{index}]` must join two existing subwords; got {merge!r}.")
        if (ids[left], ids[right]) in pairs:
            raise ValueError(f"BytePairTokenizer: `merges` must not have a merge twice; got {merge!r} again.")
        merged.append(ids.setdefault(left + right, len(SPECIAL_TOKENS) + len(ids)))
        pairs[ids[left], ids[right]] = index
    return list(ids), list(pairs), merged
