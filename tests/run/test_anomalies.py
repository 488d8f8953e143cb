"""Anomalies: what an autoencoder reconstructs badly, the threshold of dev, and how well it tells them."""

import csv
import io
import json

import keras
import numpy as np
import pytest
from commands import in_process, refused

import kerazoo as kz
from kerazoo._checks import CheckpointError
from kerazoo.run import anomalies, evaluation
from kerazoo.run.model_building import build_model

if keras.backend.backend() != "tensorflow":
    pytest.skip("images of files are read with TensorFlow", allow_module_level=True)


def test_detection_equals_its_definitions():
    generator = np.random.default_rng(3)
    errors, marks = generator.integers(0, 13, 97) / 7, generator.random(97) < 0.3
    found = anomalies.detection(errors, marks, 1.0)
    pairs = [(a > b) + (a == b) / 2 for a in errors[marks] for b in errors[~marks]]
    assert found["auroc"] == pytest.approx(np.mean(pairs))
    above = errors > 1
    assert found["precision"] == pytest.approx(np.mean(marks[above]))
    assert found["recall"] == pytest.approx(np.mean(above[marks]))
    p, r = found["precision"], found["recall"]
    assert found["f1"] == pytest.approx(2 * p * r / (p + r))
    assert anomalies.detection(errors, marks, 99.0)["f1"] == 0
    assert set(anomalies.detection(errors, marks, None)) == {"auroc"}


def test_the_threshold_is_a_quantile_of_the_dev_errors(tmp_path):
    errors = np.random.default_rng(0).random(1001)
    found = anomalies.DevErrors.of(errors)
    assert found.threshold(0.9) == pytest.approx(np.quantile(errors, 0.9))
    run = kz.run.RunDirectory(tmp_path)
    assert anomalies.load(run) is None
    anomalies.save(run, found)
    assert anomalies.load(run) == found
    with pytest.raises(ValueError, match="`quantile` must be a number in .*; got quantile=1.5"):
        found.threshold(1.5)
    run.dev_errors.write_text("{}")
    with pytest.raises(CheckpointError, match="dev-errors.json: cannot be read"):
        anomalies.load(run)


