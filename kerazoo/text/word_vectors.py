"""Word vectors in text format, as GloVe and fastText publish them."""

import dataclasses
import gzip
import os
import zlib
from collections.abc import Iterator

import numpy as np

from kerazoo import _checks
from kerazoo.text.tokenizer import SPECIAL_TOKENS, Tokenizer

UNKNOWN = (b"<unk>", b"<unknown>", b"[UNK]")  # names of the vector of unknown words
FAULTS = (OSError, EOFError, zlib.error)


@dataclasses.dataclass(frozen=True)
class WordVectors:
    """Word vectors of a vocabulary.

    Args:
        array: float32 array `[V, D]`. One row for each id.
        found: boolean array `[V]`. Whether the file has the row; the other rows are random.
    """

    array: np.ndarray
    found: np.ndarray

    @property
    def coverage(self) -> float:
        """Share of the vocabulary, without the special ids, that the file has."""
        words = self.found[len(SPECIAL_TOKENS) :]
        return float(words.mean()) if len(words) else 0.0


def read_word_vectors(path: str | os.PathLike, tokenizer: Tokenizer, *, seed: int = 0) -> WordVectors:
    """Returns the vectors that a file has for the vocabulary of a tokenizer.

    A line is a word and D numbers separated by blanks. A first line of two integers, as in fastText, is the number of
    lines and D. A word may contain blanks. The first vector of a word counts. Words are compared exactly, so a
    vocabulary in lower case needs a file in lower case. The file is read line by line, and only the vectors of the
    vocabulary are kept.

    Args:
        path: string or path. The file, `.txt` or `.vec`, plain or `.gz`, in UTF-8.
        tokenizer: `Tokenizer`. Its vocabulary determines the rows.
        seed: non-negative integer. Seed of the rows that the file lacks. They are normally distributed with a standard
            deviation of `1 / sqrt(D)`, or that of the vectors found if it is smaller. Defaults to `0`.

    Returns:
        A `WordVectors`.

    Raises:
        DataError: if the file is missing or damaged, a line has the wrong number of values or one that is not a finite
            number, or no word is in the vocabulary.

    Example:

    ```python
    import pathlib

    import kerazoo as kz

    pathlib.Path("pets.vec").write_text("2 3\\ncat 1 2 3\\ndog 4 5 6\\n")
    vectors = kz.text.read_word_vectors("pets.vec", kz.text.WordTokenizer(["dog", "emu"]))
    assert vectors.array.shape == (6, 3) and vectors.array[4].tolist() == [4, 5, 6]
    assert vectors.coverage == 0.5
    ```
    """
    path = os.fspath(path)
    _checks.non_negative_int("read_word_vectors", "seed", seed)
    ids = {word.encode(): index + len(SPECIAL_TOKENS) for index, word in enumerate(tokenizer.vocabulary)}
    ids.update((name, tokenizer.unknown_id) for name in UNKNOWN if name not in ids)
    rows: dict[int, np.ndarray] = {}
    dim = None
    for number, line in _lines(path):
        if dim is None:
            dim, header = _dimension(path, number, line)
            if header:
                continue
        blanks = line.count(b" ")
        if blanks < dim:
            raise _checks.DataError(
                f"{path}:{number}: expected a word and {dim} numbers, got {blanks + 1} values: {_short(line)}."
            )
        row = ids.get(line.partition(b" ")[0] if blanks == dim else line.rsplit(b" ", dim)[0])
        if row is not None and row not in rows:
            rows[row] = _numbers(path, number, line.rsplit(b" ", dim)[1:])
    if dim is None:
        raise _checks.DataError(f"{path}: is empty.")
    if not rows:
        raise _checks.DataError(
            f"{path}: has none of the {len(tokenizer.vocabulary)} tokens of the vocabulary, such as "
            f"{', '.join(map(repr, tokenizer.vocabulary[:3]))}. Is it another language, or another case?"
        )
    return _completed(rows, dim, tokenizer.vocabulary_size, seed)


def _completed(rows, dim, vocabulary_size, seed):
    """Returns the vectors of `rows` with random ones at the other ids."""
    ids = np.array(list(rows))
    values = np.stack([rows[row] for row in ids])
    deviation = min(dim**-0.5, float(np.sqrt(np.mean(np.square(values)))))
    array = (deviation * np.random.default_rng(seed).standard_normal((vocabulary_size, dim))).astype(np.float32)
    array[ids] = values
    found = np.zeros(vocabulary_size, bool)
    found[ids] = True
    return WordVectors(array, found)


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                line = bytes(line).rstrip(b" \t\r\n")
                if line:
                    yield number, line
    except FAULTS as error:
        reason = getattr(error, "strerror", None) or error
        after = f" after line {number}" if number else ""
        raise _checks.DataError(f"{path}: cannot be read{after}: {reason}.") from error


def _dimension(path: str, number: int, line: bytes) -> tuple[int, bool]:
    """Returns how many numbers a line has, and whether this line is a header."""
    values = line.split(b" ")
    if len(values) == 2 and all(value.isdigit() for value in values) and int(values[1]) > 0:
        return int(values[1]), True
    if len(values) < 2:
        raise _checks.DataError(
            f"{path}:{number}: expected a word and its numbers separated by blanks, got {_short(line)}."
        )
    return len(values) - 1, False


def _numbers(path, number, values):
    try:
        row = np.array(values).astype(np.float32)
    except ValueError as error:
        raise _checks.DataError(f"{path}:{number}: expected numbers, got {_short(b' '.join(values))}.") from error
    if not np.isfinite(row).all():
        raise _checks.DataError(f"{path}:{number}: expected finite numbers, got {_short(b' '.join(values))}.")
    return row


def _short(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= 40 else text[:37] + "...")
