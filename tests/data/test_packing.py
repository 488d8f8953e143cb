"""Rows that several examples share: each example once, all of it, in an order that only seed and epoch decide."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo.data import Corpus, PackedPlan, Ragged, Shape, batches, dataset


def lengths(count=211, seed=3):
    random = np.random.default_rng(seed)
    source = random.poisson(7, count) + 1
    return {"source": source, "targets": np.maximum(1, source + random.integers(-2, 3, count))}


def rows_of(plan, epoch=0):
    return np.concatenate([batch.rows for batch in plan.epoch(epoch)])


def corpus(count=53, seed=2):
    random = np.random.default_rng(seed)

    def rows(longest):
        return Ragged.from_rows([random.integers(4, 99, n) for n in random.integers(0, longest, count)])

    return Corpus({"source": rows(13), "targets": rows(9)})


def check(held, plan, epoch):
    rows = rows_of(plan, epoch)
    (shape,) = plan.shapes
    assert rows.dtype == np.int32 and rows.shape[1] == shape.segments
    assert [len(batch.rows) for batch in plan.epoch(epoch)[:-1]] == [shape.rows] * (plan.steps - 1)
    assert (rows[:, 0] >= 0).all() and plan.steps == -(-len(rows) // shape.rows)
    assert sorted(rows[rows >= 0]) == list(range(len(next(iter(held.values())))))
    assert ((rows[:, :-1] >= 0) | (rows[:, 1:] < 0)).all()  # nothing stands between two examples of a row
    for name, length in shape.lengths.items():
        sizes = np.where(rows >= 0, np.maximum(held[name], 1)[rows], 0)
        assert sizes.sum(axis=1).max() <= length


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_every_example_comes_once_and_fits(pairs, size, epoch, by_tokens):
    held = dict(zip(("source", "targets"), np.array(pairs).T))
    options = {"tokens": 40 * size} if by_tokens else {"batch_size": size}
    plan = PackedPlan(held, seed=size, **options)
    check(held, plan, epoch)
    assert plan.steps == len(plan.epoch(epoch)) == len(plan.epoch(epoch + 1))
    assert 0 < plan.valid_fraction <= 1


def test_order_is_a_pure_function_of_seed_and_epoch():
    plan = PackedPlan(lengths(), batch_size=13, seed=5)
    assert np.array_equal(rows_of(plan, 4), rows_of(PackedPlan(lengths(), batch_size=13, seed=5), 4))
    assert not np.array_equal(rows_of(plan, 4), rows_of(plan, 5))
    assert not np.array_equal(rows_of(plan, 4), rows_of(PackedPlan(lengths(), batch_size=13, seed=6), 4))
    company = [{frozenset(row[row >= 0].tolist()) for row in rows_of(plan, epoch)} for epoch in (4, 5)]
    assert len(company[0] & company[1]) < 0.2 * len(company[0])  # other examples meet in every epoch


def test_order_never_changes_between_releases():
    rows = rows_of(PackedPlan({"source": np.array([3, 2, 2, 1, 4])}, tokens=8, seed=1, row_length=4), 2)
    assert rows.tolist() == [[0, 3], [4, -1], [1, 2]]


def test_rows_are_nearly_full_and_hold_about_the_batch_size():
    held = lengths(3000)
    plan = PackedPlan(held, batch_size=64)
    assert plan.valid_fraction > 0.97
    assert abs(3000 / plan.steps - 64) < 4
    assert plan.shapes[0].lengths["source"] >= 2 * held["source"].max() - 2
    by_tokens = PackedPlan(held, tokens=500, row_length=50)
    assert by_tokens.shapes[0].rows == 10 and max(by_tokens.shapes[0].lengths.values()) == 50


def test_equal_lengths_fill_whole_rows():
    plan = PackedPlan({"targets": np.full(8, 5)}, batch_size=4)
    assert plan.shapes == [Shape(2, {"targets": 10}, 2)]
    assert plan.valid_fraction == 1 and plan.batches_per_shape == [2]


def test_packed_rows_hold_their_examples_one_behind_the_other():
    held = corpus()
    rows = np.array([[3, 7, -1], [0, 1, 2], [-1, -1, -1]])
    tokens, segments = held.features["source"].packed(rows, 40)
    for row, ids, numbers in zip(rows, tokens, segments):
        expected = []
        for number, example in enumerate(row[row >= 0], 1):
            own = held.features["source"][example].tolist() or [0]  # an empty one takes a position of padding
            assert ids[numbers == number].tolist() == own
            expected += [number] * len(own)
        assert numbers.tolist() == expected + [0] * (40 - len(expected))
        assert not ids[len(expected) :].any()


def test_rows_are_shared_by_ragged_features_of_known_length_alone():
    held = corpus()
    rows, length = np.array([[0, 1]]), {name: 40 for name in held.length_names}
    with pytest.raises(ValueError, match=r"Corpus\.batch: where examples share rows.*got none for source"):
        held.batch(rows, {name: 40 for name in length if name != "source"})
    dense = Corpus({**held.features, "label": np.zeros(len(held), int)})
    with pytest.raises(ValueError, match="got none for label"):
        dense.batch(rows, {**length, "label": 1})


def test_same_batches_with_and_without_tensorflow():
    pytest.importorskip("tensorflow")
    held = corpus()
    plan = PackedPlan.of(held, batch_size=7)
    made = list(dataset(held, plan, epoch=2, start=1))
    same = list(batches(held, plan, epoch=2, start=1))
    assert len(made) == len(same) == plan.steps - 1
    for (features, valid), (expected, real) in zip(made, same):
        assert np.array_equal(valid, real)
        assert set(features) == {"source", "source_segments", "targets", "targets_segments"} == set(expected)
        for name, value in expected.items():
            assert features[name].dtype == value.dtype and np.array_equal(features[name], value)
    assert made[0][0]["targets"].shape == (plan.shapes[0].rows, plan.shapes[0].lengths["targets"])


@pytest.mark.parametrize(
    "held, options, message",
    [
        ({"a": [3]}, {}, "give `batch_size` or `tokens`; got batch_size=None, tokens=None"),
        ({"a": [3]}, {"batch_size": 0, "tokens": 5}, "got batch_size=0, tokens=5"),
        ({"a": [3]}, {"batch_size": -1}, "`batch_size` must be an integer above 0; got batch_size=-1"),
        ({"a": [3]}, {"batch_size": 2, "seed": -1}, "`seed` must be an integer of at least 0; got seed=-1"),
        ({"a": [3, 9]}, {"batch_size": 2, "row_length": 8}, "got row_length=8, longest 9. Try row_length=18"),
        ({}, {"batch_size": 2}, "must hold a ragged feature with an example; got no feature"),
        ({"a": []}, {"batch_size": 2}, r"must hold a ragged feature with an example; got \['a'\]"),
    ],
)
def test_refusals(held, options, message):
    with pytest.raises(ValueError, match=message):
        PackedPlan(held, **options)


def test_more_refusals():
    with pytest.raises(ValueError, match="at least 0; got epoch=-1"):
        PackedPlan({"a": [3]}, batch_size=1).epoch(-1)
    held = Corpus({"source": Ragged.from_rows([[1]]), "label": np.array([1])})
    with pytest.raises(ValueError, match="must be ragged to share rows; got label without lengths"):
        PackedPlan.of(held, batch_size=1)


@pytest.mark.data
def test_packed_rows_of_a_real_corpus_are_full(shared_data):
    with gzip.open(shared_data / "multi30k" / "train.tsv.gz", "rt", encoding="utf-8") as file:
        pairs = [line.split("\t")[:2] for line in file]
    words = np.array([[len(text.split()) for text in pair] for pair in pairs])
    held = {"source": words[:, 0], "targets": words[:, 1] + 1}
    plan = PackedPlan(held, batch_size=64)
    assert plan.valid_fraction >= 0.97
    check(held, plan, 0)
