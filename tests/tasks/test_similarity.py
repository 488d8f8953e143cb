"""Pairs of texts: scores, partners, sentences of a text, and the measures of rankings."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import kerazoo as kz  # noqa: E402
from kerazoo import _checks  # noqa: E402
from kerazoo.data.inverse_cloze import sentence_pairs  # noqa: E402
from kerazoo.tasks.measures import MEASURES  # noqa: E402


def scored(tmp_path, lines=("a cat\ta dog\t1.5", "red car\tcar\t4", "one\tone\t5", "sun\train\t1"), **options):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return kz.tasks.create("pairs", data_dir=tmp_path, score_column=2, header=False, **options)


def test_scores_are_scaled_by_the_training_part_and_back(tmp_path):
    task = scored(tmp_path)
    assert task.kind == "dual_encoder" and task.monitor == ("val_pearson", "max")
    np.testing.assert_allclose(task.load("dev").features["targets"], [0.125, 0.75, 1, 0])
    assert task.targets.decode(np.array([[1, 0, 3, 0], [0, 2, 0, -2]])) == [5.0, -3.0]
    assert task.examples("dev")[0][0] == ("a cat", "a dog")
    assert task.tokenizers["source"] is task.tokenizers["source_2"]


def test_a_saved_task_encodes_and_decodes_the_same(tmp_path):
    task = scored(tmp_path)
    task.save(tmp_path / "task")
    again = kz.tasks.restore(tmp_path / "task")
    assert again.hash == task.hash
    pair = [("red dog", "a car")]
    for name, tokens in task.encode(pair).items():
        np.testing.assert_array_equal(again.encode(pair)[name], tokens)


@pytest.mark.parametrize(
    "lines, message",
    [
        (["a\tb\t1", "c\td\thigh", "e\tf\t2"], r"train.tsv:2: column 'score' holds no finite number: 'high'"),
        (["a\tb\t1", "c\td\t2,5", "e\tf\t2"], r"'2,5'\. Write decimals with a point\. Correct it, or say bad_lines"),
        (["a\tb\t1", "c\t \t2"], r"train.tsv:2: .*column 1"),
        (["a\tb\t1", "c\td\t1"], "scores need at least 2 different values; column 'score' has only 1 "),
    ],
)
def test_bad_scores_and_texts_are_named(tmp_path, lines, message):
    with pytest.raises(_checks.DataError, match=message):
        scored(tmp_path, lines).load("train")


def test_bad_lines_can_be_skipped(tmp_path):
    task = scored(tmp_path, ["a\tb\t1", "c\t \t2", "e\tf\tx", "g\th\t3"], bad_lines="skip")
    assert len(task.load("train")) == 2 and task.load("train").notes["skipped"] == 2


def test_json_lines_and_headers_give_partners(tmp_path):
    (tmp_path / "own.jsonl").write_text('{"q": "Who?", "a": {"text": "Me."}}\n{"q": "who? ", "a": {"text": "You."}}\n')
    task = kz.tasks.create("pairs", data_dir=tmp_path / "own.jsonl", source_column="q", target_column="a.text",
                           dev_data=tmp_path / "own.jsonl", test_data=tmp_path / "own.jsonl")  # fmt: skip
    numbers = np.asarray(task.load("train").features["targets"])
    assert numbers.shape == (2, 2) and numbers[0, 0] == numbers[1, 0] and numbers[0, 1] != numbers[1, 1]
    assert task.monitor == ("val_accuracy", "max")
    (tmp_path / "own.csv").write_text('question,answer\n"Who, then?",Me.\nWhy?,So.\n')
    named = kz.tasks.create("pairs", data_dir=tmp_path / "own.csv", source_column="question", target_column="answer",
                            dev_data=tmp_path / "own.csv")  # fmt: skip
    assert named.examples("dev")[0] == [("Who, then?", "Me."), ("Why?", "So.")]


def test_options_that_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="`inverse_cloze` makes pairs without scores; .*score_column=2"):
        scored(tmp_path, inverse_cloze=True)
    with pytest.raises(ValueError, match="needs `data_dir`.*got data_dir=None"):
        kz.tasks.create("pairs")


def test_sentences_are_taken_out_of_their_text():
    text = "Ducks swim on ponds . They eat all the plants! Why? Nobody knows that yet."
    pairs = dict(sentence_pairs(text))
    assert set(pairs) == {"Ducks swim on ponds .", "They eat all the plants!", "Nobody knows that yet."}
    assert pairs["They eat all the plants!"] in (text, "Ducks swim on ponds . Why? Nobody knows that yet.")
    assert sentence_pairs("Only one sentence is here.") == []
    kept = [sentence_pairs(f"Sentence number {n} is this. And another one follows.")[0][1] for n in range(500)]
    assert 0.05 < np.mean([text.startswith("Sentence") for text in kept]) < 0.15


def test_inverse_cloze_adds_pairs_to_train_alone(tmp_path):
    lines = "Ducks\tDucks swim on ponds. They eat all the plants.\n"
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text(lines)
    task = kz.tasks.create("pairs", data_dir=tmp_path, inverse_cloze=True, header=False)
    assert [len(task.load(split)) for split in ("train", "dev")] == [3, 1]
    task.save(tmp_path / "task")
    assert kz.tasks.restore(tmp_path / "task").source.columns == ("source", "target")


# The measures of rankings.

RANKINGS = [list("abcdefghijklm"), list("mlkjihgfedcba"), list("abc"), list("xyz")]
GAINS = [[{"b": 1.0, "k": 3.0, "c": 0.0}], [{"a": 2.0, "l": 1.0, "z": 4.0}], [{"a": 1.0}], [{"a": 2.0, "q": 1.0}]]


def test_all_texts_of_a_collection_are_for_training(tmp_path):
    (tmp_path / "docs.tsv").write_text("".join(f"title {row}\ttext {row}\n" for row in range(41)))
    task = kz.tasks.create("pairs", data_dir=tmp_path / "docs.tsv", held_out=0)
    assert len(task.load("train")) == 41
    with pytest.raises(_checks.NoExamplesError):
        task.load("dev")
    with pytest.raises(ValueError, match="task pairs: `held_out` must be a number in .*; got held_out=1"):
        kz.tasks.create("pairs", data_dir=tmp_path / "docs.tsv", held_out=1)


def test_ndcg_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    names = [f"d{n}" for n in range(23)]
    for _ in range(7):
        gains, scores = rng.integers(0, 4, 23).astype(float), rng.permutation(23)
        gains[0] = 1
        ranking = [names[row] for row in np.argsort(-scores)]
        reference = [[dict(zip(names, gains))]]
        found = MEASURES.get("graded_ndcg@10")([ranking], reference)
        assert found == pytest.approx(metrics.ndcg_score([gains], [scores], k=10))
        binary = MEASURES.get("ndcg@10")([ranking], reference)
        assert binary == pytest.approx(metrics.ndcg_score([gains > 0], [scores], k=10))


def test_reciprocal_rank_and_recall_by_hand():
    np.testing.assert_allclose(MEASURES.get("mrr").statistics(RANKINGS, GAINS), [1 / 2, 1 / 2, 1, 0])
    np.testing.assert_allclose(MEASURES.get("recall@10").statistics(RANKINGS, GAINS), [1 / 2, 1 / 3, 1, 0])


def test_partners_are_ranked_among_different_texts():
    target = kz.tasks.MatchFeature()
    outputs = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0.9, 0.1, 0.6, 0.9], [0.2, 1, 0, 1]], "float32")
    references = [[("a", "one")], [("b", "two")], [("c", "three")], [("d", "Two ")]]
    target.finish()
    predictions = target.decode(outputs)
    assert predictions[0] == 1 and len(predictions) == 4
    found = target.evaluate(predictions, references)
    assert found == {"mrr": pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4), "recall@10": 1}
    with pytest.raises(TypeError, match="`predictions` must be what `decode` returned"):
        target.evaluate([1.0] * 4, references)


def test_baselines_count_words_in_common(tmp_path):
    target = scored(tmp_path).fit().targets
    ((name, fitted),) = target.baselines(None, ()).items()
    pairs = [("A cat", "a dog"), ("one", "one"), ("x", "y")]
    assert target.predict_baseline(name, fitted, pairs) == pytest.approx([1 + 4 / 3, 5, 1])
    match = kz.tasks.MatchFeature()
    match.finish()
    pairs = [("heat in slabs", "slabs and heat"), ("waves", "shock waves"), ("none", "of these")]
    ((name, fitted),) = match.baselines(None, ()).items()
    found = match.evaluate(match.predict_baseline(name, fitted, pairs), [[pair] for pair in pairs])
    assert found["mrr"] > 2 / 3 and found["recall@10"] == 1


def test_spearman_of_scores_is_that_of_scipy(tmp_path):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    predictions, scores = rng.random(31), rng.integers(0, 5, 31)
    found = scored(tmp_path).evaluate(predictions.tolist(), [[score] for score in scores.tolist()])
    assert found["spearman"] == pytest.approx(stats.spearmanr(predictions, scores).statistic)
