"""The receipt of a run, and training it again."""

import json
import types

import keras
import numpy as np
import pytest
from commands import in_process

import kerazoo as kz
from kerazoo import _checks, _files, training
from kerazoo.run import report, reproduction
from kerazoo.run.directory import RunDirectory
from kerazoo.run.options import TrainingOptions

ROWS = "".join(f"{i % 7}.5,{i % 5}.25,{'odd' if i % 2 else 'even'}\n" for i in range(64))


def train(folder, name="run", **options):
    lines = []
    task = {"data_dir": folder, "inputs": "number:a,number:b", "targets": "label:c"}
    chosen = {"epochs": 2, "batch_size": 16, "xla": False, "learning_rate": 0.1, **options}
    arguments = {"model_options": {"units": (3,)}, "task_options": task, "training": chosen, "print_fn": lines.append}
    kz.run.train("mlp_classifier", "table", folder / name, tensorboard=False, **arguments)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    for split in ("train", "dev", "test"):
        (folder / f"{split}.csv").write_text("a,b,c\n" + ROWS)
    said = train(folder, seed=3)
    assert "All epochs=2 are trained.\nGoodput " in said and "were training steps." in said
    return folder


def test_a_receipt_has_what_the_result_depends_on(table):
    run = RunDirectory(table / "run")
    receipt = _files.read_record(run.receipt)
    assert receipt["seed"] == 3 and receipt["backend"] == keras.backend.backend()
    assert receipt["versions"]["keras"] == keras.__version__ and receipt["versions"]["numpy"] == np.__version__
    assert receipt["data"] == run.record()["data"] and len(receipt["data"]["train"]["sha256"]) == 64
    assert receipt["task_sha256"] == kz.load(run.path).task.hash
    store = training.CheckpointStore(run.checkpoints)
    content = (run.checkpoints / receipt["weights"]["checkpoint"] / "model.npz").read_bytes()
    assert receipt["weights"] == {"checkpoint": store.best(), "sha256": _sha256(content)}
    assert receipt["results"]["dev"]["metrics"] == json.loads(run.evaluation("dev").read_text())["metrics"]
    assert receipt["machine"]["cores"] and receipt["machine"]["processor"] and receipt["machine"]["devices"]


def _sha256(content):
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_a_run_is_trained_again_and_is_equal(table, tmp_path):
    rows = kz.run.reproduce(table / "run", tmp_path / "again", print_fn=lambda line: None)
    assert {row.measure for row in rows} >= {"accuracy", "f1"} and all(row.within for row in rows)
    assert str(rows[0]).endswith("equal; no spread is stated")
    one, two = (_files.read_record(RunDirectory(path).receipt) for path in (table / "run", tmp_path / "again"))
    assert one["weights"] == two["weights"] and one["data"] == two["data"]


def test_results_are_compared_with_their_spread(tmp_path):
    run = RunDirectory(tmp_path)
    run.evaluation("test").write_text('{"metrics": {"accuracy": 0.75, "baseline.accuracy": 0.5}}')
    stated = [("test", "accuracy", 0.74, 0.02), ("test", "accuracy", 0.72, 0.02), ("test", "accuracy", 0.74, None)]
    rows = kz.run.compare_results(run, stated)
    assert [row.within for row in rows] == [True, False, False]
    assert [str(row).partition(": ")[2] for row in rows] == [
        "stated 0.74, found 0.75: within the spread of 0.02",
        "stated 0.72, found 0.75: outside the spread of 0.02",
        "stated 0.74, found 0.75: they differ by 0.01; no spread is stated",
    ]
    with pytest.raises(_checks.CheckpointError, match=r"evaluation-test.json: has no 'bleu'; it has accuracy"):
        kz.run.compare_results(run, [("test", "bleu", 1.0, None)])
    with pytest.raises(_checks.CheckpointError, match=r"evaluation-dev.json: cannot be read.*Evaluate the run on dev"):
        reproduction.results(run, "dev")


@pytest.mark.parametrize(("stated", "code"), [("0.75 +- 0.02", 0), ("0.70 +- 0.02", 1), ("0.1", 0)])
def test_a_recipe_states_its_results(tmp_path, monkeypatch, stated, code):
    recipe = tmp_path / "small.flags"
    recipe.write_text(
        "# python -m experiments.evaluate --run_dir=RUN --search=beam '--option=a b'\n"
        f"# result: accuracy {stated} on dev\n--model=mlp_classifier\n"
    )
    calls = []

    def run(arguments, **options):
        calls.append(arguments[2:])
        (tmp_path / "again").mkdir(exist_ok=True)
        (tmp_path / "again" / "evaluation-dev.json").write_text('{"metrics": {"accuracy": 0.74}}')
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr("subprocess.run", run)
    out, _ = in_process("reproduce", recipe, f"--run_dir={tmp_path / 'again'}", "--data_dir=x", code=code)
    target = f"--run_dir={tmp_path / 'again'}"
    assert calls == [
        ["experiments.run", f"--flagfile={recipe}", target, "--data_dir=x"],
        ["experiments.evaluate", target, "--split=dev", "--search=beam", "--option=a b"],
    ]
    assert out.startswith(f"dev accuracy: stated {float(stated.split()[0]):g}, found 0.74: ")


def test_arguments_of_reproduce(tmp_path):
    _, said = in_process("reproduce", code=2)
    assert "one RECIPE or RUN is needed, and got 0" in said
    _, said = in_process("reproduce", tmp_path / "none.flags", code=2)
    assert "none.flags: is neither a recipe nor a run" in said
    (tmp_path / "no.flags").write_text("--model=x\n")
    _, said = in_process("reproduce", tmp_path / "no.flags", code=2)
    assert "no.flags: states no result" in said


def test_goodput():
    calls = [{"seconds": 10.0, "step_seconds": 6.0}, {"ended": "killed"}, {"seconds": 10.0, "step_seconds": 9.0}]
    assert report.goodput({"calls": calls}) == "Goodput 75%: 15.0 s of 20.0 s were training steps."
    assert report.goodput({"calls": calls[1:2]}) == report.goodput({}) == ""


def test_a_profile_is_written(table):
    train(table, "profiled", profile="3:5", steps_per_execution=1)
    assert list((table / "profiled" / "profile").rglob("*.pb")) or list((table / "profiled" / "profile").rglob("*.gz"))


def test_deterministic_training_asks_the_backend(table, monkeypatch):
    from kerazoo.training import blocks

    asked = []
    monkeypatch.setattr(blocks.backend(), "make_deterministic", lambda: asked.append(True))
    train(table, "deterministic", epochs=1, deterministic=True)
    assert asked == [True]


@pytest.mark.parametrize("profile", ["5", "5:3", "0:3", "a:b"])
def test_bad_profiles_are_refused(profile):
    with pytest.raises(ValueError, match=rf"`profile` must be FIRST:LAST, such as 100:110; got profile='{profile}'"):
        TrainingOptions(profile=profile)
