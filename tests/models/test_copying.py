"""Models that copy tokens of their source: the mixture against NumPy, the contract of models, beams."""

import keras
import numpy as np
import pytest
from keras import ops
from model_contracts import check_model
from toys import JAX, not_on_jax

import kerazoo as kz
from kerazoo import tasks
from kerazoo.run.model_building import build_model

VOCABULARY = 13
RANDOM = np.random.default_rng(5)


def floats(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def transformer(**options):
    keras.utils.set_random_seed(3)
    sizes = {"num_encoder_layers": 1, "num_decoder_layers": 2, "hidden_dim": 8, "num_heads": 2,
             "intermediate_dim": 11, "dropout": 0.0, "copy": True}  # fmt: skip
    return kz.models.TransformerSeq2Seq(VOCABULARY, VOCABULARY, **{**sizes, **options})


def lstm(**options):
    return kz.models.LSTMSeq2Seq(VOCABULARY, VOCABULARY, embedding_dim=7, units=5, copy=True, **options)


@not_on_jax
def test_the_mixture_is_that_of_numpy():
    layer = kz.layers.PointerGenerator(units=7)
    hidden, logits, sequence = floats(2, 3, 5), floats(2, 3, 11), floats(2, 4, 6)
    tokens, mask = np.array([[3, 9, 3, 1], [2, 2, 0, 0]]), np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    found = ops.convert_to_numpy(layer(hidden, logits, sequence, tokens, mask))
    query, gate, key = (layer.query_dense, layer.gate_dense, layer.key_dense)
    kernel = {part: [ops.convert_to_numpy(v) for v in part.weights] for part in (query, gate, key)}
    q, k = hidden @ kernel[query][0] + kernel[query][1], sequence @ kernel[key][0]
    generated = softmax(logits)
    share = 1 / (1 + np.exp(-(hidden @ kernel[gate][0] + kernel[gate][1])))  # [2, 3, 1]
    expected = share * generated
    for b in range(2):
        weights = softmax(np.where(mask[b], q[b] @ k[b].T / 7**0.5, -np.inf))
        for s in range(4):
            expected[b, :, tokens[b, s]] += (1 - share[b, :, 0]) * weights[:, s]
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-5)
    np.testing.assert_allclose(expected.sum(-1), 1, rtol=1e-5)


@not_on_jax
def test_nothing_to_copy_leaves_the_logits():
    layer = kz.layers.PointerGenerator(units=7)
    logits, nothing = floats(1, 2, 11), np.zeros((1, 3), bool)
    found = layer(floats(1, 2, 5), logits, floats(1, 3, 5), np.array([[1, 2, 3]]), nothing)
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(found)), softmax(logits), rtol=1e-5)
    half = np.array([[[1, 1, 0], [0, 0, 0]]], bool)
    found = layer(floats(1, 2, 5), logits, floats(1, 3, 5), np.array([[1, 2, 3]]), ~nothing, half)
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(found))[:, 1], softmax(logits)[:, 1], rtol=1e-5)


@pytest.mark.parametrize("make", [pytest.param(transformer, marks=pytest.mark.slow)] if JAX else [transformer, lstm])
def test_keeps_the_contract_of_models(make):
    source, targets = (RANDOM.integers(3, VOCABULARY, size=(3, length)).astype("int32") for length in (5, 7))
    source[1, 3:], targets[2, 4:] = 0, 0
    check_model(make(), {"source": source, "targets": targets})


@not_on_jax
@pytest.mark.usefixtures("run_eagerly")
def test_the_scores_of_a_beam_are_those_of_its_hypotheses():
    model, source = transformer(), [[5, 6, 7, 5], [8, 9]]
    found = model.generate(source, search="beam", num_beams=3, n_best=3, max_length=6, jit_compile=False)
    for row in range(2):
        for rank in range(3):
            tokens = found.tokens[row, rank, : found.lengths[row, rank]].tolist()
            scored = model.score([source[row]], [tokens])
            np.testing.assert_allclose(found.token_scores[row, rank, : len(tokens)].sum(), scored.scores[0], rtol=1e-4)


def test_a_source_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"`copy` needs one source with the vocabulary of the targets; .*13.* 17"):
        kz.models.LSTMSeq2Seq(13, 17, copy=True)
    with pytest.raises(ValueError, match=r"`copy` needs one source"):
        kz.models.EncoderDecoder(
            kz.layers.ConvEncoder(filters=(3,)), kz.layers.LSTMDecoder(5), vocabulary_size=11, copy=True
        )


@not_on_jax
def test_a_run_needs_one_vocabulary():
    source = kz.data.MemorySource({"train": {"a": ["ab", "b"], "b": ["ba", "a"], "c": ["xy", "x"]}})
    one = tasks.Vocabulary()
    task = tasks.Task(source, (tasks.TextFeature("a", vocabulary=one),), tasks.TextFeature("b", vocabulary=one))
    assert build_model("lstm_seq2seq", task, {"units": 3, "copy": True}).pointer is not None
    task = tasks.Task(source, (tasks.TextFeature("a"),), tasks.TextFeature("c"))  # as many other characters
    with pytest.raises(ValueError, match=r"`copy` needs one vocabulary .*copy=True. Set share_vocabulary=True"):
        build_model("lstm_seq2seq", task, {"units": 3, "copy": True})
