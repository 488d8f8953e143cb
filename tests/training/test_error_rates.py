import random

import pytest

from kerazoo.training.error_rates import edit_distance, sequence_error_rate, token_error_rate


def by_table(first, second):
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


@pytest.mark.parametrize("letters", [2, 5, 40])
def test_edit_distance_equals_the_full_table(letters):
    rng = random.Random(letters)
    for _ in range(300):
        first, second = ([rng.randrange(letters) for _ in range(rng.randrange(13))] for _ in range(2))
        assert edit_distance(first, second) == by_table(first, second) == edit_distance(second, first)


def test_edit_distance_of_sequences_longer_than_a_machine_word():
    rng = random.Random(1)
    first, second = ([rng.randrange(3) for _ in range(length)] for length in (211, 173))
    assert edit_distance(first, second) == by_table(first, second)


def test_edit_distance_takes_strings_and_empty_sequences():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance([], []) == 0


def test_the_closest_reference_counts_with_its_own_length():
    predictions = [["K", "AE", "T"], ["D", "AO", "G"]]
    references = [[["K", "AA", "T", "S"], ["K", "AE", "D"]], [["D", "AO", "G"], ["D"]]]
    assert token_error_rate(predictions, references) == pytest.approx(1 / 6)
    assert sequence_error_rate(predictions, references) == pytest.approx(1 / 2)


def test_strings_are_split():
    predictions, references = ["a b", "c"], [["a b"], ["d d", "c e"]]
    assert token_error_rate(predictions, references, split=str.split) == pytest.approx(1 / 4)
    assert token_error_rate(predictions, references, split=list) == pytest.approx(2 / 6)
    assert sequence_error_rate(predictions, references, split=str.split) == 0.5


def test_empty_references():
    assert token_error_rate([[]], [[[]]]) == 0.0
    assert token_error_rate([[1]], [[[]]]) == 1.0


@pytest.mark.parametrize(
    ("predictions", "references", "error", "message"),
    [
        ([[1]], [], ValueError, r"token_error_rate: .*equally long and not empty; got 1 predictions, 0 references"),
        ([], [], ValueError, r"got 0 predictions, 0 references"),
        ([[1]], [[]], ValueError, r"`references` must hold a list of accepted references .*got references\[0\]=\[\]"),
        (["a"], ["a"], ValueError, r"got references\[0\]='a'"),
        (["a"], [["a"]], TypeError, r"must be sequences of tokens; got 'a'. Pass split=str.split"),
        ([[1]], [[1]], TypeError, r"must be sequences of tokens; got 1"),
    ],
)
def test_bad_arguments_are_refused(predictions, references, error, message):
    with pytest.raises(error, match=message):
        token_error_rate(predictions, references)
