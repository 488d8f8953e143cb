"""Sequence packing: several examples in one row, so that hardly a position is padding."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data.plan import Batch, Shape, permutation

ROW_EXAMPLES = 2  # a row has this many times the positions of the longest example by default: enough for little waste


class PackedPlan:
    """Batches of one static shape in which several examples share a row.

    Rows are filled once: the longest remaining example starts a row, then the example that leaves the fewest positions
    free is added until none fits. Only the lengths that share a row are fixed: in every epoch the examples of equal
    length are permuted, and the rows are shuffled. `epoch(e)` is a pure function of `(seed, e)`, and all epochs have
    the same number of batches, of which the last holds the rows that are left. The model must keep the examples of a
    row apart: `batches` returns the number of the example at each position as `NAME_segments`, counted from 1, 0 for
    padding.

    Args:
        lengths: dictionary of ragged feature to an int array `[N]` of its row lengths, as `corpus.lengths()` returns
            it.
        batch_size: integer above 0 or `None`. Approximate number of examples of a batch: it has as many rows as hold
            them on average. Give either this or `tokens`. Defaults to `None`.
        tokens: integer above 0 or `None`. Positions of a batch in its longest feature. Defaults to `None`.
        seed: integer of at least 0. Every epoch's order depends on it. Defaults to `0`.
        row_length: integer or `None`. Positions of a row in its longest feature, at least the length of the longest
            example. Longer rows waste less and cost more attention. `None` means twice the longest example. Defaults to
            `None`.

    Raises:
        ValueError: if there is no ragged feature or no example, or an argument is out of its range.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    plan = kz.data.PackedPlan({"source": np.array([3, 9, 4, 8, 5, 7])}, batch_size=4)
    print(plan.shapes, plan.valid_fraction)
    print(plan.epoch(0)[0].rows)  # -1 for no further example
    ```

    Reference:
        Krell, Kosec, Perez, Fitzgibbon (2021), Efficient Sequence Packing without Cross-contamination,
        arXiv:2107.02027.
    """

    def __init__(
        self,
        lengths: Mapping[str, np.ndarray],
        batch_size: int | None = None,
        *,
        tokens: int | None = None,
        seed: int = 0,
        row_length: int | None = None,
    ):
        if (batch_size is None) == (tokens is None):
            raise ValueError(
                f"PackedPlan: give `batch_size` or `tokens`; got batch_size={batch_size}, tokens={tokens}."
            )
        self.seed = _checks.non_negative_int("PackedPlan", "seed", seed)
        names = list(lengths)
        if not names or not len(lengths[names[0]]):
            raise ValueError(
                f"PackedPlan: `lengths` must hold a ragged feature with an example; got {names or 'no feature'}."
            )
        # A row of no tokens still takes one position, as in a `Plan`.
        sizes = np.stack([np.maximum(np.asarray(lengths[name], np.int64), 1) for name in names], axis=1)  # [N, F]
        capacity = _row_capacity(sizes, row_length)  # [F]
        kinds, self._kind = np.unique(sizes, axis=0, return_inverse=True)  # a kind: examples of equal lengths
        self._kind = self._kind.reshape(-1)
        packed = pack_lengths(kinds, np.bincount(self._kind), capacity)
        self._slots = np.full((len(packed), max(map(len, packed))), -1, np.int64)  # [R, P]: kinds that share a row
        for slots, row in zip(self._slots, packed):
            slots[: len(row)] = row
        if batch_size:
            size = _checks.positive_int("PackedPlan", "batch_size", batch_size)
            rows = max(1, round(size * len(packed) / len(sizes)))
        else:
            rows = max(1, _checks.positive_int("PackedPlan", "tokens", tokens) // int(capacity.max()))
        rows = min(rows, len(packed))
        self.shapes = [Shape(rows, dict(zip(names, capacity.tolist())), self._slots.shape[1])]
        self._valid = int(sizes.sum())

    @classmethod
    def of(cls, corpus: Any, **options: Any) -> "PackedPlan":
        """Returns the plan of a `Corpus`; `options` are the arguments above except `lengths`.

        Raises:
            ValueError: if a feature has no length, so that it cannot share a row.
        """
        dense = [name for name in corpus.features if name not in corpus.length_names]
        if dense:
            raise ValueError(
                f"PackedPlan: every feature must be ragged to share rows; got {', '.join(dense)} without lengths. "
                "Train without packing."
            )
        return cls(corpus.lengths(), **options)

    @property
    def steps(self) -> int:
        """Number of batches of an epoch, the same in every epoch."""
        return -(-len(self._slots) // self.shapes[0].rows)

    @property
    def batches_per_shape(self) -> list[int]:
        """Number of batches of the one shape in an epoch."""
        return [self.steps]

    @property
    def valid_fraction(self) -> float:
        """Fraction of the positions of an epoch's batches that are not padding."""
        return self._valid / (len(self._slots) * self.shapes[0].cells)

    def epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of epoch number `epoch`; their rows are int32 `[rows, P]`, -1 for no example."""
        _checks.non_negative_int("PackedPlan.epoch", "epoch", epoch)
        order = permutation(self.seed, epoch, 0, len(self._kind))
        order = order[np.argsort(self._kind[order], kind="stable")]  # by kind, shuffled within each
        flat = self._slots.reshape(-1)
        filled = np.argsort(flat, kind="stable")[np.count_nonzero(flat < 0) :]  # by kind, without the empty slots
        rows = np.full(flat.shape, -1, np.int32)
        rows[filled] = order
        rows = rows.reshape(self._slots.shape)[permutation(self.seed, epoch, 1, len(self._slots))]
        size = self.shapes[0].rows
        return [Batch(0, rows[start : start + size]) for start in range(0, len(rows), size)]


def pack_lengths(kinds: np.ndarray, counts: np.ndarray, capacity: np.ndarray) -> list[list[int]]:
    """Returns rows of kinds of examples that contain every example once.

    Args:
        kinds: int array `[K, F]` of distinct lengths of F features, above 0 and at most `capacity`.
        counts: int array `[K]`. Number of examples of each kind.
        capacity: int array `[F]`. Positions of a row.

    Returns:
        A list of lists of indices into `kinds`, the same list several times if rows repeat.
    """
    ids = np.argsort(-(kinds / capacity).max(axis=1), kind="stable")  # the largest first
    sizes = np.ascontiguousarray(kinds[ids].T)  # [F, K]
    left = np.array(counts)[ids]
    rows = []
    while len(ids):
        row = _best_row(sizes, left.copy(), capacity)
        used = np.bincount(row, minlength=len(ids))
        # The row repeats while there is plenty: half of what is left, so that the last rows still have a choice.
        times = max(1, int((left[used > 0] // used[used > 0]).min()) // 2)
        rows += [ids[row].tolist()] * times
        left -= used * times
        if not left.all():
            ids, sizes, left = ids[left > 0], np.ascontiguousarray(sizes[:, left > 0]), left[left > 0]
    return rows


def _best_row(sizes, left, capacity):
    row, free = [], capacity.astype(np.float64)
    chosen = 0
    while True:
        row.append(chosen)
        left[chosen] -= 1
        free -= sizes[:, chosen]
        slack = (free[0] - sizes[0]) / capacity[0]
        fits = (left > 0) & (slack >= 0)
        for size, space, whole in zip(sizes[1:], free[1:], capacity[1:]):
            other = (space - size) / whole
            fits &= other >= 0
            np.maximum(slack, other, out=slack)
        if not fits.any():
            return row
        chosen = int(np.argmin(np.where(fits, slack, np.inf)))


def _row_capacity(sizes, row_length):
    """Returns the positions of a row in each feature, int `[F]`, in the proportion of all their tokens."""
    max_lengths, total = sizes.max(axis=0), sizes.sum(axis=0)
    if row_length is None:
        row_length = ROW_EXAMPLES * int(max_lengths.max())
    row_length = _checks.positive_int("PackedPlan", "row_length", row_length)
    if row_length < max_lengths.max():
        raise ValueError(
            f"PackedPlan: `row_length` must hold the longest example; got row_length={row_length}, longest "
            f"{int(max_lengths.max())}. Try row_length={ROW_EXAMPLES * int(max_lengths.max())}."
        )
    return np.maximum(np.ceil(row_length * total / total.max()).astype(np.int64), max_lengths)
