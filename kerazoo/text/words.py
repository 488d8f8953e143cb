"""Text as words between white space."""

import collections

import tensorflow as tf

from kerazoo import _checks
from kerazoo.text.tokenizer import SPECIALS, Tokenizer, fold


class Words(Tokenizer):
    """Text as words of a vocabulary, split at white space; exact up to the white space.

    Every run of ASCII white space separates two words and comes back as one blank. A word outside the vocabulary
    becomes `unknown_id`, which is shown as `<unknown>`. The phones of a pronunciation are such words.

    Args:
        vocabulary: Sequence of distinct words in the order of their ids, none of them with white space.
        case: `"lower"` or `"upper"` folds text first; None, the default, leaves it as it is.
        normalization: `"nfkc"` brings text into that normal form before; None, the default, leaves it as it is.

    Raises:
        ValueError: A word is empty, has white space or is there twice.

    Example:

    ```python
    import kerazoo as kz

    tokens = kz.text.Words.learn(["K EH R AH", "Z UW"])
    print(tokens.encode(["Z UW", "K AH"]), tokens.split("Z UW"))
    ```
    """

    name_in_table = "words"

    def __init__(self, vocabulary, case=None, normalization=None):
        vocabulary = list(vocabulary)
        written = [f" {word}" for word in (SPECIALS[self.unknown_id], *vocabulary)]
        super().__init__(vocabulary, written, case, normalization)
        for word in self.vocabulary:
            if self.split(word) != [word]:
                raise ValueError(f"Words: `vocabulary` must hold words without white space; got {word!r}.")
        # "<pad>" in a text is no padding: the special words can be read but not written.
        # The blank, which no split yields, is there because a table must not be empty.
        ids = [self.unknown_id, *range(len(SPECIALS), self.vocabulary_size)]
        table = tf.lookup.KeyValueTensorInitializer(tf.constant([" ", *self.vocabulary]), tf.constant(ids, tf.int32))
        self._table = tf.lookup.StaticHashTable(table, default_value=self.unknown_id)

    @classmethod
    def learn(cls, strings, size=None, case=None, normalization=None):
        """Returns the tokenizer of the words in `strings`, the most frequent first, equals in alphabetical order.

        Args:
            strings: Iterable of strings.
            size: Most ids, the four special ones included; no bound by default.
            case: As above.
            normalization: As above.
        """
        counts = collections.Counter()
        for text in fold(list(strings), case, normalization):
            counts.update(cls.split(text))
        most = sorted(counts, key=lambda word: (-counts[word], word))
        if size is not None:
            most = most[: _checks.positive_int("Words.learn", "size", size - len(SPECIALS))]
        return cls(most, case, normalization)

    @classmethod
    def from_config(cls, config):
        """Returns the tokenizer that `config` describes."""
        return cls(config["vocabulary"], config["case"], config.get("normalization"))

    @staticmethod
    def split(text):
        """Returns the tokens of one string, as error rates count them."""
        return [word.decode() for word in text.encode().split()]  # ASCII white space alone, as TensorFlow splits

    def _ids(self, strings):
        words = tf.strings.split(strings)
        return words.with_flat_values(self._table.lookup(words.flat_values))

    def detokenize(self, ids):
        """Returns the strings `[B]` of int ids `[B, T]`: words with one blank between them, up to `end_id`."""
        return tf.strings.strip(super().detokenize(ids))  # every word brings the blank before it
