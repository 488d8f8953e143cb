"""Blocks of optimizer steps: consecutive batches of one shape that one compiled program runs."""

import time
import typing
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kerazoo import _checks
from kerazoo.training import processes
from kerazoo.training.step_check import OUT_OF_RANGE, StepCheck

GROWTH = 4  # a block has at most this many times the steps of the one before it of the same shape


class Block(typing.NamedTuple):
    """Consecutive batches of one shape.

    `key` names the shape. `data` holds arrays `[capacity, ...]` whose first `steps` rows are the batches. `position`
    is the index of the first batch in its epoch, `number` its index among the batches of all epochs. `last` is True
    for the last block of an epoch.
    """

    key: Hashable
    data: list[np.ndarray]
    steps: int
    position: int
    number: int
    last: bool

    def batch(self, index: int) -> list[np.ndarray]:
        """Returns the data of one batch."""
        return [array[index] for array in self.data]


class Feed(typing.Protocol):
    """What a `BlockLoop` takes the batches of a training from.

    `arrays` are on the device and part of every batch, `steps_per_epoch` is None where it is not known.
    """

    owner: str
    arrays: Any
    steps_per_epoch: int | None

    def batches(self, epoch: int, position: int = 0) -> Iterator[tuple[Hashable, list[np.ndarray]]]:
        """Yields shape and data of each batch of an epoch, from the one with index `position`."""
        ...

    def batch(self, arrays: Any, key: Any, data: list, number: Any) -> Any:
        """Returns the batch of `data` inside the program; `number` counts over all epochs."""

    def read(self, key: Any, data: list[np.ndarray]) -> list[np.ndarray]:
        """Returns what `batch` takes for the data of a batch, or of several, or of some rows of it."""
        ...

    def valid_rows(self, data: list) -> Any:
        """Returns the number of rows of a batch that are no padding, a float32 scalar, inside the program."""

    def capacity(self, key: Any, data: list[np.ndarray]) -> int:
        """Returns the static number of batches in a block of shape `key`."""
        ...

    def count(self, data: list[np.ndarray]) -> tuple[int, int]:
        """Returns the number of examples and of valid tokens in the batches of a block, zeros if it is not known."""
        ...

    def examples(self, data: list[np.ndarray]) -> list:
        """Returns the numbers of the examples of a batch, none if they are not known."""
        ...


class StepsPerExecution:
    """Chooses how many steps of each shape one execution runs, from the time that earlier executions took.

    The first execution of a shape also compiles it, so it runs one step and its time is not used.

    Args:
        owner: string. The function that messages name.
        seconds: float, above 0. The time that an execution should take. Defaults to `1.0`.
        steps: int or `None`. A fixed number of steps, which turns the measuring off. Defaults to `None`.
    """

    def __init__(self, owner: str, seconds: float = 1.0, steps: int | None = None):
        self.seconds = _checks.number(owner, "seconds_per_execution", seconds, low=0, low_open=True)
        self.fixed = None if steps is None else _checks.positive_int(owner, "steps_per_execution", steps)
        self._steps: dict[Hashable, int] = {}

    def __call__(self, key: Hashable) -> int:
        """Returns the number of steps for the next execution of shape `key`."""
        return self.fixed or self._steps.get(key, 1)

    def update(self, key: Hashable, steps: int, seconds: float) -> bool:
        """Takes the time of an execution into account; returns whether it was the one that compiled its shape."""
        if key not in self._steps:
            self._steps[key] = 1
            return True
        if not self.fixed:
            fitting = int(self.seconds * steps / max(seconds, 1e-9))
            self._steps[key] = max(1, min(fitting, GROWTH * self._steps[key]))
        return False


