"""Tokenizer: the base class of all tokenizers, with special ids, padding, detokenizing, saving and a hash."""

import base64
import functools
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Self

import tensorflow as tf

from kerazoo import _checks, _files
from kerazoo.text.normalization import nfkc

SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unknown>")
CASES = (None, "lower", "upper")
NORMALIZATIONS = (None, "nfkc")


class Tokenizer(tf.Module):
    """Base class of the tokenizers: text to token ids and back, inside the TensorFlow graph.

    Only stock TensorFlow operations are used, so a SavedModel that contains a tokenizer loads wherever TensorFlow
    does. The ids 0 to 3 are `pad_id`, `start_id`, `end_id` and `unknown_id`. A subclass defines `fit`, `from_config`,
    `split` and `_ids`, which maps standardized strings `[B]` to ragged ids, and is named by `kerazoo.text.register`.

    Args:
        vocabulary: sequence of strings. The tokens in the order of their ids, without the four special tokens.
        token_bytes: sequence of strings or bytes. The text of `unknown_id` and then of each token. The other special
            ids have no text.
        case: string. `"lower"` or `"upper"` changes the case of the text before it is looked up, `None` keeps it.
            Defaults to `None`.
        normalization: string. `"nfkc"` brings the text into Unicode's normal form NFKC first, in which compatible
            characters are the same, `None` keeps it. Defaults to `None`.

    Raises:
        TypeError: if a token is not a string.
        ValueError: if a token is there twice, or `case` or `normalization` has another value.
    """

    registered_name: str | None = None
    encloses_inputs = False  # whether an input has `start_id` before it and `end_id` after it
    tags: tuple[str, ...] = ()  # see `add_tags`
    pad_id, start_id, end_id, unknown_id = range(len(SPECIAL_TOKENS))

    def __init__(
        self,
        vocabulary: Iterable[str],
        token_bytes: Sequence[str | bytes],
        *,
        case: str | None = None,
        normalization: str | None = None,
    ):
        super().__init__()
        owner = type(self).__name__
        self.case = _checks.one_of(owner, "case", case, CASES)
        self.normalization = _checks.one_of(owner, "normalization", normalization, NORMALIZATIONS)
        # One string, since tf.Module would track every entry of a list.
        self._vocabulary = json.dumps(_distinct(owner, vocabulary), ensure_ascii=False)
        self._token_bytes = tf.constant(["", "", "", *token_bytes], tf.string)

    @classmethod
    def fit(
        cls,
        strings: Iterable[str],
        vocabulary_size: int | None = None,
        *,
        case: str | None = None,
        normalization: str | None = None,
    ) -> Self:
        """Returns the tokenizer whose vocabulary is taken from text.

        Args:
            strings: iterable of strings. The text.
            vocabulary_size: integer. Maximum number of ids, with the special ones.
            case: string. `"lower"`, `"upper"` or `None`. Defaults to `None`.
            normalization: string. `"nfkc"` or `None`. Defaults to `None`.
        """
        raise NotImplementedError(f"{cls.__name__}: `fit` is not defined.")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the tokenizer that `get_config` describes."""
        options = {"case": config["case"], "normalization": config.get("normalization")}
        return cls(config["vocabulary"], **options)

    @property
    def vocabulary(self) -> list[str]:
        """The token strings without the special ones; entry 0 has the id 4."""
        return json.loads(self._vocabulary)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, including the special ones."""
        return len(SPECIAL_TOKENS) + len(self.vocabulary) + len(self.tags)

    def add_tags(self, tags: Iterable[str]) -> Self:
        """Adds tags, each of which is one more special token, and returns the tokenizer.

        A tag tells a model something about a text, such as the language that it is to be translated into. Its id comes
        after those of the vocabulary; only `tag_ids` gives it, so no text contains it, and detokenizing leaves it out.

        Args:
            tags: sequence of distinct strings that are not empty.

        Raises:
            ValueError: if the tokenizer has tags already, or a tag is empty or there twice.
        """
        tags = tuple(_distinct(type(self).__name__, tags))
        if self.tags or "" in tags:
            raise ValueError(f"{type(self).__name__}: `tags` must not be empty and are added once; got {tags!r}.")
        if tags:
            ids = tf.range(self.vocabulary_size, self.vocabulary_size + len(tags), dtype=tf.int32)
            table = tf.lookup.KeyValueTensorInitializer(tf.constant(tags), ids)
            self._tag_table = tf.lookup.StaticHashTable(table, default_value=self.unknown_id)
            self._token_bytes = tf.concat([self._token_bytes, tf.fill([len(tags)], "")], 0)
            self.tags = tags
        return self

    def tag_ids(self, strings) -> tf.Tensor:
        """Returns the ids of tags, `unknown_id` for strings that are no tags.

        Args:
            strings: string tensor `[B]` or list of strings.

        Returns:
            int32 tensor `[B]`.
        """
        return self._tag_table.lookup(tf.convert_to_tensor(strings, tf.string))

    @property
    def token_bytes(self) -> list[bytes]:
        """The text of each id as bytes, empty for padding, start and end."""
        return [bytes(each) for each in self._token_bytes.numpy()]

    @property
    def character_counts(self) -> list[int]:
        """The number of characters that begin in each id, of which a text has the sum."""
        # Every byte of UTF-8 begins a character, except for those of 0b10xxxxxx.
        return [sum(byte & 0xC0 != 0x80 for byte in each) for each in self.token_bytes]

    def get_config(self) -> dict[str, Any]:
        """Returns everything that determines the tokenizer, as plain values."""
        form = {} if self.normalization is None else {"normalization": self.normalization}
        tags = {"tags": list(self.tags)} if self.tags else {}
        return {"tokenizer": self.registered_name, "case": self.case, **form, **tags, "vocabulary": self.vocabulary}

    @property
    def hash(self) -> str:
        """SHA-256 of the configuration: tokenizers with equal hashes give equal ids."""
        return hashlib.sha256(json.dumps(self.get_config(), sort_keys=True).encode()).hexdigest()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Plain values that identify the vocabulary: `hash`, `size`, and the compressed `lines` of its file."""
        packed = base64.b64encode(zlib.compress("\n".join(self._lines()).encode(), 9)).decode()
        return {"hash": self.hash, "size": self.vocabulary_size, "lines": packed}

    @staticmethod
    def split(text: str) -> list:
        """Returns the tokens of one string over which error rates are computed."""
        raise NotImplementedError("Tokenizer: `split` is not defined.")

    def tokenize(self, strings) -> tf.RaggedTensor:
        """Returns the ids of strings, without special ids.

        Args:
            strings: string tensor `[B]` or list of strings.

        Returns:
            int32 ragged tensor `[B, (T)]`.
        """
        return self._tokenize(tf.convert_to_tensor(strings, tf.string))

    def encode(self, strings, max_length: int | None = None) -> tf.Tensor:
        """Returns the ids of strings as a dense tensor, padded with `pad_id` to the longest row.

        Args:
            strings: string tensor `[B]` or list of strings.
            max_length: integer. Longer rows are cut after so many ids. Defaults to `None`.

        Returns:
            int32 tensor `[B, T]` with `T` of at least 1.
        """
        dense = self.tokenize(strings).to_tensor(self.pad_id)[:, :max_length]  # [B, T]
        missing = tf.maximum(1 - tf.shape(dense)[1], 0)
        return tf.pad(dense, [[0, 0], [0, missing]], constant_values=self.pad_id)

    def detokenize(self, ids) -> tf.Tensor:
        """Returns the text of ids up to the first `end_id`.

        Args:
            ids: integer tensor `[B, T]`, dense or ragged. An id above the vocabulary counts as `unknown_id`.

        Returns:
            string tensor `[B]`.
        """
        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor(self.pad_id)
        ids = tf.cast(tf.convert_to_tensor(ids), tf.int32)  # [B, T]
        ended = tf.cumsum(tf.cast(ids == self.end_id, tf.int32), axis=1) > 0
        ids = tf.where(ids < tf.size(self._token_bytes), ids, self.unknown_id)  # a model may have more outputs
        return tf.strings.reduce_join(tf.gather(self._token_bytes, tf.where(ended, self.pad_id, ids)), axis=-1)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the tokenizer to the JSON file `path`, one token in each line.

        Raises:
            SetupError: if the file cannot be written.
        """
        _files.write_file(path, "\n".join(self._lines()))

    def _lines(self):
        return json.dumps(self.get_config(), ensure_ascii=False, indent=0).split("\n")

    def standardize(self, strings: list[str]) -> list[str]:
        """Returns a list of strings in the tokenizer's normal form and case."""
        return standardize(strings, self.case, self.normalization)

    @functools.cached_property
    def _tokenize(self) -> Any:
        # One program for batches of any size. It is no attribute of the tf.Module, so it is saved only if it is used.
        return tf.function(
            lambda strings: self._ids(self._standardized(strings)), [tf.TensorSpec([None], tf.string)], autograph=False
        )

    def _standardized(self, strings):
        return _standardize(strings, self.case, self.normalization)

    def _ids(self, strings):
        raise NotImplementedError(f"{type(self).__name__}: `_ids` is not defined.")


