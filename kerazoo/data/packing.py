"""Several examples in one row: which share a row, in which order, and how such rows are made."""

import numpy as np

from kerazoo import _checks
from kerazoo.data.plan import Batch, permutation
from kerazoo.data.shapes import Shape

ROOM = 2  # a row holds this many of the longest example unless told otherwise: enough for little waste


class PackedPlan:
    """Batches of one static shape in which several examples share a row, so that hardly a position is padding.

    Rows are filled once: the longest example that is left starts a row, and whichever leaves the least room joins it
    until nothing fits. What is fixed are the lengths that share a row, not the examples: in every epoch the examples of
    one length change places, and the rows are shuffled. `epoch(e)` is a pure function of `(seed, e)`, and all epochs
    have the same number of batches. The model must keep the examples of a row apart: `batches` gives the number of each
    position's example as `NAME_segments`, counted from 1, 0 for padding.

    Args:
        lengths: Dictionary of ragged feature to the int array `[N]` of its row lengths (`corpus.lengths()`).
        batch_size: Examples of a batch, about: as many rows as hold them on average. Give either this or `tokens`.
        tokens: Positions of a batch in its longest feature.
        seed: Non-negative integer from which every epoch's order follows.
        row_length: Positions of a row in its longest feature, no fewer than the longest example has; twice as many by
            default. Longer rows waste less and cost more attention.

    Raises:
        ValueError: There is no ragged feature, no example, or an argument is out of its range.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    plan = kz.data.PackedPlan({"source": np.array([3, 9, 4, 8, 5, 7])}, batch_size=4)
    print(plan.shapes, plan.share_real)
    print(plan.epoch(0)[0].rows)  # -1 where no further example fits
    ```

    Reference:
        Krell, Kosec, Perez, Fitzgibbon (2021), Efficient Sequence Packing without Cross-contamination,
        arXiv:2107.02027 (packing by lengths instead of examples).
    """

    def __init__(self, lengths, batch_size=None, tokens=None, seed=0, row_length=None):
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
        room = _room(sizes, row_length)  # [F]
        kinds, self._kind = np.unique(sizes, axis=0, return_inverse=True)
        self._kind = self._kind.reshape(-1)
        packed = fill(kinds, np.bincount(self._kind), room)
        self._slots = np.full((len(packed), max(map(len, packed))), -1, np.int64)  # [R, P]: kinds that share a row
        for slots, row in zip(self._slots, packed):
            slots[: len(row)] = row
        if batch_size:
            size = _checks.positive_int("PackedPlan", "batch_size", batch_size)
            rows = max(1, round(size * len(packed) / len(sizes)))
        else:
            rows = max(1, _checks.positive_int("PackedPlan", "tokens", tokens) // int(room.max()))
        rows = min(rows, len(packed))
        self.shapes = [Shape(rows, dict(zip(names, room.tolist())), self._slots.shape[1])]
        self._real = int(sizes.sum())

    @classmethod
    def of(cls, corpus, **options):
        """Returns the plan of a `Corpus`; `options` are the arguments above but `lengths`.

        Raises:
            ValueError: A feature has no length, so it cannot share a row.
        """
        dense = [name for name in corpus.features if name not in corpus.length_names]
        if dense:
            raise ValueError(
                f"PackedPlan: every feature must be ragged to share rows; got {', '.join(dense)} without lengths. "
                "Train without packing."
            )
        return cls(corpus.lengths(), **options)

    @property
    def steps(self):
        """Number of batches of an epoch, the same in every epoch."""
        return -(-len(self._slots) // self.shapes[0].rows)

    @property
    def batches_per_shape(self):
        """Number of batches of the one shape in an epoch."""
        return [self.steps]

    @property
    def share_real(self):
        """Share of the positions of an epoch's batches that hold a real token."""
        return self._real / (self.steps * self.shapes[0].rows * self.shapes[0].cells)

    def epoch(self, epoch):
        """Returns the list of `Batch` of epoch number `epoch`; their rows are int32 `[rows, P]`, -1 for nothing."""
        _checks.non_negative_int("PackedPlan.epoch", "epoch", epoch)
        order = permutation(self.seed, epoch, 0, len(self._kind))
        order = order[np.argsort(self._kind[order], kind="stable")]  # by kind, shuffled within each
        flat = self._slots.reshape(-1)
        places = np.argsort(flat, kind="stable")[np.count_nonzero(flat < 0) :]  # by kind, the empty ones left out
        rows = np.full(flat.shape, -1, np.int32)
        rows[places] = order
        rows = rows.reshape(self._slots.shape)[permutation(self.seed, epoch, 1, len(self._slots))]
        size = self.shapes[0].rows
        fillers = np.full((self.steps * size - len(rows), rows.shape[1]), -1, np.int32)
        rows = np.concatenate([rows, fillers])
        return [Batch(0, rows[start : start + size]) for start in range(0, len(rows), size)]


def fill(kinds, counts, room):
    """Returns rows of kinds that hold every example.

    Args:
        kinds: Int array `[K, F]` of distinct lengths of F features, above 0 and at most `room`.
        counts: Int array `[K]`: how many examples there are of each kind.
        room: Int array `[F]`: positions of a row.

    Returns:
        List of lists of indices into `kinds`, the same list several times where rows repeat.
    """
    share = (kinds / room).max(axis=1)
    ids = np.argsort(-share, kind="stable")  # the largest first
    sizes = np.ascontiguousarray(kinds[ids].T)  # [F, K]
    left = np.array(counts)[ids]
    rows = []
    while len(ids):
        row = _best_row(sizes, left.copy(), room)
        used = np.bincount(row, minlength=len(ids))
        # The row repeats while there is plenty: half of what is left, so that the last rows still have a choice.
        times = max(1, int((left[used > 0] // used[used > 0]).min()) // 2)
        rows += [ids[row].tolist()] * times
        left -= used * times
        if not left.all():
            ids, sizes, left = ids[left > 0], np.ascontiguousarray(sizes[:, left > 0]), left[left > 0]
    return rows


def pack(feature, rows, length, pad=0):
    """Returns the chosen rows of a `Ragged`, several in each row of the result.

    Args:
        feature: A `Ragged`.
        rows: Integers `[B, P]`, negative ones, which stand last, for nothing.
        length: Width L of the result, enough for what shares a row.
        pad: The value behind the last.

    Returns:
        The values `[B, L]`, and int32 `[B, L]` that counts the rows from 1, 0 for padding.
    """
    starts = feature.offsets[np.maximum(rows, 0)]
    real = feature.offsets[np.maximum(rows, 0) + 1] - starts
    sizes = np.where(rows < 0, 0, np.maximum(real, 1))  # [B, P]
    ends = np.cumsum(sizes, axis=1)
    within = np.arange(length)
    index = np.sum(within >= ends[:, :, None], axis=1)  # [B, L]
    inside = index < rows.shape[1]
    chosen = np.minimum(index, rows.shape[1] - 1)
    within = within - np.take_along_axis(ends - sizes, chosen, axis=1)
    places = np.take_along_axis(starts, chosen, axis=1) + within
    values = np.full(inside.shape, pad, feature.values.dtype)
    held = inside & (within < np.take_along_axis(real, chosen, axis=1))
    values[held] = feature.values[places[held]]
    return values, np.where(inside, index + 1, 0).astype(np.int32)


def _best_row(sizes, left, room):
    row, room_left = [], room.astype(np.float64)
    chosen = 0
    while True:
        row.append(chosen)
        left[chosen] -= 1
        room_left -= sizes[:, chosen]
        slack = (room_left[0] - sizes[0]) / room[0]
        fits = (left > 0) & (slack >= 0)
        for size, space, whole in zip(sizes[1:], room_left[1:], room[1:]):
            other = (space - size) / whole
            fits &= other >= 0
            np.maximum(slack, other, out=slack)
        if not fits.any():
            return row
        chosen = int(np.argmin(np.where(fits, slack, np.inf)))


def _room(sizes, row_length):
    """Returns the positions of a row in each feature, int `[F]`, in the proportion of all their tokens."""
    longest, total = sizes.max(axis=0), sizes.sum(axis=0)
    if row_length is None:
        row_length = ROOM * int(longest.max())
    row_length = _checks.positive_int("PackedPlan", "row_length", row_length)
    if row_length < longest.max():
        raise ValueError(
            f"PackedPlan: `row_length` must hold the longest example; got row_length={row_length}, longest "
            f"{int(longest.max())}. Try row_length={ROOM * int(longest.max())}."
        )
    return np.maximum(np.ceil(row_length * total / total.max()).astype(np.int64), longest)
