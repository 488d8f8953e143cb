"""The batches of a plan as NumPy arrays or as a `tf.data.Dataset`, the same ones in the same order."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import numpy as np

from kerazoo.data.corpus import Corpus
from kerazoo.data.packing import PackedPlan
from kerazoo.data.plan import Plan


def batches(
    corpus: Corpus,
    plan: Plan | PackedPlan,
    batch_fn: Callable | None = None,
    *,
    epoch: int = 0,
    start: int = 0,
    prefetch: int = 2,
    augment: Callable | None = None,
) -> "Prefetched":
    """Returns the batches of one epoch as NumPy arrays, made ahead in a thread; needs no TensorFlow.

    Args:
        corpus: a `Corpus`.
        plan: its `Plan` or `PackedPlan`.
        batch_fn: function of `(features, valid)` that returns `(inputs, targets, weights)`, such as `task.batch`.
            Without it the batches are `(features, valid)`: a dictionary of arrays `[B, ...]`, in which `NAME_segments`
            counts the examples that share a row and `NAME_mask` marks the valid positions of rows of vectors, and a
            bool array `[B]`, False for padding rows. Defaults to `None`.
        epoch: integer of at least 0. Defaults to `0`.
        start: integer of at least 0. Batches to leave out at the beginning, for a resumed run. Defaults to `0`.
        prefetch: integer above 0. Batches that are made ahead. Defaults to `2`.
        augment: function of the features and the number of the batch among those of all epochs that returns the
            features, such as `Augment`. It is called before `batch_fn`. Defaults to `None`.

    Returns:
        An iterable that has a length and can be read again.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"source": kz.data.Ragged.from_rows([[5, 6, 7], [8], [9, 9]])})
    for features, valid in kz.data.batches(corpus, kz.data.Plan.of(corpus, batch_size=2)):
        print(features["source"], valid)
    ```
    """
    planned = plan.epoch(epoch)
    finish = batch_maker(batch_fn, augment)
    numbered = list(enumerate(planned, epoch * len(planned)))[start:]

    def make(step, batch):
        return finish(*corpus.batch(batch.rows, plan.shapes[batch.shape_index].lengths), np.int32(step))

    return Prefetched(make, numbered, prefetch)


def dataset(
    corpus: Corpus,
    plan: Plan | PackedPlan,
    batch_fn: Callable | None = None,
    *,
    epoch: int = 0,
    start: int = 0,
    prefetch: int = 2,
    augment: Callable | None = None,
) -> Any:
    """Returns the batches of one epoch as a `tf.data.Dataset`, made ahead of the training step in other threads.

    The graph contains only the numbers of the rows; the arrays are read where they are, so a mapped corpus may be
    larger than memory. The arguments are those of `batches`; `batch_fn` and `augment` are called inside the pipeline,
    so they need the TensorFlow backend.

    Returns:
        A `tf.data.Dataset` of known cardinality and fixed order.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"x": np.ones((5, 3), "float32")})
    for features, valid in kz.data.dataset(corpus, kz.data.Plan.of(corpus, batch_size=2, shuffle=False)):
        print(features["x"].shape, valid)
    ```
    """
    import tensorflow as tf

    planned = plan.epoch(epoch)
    first = planned[0]
    example, _ = corpus.batch(first.rows, plan.shapes[first.shape_index].lengths)
    steps = np.arange(len(planned), dtype=np.int32) + epoch * len(planned)
    indices = np.array([batch.shape_index for batch in planned], np.int32)
    sizes = np.array([len(batch.rows) for batch in planned], np.int32)
    rows = np.zeros((len(planned), sizes.max(), *first.rows.shape[1:]), np.int32)  # of all batches, up to their sizes
    for row, batch in zip(rows, planned):
        row[: len(batch.rows)] = batch.rows

    def read(shape_index, size, row):
        features, valid = corpus.batch(row[:size], plan.shapes[shape_index].lengths)
        return [*(features[name] for name in example), valid]

    widths = {name: _only(shape.lengths[name] for shape in plan.shapes) for name in corpus.length_names}
    same_size = _only(sizes.tolist())
    types = [*(tf.as_dtype(array.dtype) for array in example.values()), tf.bool]
    finish = batch_maker(batch_fn, augment)

    def make(step, shape_index, size, row):
        *arrays, valid = tf.numpy_function(read, [shape_index, size, row], types, stateful=False)
        for name, array in zip(example, arrays):
            ragged = name.removesuffix("_segments").removesuffix("_mask")
            width = [widths[ragged]] if ragged in widths else example[name].shape[1:2]
            array.set_shape([same_size, *width, *example[name].shape[2:]])
        valid.set_shape([same_size])
        return finish(dict(zip(example, arrays)), valid, step)

    numbered = tf.data.Dataset.from_tensor_slices(tuple(array[start:] for array in (steps, indices, sizes, rows)))
    return numbered.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(prefetch)


class Prefetched:
    """The results of a function for each tuple of arguments, some of them made ahead in a thread.

    Args:
        make: function of the arguments.
        arguments: iterable of tuples; the length of the result is its length.
        prefetch: integer above 0. Results that are made ahead.
    """

    def __init__(self, make: Callable, arguments: Iterable[tuple], prefetch: int):
        self.make, self.arguments, self.prefetch = make, arguments, prefetch

    def __len__(self) -> int:
        return len(self.arguments)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator:
        # NumPy releases the interpreter's lock while it copies, so a thread runs during the training step.
        with futures.ThreadPoolExecutor(1) as thread:
            ahead = collections.deque()
            for arguments in self.arguments:
                ahead.append(thread.submit(self.make, *arguments))
                if len(ahead) > self.prefetch:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


def batch_maker(batch_fn: Callable | None, augment: Callable | None) -> Callable:
    """Returns a function of features, valid and the number of a step that returns the finished batch."""

    def finish(features, valid, step):
        features = features if augment is None else augment(features, step)
        return (features, valid) if batch_fn is None else batch_fn(features, valid)

    return finish


def _only(values):
    """Returns the value that all are equal to, else None: a size that is known before the program runs."""
    values = set(values)
    return values.pop() if len(values) == 1 else None
