"""Learns the merges of subwords with the library `tokenizers`, which encoding does not need."""

import json

from kerazoo import _checks
from kerazoo.text import pieces

LEAST = 2  # times that a pair must stand in the text


def _alphabet():
    """Returns the 256 characters that stand for the bytes: a byte that is a visible letter stands for itself.

    It is the alphabet of GPT-2, which the library speaks too.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return "".join(chr(value) if value in visible else chr(next(others)) for value in range(256))


ALPHABET = _alphabet()


def merges(strings, count):
    """Returns at most `count` merges, strings `"LEFT RIGHT"`, the most useful first.

    Raises:
        SetupError: The library is not installed.
    """
    library = _import()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer()
    options = {"vocab_size": len(ALPHABET) + count, "min_frequency": LEAST}  # the library's own words
    trainer = library.trainers.BpeTrainer(initial_alphabet=list(ALPHABET), show_progress=False, **options)
    tokenizer.train_from_iterator(strings, trainer)
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def pre_tokenizer():
    """Returns the library's way to cut text as `kerazoo.text.pieces` does."""
    library = _import()
    cut, regex = library.pre_tokenizers.Split, library.Regex
    return library.pre_tokenizers.Sequence(
        [
            cut(regex(pieces.WORDS), "isolated"),
            cut(regex(pieces.PATTERN), "isolated"),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            cut(regex(f".{{1,{pieces.LONGEST}}}"), "isolated"),  # one character is one byte by now
        ]
    )


def _import():
    try:
        import tokenizers
    except ImportError as error:
        raise _checks.SetupError(
            "subwords: the package tokenizers, which learns them, is not installed. "
            'Install it with: pip install "kerazoo[subwords]"'
        ) from error
    return tokenizers
