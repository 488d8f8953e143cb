"""Variants of a run in small formats: ordinary runs, measured, the frontier, what is continued, and the refusals."""

import json
import shutil

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo import _checks
from kerazoo.run import variants

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)

QUICK = {"epochs": 1, "batch_size": 64, "xla": False, "limit": 128}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a model that reverses letters; it is not good, and differs from letter to letter."""
    path = tmp_path_factory.mktemp("run") / "reverse"
    sizes = {"units": 23, "embedding_dim": 19, "attention": "multiplicative"}
    task = {"length": 5, "examples": 503}
    kz.run.train("lstm_seq2seq", "reverse", path, sizes, task, QUICK, evaluate=False, tensorboard=False)
    return path


@pytest.fixture(scope="module")
def made(run, monkeypatch_module, tmp_path_factory):
    """The results of two recipes, with numbers in place of times."""
    to = tmp_path_factory.mktemp("variants")
    return kz.run.compress(run, ["int8", "float16"], to=to, limit=31), to


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        times = iter(range(1, 100))

        def measured(directory, raw, **options):
            assert (directory / "saved_model.pb").is_file() and raw
            return {"seconds": {1: 0.001 * next(times), 16: 0.5}, "memory": 1000}

        patch.setattr(kz.export, "measure_latency", measured)
        yield patch


def test_a_variant_is_a_run_that_predicts_evaluates_and_exports(run, made, tmp_path):
    results, to = made
    words, whole, small = ["abc", "jihg", "a"], kz.load(run), kz.load(to / "int8")
    assert len(kz.compress.stored_weights(small.model)) > 4
    scores = whole.score(words, ["cba", "ghij", "b"]).scores
    np.testing.assert_allclose(small.score(words, ["cba", "ghij", "b"]).scores, scores, atol=0.1)
    assert not np.array_equal(small.score(words, ["cba", "ghij", "b"]).scores, scores)
    exported = kz.run.export(to / "int8", tmp_path / "saved")  # a fresh process predicts the same
    plain = kz.run.export(run, tmp_path / "plain", verify=False)
    sizes = [(each / "variables" / "variables.data-00000-of-00001").stat().st_size for each in (exported, plain)]
    assert sizes[0] < 0.45 * sizes[1]
    found = kz.run.evaluate(to / "int8", "dev", limit=31)["metrics"]
    stored = results["variants"]["int8"]
    assert all(found[name] == pytest.approx(value) for name, value in stored["dev"].items())
    assert (to / "int8" / "report.md").is_file()
    assert stored["weights_bytes"] < 0.5 * results["variants"]["float32"]["weights_bytes"]


def test_results_are_a_table_and_a_picture(made):
    results, to = made
    assert list(results["variants"]) == ["float32", "int8", "float16"] and results["metric"] == "token_error_rate"
    table = (to / "compression.md").read_text()
    assert len(table.splitlines()) == 5 and f"{results['variants']['int8']['test']['token_error_rate']:.4f}" in table
    assert (to / "compression.png").read_bytes()[1:4] == b"PNG"
    assert json.loads((to / "compression.json").read_text())["frontier"] == results["frontier"]


def test_what_was_made_and_measured_is_kept(run, made, tmp_path, monkeypatch):
    _, to = made
    shutil.copytree(to, tmp_path / "to")
    before = (tmp_path / "to" / "int8" / "run.json").read_bytes()
    counted = []
    measure = variants._Compression._exported
    monkeypatch.setattr(variants._Compression, "_exported", lambda *given: counted.append(given[1]) or measure(*given))
    monkeypatch.setattr(kz.export, "measure_latency", lambda *_: {"seconds": {1: 1.0, 16: 1.0}, "memory": 1})
    results = kz.run.compress(run, ["int8", "int4"], to=tmp_path / "to", limit=31)
    assert [each.path.name for each in counted] == ["int4"] and list(results["variants"])[-1] == "int4"
    assert (tmp_path / "to" / "int8" / "run.json").read_bytes() == before
    with pytest.raises(_checks.CheckpointError, match="other limit .*31; got 7"):
        kz.run.compress(run, ["int8"], to=tmp_path / "to", limit=7)


def test_the_frontier_is_what_nothing_dominates():
    rows = {"a": (0.9, 100, 5), "b": (0.8, 100, 5), "c": (0.8, 50, 5), "d": (0.8, 50, 4), "e": (0.9, 100, 5)}
    results = {
        "metric": "accuracy",
        "variants": {
            name: {"dev": {"accuracy": quality}, "weights_bytes": size, "seconds_1": seconds}
            for name, (quality, size, seconds) in rows.items()
        },
    }
    assert variants.frontier(results) == ["a", "d", "e"]
    results["variants"]["a"]["dev"]["accuracy"] = 0.91
    assert variants.frontier(results) == ["a", "d"]


def test_weights_in_a_small_format_are_not_trained_or_compressed_again(run, made):
    _, to = made
    for action in (
        lambda: kz.run.compress(to / "int8", ["int4"]),
        lambda: kz.run.train(
            "lstm_seq2seq", "reverse", to / "int8", {"units": 23, "embedding_dim": 19, "attention": "multiplicative"},
            {"length": 5, "examples": 503}, QUICK,
        ),
    ):  # fmt: skip
        with pytest.raises(_checks.CheckpointError, match=f"in a small format.* made of, {run}"):
            action()


def test_a_record_that_does_not_fit_is_refused(made, tmp_path):
    _, to = made
    for number, change in enumerate(({"format": "int4"}, {"format": "exec"}, {"nonzero": 10**12}, {"nonzero": "x"})):
        path = tmp_path / str(number)
        shutil.copytree(to / "int8", path)
        record = json.loads((path / "run.json").read_text())
        record.pop("sha256")
        record["stored_weights"][0] |= change
        (path / "run.json").write_text(json.dumps(record))
        with pytest.raises(_checks.CheckpointError, match=str(path)):
            kz.load(path)


@pytest.mark.parametrize(
    "recipe, message",
    [
        ("int9", "Unknown step of `recipe` 'int9'. Close names: int8"),
        ("int8:3", "int8 takes no value; got 'int8:3'"),
        ("int8,int4", "int8 must be the last step"),
        ("", "Unknown step of `recipe` ''"),
    ],
)
def test_wrong_recipes_are_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        kz.compress.parse_recipe(recipe)


def test_the_command_compares_and_refuses(run, tmp_path, monkeypatch_module):
    from commands import in_process, refused

    out, _ = in_process("compress", f"--run_dir={run}", "--recipe=int4", f"--to={tmp_path}/to", "--limit=11")
    assert "| int4 |" in out
    assert "--recipe is required" in refused("compress", f"--run_dir={run}")
    assert "Close names: int8" in refused("compress", f"--run_dir={run}", "--recipe=int88")
    assert "one of 'token_error_rate'" in refused(
        "compress", f"--run_dir={run}", "--recipe=int8", "--metric=bleu", f"--to={tmp_path}/other"
    )


def test_the_time_and_memory_of_an_exported_model_are_measured(run, tmp_path):
    from kerazoo.export import latency, saved_model

    predictor = kz.load(run)
    path = saved_model.export(predictor.model, predictor.task, tmp_path / "saved", max_length=2)
    found = latency.measure_latency(path, ["abc", "a", "jig"], (1, 4), seconds=0.01)
    assert found["memory"] > 0 and 0 < found["seconds"][1] < 60 and 0 < found["seconds"][4] < 60
    with pytest.raises(ValueError, match="`seconds` must be"):
        latency.measure_latency(path, ["abc"], seconds=0)
    with pytest.raises(_checks.CheckpointError, match="missing: cannot be run with TensorFlow alone"):
        latency.measure_latency(tmp_path / "missing", ["abc"])
