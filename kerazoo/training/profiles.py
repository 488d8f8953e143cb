"""A profile of some steps of a training, for TensorBoard."""

import os

import keras

from kerazoo import _checks
from kerazoo.training.blocks import backend


class Profile(keras.callbacks.Callback):
    """Records what the devices do in the blocks that hold some steps, for the profile page of TensorBoard.

    A block that compiles tells little: let the first step be one of the later ones.

    Args:
        folder: string or path. Where the profile is written.
        first: int, above 0. The first step, counted over all epochs from 1.
        last: int, at least `first`. The last step.

    Raises:
        ValueError: if the steps are out of their range.

    Example:

    ```python
    import kerazoo as kz

    callbacks = [kz.training.Profile("profile", first=100, last=110)]
    ```
    """

    def __init__(self, folder: str | os.PathLike, first: int, last: int):
        super().__init__()
        self.folder = os.fspath(folder)
        self.first = _checks.positive_int("Profile", "first", first)
        self.last = _checks.positive_int("Profile", "last", last)
        if last < first:
            raise ValueError(f"Profile: `last` must be at least `first`; got first={first}, last={last}.")
        self._running = False

    def on_train_batch_end(self, batch: int, logs: dict | None = None):
        """Begins before the block of the first step, and ends after that of the last."""
        step = self.params["step"]
        if self._running and step >= self.last:
            self.on_train_interrupted()
        elif not self._running and step < self.last and step + self._steps() >= self.first:
            backend().start_profile(self.folder)
            self._running = True

    def on_train_end(self, logs: dict | None = None):
        """Ends a profile that is not complete."""
        self.on_train_interrupted()

    def on_train_interrupted(self):
        """Ends a profile that is not complete."""
        if self._running:
            backend().stop_profile()
            self._running = False

    def _steps(self):
        """Returns the steps of the next block at most, if it has those of the last one."""
        _, first, end = self.params["block"]
        return end - first
