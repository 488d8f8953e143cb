"""Search in a collection of texts: files, the index, BM25, hybrid scores, judgments, and the command."""

import json

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import kerazoo as kz  # noqa: E402
from kerazoo import _checks  # noqa: E402
from kerazoo.run import search_index  # noqa: E402
from kerazoo.run.model_building import build_model  # noqa: E402
from kerazoo.run.predictor import Predictor  # noqa: E402
from kerazoo.text import BM25  # noqa: E402

TITLES = ["heat in slabs", "flow past a plate", "shock waves", "wings of birds", "buckling of shells", "ice on wings"]
TEXTS = [f"{title} and what is known of {title.split()[0]}" for title in TITLES]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "train.tsv"
    path.write_text("".join(f"{title}\t{text}\n" for title, text in zip(TITLES, TEXTS)))
    task = kz.tasks.create("pairs", data_dir=path, dev_data=path, test_data=path, header=False)
    return Predictor(build_model("bag_dual_encoder", task, {"encoder.units": 31}), task)


@pytest.fixture
def collection():
    return kz.run.Texts([f"d{n}" for n in range(len(TEXTS))], TEXTS)


def test_vectors_are_those_of_the_model_in_any_batch(predictor):
    vectors = predictor.embed(TEXTS)
    assert vectors.shape == (6, 31) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(predictor.embed([TEXTS[4]])[0], vectors[4], atol=1e-6)
    pairs = list(zip(TITLES, TEXTS))
    np.testing.assert_allclose(predictor(pairs), np.sum(predictor.embed(TITLES) * vectors, axis=1), atol=1e-5)
    assert predictor.embed([]).shape[0] == 0


def test_vectors_of_other_models_are_their_pooled_encoders():
    task = kz.tasks.create("reverse", length=5, examples=53)
    words = Predictor(build_model("lstm_seq2seq", task, {"units": 5, "embedding_dim": 3}), task)
    encoded = words.model.encode(task.encode(["abc"])["source"])
    np.testing.assert_allclose(words.embed(["abc", "a"])[0], np.asarray(encoded["sequence"])[0].mean(0), atol=1e-5)
    with pytest.raises(ValueError, match="only a dual encoder has vectors of the target; got side='target'"):
        words.embed(["abc"], side="target")


def test_search_finds_what_brute_force_finds(predictor, collection):
    index = kz.run.Index(predictor, collection)
    scores = predictor.embed(TITLES) @ predictor.embed(TEXTS).T
    found = index.search(TITLES, k=4)
    for row, results in enumerate(found):
        order = np.argsort(-scores[row], kind="stable")[:4]
        assert [each.id for each in results] == [f"d{n}" for n in order]
        np.testing.assert_allclose([each.score for each in results], scores[row][order], atol=1e-5)
        assert results[0].text == TEXTS[order[0]]
    assert len(index.search(["wings"], k=100)[0]) == 6


def test_blocks_and_ties_of_the_nearest(monkeypatch):
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 5, (7, 23)).astype("float32")
    values, rows = search_index.best(scores, 5)
    np.testing.assert_array_equal(values, -np.sort(-scores, axis=1)[:, :5])
    np.testing.assert_array_equal(np.take_along_axis(scores, rows, 1), values)
    assert all(len(set(row)) == 5 for row in rows.tolist())
    vectors, queries = rng.normal(size=(23, 5)).astype("float32"), rng.normal(size=(7, 5)).astype("float32")
    index = made_of(vectors)
    index._flat_index = None
    whole = index._nearest_vectors(queries, 3)
    monkeypatch.setattr(search_index, "BLOCK", 50)
    for one, two in zip(whole, index._nearest_vectors(queries, 3)):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def made_of(vectors):
    """Returns an index of vectors that no model made."""
    index = object.__new__(kz.run.Index)
    index.vectors = vectors
    return index


def both_ways(index, queries, k):
    """Returns what an index finds with faiss and without."""
    assert index._flat_index is not None and index._flat_index.ntotal == len(index.collection.ids)
    with_faiss = index.search(queries, k)
    index._flat_index = None
    return with_faiss, index.search(queries, k)


def test_faiss_finds_the_same(predictor, collection):
    pytest.importorskip("faiss")
    for k in (1, 4, 100):
        for one, two in zip(*both_ways(kz.run.Index(predictor, collection), TITLES, k), strict=True):
            assert [each.id for each in one] == [each.id for each in two]
            np.testing.assert_allclose([each.score for each in one], [each.score for each in two], atol=1e-6)
    assert kz.run.Index(predictor, collection).search([]) == []


