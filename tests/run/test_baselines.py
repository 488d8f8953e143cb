"""The baseline of a run: what each feature offers, which one is chosen, and where its measures are found."""

import json

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo import _checks, data
from kerazoo.run import baselines, evaluation, report
from kerazoo.run.model_building import build_model

if keras.backend.backend() != "tensorflow":
    pytest.skip("the tokenizers of a run are TensorFlow's", allow_module_level=True)

TRAIN = {"text": ["a b c"] * 3 + ["b", "long " * 15], "same": ["x y"] * 3 + ["b", "z"], "label": list("aabac")}


def fitted(target, inputs=("text",), columns=TRAIN, split="train"):
    """The baselines of a target by their predictions for the inputs of a split."""
    source = data.MemorySource({"train": columns, "dev": columns, "test": columns})
    features = tuple(kz.tasks.TextFeature(name, vocabulary=vocabulary()) for name in inputs)
    task = kz.tasks.Task(source, features, target)
    found = target.baselines(task.load("train").features["targets"], task.inputs)
    raw, _ = task.examples(split)
    return {name: target.predict_baseline(name, json.loads(json.dumps(each)), raw) for name, each in found.items()}


def vocabulary():
    return kz.tasks.Vocabulary("words")


def test_texts():
    found = fitted(kz.tasks.TextFeature("same", vocabulary=kz.tasks.Vocabulary("words", case="upper")))
    assert found == {
        "copy of the source": ["A B C", "B", "LONG " * 15],
        "first 12 words of the source": ["A B C", "B", " ".join(["LONG"] * 12)],
        "most frequent answer": ["X Y"] * 3,
    }
    two = fitted(kz.tasks.TextFeature("same", vocabulary=vocabulary()), inputs=("text", "label"))
    assert list(two) == ["most frequent answer"]


def test_classes_and_numbers():
    assert fitted(kz.tasks.LabelFeature("label")) == {"most frequent class": ["a"] * 5}
    numbers = {**TRAIN, "number": [1.0, 2.0, 3.0, 4.0, 5.5]}
    target = kz.tasks.NumberFeature("number")
    assert fitted(target, columns=numbers) == {"mean of the training targets": [pytest.approx(3.1)] * 5}


def test_images_and_series(tmp_path):
    task = kz.tasks.create("digits", "autoencoder")
    images = task.load("train").features["source"]
    found = task.targets.baselines(images, task.inputs)["mean of the training images"]
    mean = task.targets.predict_baseline("", found, [None])[0]
    np.testing.assert_allclose(mean, np.mean(np.asarray(images) / 255, axis=0), atol=1e-4)
    (tmp_path / "s.csv").write_text("a,b\n" + "".join(f"{n},{n % 3}\n" for n in range(90)))
    task = kz.tasks.create("series", data_dir=str(tmp_path / "s.csv"), length=5).fit()
    (windows,) = task.targets.predict_baseline("", task.targets.baselines(None, ())["mean of the training data"], [0])
    np.testing.assert_allclose(windows, [[31, 1]] * 5)


def test_a_language_model_is_compared_with_the_frequencies_of_tokens():
    task = kz.tasks.create("topics", "language_model", length=24)
    predictor = kz.run.Predictor(build_model("transformer_lm_tiny", task, {"num_layers": 1, "hidden_dim": 8}), task)
    baseline = baselines.fit(task, task.load("train"), True)
    result, _ = evaluation.evaluate_predictor(predictor, "dev", limit=7, samples=0, baseline=baseline)
    assert result["baseline"] == "frequencies of the training tokens"
    train, dev = task.load("train").features["targets"], task.load("dev").sample(7).features["targets"]
    counts = np.bincount(train.values, minlength=task.targets.tokenizer.vocabulary_size) + 1
    expected = -np.mean(np.log(counts / counts.sum())[dev.values])  # a token is a character
    assert result["metrics"]["baseline.nats"] == pytest.approx(expected, abs=1e-4)


def test_the_best_on_dev_is_chosen_and_measured_in_the_evaluation(tmp_path):
    task = kz.tasks.create("copy", length=5)
    corpus = task.load("train")
    baseline = baselines.fit(task, corpus, True)
    assert baseline == {"name": "copy of the source", "fitted": None}
    reverse = kz.tasks.create("reverse", length=5)
    assert baselines.fit(reverse, reverse.load("train"), True, ["length"])["name"]  # a measure without a best value
    assert baselines.fit(task, corpus, False)["name"] == "copy of the source"  # the first one
    model = build_model("lstm_seq2seq_attention", task, {"units": 7, "encoder_units": 5, "embedding_dim": 5})
    run = kz.run.RunDirectory(tmp_path)
    baselines.save(run, baseline)
    assert baselines.load(run) == baseline
    predictor = kz.run.Predictor(model, task)
    names = ("exact_match", "token_error_rate")
    result, _ = evaluation.evaluate_predictor(predictor, "dev", 5, metrics=names, baseline=baseline)
    assert list(result["metrics"]) == [*names, *(f"baseline.{name}" for name in names)]
    assert result["metrics"]["baseline.exact_match"] == 1 and result["metrics"]["baseline.token_error_rate"] == 0
    assert "\nbaseline (copy of the source): exact_match 1.0000" in report.summary(result, "dev")
    text = report.markdown({"model": "m", "task": "t"}, {"dev": result})
    assert "| split | examples | search | exact\\_match | token\\_error\\_rate |" in text
    assert "| dev, baseline: copy of the source |  |  | 1.0000 | 0.0000 |" in text
    run.baseline.write_text("{")
    with pytest.raises(_checks.CheckpointError, match=r"baseline.json: cannot be read: .* Remove it\."):
        baselines.load(run)
    run.baseline.unlink()
    assert baselines.load(run) == {"name": ""}


def test_classes_that_are_confused_are_counted_and_drawn():
    from sklearn.metrics import confusion_matrix

    true, predicted = np.random.default_rng(0).integers(0, [[11], [7]], (2, 61)).astype(str)
    classes, counts = kz.inspect.confusion_matrix(true.tolist(), predicted.tolist())
    assert classes == [str(n) for n in range(11)]
    np.testing.assert_array_equal(counts, confusion_matrix(true, predicted, labels=classes))
    assert kz.inspect.draw_confusion(["a $ b $"], [[3]])[:4] == b"\x89PNG"
    result = {
        "metrics": {},
        "examples": 3,
        "seconds": 0.1,
        "confusion": {"classes": ["a", "b"], "counts": [[2, 0], [1, 0]]},
    }
    text = report.markdown({"model": "m", "task": "t"}, {"dev": result})
    assert "|  | a | b |\n|---|---|---|\n| a | 2 | 0 |\n| b | 1 | 0 |" in text
