"""Byte-pair encoding: exact on every script, and equal to the library that fits the merges."""

import sys

import numpy as np
import pytest
import tensorflow as tf
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st

import kerazoo.text as text
from kerazoo._checks import SetupError
from kerazoo.text import merges, pre_tokenization

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
    return text.BytePairTokenizer.fit(CORPUS, vocabulary_size=SIZE)


@pytest.fixture(scope="module")
def reference(tokens):
    """The library's own tokenizer of the same merges."""
    ids = {subword: place + 4 for place, subword in enumerate(tokens.vocabulary)}
    pairs = [tuple(merge.split()) for merge in tokens.get_config()["merges"]]
    made = library.Tokenizer(library.models.BPE(vocab=ids, merges=pairs))
    made.pre_tokenizer = merges.library_pre_tokenizer()
    return lambda strings: [encoding.ids for encoding in made.encode_batch(strings)]


def strings(tensor):
    return [value.decode() for value in tensor.numpy()]


@settings(max_examples=80, deadline=None)
@given(batch=st.lists(TEXT, max_size=11))
def test_exact_and_equal_to_the_library(tokens, reference, batch):
    ids = tokens.tokenize(batch)
    assert ids.to_list() == reference(batch)
    assert strings(tokens.detokenize(ids)) == batch
    assert strings(tokens.detokenize(tokens.encode(batch))) == batch
    assert strings(tokens.detokenize(tokens.tokenize_with_dropout(batch, 0.4, 3))) == batch


@settings(max_examples=40, deadline=None)
@given(batch=st.lists(TEXT, max_size=11))
def test_bytes_and_characters_are_exact_too(batch):
    for tokenizer in (text.ByteTokenizer(), text.CharacterTokenizer.fit(batch)):
        assert strings(tokenizer.detokenize(tokenizer.tokenize(batch))) == batch


def test_long_pre_tokens(tokens, reference):
    batch = ["the" * 1000, " " * 1000, "猫坐在垫子上" * 500, "a" * 63 + "the", "\n" * 129, "12" * 100 + " " * 65]
    assert tokens.tokenize(batch).to_list() == reference(batch)
    assert strings(tokens.detokenize(tokens.tokenize(batch))) == batch
    assert pre_tokenization.MAX_BYTES == 64


def test_frequent_words_are_one_token(tokens):
    assert tokens.vocabulary_size == SIZE
    ids = tokens.tokenize(["the the", "", "!"]).to_list()
    assert [len(row) for row in ids] == [2, 0, 1]
    assert [tokens.vocabulary[i - 4] for i in ids[0]] == ["the", "Ġthe"]
    assert ids[2] == [4 + ord("!")]
    assert tokens.tokenize([]).to_list() == []


def test_bytes_that_are_not_utf8_are_replaced(tokens):
    assert strings(tokens.detokenize(tokens.tokenize([b"a\xff b\xc3"]))) == ["a\ufffd b\ufffd"]
    assert tokens.detokenize([[4 + 0xC3]]).numpy().tolist() == [b"\xc3"]
    assert tokens.split("the  cat\tsat") == ["the", "cat", "sat"]


def test_fitting_is_repeatable_and_bounded():
    again = text.BytePairTokenizer.fit(CORPUS, vocabulary_size=SIZE)
    assert again.hash == text.BytePairTokenizer.fit(iter(CORPUS), vocabulary_size=SIZE).hash
    assert again.hash != text.BytePairTokenizer.fit(CORPUS, vocabulary_size=SIZE - 1).hash
    few = text.BytePairTokenizer.fit(["ab ab"], vocabulary_size=8000)
    assert few.get_config()["merges"] == ["a b"] and few.vocabulary_size == 261
    assert text.BytePairTokenizer.fit([], vocabulary_size=300).vocabulary_size == 260


def test_dropout_cuts_words_at_random_but_repeatably(tokens):
    batch = CORPUS * 7
    plain = tokens.tokenize(batch)
    assert tokens.tokenize_with_dropout(batch, 0.0, 5).to_list() == plain.to_list()
    once, again, other = (tokens.tokenize_with_dropout(batch, 0.3, seed) for seed in ((5, 1), (5, 1), (5, 2)))
    assert once.to_list() == again.to_list() != other.to_list()
    assert len({tuple(row) for row in once.to_list()[:: len(CORPUS)]}) > 1  # the same text, cut in several ways
    assert (
        plain.flat_values.shape[0]
        < once.flat_values.shape[0]
        < tokens.tokenize_with_dropout(batch, 0.9, 5).flat_values.shape[0]
    )


def test_dropout_stops_where_no_merge_is_left():
    lengths = (
        text.BytePairTokenizer(["a b", "ab c"]).tokenize_with_dropout(["abc"] * 3001, 0.4, 7).row_lengths().numpy()
    )
    for length, share in {3: 0.4, 2: 0.6 * 0.4, 1: 0.6 * 0.6}.items():
        assert abs(np.mean(lengths == length) - share) < 0.03


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: text.BytePairTokenizer(["a bc"]),
            ValueError,
            r"`merges\[0\]` must join two existing subwords; got 'a bc'",
        ),
        (lambda: text.BytePairTokenizer(["a b", "ab"]), ValueError, r"`merges\[1\]` must join .* got 'ab'"),
        (lambda: text.BytePairTokenizer([3]), ValueError, "got 3"),
        (lambda: text.BytePairTokenizer(["a b", "a b"]), ValueError, "must not have a merge twice; got 'a b' again"),
        (
            lambda: text.BytePairTokenizer.fit(["a"], vocabulary_size=260),
            ValueError,
            "`vocabulary_size` must be above 260, .*; got vocabulary_size=260",
        ),
        (
            lambda: text.BytePairTokenizer([]).tokenize_with_dropout(["a"], 1.0, 0),
            ValueError,
            r"`dropout` must be .* got dropout=1.0",
        ),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_fitting_needs_the_library_and_tokenizing_does_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SetupError, match=r"package tokenizers.*pip install \"kerazoo\[subwords\]\""):
        text.BytePairTokenizer.fit(["a b"], vocabulary_size=300)
    assert text.BytePairTokenizer(["a b"]).tokenize(["abc"]).to_list() == [[260, 103]]


def test_one_trace_serves_every_batch(tokens):
    count = tokens._tokenize.experimental_get_tracing_count()
    for batch in (["a"], ["the cat"] * 5, []):
        tokens.tokenize(batch)
    assert tokens._tokenize.experimental_get_tracing_count() == max(count, 1)
    mapped = tf.data.Dataset.from_tensor_slices(CORPUS).batch(3).map(tokens.tokenize)
    assert next(iter(mapped)).to_list() == tokens.tokenize(CORPUS[:3]).to_list()
