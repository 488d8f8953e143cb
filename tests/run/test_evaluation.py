"""Evaluation of a run: chosen measures, groups, files that it never saw, saved predictions, and two runs compared."""

import json
import types

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo._checks import DataError
from kerazoo.inspect.confusion import by_number
from kerazoo.run import comparison, evaluation
from kerazoo.tasks import MEASURES

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)


SMALL = {"units": 7, "encoder_units": 5, "embedding_dim": 5}
HEADER = "kind\tword\tcopy\n"


def rows(count, start=0):
    return [f"k{n % 3}\tab{n % 11}\tAB{n % 11} {n % 2}" for n in range(start, start + count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, not trained, on a table with a column that the task does not read."""
    folder = tmp_path_factory.mktemp("table")
    for split, count in (("train", 40), ("dev", 7), ("test", 13)):
        (folder / f"{split}.tsv").write_text(HEADER + "\n".join(rows(count)) + "\n")
    options = {"data_dir": str(folder), "source_column": "word", "target_column": "copy"}
    task = kz.tasks.create("table", "seq2seq", **options)
    model = kz.run.model_building.build_model("lstm_seq2seq_attention", task, SMALL)
    run = kz.run.RunDirectory(folder / "run")
    run.create()
    task.save(run.task)
    kz.training.CheckpointStore(run.checkpoints, vocabularies=task.vocabularies).save(model, {"step": 0})
    names = {"model": "lstm_seq2seq_attention", "model_options": SMALL, "task": "table", "task_options": options}
    run.save_record({**names, "training": {"metrics": ["chrf"]}, "import": []})
    return folder


def saved(folder, split="test"):
    return json.loads((folder / "run" / f"evaluation-{split}.json").read_text())


def test_measures_are_computed_by_name_and_for_each_group(folder, capsys):
    result = kz.run.evaluate(folder / "run", metrics=["bleu", "exact_match", "token_error_rate"], by="kind")
    assert list(result["metrics"]) == ["bleu", "exact_match", "token_error_rate"] and result["examples"] == 11
    assert "case:mixed" in result["signatures"]["bleu"] and saved(folder)["by"] == result["by"]
    # 13 rows are 11 different words, of which two belong to two kinds.
    groups = result["by"]["groups"]
    assert [groups[kind]["examples"] for kind in ("k0", "k1", "k2")] == [5, 4, 4] and list(groups) == ["k0", "k1", "k2"]
    predictor = kz.load(folder / "run")
    raw, references = predictor.task.examples("test")
    of_k1 = [row for row, word in enumerate(raw) if word in ("ab1", "ab4", "ab7", "ab10")]
    expected = MEASURES.get("bleu")(predictor([raw[row] for row in of_k1]), [references[row] for row in of_k1])
    assert groups["k1"]["bleu"] == pytest.approx(expected)
    errors = [each["token_error_rate"] for each in groups.values()]
    assert result["by"]["mean"]["token_error_rate"] == pytest.approx(np.mean(errors))
    report = (folder / "run" / "report.md").read_text()
    assert "## By kind (test)" in report and "| k1 | 4 |" in report and "case:mixed" in report
    assert "\nk1           4 " in capsys.readouterr().out


def test_a_run_is_measured_on_a_file_that_it_never_saw(folder, tmp_path):
    # Another order of the columns, and none of the run's own data.
    other = tmp_path / "other.tsv"
    other.write_text("copy\tother\tword\nAB1 0\tx\tab1\nAB2 0\tx\tab2\n")
    options = {"data_dir": tmp_path / "gone", "test_data": other, "samples": 1}
    result = kz.run.evaluate(folder / "run", save_predictions=True, **options)
    assert list(result["metrics"]) == ["chrf"]  # what the run was trained with
    assert result["examples"] == 2 and result["test_data"] == str(other) == saved(folder)["test_data"]
    assert saved(folder)["samples"][0]["input"] in ("ab1", "ab2")
    lines = [json.loads(line) for line in (folder / "run" / "predictions-test.jsonl").read_text().splitlines()]
    assert [(line["source"], line["references"]) for line in lines] == [("ab1", ["AB1 0"]), ("ab2", ["AB2 0"])]
    assert [line["answer"] for line in lines] == kz.load(folder / "run")(["ab1", "ab2"])
    other.write_text("copy\tother\nAB1 0\tx\n")
    with pytest.raises(DataError, match=r"other.tsv:1: column 'word' is not in the header; it has: copy, other"):
        kz.run.evaluate(folder / "run", **options)
    with pytest.raises(DataError, match="none.tsv: no file of this name or pattern"):
        kz.run.evaluate(folder / "run", test_data=tmp_path / "none.tsv")
    with pytest.raises(ValueError, match="`test_data` are test examples; got split='dev'"):
        kz.run.evaluate(folder / "run", "dev", test_data=other)


def test_what_cannot_be_measured_is_refused_before_anything_is_predicted(folder):
    with pytest.raises(ValueError, match="Unknown measure 'bloo'"):
        kz.run.evaluate(folder / "run", metrics=["bloo"])
    with pytest.raises(ValueError, match=r"task table: the measure 'f1' compares label, and .* modality 'text'"):
        kz.run.evaluate(folder / "run", metrics=["f1"])
    with pytest.raises(DataError, match=r"test.tsv:1: column 'kinds' is not in the header.* Did you mean 'kind'"):
        kz.run.evaluate(folder / "run", by="kinds")


def test_a_run_differs_from_itself_by_nothing(folder, capsys):
    result = kz.run.compare(
        folder / "run",
        folder / "run",
        metrics=["chrf", "accuracy"],
        resamples=50,
        resample_seed=3,
        save_predictions=folder / "own.jsonl",
    )
    assert len((folder / "own.jsonl").read_text().splitlines()) == 11
    found = result["comparison"]
    assert (found["resamples"], found["seed"]) == (50, 3) and found == saved(folder)["comparison"]
    chrf = found["metrics"]["chrf"]
    assert (
        chrf["value"] == chrf["other"] == result["metrics"]["chrf"] and chrf["value_interval"] == chrf["other_interval"]
    )
    assert chrf["difference"] == 0 and chrf["difference_interval"] == [0, 0]
    assert "difference" in capsys.readouterr().out and "## Comparison (test)" in (folder / "run/report.md").read_text()


def test_runs_on_other_examples_are_not_compared():
    comparison._check_same("inputs", ["a", (np.ones(2), "b")], ["a", (np.ones(2), "b")])
    with pytest.raises(ValueError, match="the runs have 1 and 2 examples"):
        comparison._check_same("inputs", ["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"the same references; in example 2 they are 'a' and 'A'.*change the case"):
        comparison._check_same("references", [["b"], ["a"]], [["b"], ["A"]])


def test_intervals_are_those_of_brute_force():
    words = np.array(["the", "cat", "sat", "on", "a", "mat", "and", "dog", "runs"])
    generator = np.random.default_rng(0)
    texts = [[" ".join(generator.choice(words, 6)) for _ in range(23)] for _ in range(3)]
    references = [[text] for text in texts[2]]
    texts[0][:9] = texts[2][:9]
    names = ("bleu", "token_error_rate", "accuracy")
    statistics = [
        {name: MEASURES.get(name).statistics(predictions, references) for name in names} for predictions in texts[:2]
    ]
    found = comparison.bootstrap(*statistics, resamples=40, seed=5)
    generator, sampled = np.random.default_rng(5), {name: [] for name in names}
    for _ in range(40):
        chosen = generator.integers(0, 23, 23).tolist()
        for name in names:
            pair = [MEASURES.get(name)([p[n] for n in chosen], [references[n] for n in chosen]) for p in texts[:2]]
            sampled[name].append([*pair, pair[0] - pair[1]])
    for name in names:
        low, high = np.quantile(sampled[name], [0.025, 0.975], axis=0)
        for column, key in enumerate(("value", "other", "difference")):
            assert found[name][f"{key}_interval"] == pytest.approx([low[column], high[column]])
        assert found[name]["value"] == pytest.approx(MEASURES.get(name)(texts[0], references))


def test_groups_are_sorted_as_numbers_and_texts():
    assert sorted(["b", "10", "2", "a"], key=by_number) == ["2", "10", "a", "b"]


def test_windows_of_a_language_model_have_likelihoods():
    task = kz.tasks.create("topics", "language_model", length=24)
    sizes = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2}
    predictor = kz.run.Predictor(kz.run.model_building.build_model("transformer_lm_tiny", task, sizes), task)
    statistics = comparison._likelihoods(predictor, "dev", 5)
    result, _ = evaluation.evaluate_predictor(predictor, "dev", limit=5, samples=0)
    assert statistics.shape == (5, 2) and (statistics[:, 1] <= 24).all()
    assert result["metrics"]["nats"] == pytest.approx(MEASURES.get("nats").reduce(statistics), rel=1e-4)


def test_other_sources_read_a_file_of_test_examples(tmp_path):
    from kerazoo import data

    (tmp_path / "a.en").write_text("one\n")
    (tmp_path / "a.de").write_text("eins\n")
    (tmp_path / "a.txt").write_text("a long text\n" * 9)
    (tmp_path / "a.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(9)))
    (tmp_path / "a.jsonl").write_text('{"target": "B", "source": "b"}\n')
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").touch()
    gone = tmp_path / "gone"
    pairs = data.ParallelSource(gone, "en", target_language="de").with_test_data(tmp_path / "a.en")
    assert next(pairs.chunks("test")).columns == {"source": ["one"], "target": ["eins"]}
    assert pairs.splits() and not list(pairs.chunks("train"))
    text = data.TextSource(gone).with_test_data(tmp_path / "a.txt")
    assert next(text.chunks("test")).columns["text"] == ["a long text\n" * 9]
    series = data.SeriesSource(gone, ["n"], length=5).with_test_data(tmp_path / "a.csv")
    assert next(series.chunks("test")).columns["window"].shape == (5, 5, 1)
    images = data.ImageFolderSource(gone).with_test_data(tmp_path)
    assert next(images.chunks("test")).columns["label"] == ["cat"]
    with pytest.raises(DataError, match="cat: the images of all classes are in one folder"):
        data.ImageFolderSource(gone).with_test_data(tmp_path / "cat")
    task = kz.tasks.create("copy", length=3).with_test_data(tmp_path / "a.jsonl")
    assert next(task.chunks("test")).columns == {"source": ["b"], "target": ["B"]}
    with pytest.raises(ValueError, match="MemorySource: has no column 'kind'; it has: source, target"):
        kz.tasks.create("copy", length=3).examples_by(["kind"], "dev")


def test_a_further_column_changes_no_split(tmp_path):
    from kerazoo import data

    (tmp_path / "few.tsv").write_text("".join(f"same\tb{n}\tc{n % 4}\n" for n in range(12)))
    source = data.TableSource(tmp_path / "few.tsv", {"source": 0, "target": 1})
    more = source.with_columns(["2", "target"])
    for split in data.splits.SPLITS:
        chunks = [next(each.chunks(split)).columns for each in (source, more)]
        assert chunks[0]["target"] == chunks[1]["target"] and len(chunks[1]["2"]) == len(chunks[0]["target"])


def test_predictions_that_are_not_made_cannot_be_saved(monkeypatch):
    source = kz.data.MemorySource({"train": {"text": ["some text"]}})
    task = kz.tasks.Task(source, (), kz.tasks.TextFeature("text", window=7), name="words")
    opened = types.SimpleNamespace(task=task), ()
    monkeypatch.setattr(evaluation, "opened", lambda *arguments: opened)
    for function, runs in ((kz.run.evaluate, ["run"]), (kz.run.compare, ["run", "other"])):
        with pytest.raises(
            ValueError, match="task words: `save_predictions` needs predictions, .*save_predictions=True"
        ):
            function(*runs, save_predictions=True)


def test_groups_of_one_class_have_no_mean_over_classes():
    classes = np.array([[0, 0], [1, 0], [1, 1], [1, 1]])  # predicted, true
    statistics = {"accuracy": np.array([1.0, 0, 1, 1]), "f1": classes, "baseline.f1": classes}
    found = evaluation._of_groups("digit", [["4"], ["4"], ["9"], ["9"]], statistics)
    assert found["groups"] == {"4": {"examples": 2, "accuracy": 0.5}, "9": {"examples": 2, "accuracy": 1}}
    found = evaluation._of_groups("writer", [["x"], ["y"], ["x"], ["y"]], statistics)
    assert found["groups"]["x"]["f1"] == 1 and found["groups"]["y"]["f1"] == pytest.approx(1 / 3)
    assert set(found["mean"]) == {"accuracy", "f1", "baseline.f1"}
