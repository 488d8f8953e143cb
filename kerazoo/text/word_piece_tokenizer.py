"""WordPieceTokenizer: text as words and parts of words, with the ids of BERT's vocabularies."""

import os
import pathlib
from collections.abc import Iterable
from typing import Any, Self

import tensorflow as tf

from kerazoo import _checks
from kerazoo.text.bert_normalization import clean_words
from kerazoo.text.normalization import nfkc
from kerazoo.text.tokenizer import Tokenizer
from kerazoo.text.word_tokenizer import WordTokenizer

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, START, END)
JOINED = "##"  # what a part of a word that is not its first begins with
MAX_CHARACTERS = 100  # of a word; a longer one is unknown
SIZE = 8000  # of a vocabulary that is fitted


class WordPieceTokenizer(Tokenizer):
    """Tokenizes text into words and parts of words as BERT does.

    Control characters are removed, and text is split at white space, punctuation marks and Chinese characters; with
    `case="lower"` it is brought into lower case and loses its accents. Each word becomes the longest entry of the
    vocabulary that it begins with, then the longest one with `##` before it, and so on; a word for which there are none
    is `[UNK]`. The ids are the positions in the vocabulary, so they are those of the library `tokenizers` for the same
    vocabulary. As an input, a text has `[CLS]` (`start_id`) before it and `[SEP]` (`end_id`) after it.

    Args:
        vocabulary: sequence of strings. The entries in the order of their ids, `[PAD]` first, with `[UNK]`, `[CLS]` and
            `[SEP]` among them.
        case: string. `"lower"` for vocabularies without capitals and accents, `None` keeps both. Defaults to `"lower"`.
        normalization: string. `"nfkc"` brings the text into that normal form first, `None` keeps it. Defaults to
            `None`.

    Raises:
        ValueError: if a special entry is missing, `[PAD]` is not the first, an entry is there twice, or `case` is
            `"upper"`.

    Example:

    ```python
    import kerazoo as kz

    tokenizer = kz.text.WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##able", "cafe", "!"])
    assert tokenizer.tokenize(["Unable! Café, unsure"]).to_list() == [[4, 5, 7, 6, 1, 1]]
    ```

    Reference:
        - Devlin et al. (2019), BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding,
          arXiv:1810.04805.
        - Wu et al. (2016), Google's Neural Machine Translation System, arXiv:1609.08144.
    """

    encloses_inputs = True

    def __init__(
        self,
        vocabulary: Iterable[str],
        *,
        case: str | None = "lower",
        normalization: str | None = None,
    ):
        vocabulary = list(vocabulary)
        super().__init__(vocabulary, [], case=case, normalization=normalization)
        _checks.one_of("WordPieceTokenizer", "case", case, ("lower", None))
        ids = {entry: number for number, entry in enumerate(vocabulary)}
        missing = [entry for entry in SPECIAL if entry not in ids]
        if missing or ids[PAD] != 0:
            raise ValueError(
                "WordPieceTokenizer: `vocabulary` must begin with [PAD] and have [UNK], [CLS] and [SEP]; got "
                f"{vocabulary[:3]}..., which lacks {', '.join(missing) or 'none'}."
            )
        self.pad_id, self.unknown_id, self.start_id, self.end_id = (ids[entry] for entry in SPECIAL)
        self._token_bytes = tf.constant([_text(entry) for entry in vocabulary], tf.string)
        self._max_length = max(len(entry.removeprefix(JOINED)) for entry in vocabulary)
        # A text has no special entries: the brackets of "[CLS]" are marks, and each is a word.
        table = tf.lookup.KeyValueTensorInitializer(tf.constant(vocabulary), tf.range(len(vocabulary), dtype=tf.int32))
        self._table = tf.lookup.StaticHashTable(table, default_value=-1)

    @classmethod
    def fit(
        cls,
        strings: Iterable[str],
        vocabulary_size: int | None = SIZE,
        *,
        case: str | None = "lower",
        normalization: str | None = None,
    ) -> Self:
        """Returns the tokenizer of the parts of words that the library `tokenizers` finds in text.

        Args:
            strings: iterable of strings. The text.
            vocabulary_size: integer. Maximum number of ids, with the special ones. Defaults to `8000`.
            case: string. `"lower"` or `None`. Defaults to `"lower"`.
            normalization: string. `"nfkc"` or `None`. Defaults to `None`.

        Raises:
            ValueError: if `vocabulary_size` is too small.
            SetupError: if the package `tokenizers` is not installed.
        """
        size = _checks.positive_int(f"{cls.__name__}.fit", "vocabulary_size", vocabulary_size or SIZE)
        empty = cls([*SPECIAL, MASK], case=case, normalization=normalization)
        words = (" ".join(row) for row in empty.words(list(strings)))
        entries = _fitted(words, size)
        return cls([*SPECIAL, MASK, *(e for e in entries if e not in (*SPECIAL, MASK))][:size], case=case,
                   normalization=normalization)  # fmt: skip

    @classmethod
    def from_file(cls, path: str | os.PathLike, case: str | None = "auto", normalization: str | None = None) -> Self:
        """Returns the tokenizer of a file such as the `vocab.txt` of BERT, with one entry in each line.

        Args:
            path: string or path. The file, in UTF-8.
            case: string. `"lower"` or `None`; `"auto"` is `None` where an entry has a capital letter. Defaults to
                `"auto"`.
            normalization: string. `"nfkc"` or `None`. Defaults to `None`.

        Raises:
            DataError: if the file is missing, or is no such vocabulary.
        """
        try:
            entries = pathlib.Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
            entries = [entry.removesuffix("\r") for entry in entries]
            if case == "auto":
                capitals = any(entry != entry.lower() for entry in entries if not entry.startswith("["))
                case = None if capitals else "lower"
            return cls(entries, case=case, normalization=normalization)
        except (OSError, ValueError) as error:
            raise _checks.DataError(f"{os.fspath(path)}: cannot be read as a vocabulary: {error}") from error

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, including the special ones."""
        return len(self.vocabulary) + len(self.tags)

    @staticmethod
    def split(text: str) -> list[str]:
        """Returns the words of one string, over which error rates are computed; they do not depend on the entries."""
        return WordTokenizer.split(text)

    def words(self, strings: list[str]) -> list[list[str]]:
        """Returns the words of strings, whose parts are looked up in the vocabulary."""
        rows = self._words(self._standardized(tf.constant(strings, tf.string))).to_list()
        return [[word.decode() for word in row] for row in rows]

    def detokenize(self, ids) -> tf.Tensor:
        """Returns the words of ids up to the first `end_id`, with one blank between two words.

        Args:
            ids: integer tensor `[B, T]`, dense or ragged. An id above the vocabulary counts as `unknown_id`.

        Returns:
            string tensor `[B]`.
        """
        return tf.strings.strip(super().detokenize(ids))

    def _standardized(self, strings):
        if self.normalization is not None:
            strings = nfkc(strings)
        return strings  # the case is changed with the accents

    def _words(self, strings):
        return tf.strings.split(clean_words(strings, self.case == "lower"))

    def _ids(self, strings):
        words = self._words(strings)
        distinct, index = tf.unique(words.flat_values, out_idx=tf.int64)
        pieces = self._pieces(distinct)
        rows = tf.gather(pieces, index)  # one row for each word
        ends = tf.gather(rows.row_splits, words.row_splits)
        return tf.RaggedTensor.from_row_splits(rows.flat_values, ends, validate=False)

    def _pieces(self, words):
        """Returns the ids of the parts of distinct words `[U]`, int32 ragged `[U, (P)]`."""
        count = tf.size(words, tf.int64)
        lengths = tf.strings.length(words, unit="UTF8_CHAR")
        sizes = tf.range(self._max_length, 0, -1)  # the longest part first

        def find(active, position, ids, owners, unknown):
            """Finds the next part of each word that is not at its end."""
            rest = tf.gather(lengths, active) - position
            tail = tf.strings.substr(tf.gather(words, active), position, rest, unit="UTF8_CHAR")
            parts = tf.strings.substr(
                tf.repeat(tail, self._max_length), tf.zeros([tf.size(tail) * self._max_length], tf.int32),
                tf.tile(sizes, [tf.size(tail)]), unit="UTF8_CHAR",
            )  # fmt: skip
            parts = tf.reshape(parts, [-1, self._max_length])  # [A, L]
            begins = tf.where(position > 0, JOINED, "")[:, None]
            found = self._table.lookup(tf.strings.join([tf.broadcast_to(begins, tf.shape(parts)), parts]))
            best = tf.argmax(found >= 0, axis=1, output_type=tf.int32)  # the first of them
            chosen = tf.gather(found, best, axis=1, batch_dims=1)
            matched = chosen >= 0
            position += tf.minimum(tf.gather(sizes, best), rest)
            ids = tf.concat([ids, tf.boolean_mask(chosen, matched)], 0)
            owners = tf.concat([owners, tf.boolean_mask(active, matched)], 0)
            unknown = tf.concat([unknown, tf.boolean_mask(active, ~matched)], 0)
            going = matched & (position < tf.gather(lengths, active))
            return tf.boolean_mask(active, going), tf.boolean_mask(position, going), ids, owners, unknown

        fits = lengths <= MAX_CHARACTERS
        active = tf.boolean_mask(tf.range(count), fits)
        unknown = tf.boolean_mask(tf.range(count), ~fits)
        vector = tf.TensorShape([None])
        state = (active, tf.zeros_like(active, tf.int32), tf.zeros([0], tf.int32), tf.zeros([0], tf.int64), unknown)
        *_, ids, owners, unknown = tf.while_loop(
            lambda active, *_: tf.size(active) > 0, find, state, (vector, vector, vector, vector, vector)
        )
        is_unknown = tf.scatter_nd(unknown[:, None], tf.ones_like(unknown, tf.int32), [count]) > 0
        kept = ~tf.gather(is_unknown, owners)
        ids = tf.concat([tf.boolean_mask(ids, kept), tf.fill([tf.size(unknown)], tf.constant(self.unknown_id))], 0)
        owners = tf.concat([tf.boolean_mask(owners, kept), unknown], 0)
        order = tf.argsort(owners, stable=True)  # the parts of a word were found in their order
        counts = tf.math.bincount(tf.cast(owners, tf.int32), minlength=tf.cast(count, tf.int32), dtype=tf.int64)
        return tf.RaggedTensor.from_row_lengths(tf.gather(ids, order), counts, validate=False)


def _text(entry: str) -> str:
    """Returns the text of an entry, which begins with a blank unless it is a later part of a word."""
    if entry in (PAD, START, END):
        return ""
    return entry.removeprefix(JOINED) if entry.startswith(JOINED) else f" {entry}"


def _fitted(words: Iterable[str], size: int) -> list[str]:
    """Returns the entries of a vocabulary in the order of their ids."""
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise _checks.SetupError('Fitting word pieces needs: pip install "kerazoo[subwords]"') from error
    made: Any = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=UNKNOWN))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    options: dict[str, Any] = {"vocab_size": size, "special_tokens": [*SPECIAL, MASK], "show_progress": False}
    trainer = tokenizers.trainers.WordPieceTrainer(**options, continuing_subword_prefix=JOINED)
    made.train_from_iterator(words, trainer)
    ids = made.get_vocab()
    return sorted(ids, key=ids.__getitem__)