def standardize(strings: list[str], case: str | None, normalization: str | None = None) -> list[str]:
    """Returns a list of strings with normal form and case changed as in the graph."""
    if case is None and normalization is None:
        return strings
    return [text.decode() for text in _standardize(tf.constant(strings, tf.string), case, normalization).numpy()]


def common_case(strings: list[str]) -> str | None:
    """Returns the case that changes none of the strings, or None.

    Returns:
        `"upper"` if all letters are capitals, `"lower"` if none is, and `None` if the cases are mixed or the strings
        have no letters with a case.
    """
    joined = tf.constant("\n".join(strings))
    upper, lower = tf.strings.upper(joined, "utf-8"), tf.strings.lower(joined, "utf-8")
    if upper == lower:
        return None
    return "upper" if joined == upper else "lower" if joined == lower else None


def max_tokens(owner: str, vocabulary_size: int, reserved: int = len(SPECIAL_TOKENS)) -> int:
    """Returns the number of tokens that `vocabulary_size` leaves beside the reserved ids, at least 1.

    Raises:
        TypeError: if `vocabulary_size` is not an integer.
        ValueError: if it is not above `reserved`.
    """
    if _checks.positive_int(owner, "vocabulary_size", vocabulary_size) <= reserved:
        raise ValueError(
            f"{owner}: `vocabulary_size` must be above {reserved}, the number of reserved ids; "
            f"got vocabulary_size={vocabulary_size}. Try 8000."
        )
    return vocabulary_size - reserved


def _standardize(strings, case, normalization):
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
            raise TypeError(f"{owner}: `vocabulary` must be a sequence of strings; got {token!r}.")
        if token in seen:
            raise ValueError(f"{owner}: `vocabulary` must not have a token twice; got {token!r} again.")
        seen.add(token)
    return vocabulary
