"""Made-up sequence tasks that a small model learns in seconds: they prove that it can learn at all."""

import functools

import numpy as np

from kerazoo import _checks
from kerazoo.tasks.sequences import SequenceTask
from kerazoo.tasks.splits import rows_of

SHARES = {"dev": 0.05, "test": 0.05}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def build_copy(name, kind, length=8, letters=10, examples=10000, seed=0, restored=None):
    """Returns the task `copy`: a string of random letters to itself.

    Args:
        name: The task's name.
        kind: The kind of model.
        length: Most letters of a string; the shortest has one.
        letters: Number of different letters, at most 26.
        examples: Number of strings over all splits, duplicates not counted.
        seed: Seed of the strings.
        restored: What a saved task knew.
    """
    return _strings(name, kind, length, letters, examples, seed, restored, str)


def build_reverse(name, kind, length=8, letters=10, examples=10000, seed=0, restored=None):
    """Returns the task `reverse`: a string of random letters to the same from back to front; arguments as `copy`."""
    return _strings(name, kind, length, letters, examples, seed, restored, lambda text: text[::-1])


def build_addition(name, kind, digits=2, examples=10000, seed=0, restored=None):
    """Returns the task `addition`: `12+7` to `19`.

    Args:
        name: The task's name.
        kind: The kind of model.
        digits: Most digits of a summand, at most 9.
        examples: Number of sums over all splits, duplicates not counted; there are no more than `10 ** (2 * digits)`.
        seed: Seed of the summands.
        restored: What a saved task knew.
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

    return _task(name, kind, {"digits": digits, "examples": examples, "seed": seed}, pairs, "0123456789+", restored)


def _strings(name, kind, length, letters, examples, seed, restored, answer):
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
        drawn = bits[:, 1:] % np.uint64(letters)
        texts = ("".join(alphabet[i] for i in row[:n]) for n, row in zip(lengths.tolist(), drawn.tolist()))
        return [(text, answer(text)) for text in dict.fromkeys(texts)]

    options = {"length": length, "letters": letters, "examples": examples, "seed": seed}
    return _task(name, kind, options, pairs, alphabet, restored)


def _common(owner, examples, seed):
    _checks.positive_int(owner, "examples", examples)
    _checks.non_negative_int(owner, "seed", seed)


def _bits(seed, count):
    # Raw bits: NumPy promises that they never change, which it does not of `integers`.
    return np.random.Philox(np.random.SeedSequence(seed)).random_raw(count)


def _task(name, kind, options, pairs, alphabet, restored):
    def read(split):
        rows = rows_of(split, [source for source, _ in pairs()], SHARES)
        return {"source": [pairs()[row][0] for row in rows], "target": [pairs()[row][1] for row in rows]}

    def tokenizers(sources, targets):
        from kerazoo import text

        return text.CharacterTokenizer(alphabet), text.CharacterTokenizer(alphabet)

    return SequenceTask(
        name, kind, options, read, restored, make_tokenizers=tokenizers, watch=("val_sequence_accuracy", "max")
    )
