"""What BERT does with text before it looks words up: one table from code points to what they become."""

import functools
import itertools
import unicodedata

import numpy as np
import tensorflow as tf

from kerazoo.text.normalization import MAX_CODE_POINT
from kerazoo.text.rows import row_ids

REPLACEMENT = 0xFFFD  # stands for bytes that are no UTF-8
BLANK = ord(" ")
# The blocks of Chinese characters, each of which is a word, as the library `tokenizers` has them.
CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
           (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))  # fmt: skip
ASCII_MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
CONTROLS = ("Cc", "Cf", "Cs", "Co")  # categories that are removed; what is unassigned is kept
# What Unicode assigns characters in, and the first code point of what it never assigns and of private use.
BLOCKS = ((1, 0x323B0), (0xE0000, 0xE1000), (0xE1000, 0xE1001), (0xF0000, 0xF0001))
KEEP, REMOVE, SPACE, PAD, REPLACE = range(5)  # what is done with a code point
ADDED = (1, 0, 1, 3)  # code points that each of the first four becomes


def clean_words(strings, lower: bool) -> tf.Tensor:
    """Returns strings whose words, marks and Chinese characters have a blank between them.

    Control characters are removed, and white space becomes a blank.

    Args:
        strings: string tensor `[B]`. Bytes that are no UTF-8 are removed.
        lower: bool. Whether letters become lower-case ones without accents.

    Returns:
        string tensor `[B]`.
    """
    table = _table(lower)
    decoded = tf.strings.unicode_decode(strings, "UTF-8")
    points, rows = decoded.flat_values, row_ids(decoded.row_splits, tf.size(decoded.flat_values))
    kind = tf.gather(table["kinds"], tf.searchsorted(table["starts"], points, side="right") - 1)
    entry = tf.searchsorted(table["points"], points)
    entry = tf.where(kind == REPLACE, entry, 0)
    counts = tf.where(kind == REPLACE, tf.gather(table["counts"], entry), tf.gather((*ADDED, 0), kind))
    ends = tf.concat([[0], tf.cumsum(counts)], 0)
    source = tf.cast(row_ids(tf.cast(ends, tf.int64), ends[-1]), tf.int32)  # of each code point that comes out
    within = tf.range(ends[-1]) - tf.gather(ends, source)
    kind, point = tf.gather(kind, source), tf.gather(points, source)
    part = tf.minimum(tf.gather(table["offsets"], tf.gather(entry, source)) + within, len(table["parts"]) - 1)
    is_blank = (kind == SPACE) | ((kind == PAD) & (within != 1))
    made = tf.where(kind == REPLACE, tf.gather(table["parts"], part), tf.where(is_blank, BLANK, point))
    lengths = tf.math.bincount(tf.cast(tf.gather(rows, source), tf.int32), minlength=tf.size(strings), dtype=tf.int64)
    made = tf.RaggedTensor.from_row_lengths(made, lengths, validate=False)
    return tf.strings.unicode_encode(made, "UTF-8")


@functools.cache
def _table(lower):
    """Returns runs of code points with which the same is done, and the code points that become others."""
    starts, kinds, replaced = [0], [REMOVE], {}
    for point in itertools.chain(*map(range, *zip(*BLOCKS))):
        made = _becomes(chr(point), lower)
        if made in _SIMPLE:
            kind = _SIMPLE[made]
        elif made == chr(point):
            kind = KEEP
        elif made == f" {chr(point)} ":
            kind = PAD
        else:
            kind, replaced[point] = REPLACE, [ord(each) for each in made]
        if kind != kinds[-1]:
            starts.append(point)
            kinds.append(kind)
    replaced[MAX_CODE_POINT + 1] = [BLANK]  # so that the table is not empty
    counts = np.array([len(parts) for parts in replaced.values()], np.int32)
    return {
        "starts": np.array(starts, np.int32),
        "kinds": np.array(kinds, np.int32),
        "points": np.array(list(replaced), np.int32),
        "counts": counts,
        "offsets": (np.cumsum(counts) - counts).astype(np.int32),
        "parts": np.concatenate([np.array(parts, np.int32) for parts in replaced.values()]),
    }


_SIMPLE = {"": REMOVE, " ": SPACE}


def _becomes(character: str, lower: bool) -> str:
    """Returns what a character becomes."""
    if character in "\t\n\r" or (character.isspace() and unicodedata.category(character)[0] == "Z"):
        return " "
    if ord(character) == REPLACEMENT or unicodedata.category(character) in CONTROLS:
        return ""
    blank = " " if any(first <= ord(character) <= last for first, last in CHINESE) else ""
    if lower:
        parts = unicodedata.normalize("NFD", character)
        character = "".join(part.lower() for part in parts if unicodedata.category(part) != "Mn")
    return blank + "".join(f" {part} " if _is_mark(part) else part for part in character) + blank


def _is_mark(character: str) -> bool:
    return character in ASCII_MARKS or unicodedata.category(character)[0] == "P"
