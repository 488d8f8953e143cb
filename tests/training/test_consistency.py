"""Two predictions of each batch that shall agree."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo import training


def tagger(dropout=0.4, seed=1):
    keras.utils.set_random_seed(seed)
    dropped = keras.layers.Dropout(dropout)
    model = keras.Sequential([keras.layers.Embedding(11, 8), dropped, keras.layers.Dense(13)])
    model(data()[0])
    model.compile(keras.optimizers.SGD(0.5), training.SparseCrossentropy(label_smoothing=0.1))
    return model


def data(rows=6):
    rng = np.random.default_rng(0)
    source, targets = rng.integers(3, 11, (rows, 5)), rng.integers(3, 13, (rows, 5))
    targets[0, 3:] = 0
    return source, targets


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def test_the_loss_is_the_mean_of_both_and_their_divergence():
    model, (inputs, targets) = tagger(), data()
    plain = training.SparseCrossentropy(label_smoothing=0.1)
    change = training.Consistency(model, weight=3.0)
    weights = (targets > 0).astype("float32")
    x, y, w = change((inputs, targets, weights), 0)
    logits = ops.convert_to_numpy(model(x, training=True))
    found = float(ops.convert_to_numpy(model.compute_loss(x=x, y=y, y_pred=logits, sample_weight=w)))
    halves = logits[:6], logits[6:]
    losses = [float(ops.convert_to_numpy(plain(targets, half, sample_weight=weights))) for half in halves]
    p, q = map(softmax, halves)
    divergences = (p * np.log(p / q) + q * np.log(q / p)).sum(-1)
    expected = sum(losses) / 2 + 3.0 / 4 * (divergences * weights).sum() / weights.sum()
    assert found == pytest.approx(expected, rel=1e-5)
    assert (divergences * weights).sum() > 0.01
    validated = model.compute_loss(x=inputs, y=targets, y_pred=halves[0], sample_weight=weights, training=False)
    assert float(ops.convert_to_numpy(validated)) == pytest.approx(losses[0], rel=1e-5)


def test_rows_are_repeated_in_their_order():
    model, (inputs, targets) = tagger(), data()
    x, y, none = training.Consistency(model, weight=1.0)((inputs, targets, None), 3)
    assert none is None
    assert np.array_equal(ops.convert_to_numpy(x), np.concatenate([inputs] * 2))
    assert np.array_equal(ops.convert_to_numpy(y), np.concatenate([targets] * 2))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_predictions_agree_more_after_training_with_it(compiled):
    differences = []
    for weight in (1e-6, 20.0):
        model, (inputs, targets) = tagger(), data()
        change = training.Consistency(model, weight)
        training.fit(model, (inputs, targets), batch_size=3, epochs=30, change_batch=change, jit_compile=compiled)
        first, second = (softmax(ops.convert_to_numpy(model(inputs, training=True))) for _ in range(2))
        differences.append(np.abs(first - second)[targets > 0].sum(-1).mean())
    assert differences[1] < 0.8 * differences[0]


def test_classes_have_one_weight_for_each_example():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    x, y = np.random.default_rng(0).normal(size=(8, 4)).astype("float32"), np.arange(8) % 3
    model(x)
    model.compile("sgd", training.SparseCrossentropy())
    history = training.fit(model, (x, y), batch_size=4, epochs=1, change_batch=training.Consistency(model, 1.0),
                           jit_compile=False)  # fmt: skip
    assert np.isfinite(history.history["loss"]).all()


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"Consistency: `weight` must be .*got weight=0"):
        training.Consistency(tagger(), 0)
    with pytest.raises(ValueError, match=r"Consistency: `model` must have dropout"):
        training.Consistency(tagger(dropout=0.0), 1.0)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Consistency: `model` must predict classes or tokens.*got 'mse'"):
        training.Consistency(model, 1.0)


def test_a_run_trains_with_it_and_a_model_without_dropout_leaves_no_record(tmp_path):
    pytest.importorskip("tensorflow")
    rows = "".join(f"{i % 7}.5,{'odd' if i % 2 else 'even'}\n" for i in range(64))
    for split in ("train", "dev"):
        (tmp_path / f"{split}.csv").write_text("a,b\n" + rows)
    task = {"data_dir": tmp_path, "inputs": "number:a", "targets": "label:b"}

    def loss(name, dropout, consistency):
        chosen = {"epochs": 1, "batch_size": 16, "xla": False, "learning_rate": 1e-6, "consistency": consistency}
        options = {"task_options": task, "training": chosen, "evaluate": False, "tensorboard": False}
        kz.run.train("mlp_classifier", "table", tmp_path / name, {"units": (9,), "dropout": dropout}, **options)
        return json.loads((tmp_path / name / "metrics.jsonl").read_text())["loss"]

    assert loss("agree", 0.5, 1e4) > 10 * loss("plain", 0.5, 0.0)
    with pytest.raises(ValueError, match="Consistency: `model` must have dropout"):
        loss("refused", 0.0, 1.0)
    assert not (tmp_path / "refused" / "run.json").exists()
