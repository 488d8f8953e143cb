import types

import numpy as np
import pytest

from kerazoo.training import blocks, device_feed
from kerazoo.training.blocks import BlockLoop, StepsPerExecution


class Plan:
    """Batches of the shapes that the string names, with as many rows as the shape says."""

    def __init__(self, order, rows=(2, 3)):
        self.shapes = [types.SimpleNamespace(rows=count, lengths={}) for count in rows]
        self.batches = [
            types.SimpleNamespace(shape_index=int(shape), rows=np.full(rows[int(shape)], number, np.int32))
            for number, shape in enumerate(order)
        ]

    def epoch(self, epoch):
        return self.batches if epoch % 2 == 0 else self.batches[::-1]


class Program:
    """Runs nothing."""

    def __init__(self, model, kind, feed, check, jit_compile, change_batch):
        pass

    def __call__(self, block):
        return {}, np.zeros(2, np.int32)


@pytest.fixture
def make(monkeypatch):
    """Returns a function from the order of shapes to a loop over their batches which runs nothing."""
    monkeypatch.setattr(blocks, "backend", lambda: types.SimpleNamespace(BlockProgram=Program))

    def make(order, steps=None, seconds=1.0, rows=(2, 3), **options):
        feed = device_feed.DeviceFeed("fit", types.SimpleNamespace(features={}), print, Plan(order, rows))
        model = types.SimpleNamespace(steps_per_execution=1, trainable_variables=[])
        check = types.SimpleNamespace(build=lambda *_: None, model=model)
        options = {"steps_per_execution": steps, "seconds_per_execution": seconds, **options}
        return BlockLoop(model, "train", feed, check, **options)

    return make


def taken(loop, *start):
    found = []
    for block in loop.blocks(*start):
        assert 0 < block.steps <= len(block.data[0])
        loop.run(block)
        found.append((block.key[0], block.data[0][: block.steps, 0].tolist()))
    assert block.last
    return found


def test_blocks_hold_consecutive_batches_of_one_shape(make):
    loop = make("00010110000", steps=3)
    assert taken(loop, 0) == [(0, [0, 1, 2]), (1, [3]), (0, [4]), (1, [5, 6]), (0, [7, 8, 9]), (0, [10])]
    assert taken(loop, 1)[0] == (0, [10, 9, 8])
    assert loop.step == 22


def test_blocks_count_positions_in_the_epoch_and_numbers_over_all(make):
    loop = make("00010", steps=2)
    found = [(block.position, block.number, block.steps, block.last) for block in loop.blocks(3, 1)]
    assert found == [(1, 16, 1, False), (2, 17, 2, False), (4, 19, 1, True)]


def test_blocks_end_at_the_boundaries_of_all_epochs(make):
    loop = make("0000000", steps=100, boundaries=[4], step=1)
    assert taken(loop, 0) == [(0, [0, 1, 2]), (0, [3, 4, 5, 6])]
    assert taken(loop, 2) == [(0, [0, 1, 2, 3]), (0, [4, 5, 6])]


def test_a_batch_of_fewer_rows_has_a_block_of_its_own(make):
    loop = make("000", steps=9)
    loop.feed.plan.batches[-1].rows = np.array([7], np.int32)
    assert [block.key for block in loop.blocks(0)] == [(0, 2), (0, 1)]
    loop.feed.devices = 2  # they divide a batch evenly
    assert [block.data[0][0].tolist() for block in loop.blocks(0)] == [[0, 0]]
    assert loop.feed.plan.batches[-1].rows.tolist() == [7]


def test_blocks_go_on_inside_an_epoch(make):
    assert taken(make("0001", steps=9), 0, 2) == [(0, [2]), (1, [3])]


def test_examples_and_tokens_leave_out_padding_rows(make):
    loop = make("00")
    loop.feed.plan.batches[1].rows[1] = -1
    loop.feed.lengths = np.array([5, 7])
    taken(loop, 0)
    assert (loop.examples, loop.tokens) == (3, 17)


def test_capacity_is_a_power_of_two_above_the_longest_run(make):
    feed = make("00000101").feed
    assert [feed.capacity((0, 2), []), feed.capacity((1, 3), [])] == [8, 1]
    assert make("00", rows=(1 << 18,)).feed.capacity((0, 1 << 18), []) == 1
    assert [len(block.data[0]) for block in make("0", steps=3).blocks(0)] == [3]


def test_steps_grow_slowly_towards_the_wanted_time():
    steps = StepsPerExecution("fit", seconds=1.0)
    assert steps(0) == 1
    assert steps.update(0, 1, 60.0)  # the first execution compiles
    assert steps(0) == 1
    seen = []
    for _ in range(6):
        assert not steps.update(0, steps(0), steps(0) * 0.001)
        seen.append(steps(0))
    assert seen == [4, 16, 64, 256, 1000, 1000]
    assert steps(1) == 1
    steps.update(0, 1000, 4.0)
    assert steps(0) == 250
    steps.update(0, 1, 9.0)
    assert steps(0) == 1


def test_fixed_steps_do_not_change():
    steps = StepsPerExecution("fit", steps=5)
    steps.update(0, 5, 9.0)
    steps.update(0, 5, 9.0)
    assert steps(0) == 5


@pytest.mark.parametrize("order", ["0", "01", "110"])
def test_every_batch_is_taken_once(make, order):
    assert [number for _, block in taken(make(order, seconds=1e9), 0) for number in block] == list(range(len(order)))
