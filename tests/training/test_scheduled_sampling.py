"""Decoders that read their own predictions in training."""

import keras
import numpy as np
import pytest
from keras import ops
from pytest import param
from toys import not_on_jax

import kerazoo as kz
from kerazoo import training


def seq2seq(seed=1):
    keras.utils.set_random_seed(seed)
    made = kz.models.LSTMSeq2Seq(11, 13, embedding_dim=5, units=7, attention="additive")
    made(data()[0])
    made.compile(keras.optimizers.SGD(0.05), training.SparseCrossentropy())
    return made


def data(rows=6):
    rng = np.random.default_rng(0)
    source, targets = rng.integers(3, 11, (rows, 3)), rng.integers(3, 13, (rows, 5))
    targets[0, 3:] = 0
    return {"source": source, "targets": targets}, targets


def own_predictions(model, inputs, mixed):
    """The most likely token of each position after the mixed tokens before it, by the full pass."""
    logits = model({**inputs, "targets": mixed}, training=False)
    return np.argmax(ops.convert_to_numpy(logits), axis=-1)


@pytest.mark.parametrize(
    ("rate", "number"),
    [(0.5, 9), *(param(*each, marks=not_on_jax) for each in ((1.0, 9), (1.0, 3), (0.0, 9), (1.0, 0)))],
)
def test_tokens_are_replaced_by_what_the_model_predicts_after_the_mixed_ones(rate, number):
    model, (inputs, targets) = seq2seq(), data(50)
    change = training.ScheduledSampling(model, rate, steps=9, seed=4)
    changed, kept, _ = change((inputs, targets, None), number)
    assert kept is targets and changed["source"] is inputs["source"]
    mixed = ops.convert_to_numpy(changed["targets"])
    own = own_predictions(model, inputs, mixed)
    from_model, valid = mixed != targets, targets > 0
    assert np.array_equal(mixed[from_model], own[from_model]) and not from_model[~valid].any()
    share = np.mean(from_model[valid & (own != targets)])
    assert share == pytest.approx(rate * min(1, number / 9), abs=0.12 if 0 < rate * number < 9 else 0)
    again = ops.convert_to_numpy(change((inputs, targets, None), number)[0]["targets"])
    assert np.array_equal(again, mixed)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_steps_train_on_the_mixed_tokens(compiled):
    model, expected, (inputs, targets) = seq2seq(), seq2seq(), data()
    change = training.ScheduledSampling(model, 1.0, steps=2)
    training.fit(model, (inputs, targets), batch_size=6, epochs=4, shuffle=False, change_batch=change,
                 jit_compile=compiled)  # fmt: skip
    other = training.ScheduledSampling(expected, 1.0, steps=2)
    for number in range(4):
        changed, _ = other((inputs, targets), number)
        expected.train_on_batch(keras.tree.map_structure(ops.convert_to_numpy, changed), targets)
    for one, two in zip(model.get_weights(), expected.get_weights(), strict=True):
        # Compiled, a prediction may be another one where two tokens are almost equally likely.
        np.testing.assert_allclose(one, two, 1e-4, 1e-3 if compiled else 1e-5)


def test_language_models_and_transformers():
    model = kz.models.LSTMLM(11, embedding_dim=5, units=7)
    targets = np.array([[3, 4, 5], [6, 7, 0]])
    model({"targets": targets})
    changed, _ = training.ScheduledSampling(model, 1.0, steps=1)(({"targets": targets}, targets), 5)
    mixed = ops.convert_to_numpy(changed["targets"])
    logits = ops.convert_to_numpy(model({"targets": mixed}))
    assert np.array_equal(mixed[0], np.argmax(logits[0], -1)) and mixed[1, 2] == 0
    transformer = kz.models.TransformerLM(11, num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=8)
    with pytest.raises(ValueError, match=r"`model` must have a recurrent decoder .*got TransformerLM.*Leave"):
        training.ScheduledSampling(transformer, 0.5, 9)
    with pytest.raises(ValueError, match=r"ScheduledSampling: `rate` must be .*got rate=2"):
        training.ScheduledSampling(model, 2, 9)
