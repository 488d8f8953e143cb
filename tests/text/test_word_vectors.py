"""Word vectors in text format: what is read, what is made up, and what is refused with its line."""

import gzip

import numpy as np
import pytest

import kerazoo.text as text
from kerazoo._checks import DataError

WORDS = text.WordTokenizer(["dog", "emu", "kea", "né"])


def write(path, content, compress=False):
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if compress else content)
    return path


def test_glove_and_fasttext_are_read_alike(tmp_path):
    lines = "cat 1 2 3\ndog 4 5 6\nné -1e-1 0 .5 \r\n. . 7 8 9\ndog 0 0 0\n"
    plain = text.read_word_vectors(write(tmp_path / "a.txt", lines), WORDS)
    with_header = text.read_word_vectors(write(tmp_path / "a.vec.gz", "5 3\n" + lines, compress=True), WORDS)
    assert np.array_equal(plain.array, with_header.array)
    assert plain.array.shape == (8, 3) and plain.array.dtype == np.float32
    assert plain.array[4].tolist() == [4, 5, 6]
    assert np.allclose(plain.array[7], [-0.1, 0, 0.5])
    assert plain.found.tolist() == [False] * 4 + [True, False, False, True]
    assert plain.coverage == 0.5


def test_missing_rows_are_small_and_follow_from_the_seed(tmp_path):
    path = write(tmp_path / "a.txt", "dog " + " ".join(["3"] * 100) + "\n<unk> " + " ".join(["2"] * 100))
    once, again, other = (text.read_word_vectors(path, WORDS, seed=seed).array for seed in (7, 7, 8))
    assert np.array_equal(once, again) and not np.array_equal(once, other)
    assert 0.07 < once[5:].std() < 0.13
    assert (once[WORDS.unknown_id] == 2).all()
    tiny = text.read_word_vectors(write(tmp_path / "b.txt", "dog " + " ".join(["0.01"] * 100)), WORDS)
    assert 0.007 < tiny.array[5:].std() < 0.013


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("dog 1 2\nemu 1\n", r"a.txt:2: expected a word and 2 numbers, got 2 values: 'emu 1'"),
        ("2 3\ndog 1 2\n", r"a.txt:2: expected a word and 3 numbers, got 3 values"),
        ("dog 1 2\n\nemu 1 two\n", r"a.txt:3: expected numbers, got '1 two'"),
        ("dog 1 nan\n", r"a.txt:1: expected finite numbers, got '1 nan'"),
        ("dog\n", r"a.txt:1: expected a word and its numbers separated by blanks, got 'dog'"),
        ("cat 1 2\n", r"a.txt: has none of the 4 tokens of the vocabulary, such as 'dog', 'emu', 'kea'"),
        ("", r"a.txt: is empty"),
        (None, r"a.txt: cannot be read: No such file"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(content, said, tmp_path):
    path = tmp_path / "a.txt"
    if content is not None:
        write(path, content)
    with pytest.raises(DataError, match=said):
        text.read_word_vectors(path, WORDS)


def test_a_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress(b"dog 1 2\n" * 10_000)
    with pytest.raises(DataError, match="a.vec.gz: cannot be read after line"):
        text.read_word_vectors(write(tmp_path / "a.vec.gz", whole[: len(whole) // 2]), WORDS)
    with pytest.raises(DataError, match="b.vec.gz: cannot be read"):
        text.read_word_vectors(write(tmp_path / "b.vec.gz", "dog 1 2\n"), WORDS)


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`seed` must be an integer of at least 0; got seed=-1"):
        text.read_word_vectors(tmp_path / "a.txt", WORDS, seed=-1)
