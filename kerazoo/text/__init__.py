"""Tokenizers that live inside the TensorFlow graph, and their vocabularies."""

import json
import pathlib

from kerazoo import _checks
from kerazoo.text.bytes import Bytes
from kerazoo.text.characters import Characters
from kerazoo.text.subwords import Subwords
from kerazoo.text.tokenizer import Tokenizer, common_case
from kerazoo.text.vectors import Vectors, read_vectors
from kerazoo.text.words import Words

__all__ = [
    "Bytes",
    "Characters",
    "Subwords",
    "Tokenizer",
    "Vectors",
    "Words",
    "common_case",
    "get",
    "load",
    "names",
    "read_vectors",
    "register",
]

_TABLE = {cls.name_in_table: cls for cls in (Bytes, Characters, Subwords, Words)}


def names():
    """Returns the names of all tokenizers."""
    return sorted(_TABLE)


def get(name):
    """Returns the tokenizer class called `name`: one of `names()`, such as `"subwords"`, or one of your own."""
    if name not in _TABLE:
        raise _checks.unknown("tokenizer", name, _TABLE, ", ".join(names()))
    return _TABLE[name]


def register(cls):
    """Class decorator that puts your own `Tokenizer` into the table under its `name_in_table`."""
    if not cls.name_in_table or cls.name_in_table in _TABLE:
        raise ValueError(f"text.register: `name_in_table` must be a new name; got {cls.name_in_table!r}.")
    _TABLE[cls.name_in_table] = cls
    return cls


def load(path):
    """Returns the tokenizer that `Tokenizer.save` wrote to `path`.

    Raises:
        DataError: The file is missing or no tokenizer.
    """
    try:
        config = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        return get(config["tokenizer"]).from_config(config)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _checks.DataError(f"{path}: cannot be read as a tokenizer: {error}.") from error
