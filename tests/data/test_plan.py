import gzip
import itertools

import numpy as np
import pytest

from kerazoo.data import Corpus, Plan, Ragged, Shape
from kerazoo.data import plan as plan_module


def lengths(count=211, seed=3):
    random = np.random.default_rng(seed)
    source = random.poisson(7, count) + 1
    return {"source": source, "targets": np.maximum(1, source + random.integers(-2, 3, count))}


def rows_of(batches):
    return np.concatenate([batch.rows for batch in batches])


def same(one, other):
    return len(one) == len(other) and all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(one, other))


@pytest.mark.parametrize("options", [{"batch_size": 13}, {"tokens": 97}, {"batch_size": 1}, {"batch_size": 500}])
def test_every_example_comes_once_in_a_shape_that_holds_it(options):
    held = lengths()
    plan = Plan(held, seed=5, **options)
    for epoch in (0, 7):
        batches = plan.epoch(epoch)
        rows = rows_of(batches)
        assert sorted(rows) == list(range(211))
        for batch in batches:
            shape = plan.shapes[batch.shape_index]
            assert batch.rows.shape == (min(shape.rows, len(batch.rows)),) and batch.rows.dtype == np.int32
            for name, length in shape.lengths.items():
                assert held[name][batch.rows].max() <= length
        short = [batch for batch in batches if len(batch.rows) < plan.shapes[batch.shape_index].rows]
        assert short in ([], batches[-1:])
        shorter = [batch for batch in batches if batch.shape_index < batches[-1].shape_index]
        assert not short or not shorter  # the shortest wastes least
        assert len(batches) == plan.steps == sum(plan.batches_per_shape)
    assert len(plan.shapes) <= 4


def test_order_is_a_pure_function_of_seed_and_epoch():
    plan = Plan(lengths(), batch_size=13, seed=5)
    assert same(plan.epoch(4), Plan(lengths(), batch_size=13, seed=5).epoch(4))
    assert not same(plan.epoch(4), plan.epoch(5))
    assert not same(plan.epoch(4), Plan(lengths(), batch_size=13, seed=6).epoch(4))


def test_order_never_changes_between_releases():
    rows = rows_of(Plan({}, examples=7, batch_size=7, seed=1).epoch(2))
    assert rows.tolist() == [1, 3, 0, 4, 2, 6, 5]


def test_evaluation_keeps_the_order():
    plan = Plan(lengths(), batch_size=13, shuffle=False)
    assert same(plan.epoch(0), plan.epoch(3))
    batches = plan.epoch(0)
    assert [b.shape_index for b in batches] == sorted(b.shape_index for b in batches)
    for index in range(len(plan.shapes)):
        rows = rows_of([b for b in batches if b.shape_index == index])
        assert np.array_equal(rows, np.sort(rows))
    dense = rows_of(Plan({}, examples=11, batch_size=3, shuffle=False).epoch(0))
    assert dense.tolist() == [*range(11)]


def test_dense_data_has_one_shape():
    plan = Plan({}, examples=23, batch_size=5)
    assert plan.shapes == [Shape(5, {})]
    assert plan.steps == 5
    assert plan.valid_fraction == 1
    assert [len(batch.rows) for batch in plan.epoch(1)] == [5, 5, 5, 5, 3]


def test_a_small_set_needs_no_padding_rows():
    plan = Plan({"source": np.array([3, 3, 3])}, batch_size=128)
    assert plan.shapes == [Shape(3, {"source": 3})]
    assert plan.valid_fraction == 1


def test_shapes_waste_little_and_more_shapes_waste_less():
    fractions = [Plan(lengths(5000), batch_size=17, max_shapes=n).valid_fraction for n in (1, 2, 4, 8)]
    assert fractions == sorted(fractions)
    assert fractions[2] > 0.75
    assert len(Plan({"a": np.array([7] * 50)}, batch_size=5, max_shapes=8).shapes) == 1


def test_chain_is_the_best_of_all_chains():
    held = {"source": np.repeat([2, 3, 5, 7, 11], [7, 30, 40, 20, 3])}
    found = plan_module.choose_shapes(held, lambda lengths: 1, 3)
    best = min(
        sum(min(length for length in (*chain, 11) if length >= one) for one in held["source"])
        for chain in itertools.combinations([2, 3, 5, 7], 2)
    )
    belongs = plan_module.assign_shapes(held, found)
    assert len(found) == 3
    assert sum(found[i].lengths["source"] for i in belongs) == best


def test_shapes_form_a_chain_in_every_feature():
    random = np.random.default_rng(0)
    held = {"a": random.integers(1, 90, 3000), "b": random.integers(1, 50, 3000), "c": random.integers(1, 20, 3000)}
    shapes = Plan(held, batch_size=32, max_shapes=8).shapes
    for one, other in itertools.pairwise(shapes):
        assert all(one.lengths[name] <= other.lengths[name] for name in held)
    assert shapes[-1].lengths == {name: value.max() for name, value in held.items()}


