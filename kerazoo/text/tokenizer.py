"""What every tokenizer shares: special ids, padding, detokenizing up to the end, saving, and a hash."""

import base64
import functools
import hashlib
import json
import zlib

import tensorflow as tf

from kerazoo import _checks, _files
from kerazoo.text.normalization import nfkc

SPECIALS = ("<pad>", "<start>", "<end>", "<unknown>")
CASES = (None, "lower", "upper")
NORMALIZATIONS = (None, "nfkc")


class Tokenizer(tf.Module):
    """The base of the tokenizers: text to token ids and back, inside the TensorFlow graph.

    Only stock TensorFlow operations are used, so a SavedModel that holds a tokenizer loads wherever TensorFlow does. A
    subclass gives `_ids` (folded strings to ragged ids), `split` and `name_in_table`.

    Args:
        vocabulary: Sequence of the token strings in the order of their ids, without the four special tokens, which
            take the ids 0 to 3: `pad_id`, `start_id`, `end_id`, `unknown_id`.
        pieces: Sequence of what `unknown_id` and then each token is written as; the other special ids never are.
        case: `"lower"` or `"upper"` folds text before it is looked up; None leaves it as it is.
        normalization: `"nfkc"` first brings text into Unicode's normal form NFKC, in which letters that look alike are
            alike; None leaves it as it is.
    """

    name_in_table = None
    pad_id, start_id, end_id, unknown_id = range(len(SPECIALS))

    def __init__(self, vocabulary, pieces, case=None, normalization=None):
        super().__init__()
        owner = type(self).__name__
        self.case = _checks.one_of(owner, "case", case, CASES)
        self.normalization = _checks.one_of(owner, "normalization", normalization, NORMALIZATIONS)
        # In one string, for tf.Module would track every entry of a list.
        self._vocabulary = json.dumps(_distinct(owner, vocabulary), ensure_ascii=False)
        self._pieces = tf.constant(["", "", "", *pieces], tf.string)

    @property
    def vocabulary(self):
        """The token strings, without the special ones: entry 0 has id 4."""
        return json.loads(self._vocabulary)

    @property
    def vocabulary_size(self):
        """Number of ids, the special ones included."""
        return len(SPECIALS) + len(self.vocabulary)

    @property
    def pieces(self):
        """What each id is written as, a list of bytes; nothing for padding, start and end."""
        return [bytes(piece) for piece in self._pieces.numpy()]

    @property
    def config(self):
        """Everything that makes the tokenizer, as plain values."""
        form = {} if self.normalization is None else {"normalization": self.normalization}
        return {"tokenizer": self.name_in_table, "case": self.case, **form, "vocabulary": self.vocabulary}

    @property
    def digest(self):
        """Hash of the whole tokenizer: equal digests give equal ids."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()

    @property
    def fingerprint(self):
        """What tells this vocabulary from another: its hash, its size, and the packed lines of its file."""
        packed = base64.b64encode(zlib.compress("\n".join(self._lines()).encode(), 9)).decode()
        return {"hash": self.digest, "size": self.vocabulary_size, "lines": packed}

    def tokenize(self, strings):
        """Returns the int32 ids of a string tensor `[B]` (or a list), ragged `[B, (T)]`, with no special ids added."""
        return self._tokenize(tf.convert_to_tensor(strings, tf.string))

    def encode(self, strings, length=None):
        """Returns `tokenize` as a dense tensor `[B, T]`, padded with `pad_id` to the longest, at least one wide.

        Args:
            strings: String tensor `[B]` or list of strings.
            length: Where longer rows are cut off; nowhere by default.
        """
        dense = self.tokenize(strings).to_tensor(self.pad_id)[:, :length]  # [B, T]
        missing = tf.maximum(1 - tf.shape(dense)[1], 0)
        return tf.pad(dense, [[0, 0], [0, missing]], constant_values=self.pad_id)

    def detokenize(self, ids):
        """Returns the strings `[B]` of int ids `[B, T]`, dense or ragged: up to `end_id`, without pad and start."""
        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor(self.pad_id)
        ids = tf.cast(tf.convert_to_tensor(ids), tf.int32)  # [B, T]
        ended = tf.cumsum(tf.cast(ids == self.end_id, tf.int32), axis=1) > 0
        known = tf.where(ids < tf.size(self._pieces), ids, self.unknown_id)  # a model may have more outputs than we
        return tf.strings.reduce_join(tf.gather(self._pieces, tf.where(ended, self.pad_id, known)), axis=-1)

    def save(self, path):
        """Writes the tokenizer to the JSON file `path`, one token a line; the file appears when it is complete."""
        _files.write_file(path, "\n".join(self._lines()))

    def _lines(self):
        return json.dumps(self.config, ensure_ascii=False, indent=0).split("\n")

    def fold(self, strings):
        """Returns a list of `strings` as the tokenizer sees them: normalised and folded."""
        return fold(strings, self.case, self.normalization)

    @functools.cached_property
    def _tokenize(self):
        # One program for batches of any size. As no attribute of a tf.Module, it is saved only where it is used.
        return tf.function(
            lambda strings: self._ids(self._folded(strings)), [tf.TensorSpec([None], tf.string)], autograph=False
        )

    def _folded(self, strings):
        return _fold(strings, self.case, self.normalization)

    def _ids(self, strings):
        raise NotImplementedError


def fold(strings, case, normalization=None):
    """Returns a list of `strings`, normalised and folded to `case` as the graph does it."""
    if case is None and normalization is None:
        return strings
    return [text.decode() for text in _fold(tf.constant(strings, tf.string), case, normalization).numpy()]


def common_case(strings):
    """Returns the case that changes none of `strings`: `"upper"` where all letters are capitals, else "lower" or None.

    Whoever types to a model that was trained on capitals alone means capitals.
    """
    joined = tf.constant("\n".join(strings))
    upper, lower = tf.strings.upper(joined, "utf-8"), tf.strings.lower(joined, "utf-8")
    if upper == lower:
        return None  # no letters with a case
    return "upper" if joined == upper else "lower" if joined == lower else None


def _fold(strings, case, normalization):
    if normalization is not None:
        strings = nfkc(strings)
    if case is None:
        return strings
    return (tf.strings.lower if case == "lower" else tf.strings.upper)(strings, encoding="utf-8")


def _distinct(owner, vocabulary):
    vocabulary = list(vocabulary)
    seen = set()
    for token in vocabulary:
        if not isinstance(token, str):
            raise TypeError(f"{owner}: `vocabulary` must hold strings; got {token!r}.")
        if token in seen:
            raise ValueError(f"{owner}: `vocabulary` must not hold a token twice; got {token!r} again.")
        seen.add(token)
    return vocabulary
