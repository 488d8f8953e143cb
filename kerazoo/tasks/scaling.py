"""Mean and standard deviation of numbers that come in parts."""

from typing import Any

import numpy as np


class Sums:
    """Mean and standard deviation of rows that come in parts, exact where the numbers are large and close together."""

    def __init__(self):
        self.shift: Any = None
        self.count = 0
        self.total: Any = 0.0
        self.squares: Any = 0.0

    def add(self, rows: np.ndarray) -> None:
        """Adds rows float64 `[N, D]`."""
        if not len(rows):
            return
        if self.shift is None:
            self.shift = rows[0]
        rows = rows - self.shift
        self.count += len(rows)
        self.total = self.total + rows.sum(axis=0)
        self.squares = self.squares + (rows**2).sum(axis=0)

    def result(self) -> tuple[list[float], list[float]]:
        """Returns mean and standard deviation of each of the D numbers; a deviation of 0 becomes 1."""
        center = self.total / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - center**2, 0))
        return (center + self.shift).tolist(), np.where(deviation > 0, deviation, 1.0).tolist()
