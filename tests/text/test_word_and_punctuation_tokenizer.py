"""Words and punctuation marks: equal to a reading character by character, and reversible up to white space."""

import re
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo import text
from kerazoo.text import word_and_punctuation_tokenizer as module

TEXT = st.text(
    st.one_of(
        st.sampled_from("ab é7汉\u0301\u093f ,.-'()[]^\\_$\"„“…\t\n\x0b\x1c\x00\u200d\u00a0\u2028\u3000\uffed■"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=31,
)


def reference(string):
    """The tokens of a text, read character by character."""
    tokens, previous = [], " "
    string = string.replace("\uffed", "■")
    for character, following in zip(string, [*string[1:], " "]):
        is_word = unicodedata.category(character)[0] in "LMN"
        if character.isspace():
            pass
        elif is_word and unicodedata.category(previous)[0] in "LMN":
            tokens[-1] += character
        elif is_word:
            tokens.append(character)
        else:
            touches_word = unicodedata.category(following)[0] in "LMN"
            tokens.append("\uffed" * (not previous.isspace()) + character + "\uffed" * touches_word)
        previous = character
    return tokens


def strings(tensor):
    return [value.decode() for value in tensor.numpy()]


@settings(max_examples=11, deadline=None)
@given(batch=st.lists(TEXT, min_size=1, max_size=41))
def test_tokens_are_those_of_the_reference_and_give_back_the_text(batch):
    tokenizer = text.WordAndPunctuationTokenizer.fit(batch)
    names = tokenizer.vocabulary
    ids = tokenizer.tokenize(batch)
    assert [[names[each - 4] for each in row] for row in ids.to_list()] == [reference(each) for each in batch]
    expected = [" ".join(each.replace("\uffed", "■").split()) for each in batch]
    assert strings(tokenizer.detokenize(ids)) == expected
    counts = np.take(tokenizer.character_counts, ids.flat_values)
    assert counts.sum() == sum(len(each) + 1 for row, each in zip(ids.to_list(), expected) if row) - sum(
        row[0] >= 4 and names[row[0] - 4].startswith("\uffed") for row in ids.to_list() if row
    )


def test_words_have_one_id_wherever_they_stand():
    tokenizer = text.WordAndPunctuationTokenizer.fit(["the flow, (flow) cross-flow. flow's", "100.5 km/h"])
    assert tokenizer.vocabulary[0] == "flow"
    assert {"the", "￭,", "(￭", "￭)", "￭-￭", "￭.", "￭'￭", "￭.￭", "￭/￭", "100", "5"} < set(tokenizer.vocabulary)
    assert len([word for word in tokenizer.vocabulary if "flow" in word]) == 1
    assert strings(tokenizer.detokenize(tokenizer.encode(["the (cross-flow, flow's) 5.100"]))) == [
        "the (cross-flow, flow's) 5.100"
    ]
    assert tokenizer.tokenize(["wind ; flow,"]).to_list()[0] == [3, 3, 4, 4 + tokenizer.vocabulary.index("￭,")]
    assert strings(tokenizer.detokenize([[3, 4, 99]])) == ["<unknown> flow <unknown>"]


def test_a_text_grows_token_by_token_as_a_stream_needs_it():
    tokenizer = text.WordAndPunctuationTokenizer.fit(["say (or sing) well-known 'words'... - so!"])
    ids = tokenizer.tokenize(["say (or sing) well-known 'words'... - so!"]).to_list()[0]
    grown = strings(tokenizer.detokenize(tf.ragged.constant([ids[:size] for size in range(1, len(ids) + 1)])))
    assert all(longer.startswith(shorter) for shorter, longer in zip(grown, grown[1:]))


def test_a_stop_word_may_be_a_mark_and_is_left_out_in_all_forms():
    tokenizer = text.WordAndPunctuationTokenizer.fit(
        ["The, the (and) x,y ,"], stop_words=["THE", ",", ")"], case="lower"
    )
    assert sorted(tokenizer.vocabulary) == sorted(["(￭", "and", "x", "y"])
    assert strings(tokenizer.detokenize(tokenizer.encode(["the and, x , y ,x"]))) == ["and x y x"]
    again = text.WordAndPunctuationTokenizer.from_config(tokenizer.get_config())
    assert again.hash == tokenizer.hash and again.stop_words == [")", ",", "the"]


def test_classes_of_characters_are_valid_in_both_kinds_of_regular_expressions():
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    letters = "".join(character for character in everything if unicodedata.category(character)[0] in "LMN")
    assert re.sub(f"[^{module._letters()}]+", "", everything) == letters
    kept = tf.strings.regex_replace(everything, f"[^{module._letters()}]+", "").numpy().decode()
    assert kept == letters


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: text.WordAndPunctuationTokenizer(["a,"]), r"`vocabulary` must hold words .*; got 'a,'"),
        (lambda: text.WordAndPunctuationTokenizer(["￭a"]), "single marks; got '￭a'"),
        (lambda: text.WordAndPunctuationTokenizer(["..."]), "single marks; got '...'"),
        (lambda: text.WordAndPunctuationTokenizer([], stop_words=["don't"]), r"`stop_words` must hold .*; got \"don't"),
        (lambda: text.WordAndPunctuationTokenizer(["￭,"], stop_words=[","]), "must not be in .*; got '￭,' in"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=f"WordAndPunctuationTokenizer: .*{message}"):
        make()
