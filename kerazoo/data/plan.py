"""Batches of a few static shapes: which examples share a batch, as a pure function of the seed and the epoch."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks

MAX_CANDIDATES = 2000  # candidate shapes; the search is quadratic in their number
NO_BOUND = np.iinfo(np.int64).max
MIN_GAIN = 0.01  # a further shape must save this fraction of the positions, for each one is compiled on its own


@dataclasses.dataclass(frozen=True)
class Shape:
    """One static batch shape.

    Args:
        rows: integer. Number of rows of a batch.
        lengths: dictionary of ragged feature to the length that its rows are padded to; empty for dense data.
        segments: integer. Largest number of examples that share a row, `0` if each has its own. Defaults to `0`.
    """

    rows: int
    lengths: dict[str, int]
    segments: int = 0

    @property
    def cells(self) -> int:
        """Token positions of one row over all ragged features; 1 for dense data."""
        return sum(self.lengths.values()) or 1


class Batch(NamedTuple):
    """The examples of one batch.

    Args:
        shape_index: integer. Index of the batch's shape in `plan.shapes`.
        rows: int32 `[rows]`, the examples; fewer in the last batch of an epoch, which holds what is left. If examples
            share rows: int32 `[rows, segments]`, -1 for no further example.
    """

    shape_index: int
    rows: np.ndarray


class Plan:
    """Batches of a few static shapes that waste little padding.

    Each example belongs to the first of the chosen shapes that holds it. If the examples of a shape do not fill its
    last batch, some of the next shorter shape join them. All batches of a shape have the same number of rows, apart
    from one of the shortest, which holds the examples that are left and ends the epoch. `epoch(e)` is a pure function
    of `(seed, e)`, so a resumed run computes where it was.

    Args:
        lengths: dictionary of ragged feature to an int array `[N]` of its row lengths, as `corpus.lengths()` returns
            it; an empty dictionary for dense data, which needs `examples`.
        batch_size: integer above 0 or `None`. Examples of a batch. Give either this or `tokens`. Defaults to `None`.
        tokens: integer above 0 or `None`. Padded tokens of a batch in its longest feature, so batches of short examples
            have more rows. Defaults to `None`.
        max_shapes: integer above 0. Largest number of static shapes, each of which is compiled; fewer are chosen if a
            further one saves less than 1 % of the positions. 4 suits short trainings, 8 long ones. Defaults to `4`.
        seed: integer of at least 0. Every epoch's order depends on it. Defaults to `0`.
        examples: integer or `None`. Number of examples; required if `lengths` is empty. Defaults to `None`.
        shuffle: bool. `False` keeps the examples in their order, one shape after the other, in every epoch, for
            evaluation. Defaults to `True`.
        max_length: integer, dictionary of feature to integer, or `None` for no bound. Largest number of tokens of a
            row. Defaults to `None`.
        longer: string. `"clip"` truncates longer rows, `"drop"` leaves the example out. `clipped` and `dropped` count
            the examples. Defaults to `"clip"`.
        consecutive: integer above 0. How many batches of the same shape follow each other, as far as there are so many,
            for several steps in one compiled program. Defaults to `8`.

    Raises:
        ValueError: if no example is left, or an argument is out of its range.

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
        lengths: Mapping[str, np.ndarray],
        batch_size: int | None = None,
        *,
        tokens: int | None = None,
        max_shapes: int = 4,
        seed: int = 0,
        examples: int | None = None,
        shuffle: bool = True,
        max_length: int | Mapping[str, int] | None = None,
        longer: str = "clip",
        consecutive: int = 8,
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
        bounds = _bounds(lengths, max_length)
        long = [lengths[name] > bound for name, bound in bounds.items()]
        over = np.any(long, axis=0) if long else np.zeros(self.examples, bool)
        self.clipped = int(over.sum()) if longer == "clip" else 0
        self.dropped = int(over.sum()) if longer == "drop" else 0
        self._rows = np.flatnonzero(~over) if longer == "drop" else np.arange(self.examples)
        if not len(self._rows):
            raise ValueError(
                f"Plan: no example is left to plan; got {self.examples}, of which {self.dropped} are longer than "
                f"max_length={max_length}."
            )
        self._lengths = {
            name: np.minimum(value[self._rows], bounds.get(name, NO_BOUND)).astype(np.int64)
            for name, value in lengths.items()
        }
        self.shapes = choose_shapes(self._lengths, self._rows_for, self.max_shapes)
        dense = np.zeros(len(self._rows), np.int64)
        self._shape_of = assign_shapes(self._lengths, self.shapes) if self._lengths else dense

    @classmethod
    def of(cls, corpus: Any, **options: Any) -> "Plan":
        """Returns the plan of a `Corpus`; `options` are the arguments above except `lengths` and `examples`."""
        return cls(corpus.lengths(), examples=len(corpus), **options)

    @property
    def steps(self) -> int:
        """Number of batches of an epoch, the same in every epoch."""
        return len(self._first)

    @property
    def batches_per_shape(self) -> list[int]:
        """Number of batches of each shape in an epoch."""
        return np.bincount([batch.shape_index for batch in self._first], minlength=len(self.shapes)).tolist()

    @property
    def valid_fraction(self) -> float:
        """Fraction of the positions of an epoch's batches that are not padding."""
        cells = sum(len(batch.rows) * self.shapes[batch.shape_index].cells for batch in self._first)
        return int(sum(value.sum() for value in self._lengths.values()) or len(self._rows)) / cells

    def epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of epoch number `epoch`, an integer of at least 0."""
        _checks.non_negative_int("Plan.epoch", "epoch", epoch)
        groups = self._groups(self._order(epoch, 0, len(self._rows)))
        batches = [
            [Batch(index, group[start : start + shape.rows]) for start in range(0, len(group), shape.rows)]
            for index, (shape, group) in enumerate(zip(self.shapes, groups))
        ]
        short = []
        if self.shuffle:
            short = [
                group.pop() for group, shape in zip(batches, self.shapes) if group and len(group[-1].rows) < shape.rows
            ]
        runs = [
            group[start : start + self.consecutive]
            for group in batches
            for start in range(0, len(group), self.consecutive)
        ]
        return [batch for run in self._order(epoch, 1, len(runs)) for batch in runs[run]] + short

    def _groups(self, order):
        """Returns the rows of each shape, int32; each shape is filled up from the shorter ones to whole batches."""
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
            groups[index] = self._rows[groups[index]].astype(np.int32)
        return groups

    @functools.cached_property
    def _first(self):
        return self.epoch(0)

    def _order(self, epoch, purpose, count):
        return permutation(self.seed, epoch, purpose, count) if self.shuffle else np.arange(count)

    def _rows_for(self, lengths):
        if self.batch_size:
            return min(self.batch_size, len(self._rows))
        rows = (self.tokens or 0) // max(lengths.values(), default=1)
        if rows < 1:
            raise ValueError(
                f"Plan: `tokens` must hold the longest row; got tokens={self.tokens}, lengths={lengths}. "
                f"Try tokens={max(lengths.values())}, or max_length={self.tokens}."
            )
        rows = rows - rows % 8 if rows > 8 else rows
        return min(rows, len(self._rows))


def permutation(seed: int, epoch: int, purpose: int, count: int) -> np.ndarray:
    """Returns a permutation of the numbers below `count`, int64 `[count]`, a pure function of the arguments."""
    # Raw bits: NumPy promises that they never change, which it does not of its `permutation`.
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch, purpose])).random_raw(count)
    return np.argsort(bits, kind="stable")


def _count(lengths, examples):
    counts = {name: len(value) for name, value in lengths.items()}
    if examples is not None:
        counts["examples"] = _checks.non_negative_int("Plan", "examples", examples)
    if len(set(counts.values())) != 1:
        raise ValueError(
            "Plan: `lengths` and `examples` must agree, and one of them must give the number of examples; "
            f"got {counts}."
        )
    return next(iter(counts.values()))


def _bounds(lengths, max_length) -> dict[str, int]:
    if max_length is None:
        return {}
    if not isinstance(max_length, Mapping):
        max_length = {name: max_length for name in lengths}
    for name, bound in max_length.items():
        _checks.one_of("Plan", "max_length", name, tuple(lengths))
        _checks.positive_int("Plan", f"max_length[{name!r}]", bound)
    return dict(max_length)


def choose_shapes(
    lengths: Mapping[str, np.ndarray], rows_for: Callable[[dict[str, int]], int], max_shapes: int
) -> list[Shape]:
    """Returns the shapes that hold every example with the fewest padded positions.

    The shapes form a chain: each is at least as long as the one before in every feature, so examples of one can always
    fill up a batch of the next. An example belongs to the first shape that holds it. Among all chains over a grid
    of quantiles of the lengths, dynamic programming finds the one with the fewest positions; a chain with fewer shapes
    is preferred if it costs hardly more.

    Args:
        lengths: dictionary of feature to an int array `[N]` of values of at least 1.
        rows_for: function of a dictionary of lengths that returns the rows of a batch of that shape.
        max_shapes: integer. Largest number of shapes.

    Returns:
        A list of `Shape`, shortest first.
    """
    names = list(lengths)
    if not names:
        return [Shape(rows_for({}), {})]
    grids = [_candidates(lengths[name], max(2, int(MAX_CANDIDATES ** (1 / len(names))))) for name in names]
    fitting = _count_fitting(lengths, names, grids)
    points = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(names))  # [P, F]
    rows = np.array([rows_for(dict(zip(names, point))) for point in points.tolist()])
    chain = _cheapest_chain(points, fitting.reshape(-1), rows, max_shapes)
    return [Shape(int(rows[p]), dict(zip(names, points[p].tolist()))) for p in chain]


def assign_shapes(lengths: Mapping[str, np.ndarray], shapes: Sequence[Shape]) -> np.ndarray:
    """Returns the index of the first shape that holds each example, int64 `[N]`, for one or more features."""
    holds = [
        np.all([lengths[name] <= length for name, length in shape.lengths.items()], axis=0) for shape in shapes
    ]  # [shapes, N]
    return np.argmax(holds, axis=0)


def _candidates(lengths, count):
    """Returns at most `count` of the lengths that occur, the longest among them."""
    occurring = np.unique(lengths)
    if len(occurring) <= count:
        return occurring
    half = count // 2
    crowded = np.quantile(lengths, np.linspace(0, 1, half), method="higher")
    spread = occurring[np.linspace(0, len(occurring) - 1, half).astype(int)]  # the long tail has few examples
    return np.unique(np.concatenate([crowded, spread]))


def _count_fitting(lengths, names, grids):
    """Returns how many examples fit into each point of the grid, `[G1, G2, ...]`."""
    sizes = [len(grid) for grid in grids]
    cells = np.ravel_multi_index([np.searchsorted(grid, lengths[name]) for name, grid in zip(names, grids)], sizes)
    counts = np.bincount(cells, minlength=int(np.prod(sizes))).reshape(sizes)
    for axis in range(len(sizes)):
        counts = np.cumsum(counts, axis=axis)
    return counts


def _cheapest_chain(points, fitting, rows, max_shapes):
    """Returns the indices of the points of the cheapest chain that ends in the last point."""
    cells = points.sum(axis=1)
    follows = np.all(points[:, None] >= points[None], axis=-1)  # [P, Q]: whether P can follow Q
    # The examples that are new in P, and the half batch on average that joins it from Q and is padded to P's length.
    step = (fitting[:, None] - fitting[None]) * cells[:, None] + (rows[:, None] // 2) * (cells[:, None] - cells[None])
    step = np.where(follows, step, np.inf)
    np.fill_diagonal(step, np.inf)
    cost = fitting * cells.astype(float)  # [P]: everything so far in one shape
    chains = [(cost[-1], [len(points) - 1])]
    origins = []
    for _ in range(min(max_shapes, len(points)) - 1):  # a chain has no point twice
        total = step + cost[None]
        origins.append(np.argmin(total, axis=1))
        cost = total.min(axis=1)
        chain = [len(points) - 1]
        for origin in reversed(origins):
            chain.append(int(origin[chain[-1]]))
        chains.append((cost[-1], chain[::-1]))
    best = chains[0]
    for candidate in chains[1:]:
        if candidate[0] < best[0] * (1 - MIN_GAIN):
            best = candidate
    return best[1]
