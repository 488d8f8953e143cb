"""Text as Unicode characters."""

import numpy as np
import tensorflow as tf

from kerazoo import _checks
from kerazoo.text.tokenizer import SPECIALS, Tokenizer, fold

REPLACEMENT = "\ufffd"  # what Unicode shows for a character that is not known


class Characters(Tokenizer):
    """Text as Unicode characters of a vocabulary; exact for every text made of them.

    One character is one code point: a letter with a combining accent is two. A character outside the vocabulary becomes
    `unknown_id`, which is shown as U+FFFD.

    Args:
        vocabulary: String, or sequence of strings of one character each, in the order of their ids.
        case: `"lower"` or `"upper"` folds text first; None, the default, leaves it as it is.
        normalization: `"nfkc"` brings text into that normal form before; None, the default, leaves it as it is.

    Raises:
        ValueError: An entry is not one character, or is there twice.

    Example:

    ```python
    import kerazoo as kz

    tokens = kz.text.Characters.learn(["zoo", "né"])
    print(tokens.vocabulary, tokens.encode(["oz", "zé!"]))
    ```
    """

    name_in_table = "characters"

    def __init__(self, vocabulary, case=None, normalization=None):
        vocabulary = list(vocabulary)
        super().__init__(vocabulary, [REPLACEMENT, *vocabulary], case, normalization)
        for character in self.vocabulary:
            if len(character) != 1:
                raise ValueError(f"Characters: `vocabulary` must hold single characters; got {character!r}.")
        points = np.array([ord(character) for character in self.vocabulary], np.int32)
        order = np.argsort(points)
        # A sorted list is looked up as fast as a table and needs none, so there is nothing to initialise.
        self._sorted = tf.constant(points[order], tf.int32)
        self._ids_of_sorted = tf.constant(order + len(SPECIALS), tf.int32)

    @classmethod
    def learn(cls, strings, size=None, case=None, normalization=None):
        """Returns the tokenizer of the characters in `strings`, the most frequent first.

        Args:
            strings: Iterable of strings.
            size: Most ids, the four special ones included; no bound by default.
            case: As above.
            normalization: As above.
        """
        joined = "".join(fold(list(strings), case, normalization))
        points, counts = np.unique(np.frombuffer(joined.encode("utf-32-le"), np.uint32), return_counts=True)
        most = points[np.argsort(-counts, kind="stable")]
        if size is not None:
            most = most[: _checks.positive_int("Characters.learn", "size", size - len(SPECIALS))]
        return cls([chr(point) for point in most], case, normalization)

    @classmethod
    def from_config(cls, config):
        """Returns the tokenizer that `config` describes."""
        return cls(config["vocabulary"], config["case"], config.get("normalization"))

    @staticmethod
    def split(text):
        """Returns the tokens of one string, as error rates count them."""
        return list(text)

    def _ids(self, strings):
        points = tf.strings.unicode_decode(strings, "UTF-8")
        if not self.vocabulary:
            return tf.ones_like(points) * self.unknown_id
        flat = points.flat_values
        place = tf.minimum(tf.searchsorted(self._sorted, flat), tf.size(self._sorted) - 1)
        known = tf.gather(self._sorted, place) == flat
        return points.with_flat_values(tf.where(known, tf.gather(self._ids_of_sorted, place), self.unknown_id))
