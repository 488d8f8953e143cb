"""Noise for tokens: what may happen to a row, to several that share it, and to padding."""

import numpy as np
import pytest
from keras import ops

from kerazoo.layers import WordDropout, WordPermutation, WordReplacement

B, T = 61, 11
LENGTHS = np.arange(B) % (T + 1)
TOKENS = np.where(np.arange(T) < LENGTHS[:, None], np.arange(4, 4 + T), 0).astype("int32")  # ascending in each row
# Three sequences a row and padding; all tokens differ.
SEGMENTS = np.repeat([[1, 1, 1, 2, 2, 2, 2, 2, 3, 0, 0]], B, axis=0).astype("int32")
PACKED = np.where(SEGMENTS > 0, np.arange(4, 4 + T), 0).astype("int32")


def noisy(layer, tokens=TOKENS, segments=None):
    return [ops.convert_to_numpy(x) for x in layer.transform(tokens, layer.seed_generator, segments)]


def test_dropped_tokens_leave_no_gap_and_no_row_empty():
    made, segments = noisy(WordDropout(0.5, seed=3))
    assert made.dtype == "int32"
    kept = (made > 0).sum(axis=1)
    assert (kept[LENGTHS > 0] > 0).all() and (kept <= LENGTHS).all()
    assert np.array_equal(segments > 0, np.arange(T) < kept[:, None])
    for row, tokens in zip(made, TOKENS):
        valid = row[row > 0]
        assert set(valid) <= set(tokens) and np.array_equal(valid, np.sort(valid))
    assert 0.4 < kept[LENGTHS > 5].sum() / LENGTHS[LENGTHS > 5].sum() < 0.6


def test_dropout_keeps_something_of_every_sequence_of_a_row():
    made, segments = noisy(WordDropout(0.9, seed=3), PACKED, SEGMENTS)
    of = dict(zip(PACKED[0], SEGMENTS[0]))
    for row, numbers in zip(made, segments):
        assert [of[token] for token in row[row > 0]] == numbers[row > 0].tolist()
        assert set(numbers[row > 0]) == {1, 2, 3} and not numbers[row == 0].any()


def test_permuted_tokens_stay_near_and_in_their_sequence():
    made, _ = noisy(WordPermutation(2, seed=3))
    assert np.array_equal(np.sort(made), np.sort(TOKENS)) and np.array_equal(made > 0, TOKENS > 0)
    moves = np.abs(made - TOKENS)[TOKENS > 0]
    assert moves.max() == 2 and (moves > 0).mean() > 0.3
    made, segments = noisy(WordPermutation(7, seed=3), PACKED, SEGMENTS)
    assert np.array_equal(segments, SEGMENTS)
    for number in (1, 2, 3):
        inside = SEGMENTS[0] == number
        assert np.array_equal(np.sort(made[:, inside]), PACKED[:, inside])
    assert (made != PACKED).any(axis=1).mean() > 0.9


def test_replaced_tokens_are_unknown_or_of_the_vocabulary():
    marked = TOKENS.copy()
    marked[LENGTHS > 0, LENGTHS[LENGTHS > 0] - 1] = 2  # the end stays
    made, _ = noisy(WordReplacement(0.5, seed=3), marked)
    changed = made != marked
    assert (made[changed] == 3).all() and (marked[changed] > 3).all()
    assert 0.4 < changed.sum() / (marked > 3).sum() < 0.6
    made, _ = noisy(WordReplacement(0.5, None, vocabulary_size=29, first_id=4, seed=3), marked)
    assert made.max() == 28 and np.array_equal(made[marked < 4], marked[marked < 4])
    assert set(range(4, 29)) == set(made[made > 3])


@pytest.mark.parametrize("layer", [WordDropout(0.5), WordReplacement(0.5), WordPermutation(3)])
def test_nothing_happens_in_inference(layer):
    assert np.array_equal(layer(TOKENS), TOKENS)
    assert not np.array_equal(ops.convert_to_numpy(layer(TOKENS, training=True)), TOKENS)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WordDropout(1.0), ValueError, r"WordDropout: `rate` .* rate=1.0"),
        (lambda: WordReplacement("a"), TypeError, r"WordReplacement: `rate` .* rate='a'"),
        (lambda: WordReplacement(replacement_id=-1), ValueError, r"`replacement_id` .* replacement_id=-1"),
        (lambda: WordReplacement(0.1, None), ValueError, "above `first_id` .* vocabulary_size=None, first_id=3"),
        (lambda: WordPermutation(0), ValueError, r"WordPermutation: `distance` .* distance=0"),
        (lambda: WordPermutation(pad_id=-3), ValueError, r"WordPermutation: `pad_id` .* pad_id=-3"),
    ],
)
def test_errors_name_argument_and_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
