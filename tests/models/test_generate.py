"""Generation by real models: ragged batches, beams over shared memory, words of the searches, half precision."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import jitted, not_on_jax

import kerazoo as kz
from kerazoo import _backend, decoding, models

run_eagerly = pytest.mark.usefixtures("run_eagerly")
SOURCES = [[3, 4, 5, 6, 7, 8, 9, 10, 3], [5], [8, 3, 9]]


def lstm(**options):
    return models.LSTMSeq2Seq(
        11, 7, embedding_dim=5, units=6, num_layers=2, bidirectional=True, attention="multiplicative", **options
    )


def transformer(**options):
    options = {"num_encoder_layers": 1, "num_decoder_layers": 2, "norm": "pre", "tie_output": False, **options}
    return models.TransformerSeq2Seq(11, 7, hidden_dim=8, num_heads=2, intermediate_dim=16, **options)


def sharp(make, factor=4.0, **options):
    """A model whose answers are far apart, so that the order of sums does not matter."""
    keras.utils.set_random_seed(4)
    model = make(**options)
    model.build_from_inputs()
    for weight in model.head.weights + model.target_embedding.weights:
        weight.assign(weight * factor)
    return model


def log_probs(call, source, rows, width=3, length=4):
    """Log-probabilities of what follows each of the equally long `rows`, from scratch by the full pass.

    All calls have one shape, which saves JAX compilations: what stands behind a position does not matter to it.
    """
    targets = np.full((width, length), 3, "int32")
    targets[: len(rows), : len(rows[0])] = rows
    inputs = {"source": np.array([source] * width, "int32"), "targets": targets}
    logits = ops.convert_to_numpy(call(inputs))[: len(rows), len(rows[0])].astype("float64")
    return logits - np.log(np.exp(logits - logits.max()).sum(1, keepdims=True)) - logits.max()


@run_eagerly
@pytest.mark.parametrize("make", [pytest.param(lstm, marks=not_on_jax), transformer])
def test_searches_equal_recomputation(make):
    """Greedy and beam; hypotheses of a source share its memory, and ragged sources share a batch."""
    model = sharp(make)
    width, length = 3, 4
    call = jitted(model, model.variables)
    greedy = model.generate(SOURCES[:2], max_length=length)
    search = decoding.Beam(width, "power", alpha=0.5, n_best=width)
    beam = model.generate(SOURCES[:2], search=search, max_length=length)
    for row, source in enumerate(SOURCES[:2]):
        written = []
        while len(written) < length and written[-1:] != [model.end_id]:
            scores = log_probs(call, source, [written])[0]
            written.append(max(range(2, 7), key=lambda v: scores[v]))
        assert greedy.sequences(keep_end=True)[row][0] == written
        growing, waiting = [(0.0, [])], []
        for n in range(1, length + 1):
            each = log_probs(call, source, [written for _, written in growing])
            candidates = [(t + p[v], [*w, v]) for (t, w), p in zip(growing, each) for v in range(2, 7)]
            growing = sorted((c for c in candidates if c[1][-1] != model.end_id), reverse=True)[:width]
            least = growing[-1] if len(growing) == width else (-np.inf, [])
            closed = [c for c in candidates if c[1][-1] == model.end_id and c >= least]
            closed += growing if n == length else []
            waiting = sorted(waiting + [(t / n**0.5, w) for t, w in closed], reverse=True)[:width]
        assert beam.sequences(keep_end=True)[row] == [written for _, written in waiting]
        np.testing.assert_allclose(beam.scores[row], [score for score, _ in waiting], rtol=1e-3)


@run_eagerly
def test_language_model_goes_on_from_ragged_prompts():
    keras.utils.set_random_seed(4)
    model = models.TransformerLM(13, num_layers=1, hidden_dim=8, num_heads=2, max_length=12)
    prompts = [[5, 6, 7], [8], []]
    together = model.generate(prompt=prompts, max_length=9)
    for row, prompt in enumerate(prompts):
        alone = model.generate(prompt=[prompt], max_length=9)
        assert alone.sequences()[0] == together.sequences()[row]
        assert together.tokens[row, 0, : len(prompt)].tolist() == prompt
    assert model.generate().tokens.shape == (1, 1, 12)
    drawn = model.generate(prompt=prompts, search="sample", top_k=5, temperature=0.8, seed=1, n_best=2, max_length=9)
    assert drawn.tokens.shape == (3, 2, 9)


def test_new_weights_take_effect_without_a_new_program():
    model = sharp(lstm)
    before = model.generate(SOURCES, max_length=5)
    programs = len(vars(model)["_compiled_programs"])
    model.head.bias.assign([0, 0, 0, 0, 0, 1e3, 0])
    after = model.generate(SOURCES, max_length=5)
    assert (after.tokens == 5).all() and (before.tokens != 5).any()
    assert len(vars(model)["_compiled_programs"]) == programs


@not_on_jax
@run_eagerly
def test_vectors_with_a_mask_are_each_alone():
    from kerazoo import layers

    decoder = layers.TransformerDecoder(1, hidden_dim=8, num_heads=2, intermediate_dim=16)
    model = models.EncoderDecoder(layers.LSTMEncoder(units=5), decoder, vocabulary_size=11)
    series = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    mask = np.array([[True] * 6, [True] * 2 + [False] * 4])
    together = model.generate(series, source_mask=mask, search="beam", num_beams=2, max_length=5)
    alone = model.generate(series[1:, :2], search="beam", num_beams=2, max_length=5)
    assert together.sequences()[1] == alone.sequences()[0]


@run_eagerly
@pytest.mark.parametrize(
    "make, policy", [(lstm, "mixed_float16"), pytest.param(transformer, "mixed_bfloat16", marks=not_on_jax)]
)
def test_mixed_precision_steps_are_the_full_pass(make, policy):
    model = make(dtype=policy)
    model.build_from_inputs()
    targets = np.array([[3, 4, 5], [6, 2, 0]], "int32")
    inputs = {"source": np.array([[3, 4, 5], [6, 0, 0]], "int32"), "targets": targets}
    full = ops.convert_to_numpy(jitted(model, model.variables)(inputs))
    assert full.dtype == np.float32
    encoded = jitted(model.encode, model.variables)(inputs)
    assert keras.backend.standardize_dtype(encoded["sequence"].dtype) == policy.removeprefix("mixed_")
    cache = model.start(2, 3, encoded)
    before = np.array([1, 1], "int32")
    take = jitted(model.step, model.variables)
    for index in range(3):
        logits, cache = take(before, cache, ops.convert_to_tensor(index, "int32"))
        np.testing.assert_allclose(ops.convert_to_numpy(logits), full[:, index], atol=0.03)
        before = targets[:, index]
    assert model.generate(SOURCES, max_length=5).scores.dtype == np.float32


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX always compiles with XLA")
def test_xla_gives_the_same(request):
    model = sharp(transformer)
    fast = model.generate(SOURCES, search="beam", num_beams=2, max_length=5, jit_compile=True)
    request.getfixturevalue("run_eagerly")
    plain = model.generate(SOURCES, search="beam", num_beams=2, max_length=5, jit_compile=False)
    np.testing.assert_array_equal(plain.tokens, fast.tokens)


@not_on_jax
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: lstm()({"source": np.ones((1, 3), "int32")}), "must have a part 'targets'; got 'source'"),
        (
            lambda: lstm()({"sources": np.ones((1, 3), "int32"), "targets": np.ones((1, 3), "int32")}),
            "must have a part 'source'; got 'sources', 'targets'. Did you mean 'sources'",
        ),
        (lambda: lstm(end_id=7), "`end_id` must be below the size of the vocabulary; got end_id=7, vocabulary_size=7"),
        (
            lambda: transformer(share_embeddings=True),
            "`share_embeddings` needs one .*source_vocabulary_size=11, target_vocabulary_size=7. Try share_emb",
        ),
        (lambda: transformer(positions="rotating"), "`positions` must be .*got positions='rotating'"),
        (
            lambda: transformer(positions="learned", max_length=5).generate([[3] * 6], max_length=4),
            "`source` must have at most max_length=5 tokens, the positions of the model; got 6",
        ),
        (
            lambda: transformer(positions="learned", max_length=5).generate([[3]], max_length=6),
            "`max_length` must be at most 5, the positions of the model; got max_length=6",
        ),
        (lambda: models.EncoderDecoder(None, None), "`vocabulary_size` is needed .*; got vocabulary_size=None"),
        (
            lambda: models.EncoderDecoder(None, None, target_embedding="shared"),
            "`target_embedding` must be a layer, None, or the name of .*'source'; got target_embedding='shared'",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("tie_output", [pytest.param(False, marks=not_on_jax), True])
def test_logits_have_no_keras_mask(tie_output):
    """Keras would weight the loss by it, although trainers weight the loss by the targets."""
    sizes = {"num_layers": 1, "hidden_dim": 6, "num_heads": 2, "intermediate_dim": 5, "max_length": 7}
    model = models.TransformerLM(11, tie_output=tie_output, **sizes)
    logits = model({"targets": np.array([[5, 6, 2, 0, 0], [7, 2, 0, 0, 0]])})
    loss = keras.losses.MeanSquaredError()(np.zeros(logits.shape), logits)
    np.testing.assert_allclose(loss, np.mean(np.square(logits)), rtol=1e-5)


@pytest.mark.parametrize("rows, copies", [(3, 1), (1, 0)])
def test_a_loop_of_few_rows_multiplies_with_a_transposed_copy_of_the_table(rows, copies, monkeypatch):
    sizes = {"num_layers": 1, "hidden_dim": 6, "num_heads": 2, "intermediate_dim": 11, "max_length": 13}
    model = kz.create("transformer_lm_tiny", vocabulary_size=1031, **sizes)
    model.build_from_inputs()
    prompts, copied, barrier = np.array([[5, 6], [7, 8], [9, 10]])[:rows], [], _backend.barrier
    expected = model.generate(prompts, max_length=7, jit_compile=False)
    vars(model).pop("_compiled_programs")
    monkeypatch.setattr(_backend, "barrier", lambda x: (copied.append(x.shape), barrier(x))[1])
    found = model.generate(prompts, max_length=7, jit_compile=True)
    assert [tuple(shape) for shape in copied] == [(6, 1031)] * copies
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
