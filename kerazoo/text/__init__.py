"""Tokenizers inside the TensorFlow graph, their vocabularies, and word vectors."""

import json
import os
from collections.abc import Callable

from kerazoo import _checks, _files
from kerazoo.registry import Registry
from kerazoo.text.bm25 import BM25
from kerazoo.text.byte_pair_tokenizer import BytePairTokenizer
from kerazoo.text.byte_tokenizer import ByteTokenizer
from kerazoo.text.character_tokenizer import CharacterTokenizer
from kerazoo.text.tokenizer import Tokenizer, common_case
from kerazoo.text.word_and_punctuation_tokenizer import WordAndPunctuationTokenizer
from kerazoo.text.word_piece_tokenizer import WordPieceTokenizer
from kerazoo.text.word_tokenizer import WordTokenizer
from kerazoo.text.word_vectors import WordVectors, read_word_vectors

__all__ = [
    "BM25",
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Tokenizer",
    "WordAndPunctuationTokenizer",
    "WordPieceTokenizer",
    "WordTokenizer",
    "WordVectors",
    "common_case",
    "get",
    "load",
    "names",
    "read_word_vectors",
    "register",
]

_tokenizers = Registry("tokenizer")


def names(pattern: str = "*") -> list[str]:
    """Returns the sorted names of the tokenizers that match `pattern`, in which `*`, `?` and `[abc]` are wildcards."""
    return _tokenizers.names(pattern)


def get(name: str) -> type[Tokenizer]:
    """Returns the tokenizer class that is registered as `name`, such as `"subwords"`.

    Raises:
        ValueError: if there is no such name; the message offers the nearest ones.
    """
    return _tokenizers.get(name)


def register(name: str, *, replace: bool = False) -> Callable[[type[Tokenizer]], type[Tokenizer]]:
    """Returns a class decorator that registers a subclass of `Tokenizer`.

    Args:
        name: string. The name, which is saved with every tokenizer of the class.
        replace: boolean. Whether an existing name may be replaced. Defaults to `False`.

    Raises:
        ValueError: if `name` is taken while `replace` is `False`.

    Example:

    ```python
    import kerazoo as kz

    @kz.text.register("letters")
    class Letters(kz.text.CharacterTokenizer):
        pass

    assert kz.text.get("letters") is Letters
    ```
    """

    def decorate(cls):
        _tokenizers.add(name, cls, replace=replace)
        cls.registered_name = name
        return cls

    return decorate


def load(path: str | os.PathLike) -> Tokenizer:
    """Returns the tokenizer that `Tokenizer.save` wrote to the file `path`.

    Raises:
        DataError: if the file is missing or holds no tokenizer.
    """
    try:
        config = json.loads(_files.read_file(path, _files.MAX_RECORD_BYTES))
        return get(config["tokenizer"]).from_config(config).add_tags(config.get("tags", ()))
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _checks.DataError(f"{path}: cannot be read as a tokenizer: {error}.") from error


for _name, _cls in {
    "bytes": ByteTokenizer,
    "characters": CharacterTokenizer,
    "subwords": BytePairTokenizer,
    "wordpiece": WordPieceTokenizer,
    "words": WordTokenizer,
    "words_and_punctuation": WordAndPunctuationTokenizer,
}.items():
    register(_name)(_cls)
