"""WordAndPunctuationTokenizer: text as words and punctuation marks."""

import functools
import re
import sys
import unicodedata
from collections.abc import Callable

import tensorflow as tf

from kerazoo.text.word_tokenizer import WordTokenizer

JOINER = "\uffed"  # a small square, on the side of a mark where there is no white space
SQUARE = "\u25a0"  # its normal form NFKC, which replaces it in text


class WordAndPunctuationTokenizer(WordTokenizer):
    """Tokenizes text into words and punctuation marks.

    A word is a run of letters, their combining marks and digits of any script. Every other character that is no white
    space is a token of its own, so `"the flow,"` has the words `the` and `flow` and a comma. Words have one id wherever
    they stand. A mark has up to four, which tell where it touches its neighbours: the vocabulary has U+FFED before a
    mark that touches the token before it, and after one that touches the word after it, as in `well-known`. So text
    made of the vocabulary is reproduced up to its white space, which becomes one blank, and leading and trailing white
    space, which is dropped.

    A word or mark outside the vocabulary becomes `unknown_id`, whose text is `<unknown>`. A stop word is a word, or a
    mark, which is left out wherever it stands. U+FFED in a text is read as U+25A0. Scripts that set no blanks between
    words need another tokenizer.

    Args:
        vocabulary: sequence of strings. The distinct words and marks in the order of their ids.
        stop_words: sequence of strings. Words and marks that get no id, in any case and normal form that text is
            brought into. Defaults to none.
        case: string. `"lower"` or `"upper"` changes the case of the text first, `None` keeps it. Defaults to `None`.
        normalization: string. `"nfkc"` brings the text into that normal form first, `None` keeps it. Defaults to
            `None`.

    Raises:
        ValueError: if an entry is neither a word nor a mark or is there twice, or a stop word is in the vocabulary.

    Example:

    ```python
    import kerazoo as kz

    tokenizer = kz.text.WordAndPunctuationTokenizer.fit(["Is it (really) so, or not?"])
    print(tokenizer.vocabulary)
    print(tokenizer.detokenize(tokenizer.encode(["or (so it is) not"])))
    ```

    Reference: Klein et al. 2017, OpenNMT: Open-Source Toolkit for Neural Machine Translation, arXiv:1701.02810, whose
    tokenizer marks joined punctuation in the same way.
    """

    entries = "words without white space and punctuation, or single marks"

    def detokenize(self, ids) -> tf.Tensor:
        """Returns the text of ids up to the first `end_id`: a blank before each token, but none where a mark touches.

        Args:
            ids: integer tensor `[B, T]`, dense or ragged. An id above the vocabulary counts as `unknown_id`.

        Returns:
            string tensor `[B]`.
        """
        return tf.strings.strip(tf.strings.regex_replace(super().detokenize(ids), f"{JOINER} ?", ""))

    @property
    def character_counts(self) -> list[int]:
        """The number of characters that each id adds to a text; a mark that touches the next word takes its blank."""
        joined = [word.endswith(JOINER) for word in self.vocabulary]
        others = [False] * (self.vocabulary_size - len(joined) - len(self.tags))
        joined = [*others, *joined, *[False] * len(self.tags)]
        return [count - 2 * is_joined for count, is_joined in zip(super().character_counts, joined)]

    @staticmethod
    def _words(strings):
        strings = tf.strings.join([" ", strings, " "])
        for pattern, replacement in _rules():
            strings = tf.strings.regex_replace(strings, pattern, replacement)
        return tf.strings.split(strings)

    @staticmethod
    def _is_entry(word):
        return _entry().fullmatch(word) is not None

    @staticmethod
    def _text(word):
        """Returns the text of a token, which begins with a blank unless it touches the token before it."""
        return word.removeprefix(JOINER) if word.startswith(JOINER) else f" {word}"

    @staticmethod
    def _forms(word):
        """Returns all tokens that a stop word is."""
        is_mark = len(word) == 1 and _mark().fullmatch(word)
        return [f"{before}{word}{after}" for before in ("", JOINER) for after in ("", JOINER)] if is_mark else [word]


@functools.cache
def _rules() -> tuple[tuple[str, str], ...]:
    """Returns patterns and replacements that put blanks between the tokens of a text between blanks."""
    mark = f"({_mark().pattern})"
    return (
        (JOINER, SQUARE),
        (mark, rf"{JOINER}\1{JOINER}"),
        (f"{JOINER}?[{_blank()}]+{JOINER}?", " "),
        (JOINER * 2, f" {JOINER}"),  # of two marks that touch the second one has the joiner
        (f"{JOINER}{mark}", rf" {JOINER}\1"),
        (f"{mark}{JOINER}", rf"\1{JOINER} "),
    )


@functools.cache
def _mark() -> re.Pattern:
    return re.compile(f"[^{_letters()}{_blank()}{JOINER}]")


@functools.cache
def _entry() -> re.Pattern:
    return re.compile(f"[{_letters()}]+|{JOINER}?{_mark().pattern}{JOINER}?")


@functools.cache
def _letters() -> str:
    # Python's own tables: TensorFlow's regular expressions know an older Unicode.
    return _ranges(lambda character: unicodedata.category(character)[0] in "LMN")


@functools.cache
def _blank() -> str:
    return _ranges(str.isspace)


def _ranges(belongs: Callable[[str], bool]) -> str:
    """Returns the inside of a character class of regular expressions for what is never ASCII punctuation."""
    ranges: list[list[int]] = []
    for point in range(sys.maxunicode + 1):
        if belongs(chr(point)):
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1][1] = point
            else:
                ranges.append([point, point])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
