"""Several sequences in one row: the losses and gradients of rows of their own, and no way from one to another."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import JAX, jitted, not_on_jax

import kerazoo as kz

VOCABULARY = 13
SIZES = {"hidden_dim": 12, "num_heads": 2, "intermediate_dim": 7, "dropout": 0.0, "max_length": 11}


def corpus(count=23, seed=1):
    random = np.random.default_rng(seed)

    def rows(longest):
        return kz.data.Ragged.from_rows([random.integers(3, VOCABULARY, n) for n in random.integers(1, longest, count)])

    return kz.data.Corpus({"source": rows(8), "targets": rows(12)})


def seq2seq(positions, **options):
    return kz.models.TransformerSeq2Seq(
        VOCABULARY,
        VOCABULARY,
        num_encoder_layers=1,
        num_decoder_layers=1,
        positions=positions,
        share_embeddings=False,
        **{**SIZES, **options},
    )


def copying(positions, **options):
    return seq2seq(positions, copy=True, **options)


def language_model(positions, **options):
    return kz.models.TransformerLM(VOCABULARY, 1, positions=positions, **{**SIZES, **options})


def batches(held, plan, names):
    """The inputs, targets and weights of an epoch."""
    for batch in plan.epoch(0):
        features, valid = held.batch(batch.rows, plan.shapes[batch.shape_index].lengths)
        inputs = {name: value for name, value in features.items() if name.removesuffix("_segments") in names}
        yield inputs, features["targets"], (features["targets"] > 0) * valid[:, None].astype("float32")


def gradients(model, inputs, targets, weights):
    """The loss, and how far a step of plain descent moves each weight: its gradient."""
    model.compile(keras.optimizers.SGD(1.0), kz.training.SparseCrossentropy(), run_eagerly=not JAX)
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    loss = model.train_on_batch(inputs, targets, weights)
    after = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before):
        variable.assign(value)
    return loss, [a - b for a, b in zip(before, after)]


QUICK = [(language_model, "rotary"), (copying, "learned"), (seq2seq, "sinusoidal"), (seq2seq, "rotary")]
ROWS = [
    pytest.param(make, positions, marks=() if (make, positions) in QUICK else pytest.mark.slow)
    for make in (seq2seq, copying, language_model)
    for positions in ("sinusoidal", "learned", "rotary")
]


@pytest.mark.parametrize("make, positions", QUICK[:1] if JAX else ROWS)
def test_packed_and_unpacked_rows_have_the_same_loss_and_gradients(make, positions):
    model, held = make(positions), corpus()
    names = ("targets",) if make is language_model else ("source", "targets")
    held = kz.data.Corpus({name: held.features[name] for name in names})
    model.build_from_inputs()
    (plain,) = batches(held, kz.data.Plan.of(held, batch_size=23, max_shapes=1), names)
    packed_plan = kz.data.PackedPlan.of(held, batch_size=23)
    (packed,) = batches(held, packed_plan, names)
    assert packed[1].shape[0] < 13 and packed[2].sum() == plain[2].sum()
    loss, moved = gradients(model, *plain)
    packed_loss, packed_moved = gradients(model, *packed)
    assert np.isclose(loss, packed_loss, rtol=1e-5)
    assert any(np.abs(gradient).max() > 1e-2 for gradient in moved)
    for one, other in zip(moved, packed_moved):
        assert np.allclose(one, other, atol=2e-6)


@not_on_jax
def test_the_loss_is_the_same_for_any_layout_of_the_batches():
    model, held = seq2seq("learned"), corpus(31)
    plans = [
        kz.data.Plan.of(held, batch_size=31, max_shapes=1),
        kz.data.Plan.of(held, batch_size=5, max_shapes=3),
        kz.data.Plan.of(held, tokens=29, max_shapes=2, shuffle=False),
        kz.data.PackedPlan.of(held, batch_size=7),
        kz.data.PackedPlan.of(held, tokens=50, row_length=41),
    ]
    found = []
    for plan in plans:
        total = count = 0.0
        for inputs, targets, weights in batches(held, plan, ("source", "targets")):
            loss = kz.training.losses.token_crossentropy(targets, model(inputs))
            total += float(ops.sum(loss * weights))
            count += weights.sum()
        found.append(total / count)
    assert np.allclose(found, found[0], rtol=1e-5)


@pytest.mark.parametrize("make", [language_model] if JAX else [seq2seq, language_model])
def test_nothing_passes_from_one_sequence_to_another(make):
    model = make("rotary")
    model.build_from_inputs()
    run = jitted(model, model.variables)
    segments = np.array([[1, 1, 1, 2, 2, 2, 2, 3, 0]])
    tokens = np.array([[3, 4, 5, 6, 7, 8, 9, 10, 0]])
    other = np.where(segments == 2, tokens[:, ::-1] + 1, tokens)

    def logits(source, targets):
        inputs = {"targets": targets, "targets_segments": segments}
        if make is seq2seq:
            inputs |= {"source": source, "source_segments": segments}
        return ops.convert_to_numpy(run(inputs))[0]

    first = logits(tokens, tokens)
    outside = (segments[0] != 2) & (segments[0] > 0)
    for changed in (logits(other, tokens), logits(tokens, other), logits(other, other)):
        assert np.array_equal(first[outside], changed[outside])
    assert make is language_model or not np.allclose(first[3:7], logits(other, tokens)[3:7])
    # The first token of a sequence is told nothing, the last one's neighbour included.
    moved = ops.convert_to_numpy(run({"targets": tokens[:, 3:7], "source": tokens[:, 3:7]}))[0]
    assert np.allclose(first[3:7], moved, atol=1e-5)


@pytest.mark.parametrize(
    "model, message",
    [
        (kz.models.LSTMSeq2Seq(13, 13, units=5), "LSTMSeq2Seq: packing.*encoder=LSTMEncoder.*max_shapes=8"),
        (kz.models.LanguageModel(kz.layers.LSTMDecoder(5), vocabulary_size=13), "LanguageModel.*decoder=LSTMDecoder"),
        (kz.models.MLPClassifier(), "MLPClassifier: packing is for models that predict tokens.*packing=True"),
    ],
)
def test_models_that_cannot_keep_rows_apart_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        kz.models.check_packing(model)


def test_a_recurrent_model_refuses_packed_inputs():
    tokens = np.array([[3, 4, 5]])
    model = kz.models.LSTMSeq2Seq(13, 13, units=5)
    with pytest.raises(ValueError, match="encoder=LSTMEncoder"):
        model({"source": tokens, "targets": tokens, "source_segments": tokens - 2})
