"""Greedy search is what recomputing everything for every token gives, alone or in a batch."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import END, PAD, START, SourceToy, Toy, not_on_jax, tokens

from kerazoo import decoding


def recompute(model, length, prompt=(), bias=0.0):
    """Greedy search in plain Python."""
    generated, scores = list(prompt), [0.0] * len(prompt)
    while len(generated) < length and (len(generated) == len(prompt) or generated[-1] != END):
        log_probs = model.log_probs(generated, bias)
        best = max(tokens(model), key=lambda v: log_probs[v])
        generated, scores = [*generated, best], [*scores, log_probs[best]]
    return generated, scores


@pytest.mark.parametrize("seed", range(4))
def test_equals_recomputation(seed):
    model = Toy(seed=seed)
    expected, scores = recompute(model, 11)
    found = decoding.generate(model, max_length=11)
    assert found.tokens.shape == (1, 1, 11)
    assert found.tokens[0, 0].tolist() == expected + [PAD] * (11 - len(expected))
    assert found.lengths.tolist() == [[len(expected)]]
    np.testing.assert_allclose(found.token_scores[0, 0, : len(expected)], scores, rtol=1e-4)
    np.testing.assert_allclose(found.scores, [[sum(scores)]], rtol=1e-4)
    np.testing.assert_allclose(found.log_probabilities, found.scores, rtol=1e-6)
    assert found.scores.dtype == found.token_scores.dtype == np.float32


@not_on_jax
def test_ragged_prompts_in_a_batch_are_each_alone():
    model = Toy(seed=5)
    prompts = [[], [3], [4, 6, 5], [END, 3], [5, 5, 5, 5, 5]]
    found = decoding.generate(model, prompt=prompts, max_length=13)
    for row, prompt in enumerate(prompts):
        expected, scores = recompute(model, 13, prompt)
        assert found.sequences(keep_end=True)[row][0] == expected
        np.testing.assert_allclose(found.scores[row, 0], sum(scores), rtol=1e-4)
        alone = decoding.generate(model, prompt=[prompt], max_length=13)
        assert alone.sequences()[0] == found.sequences()[row]


@not_on_jax
def test_padded_array_is_a_ragged_prompt():
    model = Toy(seed=5)
    ragged = decoding.generate(model, prompt=[[3], [4, 6, 5]], max_length=9)
    padded = decoding.generate(model, prompt=np.array([[3, PAD, PAD], [4, 6, 5]]), max_length=9)
    assert ragged.sequences() == padded.sequences()
    assert padded.prompt_lengths.tolist() == [1, 3]


@not_on_jax
def test_ragged_sources_in_a_batch_are_each_alone():
    model = SourceToy(seed=3)
    sources = [[3, 4, 5], [6], [5, 3, 3, 4, 6, 6, 3, 4, 5, 3, 6], [4, 4], [3, 6]]
    found = decoding.generate(model, sources, max_length=10)
    for row, source in enumerate(sources):
        expected, _ = recompute(model, 10, bias=model.bias(source))
        assert found.sequences(keep_end=True)[row][0] == expected
    two_at_a_time = decoding.generate(model, sources, max_length=10, batch_size=2)
    np.testing.assert_array_equal(two_at_a_time.tokens, found.tokens)
    np.testing.assert_allclose(two_at_a_time.scores, found.scores, rtol=1e-5)
    assert len(found) == 5


def test_prompts_and_sources_together():
    model = SourceToy(seed=4)
    sources, prompts = [[3, 4], [5, 5, 6]], [[6, 6], []]
    found = decoding.generate(model, sources, prompts, max_length=9)
    for row in range(2):
        expected, _ = recompute(model, 9, prompts[row], model.bias(sources[row]))
        assert found.sequences(keep_end=True)[row][0] == expected


def test_padding_and_start_are_never_written():
    model = Toy(seed=1)
    model.b[:, [PAD, START]] = 5 * np.abs(model.b).max() * np.sign(model.b[:, [3]])
    found = decoding.generate(model, max_length=29)
    generated = found.tokens[0, 0, : found.lengths[0, 0]]
    assert not set(generated.tolist()) & {PAD, START}


@not_on_jax
def test_end_ids_of_the_call():
    model = Toy(seed=5)
    full = decoding.generate(model, max_length=11).sequences(keep_end=True)[0][0]
    stop = full[2]
    found = decoding.generate(model, max_length=11, end_ids=(END, stop))
    assert found.sequences(keep_end=True)[0][0] == full[: full.index(stop) + 1]
    assert found.sequences()[0][0] == full[: full.index(stop)]


class VectorAndTokens(SourceToy):
    """A toy with two sources: vectors, which are never padded, and token ids."""

    source_pad_ids = {"source": None, "source_2": PAD}
    max_source_lengths = {"source_2": 12}

    def encode(self, inputs, training=False):
        self.traces += 1
        encoded = super().encode(inputs["source_2"])
        return {**encoded, "sequence": encoded["sequence"] + inputs["source"][:, None]}


def test_sources_of_several_inputs():
    model, vectors = VectorAndTokens(seed=3), np.random.default_rng(1).normal(size=(3, 5)).astype("float32")
    tokens = [[3, 4, 5], [6], [5, 3, 3, 4, 6]]
    found = decoding.generate(model, {"source": vectors, "source_2": tokens}, max_length=10)
    for row in range(3):
        expected, _ = recompute(model, 10, bias=model.bias(tokens[row]) + vectors[row])
        assert found.sequences(keep_end=True)[row][0] == expected
    traces = model.traces
    longer = {"source": ops.convert_to_tensor(np.repeat(vectors[:1], 4, axis=0)), "source_2": np.full((4, 8), 3)}
    decoding.generate(model, longer, max_length=9)
    assert model.traces == traces  # 3 and 4 rows, 5 and 8 tokens, lengths 10 and 9
    scored = decoding.score(model, {"source": vectors, "source_2": tokens}, [s[0] for s in found.sequences(True)])
    np.testing.assert_allclose(scored.scores, found.scores[:, 0], rtol=1e-4)
    with pytest.raises(
        ValueError, match="`source` must have the same number of rows; got {'source': 3, 'source_2': 1}"
    ):
        decoding.generate(model, {"source": vectors, "source_2": [[3]]})
    with pytest.raises(ValueError, match="`source_2` must have at most max_length=12 tokens.*got 13"):
        decoding.generate(model, {"source": vectors[:1], "source_2": [[3] * 13]})


def test_no_source_gives_no_answers():
    found = decoding.generate(SourceToy(), np.zeros((0, 3), "int32"), max_length=5)
    assert found.tokens.shape == (0, 1, 5)


class Short(Toy):
    max_length = 10


class ShortSource(SourceToy):
    max_source_lengths = {"source": 4}


class SmallVocabularies(SourceToy):
    source_pad_ids = {"source": 0}
    source_vocabulary_sizes = {"source": 7}


@pytest.mark.parametrize(
    "model, arguments, message",
    [
        (Short(), {"max_length": 11}, r"`max_length` must be at most 10, the positions .* got max_length=11"),
        (Toy(), {"max_length": 3, "prompt": [[3, 4, 5]]}, r"`max_length` must be above .* max_length=3 .* 3 tokens"),
        (Toy(), {"max_length": 0}, r"`max_length` must be an integer above 0; got max_length=0"),
        (Toy(), {"batch_size": 0}, r"`batch_size` must be an integer above 0; got batch_size=0"),
        (Toy(), {"search": "greed"}, r"Unknown search 'greed'. Close names: greedy"),
        (Toy(), {"search": "beam", "num_beam": 3}, r"option of search beam: 'num_beam'. Close names: num_beams"),
        (Toy(), {"search": decoding.Greedy(), "num_beams": 3}, r"takes its options itself; got num_beams"),
        (Toy(), {"prompt": [3, 4]}, r"`prompt` must have 2 axes; got shape \(2,\)"),
        (SourceToy(), {"source": [[3]], "prompt": [[3], [4]]}, r"a row for each source; got 2 for 1 sources"),
        (SmallVocabularies(), {"source": [[3], [7]]}, r"token ids of `source` must be from 0 to 6, .*; got 7 in row 1"),
        (
            SmallVocabularies(),
            {"source": [[6]], "prompt": [[3, -1]]},
            r"token ids of `prompt` must be from 0 to 6, .*; got -1",
        ),
        (ShortSource(), {"source": [[3] * 5]}, r"`source` must have at most max_length=4 tokens.*got 5"),
    ],
)
def test_refuses(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.generate(model, **arguments)


def test_refuses_floats_for_tokens():
    with pytest.raises(TypeError, match=r"`source` must be token ids; got an array of float64"):
        decoding.generate(SourceToy(), np.zeros((2, 3)))
    with pytest.raises(TypeError, match=r"Greedy: `constraints` must be callables of kerazoo.decoding; got 3"):
        decoding.Greedy(constraints=3)


def test_default_length_stays_within_the_model():
    assert decoding.generate(Short(), prompt=[[3]]).tokens.shape == (1, 1, 10)
    assert decoding.generate(Toy(), prompt=[[3]]).tokens.shape == (1, 1, 65)


def test_only_a_decodable_model_is_searched():
    dense = keras.layers.Dense(3)
    with pytest.raises(TypeError, match=r"generate: `model` must be a kerazoo.decoding.Decodable.*got Dense"):
        decoding.generate(dense)
    with pytest.raises(TypeError, match=r"score: `model` must be a kerazoo.decoding.Decodable.*got Dense"):
        decoding.score(dense, None, [[3]])
    with pytest.raises(TypeError, match=r"Ensemble: `model` must be a kerazoo.decoding.Decodable.*got Dense"):
        decoding.Ensemble([Toy(), dense])
    with pytest.raises(NotImplementedError, match="Toy decodes one token at a time and has no `step_many`"):
        Toy().step_many(None, {}, 0)
