"""Runs on data that is smaller than their splits, that has classes of its own, or whose texts are longer."""

import keras
import pytest

import kerazoo as kz
from kerazoo._checks import DataError, NoExamplesError

SMALL = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11}
LONG = " ".join("abcdefgh" * 9)

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on thirty classes of one example each, which leaves nothing for dev and test."""
    folder = tmp_path_factory.mktemp("small")
    rows = [f"text {'ab' * (i % 5)} {i}\trare{i:02}\n" for i in range(30)]
    (folder / "rare.tsv").write_text("".join(rows))
    task_options = {"data_dir": str(folder / "rare.tsv"), "source_tokens": "words", "max_length": 17}
    training = {"epochs": 1, "xla": False, "batch_size": 15}
    kz.run.train(
        "transformer_classifier", "table", folder / "run", SMALL, task_options, training, tensorboard=False
    )  # fmt: skip
    return folder


def test_a_run_without_dev_examples_trains_and_says_so(run, capsys):
    assert not (run / "run" / "evaluation-dev.json").exists() and (run / "run" / "checkpoints").exists()
    with pytest.raises(NoExamplesError, match="table, test: there are no examples"):
        kz.run.evaluate(run / "run")
    assert kz.run.evaluate(run / "run", "train", samples=0)["examples"] == 30
    assert "\nInputs are cut after 17 tokens, the task's `max_length`.\n" in (run / "run" / "report.md").read_text()


def test_a_text_longer_than_any_is_cut_and_costs_no_other_its_answer(run, caplog):
    predictor = kz.load(run / "run")
    assert predictor.task.max_length is None and predictor.task.sizes()["max_length"] == 17
    texts = ["text ab 3", LONG, "text abab 7"]
    cut = " ".join(LONG.split()[:17])
    assert predictor(texts) == [predictor(text)[0] for text in ("text ab 3", cut, "text abab 7")]
    assert predictor.cut == 1 and [each.message for each in caplog.records if each.name == "kerazoo"] == [
        "1 of 3 inputs were cut: they have more tokens than `max_length` of the task table, which the model was "
        "trained with."
    ]


def test_classes_that_training_never_saw_are_wrong_and_counted(run, capsys):
    other = run / "other"
    other.mkdir()
    (other / "train.tsv").write_text("text 1\trare01\n")
    rows = [("text ab 1", "rare01"), ("text", "new"), (LONG, "new"), ("text b 2", "newer")]
    (other / "test.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows))
    predictor = kz.load(run / "run", data_dir=other)
    result = kz.run.evaluate(run / "run", data_dir=other, samples=2)
    assert result["examples"] == 4 and result["unseen"] == {"new": 2, "newer": 1} and result["cut"] == 1
    assert result["metrics"]["accuracy"] == (predictor("text ab 1") == ["rare01"]) / 4
    printed = capsys.readouterr().out
    assert "3 of them have classes that the training data lacks, and count as wrong: new (2), newer (1)" in printed


def test_where_answers_end_is_said():
    task = kz.tasks.create("copy", length=5)
    assert kz.run.report.limits(task) == (
        f"Inputs are cut after {task.inputs[0].max_length} tokens, the task's `max_length`; answers end after 6 "
        "tokens, those of the longest target of the data, unless `max_length` of predict says more."
    )
    assert kz.run.report.limits(kz.tasks.create("digits")) == ""


def test_a_model_with_fewer_positions_than_the_task_has_tokens_is_refused(run):
    task = kz.tasks.create("table", "classifier", data_dir=run / "rare.tsv", max_length=17)
    message = r"`max_length` of the model must be at least 17, .*; got max_length=9\. Set the task's max_length=9"
    with pytest.raises(ValueError, match=message):
        kz.run.model_building.build_model("transformer_classifier", task, {**SMALL, "max_length": 9})


@pytest.mark.parametrize("kind", ["classifier", "binary_classifier"])
def test_a_target_of_one_class_is_refused(tmp_path, kind):
    (tmp_path / "one.tsv").write_text("".join(f"text {i}\tyes\n" for i in range(40)))
    task = kz.tasks.create("table", kind, data_dir=tmp_path / "one.tsv")
    with pytest.raises(DataError, match="at least 2 classes; column 'target' has one in all .*, 'yes'. Name another"):
        task.sizes()


@pytest.mark.parametrize(
    "kind, options",
    [
        ("seq2seq", {}),
        ("classifier", {}),
        ("language_model", {"source_column": 1}),
        ("classifier", {"inputs": "number:0", "targets": "number:1"}),
        ("classifier", {"inputs": "image:0", "targets": "label:1"}),
        ("classifier", {"inputs": "image:0", "targets": "label:1", "preprocess": "standardise"}),
        ("classifier", {"inputs": "label:0", "targets": "label:1"}),
    ],
)
def test_data_of_which_everything_is_skipped(tmp_path, kind, options):
    (tmp_path / "bad.tsv").write_text("only one column\n" * 9)
    task = kz.tasks.create("table", kind, data_dir=tmp_path / "bad.tsv", bad_lines="skip", **options)
    with pytest.raises(NoExamplesError, match="table, train: there are no examples: all 9 are bad and were skipped"):
        task.load("train")
    if options.get("inputs") in ("number:0", "image:0"):  # values that cannot be read
        (tmp_path / "bad.tsv").write_text("".join(f"missing{i}.png\t{i % 2}\n" for i in range(9)))
        with pytest.raises(NoExamplesError, match=r"table, train: (there are no examples: all \d|no image can be)"):
            task.load("train")
