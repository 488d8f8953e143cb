"""Streams and alignments of whole models: blocks of tokens together are what `generate` returns."""

import keras
import numpy as np
import pytest
from toys import not_on_jax

from kerazoo import decoding, models

run_eagerly = pytest.mark.usefixtures("run_eagerly")
SOURCES = [[3, 4, 5, 6, 7, 8], [5], [8, 3, 9]]


@pytest.fixture(scope="module", params=["lstm", pytest.param("transformer", marks=not_on_jax)])
def model(request):
    keras.utils.set_random_seed(3)
    if request.param == "lstm":
        return models.LSTMSeq2Seq(11, 13, embedding_dim=7, units=8, attention="multiplicative")
    return models.TransformerSeq2Seq(
        11, 13, num_encoder_layers=1, num_decoder_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16
    )


@pytest.mark.parametrize("block", [1, pytest.param(5, marks=not_on_jax), 64])
def test_blocks_joined_are_what_generate_returns(model, block, request):
    vars(model).pop("_compiled_programs", None)
    if block != 5:
        request.getfixturevalue("run_eagerly")
    whole = model.generate(SOURCES, max_length=11, jit_compile=False).sequences()
    jit_compile = None if block == 5 else False  # one block by the default of the model, with XLA for a Transformer
    blocks = list(decoding.stream(model, SOURCES, max_length=11, block=block, jit_compile=jit_compile))
    assert [sum((news[row] for news in blocks), []) for row in range(3)] == [sequences[0] for sequences in whole]
    assert all(len(news[row]) <= block for news in blocks for row in range(3))


@run_eagerly
def test_prompts_are_left_out_and_draws_repeat(model):
    options = {"search": "sample", "seed": 5, "max_length": 13, "jit_compile": False}
    prompt = [[4, 5, 6], [7], []]
    whole = model.generate(SOURCES, prompt=prompt, **options).sequences()
    blocks = list(decoding.stream(model, SOURCES, prompt=prompt, block=3, **options))
    given = [p + sum((news[row] for news in blocks), []) for row, p in enumerate(prompt)]
    assert given == [sequences[0] for sequences in whole]


def test_a_search_that_takes_back_is_refused_at_once(model):
    with pytest.raises(ValueError, match="stream: `search` must never revise.*got Beam.*search='greedy'"):
        decoding.stream(model, SOURCES, search="beam", num_beams=3)
    with pytest.raises(ValueError, match="stream: `block` must be an integer above 0; got block=0"):
        decoding.stream(model, SOURCES, block=0)


def test_text_comes_without_half_a_character():
    show = lambda rows: [bytes(row).decode("utf-8", errors="replace") for row in rows]  # noqa: E731
    joined, data = decoding.IncrementalDetokenizer(show, 1), "aé語😀b".encode()
    pieces = [joined([[byte]])[0] for byte in data]
    assert "".join(pieces) == "aé語😀b" and "\ufffd" not in "".join(pieces)
    assert pieces[:3] == ["a", "", "é"]
    cut = decoding.IncrementalDetokenizer(show, 1)
    assert [cut([[0x61, 0xC3]])[0], cut([[]], last=True)[0]] == ["a", "\ufffd"]


@not_on_jax
@run_eagerly
def test_alignment_comes_with_the_answers(model):
    sources = [*SOURCES, [4, 4]]
    options = {"search": "beam", "num_beams": 3, "n_best": 2, "max_length": 7, "jit_compile": False}
    found = model.generate(sources, alignment=True, **options)
    assert found.alignment.shape[:3] == (4, 2, 7)
    real = np.arange(7) < found.lengths[:, :, None]
    np.testing.assert_allclose(found.alignment.sum(-1)[real], 1, atol=1e-5)
    assert not found.alignment[~real].any()
    for row, source in enumerate(sources):
        assert not found.alignment[row, :, :, len(source) :].any()
    parts = model.generate(sources, alignment=True, batch_size=2, **options)
    np.testing.assert_allclose(parts.alignment, found.alignment, atol=1e-5)
