"""Variants that are trained: pruned, smaller, of low rank, and students; each goes on where it was killed."""

import json

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo import _checks
from kerazoo.compress import sparsity_of
from kerazoo.run import RunDirectory, predictor, teachers, variants

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)

QUICK = {"epochs": 2, "batch_size": 128, "xla": False, "learning_rate": 0.01}


@pytest.fixture(scope="module", autouse=True)
def _no_times():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants._Compression, "_exported", lambda *_: {
            "weights_bytes": 1, "saved_model_bytes": 1, "memory": 1, "seconds_1": 1.0, "seconds_16": 1.0
        })  # fmt: skip
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small network for digits."""
    path = tmp_path_factory.mktemp("run") / "digits"
    kz.run.train("mlp_classifier", "digits", path, {"units": (40,)}, {}, QUICK, evaluate=False, tensorboard=False)
    return path


def compress(run, to, *recipes, **training):
    return kz.run.compress(run, recipes, to=to, training={"epochs": 2, "learning_rate": 0.01, **training})


def test_a_pruned_run_has_its_zeros_and_keeps_them_when_it_is_quantized(run, tmp_path):
    results = compress(run, tmp_path, "prune:0.75,int8", "prune:0.75")
    pruned, small = kz.load(tmp_path / "prune-0.75"), kz.load(tmp_path / "prune-0.75+int8")
    assert sparsity_of(pruned.model) == pytest.approx(0.75, abs=0.001)
    zeros = [np.asarray(weight) == 0 for weight in kz.compress.stored_weights(small.model)]
    assert sum(map(np.sum, zeros)) / sum(each.size for each in zeros) >= 0.75
    assert results["variants"]["prune-0.75"]["dev"]["accuracy"] > 0.5
    record = json.loads((tmp_path / "prune-0.75" / "run.json").read_text())
    with pytest.raises(_checks.CheckpointError, match="was made of .* by the step prune:0.75"):
        kz.run.reproduce(tmp_path / "prune-0.75", tmp_path / "again")
    assert record["made_of"] == {"run_dir": str(run), "step": "prune:0.75"} and record["training"]["prune"] == "0.75"


def test_a_training_that_was_killed_goes_on(run, tmp_path, monkeypatch):
    train = variants.trainer.train
    with monkeypatch.context() as patch:
        patch.setattr(variants.trainer, "train", lambda *given, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compress(run, tmp_path, "prune:0.5")
    started = []
    monkeypatch.setattr(
        variants.trainer, "train", lambda *given, **options: started.append(given) or train(*given, **options)
    )
    compress(run, tmp_path, "prune:0.5")
    compress(run, tmp_path, "prune:0.5")
    assert len(started) == 1 and sparsity_of(kz.load(tmp_path / "prune-0.5").model) > 0.49


def test_a_smaller_run_and_one_of_low_rank(run, tmp_path):
    compress(run, tmp_path, "shrink:units=16", "low_rank:0.5,int8")
    whole, narrow = kz.load(run), kz.load(tmp_path / "shrink-units-16")
    assert narrow.model.encoder.units == (16,) and narrow.model.count_params() < 0.45 * whole.model.count_params()
    raw, references = narrow.task.examples("dev")
    assert kz.tasks.MEASURES.get("accuracy")(narrow(raw), references) > 0.5
    low, small = kz.load(tmp_path / "low_rank-0.5"), kz.load(tmp_path / "low_rank-0.5+int8")
    assert low.model.count_params() < 0.6 * whole.model.count_params()
    assert np.mean([a == b for a, b in zip(low(raw), small(raw))]) > 0.95


def test_students(run, tmp_path):
    compress(run, tmp_path, "distil:mlp_classifier:units=8")
    student = kz.load(tmp_path / "distil-mlp_classifier-units-8")
    assert student.model.encoder.units == (8,)
    record = json.loads((tmp_path / "distil-mlp_classifier-units-8" / "run.json").read_text())
    assert record["training"]["teacher"] == [str(run)] and record["training"]["distillation"] == "logits"
    with pytest.raises(ValueError, match="distillation='sequences' needs a model that generates"):
        compress(run, tmp_path, "distil_sequences:mlp_classifier")
    with pytest.raises(ValueError, match="Close names: mlp_classifier"):
        compress(run, tmp_path, "distil:mlp_clasifier")
    with pytest.raises(ValueError, match="Close names: units"):
        compress(run, tmp_path, "shrink:unit=3")


def test_teachers_predict_targets_for_texts(tmp_path, run_eagerly):
    task = kz.tasks.create("reverse", length=3, examples=97)
    corpus = task.load("train")
    for name in ("0", "1"):
        model = predictor.build_model("lstm_seq2seq", task, {"units": 11, "embedding_dim": 7})
        record = {"kerazoo": "0", "import": [], "task": "reverse", "task_options": {}, "training": {}}
        record |= {
            "model": "lstm_seq2seq",
            "model_options": {"units": 11, "embedding_dim": 7},
            "made_of": {"run_dir": ""},
        }
        new = RunDirectory(tmp_path / name)
        variants.write_run(new, record, predictor.Predictor(model, task), new.baseline, True)
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
    other = kz.tasks.create("reverse", length=3, examples=97, letters=5)
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
