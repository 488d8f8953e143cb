"""Unicode's normal form NFKC inside the graph, of stock operations, equal to Python's `unicodedata`."""

import functools
import unicodedata

import numpy as np
import tensorflow as tf

LAST = 0x10FFFF
HANGUL = range(0xAC00, 0xD7A4)  # syllables, which Unicode composes by a rule instead of a list
BITS = 21  # of a code point


def nfkc(strings):
    """Returns the string tensor `[B]` in normal form NFKC; ASCII is in that form already and costs next to nothing."""
    wide = tf.strings.length(strings) != tf.strings.length(strings, unit="UTF8_CHAR")
    rows = tf.where(wide)
    return tf.cond(
        tf.size(rows) > 0,
        lambda: tf.tensor_scatter_nd_update(strings, rows, _normalized(tf.gather_nd(strings, rows))),
        lambda: strings,
    )


def _normalized(strings):
    points = tf.strings.unicode_decode(strings, "UTF-8")  # what is no UTF-8 becomes U+FFFD
    points, rows = _decomposed(points.flat_values, points.value_rowids())
    soft, order = _following(points)
    starts = ~soft | tf.concat([[True], rows[1:] != rows[:-1]], 0)[: tf.size(rows)]
    cluster = tf.cumsum(tf.cast(starts, tf.int64)) - 1
    long = tf.gather(tf.math.bincount(tf.cast(cluster, tf.int32)), cluster) > 1  # the others are done
    chosen = tf.where(long)
    cluster = tf.cumsum(tf.cast(tf.gather_nd(starts, chosen), tf.int64)) - 1
    composed, keep = _composed(*_ordered(tf.gather_nd(points, chosen), tf.gather_nd(order, chosen), cluster))
    points = tf.tensor_scatter_nd_update(points, chosen, composed)
    keep = tf.tensor_scatter_nd_update(tf.ones_like(points, tf.bool), chosen, keep)
    rows = tf.RaggedTensor.from_value_rowids(
        tf.boolean_mask(points, keep), tf.boolean_mask(rows, keep), tf.size(strings, tf.int64), validate=False
    )
    return tf.strings.unicode_encode(rows, "UTF-8")


def _decomposed(points, rows):
    """Puts what each code point is made of in its place."""
    table = _decompositions()
    at, found = _find(table["points"], points)
    count = tf.where(found, tf.gather(table["counts"], at), 1)
    source = tf.repeat(tf.range(tf.size(points)), count)
    within = tf.range(tf.size(source)) - tf.gather(tf.cumsum(count, exclusive=True), source)
    part = tf.gather(table["offsets"], tf.gather(at, source)) + within
    parts = tf.gather(table["parts"], tf.minimum(part, len(table["parts"]) - 1))
    return tf.where(tf.gather(found, source), parts, tf.gather(points, source)), tf.gather(rows, source)


def _following(points):
    """Returns whether each code point may join the one before it, and its combining class."""
    table = _soft()
    at, found = _find(table["points"], points)
    return found, tf.where(found, tf.gather(table["classes"], at), 0)


def _ordered(points, order, cluster):
    """Sorts the marks behind a letter by their combining class; equal ones stay in their order."""
    base = tf.concat([[True], cluster[1:] != cluster[:-1]], 0)[: tf.size(cluster)] | (order == 0)
    key = 256 * tf.cumsum(tf.cast(base, tf.int64)) + tf.cast(order, tf.int64)

    def sort():
        place = tf.argsort(key, stable=True)
        return tf.gather(points, place), tf.gather(order, place)

    points, order = tf.cond(tf.reduce_any(key[1:] < key[:-1]), sort, lambda: (points, order))
    return points, order, cluster


