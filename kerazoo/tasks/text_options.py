"""What a task of text may be told about its tokens: one table of options that all such tasks share."""

import dataclasses
import os

from kerazoo import _checks
from kerazoo.tasks import texts

CASES = ("auto", "keep", "lower", "upper")
NORMALIZATIONS = (None, "nfkc")
ROLES = ("source", "target")


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """The options of tokens. A function that builds a task takes them as `**text`.

    Args:
        source_tokens: Name of a tokenizer: `"bytes"`, `"characters"` (the default), `"words"` or `"subwords"`.
        target_tokens: The same for targets, and for the text of a language model.
        vocabulary_size: Most ids of each vocabulary that is learnt, the special ones included; 8,000 characters or
            subwords or 32,000 words by default.
        source_vocabulary: The same for sources alone.
        target_vocabulary: The same for targets alone.
        share_vocabulary: Whether source and target share one vocabulary; their tokens must then be the same.
        case: `"lower"` or `"upper"` folds all text; `"keep"` folds none; `"auto"`, the default, folds sources whose
            training text knows one case only, for who types to such a model means that case.
        normalization: `"nfkc"` brings all text into Unicode's form NFKC first. Default None.
        subword_dropout: Share of the merges of subwords left out at random in training, in [0, 1). Default 0.
        source_vectors: File of word vectors in text format that the embedding of sources starts from.
        target_vectors: The same for targets.

    Raises:
        ValueError: A value out of its range, or options that do not go together.
        TypeError: A size is no integer.
    """

    source_tokens: str = "characters"
    target_tokens: str = "characters"
    vocabulary_size: int | None = None
    source_vocabulary: int | None = None
    target_vocabulary: int | None = None
    share_vocabulary: bool = False
    case: str = "auto"
    normalization: str | None = None
    subword_dropout: float = 0.0
    source_vectors: str | None = None
    target_vectors: str | None = None

    @classmethod
    def of(cls, owner, given, roles=ROLES):
        """Returns the checked options of a task.

        Args:
            owner: The task, for errors.
            given: Dictionary of the options that were given.
            roles: Which of `"source"` and `"target"` the task has; options of the other one are refused.
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
        return options

    def learner(self, owner, role):
        """Returns a function from a list of strings to the tokenizer of `role` for them."""
        size = getattr(self, f"{role}_vocabulary") or self.vocabulary_size
        case = {"keep": None, "auto": "auto" if role == "source" else None}.get(self.case, self.case)
        return texts.learner(owner, getattr(self, f"{role}_tokens"), role, size, case, self.normalization)

    def pair(self, owner):
        """Returns a function from the lists of sources and targets to their two tokenizers."""
        source, target = self.learner(owner, "source"), self.learner(owner, "target")
        return texts.pair(owner, source, target, self.source_tokens, self.target_tokens, self.share_vocabulary)

    def to_dict(self):
        """Returns the options as a dictionary of plain values."""
        plain = dataclasses.asdict(self)
        return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in plain.items()}

    def _check(self, owner, roles):
        _checks.one_of(owner, "case", self.case, CASES)
        _checks.one_of(owner, "normalization", self.normalization, NORMALIZATIONS)
        _checks.rate(owner, "subword_dropout", self.subword_dropout)
        for name in ("vocabulary_size", "source_vocabulary", "target_vocabulary"):
            if getattr(self, name) is not None:
                _checks.positive_int(owner, name, getattr(self, name))
        tokens = {f"{role}_tokens": getattr(self, f"{role}_tokens") for role in roles}
        if self.subword_dropout and "subwords" not in tokens.values():
            raise ValueError(
                f"{owner}: `subword_dropout` needs subwords; got subword_dropout={self.subword_dropout}, "
                f"{', '.join(f'{name}={value!r}' for name, value in tokens.items())}."
            )
