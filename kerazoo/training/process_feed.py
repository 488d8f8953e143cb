"""Batches of a corpus of which each process reads the examples of its own devices."""

from typing import Any

import numpy as np

from kerazoo.training.device_feed import NARROWER, DeviceFeed
from kerazoo.training.stream_feed import MAX_BYTES, MAX_STEPS


class ProcessFeed(DeviceFeed):
    """The batches of a plan, the same as those of a `DeviceFeed`, whose examples the processes read from the corpus.

    All processes compute the same plan, so the batches are those of one process, and each of them reads only the rows
    that its devices hold. The arguments are those of `DeviceFeed`; the corpus needs a method `batch(rows, lengths)`
    (`kerazoo.data.Corpus`).

    Raises:
        ValueError: if the corpus has no such method.
    """

    def read(self, key: tuple[int, int], data: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the features of the rows `[...]` in `data` as arrays `[..., ...]`, and last which rows are valid.

        The last axis of `data` is that of the examples that share a row, if the plan has such rows.
        """
        (rows,) = data
        shape = self.plan.shapes[key[0]]
        shared = rows.shape[-1:] if getattr(shape, "segments", 0) else ()
        leading = rows.shape[: rows.ndim - len(shared)]
        features, valid = self.corpus.batch(rows.reshape(-1, *shared), shape.lengths)
        self.names = list(features)
        arrays = [*features.values(), valid]
        arrays = [array.astype(NARROWER.get(array.dtype.name, array.dtype), copy=False) for array in arrays]
        return [array.reshape(*leading, *array.shape[1:]) for array in arrays]

    def batch(self, arrays: Any, key: tuple[int, int], data: list, number: Any) -> Any:
        """Returns the batch of `data`, what was read, inside the program; `number` counts over all epochs."""
        del arrays, key
        *features, valid = data
        features = dict(zip(self.names, features, strict=True))
        batch = self.batch_fn(features if self.augment is None else self.augment(features, number), valid)
        return batch if self.change is None else self.change(batch)

    def capacity(self, key: tuple[int, int], data: list[np.ndarray]) -> int:
        """Returns the static number of batches in a block of shape `key`."""
        size = sum(array.nbytes for array in self.read(key, data))
        fitting = min(MAX_STEPS, self._capacities[key], MAX_BYTES // max(1, size))
        return 1 << max(0, fitting.bit_length() - 1)

    def _load(self, corpus: Any) -> tuple:
        if not hasattr(corpus, "batch"):
            raise ValueError(
                f"{self.owner}: a corpus that several processes read needs a method `batch`; got "
                f"{type(corpus).__name__}."
            )
        self.corpus = corpus
        return ()
