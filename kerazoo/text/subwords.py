"""Text as subwords that were learnt from data, down to single bytes."""

import functools

import numpy as np
import tensorflow as tf

from kerazoo import _checks
from kerazoo.text import learning, pieces
from kerazoo.text.merges import Merges
from kerazoo.text.tokenizer import SPECIALS, Tokenizer, fold
from kerazoo.text.words import Words

BYTES = 256


class Subwords(Tokenizer):
    """Text as subwords: frequent words are one token, rare ones several, and nothing is unknown.

    Byte-pair encoding over the bytes of UTF-8. Text is cut into words with the blank before them, numbers, signs and
    white space; in each of these pieces the learnt merges join bytes to longer and longer subwords. The vocabulary is
    learnt with the library `tokenizers`; encoding needs TensorFlow alone and gives the library's own result.

    `detokenize(tokenize(text))` is `text` exactly, for every text in UTF-8: any script, emoji, blanks at any place and
    in any number. With `case` or `normalization` it is the folded text. Bytes that are no UTF-8 are read as U+FFFD.

    Args:
        merges: Sequence of strings `"LEFT RIGHT"` in the order in which they were learnt. Each side is a byte or the
            result of an earlier merge, written in the alphabet of `Subwords.alphabet`. Byte `b` has the id `b + 4`,
            then each merge that gives a new subword has the next id.
        case: `"lower"` or `"upper"` folds text first; None, the default, leaves it as it is.
        normalization: `"nfkc"` brings text into that normal form before; None, the default, leaves it as it is.

    Raises:
        ValueError: A merge joins what is not there yet, or is there twice.

    Example:

    ```python
    import kerazoo as kz

    tokens = kz.text.Subwords(["z o", "zo o", "Ġ zoo"])  # Ġ is the blank
    ids = tokens.encode(["zoo zoo!", "né"])  # [[261, 262, 37], [114, 199, 173]]
    assert [text.decode() for text in tokens.detokenize(ids).numpy()] == ["zoo zoo!", "né"]
    ```

    Reference:
        Sennrich, Haddow and Birch (2016), Neural Machine Translation of Rare Words with Subword Units,
        arXiv:1508.07909; Provilkov, Emelianenko and Voita (2020), BPE-Dropout: Simple and Effective Subword
        Regularization, arXiv:1910.13267.
    """

    name_in_table = "subwords"
    alphabet = learning.ALPHABET  # the character that stands for each byte in `merges` and `vocabulary`

    def __init__(self, merges, case=None, normalization=None):
        merges = list(merges)
        vocabulary, pairs, merged = _subwords(merges)
        byte = {character: value for value, character in enumerate(self.alphabet)}
        written = [bytes(byte[character] for character in subword) for subword in vocabulary]
        super().__init__(vocabulary, ["", *written], case, normalization)
        self._merges = "\n".join(merges)  # in one string, for tf.Module would track every entry of a list
        self._merge = Merges(pairs, merged, self.vocabulary_size)

    @classmethod
    def learn(cls, strings, size=8000, case=None, normalization=None):
        """Returns the tokenizer of the most useful subwords of `strings`.

        Args:
            strings: Iterable of strings.
            size: Most ids, the four special ones and the 256 bytes included, above 260.
            case: As above.
            normalization: As above.

        Raises:
            SetupError: The package `tokenizers` is not installed.
        """
        least = len(SPECIALS) + BYTES
        if _checks.positive_int("Subwords.learn", "size", size) <= least:
            raise ValueError(f"Subwords.learn: `size` must be above {least}, the bytes; got size={size}. Try 8000.")
        return cls(learning.merges(fold(list(strings), case, normalization), size - least), case, normalization)

    @classmethod
    def from_config(cls, config):
        """Returns the tokenizer that `config` describes."""
        return cls(config["merges"], config["case"], config.get("normalization"))

    @property
    def config(self):
        """Everything that makes the tokenizer, as plain values."""
        config = super().config
        del config["vocabulary"]  # follows from the merges
        return {**config, "merges": self._merges.split("\n") if self._merges else []}

    @staticmethod
    def split(text):
        """Returns the words of one string, as error rates count them: where a word is cut is nobody's error."""
        return Words.split(text)

    def sample(self, strings, dropout, seed):
        """Returns `tokenize` with each merge left out at random, so that training sees a word cut in many ways.

        Args:
            strings: String tensor `[B]` or list of strings.
            dropout: Probability in [0, 1) that a merge is left out; 0 gives the ids of `tokenize`.
            seed: Non-negative integer or a sequence of them, such as (seed, epoch), from which the result follows.

        Returns:
            Ragged int32 `[B, (T)]`.
        """
        _checks.rate("Subwords.sample", "dropout", dropout)
        state = np.random.SeedSequence(seed).generate_state(2).view(np.int32)
        return self._sample(tf.convert_to_tensor(strings, tf.string), tf.constant(dropout, tf.float32), state)

    def _ids(self, strings):
        words, index, counts = pieces.words(strings)
        raw, starts, lengths = pieces.cut(words)
        merged = self._merge(tf.cast(raw, tf.int32) + len(SPECIALS), starts)  # each distinct word once
        words = tf.RaggedTensor.from_row_lengths(merged, lengths, validate=False)
        words = tf.ragged.boolean_mask(words, words >= 0)
        return _joined(tf.gather(words, index), counts)

    @functools.cached_property
    def _sample(self):
        inputs = [tf.TensorSpec([None], tf.string), tf.TensorSpec([], tf.float32), tf.TensorSpec([2], tf.int32)]
        return tf.function(self._sampled_ids, inputs, autograph=False)

    def _sampled_ids(self, strings, dropout, seed):
        words, index, counts = pieces.words(self._folded(strings))
        raw, starts, lengths = pieces.cut(words)
        raw, starts = (
            tf.gather(tf.RaggedTensor.from_row_lengths(values, lengths, validate=False), index)
            for values in (raw, starts)
        )
        ids = tf.cast(raw.flat_values, tf.int32) + len(SPECIALS)
        merged = _joined(raw.with_flat_values(self._merge(ids, starts.flat_values, dropout, seed)), counts)
        return tf.ragged.boolean_mask(merged, merged >= 0)


def _joined(words, counts):
    """Returns the rows of `counts` words each, of which `words` holds one a row."""
    ends = tf.concat([[0], tf.cumsum(counts)], 0)
    return tf.RaggedTensor.from_row_splits(words.flat_values, tf.gather(words.row_splits, ends), validate=False)


def _subwords(merges):
    """Returns the subwords, and for each merge its pair of ids and the id that it becomes."""
    ids = {character: len(SPECIALS) + value for value, character in enumerate(learning.ALPHABET)}
    pairs, merged = {}, []
    for place, merge in enumerate(merges):
        left, _, right = merge.partition(" ") if isinstance(merge, str) else ("", "", "")
        if left not in ids or right not in ids:
            raise ValueError(f"Subwords: `merges[{place}]` must join two subwords that are there; got {merge!r}.")
        if (ids[left], ids[right]) in pairs:
            raise ValueError(f"Subwords: `merges` must not hold a merge twice; got {merge!r} again.")
        merged.append(ids.setdefault(left + right, len(SPECIALS) + len(ids)))
        pairs[ids[left], ids[right]] = place
    return list(ids), list(pairs), merged
