"""The normal form inside the graph against Python's own, for every code point and for any text of them."""

import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo.text.normalization import MAX_CODE_POINT, nfkc

EVERY = [chr(point) for point in range(MAX_CODE_POINT + 1) if not 0xD800 <= point < 0xE000]
# Where the rules bite: what is made of parts, marks, parts of Korean syllables, letters that marks join.
MARKS = [c for c in EVERY if unicodedata.combining(c)]
MADE = [c for c in EVERY if unicodedata.decomposition(c)]
HARD = st.text(
    st.one_of(
        st.sampled_from(MARKS),
        st.sampled_from(MADE),
        st.sampled_from([chr(point) for point in (*range(0x1100, 0x1200), *range(0xAC00, 0xAC40))]),
        st.sampled_from("aeioszA k\u0915\u0627"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=23,
)


@pytest.fixture(scope="module")
def normalize():
    """The function under test, traced once."""
    graph = tf.function(nfkc, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    return lambda strings: [text.decode() for text in graph(tf.constant(strings, tf.string)).numpy()]


def test_every_code_point(normalize):
    wrong = [c for c, form in zip(EVERY, normalize(EVERY), strict=True) if form != unicodedata.normalize("NFKC", c)]
    assert not wrong


@settings(max_examples=60, deadline=None)
@given(strings=st.lists(HARD, max_size=41))
def test_any_text(normalize, strings):
    assert normalize(strings) == [unicodedata.normalize("NFKC", text) for text in strings]


def test_marks_never_cross_the_border_of_two_texts(normalize):
    assert normalize(["e", "\u0301", "", "\u0323a", "\u1100", "\u1161"]) == ["e", "\u0301", "", "\u0323a", "ᄀ", "ᅡ"]


def test_a_thousand_marks_on_one_letter(normalize):
    text = "a" + "".join(MARKS) + "b"
    assert normalize([text, "plain"]) == [unicodedata.normalize("NFKC", text), "plain"]


def test_bytes_that_are_not_utf8_are_replaced():
    assert nfkc([b"a\xffb\xc3\xa9"]).numpy().tolist() == ["a\ufffdbé".encode()]
