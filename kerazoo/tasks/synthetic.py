"""Synthetic sequence tasks that a small model fits in seconds."""

import functools

import numpy as np

from kerazoo import _checks
from kerazoo.data import MemorySource
from kerazoo.data.splits import split_rows
from kerazoo.tasks.feature_pairs import fixed_text
from kerazoo.tasks.task import Task

FRACTIONS = {"dev": 0.05, "test": 0.05}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def build_copy(
    name: str, kind: str | None, length: int = 8, letters: int = 10, examples: int = 10000, seed: int = 0
) -> Task:
    """Returns the task `copy`: a string of random letters to itself.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        length: int. The largest number of letters of a string; the smallest is one. Defaults to `8`.
        letters: int, at most 26. The number of different letters. Defaults to `10`.
        examples: int. The number of strings over all splits, duplicates not counted. Defaults to `10000`.
        seed: int. The seed of the strings. Defaults to `0`.
    """
    return _strings(name, kind, length, letters, examples, seed, str)


def build_reverse(
    name: str, kind: str | None, length: int = 8, letters: int = 10, examples: int = 10000, seed: int = 0
) -> Task:
    """Returns the task `reverse`: a string of random letters to the same from back to front; arguments as `copy`."""
    return _strings(name, kind, length, letters, examples, seed, lambda text: text[::-1])


def build_addition(name: str, kind: str | None, digits: int = 2, examples: int = 10000, seed: int = 0) -> Task:
    """Returns the task `addition`: `12+7` to `19`.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        digits: int, at most 9. The largest number of digits of a summand. Defaults to `2`.
        examples: int. The number of sums over all splits, duplicates not counted, at most `10 ** (2 * digits)`.
            Defaults to `10000`.
        seed: int. The seed of the summands. Defaults to `0`.
    """
    owner = f"task {name}"
    _checks.positive_int(owner, "digits", digits)
    _checks.number(owner, "digits", digits, high=9)
    _common(owner, examples, seed)

    @functools.cache
    def pairs():
        top = 10**digits
        if top**2 <= examples:
            summands = np.stack(np.divmod(np.arange(top**2), top), axis=1)
        else:
            summands = (_bits(seed, 2 * examples) % np.uint64(top)).reshape(-1, 2)
        sums = {f"{one}+{other}": str(one + other) for one, other in summands.tolist()}
        return list(sums.items())

    return _task(name, kind, {"digits": digits, "examples": examples, "seed": seed}, pairs, "0123456789+")


def _strings(name, kind, length, letters, examples, seed, target):
    owner = f"task {name}"
    _checks.positive_int(owner, "length", length)
    _checks.positive_int(owner, "letters", letters)
    _checks.number(owner, "letters", letters, high=len(LETTERS))
    _common(owner, examples, seed)
    alphabet = LETTERS[:letters]

    @functools.cache
    def pairs():
        bits = _bits(seed, examples * (length + 1)).reshape(examples, length + 1)
        lengths = 1 + bits[:, 0] % np.uint64(length)
        chosen = bits[:, 1:] % np.uint64(letters)
        texts = ("".join(alphabet[i] for i in row[:n]) for n, row in zip(lengths.tolist(), chosen.tolist()))
        return [(text, target(text)) for text in dict.fromkeys(texts)]

    options = {"length": length, "letters": letters, "examples": examples, "seed": seed}
    return _task(name, kind, options, pairs, alphabet)


def _common(owner, examples, seed):
    _checks.positive_int(owner, "examples", examples)
    _checks.non_negative_int(owner, "seed", seed)


def _bits(seed, count):
    # Raw bits: NumPy promises that they never change, unlike the numbers of `integers`.
    return np.random.Philox(np.random.SeedSequence(seed)).random_raw(count)


def _task(name, kind, options, pairs, alphabet):
    def read(split):
        rows = split_rows(split, [source for source, _ in pairs()], FRACTIONS)
        return {"source": [pairs()[row][0] for row in rows], "target": [pairs()[row][1] for row in rows]}

    def tokenizer():
        from kerazoo import text

        return text.CharacterTokenizer(alphabet)

    target = fixed_text("target", tokenizer, monitor=("val_sequence_accuracy", "max"))
    source = MemorySource(read, columns=("source", "target"))
    return Task(source, (fixed_text("source", tokenizer),), target, name, kind or "", options)
