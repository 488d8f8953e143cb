"""The batches of a plan as NumPy arrays or as a `tf.data.Dataset`, the same ones in the same order."""

import collections
from concurrent import futures

import numpy as np

from kerazoo.data.packing import pack


def batches(corpus, plan, batch_fn=None, epoch=0, start=0, prefetch=2, augment=None):
    """Returns the batches of one epoch as NumPy arrays, made ahead in a thread; needs no TensorFlow.

    Args:
        corpus: A `Corpus`.
        plan: Its `Plan` or `PackedPlan`.
        batch_fn: Function of `(features, valid)` to `(inputs, targets, weights)`, such as `task.batch`. Without it the
            batches are `(features, valid)`: a dictionary of arrays `[B, ...]`, in which `NAME_segments` counts the
            examples that share a row, and a bool array `[B]`, False for fillers.
        epoch: Number of the epoch.
        start: Batches to leave out at the beginning, for a run that goes on.
        prefetch: Batches that are made ahead, at least 1.
        augment: Function of the features and the number of the batch among those of all epochs that returns the
            features, such as `Augment`; it runs before `batch_fn`.

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
    made = maker(batch_fn, augment)
    numbered = list(enumerate(planned, epoch * len(planned)))[start:]

    def make(step, batch):
        return made(*gather(corpus, batch.rows, plan.shapes[batch.shape_index]), np.int32(step))

    return Ahead(make, numbered, prefetch)


def dataset(corpus, plan, batch_fn=None, epoch=0, start=0, prefetch=2, augment=None):
    """Returns the batches of one epoch as a `tf.data.Dataset`, made ahead of the training step in other threads.

    Only row numbers lie in the graph; the arrays are read where they are, so a mapped corpus that is larger than memory
    is fed as well. The arguments are those of `batches`; `batch_fn` and `augment` run in the pipeline, so they need the
    TensorFlow backend.

    Returns:
        A `tf.data.Dataset` of known cardinality whose order never changes.

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
    example, _ = gather(corpus, first.rows, plan.shapes[first.shape_index])
    steps = np.arange(len(planned), dtype=np.int32) + epoch * len(planned)
    indices = np.array([batch.shape_index for batch in planned], np.int32)
    # One matrix of rows for all batches; -2 stands where a batch has fewer rows than the widest.
    rows = np.full((len(planned), max(shape.rows for shape in plan.shapes), *first.rows.shape[1:]), -2, np.int32)
    for row, batch in zip(rows, planned):
        row[: len(batch.rows)] = batch.rows

    def read(shape_index, row):
        shape = plan.shapes[shape_index]
        features, valid = gather(corpus, row[: shape.rows], shape)
        return [*(features[name] for name in example), valid]

    widths = {name: _only(shape.lengths[name] for shape in plan.shapes) for name in corpus.length_names}
    same_rows = _only(shape.rows for shape in plan.shapes)
    types = [*(tf.as_dtype(array.dtype) for array in example.values()), tf.bool]
    made = maker(batch_fn, augment)

    def make(step, shape_index, row):
        *arrays, valid = tf.numpy_function(read, [shape_index, row], types, stateful=False)
        for name, array in zip(example, arrays):
            ragged = name.removesuffix("_segments")
            array.set_shape([same_rows, *([widths[ragged]] if ragged in widths else example[name].shape[1:])])
        valid.set_shape([same_rows])
        return made(dict(zip(example, arrays)), valid, step)

    numbered = tf.data.Dataset.from_tensor_slices(tuple(array[start:] for array in (steps, indices, rows)))
    return numbered.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(prefetch)


def gather(corpus, rows, shape):
    """Returns `(features, valid)` of the examples `rows`, `[B]` or several a row `[B, P]`, padded to a `Shape`."""
    if not shape.segments:
        return corpus.batch(rows, shape.lengths)
    features = {}
    for name in corpus.length_names:
        features[name], features[f"{name}_segments"] = pack(corpus.features[name], rows, shape.lengths[name])
    return features, rows[:, 0] >= 0


class Ahead:
    """What `make` returns for each pair of arguments, some of them made ahead in a thread."""

    def __init__(self, make, arguments, prefetch):
        self.make, self.arguments, self.prefetch = make, arguments, prefetch

    def __len__(self):
        return len(self.arguments)

    def __iter__(self):
        # NumPy lets go of the interpreter while it copies, so a thread works beside the training step.
        with futures.ThreadPoolExecutor(1) as thread:
            ahead = collections.deque()
            for arguments in self.arguments:
                ahead.append(thread.submit(self.make, *arguments))
                if len(ahead) > self.prefetch:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


def maker(batch_fn, augment):
    """Returns a function of features, valid and the number of a step to a finished batch."""
    def make(features, valid, step):
        features = features if augment is None else augment(features, step)
        return (features, valid) if batch_fn is None else batch_fn(features, valid)

    return make


def _only(values):
    """Returns the value that all are equal to, else None: the sizes that are known before the program runs."""
    values = set(values)
    return values.pop() if len(values) == 1 else None
