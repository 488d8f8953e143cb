"""Weights from elsewhere: the mean of several checkpoints of a run."""

from kerazoo.transfer.averaging import average_checkpoints

__all__ = ["average_checkpoints"]
