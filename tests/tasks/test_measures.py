"""Measures of predictions: compared with the libraries of the field, and with what they must be."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kerazoo as kz
from kerazoo import _checks
from kerazoo.tasks import measures
from kerazoo.tasks.measures import MEASURES

PROPERTY = settings(max_examples=20, deadline=None, derandomize=True)
WORDS = ["the", "cat", "sat", "on", "a", "mat", ".", "Dog", "dogs", "it's"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=2, max_size=13)
TEXT_MEASURES = [name for name in MEASURES if "text" in MEASURES.get(name).modalities]


def streams(references):
    count = max(map(len, references))
    return [[accepted[n] if n < len(accepted) else None for accepted in references] for n in range(count)]


@PROPERTY
@given(PAIRS)
def test_texts_are_measured_as_by_the_libraries(pairs):
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    predictions, references = map(list, zip(*pairs))
    for name, metric in {"bleu": BLEU(), "bleu_lower": BLEU(lowercase=True), "chrf": CHRF()}.items():
        expected = metric.corpus_score(predictions, streams(references))
        assert MEASURES.get(name)(predictions, references) == pytest.approx(expected.score)
        assert MEASURES.get(name).signature(references) == str(metric.get_signature())
    kinds = ["rouge1", "rouge2", "rougeL"]
    scores = [RougeScorer(kinds).score_multi(accepted, text) for text, accepted in pairs]
    for kind in kinds:
        expected = 100 * np.mean([score[kind].fmeasure for score in scores])
        assert MEASURES.get(kind)(predictions, references) == pytest.approx(expected)


@PROPERTY
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=11))
def test_word_errors_are_those_of_jiwer(pairs):
    import jiwer

    predictions, references = map(list, zip(*pairs))
    found = MEASURES.get("word_error_rate")(predictions, [[each] for each in references])
    assert found == pytest.approx(jiwer.wer(references, predictions))


def test_classes_are_measured_as_by_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score

    true, predicted = np.random.default_rng(0).integers(0, [[7], [5]], (2, 61)).astype(str)
    references = [[each] for each in true.tolist()]
    expected = {"accuracy": accuracy_score(true, predicted), "f1": f1_score(true, predicted, average="macro")}
    feature = kz.tasks.LabelFeature("kind")
    assert feature.evaluate(predicted.tolist(), references) == pytest.approx(expected)


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_correlation_is_that_of_scipy(levels):
    from scipy.stats import spearmanr

    one, two = np.random.default_rng(0).integers(0, levels, (2, 53))
    found = MEASURES.get("spearman")(one.tolist(), [[each] for each in two.tolist()])
    assert found == pytest.approx(spearmanr(one, two).statistic)
    assert MEASURES.get("spearman")([2.0] * 53, [[each] for each in two.tolist()]) == 0


def test_errors_of_numbers_are_in_the_unit_of_the_data():
    feature = kz.tasks.NumberFeature("price")
    found = feature.evaluate([1.0, 5.0], [[3.0], [4.0]])
    assert found == {"mean_squared_error": 2.5, "mean_absolute_error": 1.5}


@pytest.mark.parametrize("name", TEXT_MEASURES)
def test_perfect_predictions_and_the_order_of_examples(name):
    row = MEASURES.get(name)
    texts = ["the cat sat on a mat", "it's a dog on the mat", "a b c d e"]
    references = [["x", text] for text in texts]
    best = {"bleu": 100, "bleu_lower": 100, "chrf": 100, "rouge1": 100, "rouge2": 100, "rougeL": 100, "length": 17 / 3}
    assert row(texts, references) == pytest.approx(best.get(name, float(bool(row.higher_is_better))))
    wrong = ["the cat sat", "a dog", "b c x"]
    assert row(wrong, references) == pytest.approx(row(wrong[::-1], references[::-1]))
    if row.higher_is_better is not None:
        assert (row(wrong, references) < row(texts, references)) == row.higher_is_better


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_a_row_of_the_table_is_complete(name):
    row = MEASURES.get(name)
    assert row.name == name and row.about and row.modalities and not row.about.endswith(".")
    assert row.package in ("", *measures.PACKAGES)


def test_measures_are_chosen_by_name():
    feature = kz.tasks.TextFeature("answer")
    assert [row.name for row in feature.chosen_measures()] == ["token_error_rate", "sequence_error_rate"]
    assert list(feature.evaluate(["a b"], [["a b", "c"]], ["bleu", "exact_match"])) == ["bleu", "exact_match"]
    with pytest.raises(ValueError, match=r"Unknown measure 'blue'. Close names: bleu"):
        feature.chosen_measures(["blue"])
    with pytest.raises(ValueError, match=r"label feature: the measure 'bleu' compares text.*Try accuracy, f1\."):
        kz.tasks.LabelFeature("kind").chosen_measures(["bleu"])
    with pytest.raises(ValueError, match="1 predictions, 2 references"):
        MEASURES.get("bleu")(["a"], [["a"], ["b"]])


def test_a_missing_package_is_named_where_it_is_asked_for(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rouge_score" else find(name))
    feature = kz.tasks.TextFeature("summary")
    with pytest.raises(_checks.SetupError, match=r'rougeL: the package rouge-score .* pip install "kerazoo\[eval\]"'):
        feature.chosen_measures(["rougeL"])
    feature.measures = ("rougeL", "exact_match")
    assert feature.evaluate(["a"], [["a"]]) == {"exact_match": 1}


def test_the_published_baseline_of_summaries(shared_data):
    sources, summaries = kz.data.read_table(shared_data / "debian_summ" / "test.tsv.gz", [0, 1]).columns
    feature = kz.tasks.TextFeature("synopsis")
    feature.references = list  # the words as they are
    name = "first 12 words of the source"
    predictions = feature.predict_baseline(name, feature.baselines(None, [kz.tasks.TextFeature("text")])[name], sources)
    found = MEASURES.get("rougeL")(predictions, [[each] for each in summaries])
    assert found == pytest.approx(27.2, abs=0.05)
