"""Scores of given targets and their alignment: what a search reports for the same tokens, and the softmax by hand."""

import keras
import numpy as np
import pytest
from toys import LookingToy, SourceToy, Toy, not_on_jax

import kerazoo as kz
from kerazoo import decoding

SOURCES = [[3, 4, 5, 3, 3], [6], [5, 3, 3]]
TARGETS = [[4, 2], [], [5, 5, 6, 3, 2]]


def test_steps_give_the_softmax_by_hand():
    model = SourceToy(seed=4, sharpness=1.0)
    found = decoding.score(model, SOURCES, TARGETS)
    assert found.token_scores.shape == (3, 5) and found.token_scores.dtype == np.float32
    assert found.lengths.tolist() == [2, 0, 5] and found.alignment is None
    total = 0.0
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS)):
        expected = [model.log_probs(target[:i], model.bias(source))[target[i]] for i in range(len(target))]
        np.testing.assert_allclose(found.token_scores[row, : len(target)], expected, rtol=1e-4)
        assert not found.token_scores[row, len(target) :].any()
        assert found.scores[row] == pytest.approx(sum(expected), rel=1e-4)
        assert found.perplexities[row] == pytest.approx(np.exp(-sum(expected) / max(len(target), 1)), rel=1e-4)
        total += sum(expected)
    assert found.perplexity == pytest.approx(np.exp(-total / 7), rel=1e-4)
    two = decoding.score(model, SOURCES, TARGETS, batch_size=2)
    np.testing.assert_allclose(two.token_scores, found.token_scores, rtol=1e-5)


def test_equals_what_a_search_reports():
    model = Toy(seed=3)
    found = decoding.generate(model, prompt=np.zeros((2, 0), "int32"), search="sample", seed=3, n_best=2, max_length=6)
    for rank in range(2):
        scored = decoding.score(model, None, [rows[rank] for rows in found.sequences(keep_end=True)])
        width = scored.token_scores.shape[1]
        np.testing.assert_allclose(scored.token_scores, found.token_scores[:, rank, :width], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(scored.scores, found.scores[:, rank], rtol=1e-4)


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("name", ["lstm_seq2seq_attention", "transformer_seq2seq_tiny"])
def test_full_pass_of_a_model_equals_its_search(name):
    keras.utils.set_random_seed(4)
    sizes = {"source_vocabulary_size": 11, "target_vocabulary_size": 13}
    small = {"embedding_dim": 7, "units": 5}
    if name.startswith("transformer"):
        small = {
            "hidden_dim": 8,
            "num_heads": 2,
            "intermediate_dim": 11,
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
        }
    model = kz.create(name, **sizes, **small)
    found = model.generate(SOURCES, max_length=6, jit_compile=False)
    scored = model.score(SOURCES, [sequences[0] for sequences in found.sequences(keep_end=True)])
    width = scored.token_scores.shape[1]  # that of the longest sequence
    assert width == found.lengths.max()
    np.testing.assert_allclose(scored.token_scores, found.token_scores[:, 0, :width], rtol=1e-3, atol=1e-5)


def test_alignment_is_the_attention_of_each_token():
    model = LookingToy(seed=2)
    found = decoding.score(model, SOURCES, TARGETS, alignment=True)
    assert found.alignment.shape == (3, 5, 5) and found.alignment.dtype == np.float32
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS)):
        for index in range(5):
            expected = np.zeros(5)
            if index < len(target):
                expected[: len(source)] = model.numpy_attention(target[:index], source)
            np.testing.assert_allclose(found.alignment[row, index], expected, atol=1e-5)


@not_on_jax
def test_alignment_of_several_answers():
    model = LookingToy(seed=2)
    tokens = np.array([[[4, 5, 2], [3, 3, 3]], [[6, 2, 0], [2, 0, 0]]], "int32")
    encoded = model.encode(np.array([[3, 4, 5], [6, 0, 0]], "int32"))
    found = keras.ops.convert_to_numpy(decoding.align(model, encoded, tokens))
    assert found.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(found[0, 1, 2], model.numpy_attention([3, 3], [3, 4, 5]), atol=1e-5)
    np.testing.assert_allclose(found[1, :, :, 0], 1.0, atol=1e-5)


class Short(Toy):
    max_length = 4


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: decoding.score(Short(), None, [[3] * 5]), "`targets` must have at most 4 tokens.*got 5 tokens"),
        (lambda: decoding.score(SourceToy(), [[3]], [[3], [4]]), "a row for each source; got 2 for 1 sources"),
        (lambda: decoding.score(SourceToy(), [[3]], [[3]], alignment=True), "needs a model whose `step` returns"),
        (lambda: decoding.score(Toy(), None, [[3]], batch_size=0), "`batch_size` must be .* got batch_size=0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