class BlockLoop:
    """Runs the train or test steps of a model block by block.

    Args:
        model: A compiled `keras.Model`.
        kind: `"train"` or `"test"`.
        feed: A `Feed`.
        check: The `StepCheck` of the model.
        steps_per_execution: int or `None`. See `fit`. Defaults to `None`.
        seconds_per_execution: float. See `fit`. Defaults to `1.0`.
        jit_compile: bool. Whether TensorFlow compiles the blocks with XLA. Defaults to `True`.
        boundaries: Sequence of int. Blocks end at all multiples of these numbers of steps.
        step: int. Number of steps that were taken before. Defaults to `0`.
        skip: Sequence of `[epoch, first, end]`. Batches that are left out: those with an index from `first` on and
            below `end`.
        change_batch: Function of a batch and the number of its step, or `None`. See `fit`. Defaults to `None`.
    """

    def __init__(
        self,
        model: keras.Model,
        kind: str,
        feed: Feed,
        check: StepCheck,
        *,
        steps_per_execution: int | None = None,
        seconds_per_execution: float = 1.0,
        jit_compile: bool = True,
        boundaries: Sequence[int] = (),
        step: int = 0,
        skip: Sequence[Sequence[int]] = (),
        change_batch: Callable | None = None,
    ):
        self.kind = kind
        self.feed = feed
        self.check = check
        if steps_per_execution is None and model.steps_per_execution > 1:
            steps_per_execution = model.steps_per_execution
        self.boundaries = tuple(boundaries)
        self.skip = [list(each) for each in skip]
        self.block: list[int] | None = None  # the last one: its epoch, the index of its first batch, and of its end
        self._new_program = lambda: backend().BlockProgram(model, kind, feed, check, jit_compile, change_batch)
        self._new_steps = lambda: StepsPerExecution(feed.owner, seconds_per_execution, steps_per_execution)
        self.program, self.steps_per_execution = self._new_program(), self._new_steps()
        self._trained: list[int] = []  # the trained variables of the program; none before the first block builds them
        self.step = step
        self.examples = self.tokens = 0
        self.compile_seconds = 0.0  # of the last block, if it compiled
        self.step_seconds = 0.0  # of all blocks that did not
        self.metric_values: list | None = None  # of `model.metrics_variables` before the next block, to go on with
        self.failure: dict[str, Any] | None = None  # what is known of the first step whose loss was not finite
        self._last_examples: list | None = None  # of the last batch before the block

    def blocks(self, epoch: int, position: int = 0) -> Iterator[Block]:
        """Yields the blocks of an epoch, from the batch with index `position`."""
        self._renew_program()
        before = epoch * (self.feed.steps_per_epoch or 0)
        batches = self._batches(epoch, position)
        ahead = next(batches, None)
        while ahead is not None:
            position, key, first = ahead
            capacity = self.steps_per_execution.fixed or self.feed.capacity(key, first)
            limit = min([self.steps_per_execution(key), capacity, *(n - self.step % n for n in self.boundaries)])
            chosen = []
            while ahead is not None and ahead[:2] == (position + len(chosen), key) and len(chosen) < limit:
                chosen.append(ahead[2])
                ahead = next(batches, None)
            padded = chosen + chosen[:1] * (capacity - len(chosen))
            data = [np.stack(arrays) for arrays in zip(*padded)]
            self.block = [epoch, position, position + len(chosen)]
            yield Block(key, data, len(chosen), position, before + position, ahead is None)

    def _renew_program(self):
        """Makes a new program where layers were frozen or unfrozen since the last one: its gradients are others."""
        if self.kind != "train":
            return
        trained = [id(variable) for variable in self.check.model.trainable_variables]
        if self._trained and trained != self._trained:
            self.program, self.steps_per_execution = self._new_program(), self._new_steps()
        self._trained = trained

    def _batches(self, epoch, position):
        """Yields index, shape and data of each batch of an epoch that is not left out."""
        skipped = [range(first, end) for number, first, end in self.skip if number == epoch]
        for index, (key, data) in enumerate(self.feed.batches(epoch, position), position):
            if not any(index in each for each in skipped):
                yield index, key, data

    def run(self, block: Block) -> dict[str, Any]:
        """Runs a block and returns the logs of its last step as Python numbers and NumPy arrays."""
        started = time.perf_counter()
        self.check.build(self.feed, block)
        if self.metric_values:
            for variable, value in zip(self.check.model.metrics_variables, self.metric_values):
                variable.assign(keras.ops.convert_to_tensor(value, variable.dtype))
            self.metric_values = None
        try:
            results = self.program(block)
        except Exception as error:
            if type(error).__name__ == "InvalidArgumentError":  # of TensorFlow without XLA
                self.check.explain(self.feed, block)
            raise
        logs, (index, fault) = keras.tree.map_structure(to_host, results)
        # The same in all processes, which run blocks of the same number of steps.
        seconds = max(processes.gather(time.perf_counter() - started))
        compiled = self.steps_per_execution.update(block.key, block.steps, seconds)
        self.compile_seconds = seconds if compiled else 0.0
        self.step_seconds += 0.0 if compiled else seconds
        if fault == OUT_OF_RANGE:
            self.check.explain(self.feed, block)
        if fault and self.failure is None:
            self.failure = self._failure(block, index)
        self._last_examples = self.feed.examples(block.batch(block.steps - 1))
        examples, tokens = self.feed.count([array[: block.steps] for array in block.data])
        self.step += block.steps
        self.examples += examples
        self.tokens += tokens
        return logs

    def progress(self) -> dict[str, Any]:
        """Returns what callbacks read: steps, examples and tokens so far, the last block, and the first failure."""
        counts: dict[str, Any] = {"step": self.step, "examples": self.examples, "tokens": self.tokens}
        counts["step_seconds"] = self.step_seconds
        return {**counts, "block": self.block, "skip": self.skip, "failure": self.failure}

    def _failure(self, block, index):
        before = self._last_examples if index == 0 else self.feed.examples(block.batch(index - 1))
        return {
            "step": int(self.step + index + 1),
            "position": int(block.position + index),
            "batch": self.check.summarize(self.feed, block, index),
            "examples": self.feed.examples(block.batch(index)),
            "examples_of_the_step_before": before,
        }


def has_convolutions(model: keras.Model) -> bool:
    """Returns whether a layer of a model is a convolution."""
    layers = keras.layers
    kinds = (
        *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
        *(layers.SeparableConv1D, layers.SeparableConv2D),
        *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    )
    return any(isinstance(layer, kinds) for layer in model._flatten_layers())


def backend() -> Any:
    """Returns the module that compiles blocks on the Keras backend in use."""
    name = keras.backend.backend()
    if name == "tensorflow":
        from kerazoo.training import _block_tensorflow as module
    elif name == "jax":
        from kerazoo.training import _block_jax as module
    else:
        raise ValueError(f"fit: the Keras backend must be 'tensorflow' or 'jax'; got {name!r}.")
    return module


def to_host(value: Any) -> Any:
    """Returns a tensor as a Python number, or as a NumPy array where it has axes."""
    array = np.asarray(keras.ops.convert_to_numpy(value))
    return array if array.ndim else array.item()
