"""WordTokenizer: text as words between white space."""

import collections
from collections.abc import Iterable
from typing import Self

import tensorflow as tf

from kerazoo.text.tokenizer import SPECIAL_TOKENS, Tokenizer, max_tokens, standardize


class WordTokenizer(Tokenizer):
    """Tokenizes text into the words between ASCII white space.

    Text made of the vocabulary is reproduced up to its white space, which becomes one blank between two words. A word
    outside the vocabulary becomes `unknown_id`, whose text is `<unknown>`.

    Args:
        vocabulary: sequence of strings. The distinct words in the order of their ids, without white space.
        case: string. `"lower"` or `"upper"` changes the case of the text first, `None` keeps it. Defaults to `None`.
        normalization: string. `"nfkc"` brings the text into that normal form first, `None` keeps it. Defaults to
            `None`.

    Raises:
        ValueError: if a word is empty, has white space or is there twice.

    Example:

    ```python
    import kerazoo as kz

    tokenizer = kz.text.WordTokenizer.fit(["K EH R AH", "Z UW"])
    print(tokenizer.encode(["Z UW", "K AH"]), tokenizer.split("Z UW"))
    ```
    """

    def __init__(self, vocabulary: Iterable[str], *, case: str | None = None, normalization: str | None = None):
        vocabulary = list(vocabulary)
        token_bytes = [f" {word}" for word in (SPECIAL_TOKENS[self.unknown_id], *vocabulary)]
        super().__init__(vocabulary, token_bytes, case=case, normalization=normalization)
        for word in self.vocabulary:
            if self.split(word) != [word]:
                raise ValueError(f"WordTokenizer: `vocabulary` must hold words without white space; got {word!r}.")
        # The special words are not in the table: "<pad>" in a text is an unknown word and not padding.
        # The blank, which no split gives, is there because a table must not be empty.
        ids = [self.unknown_id, *range(len(SPECIAL_TOKENS), self.vocabulary_size)]
        table = tf.lookup.KeyValueTensorInitializer(tf.constant([" ", *self.vocabulary]), tf.constant(ids, tf.int32))
        self._table = tf.lookup.StaticHashTable(table, default_value=self.unknown_id)

    @classmethod
    def fit(
        cls,
        strings: Iterable[str],
        vocabulary_size: int | None = None,
        *,
        case: str | None = None,
        normalization: str | None = None,
    ) -> Self:
        """Returns the tokenizer of the words in text, the most frequent first, equally frequent ones sorted.

        Args:
            strings: iterable of strings. The text.
            vocabulary_size: integer above 4. Maximum number of ids, with the four special ones; `None` for no limit.
                Defaults to `None`.
            case: string. `"lower"`, `"upper"` or `None`. Defaults to `None`.
            normalization: string. `"nfkc"` or `None`. Defaults to `None`.

        Raises:
            ValueError: if `vocabulary_size` is too small.
        """
        counts = collections.Counter()
        for text in standardize(list(strings), case, normalization):
            counts.update(cls.split(text))
        words = sorted(counts, key=lambda word: (-counts[word], word))
        if vocabulary_size is not None:
            words = words[: max_tokens(f"{cls.__name__}.fit", vocabulary_size)]
        return cls(words, case=case, normalization=normalization)

    @staticmethod
    def split(text: str) -> list[str]:
        """Returns the words of one string, over which error rates are computed."""
        return [word.decode() for word in text.encode().split()]  # at ASCII white space, as TensorFlow splits

    def _ids(self, strings):
        words = tf.strings.split(strings)
        return words.with_flat_values(self._table.lookup(words.flat_values))

    def detokenize(self, ids) -> tf.Tensor:
        """Returns the words of ids up to the first `end_id`, with one blank between two words.

        Args:
            ids: integer tensor `[B, T]`, dense or ragged. An id above the vocabulary counts as `unknown_id`.

        Returns:
            string tensor `[B]`.
        """
        return tf.strings.strip(super().detokenize(ids))  # the text of every word begins with a blank
