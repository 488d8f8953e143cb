"""Few shapes instead of many, because every new shape costs a compilation."""

import numpy as np


def batch_bucket(rows: int) -> int:
    """Returns the number of rows that a batch of `rows` is filled up to: the next power of two."""
    return 1 << max(0, rows - 1).bit_length()


def length_bucket(length: int, most: int | None = None) -> int:
    """Returns the length that `length` is filled up to: the next of 8, 12, 16, 24, 32, 48 ..., at most `most`."""
    power = 1 << max(3, (length - 1).bit_length())
    fitting = power * 3 // 4 if length <= power * 3 // 4 and power > 8 else power
    return fitting if most is None else max(length, min(fitting, most))


def fill_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """Repeats the first row until there are `rows`: what stands there is thrown away, and must be harmless."""
    return np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)]) if len(array) < rows else array


def fill_length(array: np.ndarray, length: int, value) -> np.ndarray:
    """Fills axis 1 up to `length` with `value`."""
    widths = [(0, 0)] * array.ndim
    widths[1] = (0, max(0, length - array.shape[1]))
    return np.pad(array, widths, constant_values=value)
