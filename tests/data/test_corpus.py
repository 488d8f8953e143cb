import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo._checks import DataError
from kerazoo.data import Corpus, Ragged
from kerazoo.data.corpus import sample_rows

ROWS = [[5, 6, 7], [], [8], [9, 10, 11, 12, 13]]


@pytest.fixture
def rows():
    return Ragged.from_rows(ROWS)


@pytest.fixture
def corpus(rows):
    return Corpus({"source": rows, "image": np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)}, {"clipped": 1})


def test_rows_come_back(rows):
    assert [row.tolist() for row in rows] == ROWS
    assert rows[-1].tolist() == ROWS[-1]
    assert rows.lengths.tolist() == [3, 0, 1, 5]
    with pytest.raises(IndexError):
        rows[4]


def test_take_append_and_clip(rows):
    assert [r.tolist() for r in rows.take([3, 1, 0])] == [ROWS[3], [], ROWS[0]]
    assert [r.tolist() for r in rows.append(2)] == [row + [2] for row in ROWS]
    assert [r.tolist() for r in rows.clip(2)] == [row[:2] for row in ROWS]
    assert len(rows.take([])) == 0


def test_padded_is_as_wide_as_asked(rows):
    assert rows.padded([2, 0]).tolist() == [[8, 0, 0], [5, 6, 7]]
    assert rows.padded([3, 1], length=2, pad=-1).tolist() == [[9, 10], [-1, -1]]
    assert rows.padded([1, 1]).shape == (2, 0)


def test_rows_of_vectors(tmp_path):
    values = np.arange(9 * 2 * 3).reshape(9, 2, 3)
    rows = Ragged.from_lengths(values, [3, 0, 1, 5])
    assert [len(row) for row in rows.take([3, 1, 0])] == [5, 0, 3]
    np.testing.assert_array_equal(rows.take([2, 0]).values, values[[3, 0, 1, 2]])
    np.testing.assert_array_equal(rows.clip(2).values, values[[0, 1, 3, 4, 5]])
    padded = rows.padded([2, 3], length=4, pad=-1)
    np.testing.assert_array_equal(padded[0, 0], values[3])
    np.testing.assert_array_equal(padded[1], values[4:8])
    assert padded.shape == (2, 4, 2, 3) and (padded[0, 1:] == -1).all()
    Corpus({"source": rows}).save(tmp_path / "corpus")
    features, _ = Corpus.open(tmp_path / "corpus").batch([0, 1, -1])
    assert features["source"].shape == (3, 3, 2, 3)
    np.testing.assert_array_equal(features["source_mask"], [[True] * 3, [False] * 3, [True] * 3])


def test_ragged_refuses_offsets_that_do_not_fit():
    with pytest.raises(ValueError, match=r"from 0 to 3; got first and last \(0, 2\)"):
        Ragged(np.arange(3), np.array([0, 2]))
    with pytest.raises(ValueError, match="never fall"):
        Ragged(np.arange(3), np.array([0, 5, 3]))
    with pytest.raises(ValueError, match=r"`offsets` one axis; got shapes \(3,\), \(1, 2\)"):
        Ragged(np.zeros(3), np.array([[0, 3]]))


def test_corpus_gives_examples_lengths_and_batches(corpus):
    assert len(corpus) == 4
    assert corpus[2]["source"].tolist() == [8]
    assert corpus[-1]["image"].shape == (2, 3)
    assert corpus.length_names == ("source",)
    assert corpus.nbytes == 9 * 4 + 5 * 8 + 24
    assert corpus.lengths("source").tolist() == [3, 0, 1, 5]
    assert list(corpus.lengths()) == ["source"]
    features, valid = corpus.batch([2, -1, 0], {"source": 5})
    assert features["source"].tolist() == [[8, 0, 0, 0, 0], [5, 6, 7, 0, 0], [5, 6, 7, 0, 0]]
    assert features["image"].shape == (3, 2, 3)
    assert valid.tolist() == [True, False, True]
    assert [row.tolist() for row in corpus.take([3, 2]).features["source"]] == [ROWS[3], ROWS[2]]


def test_corpus_refuses_what_does_not_belong_together(rows, corpus):
    with pytest.raises(ValueError, match=r"same length; got lengths \{'a': 4, 'b': 3\}"):
        Corpus({"a": rows, "b": np.zeros(3)})
    with pytest.raises(ValueError, match="got lengths {}"):
        Corpus({})
    with pytest.raises(ValueError, match=r"ragged features \('source',\); got 'image'"):
        corpus.lengths("image")


def test_saved_corpus_opens_mapped_and_equal(corpus, tmp_path):
    corpus.save(tmp_path / "made" / "corpus")
    opened = Corpus.open(tmp_path / "made" / "corpus")
    assert isinstance(opened.features["image"], np.memmap)
    assert opened.notes == {"clipped": 1}
    for row in range(len(corpus)):
        for name in ("source", "image"):
            assert np.array_equal(opened[row][name], corpus[row][name])
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["corpus"]  # nothing temporary is left
    with pytest.raises(ValueError, match="must not exist yet; got .*corpus"):
        corpus.save(tmp_path / "made" / "corpus")


def test_corpus_without_a_single_token_is_saved(tmp_path):
    Corpus({"source": Ragged.from_rows([[], []])}).save(tmp_path / "empty")
    assert Corpus.open(tmp_path / "empty").lengths("source").tolist() == [0, 0]


@pytest.mark.parametrize("damage", ["missing", "no manifest", "version", "short"])
def test_damaged_corpus_is_refused(corpus, tmp_path, damage):
    folder = tmp_path / "corpus"
    if damage != "missing":
        corpus.save(folder)
    if damage == "no manifest":
        (folder / "corpus.json").unlink()
    if damage == "version":
        manifest = json.loads((folder / "corpus.json").read_text())
        (folder / "corpus.json").write_text(json.dumps({**manifest, "version": 99}))
    if damage == "short":
        path = folder / "source.values.npy"
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="corpus: cannot be opened as a corpus"):
        Corpus.open(folder)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.data())
def test_a_limit_spreads_over_all_rows(count, data):
    limit = data.draw(st.integers(1, count))
    rows = sample_rows(count, limit)
    assert len(rows) == limit and (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < count
    assert (rows == sample_rows(count, limit)).all()
    bounds = np.arange(limit + 1) * count // limit
    assert ((bounds[:-1] <= rows) & (rows < bounds[1:])).all()  # one row of each of the equal parts


def test_a_limit_keeps_the_classes_of_sorted_and_of_alternating_data():
    for labels in (np.repeat(np.arange(5), 100), np.tile(np.arange(5), 100)):
        taken = Corpus({"label": labels}).sample(100).features["label"]
        assert (np.bincount(taken, minlength=5) >= 8).all() and len(taken) == 100
    corpus = Corpus({"label": np.arange(3)})
    assert corpus.sample(3) is corpus and corpus.sample(9) is corpus
