"""Subwords: exact on every script, and equal to what the library that learnt them gives."""

import sys

import numpy as np
import pytest
import tensorflow as tf
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st

import kerazoo.text as text
from kerazoo._checks import SetupError
from kerazoo.text import learning, pieces

CORPUS = [
    "the cat sat on the mat, and the other cat sat there too",
    "Die Katze sitzt auf der Matte; größere Kätzchen naïve",
    "кошка сидит на коврике, кошка",
    "猫坐在垫子上。猫坐在垫子上。猫很大",
    "القطة تجلس على السجادة القطة",
    "e\u0301t\u0323a e\u0301t\u0323a 👩\u200d👩\u200d👧 👩\u200d👩\u200d👧",
    "    return   1234 12 12\n\n\treturn x",
]
SIZE = 4 + 256 + 61
# Text that is likely to meet merges, blanks and borders of pieces.
TEXT = st.text(
    st.one_of(
        st.sampled_from(sorted(set("".join(CORPUS)))),
        st.sampled_from(" \t\n\r\u00a0\u200d\x00"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=53,
)


@pytest.fixture(scope="module")
def tokens():
    return text.Subwords.learn(CORPUS, size=SIZE)


@pytest.fixture(scope="module")
def twin(tokens):
    """The library's own tokenizer of the same merges."""
    ids = {subword: place + 4 for place, subword in enumerate(tokens.vocabulary)}
    pairs = [tuple(merge.split()) for merge in tokens.config["merges"]]
    made = library.Tokenizer(library.models.BPE(vocab=ids, merges=pairs))
    made.pre_tokenizer = learning.pre_tokenizer()
    return lambda strings: [encoding.ids for encoding in made.encode_batch(strings)]


def strings(tensor):
    return [value.decode() for value in tensor.numpy()]


@settings(max_examples=80, deadline=None)
@given(batch=st.lists(TEXT, max_size=11))
def test_exact_and_equal_to_the_library(tokens, twin, batch):
    ids = tokens.tokenize(batch)
    assert ids.to_list() == twin(batch)
    assert strings(tokens.detokenize(ids)) == batch
    assert strings(tokens.detokenize(tokens.encode(batch))) == batch
    assert strings(tokens.detokenize(tokens.sample(batch, 0.4, 3))) == batch


@settings(max_examples=40, deadline=None)
@given(batch=st.lists(TEXT, max_size=11))
def test_bytes_and_characters_are_exact_too(batch):
    for tokenizer in (text.Bytes(), text.Characters.learn(batch)):
        assert strings(tokenizer.detokenize(tokenizer.tokenize(batch))) == batch


def test_pieces_that_are_long(tokens, twin):
    batch = ["the" * 1000, " " * 1000, "猫坐在垫子上" * 500, "a" * 63 + "the", "\n" * 129, "12" * 100 + " " * 65]
    assert tokens.tokenize(batch).to_list() == twin(batch)
    assert strings(tokens.detokenize(tokens.tokenize(batch))) == batch
    assert pieces.LONGEST == 64


def test_frequent_words_are_one_token(tokens):
    assert tokens.vocabulary_size == SIZE
    ids = tokens.tokenize(["the the", "", "!"]).to_list()
    assert [len(row) for row in ids] == [2, 0, 1]
    assert [tokens.vocabulary[i - 4] for i in ids[0]] == ["the", "Ġthe"]
    assert ids[2] == [4 + ord("!")]
    assert tokens.tokenize([]).to_list() == []


def test_what_is_no_utf8_is_read_as_a_sign_for_that(tokens):
    assert strings(tokens.detokenize(tokens.tokenize([b"a\xff b\xc3"]))) == ["a\ufffd b\ufffd"]
    assert tokens.detokenize([[4 + 0xC3]]).numpy().tolist() == [b"\xc3"]
    assert tokens.split("the  cat\tsat") == ["the", "cat", "sat"]


def test_learning_is_repeatable_and_bounded():
    again = text.Subwords.learn(CORPUS, size=SIZE)
    assert again.digest == text.Subwords.learn(iter(CORPUS), size=SIZE).digest
    assert again.digest != text.Subwords.learn(CORPUS, size=SIZE - 1).digest
    few = text.Subwords.learn(["ab ab"], size=8000)
    assert few.config["merges"] == ["a b"] and few.vocabulary_size == 261
    assert text.Subwords.learn([], size=300).vocabulary_size == 260


def test_dropout_cuts_words_at_random_but_repeatably(tokens):
    batch = CORPUS * 7
    plain = tokens.tokenize(batch)
    assert tokens.sample(batch, 0.0, 5).to_list() == plain.to_list()
    once, again, other = (tokens.sample(batch, 0.3, seed) for seed in ((5, 1), (5, 1), (5, 2)))
    assert once.to_list() == again.to_list() != other.to_list()
    assert len({tuple(row) for row in once.to_list()[:: len(CORPUS)]}) > 1  # the same text, cut in several ways
    assert plain.flat_values.shape[0] < once.flat_values.shape[0] < tokens.sample(batch, 0.9, 5).flat_values.shape[0]


def test_dropout_stops_where_no_merge_is_left():
    lengths = text.Subwords(["a b", "ab c"]).sample(["abc"] * 3001, 0.4, 7).row_lengths().numpy()
    for length, share in {3: 0.4, 2: 0.6 * 0.4, 1: 0.6 * 0.6}.items():
        assert abs(np.mean(lengths == length) - share) < 0.03


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: text.Subwords(["a bc"]), ValueError, r"`merges\[0\]` must join two subwords that are .* got 'a bc'"),
        (lambda: text.Subwords(["a b", "ab"]), ValueError, r"`merges\[1\]` must join .* got 'ab'"),
        (lambda: text.Subwords([3]), ValueError, "got 3"),
        (lambda: text.Subwords(["a b", "a b"]), ValueError, "must not hold a merge twice; got 'a b' again"),
        (lambda: text.Subwords.learn(["a"], size=260), ValueError, "`size` must be above 260, the bytes; got size=260"),
        (lambda: text.Subwords([]).sample(["a"], 1.0, 0), ValueError, r"`dropout` must be .* got dropout=1.0"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_learning_needs_the_library_and_encoding_does_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SetupError, match=r"package tokenizers.*pip install \"kerazoo\[subwords\]\""):
        text.Subwords.learn(["a b"], size=300)
    assert text.Subwords(["a b"]).tokenize(["abc"]).to_list() == [[260, 103]]


def test_one_trace_serves_every_batch(tokens):
    count = tokens._tokenize.experimental_get_tracing_count()
    for batch in (["a"], ["the cat"] * 5, []):
        tokens.tokenize(batch)
    assert tokens._tokenize.experimental_get_tracing_count() == max(count, 1)
    mapped = tf.data.Dataset.from_tensor_slices(CORPUS).batch(3).map(tokens.tokenize)
    assert next(iter(mapped)).to_list() == tokens.tokenize(CORPUS[:3]).to_list()
