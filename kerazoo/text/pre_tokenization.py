"""Pre-tokenization inside the graph: text split into words, numbers, signs and white space."""

import tensorflow as tf

from kerazoo.text.rows import row_ids

# A word with the blank before it, a number, signs, or white space.
PATTERN = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^ \t\r\n\p{L}\p{M}\p{N}]+|[ \t\r\n]+"
MAX_BYTES = 64  # of a pre-token: it bounds the steps of the merging loop for text without blanks
# What `split_words` splits at, as a regular expression with lookahead: the last blank of several belongs to the word
# after it.
WORDS = r" +(?= |\z)| ?[^ ]+"
MARK = b"\xff"  # a byte that no UTF-8 has


def split_words(strings):
    """Returns the distinct words of strings, and the index of each word of each string.

    Strings are split before blanks: `"a b  c"` has the words `"a"`, `" b"`, `" "` and `" c"`.

    Args:
        strings: string tensor `[B]`.

    Returns:
        `(distinct, index, row_lengths)`: strings `[U]`; int64 `[N]`, the index in `distinct` of all words of all
        strings in their order; int64 `[B]`, the number of words of each string.
    """
    split = tf.strings.split(strings, " ")
    parts, rows = split.flat_values, row_ids(split.row_splits, tf.size(split.flat_values))  # [P]
    distinct, part_index = tf.unique(parts, out_idx=tf.int64)  # without the blank before the word
    first = tf.concat([[True], rows[1:] != rows[:-1]], 0)[: tf.size(rows)]
    # An empty part is a blank without a word after it; the first part of a row has no blank before it.
    empty = tf.gather(tf.strings.length(distinct) == 0, part_index)
    blank = empty & ~first
    run_base = 2 * tf.size(distinct, tf.int64)
    key = 2 * part_index + tf.cast(~first, tf.int64)
    key, rows = tf.cond(
        tf.reduce_any(empty), lambda: _join_blanks(key, rows, empty, blank, run_base), lambda: (key, rows)
    )
    keys, index = tf.unique(key, out_idx=tf.int64)
    lengths = tf.math.bincount(tf.cast(rows, tf.int32), minlength=tf.size(strings), dtype=tf.int64)
    return _words_of_keys(distinct, keys, run_base), index, lengths


def split_bytes(words):
    """Returns the bytes of words, and whether a pre-token begins at each byte.

    Args:
        words: string tensor `[U]`.

    Returns:
        `(bytes, starts, lengths)`: uint8 `[N]` and boolean `[N]` of the bytes of all words; int64 `[U]`, the number of
        bytes of each word. Bytes that are not UTF-8 are replaced by U+FFFD.
    """
    words = tf.strings.unicode_transcode(words, "UTF-8", "UTF-8")
    marked = tf.strings.regex_replace(words, PATTERN, rb"\0" + MARK)
    raw = tf.io.decode_raw(tf.strings.reduce_join(marked), tf.uint8)[: tf.reduce_sum(tf.strings.length(marked))]
    mark = raw == MARK[0]
    starts = tf.concat([[True], mark[:-1]], 0)[: tf.size(raw)]
    lengths = tf.cast(tf.strings.length(words), tf.int64)
    raw, starts = tf.boolean_mask(raw, ~mark), tf.boolean_mask(starts, ~mark)
    position = tf.range(tf.size(raw))
    begin = tf.gather(tf.boolean_mask(position, starts), tf.cumsum(tf.cast(starts, tf.int32)) - 1)
    return raw, (position - begin) % MAX_BYTES == 0, lengths


def _join_blanks(key, rows, empty, blank, run_base):
    """Joins successive blanks without words to one word, whose key is `run_base` plus the number of blanks."""
    position = tf.range(tf.size(key, tf.int64))
    begins = blank & ~tf.concat([[False], blank[:-1] & (rows[1:] == rows[:-1])], 0)
    run = tf.cumsum(tf.cast(begins, tf.int64))  # number of the run that a blank belongs to, from 1
    size = tf.math.unsorted_segment_sum(tf.cast(blank, tf.int64), run, tf.size(position, tf.int64) + 1)
    key = tf.where(blank, run_base + tf.gather(size, run), key)
    keep = begins | ~empty
    return tf.boolean_mask(key, keep), tf.boolean_mask(rows, keep)


def _words_of_keys(distinct, keys, run_base):
    """Returns the word of each key: a part without or with a blank before it, or several blanks."""
    is_run = keys >= run_base
    part = tf.gather(distinct, tf.where(is_run, tf.zeros_like(keys), keys // 2))
    blanks = tf.where(is_run, keys - run_base, keys % 2)
    before = tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(blanks)], ord(" ")), blanks, validate=False)
    return tf.strings.join([tf.strings.unicode_encode(before, "UTF-8"), tf.where(is_run, "", part)])
