"""Word vectors in text format, as GloVe and fastText publish them."""

import dataclasses
import gzip
import os
import zlib

import numpy as np

from kerazoo import _checks
from kerazoo.text.tokenizer import SPECIALS

UNKNOWN = (b"<unk>", b"<unknown>", b"[UNK]")  # what files call the vector of words that they do not know
FAULTS = (OSError, EOFError, zlib.error)


@dataclasses.dataclass(frozen=True)
class Vectors:
    """What a file of word vectors holds for a vocabulary.

    Args:
        array: float32 `[V, D]`, one row for each id.
        known: bool `[V]`, whether the file has the row; the others were drawn at random.
    """

    array: np.ndarray
    known: np.ndarray

    @property
    def coverage(self):
        """Share of the vocabulary, without the special ids, that the file has."""
        words = self.known[len(SPECIALS) :]
        return float(words.mean()) if len(words) else 0.0


def read_vectors(path, tokenizer, seed=0):
    """Returns the vectors that a file has for the vocabulary of a tokenizer, by id.

    A line is a word and D numbers between blanks; a first line of two integers, as fastText writes, says how many lines
    follow and D. A word may hold blanks itself. Of a word that stands there twice the first vector counts. A word is
    found as it is written, so a vocabulary in lower case wants a file in lower case. The file is read line by line, and
    only the vectors that are wanted are kept.

    Args:
        path: The file, `.txt` or `.vec`, plain or `.gz`, in UTF-8.
        tokenizer: A `Tokenizer` with a vocabulary, such as `Words`.
        seed: Non-negative integer that the rows without a vector follow from. They are normal with deviation
            `1 / sqrt(D)`, or that of the numbers found where it is smaller.

    Returns:
        A `Vectors`.

    Raises:
        DataError: The file is missing or damaged, a line has the wrong number of values or one that is no finite
            number, or none of the words is in the vocabulary.

    Example:

    ```python
    import pathlib

    import kerazoo as kz

    pathlib.Path("pets.vec").write_text("2 3\\ncat 1 2 3\\ndog 4 5 6\\n")
    vectors = kz.text.read_vectors("pets.vec", kz.text.Words(["dog", "emu"]))
    assert vectors.array.shape == (6, 3) and vectors.array[4].tolist() == [4, 5, 6]
    assert vectors.coverage == 0.5
    ```
    """
    path = os.fspath(path)
    _checks.non_negative_int("read_vectors", "seed", seed)
    ids = {word.encode(): place + len(SPECIALS) for place, word in enumerate(tokenizer.vocabulary)}
    ids.update((name, tokenizer.unknown_id) for name in UNKNOWN if name not in ids)
    found, width = {}, None
    for number, line in _lines(path):
        if width is None:
            width, header = _width(path, number, line)
            if header:
                continue
        blanks = line.count(b" ")
        if blanks < width:
            raise _checks.DataError(
                f"{path}:{number}: expected a word and {width} numbers, got {blanks + 1} values: {_short(line)}."
            )
        row = ids.get(line.partition(b" ")[0] if blanks == width else line.rsplit(b" ", width)[0])
        if row is not None and row not in found:
            found[row] = _numbers(path, number, line.rsplit(b" ", width)[1:])
    if width is None:
        raise _checks.DataError(f"{path}: is empty.")
    if not found:
        raise _checks.DataError(
            f"{path}: holds none of the {len(tokenizer.vocabulary)} tokens of the vocabulary, such as "
            f"{', '.join(map(repr, tokenizer.vocabulary[:3]))}. Is it another language, or another case?"
        )
    return _filled(found, width, tokenizer.vocabulary_size, seed)


def _filled(found, width, size, seed):
    rows = np.array(list(found))
    values = np.stack([found[row] for row in rows])
    small = min(width**-0.5, float(np.sqrt(np.mean(np.square(values)))))
    array = (small * np.random.default_rng(seed).standard_normal((size, width))).astype(np.float32)
    array[rows] = values
    known = np.zeros(size, bool)
    known[rows] = True
    return Vectors(array, known)


def _lines(path):
    number = 0
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip(b" \t\r\n")
                if line:
                    yield number, line
    except FAULTS as error:
        reason = getattr(error, "strerror", None) or error
        after = f" after line {number}" if number else ""
        raise _checks.DataError(f"{path}: cannot be read{after}: {reason}.") from error


def _width(path, number, line):
    """Returns how many numbers a line has, and whether this one is a header."""
    values = line.split(b" ")
    if len(values) == 2 and all(value.isdigit() for value in values) and int(values[1]) > 0:
        return int(values[1]), True
    if len(values) < 2:
        raise _checks.DataError(f"{path}:{number}: expected a word and its numbers between blanks: {_short(line)}.")
    return len(values) - 1, False


def _numbers(path, number, values):
    try:
        row = np.array(values).astype(np.float32)
    except ValueError as error:
        raise _checks.DataError(f"{path}:{number}: holds what is no number: {_short(b' '.join(values))}.") from error
    if not np.isfinite(row).all():
        raise _checks.DataError(f"{path}:{number}: holds a number that is not finite: {_short(b' '.join(values))}.")
    return row


def _short(line):
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= 40 else text[:37] + "...")
