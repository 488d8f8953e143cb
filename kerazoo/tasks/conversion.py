"""What a task makes of raw examples: the arrays of a corpus, without the examples that cannot be read."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk
from kerazoo.tasks.feature import Feature, Unseen

if TYPE_CHECKING:
    from kerazoo.tasks.task import Task

MAX_NAMED = 10  # skipped examples of a split that are printed


class Converter:
    """A function of a chunk of raw examples that returns its arrays, and notes on what it did with them.

    Args:
        task: `Task`. It is fitted.
        split: string. What the chunks are examples of.
        features: dict of array name to `Feature`. What the arrays are made by.
        windows: bool. Whether texts are cut into the windows of the target. Defaults to `False`.
    """

    def __init__(self, task: "Task", split: str, features: Mapping[str, Feature], windows: bool = False):
        self.task = task
        self.split = split
        self.features = features
        self.windows = windows
        self.named = 0  # examples that were skipped, of which the first are printed

    def __call__(self, chunk: Chunk) -> tuple[dict[str, Any], dict[str, int]]:
        """Converts a chunk.

        Returns:
            The arrays by name, and the numbers of examples that were `clipped`, `skipped` and, where there are any,
            `unseen`.

        Raises:
            DataError: if an example cannot be read and may not be left out.
        """
        converted = {name: each.convert(chunk.columns, chunk.continues) for name, each in self.features.items()}
        values = {name: each.values for name, each in converted.items()}
        clipped = [each.clipped for each in converted.values() if each.clipped is not None]
        faults: dict[int, str] = {}
        for each in reversed(converted.values()):
            faults |= each.faults
        unseen = 0
        if faults:
            unseen = self._refuse(chunk, faults)
            kept = np.setdiff1d(np.arange(len(next(iter(values.values())))), list(faults))
            values = {name: v.take(kept) if hasattr(v, "offsets") else v[kept] for name, v in values.items()}
            clipped = [each[kept] for each in clipped]
        if self.windows:
            values = {name: self.task.targets.windows(rows, training=True) for name, rows in values.items()}
        notes = {"clipped": int(np.count_nonzero(np.logical_or.reduce(clipped)))} if clipped else {}
        return values, {**notes, "skipped": len(faults) - unseen, **({"unseen": unseen} if unseen else {})}

    def _refuse(self, chunk, faults):
        """Raises a DataError of the first fault that may not be left out, and returns the number of unseen classes."""
        task = self.task
        unseen = {row for row, fault in faults.items() if isinstance(fault, Unseen)}
        bad = set(faults) - unseen if task.bad_lines == "stop" else set()
        refused = bad | unseen if self.split == "train" else bad
        if refused:
            row = min(refused)
            where = chunk.locations[row] if chunk.locations else f"{task.owner}, {self.split}"
            fault = faults[row] if faults[row].startswith(where) else f"{where}: {faults[row]}"
            if row in unseen:  # of a run whose data changed, or of a stream
                fault += " That is what the run was fitted to at its beginning. Start a new run for more classes."
            elif "bad_lines" in task.options:
                fault += " Correct it, or say bad_lines='skip' to leave such examples out."
            raise _checks.DataError(fault)
        if task.bad_lines == "skip":
            self._name([faults[row] for row in sorted(set(faults) - unseen)])
        return len(unseen)

    def _name(self, faults):
        """Prints the first faults that are skipped on standard error."""
        before, self.named = self.named, self.named + len(faults)
        for fault in faults[: max(0, MAX_NAMED - before)]:
            print(f"skipped: {fault}", file=sys.stderr, flush=True)
        if before <= MAX_NAMED < self.named:
            print("skipped: others are counted without their names.", file=sys.stderr, flush=True)