def _composed(points, order, cluster):
    """Joins each mark to the letter before it where Unicode has a code point for both, one mark of all in a turn.

    Returns:
        `(points, keep)`: the letters changed, and False where a mark is now part of its letter.
    """
    table = _compositions()
    sizes = tf.math.bincount(tf.cast(cluster, tf.int32))
    begin = tf.cumsum(sizes, exclusive=True)

    def turn(number, size, at, head, head_at, last, points, keep):
        left = tf.where(size > number)
        size, at, head, head_at, last = (tf.gather_nd(each, left) for each in (size, at, head, head_at, last))
        place = at + number
        point, mark = tf.gather(points, place), tf.gather(order, place)
        pair = tf.bitwise.left_shift(tf.cast(head, tf.int64), BITS) + tf.cast(point, tf.int64)
        entry, found = _find(table["pairs"], pair)
        joins = found & (last < mark)  # a mark of the same class between them keeps them apart
        joined = tf.where(joins)
        head = tf.where(joins, tf.gather(table["points"], entry), head)
        letters, gone = tf.gather_nd(head_at, joined)[:, None], tf.gather_nd(place, joined)[:, None]
        points = tf.tensor_scatter_nd_update(points, letters, tf.gather_nd(head, joined))
        keep = tf.tensor_scatter_nd_update(keep, gone, tf.zeros_like(gone[:, 0], tf.bool))
        new = ~joins & (mark == 0)
        head, head_at = tf.where(new, point, head), tf.where(new, place, head_at)
        last = tf.where(new, -1, tf.where(joins, last, mark))
        return number + 1, size, at, head, head_at, last, points, keep

    first = tf.gather(order, begin)
    head = tf.where(first == 0, tf.gather(points, begin), 0)  # nothing joins U+0000
    state = (sizes, begin, head, begin, tf.where(first == 0, -1, first))
    unknown = tf.TensorShape([None])
    *_, points, keep = tf.while_loop(
        lambda number, size, *_: tf.reduce_any(size > number),
        turn,
        (tf.constant(1), *state, points, tf.ones_like(points, tf.bool)),
        (tf.TensorShape([]), *[unknown] * 7),
    )
    return points, keep


def _find(table, values):
    at = tf.minimum(tf.searchsorted(table, values), len(table) - 1)
    return at, tf.gather(table, at) == values


@functools.cache
def _decompositions():
    parts = {}
    for point in range(LAST + 1):
        if unicodedata.decomposition(chr(point)) or point in HANGUL:
            parts[point] = [ord(part) for part in unicodedata.normalize("NFKD", chr(point))]
    counts = np.array([len(part) for part in parts.values()], np.int32)
    return {
        "points": np.array(list(parts), np.int32),
        "counts": counts,
        "offsets": (np.cumsum(counts) - counts).astype(np.int32),
        "parts": np.concatenate([np.array(part, np.int32) for part in parts.values()]),
    }


@functools.cache
def _compositions():
    pairs = {}
    for point in _decompositions()["points"].tolist():
        text = chr(point)
        if point in HANGUL:
            whole = unicodedata.normalize("NFD", text)
            parts = [unicodedata.normalize("NFC", whole[:-1]), whole[-1]]
        else:
            # Only what is the same letter, not what merely looks alike, which the list marks with a word in <>.
            parts = unicodedata.decomposition(text).split()
            if len(parts) != 2 or parts[0].startswith("<") or unicodedata.normalize("NFC", text) != text:
                continue
            parts = [chr(int(part, 16)) for part in parts]
        pairs[(ord(parts[0]) << BITS) + ord(parts[1])] = point
    keys = sorted(pairs)
    return {"pairs": np.array(keys, np.int64), "points": np.array([pairs[key] for key in keys], np.int32)}


@functools.cache
def _soft():
    seconds = {int(pair) & ((1 << BITS) - 1) for pair in _compositions()["pairs"]}
    classes = {point: unicodedata.combining(chr(point)) for point in range(LAST + 1)}
    points = [point for point, value in classes.items() if value or point in seconds]
    return {"points": np.array(points, np.int32), "classes": np.array([classes[p] for p in points], np.int32)}
