"""Which examples share a batch, in which order: a pure function of the seed and the epoch."""

import functools
import typing

import numpy as np

from kerazoo import _checks
from kerazoo.data import shapes as shape_choice


class Batch(typing.NamedTuple):
    """One batch: the index of its shape and the examples in it, int32 `[rows]`, -1 for a filler of weight zero.

    Where examples share rows, those of each row, int32 `[rows, segments]`.
    """

    shape_index: int
    rows: np.ndarray


class Plan:
    """Batches of a few static shapes that waste little padding.

    Every example goes to the first of the chosen shapes that holds it. Where a shape's examples do not fill its last
    batch, some of the next shorter shape join them, so only the shortest shape has filler rows, in at most one batch.
    All batches of a shape have the same number of rows. `epoch(e)` is a pure function of `(seed, e)`: a run that
    stopped computes where it was.

    Args:
        lengths: Dictionary of ragged feature to the int array `[N]` of its row lengths (`corpus.lengths()`); an empty
            dictionary for dense data, which then needs `examples`.
        batch_size: Examples of a batch. Give either this or `tokens`.
        tokens: Padded tokens of a batch in its longest feature, so short batches have more rows.
        max_shapes: Most static shapes, each of which is compiled; fewer are chosen where a further one saves under 1 %
            of the cells. 4 suits short trainings, 8 long ones.
        seed: Non-negative integer from which every epoch's order follows.
        examples: Number of examples; needed only when `lengths` is empty.
        shuffle: False keeps the examples in their order, one shape after the other, in every epoch: for evaluation.
        max_length: Most tokens of a row, an integer or a dictionary of feature to integer; no bound by default.
        longer: What happens to longer rows: `"clip"` cuts them off, `"drop"` leaves the example out. `clipped` and
            `dropped` count the examples.
        consecutive: How many batches of the same shape follow each other, as far as there are so many: several steps
            in one compiled program need batches of one shape.

    Raises:
        ValueError: No example is left, or an argument is out of its range.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    plan = kz.data.Plan({"source": np.array([3, 9, 4, 8, 5])}, batch_size=2, max_shapes=2)
    for batch in plan.epoch(0):
        print(plan.shapes[batch.shape_index], batch.rows)
    ```
    """

    def __init__(
        self,
        lengths,
        batch_size=None,
        tokens=None,
        max_shapes=4,
        seed=0,
        examples=None,
        shuffle=True,
        max_length=None,
        longer="clip",
        consecutive=8,
    ):
        if (batch_size is None) == (tokens is None):
            raise ValueError(f"Plan: give `batch_size` or `tokens`; got batch_size={batch_size}, tokens={tokens}.")
        self.batch_size = batch_size and _checks.positive_int("Plan", "batch_size", batch_size)
        self.tokens = tokens and _checks.positive_int("Plan", "tokens", tokens)
        self.max_shapes = _checks.positive_int("Plan", "max_shapes", max_shapes)
        self.seed = _checks.non_negative_int("Plan", "seed", seed)
        self.consecutive = _checks.positive_int("Plan", "consecutive", consecutive)
        self.shuffle = shuffle
        _checks.one_of("Plan", "longer", longer, ("clip", "drop"))
        self.examples = _count(lengths, examples)
        # A row of no tokens still takes one position: a tensor without any breaks more than it saves.
        lengths = {name: np.maximum(np.asarray(value, np.int64), 1) for name, value in lengths.items()}
        long = {name: lengths[name] > bound for name, bound in _bounds(lengths, max_length).items()}
        over = np.any(list(long.values()), axis=0) if long else np.zeros(self.examples, bool)
        self.clipped = int(over.sum()) if longer == "clip" else 0
        self.dropped = int(over.sum()) if longer == "drop" else 0
        self._rows = np.flatnonzero(~over) if longer == "drop" else np.arange(self.examples)
        if not len(self._rows):
            raise ValueError(
                f"Plan: no example is left to plan; got {self.examples}, of which {self.dropped} are longer than "
                f"max_length={max_length}."
            )
        bounds = _bounds(lengths, max_length)
        self._lengths = {
            name: np.minimum(value[self._rows], bounds.get(name, np.inf)).astype(np.int64)
            for name, value in lengths.items()
        }
        self.shapes = shape_choice.choose(self._lengths, self._rows_for, self.max_shapes)
        dense = np.zeros(len(self._rows), np.int64)
        self._shape_of = shape_choice.assign(self._lengths, self.shapes) if self._lengths else dense

    @classmethod
    def of(cls, corpus, **options):
        """Returns the plan of a `Corpus`; `options` are the arguments above but `lengths` and `examples`."""
        return cls(corpus.lengths(), examples=len(corpus), **options)

    @property
    def steps(self):
        """Number of batches of an epoch, the same in every epoch."""
        return len(self._first)

    @property
    def batches_per_shape(self):
        """Number of batches of each shape in an epoch."""
        return np.bincount([batch.shape_index for batch in self._first], minlength=len(self.shapes)).tolist()

    @property
    def share_real(self):
        """Share of the positions of an epoch's batches that hold a real token (or, in dense data, a real example)."""
        cells = sum(self.shapes[batch.shape_index].rows * self.shapes[batch.shape_index].cells for batch in self._first)
        return int(sum(value.sum() for value in self._lengths.values()) or len(self._rows)) / cells

    def epoch(self, epoch):
        """Returns the list of `Batch` of epoch number `epoch`."""
        _checks.non_negative_int("Plan.epoch", "epoch", epoch)
        groups = self._groups(self._order(epoch, 0, len(self._rows)))
        batches = [
            [Batch(index, rows) for rows in group.reshape(-1, shape.rows)]
            for index, (shape, group) in enumerate(zip(self.shapes, groups))
        ]
        runs = [
            group[start : start + self.consecutive]
            for group in batches
            for start in range(0, len(group), self.consecutive)
        ]
        return [batch for run in self._order(epoch, 1, len(runs)) for batch in runs[run]]

    def _groups(self, order):
        """Returns the rows of each shape in whole batches, int32: each shape is filled up from the shorter ones."""
        groups = [order[self._shape_of[order] == index] for index in range(len(self.shapes))]
        for index in reversed(range(len(groups))):
            missing, shorter = -len(groups[index]) % self.shapes[index].rows, index
            while missing and shorter:
                shorter -= 1
                groups[shorter], joining = np.split(groups[shorter], [max(0, len(groups[shorter]) - missing)])
                groups[index] = np.concatenate([groups[index], joining])
                missing -= len(joining)
            if not self.shuffle:
                groups[index].sort()
            fillers = np.full(missing, -1, np.int32)
            groups[index] = np.concatenate([self._rows[groups[index]].astype(np.int32), fillers])
        return groups

    @functools.cached_property
    def _first(self):
        return self.epoch(0)

    def _order(self, epoch, purpose, count):
        return permutation(self.seed, epoch, purpose, count) if self.shuffle else np.arange(count)

    def _rows_for(self, lengths):
        if self.batch_size:
            return min(self.batch_size, len(self._rows))
        rows = self.tokens // max(lengths.values(), default=1)
        if rows < 1:
            raise ValueError(
                f"Plan: `tokens` must hold the longest row; got tokens={self.tokens}, lengths={lengths}. "
                f"Try tokens={max(lengths.values())}, or max_length={self.tokens}."
            )
        rows = rows - rows % 8 if rows > 8 else rows
        return min(rows, len(self._rows))


def permutation(seed, epoch, purpose, count):
    """Returns the numbers below `count` in an order that follows from the other arguments alone, int64 `[count]`."""
    # Raw bits: NumPy promises that they never change, which it does not of its `permutation`.
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch, purpose])).random_raw(count)
    return np.argsort(bits, kind="stable")


def _count(lengths, examples):
    counts = {name: len(value) for name, value in lengths.items()}
    if examples is not None:
        counts["examples"] = _checks.non_negative_int("Plan", "examples", examples)
    if len(set(counts.values())) != 1:
        raise ValueError(
            "Plan: `lengths` and `examples` must agree, and one of them must say how many examples there are; "
            f"got {counts}."
        )
    return next(iter(counts.values()))


def _bounds(lengths, max_length):
    if max_length is None:
        return {}
    if not isinstance(max_length, dict):
        max_length = {name: max_length for name in lengths}
    for name, bound in max_length.items():
        _checks.one_of("Plan", "max_length", name, tuple(lengths))
        _checks.positive_int("Plan", f"max_length[{name!r}]", bound)
    return max_length
