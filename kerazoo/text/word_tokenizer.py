"""WordTokenizer: text as words between white space."""

import collections
import json
from collections.abc import Iterable
from typing import Any, Self

import tensorflow as tf

from kerazoo.text.rows import keep_values
from kerazoo.text.tokenizer import SPECIAL_TOKENS, Tokenizer, max_tokens, standardize

TEXTS_AT_ONCE = 8192  # whose words are counted at once, which bounds the memory
_STOP = -1  # what the table of ids gives for a stop word


class WordTokenizer(Tokenizer):
    """Tokenizes text into the words between ASCII white space.

    Text made of the vocabulary is reproduced up to its white space, which becomes one blank between two words. A word
    outside the vocabulary becomes `unknown_id`, whose text is `<unknown>`. Stop words are left out of every text. A
    word includes the punctuation at its ends; see `WordAndPunctuationTokenizer` for words without it.

    Args:
        vocabulary: sequence of strings. The distinct words in the order of their ids, without white space.
        stop_words: sequence of strings. Words that get no id, in any case and normal form that text is brought into.
            Defaults to none.
        case: string. `"lower"` or `"upper"` changes the case of the text first, `None` keeps it. Defaults to `None`.
        normalization: string. `"nfkc"` brings the text into that normal form first, `None` keeps it. Defaults to
            `None`.

    Raises:
        ValueError: if a word is empty, has white space or is there twice, or a stop word is in the vocabulary.

    Example:

    ```python
    import kerazoo as kz

    tokenizer = kz.text.WordTokenizer.fit(["K EH R AH", "Z UW"])
    print(tokenizer.encode(["Z UW", "K AH"]), tokenizer.split("Z UW"))
    ```
    """

    entries = "words without white space"  # what a vocabulary holds, in errors

    def __init__(
        self,
        vocabulary: Iterable[str],
        *,
        stop_words: Iterable[str] = (),
        case: str | None = None,
        normalization: str | None = None,
    ):
        vocabulary = list(vocabulary)
        token_bytes = [f" {SPECIAL_TOKENS[self.unknown_id]}", *(self._text(str(word)) for word in vocabulary)]
        super().__init__(vocabulary, token_bytes, case=case, normalization=normalization)
        self._check_entries("vocabulary", vocabulary)
        stop_words = self._standardized_stop_words(stop_words, case, normalization)
        self._stop_words = json.dumps(stop_words, ensure_ascii=False)
        stopped = [form for word in stop_words for form in self._forms(word)]
        for word in stopped:
            if word in vocabulary:
                raise ValueError(
                    f"{type(self).__name__}: `stop_words` must not be in `vocabulary`; got {word!r} in both."
                )
        # The special words are not in the table: "<pad>" in a text is an unknown word and not padding.
        # The blank, which no split gives, is there because a table must not be empty.
        ids = [self.unknown_id, *range(len(SPECIAL_TOKENS), self.vocabulary_size), *[_STOP] * len(stopped)]
        words = tf.constant([" ", *self.vocabulary, *stopped])
        table = tf.lookup.KeyValueTensorInitializer(words, tf.constant(ids, tf.int32))
        self._table = tf.lookup.StaticHashTable(table, default_value=self.unknown_id)

    @classmethod
    def fit(
        cls,
        strings: Iterable[str],
        vocabulary_size: int | None = None,
        *,
        stop_words: Iterable[str] = (),
        case: str | None = None,
        normalization: str | None = None,
    ) -> Self:
        """Returns the tokenizer of the words in text, the most frequent first, equally frequent ones sorted.

        Args:
            strings: iterable of strings. The text.
            vocabulary_size: integer above 4. Maximum number of ids, with the four special ones; `None` for no limit.
                Defaults to `None`.
            stop_words: sequence of strings. Words that are left out. Defaults to none.
            case: string. `"lower"`, `"upper"` or `None`. Defaults to `None`.
            normalization: string. `"nfkc"` or `None`. Defaults to `None`.

        Raises:
            ValueError: if `vocabulary_size` is too small.
        """
        stop_words = cls._standardized_stop_words(stop_words, case, normalization)
        counts = collections.Counter()
        texts = standardize(list(strings), case, normalization)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            found = tf.unique_with_counts(cls._words(tf.constant(texts[start : start + TEXTS_AT_ONCE])).flat_values)
            counts.update({word.decode(): count for word, count in zip(found.y.numpy(), found.count.numpy().tolist())})
        for word in stop_words:
            for form in cls._forms(word):
                counts.pop(form, None)
        words = sorted(counts, key=lambda word: (-counts[word], word))
        if vocabulary_size is not None:
            words = words[: max_tokens(f"{cls.__name__}.fit", vocabulary_size)]
        return cls(words, stop_words=stop_words, case=case, normalization=normalization)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the tokenizer that `get_config` describes."""
        options = {"case": config["case"], "normalization": config.get("normalization")}
        return cls(config["vocabulary"], stop_words=config.get("stop_words", ()), **options)

    def get_config(self) -> dict[str, Any]:
        """Returns everything that determines the tokenizer, as plain values."""
        return {**super().get_config(), **({"stop_words": self.stop_words} if self.stop_words else {})}

    @property
    def stop_words(self) -> list[str]:
        """The sorted words that get no id, in the case and normal form that text is brought into."""
        return json.loads(self._stop_words)

    @staticmethod
    def split(text: str) -> list[str]:
        """Returns the words of one string, over which error rates are computed."""
        return [word.decode() for word in text.encode().split()]  # at ASCII white space, as TensorFlow splits

    @staticmethod
    def _words(strings):
        """Returns the tokens of strings as a ragged tensor."""
        return tf.strings.split(strings)

    @staticmethod
    def _is_entry(word):
        """Returns whether a string is a token that a text may have."""
        return WordTokenizer.split(word) == [word]

    @staticmethod
    def _text(word):
        """Returns the text of a token."""
        return f" {word}"

    @staticmethod
    def _forms(word):
        """Returns the tokens that a stop word may be."""
        return [word]

    @classmethod
    def _standardized_stop_words(cls, words, case, normalization):
        """Returns the sorted stop words in the case and normal form of the text that they are left out of."""
        if isinstance(words, str):
            raise TypeError(f"{cls.__name__}: `stop_words` must be a sequence of words; got the string {words!r}.")
        words = list(words)
        cls._check_entries("stop_words", words)
        return sorted(set(standardize(words, case, normalization)))

    @classmethod
    def _check_entries(cls, name, words):
        for word in words:
            if not isinstance(word, str) or not cls._is_entry(word):
                raise ValueError(f"{cls.__name__}: `{name}` must hold {cls.entries}; got {word!r}.")

    def _ids(self, strings):
        words = self._words(strings)
        ids = words.with_flat_values(self._table.lookup(words.flat_values))
        return keep_values(ids, ids.flat_values != _STOP) if self.stop_words else ids

    def detokenize(self, ids) -> tf.Tensor:
        """Returns the words of ids up to the first `end_id`, with one blank between two words.

        Args:
            ids: integer tensor `[B, T]`, dense or ragged. An id above the vocabulary counts as `unknown_id`.

        Returns:
            string tensor `[B]`.
        """
        return tf.strings.strip(super().detokenize(ids))  # the text of every word begins with a blank
