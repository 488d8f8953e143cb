"""Measures of an exported model: the same as those of the run, in files of their own."""

import json

import keras
import pytest
from commands import in_process

import kerazoo as kz
from kerazoo import _checks, _files
from kerazoo.export import run_saved_model, verification

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are exported with TensorFlow", allow_module_level=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a network for digits."""
    path = tmp_path_factory.mktemp("run") / "digits"
    training = {"epochs": 1, "batch_size": 64, "xla": False, "limit": 256, "learning_rate": 0.01}
    kz.run.train("mlp_classifier", "digits", path, {"units": (7,)}, {}, training, evaluate=False, tensorboard=False)
    return path


@pytest.fixture(scope="module")
def saved(run):
    return kz.run.export(run, run.parent / "saved", signatures=())


@pytest.fixture(autouse=True)
def _run_here(monkeypatch):
    def run_fresh(code, cases, names):
        del code, names
        return [run_saved_model.outputs(**case) for case in cases]

    monkeypatch.setattr(verification, "run_fresh", run_fresh)


def test_an_exported_model_has_the_measures_of_its_run(run, saved, capsys):
    options = {"metrics": ["accuracy", "f1"], "limit": 131}
    live = kz.run.evaluate(run, **options)
    before = (run / "evaluation-test.json").read_bytes()
    found = kz.run.evaluate(run, exported=saved, save_predictions=True, **options)
    assert found["metrics"] == live["metrics"] and found["examples"] == 131
    assert capsys.readouterr().out.count("test: accuracy") == 2
    assert (run / "evaluation-test.json").read_bytes() == before
    written = json.loads((saved / "evaluation-test.json").read_text())
    assert written["metrics"] == found["metrics"] and written["run"] == str(run)
    assert len((saved / "predictions-test.jsonl").read_text().splitlines()) == 131
    assert kz.verify(saved)["changed"] == []  # these files are no part of the model


def test_exports_are_timed_beside_each_other_by_the_command(run, saved, monkeypatch):
    network = kz.run.export(run, run.parent / "network", format="safetensors", verify=False)
    record, asked = _files.read_record(saved / "VERIFY.json"), []
    cases = [{**record["cases"][0], "signature": name} for name in ("step", "generate")]
    _files.write_record(network / "VERIFY.json", {**record, "format": "onnx", "cases": cases, "quantize": "float32"})

    def measured(folder, raw, sizes, seconds, options):
        asked.append(options)
        return {"seconds": {size: 0.001 * len(asked) for size in sizes}, "memory": 3 * 2**20}

    monkeypatch.setattr(kz.export, "measure_latency", measured)
    out, _ = in_process("benchmark", "exports", str(saved), str(network), "--repeats=3")
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows] == ["medians", "saved", "network", "network"]
    assert asked == 3 * [{}, {}, {"function": "generate"}]
    assert rows[1][-3:] == ["4.00", "4.00", "3"] and rows[3][1:4] == ["onnx", "float32,", "generate"]


def test_the_reason_of_a_failed_process_is_its_last_error():
    written = "Traceback:\n  File x\na.b.InvalidArgumentError: Graph execution error:\n\nDetected at node Assert\n"
    written += "<stack traces unavailable>\nassertion failed: [one of 0, 1]\n\t [[{{node Assert}}]] [Op:serve]"
    reason = "a.b.InvalidArgumentError: Graph execution error: assertion failed: [one of 0, 1]"
    assert verification._reason(written) == reason
    assert verification._reason("killed") == "killed" and verification._reason("") == "no message"


def test_what_cannot_be_measured_is_refused(run, saved, tmp_path):
    with pytest.raises(ValueError, match="saved_model takes no num_beams, search: its search is part of it"):
        kz.run.evaluate(run, exported=saved, search="beam", num_beams=2)
    with pytest.raises(_checks.CheckpointError, match=r"has no VERIFY\.json"):
        kz.run.evaluate(run, exported=tmp_path)
    weights = kz.run.export(run, tmp_path / "weights", format="safetensors", verify=False)
    record = _files.read_record(saved / "VERIFY.json")
    _files.write_record(weights / "VERIFY.json", {**record, "format": "safetensors"})
    with pytest.raises(ValueError, match="cannot be measured: safetensors are the weights of the run"):
        kz.run.evaluate(run, exported=weights)
    table = tmp_path / "table.csv"
    table.write_text("size,kind\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(40)))
    options = {"data_dir": table, "inputs": "number:size", "targets": "label:kind"}
    training = {"epochs": 1, "xla": False}
    kz.run.train("mlp_classifier", "table", tmp_path / "other", {"units": (2,)}, options, training, evaluate=False)
    with pytest.raises(ValueError, match="must be an export of a run of the same task"):
        kz.run.evaluate(tmp_path / "other", exported=saved, metrics=["accuracy"])
