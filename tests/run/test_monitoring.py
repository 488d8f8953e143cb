"""The best epoch by a measure of predictions: computed at the end of each epoch, logged, and resumed."""

import json

import keras
import pytest

import kerazoo as kz
from kerazoo import _checks
from kerazoo.run import monitoring
from kerazoo.run.options import TrainingOptions
from kerazoo.tasks import MEASURES

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)

ROWS = "".join(f"{i % 7}.5,{i % 5}.25,{i % 3}.5\n" for i in range(64))
NAME = "val_mean_absolute_error"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    for split in ("train", "dev", "test"):
        (folder / f"{split}.csv").write_text("a,b,c\n" + ROWS)
    return folder


def train(folder, run_dir, **training):
    chosen = {"batch_size": 16, "xla": False, "learning_rate": 0.1, "schedule": "constant", **training}
    task = {"data_dir": folder, "inputs": "number:a,number:b", "targets": "number:c"}
    options = {"model_options": {"units": (3,)}, "task_options": task, "training": chosen}
    lines: list[str] = []
    predictor = kz.run.train(
        "mlp_classifier", "table", run_dir, **options, evaluate=False, tensorboard=False, print_fn=lines.append
    )
    log = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return predictor, [{name: v for name, v in each.items() if name != "seconds"} for each in log], "\n".join(lines)


def test_the_best_epoch_is_that_of_the_measure_also_where_a_run_is_resumed(table, tmp_path):
    measured = {"monitor": "mean_absolute_error", "monitor_limit": 0, "patience": 3}
    predictor, log, said = train(table, tmp_path / "whole", epochs=9, **measured)
    values = [each[NAME] for each in log]
    raw, references = predictor.task.examples("dev")
    found = MEASURES.get("mean_absolute_error")(predictor(raw), references)
    assert found == pytest.approx(min(values)) and len(set(values)) == len(values)  # the best checkpoint
    best = 1 + values.index(min(values))
    assert len(log) == 9 or f"{NAME} was best in epoch {best} " in said
    train(table, tmp_path / "parts", epochs=2, **measured)
    _, parts, _ = train(table, tmp_path / "parts", epochs=9, **measured)
    assert parts == log
    _, plain, _ = train(table, tmp_path / "plain", epochs=len(log))
    assert [each["loss"] for each in plain] == [each["loss"] for each in log] and NAME not in plain[0]


def test_averages_of_the_weights_are_measured_selected_and_loaded(table, tmp_path):
    """The measure of a run is that of its averages, for the loaded model and that of the call alike."""
    options = {"ema_momentum": 0.8, "monitor": "mean_absolute_error", "monitor_limit": 0}
    predictor, log, _ = train(table, tmp_path / "run", epochs=3, **options)
    raw, references = predictor.task.examples("dev")
    measure = MEASURES.get("mean_absolute_error")
    for each in (predictor, kz.load(tmp_path / "run")):
        assert measure(each(raw), references) == pytest.approx(min(line[NAME] for line in log))
    with pytest.raises(_checks.CheckpointError, match=r"ema_momentum=0.5 \(the run has 0.8\)"):
        train(table, tmp_path / "run", epochs=4, **{**options, "ema_momentum": 0.5})
    train(table, tmp_path / "parts", epochs=1, **options)
    _, parts, _ = train(table, tmp_path / "parts", epochs=3, **options, checkpoint_every=2)
    assert parts == log


def test_predictions_are_measured_by_all_chosen_measures():
    task = kz.tasks.create("copy", length=5)
    model = kz.run.model_building.build_model("lstm_seq2seq_attention", task, {"units": 7, "encoder_units": 5})
    callback = monitoring.PredictDev(task, ("bleu", "exact_match"), 5)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_test_end()
    logs = {"val_loss": 1.0}
    callback.on_epoch_end(0, logs)
    raw, references = task.examples("dev", limit=5)
    expected = task.evaluate(kz.run.Predictor(model, task)(raw), references, ["bleu", "exact_match"])
    assert logs == {"val_loss": 1.0, "val_bleu": expected["bleu"], "val_exact_match": expected["exact_match"]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("val_accuracy", "max", ())),
        ({"monitor": "val_loss"}, ("val_loss", "min", ())),
        ({"monitor": "f1", "metrics": "accuracy"}, ("val_f1", "max", ())),
    ],
)
def test_a_metric_of_the_validation_needs_no_predictions(options, expected):
    task = kz.tasks.create("digits", "classifier")
    assert monitoring.choose(task, TrainingOptions(**options)) == expected


def test_measures_of_texts():
    task = kz.tasks.create("copy", length=5)
    found = monitoring.choose(task, TrainingOptions(monitor="bleu", metrics=("chrf,bleu", "token_error_rate")))
    assert found == ("val_bleu", "max", ("bleu", "chrf", "token_error_rate"))
    assert monitoring.choose(task, TrainingOptions(monitor="token_error_rate")).mode == "min"
    for monitor in ("length", "val_length"):
        with pytest.raises(
            ValueError, match=rf"task copy: `monitor` must be .* one of loss, .*; got monitor='{monitor}'"
        ):
            monitoring.choose(task, TrainingOptions(monitor=monitor))
    with pytest.raises(ValueError, match="Unknown measure 'blue'"):
        monitoring.choose(task, TrainingOptions(metrics="blue"))
    text = kz.tasks.create("topics", "language_model")
    assert monitoring.choose(text, TrainingOptions(monitor="perplexity")) == ("val_perplexity", "min", ())
    with pytest.raises(ValueError, match="one of loss, token_accuracy, perplexity; got monitor='nats'"):
        monitoring.choose(text, TrainingOptions(monitor="nats"))
