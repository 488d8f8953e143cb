"""The learning rate and the size of batches that a run finds before it trains, and remembers."""

import csv
import types

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo import _checks
from kerazoo.run import batch_trials, rate_sweep
from kerazoo.run.directory import RunDirectory
from kerazoo.run.options import TrainingOptions

ROWS = "".join(f"{i % 7}.5,{i % 5}.25,{'odd' if i % 2 else 'even'}\n" for i in range(64))


@pytest.fixture
def table(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.csv").write_text("a,b,c\n" + ROWS)
    return tmp_path


def train(folder, name="run", **training):
    lines = []
    size = {} if "batch_tokens" in training else {"batch_size": 16}
    chosen = {"epochs": 1, "xla": False, **size, **training}
    task = {"data_dir": folder, "inputs": "number:a,number:b", "targets": "label:c"}
    options = {"model_options": {"units": (3,)}, "task_options": task, "training": chosen, "print_fn": lines.append}
    predictor = kz.run.train("mlp_classifier", "table", folder / name, **options, evaluate=False, tensorboard=False)
    return predictor.model.get_weights(), "\n".join(lines)


@pytest.mark.usefixtures("programs")  # many steps
def test_the_learning_rate_is_found_once_and_changes_nothing_else(table):
    _, said = train(table, learning_rate="find", gradient_accumulation_steps=2)
    found = RunDirectory(table / "run").record()["found"]["learning_rate"]
    assert f"learning_rate=find: {found:g} is taken, a tenth of the rate with the smallest loss" in said
    rows = list(csv.DictReader((table / "run" / "learning-rate.csv").open()))
    values = {float(row["learning_rate"]): float(row["smoothed_loss"]) for row in rows}
    assert found == pytest.approx(min(values, key=values.get) / 10, rel=0.06)
    assert min(values) == pytest.approx(rate_sweep.LOW) and len(values) > 20
    again, said = train(table, learning_rate="find", gradient_accumulation_steps=2, epochs=2)
    assert "is taken" not in said
    train(table, "given", learning_rate=found, gradient_accumulation_steps=2)
    given, _ = train(table, "given", learning_rate=found, gradient_accumulation_steps=2, epochs=2)
    for one, two in zip(again, given, strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(_checks.CheckpointError, match=r"learning_rate=0.5 \(the run has 'find'\)"):
        train(table, learning_rate=0.5, gradient_accumulation_steps=2, epochs=3)


def test_a_sweep_has_batches_of_one_shape():
    plan = kz.data.Plan({"source": np.array([2] * 12 + [9] * 21)}, batch_size=5, max_shapes=2)
    few = rate_sweep.commonest_shape(plan)
    batches = few.epoch(3)
    assert {few.shapes[batch.shape_index].lengths["source"] for batch in batches} == {9}
    assert few.steps == len(batches) == 5 and {len(batch.rows) for batch in batches} == {5}


def test_the_sweep_ends_where_the_loss_grows():
    losses = rate_sweep._Losses(100)
    model = types.SimpleNamespace(
        optimizer=types.SimpleNamespace(learning_rate=0.1), reset_metrics=lambda: None, stop_training=False
    )
    losses.set_model(model)
    for step, loss in enumerate([3.0, 2.0, 1.0, 1.0, 1.0, 90.0]):
        assert not model.stop_training
        model.optimizer.learning_rate = 10.0**step
        losses.on_train_batch_begin(step)
        losses.on_train_batch_end(step, {"loss": loss})
    assert model.stop_training and rate_sweep.choose(losses.rows) == 10.0**3


@pytest.mark.slow
def test_batches_are_found_by_trial_and_remembered(table, monkeypatch):
    monkeypatch.setattr(batch_trials, "FIRST", 2)
    monkeypatch.setattr(batch_trials, "MIN_STEPS", 8)
    chosen = {"batch_tokens": "auto"}
    rows = []
    original = batch_trials.trials
    monkeypatch.setattr(batch_trials, "trials", lambda *a, **b: rows.extend(original(*a, **b)) or [(2, 5.0), (4, 9.0)])
    weights, said = train(table, "run", **chosen)
    _, both = train(table, "both", **chosen, learning_rate="find", schedule="one_cycle")
    assert "batch_tokens=auto: 4 is taken" in both and both.index("batch_tokens") < both.index("learning_rate=find")
    assert [tokens for tokens, _ in rows][:3] == [2, 4, 8] and all(speed > 0 for _, speed in rows)
    assert "batch_tokens=auto: 4 is taken. Tokens of a batch and tokens per second: 2: 5, 4: 9." in said
    assert RunDirectory(table / "run").record()["found"] == {"batch_tokens": 4}
    given, _ = train(table, "given", batch_tokens=4)
    for one, two in zip(weights, given, strict=True):
        np.testing.assert_array_equal(one, two)
    _, said = train(table, "run", epochs=2, **chosen)
    assert "is taken" not in said


def test_trials_end_where_memory_does_or_nothing_is_gained(monkeypatch):
    from kerazoo import training

    too_large = []
    speeds = {2: 1.0, 4: 2.0, 8: 2.05, 16: 2.02, 32: 9.0}

    def fit(model, plan, callbacks, **arguments):
        if plan.shapes[0].rows in too_large:
            raise MemoryError
        callbacks[0].seconds = [99.0, plan.shapes[0].rows / speeds[plan.shapes[0].rows]]

    def plan_of(tokens):
        shape = types.SimpleNamespace(rows=tokens, cells=1)
        batch = types.SimpleNamespace(shape_index=0)
        return types.SimpleNamespace(shapes=[shape], steps=99, valid_fraction=1.0, epoch=lambda epoch: [batch])

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(batch_trials, "FIRST", 2)
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for first, tried, chosen in ((64, [2, 4, 8, 16], 4), (8, [2, 4], 4), (4, [2], 2)):
        too_large[:] = [first]
        rows = batch_trials.trials(made, lambda: None, plan_of)
        assert [tokens for tokens, _ in rows] == tried and batch_trials.choose(rows) == chosen
    too_large[:] = [2]
    with pytest.raises(MemoryError):
        batch_trials.trials(made, lambda: None, plan_of)


def test_words_of_options():
    assert TrainingOptions(learning_rate="find", batch_tokens="auto").batch_tokens == "auto"
    with pytest.raises(TypeError, match=r"`learning_rate` must be a number above 0; got learning_rate='best'"):
        TrainingOptions(learning_rate="best")
    with pytest.raises(TypeError, match=r"`batch_tokens` must be .*got batch_tokens='find'"):
        TrainingOptions(batch_tokens="find")
