"""Rows of unequal length in one array."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of unequal length that lie one behind the other in one array.

    Row `i` is `values[offsets[i]:offsets[i + 1]]`. Nothing is copied to read a row, so `values` may be mapped from a
    file that is larger than memory.

    Args:
        values: One-dimensional array of any dtype, all rows one behind the other.
        offsets: One-dimensional int64 array with one entry more than there are rows, from 0 to `len(values)`.

    Raises:
        ValueError: The offsets do not rise from 0 to the number of values.

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
        if self.values.ndim != 1 or self.offsets.ndim != 1:
            raise ValueError(
                f"Ragged: `values` and `offsets` must have one axis; got shapes {self.values.shape}, "
                f"{self.offsets.shape}."
            )
        ends = (int(self.offsets[0]), int(self.offsets[-1])) if len(self.offsets) else None
        if ends != (0, len(self.values)):
            raise ValueError(f"Ragged: `offsets` must run from 0 to {len(self.values)}; got first and last {ends}.")
        if not np.all(self.offsets[1:] >= self.offsets[:-1]):
            raise ValueError("Ragged: `offsets` must never fall; got a row of negative length.")

    @classmethod
    def from_lengths(cls, values, lengths):
        """Returns the rows of the given `lengths` that lie one behind the other in `values`."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(np.asarray(values), offsets)

    @classmethod
    def from_rows(cls, rows, dtype=np.int32):
        """Returns the rows of a list of sequences."""
        rows = [np.asarray(row, dtype) for row in rows]
        values = np.concatenate(rows) if rows else np.zeros(0, dtype)
        return cls.from_lengths(values, [len(row) for row in rows])

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, row):
        row = range(len(self))[row]  # counts from the end and refuses what is outside, as a list does
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self):
        """The length of every row, int64 `[rows]`."""
        return np.diff(self.offsets)

    @property
    def nbytes(self):
        """Bytes of values and offsets."""
        return self.values.nbytes + self.offsets.nbytes

    def take(self, rows):
        """Returns the chosen rows, in the order of `rows`, as a new `Ragged`."""
        rows = np.asarray(rows, np.int64)
        lengths = self.lengths[rows]
        result = Ragged.from_lengths(np.empty(int(lengths.sum()), self.values.dtype), lengths)
        within = np.arange(len(result.values)) - np.repeat(result.offsets[:-1], lengths)
        result.values[:] = self.values[np.repeat(self.offsets[rows], lengths) + within]
        return result

    def append(self, value):
        """Returns the rows with `value` behind the last entry of each."""
        return Ragged(
            np.insert(self.values, self.offsets[1:], value), self.offsets + np.arange(len(self.offsets))
        )  # the offset of row i moves by the i values put in before it

    def clip(self, length):
        """Returns the rows cut off after `length` entries."""
        lengths = self.lengths
        within = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], lengths)
        return Ragged.from_lengths(self.values[within < length], np.minimum(lengths, length))

    def padded(self, rows=None, length=None, pad=0):
        """Returns the chosen rows as one array.

        Args:
            rows: Integers `[B]`; all rows by default.
            length: Width of the result; the longest chosen row by default. Longer rows are cut off.
            pad: The value behind the end of a row.

        Returns:
            `[B, length]` in the dtype of `values`.
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        if length is None:
            length = int(lengths.max(initial=0))
        within = np.arange(length)
        real = within < lengths[:, None]  # [B, L]
        result = np.full(real.shape, pad, self.values.dtype)
        result[real] = self.values[(self.offsets[rows][:, None] + within)[real]]
        return result
