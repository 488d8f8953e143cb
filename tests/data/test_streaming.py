import collections

import numpy as np
import pytest

from kerazoo._checks import DataError
from kerazoo.data import Chunk, Ragged, Stream, StreamPlan
from kerazoo.data.streaming import EPOCH_STEPS


def convert(chunk):
    lengths = chunk.columns["n"]
    return {"x": Ragged.from_rows([[n] * n for n in lengths]), "n": np.array(lengths, np.int32)}, {}


def stream(sizes=(7, 5, 11, 3), opened=None):
    """Every example has another length up to 26, and so another name."""

    def chunks():
        if opened is not None:
            opened.append(1)
        start = 1
        for place, size in enumerate(sizes):
            yield Chunk({"n": list(range(start, start + size))}, progress=(place + 1) / len(sizes))
            start += size

    return Stream(chunks, convert)


def seen(batches):
    return [features["n"][valid].tolist() for features, valid in batches]


@pytest.mark.parametrize("buffer", [1, 6, 100])
@pytest.mark.parametrize("options", [{"batch_size": 4, "max_shapes": 3}, {"tokens": 60, "max_shapes": 2}])
def test_every_example_comes_once_in_few_shapes(buffer, options):
    plan = StreamPlan(stream(), buffer, **options)
    for epoch in range(2):
        shapes, names, short = set(), collections.Counter(), 0
        for features, valid in plan.batches(epoch):
            assert valid.all() and not short  # only the last batch may have fewer rows
            rows, width = features["x"].shape
            (whole,) = (shape.rows for shape in plan.shapes if shape.lengths["x"] == width)
            short = rows < whole
            shapes.add((whole, width))
            names.update(features["n"][valid].tolist())
            for row, n in zip(features["x"][valid], features["n"][valid].tolist()):
                assert row.tolist() == ([n] * n + [0] * width)[:width]
        assert names == collections.Counter(range(1, 27))
        assert shapes <= {(shape.rows, shape.lengths["x"]) for shape in plan.shapes}


def test_order_follows_seed_and_epoch():
    plans = [StreamPlan(stream(), buffer=9, seed=seed, batch_size=3) for seed in (1, 1, 2)]
    one, same, other = [[seen(plan.batches(epoch)) for epoch in (0, 1)] for plan in plans]
    assert one == same and one != other and one[0] != one[1]
    assert one[0] != sorted(one[0])


def test_the_first_examples_are_read_once():
    opened = []
    plan = StreamPlan(stream(opened=opened), buffer=9, batch_size=3)
    assert len(opened) == 1 and len(plan.head) == 12
    first = next(iter(plan.batches(0)))  # a look at the shapes costs nothing
    assert first[0]["n"].tolist() == next(iter(plan.batches(0)))[0]["n"].tolist()
    assert len(sum(seen(plan.batches(0)), [])) == 26 and len(opened) == 1
    list(plan.batches(1))
    assert len(opened) == 2


def test_limit_and_length_are_known_or_guessed():
    plan = StreamPlan(stream(), buffer=9, limit=10, batch_size=3)
    assert sorted(sum(seen(plan.batches(0)), [])) == list(range(1, 11)) and plan.examples == 10
    guessed = StreamPlan(stream(), buffer=9, batch_size=3)
    assert guessed.examples == 24  # 12 in the first half of the source
    assert guessed.steps == 2 * -(-12 // 3)


def test_dense_examples_and_batch_functions():
    dense = Stream(lambda: [Chunk({"n": [1, 2, 3, 4, 5]})], lambda chunk: ({"n": np.array(chunk.columns["n"])}, {}))
    plan = StreamPlan(dense, 2, batch_size=2)
    made = list(plan.batches(0, lambda features, valid: int(features["n"][valid].sum())))
    assert len(made) == 3 and sum(made) == 15
    steps = list(plan.batches(1, augment=lambda f, step: step, batch_fn=lambda f, v: int(f)))
    assert steps == [EPOCH_STEPS, EPOCH_STEPS + 1, EPOCH_STEPS + 2]


def test_faults():
    with pytest.raises(DataError, match="the stream holds no example"):
        StreamPlan(stream(()), 5, batch_size=2)
    with pytest.raises(ValueError, match="`buffer` must be an integer above 0; got buffer=0"):
        StreamPlan(stream(), 0, batch_size=2)

    def broken():
        yield from [Chunk({"n": [1]})] * 40
        raise DataError("a.tsv:2: bad")

    plan = StreamPlan(Stream(broken, convert), 1, batch_size=2)
    with pytest.raises(DataError, match="a.tsv:2: bad"):
        list(plan.batches(0))


def test_no_two_steps_have_one_number_whatever_the_estimate_of_an_epoch_is():
    chunks = [Chunk({"n": [1] * 4}, progress=progress) for progress in (0.9, 0.92, 0.95, 1.0)]
    plan, numbers = StreamPlan(Stream(lambda: chunks, convert), 4, batch_size=2), []

    def note(features, step):
        numbers.append(int(step))
        return features

    for epoch in (0, 1, 2047, 2048):
        assert len(seen(plan.batches(epoch, augment=note))) == 8 > plan.steps
    assert len(set(numbers[:24])) == 24 and numbers[24:] == numbers[:8] and max(numbers) < 2**31
