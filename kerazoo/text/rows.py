"""Rows of ragged tensors, in memory that grows with the number of values.

`tf.RaggedTensor.value_rowids` and what builds on it (`tf.ragged.boolean_mask`, `tf.repeat`) make a table of rows times
the longest row.
"""

import tensorflow as tf


def row_ids(row_splits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the row of each value, int64 `[N]`.

    Args:
        row_splits: int64 tensor `[B + 1]`. The first value of each row, and the number of values N.
        size: int32 scalar. The number of values N.
    """
    # A row begins at its split, and so do the empty rows before it; those at the end are beyond the last value.
    begins = tf.math.bincount(tf.cast(row_splits[1:-1], tf.int32), minlength=size, maxlength=size, dtype=tf.int64)
    return tf.cumsum(begins)


def keep_values(ragged: tf.RaggedTensor, keep: tf.Tensor) -> tf.RaggedTensor:
    """Returns a ragged tensor `[B, (T)]` without the values where `keep`, boolean `[N]`, is False."""
    ends = tf.concat([[0], tf.cumsum(tf.cast(keep, tf.int64))], 0)
    values, row_splits = tf.boolean_mask(ragged.flat_values, keep), tf.gather(ends, ragged.row_splits)
    return tf.RaggedTensor.from_row_splits(values, row_splits, validate=False)