def test_long_tail_is_kept_apart():
    held = {"source": np.concatenate([np.full(5000, 11), np.arange(100, 2100)])}
    plan = Plan(held, batch_size=10)
    assert plan.shapes[0].lengths == {"source": 11}
    assert plan.shapes[-1].lengths == {"source": 2099}


def test_token_budget_gives_short_batches_more_rows():
    plan = Plan({"source": np.repeat([10, 100], [5000, 500])}, tokens=1000, max_shapes=2)
    assert [(shape.rows, shape.lengths["source"]) for shape in plan.shapes] == [(96, 10), (8, 100)]


def test_batches_of_one_shape_come_together():
    plan = Plan(lengths(4000), batch_size=10, consecutive=7)
    runs = [len(list(run)) for _, run in itertools.groupby(plan.epoch(0), lambda batch: batch.shape_index)]
    assert sum(run < 7 for run in runs) <= len(plan.shapes)
    assert len(runs) > len(plan.shapes)


def test_long_rows_are_clipped_or_dropped_and_counted():
    held = {"source": np.array([2, 9, 3, 5]), "targets": np.array([1, 1, 8, 1])}
    clip = Plan(held, batch_size=4, max_length=4)
    assert (clip.clipped, clip.dropped) == (3, 0)
    assert clip.shapes[-1].lengths == {"source": 4, "targets": 4}
    drop = Plan(held, batch_size=4, max_length={"source": 5}, longer="drop")
    assert (drop.clipped, drop.dropped) == (0, 1)
    assert sorted(rows_of(drop.epoch(0))) == [0, 2, 3]


def test_a_row_of_no_tokens_takes_one_position():
    assert Plan({"source": np.array([0, 0])}, batch_size=2).shapes == [Shape(2, {"source": 1})]


def test_a_shape_without_a_whole_batch_is_filled_from_all_shorter_ones():
    plan = Plan({"source": np.array([2] * 30 + [5] * 4 + [9] * 3)}, batch_size=10, max_shapes=3)
    batches = plan.epoch(0)
    rows = rows_of(batches)
    assert sorted(rows) == list(range(37))
    longest = [batch for batch in batches if plan.shapes[batch.shape_index].lengths["source"] == 9]
    assert len(longest) == 1 and {34, 35, 36} <= set(longest[0].rows.tolist())


@pytest.mark.data
def test_eight_shapes_waste_little_of_a_real_corpus(shared_data):
    with gzip.open(shared_data / "multi30k" / "train.tsv.gz", "rt", encoding="utf-8") as file:
        pairs = [line.split("\t")[:2] for line in file]
    words = np.array([[len(text.split()) for text in pair] for pair in pairs])
    held = {"source": words[:, 0], "targets": words[:, 1] + 1}
    fractions = [Plan(held, batch_size=64, max_shapes=most).valid_fraction for most in (1, 4, 8)]
    assert fractions[1] > 0.79
    assert fractions[2] > 0.88  # the best that any eight shapes reach is 0.889


def test_plan_of_a_corpus():
    corpus = Corpus({"source": Ragged.from_rows([[1, 2], [3]]), "label": np.array([0, 1])})
    assert Plan.of(corpus, batch_size=2).shapes == [Shape(2, {"source": 2})]


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "give `batch_size` or `tokens`; got batch_size=None, tokens=None"),
        ({"batch_size": 2, "tokens": 3}, "got batch_size=2, tokens=3"),
        ({"batch_size": -2}, "`batch_size` must be an integer above 0; got batch_size=-2"),
        ({"tokens": 3}, r"`tokens` must hold the longest row; got tokens=3, .*Try tokens=4, or max_length=3"),
        ({"batch_size": 2, "longer": "cut"}, "`longer` must be one of 'clip', 'drop'; got longer='cut'"),
        ({"batch_size": 2, "max_length": {"sorce": 3}}, "got max_length='sorce'. Did you mean 'source'"),
        ({"batch_size": 2, "max_length": 1, "longer": "drop"}, "no example is left to plan; got 2, of which 2"),
        ({"batch_size": 2, "examples": 3}, "must agree.*'source': 2, 'examples': 3"),
        ({"batch_size": 2, "seed": -1}, "`seed` must be an integer of at least 0; got seed=-1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        Plan({"source": np.array([4, 5])}, **options)
    with pytest.raises(ValueError, match="at least 0; got epoch=-1"):
        Plan({"source": np.array([4, 5])}, batch_size=2).epoch(-1)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="no example is left to plan; got 0"):
        Plan({}, examples=0, batch_size=3)