def test_kinds_have_measures_of_their_own():
    errors = np.array([0.1, 0.2, 0.3, 5.0, 0.05])
    kinds = [[], [], ["flat"], ["spike"], []]
    metrics, details = anomalies.summarize(errors, anomalies.DevErrors(3, (0.0, 0.25)), 1.0, kinds)
    assert metrics["anomaly_share"] == 0.4 and details["marked"] == 2 and details["threshold"] == 0.25
    assert details["kinds"]["all"] == {"examples": 2, "auroc": 1, "precision": 1, "recall": 1, "f1": 1}
    assert list(details["kinds"]) == ["all", "flat", "spike"] and details["kinds"]["spike"]["examples"] == 1
    with pytest.raises(ValueError, match="`anomalies` must be some of the examples; none of 5 are"):
        anomalies.summarize(errors, None, 0.9, [[]] * 5)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A run that reconstructs waves, and a file of waves with faults in its last rows."""
    folder = tmp_path_factory.mktemp("faults")
    waves = folder / "waves.csv"
    rows = [(np.sin(row / 3), np.cos(row / 3)) for row in range(700)]
    waves.write_text("day,a,b\n" + "".join(f"d{n},{a:.5f},{b:.5f}\n" for n, (a, b) in enumerate(rows)))
    faulty = folder / "faulty.csv"
    count = kz.data.write_faulty_series(waves, faulty, count=2, length=9, share=0.14, seed=5)
    assert count == 2 + 9 * 4
    options = {"encoder_units": 3, "decoder_units": 11}
    task = {"data_dir": str(faulty), "length": 7, "anomalies": "fault"}
    run = folder / "run"
    kz.run.train("dense_autoencoder", "series", run, options, task, {"epochs": 3}, tensorboard=False, evaluate=False)
    return run, faulty


def test_faults_are_found_in_a_series(series, capsys):
    run, faulty = series
    result = kz.run.evaluate(run, samples=0)
    found = result["anomalies"]
    assert set(found["kinds"]) == {"all", "flat", "shift", "spike"}
    assert found["kinds"]["spike"]["auroc"] > 0.9
    metrics = result["metrics"]
    assert {"auroc", "precision", "recall", "f1", "anomaly_share", "baseline.auroc"} <= set(metrics)
    predictor = kz.load(run)
    assert found["threshold"] == predictor.threshold(0.99) and found["dev_examples"] == 99
    raw, _, values = predictor.task.examples_by(["fault"], "test")
    errors = [each.error for each in predictor.reconstructions(raw)]
    assert metrics["anomaly_share"] == np.mean(np.array(errors) > found["threshold"])
    assert np.count_nonzero([kinds_of != ["0"] for kinds_of in values["fault"]]) == found["kinds"]["all"]["examples"]
    said = capsys.readouterr().out
    assert "the quantile 0.99 of the errors of 99 dev examples" in said and "spike" in said
    saved = json.loads((run / "evaluation-test.json").read_text())["anomalies"]
    assert "errors" not in saved and saved["marked"] == found["marked"]
    assert "## Anomalies (test)" in (run / "report.md").read_text()
    assert kz.run.evaluate(run, samples=0, anomalies="")["metrics"].keys().isdisjoint({"auroc", "f1"})


def test_train_and_dev_have_no_faults_and_the_column_is_no_variable(series):
    task = kz.load(series[0]).task
    assert task.state["source"]["names"] == ["a", "b"]
    assert len(task.load("train")) == 490 - 6 and len(task.load("dev")) == 105 - 6
    assert len(task.load("test")) == 105 - 6
    generator = np.random.default_rng(0)
    everywhere = dict(count=2, length=9, first=0, seed=1)
    numbers = generator.normal(size=(300, 2))
    faulty, kinds = kz.data.inject_faults(numbers, **everywhere)
    changed = (faulty != numbers).any(axis=1)
    assert set(np.flatnonzero(changed)) <= {row for row, kind in enumerate(kinds) if kind != "0"}
    assert changed.sum() >= kinds.count("spike") + kinds.count("shift") == 2 + 18
    again, same = kz.data.inject_faults(numbers, **everywhere)
    assert (again == faulty).all() and same == kinds
    with pytest.raises(ValueError, match="6 faults of 24 rows need 144 rows from row 200 on; got 100"):
        kz.data.inject_faults(numbers, count=2, first=200)


def test_windows_of_a_file_as_a_table_and_a_picture(series, tmp_path):
    pytest.importorskip("matplotlib")
    run, faulty = series
    predictor = kz.load(run)
    found = kz.run.windows_of_file(predictor, faulty)
    made = predictor.reconstructions(found.windows, quantile=0.5)
    table = kz.run.window_table(found, made)
    assert table[0] == ["first_line", "last_line", "error", "is_anomaly"] and len(table) == 700 - 7 + 2
    assert table[1][:2] == ["2", "8"] and table[-1][:2] == ["695", "701"]
    assert {row[3] for row in table[1:]} == {"0", "1"}
    kz.run.write_series_picture(tmp_path / "s.png", found.rows.numbers, found.names, found.spans, made, 0.1)
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    last = kz.load(run, checkpoint="last")
    assert last.reconstructions(found.windows[:1])[0].is_anomaly is None
    with pytest.raises(ValueError, match="is for the best checkpoint of a run .*; got quantile=0.9"):
        last.reconstructions(found.windows[:1], 0.9)


def test_a_digit_that_was_left_out_is_looked_for_in_test():
    task = kz.tasks.create("digits", "autoencoder", anomalies="label=3")
    labels = [set(task.columns(split)["label"]) for split in ("train", "dev", "test")]
    assert [("3" in each, len(each)) for each in labels] == [(False, 9), (False, 9), (True, 10)]
    predictor = kz.run.Predictor(build_model("dense_autoencoder", task, {"encoder_units": 5}), task)
    evaluation.evaluated(predictor, "dev", limit=3, samples=0)
    assert predictor.dev_errors is None
    evaluation.evaluated(predictor, "dev", samples=0)
    assert predictor.dev_errors.examples == len(task.columns("dev")["label"])
    marking = evaluation.Marking("label=3", 0.9)
    result = evaluation.evaluated(predictor, "test", samples=0, marking=marking).result
    assert result["anomalies"]["kinds"]["all"]["examples"] == task.columns("test")["label"].count("3")
    with pytest.raises(ValueError, match="`anomalies` must be COLUMN or COLUMN=VALUE; got anomalies='label='"):
        kz.tasks.create("digits", "autoencoder", anomalies="label=")
    with pytest.raises(ValueError, match="found by autoencoders, and the target is a label; got anomalies='label=3'"):
        kz.tasks.create("digits", "classifier", anomalies="label=3")
    classifier = kz.tasks.create("digits", "classifier")
    with pytest.raises(ValueError, match="reconstructions: needs an autoencoder; got MLPClassifier"):
        kz.run.Predictor(build_model("mlp_classifier", classifier, {}), classifier).reconstructions([])
    with pytest.raises(ValueError, match="`quantile` is for autoencoders, .* kind classifier; got quantile=0.0"):
        kz.run.Predictor(build_model("mlp_classifier", classifier, {}), classifier).threshold(0.0)
    with pytest.raises(ValueError, match="`anomalies` are found by autoencoders"):
        classified = kz.run.Predictor(build_model("mlp_classifier", classifier, {}), classifier)
        evaluation.evaluated(classified, "test", marking=marking)


def test_a_saved_model_has_error_and_mark(series, tmp_path):
    import tensorflow as tf

    run, faulty = series
    path = kz.run.export(run, tmp_path / "saved", verify=False, threshold_quantile=0.5, signatures=())
    predictor = kz.load(run)
    windows = kz.run.windows_of_file(predictor, faulty).windows[::9]
    served = tf.saved_model.load(str(path)).signatures["serving_default"](source=tf.constant(np.stack(windows)))
    made = predictor.reconstructions(windows, quantile=0.5)
    np.testing.assert_allclose(served["error"], [each.error for each in made], rtol=1e-4)
    assert served["is_anomaly"].numpy().tolist() == [each.is_anomaly for each in made]
    np.testing.assert_allclose(served["reconstruction"], [each.value for each in made], rtol=1e-4, atol=1e-5)


def test_predict_prints_errors_and_marks(series):
    run, faulty = series
    forms = [f"--format={form}" for form in ("text", "jsonl", "csv")]
    given = [f"--run_dir={run}", "--threshold_quantile=0", faulty]
    lines = [line for form in forms for line in in_process("predict", form, *given)[0].splitlines()]
    assert lines[0].split("\t")[1] == "anomaly"
    record = json.loads(lines[1])
    assert record["is_anomaly"] is True and record["error"] > 0 and np.shape(record["predictions"]) == (1, 7, 2)
    table = list(csv.reader(io.StringIO("\n".join(lines[2:]))))
    assert table[0][2:] == ["error", "is_anomaly"] and len(table) == 700 - 7 + 2


@pytest.mark.parametrize("name", ["dense_autoencoder", "dense_variational_autoencoder"])
def test_dense_autoencoders_read_the_order_of_the_rows(name):
    model = kz.create(name, input_shape=(5, 3), encoder_units=(7,), decoder_units=(11,))
    window = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("float32")
    assert np.abs(np.asarray(model(window)) - np.asarray(model(window[:, ::-1].copy()))).max() > 1e-3


def test_commands_refuse_a_quantile_that_has_no_use(series):
    run, faulty = series
    for name in ("predict", "evaluate"):
        flags = [f"--run_dir={run}", "--checkpoint=last", "--threshold_quantile=0.9"]
        assert "--threshold_quantile is for the best checkpoint of a run" in refused(
            name, *flags, *([faulty] * (name == "predict"))
        )
    compared = [f"--run_dir={run}", f"--compare={run}", "--threshold_quantile=0.9"]
    assert "--compare: takes no --threshold_quantile" in refused("evaluate", *compared)
