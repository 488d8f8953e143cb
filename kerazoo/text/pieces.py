"""Text cut into pieces of words, blanks and signs, inside the graph: no subword crosses their borders."""

import tensorflow as tf

# A word with the blank before it, a number, signs, or white space.
PATTERN = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^ \t\r\n\p{L}\p{M}\p{N}]+|[ \t\r\n]+"
LONGEST = 64  # bytes of a piece: text without blanks takes no more turns of the merging loop than other text
# What `words` cuts at, as one pattern for regular expressions that look ahead: of a run of blanks the last one belongs
# to the word behind it.
WORDS = r" +(?= |\z)| ?[^ ]+"
MARK = b"\xff"  # a byte that no UTF-8 has


def words(strings):
    """Returns the distinct words of `strings` `[B]` and where they stand.

    Words are cut before blanks: `"a b  c"` has the words `"a"`, `" b"`, `" "` and `" c"`.

    Returns:
        `(distinct, index, row_lengths)`: strings `[U]`, int64 `[N]` with the word at each place of all strings one
        behind the other, and int64 `[B]`, the words of each string.
    """
    split = tf.strings.split(strings, " ")
    parts, rows = split.flat_values, split.value_rowids()  # [P]
    found, place = tf.unique(parts, out_idx=tf.int64)  # the blank before a word is not yet part of it
    first = tf.concat([[True], rows[1:] != rows[:-1]], 0)[: tf.size(rows)]
    # An empty part is a blank without a word behind it; before the first blank it is nothing at all.
    empty = tf.gather(tf.strings.length(found) == 0, place)
    blank = empty & ~first
    kinds = tf.size(found, tf.int64)
    key = 2 * place + tf.cast(~first, tf.int64)
    key, rows = tf.cond(tf.reduce_any(empty), lambda: _runs(key, rows, empty, blank, 2 * kinds), lambda: (key, rows))
    keys, index = tf.unique(key, out_idx=tf.int64)
    lengths = tf.math.bincount(tf.cast(rows, tf.int32), minlength=tf.size(strings), dtype=tf.int64)
    return _written(found, keys, 2 * kinds), index, lengths


def cut(words):
    """Returns the bytes of `words` `[U]` as UTF-8, and which of them begins a piece.

    Returns:
        `(bytes, starts, lengths)`: uint8 `[N]` and bool `[N]` of all words one behind the other, int64 `[U]` the bytes
        of each word. Bytes that are no UTF-8 have become U+FFFD.
    """
    words = tf.strings.unicode_transcode(words, "UTF-8", "UTF-8")
    marked = tf.strings.regex_replace(words, PATTERN, rb"\0" + MARK)
    raw = tf.io.decode_raw(tf.strings.reduce_join(marked), tf.uint8)[: tf.reduce_sum(tf.strings.length(marked))]
    mark = raw == MARK[0]
    starts = tf.concat([[True], mark[:-1]], 0)[: tf.size(raw)]
    lengths = tf.cast(tf.strings.length(words), tf.int64)
    raw, starts = tf.boolean_mask(raw, ~mark), tf.boolean_mask(starts, ~mark)
    place = tf.range(tf.size(raw))
    begin = tf.gather(tf.boolean_mask(place, starts), tf.cumsum(tf.cast(starts, tf.int32)) - 1)
    return raw, (place - begin) % LONGEST == 0, lengths


def _runs(key, rows, empty, blank, base):
    """Makes one word of each run of blanks without words: its key is `base` and the number of blanks."""
    place = tf.range(tf.size(key, tf.int64))
    begins = blank & ~tf.concat([[False], blank[:-1] & (rows[1:] == rows[:-1])], 0)
    run = tf.cumsum(tf.cast(begins, tf.int64))  # number of the run that a blank belongs to, from 1
    size = tf.math.unsorted_segment_sum(tf.cast(blank, tf.int64), run, tf.size(place, tf.int64) + 1)
    key = tf.where(blank, base + tf.gather(size, run), key)
    keep = begins | ~empty
    return tf.boolean_mask(key, keep), tf.boolean_mask(rows, keep)


def _written(found, keys, base):
    """Returns the word of each key: a part without and with a blank before it, or a run of blanks."""
    is_run = keys >= base
    part = tf.gather(found, tf.where(is_run, tf.zeros_like(keys), keys // 2))
    blanks = tf.where(is_run, keys - base, keys % 2)
    before = tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(blanks)], ord(" ")), blanks, validate=False)
    return tf.strings.join([tf.strings.unicode_encode(before, "UTF-8"), tf.where(is_run, "", part)])
