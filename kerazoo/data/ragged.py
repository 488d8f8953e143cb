"""Rows of unequal length in one array."""

import dataclasses
from collections.abc import Sequence

import numpy as np

Rows = Sequence[int] | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of unequal length, stored one after the other in one array.

    Row `i` is `values[offsets[i]:offsets[i + 1]]`. Reading a row copies nothing, so `values` may be mapped from a file
    that is larger than memory.

    Args:
        values: array `[N]` of any dtype, the concatenated rows; or `[N, ...]`, rows of vectors.
        offsets: one-dimensional int64 array with one entry more than there are rows, from 0 to `len(values)`.

    Raises:
        ValueError: if the offsets do not rise from 0 to the number of values.

    Example:

    ```python
    import kerazoo as kz

    rows = kz.data.Ragged.from_rows([[5, 6, 7], [8]])
    print(rows.lengths, rows[1], rows.padded([1, 0], length=3))
    ```
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self):
        if not self.values.ndim or self.offsets.ndim != 1:
            raise ValueError(
                f"Ragged: `values` must have an axis of positions and `offsets` one axis; got shapes "
                f"{self.values.shape}, {self.offsets.shape}."
            )
        ends = (int(self.offsets[0]), int(self.offsets[-1])) if len(self.offsets) else None
        if ends != (0, len(self.values)):
            raise ValueError(f"Ragged: `offsets` must run from 0 to {len(self.values)}; got first and last {ends}.")
        if not np.all(self.offsets[1:] >= self.offsets[:-1]):
            raise ValueError("Ragged: `offsets` must never fall; got a row of negative length.")

    @classmethod
    def from_lengths(cls, values: Sequence | np.ndarray, lengths: Rows) -> "Ragged":
        """Returns the rows of the given `lengths` that are concatenated in `values`."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(np.asarray(values), offsets)

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence | np.ndarray], dtype: type | np.dtype = np.int32) -> "Ragged":
        """Returns the rows of a list of sequences."""
        arrays = [np.asarray(row, dtype) for row in rows]
        values = np.concatenate(arrays) if arrays else np.zeros(0, dtype)
        return cls.from_lengths(values, [len(row) for row in arrays])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        row = range(len(self))[row]  # counts from the end and refuses an index out of range, as a list does
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """The length of every row, int64 `[rows]`."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of values and offsets."""
        return self.values.nbytes + self.offsets.nbytes

    def take(self, rows: Rows) -> "Ragged":
        """Returns the chosen rows, in the order of `rows`."""
        rows = np.asarray(rows, np.int64)
        lengths = self.lengths[rows]
        values = np.empty((int(lengths.sum()), *self.values.shape[1:]), self.values.dtype)
        result = Ragged.from_lengths(values, lengths)
        result.values[:] = self.values[np.repeat(self.offsets[rows], lengths) + positions_in_rows(lengths)]
        return result

    def append(self, value: int) -> "Ragged":
        """Returns the rows with `value` after the last entry of each."""
        return Ragged(
            np.insert(self.values, self.offsets[1:], value), self.offsets + np.arange(len(self.offsets))
        )  # the offset of row i moves by the i values that were inserted before it

    def clip(self, length: int) -> "Ragged":
        """Returns the first `length` entries of each row."""
        lengths = self.lengths
        return Ragged.from_lengths(self.values[positions_in_rows(lengths) < length], np.minimum(lengths, length))

    def padded(self, rows: Rows | None = None, length: int | None = None, pad: int = 0) -> np.ndarray:
        """Returns the chosen rows as one array.

        Args:
            rows: integers `[B]`. `None` means all rows. Defaults to `None`.
            length: integer. Length of the result; longer rows are truncated. `None` means that of the longest chosen
                row. Defaults to `None`.
            pad: integer. The value after the end of a row. Defaults to `0`.

        Returns:
            Array `[B, length, ...]` in the dtype of `values`.
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        if length is None:
            length = int(lengths.max(initial=0))
        within = np.arange(length)
        valid = within < lengths[:, None]  # [B, L]
        result = np.full((*valid.shape, *self.values.shape[1:]), pad, self.values.dtype)
        result[valid] = self.values[(self.offsets[rows][:, None] + within)[valid]]
        return result

    def packed(self, rows: np.ndarray, length: int, pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns the chosen rows as one array in which several share a row; a row without entries takes one position.

        Args:
            rows: integers `[B, P]`. Negative ones, which come last, stand for no row.
            length: integer. Length L of a row of the result, enough for the rows that share it.
            pad: integer. The value after the last of them. Defaults to `0`.

        Returns:
            The values `[B, L]`, and int32 `[B, L]` that counts the rows from 1, 0 for padding.
        """
        starts = self.offsets[np.maximum(rows, 0)]
        valid = self.offsets[np.maximum(rows, 0) + 1] - starts
        sizes = np.where(rows < 0, 0, np.maximum(valid, 1))  # [B, P]
        ends = np.cumsum(sizes, axis=1)
        within = np.arange(length)
        index = np.sum(within >= ends[:, :, None], axis=1)  # [B, L]
        inside = index < rows.shape[1]
        chosen = np.minimum(index, rows.shape[1] - 1)
        within = within - np.take_along_axis(ends - sizes, chosen, axis=1)
        positions = np.take_along_axis(starts, chosen, axis=1) + within
        values = np.full(inside.shape, pad, self.values.dtype)
        filled = inside & (within < np.take_along_axis(valid, chosen, axis=1))
        values[filled] = self.values[positions[filled]]
        return values, np.where(inside, index + 1, 0).astype(np.int32)


def positions_in_rows(lengths: np.ndarray) -> np.ndarray:
    """Returns the position in its row of each value of rows of some lengths, from 0, int64 `[sum of lengths]`."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
