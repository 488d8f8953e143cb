"""Speculative decoding gives the greedy sequences of the large model, whatever the draft model is."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import END, SourceToy, Toy, not_on_jax

from kerazoo import decoding, models

run_eagerly = pytest.mark.usefixtures("run_eagerly")


class CachedToy(SourceToy):
    """A toy with a table of all tokens so far, to which a step only adds; it reads several tokens at once."""

    supports_parallel_decoding = True

    def start(self, batch_size, max_length, encoded=None, num_beams=1):
        memory = super().start(batch_size, max_length, encoded)["memory"]
        return {"state": (), "kv_cache": {"e": ops.zeros((batch_size, max_length, self.size))}, "memory": memory}

    def step_many(self, tokens, cache, index):
        table, logits = cache["kv_cache"]["e"], []
        positions = ops.arange(table.shape[1], dtype="int32")
        for j in range(tokens.shape[1]):
            vector = ops.take(ops.convert_to_tensor(self.e), tokens[:, j], axis=0)
            table = ops.where((positions == index + j)[:, None], vector[:, None], table)
            # Later positions may be outdated: they do not count.
            weights = ops.cast(positions <= index + j, "float32") / (
                1.0 + ops.cast(index + j - positions, "float32") ** 2
            )
            h = ops.tanh(ops.sum(table * weights[:, None], axis=1) + cache["memory"].get("bias", 0.0))
            logits.append(ops.matmul(h, self.b))
        return ops.stack(logits, axis=1), {"state": (), "kv_cache": {"e": table}, "memory": cache["memory"]}

    def step(self, tokens, cache, index):
        logits, new = self.step_many(tokens[:, None], cache, index)
        return logits[:, 0], new


SOURCES = [[3, 4, 5], [6], [5, 3, 3, 4, 6, 6, 3], [4, 4]]
PROMPTS = [[], [4, 6, 3, 5], [3], []]


def close_draft(kind, model):
    """A draft that is often right: the large model with noise on its logits."""
    draft = kind(seed=3, sharpness=1.0)
    noise = np.random.default_rng(1).normal(size=draft.b.shape)
    draft.a, draft.e, draft.b = model.a, model.e, (model.b + 0.5 * noise).astype("float32")
    return draft


@run_eagerly
@pytest.mark.parametrize(
    "large, small, tokens, length",
    [
        (SourceToy, SourceToy, 4, 13),
        (SourceToy, CachedToy, 30, 6),
        (CachedToy, SourceToy, 3, 12),
        (CachedToy, CachedToy, 30, 6),
    ],
)
def test_equals_greedy(large, small, tokens, length):
    model = large(seed=3, sharpness=1.0)
    stepwise = large(seed=3, sharpness=1.0)
    greedy = decoding.generate(stepwise, SOURCES, PROMPTS, max_length=length)
    draft = close_draft(small, model)
    found = decoding.generate(
        model, SOURCES, PROMPTS, search="speculative", draft=draft, num_draft_tokens=tokens, max_length=length
    )
    np.testing.assert_array_equal(found.tokens, greedy.tokens)
    np.testing.assert_array_equal(found.lengths, greedy.lengths)
    np.testing.assert_allclose(found.token_scores, greedy.token_scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.scores, greedy.scores, rtol=1e-4)


@not_on_jax
@run_eagerly
def test_rules_end_ids_and_stop_strings_apply():
    model = SourceToy(seed=3, sharpness=0.7)
    pieces = [b"", b"", b"", b"ab", b"bc", b"ca", b"c"]
    options = dict(max_length=14, no_repeat_ngram=3, min_length=3, end_ids=(END, 6))
    options["stop_strings"] = decoding.StopStrings(["bbc"], pieces)
    greedy = decoding.generate(model, SOURCES, PROMPTS, **options)
    for draft in (SourceToy(seed=8), close_draft(SourceToy, model)):
        found = decoding.generate(model, SOURCES, PROMPTS, search="speculative", draft=draft, **options)
        np.testing.assert_array_equal(found.tokens, greedy.tokens)


@not_on_jax
def test_a_draft_that_is_right_is_kept():
    model = CachedToy(seed=3, sharpness=1.0)
    source = ops.convert_to_tensor(np.array([[3, 4, 5]], "int32"))
    context = decoding.DecodingContext(encoded=model.encode(source), source=source)
    found = decoding.decode(model, decoding.Speculative(model, 3), 12, context)
    assert ops.convert_to_numpy(found["acceptance_rate"]).tolist() == [1.0]
    wrong = CachedToy(seed=3, sharpness=1.0)
    wrong.b = -wrong.b
    found = decoding.decode(model, decoding.Speculative(wrong), 12, context)
    assert ops.convert_to_numpy(found["acceptance_rate"])[0] < 0.5


@pytest.mark.parametrize("kinds", [pytest.param("lstm-transformer", marks=pytest.mark.slow), "transformer-lstm"])
def test_lstm_and_transformer(kinds, request):
    if kinds == "lstm-transformer":  # the other case has compiled programs
        request.getfixturevalue("run_eagerly")
    keras.utils.set_random_seed(4)
    made = {
        "lstm": models.LSTMSeq2Seq(11, 7, embedding_dim=5, units=6, attention="multiplicative"),
        "transformer": models.TransformerSeq2Seq(
            11, 7, num_encoder_layers=1, num_decoder_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16
        ),
    }
    large, small = (made[kind] for kind in kinds.split("-"))
    sources = [[3, 4, 5, 6, 7, 8], [5], [8, 3, 9]]
    options = {"search": "speculative", "draft": small, "num_draft_tokens": 3, "max_length": 9, "jit_compile": False}
    greedy = large.generate(sources, max_length=9, jit_compile=False)
    found = large.generate(sources, **options)
    np.testing.assert_array_equal(found.tokens, greedy.tokens)
    assert found.acceptance_rate.shape == (3,) and greedy.acceptance_rate is None
    before = len(vars(large)["_compiled_programs"])
    for weight in small.weights:  # new weights of the draft take effect without a new program, and change nothing
        weight.assign(weight * 0.5)
    again = large.generate(sources, **options)
    np.testing.assert_array_equal(again.tokens, greedy.tokens)
    assert len(vars(large)["_compiled_programs"]) == before


def test_refuses():
    with pytest.raises(ValueError, match="`draft` must have the `vocabulary_size` of the model; got 9 and 7"):
        decoding.generate(Toy(), search="speculative", draft=Toy(vocabulary_size=9), max_length=4)
    with pytest.raises(TypeError, match="`draft` must be a model with `start` and `step`; got 'small'"):
        decoding.Speculative("small")
    with pytest.raises(ValueError, match="`num_draft_tokens` must be an integer above 0; got num_draft_tokens=0"):
        decoding.Speculative(Toy(), num_draft_tokens=0)
