"""Stop strings that begin and end inside tokens, against looking for them in the text after every token."""

import itertools

import numpy as np
import pytest
from toys import END, Toy, tokens

from kerazoo import decoding

pytestmark = pytest.mark.usefixtures("run_eagerly")

PIECES = [b"", b"", b"", b"ab", b"b", b"ca", b"cab", b"\xc3", b"\xa9x"]
STRINGS = ["bca", "bbb", "\u00e9"]


def text(sequence):
    return b"".join(PIECES[token] for token in sequence if token < len(PIECES))


def has_ended(sequence):
    return sequence[-1:] == [END] or any(string.encode() in text(sequence) for string in STRINGS)


def test_automaton_finds_what_a_search_in_the_text_finds():
    stop = decoding.StopStrings(STRINGS, PIECES)
    table = stop.transitions
    for length in (1, 2, 3, 4):
        for sequence in itertools.product(range(3, 9), repeat=length):
            state = 0
            for token in sequence:
                state = table[state, token]
            assert (state == len(table) - 1) == has_ended(list(sequence)), sequence
    # A token without a piece has another text.
    assert table[table[0, 3], 9] == 0


def test_overlaps_fall_back_to_what_still_fits():
    """Every text of up to seven bytes of "ab", in tokens of one byte and of two."""
    pieces = [b"a", b"b", b"ab", b"ba", b"aa"]
    strings = ["aabab", "abb", "babaa"]
    table = decoding.StopStrings(strings, pieces).transitions
    for sequence in itertools.product(range(5), repeat=4):
        state = 0
        for token in sequence:
            state = table[state, token]
        generated = b"".join(pieces[token] for token in sequence).decode()
        assert (state == len(table) - 1) == any(string in generated for string in strings), generated


def recompute(model, length, prompt=()):
    """Greedy search in plain Python; the prompt does not count as text."""
    generated = list(prompt)
    while len(generated) < length and (len(generated) == len(prompt) or not has_ended(generated[len(prompt) :])):
        log_probs = model.log_probs(generated)
        generated.append(max(tokens(model), key=lambda v: log_probs[v]))
    return generated


def test_greedy_and_contrastive_end_where_the_text_has_one():
    prompts = [[], [6, 5], [4, 4], [3, 3, 7]]
    stop = decoding.StopStrings(STRINGS, PIECES)
    stopped = 0
    for seed in range(2):
        model = Toy(vocabulary_size=11, seed=seed, sharpness=2.0)
        found = decoding.generate(model, prompt=prompts, max_length=12, stop_strings=STRINGS, token_bytes=PIECES)
        likely = decoding.Contrastive(3, alpha=0.0, stop_strings=stop)
        alike = decoding.generate(model, prompt=prompts, search=likely, max_length=12)
        np.testing.assert_array_equal(found.tokens, alike.tokens)
        for row, prompt in enumerate(prompts):
            expected = recompute(model, 12, prompt)
            assert found.tokens[row, 0, : found.lengths[row, 0]].tolist() == expected
            stopped += len(expected) < 12 and expected[-1] != END
    assert stopped >= 2


def test_full_beam_is_the_best_of_all_that_stop():
    """Ends by the token, by a string, or by the last position: ends never displace continuations."""
    model = Toy(vocabulary_size=7, seed=2, sharpness=0.7)
    expected = []

    def grow(generated, total):
        log_probs = model.log_probs(generated)
        for token in tokens(model):
            longer = [*generated, token]
            if has_ended(longer) or len(longer) == 4:
                n = len(longer)
                expected.append(((total + log_probs[token]) / ((5 + n) / 6) ** 0.6, longer))
            else:
                grow(longer, total + log_probs[token])

    grow([], 0.0)
    expected = sorted(expected, reverse=True)[:8]
    search = decoding.Beam(260, n_best=8, stop_strings=decoding.StopStrings(STRINGS, PIECES))
    found = decoding.generate(model, search=search, max_length=4)
    assert [row[:n].tolist() for row, n in zip(found.tokens[0], found.lengths[0])] == [t for _, t in expected]
    np.testing.assert_allclose(found.scores[0], [score for score, _ in expected], rtol=1e-4)


def test_text_is_cut_before_the_first_string():
    stop = decoding.StopStrings(["end", "\n"], PIECES)
    assert stop.cut("one\ntwo end") == "one" and stop.cut("the end") == "the " and stop.cut("all") == "all"


def test_refuses():
    with pytest.raises(ValueError, match="`strings` must be strings of at least one letter; got \\['a', ''\\]"):
        decoding.StopStrings(["a", ""], PIECES)
    with pytest.raises(ValueError, match="`stop_strings` needs `token_bytes`.*got stop_strings=\\['a'\\] alone"):
        decoding.generate(Toy(), stop_strings=["a"], max_length=4)
    with pytest.raises(TypeError, match="Greedy: `stop_strings` must be a kerazoo.decoding.StopStrings.*got 'a'"):
        decoding.Greedy(stop_strings="a")
