"""Which feed the data of `fit` and `evaluate` gets."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kerazoo.training import arrays, processes
from kerazoo.training.blocks import Feed, backend
from kerazoo.training.class_weights import ClassWeights
from kerazoo.training.device_feed import MAX_BYTES, DeviceFeed
from kerazoo.training.process_feed import ProcessFeed
from kerazoo.training.stream_feed import StreamFeed

STEPS = {"fit": "steps_per_epoch", "fit (validation_data)": "validation_steps", "evaluate": "steps"}


def make_feed(
    owner: str,
    model: keras.Model,
    data: Any,
    batch_fn: Callable | None = None,
    plan: Any = None,
    steps: int | None = None,
    *,
    batch_size: int = 32,
    shuffle: bool = False,
    augment: Callable | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> Feed:
    """Returns the feed of the data: a `DeviceFeed` of a corpus and of arrays of numbers, else a `StreamFeed`.

    Of several processes each one reads its part of the batches of a corpus; other data all of them read whole.

    Args:
        owner: string. The function that messages name, a key of `STEPS`.
        model: A compiled `keras.Model`.
        data: See `fit`.
        batch_fn: Function or `None`. See `fit`. Defaults to `None`.
        plan: See `fit`. Defaults to `None`.
        steps: int or `None`. Steps of an epoch; that of a corpus is given by its plan. Defaults to `None`.
        batch_size: int. See `fit`. Defaults to `32`.
        shuffle: bool. See `fit`. Defaults to `False`.
        augment: Function or `None`. See `fit`. Defaults to `None`.
        class_weight: Dictionary or `None`. See `fit`. Defaults to `None`.

    Raises:
        ValueError: if the arguments do not fit the data, or the model is not compiled.
    """
    if not model.compiled:
        raise ValueError(f"{owner}: the model must be compiled first; got {model.name!r}. Call model.compile(...).")
    devices = backend().count_devices(owner, model)
    shared = processes.count() > 1 and keras.distribution.distribution() is not None
    change = ClassWeights(owner, class_weight) if class_weight else None
    if isinstance(data, keras.utils.PyDataset) and data.num_batches is not None:
        data = _PyDatasetEpochs(data, shuffle)
    if plan is not None or hasattr(data, "features"):
        if steps is not None:
            raise ValueError(f"{owner}: the plan of a corpus has its own steps; got {STEPS[owner]}={steps}.")
        feed = ProcessFeed if shared else DeviceFeed
        return feed(owner, data, batch_fn, plan, augment, change, devices)
    if hasattr(data, "batches"):
        stream = data
        data = lambda epoch: stream.batches(epoch, batch_fn, augment)  # noqa: E731
    elif batch_fn is not None or augment is not None:
        given = "batch_fn" if batch_fn is not None else "augment"
        raise ValueError(f"{owner}: `{given}` must be None without a corpus; got data of {type(data).__name__}.")
    elif arrays.is_arrays(data):
        data = arrays.Arrays(owner, data, batch_size, shuffle, weigh_valid=devices > 1)
        if data.on_device(MAX_BYTES) and steps is None and not shared:
            return DeviceFeed(owner, data, data.batch_fn, data, None, change, devices)
        data = data.batches
    return StreamFeed(owner, data, steps, change, STEPS[owner], restart=owner != "fit")


def validation_parts(data: Any, batch_fn: Callable | None) -> tuple[Any, Callable | None, Any]:
    """Returns data, `batch_fn` and plan of `validation_data`: `(corpus, plan)`, `(corpus, plan, batch_fn)`, or data."""
    if isinstance(data, tuple | list) and hasattr(data[0], "features"):
        corpus, plan, own_batch_fn = (*data, batch_fn)[:3]
        return corpus, own_batch_fn, plan
    return data, None, None


class _PyDatasetEpochs:
    """The epochs of a data set of Keras: a function from the number of an epoch to its batches."""

    def __init__(self, data: keras.utils.PyDataset, shuffle: bool):
        self.data, self.shuffle = data, shuffle

    def __len__(self):
        return self.data.num_batches

    def __call__(self, epoch: int) -> Iterator:
        self.data.on_epoch_begin()
        order = np.random.default_rng(epoch).permutation(len(self)) if self.shuffle else np.arange(len(self))
        try:
            for index in order.tolist():
                yield self.data[index]
        finally:  # also after fewer steps
            self.data.on_epoch_end()
