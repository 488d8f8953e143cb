"""Tokens chosen one by one from logits that come from outside, against the same search in its own loop."""

import numpy as np
import pytest
from toys import SourceToy, Toy

from kerazoo import decoding
from kerazoo.decoding.choose import choose, token_by_token
from kerazoo.decoding.decoding_state import loop_variables, start_cache

pytestmark = pytest.mark.usefixtures("run_eagerly")
VOCABULARY, LENGTH = 17, 9
PIECES = [b"", b"", b"", *(bytes([97 + n]) for n in range(VOCABULARY - 3))]
STOP = decoding.StopStrings(["ab", "g", "e"], PIECES)
LISTED = decoding.Shortlist([2, 3, 4, 5, 7, 8, 11, 13, 16], [[16, 7]] * 12, size=9, vocabulary_size=VOCABULARY)


def steps(model, search, seed=0, prompt=None, source=None):
    """Decodes from outside of the search; returns tokens, log-probabilities and lengths as `generate` does."""
    options = {"seed": seed}
    if prompt is not None:
        options |= {"prompt": np.array(prompt, "int32"), "prompt_lengths": np.full(len(prompt), 2, "int32")}
    if source is not None:
        options |= {"source": np.array(source, "int32"), "encoded": model.encode(np.array(source, "int32"))}
    context = decoding.DecodingContext(**options)
    rows = len(prompt or source)
    cache = start_cache(model, rows, LENGTH, options.get("encoded"))
    tokens, scores, lengths = np.full((rows, LENGTH), 9, "int32"), np.zeros((rows, LENGTH)), np.zeros(rows, int)
    before = np.full(rows, model.start_id, "int32")
    for index in range(LENGTH):
        logits, new = model.step(before, cache, np.array(index, "int32"))
        cache = {**cache, **loop_variables(new)}
        found = {name: np.asarray(x) for name, x in choose(model, search, context, logits, tokens, index).items()}
        tokens, before = found["tokens"], found["tokens"][:, index]
        scores[:, index] = found["token_scores"]
        lengths = np.where((lengths == 0) & found["is_last"], index + 1, lengths)
        assert (tokens[:, index + 1 :] == model.pad_id).all()
    return tokens, scores, lengths


@pytest.mark.parametrize(
    "search",
    [
        decoding.Greedy(),
        decoding.Sample(seed=5, temperature=1.5, top_k=6),
        decoding.Greedy(constraints=(decoding.NoRepeatNgram(1), decoding.MinLength(4), decoding.Forbidden((5, 7)))),
        decoding.Greedy(stop_strings=STOP),
        decoding.Greedy(shortlist=LISTED, constraints=(decoding.RepetitionPenalty(1.5), decoding.MaxLength(5))),
    ],
    ids=["greedy", "sample", "constraints", "stop_strings", "shortlist"],
)
@pytest.mark.parametrize("has_source", [False, True], ids=["prompt", "source"])
def test_tokens_chosen_one_by_one_are_those_of_the_search(search, has_source):
    model = SourceToy(vocabulary_size=VOCABULARY) if has_source else Toy(vocabulary_size=VOCABULARY, size=6)
    source = [[3, 5, 9], [4, 8, 6], [10, 3, 3]] if has_source else None
    prompt = None if has_source else [[5, 11], [7, 6], [5, 5]]  # the second one has a stop string already
    if search.shortlist is not None and not has_source:
        search = decoding.Greedy(shortlist=decoding.Shortlist(LISTED.frequent, size=9, vocabulary_size=VOCABULARY))
    expected = decoding.generate(model, source, prompt, search, LENGTH)
    tokens, scores, lengths = steps(model, search, seed=5, prompt=prompt, source=source)
    np.testing.assert_array_equal(lengths, expected.lengths[:, 0])
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(tokens[row, :length], expected.tokens[row, 0, :length])
        np.testing.assert_allclose(scores[row, :length], expected.token_scores[row, 0, :length], rtol=1e-5)


def test_the_nearest_search_that_revises_nothing():
    greedy, sample = decoding.Greedy(stop_strings=STOP), decoding.Sample(top_k=3, n_best=4, seed=1)
    assert token_by_token(greedy) is greedy
    assert token_by_token(sample) == decoding.Sample(top_k=3, seed=1)
    constraints = (decoding.MinLength(3),)
    assert token_by_token(decoding.Beam(3, constraints=constraints, shortlist=LISTED)) == decoding.Greedy(
        constraints=constraints, shortlist=LISTED
    )
