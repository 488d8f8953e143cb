"""The batches of a plan as NumPy arrays or as a `tf.data.Dataset`, the same ones in the same order."""

import numpy as np


def batches(corpus, plan, epoch=0, start=0):
    """Yields the batches of one epoch as NumPy arrays; needs no TensorFlow.

    Args:
        corpus: A `Corpus`.
        plan: Its `Plan`.
        epoch: Number of the epoch.
        start: Batches to leave out at the beginning, for a run that goes on.

    Yields:
        `(features, valid)`: a dictionary of arrays `[B, ...]` and a bool array `[B]`, False for fillers.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"source": kz.data.Ragged.from_rows([[5, 6, 7], [8], [9, 9]])})
    for features, valid in kz.data.batches(corpus, kz.data.Plan.of(corpus, batch_size=2)):
        print(features["source"], valid)
    ```
    """
    for batch in plan.epoch(epoch)[start:]:
        yield corpus.batch(batch.rows, plan.shapes[batch.shape_index].lengths)


def dataset(corpus, plan, batch_fn=None, epoch=0, start=0, prefetch=2):
    """Returns the batches of one epoch as a `tf.data.Dataset`, made ahead of the training step in other threads.

    Only row numbers lie in the graph; the arrays are read where they are, so a mapped corpus that is larger than memory
    is fed as well.

    Args:
        corpus: A `Corpus`.
        plan: Its `Plan`.
        batch_fn: Function of `(features, valid)` to `(inputs, targets, weights)`, such as `task.batch`; it runs in the
            pipeline, so it needs the TensorFlow backend. Without it the data set yields `(features, valid)`.
        epoch: Number of the epoch.
        start: Batches to leave out at the beginning, for a run that goes on.
        prefetch: Batches that are made ahead.

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

    planned = plan.epoch(epoch)[start:]
    names = list(corpus.features)
    # One matrix of rows for all batches; -2 stands where a batch has fewer rows than the widest.
    widest = max(shape.rows for shape in plan.shapes)
    rows = np.full((len(planned), widest), -2, np.int32)
    for row, batch in zip(rows, planned):
        row[: len(batch.rows)] = batch.rows
    indices = np.array([batch.shape_index for batch in planned], np.int32)

    def gather(shape_index, row):
        features, valid = corpus.batch(row[row > -2], plan.shapes[shape_index].lengths)
        return [*(features[name] for name in names), valid]

    example, _ = corpus.batch([0])
    same = {name: _only(shape.lengths[name] for shape in plan.shapes) for name in corpus.length_names}
    same_rows = _only(shape.rows for shape in plan.shapes)
    types = [*(tf.as_dtype(example[name].dtype) for name in names), tf.bool]

    def make(shape_index, row):
        *arrays, valid = tf.numpy_function(gather, [shape_index, row], types, stateful=False)
        for name, array in zip(names, arrays):
            inner = [same[name]] if name in same else example[name].shape[1:]
            array.set_shape([same_rows, *inner])
        valid.set_shape([same_rows])
        features = dict(zip(names, arrays))
        return (features, valid) if batch_fn is None else batch_fn(features, valid)

    made = tf.data.Dataset.from_tensor_slices((indices, rows))
    return made.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(prefetch)


def _only(values):
    """Returns the value that all are equal to, else None: the sizes that are known before the program runs."""
    values = set(values)
    return values.pop() if len(values) == 1 else None
