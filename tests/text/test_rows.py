"""Rows of ragged tensors without a table of rows times the longest row."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo import text
from kerazoo.text.normalization import nfkc
from kerazoo.text.rows import keep_values, row_ids


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(-3, 3), max_size=4), max_size=9))
def test_rows_are_those_of_tensorflow(rows):
    ragged = tf.ragged.constant(rows, tf.int32, ragged_rank=1)
    ids = row_ids(ragged.row_splits, tf.size(ragged.flat_values))
    assert ids.numpy().tolist() == ragged.value_rowids().numpy().tolist()
    kept = keep_values(ragged, ragged.flat_values > 0)
    assert kept.to_list() == [[value for value in row if value > 0] for row in rows]


def test_one_long_string_among_many_takes_little_memory():
    """A table of rows times the longest row would take 0.8 GB for the normal form and 6.5 GB for the subwords."""
    resource = pytest.importorskip("resource")
    tokenizer = text.BytePairTokenizer(["z o"])
    functions = {
        "é": nfkc,
        "z": tokenizer.tokenize,
        "y": text.WordTokenizer(["1"], stop_words=["2"]).tokenize,
        "z ": lambda strings: tokenizer.tokenize_with_dropout(strings, 0.1, 1),
    }
    for piece, function in functions.items():
        strings = tf.constant([f"é {number}" for number in range(32_767)] + [piece * 30_000])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        function(strings)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000, piece  # kilobytes
