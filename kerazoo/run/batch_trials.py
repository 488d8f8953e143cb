"""The number of tokens of a batch that a device trains fastest, found by short trials."""

import time
import types
from collections.abc import Callable
from typing import Any

import keras

from kerazoo.run import memory

FIRST = 512  # tokens of the smallest batch that is tried; each further one has twice as many
MIN_STEPS = 16  # of an epoch: larger batches are not tried
STEPS = 3  # that are timed; the first one compiles
GAIN = 1.05  # a larger batch must be that much faster


class _Clock(keras.callbacks.Callback):
    """Keeps the seconds of each step."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self._started)


def trials(model: keras.Model, compile_model: Callable, plan_of: Callable, **arguments: Any) -> list[tuple]:
    """Trains a model for a few steps with ever larger batches, and leaves its weights as they were.

    The trials end where larger batches are no faster, do not fit into the memory, or leave too few steps in an epoch.

    Args:
        model: A built `keras.Model`.
        compile_model: function that compiles the model.
        plan_of: function of a number of tokens that returns the `kerazoo.data.Plan` with such batches.
        **arguments: those of `kerazoo.training.fit` but the plan.

    Returns:
        List of the tokens of a batch and the valid tokens per second, smallest batch first.
    """
    from kerazoo.training import fit, variables

    rows: list[tuple[int, float]] = []
    tokens = FIRST
    while len(rows) < 3 or max(speed for _, speed in rows[-2:]) > GAIN * max(speed for _, speed in rows[:-2]):
        plan = plan_of(tokens)
        if rows and plan.steps < MIN_STEPS:
            break
        sizes = [shape.rows * shape.cells for shape in plan.shapes]
        largest = sizes.index(max(sizes))
        batches = ([batch for batch in plan.epoch(0) if batch.shape_index == largest] * (1 + STEPS))[: 1 + STEPS]
        few, clock = types.SimpleNamespace(shapes=plan.shapes, epoch=lambda epoch, few=batches: few), _Clock()
        try:
            with variables.unchanged(model):
                compile_model()
                fit(model, plan=few, callbacks=[clock], steps_per_execution=1, **arguments)
        except Exception as error:
            if not rows or memory.find_refusal(error) is None:
                raise
            break
        rows.append((tokens, sizes[largest] * plan.valid_fraction / min(clock.seconds[1:])))
        tokens *= 2
    return rows


def choose(rows: list[tuple]) -> int:
    """Returns the smallest number of tokens that is about as fast as the fastest."""
    fastest = max(speed for _, speed in rows)
    return next(tokens for tokens, speed in rows if GAIN * speed >= fastest)
