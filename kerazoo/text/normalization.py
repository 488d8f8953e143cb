"""Unicode's normal form NFKC inside the graph, with the results of Python's `unicodedata`."""

import functools
import unicodedata

import numpy as np
import tensorflow as tf

from kerazoo.text.rows import row_ids

MAX_CODE_POINT = 0x10FFFF
HANGUL = range(0xAC00, 0xD7A4)  # syllables, which Unicode composes by a rule and not by a table
POINT_BITS = 21  # of a code point


def nfkc(strings) -> tf.Tensor:
    """Returns strings in Unicode's normal form NFKC; strings of ASCII are in that form already and are not processed.

    Args:
        strings: string tensor `[B]`. Bytes that are not UTF-8 become U+FFFD.

    Returns:
        string tensor `[B]`.
    """
    wide = tf.strings.length(strings) != tf.strings.length(strings, unit="UTF8_CHAR")
    rows = tf.where(wide)
    return tf.cond(
        tf.size(rows) > 0,
        lambda: tf.tensor_scatter_nd_update(strings, rows, _normalized(tf.gather_nd(strings, rows))),
        lambda: strings,
    )


def _normalized(strings):
    points = tf.strings.unicode_decode(strings, "UTF-8")  # what is not UTF-8 becomes U+FFFD
    points, rows = _decomposed(points.flat_values, row_ids(points.row_splits, tf.size(points.flat_values)))
    may_join, order = _combining(points)
    starts = ~may_join | tf.concat([[True], rows[1:] != rows[:-1]], 0)[: tf.size(rows)]
    cluster = tf.cumsum(tf.cast(starts, tf.int64)) - 1
    long = tf.gather(tf.math.bincount(tf.cast(cluster, tf.int32)), cluster) > 1  # the others are in normal form
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
    """Replaces each code point by its decomposition."""
    table = _decompositions()
    at, found = _find(table["points"], points)
    count = tf.where(found, tf.gather(table["counts"], at), 1)
    ends = tf.concat([[0], tf.cumsum(count)], 0)
    source = tf.cast(row_ids(ends, ends[-1]), tf.int32)
    within = tf.range(ends[-1]) - tf.gather(ends, source)
    part = tf.gather(table["offsets"], tf.gather(at, source)) + within
    parts = tf.gather(table["parts"], tf.minimum(part, len(table["parts"]) - 1))
    return tf.where(tf.gather(found, source), parts, tf.gather(points, source)), tf.gather(rows, source)


def _combining(points):
    """Returns whether each code point may be composed with the one before it, and its combining class."""
    table = _combining_classes()
    at, found = _find(table["points"], points)
    return found, tf.where(found, tf.gather(table["classes"], at), 0)


def _ordered(points, order, cluster):
    """Sorts the marks after a letter by their combining class; equal ones keep their order."""
    base = tf.concat([[True], cluster[1:] != cluster[:-1]], 0)[: tf.size(cluster)] | (order == 0)
    key = 256 * tf.cumsum(tf.cast(base, tf.int64)) + tf.cast(order, tf.int64)

    def sort():
        index = tf.argsort(key, stable=True)
        return tf.gather(points, index), tf.gather(order, index)

    points, order = tf.cond(tf.reduce_any(key[1:] < key[:-1]), sort, lambda: (points, order))
    return points, order, cluster


def _composed(points, order, cluster):
    """Composes each mark with the letter before it where Unicode has a code point for both.

    Each step of the loop processes one mark of every letter.

    Returns:
        `(points, keep)`: the changed code points, and False at marks that are now part of their letter.
    """
    table = _compositions()
    sizes = tf.math.bincount(tf.cast(cluster, tf.int32))
    begin = tf.cumsum(sizes, exclusive=True)

    def compose_next(step, size, at, head, head_at, last, points, keep):
        active = tf.where(size > step)
        size, at, head, head_at, last = (tf.gather_nd(each, active) for each in (size, at, head, head_at, last))
        position = at + step
        point, mark = tf.gather(points, position), tf.gather(order, position)
        pair = tf.bitwise.left_shift(tf.cast(head, tf.int64), POINT_BITS) + tf.cast(point, tf.int64)
        entry, found = _find(table["pairs"], pair)
        joins = found & (last < mark)  # not across a mark of the same class
        joined = tf.where(joins)
        head = tf.where(joins, tf.gather(table["points"], entry), head)
        letters, removed = tf.gather_nd(head_at, joined)[:, None], tf.gather_nd(position, joined)[:, None]
        points = tf.tensor_scatter_nd_update(points, letters, tf.gather_nd(head, joined))
        keep = tf.tensor_scatter_nd_update(keep, removed, tf.zeros_like(removed[:, 0], tf.bool))
        new = ~joins & (mark == 0)
        head, head_at = tf.where(new, point, head), tf.where(new, position, head_at)
        last = tf.where(new, -1, tf.where(joins, last, mark))
        return step + 1, size, at, head, head_at, last, points, keep

    first = tf.gather(order, begin)
    head = tf.where(first == 0, tf.gather(points, begin), 0)  # nothing is composed with U+0000
    state = (sizes, begin, head, begin, tf.where(first == 0, -1, first))
    vector = tf.TensorShape([None])
    *_, points, keep = tf.while_loop(
        lambda step, size, *_: tf.reduce_any(size > step),
        compose_next,
        (tf.constant(1), *state, points, tf.ones_like(points, tf.bool)),
        (tf.TensorShape([]), *[vector] * 7),
    )
    return points, keep


def _find(table, values):
    at = tf.minimum(tf.searchsorted(table, values), len(table) - 1)
    return at, tf.gather(table, at) == values


@functools.cache
def _decompositions():
    parts = {}
    for point in range(MAX_CODE_POINT + 1):
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
            # Canonical equivalence alone; a compatibility decomposition begins with a word in <>.
            parts = unicodedata.decomposition(text).split()
            if len(parts) != 2 or parts[0].startswith("<") or unicodedata.normalize("NFC", text) != text:
                continue
            parts = [chr(int(part, 16)) for part in parts]
        pairs[(ord(parts[0]) << POINT_BITS) + ord(parts[1])] = point
    keys = sorted(pairs)
    return {"pairs": np.array(keys, np.int64), "points": np.array([pairs[key] for key in keys], np.int32)}


@functools.cache
def _combining_classes():
    seconds = {int(pair) & ((1 << POINT_BITS) - 1) for pair in _compositions()["pairs"]}
    classes = {point: unicodedata.combining(chr(point)) for point in range(MAX_CODE_POINT + 1)}
    points = [point for point, value in classes.items() if value or point in seconds]
    return {"points": np.array(points, np.int32), "classes": np.array([classes[p] for p in points], np.int32)}
