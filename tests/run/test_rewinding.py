"""Runs that diverge: they stop, or go back to the last checkpoint and leave out the batches that diverged."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo import _checks
from kerazoo.tasks import Task
from kerazoo.training import CheckpointStore

ROWS = "".join(f"{i % 7}.5,{i % 5}.25,{'odd' if i % 2 else 'even'}\n" for i in range(64))
BAD = "99,0.25,odd\n"  # the batch with this example has no finite loss


@pytest.fixture
def table(tmp_path, monkeypatch):
    for split, rows in (("train", ROWS[: -len("0.5,3.25,odd\n")] + BAD), ("dev", ROWS), ("test", ROWS)):
        (tmp_path / f"{split}.csv").write_text("a,b,c\n" + rows)
    original = Task.batch

    def batch(task, features, valid):
        inputs, targets, weights = original(task, features, valid)
        largest = ops.max(ops.stack([ops.max(each) for each in keras.tree.flatten(inputs)]))
        return inputs, targets, ops.where(largest > 4, np.nan, 1.0) * weights  # in deviations from the mean

    monkeypatch.setattr(Task, "batch", batch)
    return tmp_path


def train(folder, name="run", **training):
    lines = []
    chosen = {"batch_size": 16, "xla": False, "learning_rate": 0.1, "schedule": "constant", **training}
    task = {"data_dir": folder, "inputs": "number:a,number:b", "targets": "label:c"}
    options = {"model_options": {"units": (3,)}, "task_options": task, "training": chosen, "print_fn": lines.append}
    predictor = kz.run.train("mlp_classifier", "table", folder / name, **options, evaluate=False, tensorboard=False)
    return predictor.model.get_weights(), "\n".join(lines)


def test_goes_back_and_leaves_out_the_batches_that_diverged(table):
    options = {"steps_per_execution": 1, "on_nan": "rewind"}
    weights, said = train(table, epochs=2, **options)
    assert said.count("loss is nan at step") == 2 and "(time 2 of 3)" in said
    assert "Goes back to the checkpoint of step 0 and leaves out the batches" in said
    state = CheckpointStore(table / "run" / "checkpoints").state()
    skipped = [end - first for _, first, end in state["skip"]]
    assert [epoch for epoch, _, _ in state["skip"]] == [0, 1] and set(skipped) <= {1, 2}
    assert state["step"] == 8 - sum(skipped) and state["epoch"] == 2
    lines = [json.loads(line) for line in (table / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and all(np.isfinite(line["loss"]) for line in lines)
    # The same in two calls, of which the second takes over what the first left out.
    train(table, "parts", epochs=1, **options)
    parts, said = train(table, "parts", epochs=2, **options)
    assert said.count("loss is nan at step") == 1
    for one, two in zip(weights, parts, strict=True):
        np.testing.assert_array_equal(one, two)


def test_it_does_so_three_times_at_most(table):
    with pytest.raises(_checks.DivergedError, match=r"loss is nan .* It was rewound 3 times, the limit of on_nan="):
        train(table, epochs=4, on_nan="rewind", steps_per_execution=1)
    assert CheckpointStore(table / "run" / "checkpoints").state()["epoch"] == 3


def test_it_stops_unless_it_is_asked_to_go_back(table):
    with pytest.raises(_checks.DivergedError, match=r"loss is nan at step \d: training has diverged\. "):
        train(table, epochs=2)
    assert (table / "run" / "checkpoints" / "diverged.json").exists()
    _, said = train(table, epochs=1, on_nan="rewind", steps_per_execution=1)
    assert "Goes back to the checkpoint of step 0" in said