@pytest.mark.data
def test_faiss_finds_the_same_on_cranfield(shared_data):
    pytest.importorskip("faiss")
    docs, queries = shared_data / "cranfield" / "docs.tsv.gz", shared_data / "cranfield" / "queries.tsv"
    columns = {"source_column": 1, "target_column": 2, "header": False}
    task = kz.tasks.create("pairs", data_dir=docs, **columns, held_out=0, bad_lines="skip")
    untrained = Predictor(build_model("bag_dual_encoder", task, {"encoder.units": 31}), task)
    texts = kz.run.read_texts(docs, text_column="1,2", bad_lines="skip", header=False)
    asked = kz.run.read_texts(queries, header=False).texts
    one, two = both_ways(kz.run.Index(untrained, texts), asked, 10)
    assert [[each.id for each in row] for row in one] == [[each.id for each in row] for row in two]


def test_an_index_is_reused_until_texts_or_weights_change(predictor, collection, tmp_path):
    assert not kz.run.Index(predictor, collection, tmp_path).reused
    again = kz.run.Index(predictor, collection, tmp_path)
    assert again.reused and len(list(tmp_path.glob("index-*.npy"))) == 1
    np.testing.assert_allclose(again.vectors, predictor.embed(TEXTS), atol=1e-6)
    other = kz.run.Texts(collection.ids, [*TEXTS[:-1], "something else"])
    assert not kz.run.Index(predictor, other, tmp_path).reused
    table = predictor.model.weights[0]
    before = np.asarray(table).copy()
    table.assign(before + 1)
    try:
        assert not kz.run.Index(predictor, collection, tmp_path).reused
    finally:
        table.assign(before)
    for path in tmp_path.glob("index-*.npy"):
        path.write_bytes(path.read_bytes()[:90])
    assert not kz.run.Index(predictor, collection, tmp_path).reused


def test_a_collection_of_one_text_and_a_blank_query(predictor):
    index = kz.run.Index(predictor, kz.run.Texts(["only"], ["shock waves"]))
    assert [each.id for each in index.search(["wings"], k=3)[0]] == ["only"]
    with pytest.raises(ValueError, match="a query must have a character .*; got ' ' as query 2"):
        index.search(["a", " "])


def test_bm25_is_the_formula():
    texts = ["a b a", "b c", "c c c d"]
    found = BM25(texts, k1=1.2, b=0.75)("A d x")
    mean = 9 / 3
    expected = [0, 0, 0]
    for n, (count, length) in {0: (2, 3), 2: (1, 4)}.items():
        idf = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
        expected[n] = idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_hybrid_scores_go_from_one_to_the_other(predictor, collection):
    index = kz.run.Index(predictor, collection)
    query = "ice and birds"
    by_words = np.argsort(-index.bm25(query), kind="stable")[0]
    assert index.search([query], k=1, hybrid=0.0)[0][0].id == f"d{by_words}"
    alone, all_of_it = (index.nearest([query], 6, weight)[1] for weight in (None, 1.0))
    np.testing.assert_array_equal(alone, all_of_it)


@pytest.mark.parametrize(
    "name, content, options, expected",
    [
        ("a.tsv", "1\tone\n7\ttwo\n", {"header": False}, (["1", "7"], ["one", "two"])),
        ("a.csv", 'id,title,text\nx,A,"one, two"\n', {"text_column": "title,text"}, (["x"], ["A one, two"])),
        ("a.jsonl", '{"id": "q", "text": "one"}\n', {}, (["q"], ["one"])),
        ("a.txt", "one\ntwo\n", {}, (["1", "2"], ["one", "two"])),
    ],
)
def test_texts_of_all_formats(tmp_path, name, content, options, expected):
    (tmp_path / name).write_text(content)
    found = kz.run.read_texts(tmp_path / name, **options)
    assert (found.ids, found.texts) == expected


@pytest.mark.parametrize(
    "content, options, message",
    [
        ("1\tone\n2\ttwo\n1\tthree\n", {}, "a.tsv:3: the id '1' is that of line 1 already"),
        ("1\tone\n2\t \n", {}, "a.tsv:2: "),
        ("1\tone\n2\t \n", {"text_column": 5}, "a.tsv"),
        ("", {}, "a.tsv"),
    ],
)
def test_bad_texts_are_named(tmp_path, content, options, message):
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(_checks.DataError, match=message):
        kz.run.read_texts(tmp_path / "a.tsv", header=False, **options)


