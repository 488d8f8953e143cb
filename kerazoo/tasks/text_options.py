"""The options of tokens and vocabularies that all tasks of text have."""

import dataclasses
import functools
import os
import pathlib
from typing import Any

from kerazoo import _checks
from kerazoo.tasks.text_feature import Vocabulary

CASES = ("auto", "keep", "lower", "upper")
NORMALIZATIONS = (None, "nfkc")
ROLES = ("source", "target")
WORDS = ("words", "words_and_punctuation")  # tokenizers that leave out stop words


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """The options of tokens and vocabularies. A function that builds a task takes them as `**text`.

    Args:
        source_tokens: string. The tokenizer of input texts: `"bytes"`, `"characters"`, `"words"` between white space,
            `"words_and_punctuation"`, `"subwords"` or `"wordpiece"`, the parts of words of BERT. Defaults to
            `"characters"`.
        target_tokens: string. The tokenizer of target texts and of a language model. Defaults to `"characters"`.
        vocabulary_size: int. The largest number of ids of each vocabulary, the special ones included. Defaults to 8,000
            characters or subwords, or 32,000 words.
        source_vocabulary: int. The same for input texts alone. Defaults to `None`.
        target_vocabulary: int. The same for target texts alone. Defaults to `None`.
        source_vocabulary_file: string. A file such as the `vocab.txt` of BERT, with an entry in each line, which is the
            vocabulary of input texts whose tokens are `"wordpiece"`; with `case="auto"` its capitals tell the case.
            Defaults to `None`: a vocabulary is fitted to the training text.
        target_vocabulary_file: string. The same for target texts. Defaults to `None`.
        share_vocabulary: bool. Whether inputs and targets share one vocabulary. Defaults to `False`.
        case: string. `"lower"` or `"upper"` folds all text, `"keep"` none; `"auto"` folds inputs whose training text
            has one case only, so that an input in another case is read as well. Defaults to `"auto"`.
        normalization: string. `"nfkc"` brings all text into Unicode's form NFKC first. Defaults to `None`.
        stop_words: list of strings, or a file with words between white space. Words that are left out of input texts,
            where these are tokenized into words. Defaults to `None`.
        subword_dropout: float in [0, 1). The share of subword merges that is left out at random in training. Defaults
            to `0.0`.
        source_vectors: string. A file of word vectors that the embedding of inputs starts from. Defaults to `None`.
        target_vectors: string. The same for targets. Defaults to `None`.

    Raises:
        ValueError: if a value is out of its range, or two options contradict each other.
        TypeError: if a size is not an integer.
    """

    source_tokens: str = "characters"
    target_tokens: str = "characters"
    vocabulary_size: int | None = None
    source_vocabulary: int | None = None
    target_vocabulary: int | None = None
    source_vocabulary_file: str | None = None
    target_vocabulary_file: str | None = None
    share_vocabulary: bool = False
    case: str = "auto"
    normalization: str | None = None
    stop_words: Any = None
    subword_dropout: float = 0.0
    source_vectors: str | None = None
    target_vectors: str | None = None

    @classmethod
    def of(cls, owner: str, given: dict, roles: tuple[str, ...] = ROLES) -> "TextOptions":
        """Returns the checked options of a task.

        Args:
            owner: string. The task that error messages name.
            given: dict. The options that were given.
            roles: tuple of strings. Which of `"source"` and `"target"` the task has; options of the other one raise a
                ValueError.
        """
        options = cls(**given)
        for field in dataclasses.fields(cls):
            role = field.name.partition("_")[0]
            if role in ROLES and role not in roles and getattr(options, field.name) != field.default:
                raise ValueError(
                    f"{owner}: `{field.name}` has no use, for there is no {role}; got "
                    f"{field.name}={getattr(options, field.name)!r}. Use {roles[0]}{field.name.removeprefix(role)}."
                )
        options._check(owner, roles)
        # The words and not their file: a task that was saved needs no more than what it saved.
        return dataclasses.replace(options, stop_words=_words(options.stop_words))

    def vocabulary(self, owner: str, role: str) -> Vocabulary:
        """Returns the `Vocabulary` of the texts of a role.

        Args:
            owner: string. The task that error messages name.
            role: string. `"source"` or `"target"`.
        """
        from kerazoo import text

        tokens = getattr(self, f"{role}_tokens")
        _checks.one_of(owner, f"{role}_tokens", tokens, text.names())
        size = getattr(self, f"{role}_vocabulary") or self.vocabulary_size
        case = {"keep": None, "auto": "auto" if role == "source" else None}.get(self.case, self.case)
        stop_words = tuple(self.stop_words or ()) if role == "source" else ()
        file = getattr(self, f"{role}_vocabulary_file")
        if file is None:
            return Vocabulary(tokens, size, case, self.normalization, stop_words)
        case = None if self.case == "keep" else self.case
        read = functools.partial(text.WordPieceTokenizer.from_file, file, case, self.normalization)
        return Vocabulary(tokens, None, case, self.normalization, fixed=read, file=file)

    def shared(self, owner: str) -> Vocabulary:
        """Returns the one `Vocabulary` of both roles.

        Raises:
            ValueError: if the two roles have different tokens.
        """
        if self.source_tokens != self.target_tokens:
            raise ValueError(
                f"{owner}: `share_vocabulary` needs the same tokens on both sides; got "
                f"source_tokens={self.source_tokens!r}, target_tokens={self.target_tokens!r}."
            )
        return self.vocabulary(owner, "target")

    def to_dict(self) -> dict:
        """Returns the options as a dictionary of plain values."""
        plain = dataclasses.asdict(self)
        return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in plain.items()}

    def _check(self, owner, roles):
        _checks.one_of(owner, "case", self.case, CASES)
        _checks.one_of(owner, "normalization", self.normalization, NORMALIZATIONS)
        _checks.rate(owner, "subword_dropout", self.subword_dropout)
        if self.stop_words and (self.source_tokens not in WORDS or "source" not in roles or self.share_vocabulary):
            raise ValueError(
                f"{owner}: `stop_words` needs input texts of words with a vocabulary of their own; got "
                f"stop_words={self.stop_words!r}, source_tokens={self.source_tokens!r}, "
                f"share_vocabulary={self.share_vocabulary}. Set source_tokens='words'."
            )
        for name in ("vocabulary_size", "source_vocabulary", "target_vocabulary"):
            if getattr(self, name) is not None:
                _checks.positive_int(owner, name, getattr(self, name))
        tokens = {f"{role}_tokens": getattr(self, f"{role}_tokens") for role in roles}
        for role in roles:
            self._check_file(owner, role)
        if self.subword_dropout and "subwords" not in tokens.values():
            raise ValueError(
                f"{owner}: `subword_dropout` needs subwords; got subword_dropout={self.subword_dropout}, "
                f"{', '.join(f'{name}={value!r}' for name, value in tokens.items())}."
            )

    def _check_file(self, owner, role):
        """Refuses a file of another vocabulary than one of parts of words, and a size or a case that it cannot have."""
        file, tokens = (getattr(self, f"{role}_{name}") for name in ("vocabulary_file", "tokens"))
        if file is not None and tokens != "wordpiece":
            raise ValueError(
                f"{owner}: `{role}_vocabulary_file` needs {role}_tokens='wordpiece'; got {role}_tokens={tokens!r}."
            )
        size = getattr(self, f"{role}_vocabulary") or self.vocabulary_size
        if file is not None and size is not None:
            raise ValueError(
                f"{owner}: `{role}_vocabulary_file` has a size of its own; got a size of {size} as well. Leave it out."
            )
        if tokens == "wordpiece" and self.case == "upper":
            raise ValueError(f"{owner}: `case` of wordpiece is auto, keep or lower; got case={self.case!r}.")


def _words(stop_words: Any) -> list[str] | None:
    """Returns the words of a list or of a file."""
    if not isinstance(stop_words, str | os.PathLike):
        return None if stop_words is None else list(stop_words)
    try:
        return pathlib.Path(stop_words).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise _checks.DataError(f"{os.fspath(stop_words)}: cannot be read as stop words: {error}.") from error
