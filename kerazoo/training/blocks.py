"""Which steps run together: an epoch's batches, cut into blocks of one shape that take about a second each."""

import time
import typing

import numpy as np

GROWTH = 4  # a block is at most this many times as long as the one before it of the same shape
CELLS = 1 << 18  # most row numbers that one block sends to the device


class Block(typing.NamedTuple):
    """Steps of one shape: its index, the rows of each step, int32 `[steps, B]`, -1 for fillers, the first's number.

    Where examples share rows, the rows are int32 `[steps, B, P]`. The numbers count the steps of all epochs.
    """

    shape_index: int
    rows: np.ndarray
    first: int = 0


class Pace:
    """Chooses how many steps of each shape run in one call, from how long earlier calls took.

    The first call of a shape also compiles, so its time says nothing: it runs one step.

    Args:
        seconds: How long a call should take.
        steps: A fixed number of steps, which turns the measuring off.
    """

    def __init__(self, seconds=1.0, steps=None):
        self.seconds = seconds
        self.fixed = steps
        self._most = {}  # shape -> steps of the next call

    def steps(self, shape):
        """Returns the most steps that the next call of `shape` should run."""
        return self.fixed or self._most.get(shape, 1)

    def note(self, shape, steps, elapsed):
        """Learns that `steps` steps of `shape` took `elapsed` seconds; returns whether its program was compiled."""
        if shape not in self._most:
            self._most[shape] = 1
            return True
        if not self.fixed:
            wanted = int(self.seconds * steps / max(elapsed, 1e-9))
            self._most[shape] = max(1, min(wanted, GROWTH * self._most[shape]))
        return False


class Blocks:
    """The blocks of one epoch after another.

    A block holds consecutive batches of one shape. It never crosses the end of an epoch, nor a step whose number is a
    multiple of one of `stops`.

    Args:
        plan: Gives `shapes` and, as `epoch(e)`, the list of an epoch's batches, each with `shape_index` and `rows`.
        pace: A `Pace`.
        stops: Numbers of steps at whose multiples a block must end.
        lengths: Array `[N]` of the real tokens of each example, or None.
        step: The number of steps that were taken before.
    """

    def __init__(self, plan, pace, stops=(), lengths=None, step=0):
        self.plan = plan
        self.pace = pace
        self.stops = tuple(stops)
        self.lengths = lengths
        self.step = step
        self.examples = self.tokens = 0  # of all blocks so far
        self.compiling = 0.0  # seconds of the calls that compiled
        self.batches = []
        self.position = 0

    def begin(self, epoch, position=0):
        """Goes to step `position` of epoch number `epoch`."""
        self.batches = self.plan.epoch(epoch)
        self.position = position
        self.before = epoch * len(self.batches)

    @property
    def finished(self):
        """Whether the epoch has no further step."""
        return self.position >= len(self.batches)

    def next(self):
        """Returns the next `Block` and moves behind it."""
        shape = self.batches[self.position].shape_index
        most = min([self.pace.steps(shape), self.capacity(shape), *(stop - self.step % stop for stop in self.stops)])
        chosen = []
        for batch in self.batches[self.position : self.position + most]:
            if batch.shape_index != shape:
                break
            chosen.append(batch.rows)
        block = Block(shape, np.stack(chosen).astype(np.int32, copy=False), self.before + self.position)
        self.position += len(chosen)
        self.step += len(chosen)
        self._count(block.rows)
        self._started = time.perf_counter()
        self._running = shape, len(chosen)
        return block

    def done(self):
        """Notes that the block which `next` gave last has run."""
        shape, steps = self._running
        elapsed = time.perf_counter() - self._started
        if self.pace.note(shape, steps, elapsed):
            self.compiling += elapsed

    def capacity(self, shape):
        """Returns the most steps of a block of `shape`: the static size of what its program takes."""
        if not hasattr(self, "_capacities"):
            self._capacities = _capacities(self.plan, self.pace.fixed)
        return self._capacities[shape]

    def _count(self, rows):
        real = rows[rows >= 0]
        self.examples += real.size
        if self.lengths is not None:
            self.tokens += int(self.lengths[real].sum())


def _capacities(plan, fixed):
    """Returns for each shape how many steps its longest run in the first epoch has, rounded up to a power of two."""
    longest = [1] * len(plan.shapes)
    run, previous = 0, None
    for batch in plan.epoch(0):
        run = run + 1 if batch.shape_index == previous else 1
        previous = batch.shape_index
        longest[previous] = max(longest[previous], run)
    entries = [shape.rows * max(1, getattr(shape, "segments", 1)) for shape in plan.shapes]
    return [fixed or max(1, min(1 << (s - 1).bit_length(), CELLS // n)) for s, n in zip(longest, entries)]