def test_blank_texts_can_be_skipped(tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("1\tone\n2\t \n3\tthree\n")
    assert kz.run.read_texts(tmp_path / "a.tsv", header=False, bad_lines="skip").ids == ["1", "3"]
    assert "1 bad lines skipped" in capsys.readouterr().err


def test_judgments_and_their_gains(tmp_path):
    (tmp_path / "q").write_text("1 0 d1 2\n1 0 d2 -1\n2 0 d3 1\n")
    assert kz.run.read_judgments(tmp_path / "q") == {"1": {"d1": 2.0, "d2": 0.0}, "2": {"d3": 1.0}}
    gains = {"1": 4.0, "2": 3.0, "-1": 1.0}
    assert kz.run.read_judgments(tmp_path / "q", gains)["1"] == {"d1": 3.0, "d2": 1.0}


@pytest.mark.parametrize(
    "content, gains, message",
    [
        ("1\td1\n", None, ":1: expected a query, a text and a grade, got 2 values: '1.td1'"),
        ("1\td1\t1\n1\td2\tgood\n", None, ":2: a grade must be a number; got 'good'"),
        ("1\td1\t3\n", {"1": 2.0}, ":1: a grade must have a gain, as 1 do; got '3'"),
        ("1\td1\t1\n1\td1\t2\n", None, ":2: text 'd1' of query '1' is judged twice"),
        ("", None, "q.tsv: is empty"),
    ],
)
def test_bad_judgments_are_named(tmp_path, content, gains, message):
    (tmp_path / "q.tsv").write_text(content)
    with pytest.raises(_checks.DataError, match=message):
        kz.run.read_judgments(tmp_path / "q.tsv", gains)


def test_a_search_is_measured_on_two_halves_beside_bm25(predictor, collection):
    names = [f"q{n}" for n in range(6)]
    queries = kz.run.Texts([*names, "unjudged"], [*TITLES, "nothing"])
    judgments = {name: {f"d{n}": 1.0} for n, name in enumerate(names)}
    index = kz.run.Index(predictor, collection)
    found = kz.run.evaluate_search(index, queries, judgments, "tune")
    assert found["queries"] == 6 and found["documents"] == 6 and 0 <= found["hybrid"] <= 1
    assert found["metrics"]["baseline.mrr"] == 1  # each title is in its text alone
    ranks = [[each.id for each in results].index(f"d{n}") for n, results in enumerate(index.search(TITLES, k=6))]
    assert found["metrics"]["mrr"] == pytest.approx(np.mean([1 / (rank + 1) for rank in ranks]))
    dev = sum(map(kz.run.retrieval.is_dev, names))
    halves = (dev * found["dev"]["mrr"] + (6 - dev) * found["test"]["mrr"]) / 6 if 0 < dev < 6 else None
    assert halves == pytest.approx(found["metrics"]["mrr"])
    with pytest.raises(_checks.DataError, match="no query has a relevant text"):
        kz.run.evaluate_search(index, queries, {"q0": {"d0": 0.0}})


@pytest.mark.data
def test_bm25_on_cranfield(shared_data):
    """0.495 is published beside the data; every judged text counts as relevant there, also those of grade -1."""
    from kerazoo.tasks import MEASURES

    folder = shared_data / "cranfield"
    texts = kz.run.read_texts(folder / "docs.tsv.gz", text_column="1,2", bad_lines="skip", header=False)
    queries = kz.run.read_texts(folder / "queries.tsv", header=False)
    judged = kz.run.read_judgments(folder / "qrels.tsv", {grade: 1.0 for grade in ("-1", "1", "2", "3", "4")})
    scores = BM25(texts.texts)
    rankings = [[texts.ids[row] for row in np.argsort(-scores(query), kind="stable")[:10]] for query in queries.texts]
    found = MEASURES.get("ndcg@10")(rankings, [[judged[name]] for name in queries.ids])
    assert found == pytest.approx(0.495, abs=0.001)


def test_results_are_written_and_printed(predictor, collection, tmp_path, capsys):
    index = kz.run.Index(predictor, collection)
    queries = kz.run.Texts(["q1", "q2"], TITLES[:2])
    result = kz.run.evaluate_search(index, queries, {"q1": {"d0": 1.0}, "q2": {"d1": 2.0}}, 0.5)
    kz.run.publish_search(kz.run.RunDirectory(tmp_path), "mine", result)
    assert json.loads((tmp_path / "evaluation-mine.json").read_text()) == result
    printed = capsys.readouterr().out
    assert "hybrid (0.5)" in printed and "BM25" in printed and "ndcg@10 (all queries)" in printed
