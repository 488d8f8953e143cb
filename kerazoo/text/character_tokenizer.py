"""CharacterTokenizer: text as Unicode characters of a vocabulary."""

from collections.abc import Iterable
from typing import Self

import numpy as np
import tensorflow as tf

from kerazoo.text.tokenizer import SPECIAL_TOKENS, Tokenizer, max_tokens, standardize

REPLACEMENT = "\ufffd"  # Unicode's character for an unknown one


class CharacterTokenizer(Tokenizer):
    """Tokenizes text into Unicode characters.

    A character is one code point, so a letter with a combining accent is two. Text made of the vocabulary is reproduced
    exactly. A character outside the vocabulary becomes `unknown_id`, whose text is U+FFFD.

    Args:
        vocabulary: string, or sequence of strings of one character each. The characters in the order of their ids.
        case: string. `"lower"` or `"upper"` changes the case of the text first, `None` keeps it. Defaults to `None`.
        normalization: string. `"nfkc"` brings the text into that normal form first, `None` keeps it. Defaults to
            `None`.

    Raises:
        ValueError: if an entry is not one character, or is there twice.

    Example:

    ```python
    import kerazoo as kz

    tokenizer = kz.text.CharacterTokenizer.fit(["zoo", "né"])
    print(tokenizer.vocabulary, tokenizer.encode(["oz", "zé!"]))
    ```
    """

    def __init__(self, vocabulary: Iterable[str], *, case: str | None = None, normalization: str | None = None):
        vocabulary = list(vocabulary)
        super().__init__(vocabulary, [REPLACEMENT, *vocabulary], case=case, normalization=normalization)
        for character in self.vocabulary:
            if len(character) != 1:
                raise ValueError(
                    f"CharacterTokenizer: `vocabulary` must be a sequence of single characters; got {character!r}."
                )
        points = np.array([ord(character) for character in self.vocabulary], np.int32)
        order = np.argsort(points)
        # Binary search in a sorted constant is as fast as a lookup table, and needs no initialisation.
        self._sorted = tf.constant(points[order], tf.int32)
        self._ids_of_sorted = tf.constant(order + len(SPECIAL_TOKENS), tf.int32)

    @classmethod
    def fit(
        cls,
        strings: Iterable[str],
        vocabulary_size: int | None = None,
        *,
        case: str | None = None,
        normalization: str | None = None,
    ) -> Self:
        """Returns the tokenizer of the characters in text, the most frequent first.

        Args:
            strings: iterable of strings. The text.
            vocabulary_size: integer above 4. Maximum number of ids, with the four special ones; `None` for no limit.
                Defaults to `None`.
            case: string. `"lower"`, `"upper"` or `None`. Defaults to `None`.
            normalization: string. `"nfkc"` or `None`. Defaults to `None`.

        Raises:
            ValueError: if `vocabulary_size` is too small.
        """
        joined = "".join(standardize(list(strings), case, normalization))
        points, counts = np.unique(np.frombuffer(joined.encode("utf-32-le"), np.uint32), return_counts=True)
        points = points[np.argsort(-counts, kind="stable")]
        if vocabulary_size is not None:
            points = points[: max_tokens(f"{cls.__name__}.fit", vocabulary_size)]
        return cls([chr(point) for point in points], case=case, normalization=normalization)

    @staticmethod
    def split(text: str) -> list[str]:
        """Returns the characters of one string, over which error rates are computed."""
        return list(text)

    def _ids(self, strings):
        points = tf.strings.unicode_decode(strings, "UTF-8")
        if not self.vocabulary:
            return tf.ones_like(points) * self.unknown_id
        flat = points.flat_values
        index = tf.minimum(tf.searchsorted(self._sorted, flat), tf.size(self._sorted) - 1)
        found = tf.gather(self._sorted, index) == flat
        return points.with_flat_values(tf.where(found, tf.gather(self._ids_of_sorted, index), self.unknown_id))
