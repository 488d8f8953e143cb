import types

import numpy as np
import pytest

from kerazoo.training.blocks import Blocks, Pace


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


def taken(blocks):
    found = []
    while not blocks.finished:
        block = blocks.next()
        assert len(block.rows) <= blocks.capacity(block.shape_index)
        found.append((block.shape_index, block.rows[:, 0].tolist()))
    return found


def test_blocks_hold_consecutive_batches_of_one_shape():
    blocks = Blocks(Plan("00010110000"), Pace(steps=3))
    blocks.begin(0)
    assert taken(blocks) == [(0, [0, 1, 2]), (1, [3]), (0, [4]), (1, [5, 6]), (0, [7, 8, 9]), (0, [10])]
    blocks.begin(1)
    assert taken(blocks)[0] == (0, [10, 9, 8])
    assert blocks.step == 22


def test_blocks_end_at_the_stops_of_all_epochs():
    blocks = Blocks(Plan("0000000"), Pace(steps=100), stops=[4], step=1)
    blocks.begin(0)
    assert taken(blocks) == [(0, [0, 1, 2]), (0, [3, 4, 5, 6])]
    blocks.begin(2)
    assert taken(blocks) == [(0, [0, 1, 2, 3]), (0, [4, 5, 6])]


def test_blocks_go_on_inside_an_epoch():
    blocks = Blocks(Plan("0001"), Pace(steps=9))
    blocks.begin(0, position=2)
    assert taken(blocks) == [(0, [2]), (1, [3])]


def test_examples_and_tokens_leave_out_fillers():
    plan = Plan("00")
    plan.batches[1].rows[1] = -1
    blocks = Blocks(plan, Pace(), lengths=np.array([5, 7]))
    blocks.begin(0)
    taken(blocks)
    assert (blocks.examples, blocks.tokens) == (3, 17)


def test_capacity_is_a_power_of_two_above_the_longest_run():
    blocks = Blocks(Plan("00000101"), Pace())
    assert [blocks.capacity(0), blocks.capacity(1)] == [8, 1]
    assert Blocks(Plan("00", rows=(1 << 18,)), Pace()).capacity(0) == 1
    assert Blocks(Plan("0"), Pace(steps=3)).capacity(0) == 3


def test_pace_grows_slowly_towards_the_wanted_time():
    pace = Pace(seconds=1.0)
    assert pace.steps(0) == 1
    pace.note(0, 1, 60.0)  # the first call compiles
    assert pace.steps(0) == 1
    seen = []
    for _ in range(6):
        pace.note(0, pace.steps(0), pace.steps(0) * 0.001)
        seen.append(pace.steps(0))
    assert seen == [4, 16, 64, 256, 1000, 1000]
    assert pace.steps(1) == 1
    pace.note(0, 1000, 4.0)
    assert pace.steps(0) == 250
    pace.note(0, 1, 9.0)
    assert pace.steps(0) == 1


def test_fixed_pace_does_not_change():
    pace = Pace(steps=5)
    pace.note(0, 5, 9.0)
    pace.note(0, 5, 9.0)
    assert pace.steps(0) == 5


@pytest.mark.parametrize("order", ["0", "01", "110"])
def test_every_batch_is_taken_once(order):
    blocks = Blocks(Plan(order), Pace(seconds=1e9))
    blocks.begin(0)
    assert [number for _, block in taken(blocks) for number in block] == list(range(len(order)))
