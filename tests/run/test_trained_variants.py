"""Variants that are trained: pruned, smaller, of low rank, and students; each goes on where it was killed."""

import json

import keras
import numpy as np
import pytest
from toys import predict_eagerly, write_run

import kerazoo as kz
from kerazoo import _checks
from kerazoo.compress import sparsity_of
from kerazoo.run import RunDirectory, pictures, teachers, variant_measures, variants

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)

QUICK = {"epochs": 2, "batch_size": 128, "xla": False, "learning_rate": 0.01}


@pytest.fixture(scope="module", autouse=True)
def _no_times_and_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variant_measures, "measure_export", lambda *_, **__: {
            "weights_bytes": 1, "saved_model_bytes": 1, "memory": 1, "seconds_1": 1.0, "seconds_16": 1.0
        })  # fmt: skip
        patch.setattr(pictures, "draw", lambda sample: None)
        patch.setattr(keras.Model, "predict_on_batch", predict_eagerly)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small network for digits."""
    path = tmp_path_factory.mktemp("run") / "digits"
    kz.run.train("mlp_classifier", "digits", path, {"units": (40,)}, {}, QUICK, evaluate=False, tensorboard=False)
    return path


def compress(run, to, *recipes, **training):
    return kz.run.compress(run, recipes, to=to, limit=64, training={"epochs": 2, "learning_rate": 0.01, **training})


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    """The results of some recipes, their folder, and what was trained after the first training had been killed."""
    to, started, train = tmp_path_factory.mktemp("variants"), [], variants.trainer.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants.trainer, "train", lambda *given, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compress(run, to, "prune:0.75")
        patch.setattr(
            variants.trainer, "train", lambda *given, **options: started.append(given[2]) or train(*given, **options)
        )
        compress(run, to, "prune:0.75,int8")
        recipes = ("prune:0.75,int8", "shrink:units=16", "low_rank:0.5,int8", "distil:mlp_classifier:units=8")
        return compress(run, to, *recipes), to, started


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on(made):
    _, to, started = made
    assert [path.name for path in started] == [
        "prune-0.75",
        "shrink-units-16",
        "low_rank-0.5",
        "distil-mlp_classifier-units-8",
    ]
    history = (to / "prune-0.75" / "metrics.jsonl").read_text().splitlines()
    assert len(history) == 2


@pytest.mark.slow
def test_a_pruned_run_has_its_zeros_and_keeps_them_when_it_is_quantized(run, made, tmp_path):
    results, to, _ = made
    pruned, small = kz.load(to / "prune-0.75"), kz.load(to / "prune-0.75+int8")
    assert sparsity_of(pruned.model) == pytest.approx(0.75, abs=0.001)
    zeros = [np.asarray(weight) == 0 for weight in kz.compress.stored_weights(small.model)]
    assert sum(map(np.sum, zeros)) / sum(each.size for each in zeros) >= 0.75
    assert results["variants"]["prune-0.75+int8"]["dev"]["accuracy"] > 0.5
    record = json.loads((to / "prune-0.75" / "run.json").read_text())
    with pytest.raises(_checks.CheckpointError, match="was made of .* by the step prune:0.75"):
        kz.run.reproduce(to / "prune-0.75", tmp_path / "again")
    assert record["made_of"] == {"run_dir": str(run), "step": "prune:0.75"} and record["training"]["prune"] == "0.75"


@pytest.mark.slow
def test_a_smaller_run_and_one_of_low_rank(run, made):
    results, to, _ = made
    whole, narrow = kz.load(run), kz.load(to / "shrink-units-16")
    assert narrow.model.encoder.units == (16,) and narrow.model.count_params() < 0.45 * whole.model.count_params()
    assert results["variants"]["shrink-units-16"]["dev"]["accuracy"] > 0.5
    raw, _ = narrow.task.examples("dev")
    low, small = kz.load(to / "low_rank-0.5"), kz.load(to / "low_rank-0.5+int8")
    assert low.model.count_params() < 0.6 * whole.model.count_params()
    assert np.mean([a == b for a, b in zip(low(raw), small(raw))]) > 0.95


@pytest.mark.slow
def test_students(run, made):
    _, to, _ = made
    student = kz.load(to / "distil-mlp_classifier-units-8")
    assert student.model.encoder.units == (8,)
    record = json.loads((to / "distil-mlp_classifier-units-8" / "run.json").read_text())
    assert record["training"]["teacher"] == [str(run)] and record["training"]["distillation"] == "logits"
    with pytest.raises(ValueError, match="distillation='sequences' needs a model that generates"):
        compress(run, to, "distil_sequences:mlp_classifier")
    with pytest.raises(ValueError, match="Close names: mlp_classifier"):
        compress(run, to, "distil:mlp_clasifier")
    with pytest.raises(ValueError, match="Close names: units"):
        compress(run, to, "shrink:unit=3")


def test_teachers_predict_targets_for_texts(tmp_path):
    task = kz.tasks.create("reverse", length=3, examples=31)
    corpus = task.load("train")
    for name in ("0", "1"):
        write_run(tmp_path / name, "lstm_seq2seq", {"units": 11, "embedding_dim": 7}, task)
    (tmp_path / "lines.txt").write_text("abc\n\nhij\n")
    options = {"teacher": (tmp_path / "0", tmp_path / "1"), "teacher_data": str(tmp_path / "lines.txt")}
    options = kz.run.TrainingOptions(**options, distillation="sequences")
    both, found = kz.load([tmp_path / "0", tmp_path / "1"]), []
    for _ in range(2):  # the second time from the file
        taught = teachers.Teachers(options)
        found.append(taught.corpus(corpus, task, RunDirectory(tmp_path)))
        taught.predictors.clear()
    assert found[0].fingerprint == found[1].fingerprint and len(found[0]) == len(corpus) + 2
    targets = [found[0].features["targets"][row] for row in (0, 5, -2, -1)]
    raw = task.decode([corpus.features["source"][row] for row in (0, 5)]) + ["abc", "hij"]
    assert task.decode(targets) == both(raw, search="beam", num_beams=5)
    plain = teachers.Teachers(options.replace(distillation="logits")).corpus(corpus, task, RunDirectory(tmp_path))
    assert all(np.array_equal(plain[row]["targets"], corpus[row]["targets"]) for row in range(len(corpus)))
    other = kz.tasks.create("reverse", length=3, examples=31, letters=5)
    with pytest.raises(_checks.CheckpointError, match="must have the vocabularies and classes of the new run"):
        teachers.Teachers(options).corpus(other.load("train"), other, RunDirectory(tmp_path / "other"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"prune": "1.5"}, "`sparsity` must be a share of zeros"),
        ({"distillation": "sequences"}, "`distillation` needs a `teacher`"),
        ({"teacher_data": "x"}, "`teacher_data` needs a `teacher`"),
        ({"distillation": "other"}, "`distillation` must be one of"),
        ({"teacher": ("x",), "feed": "stream"}, "`teacher` needs examples in memory"),
    ],
)
def test_wrong_options_of_a_training_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        kz.run.TrainingOptions(**options)
