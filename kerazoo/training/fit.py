"""The training loop: Keras' model, optimizer, metrics and callbacks, with many optimizer steps in each program."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kerazoo import _checks
from kerazoo.training import arrays, feeds
from kerazoo.training.blocks import BlockLoop, backend, to_host
from kerazoo.training.step_check import StepCheck
from kerazoo.training.weight_averages import finalize


def fit(
    model: keras.Model,
    data: Any,
    batch_fn: Callable | None = None,
    plan: Any = None,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    validation_data: Any = None,
    validation_split: float = 0.0,
    validation_freq: int | Sequence[int] = 1,
    validation_steps: int | None = None,
    shuffle: bool = True,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    augment: Callable | None = None,
    change_batch: Callable | None = None,
    resume: dict[str, Any] | None = None,
    steps_per_execution: int | None = None,
    seconds_per_execution: float = 1.0,
    jit_compile: bool = True,
    verbose: int | str = 0,
) -> keras.callbacks.History:
    """Trains a compiled Keras model with many optimizer steps in each compiled program.

    Callbacks, metrics, validation, logs and history are those of `Model.fit`. Consecutive batches of one shape form a
    block, which one program runs; it calls `model.train_step` for each batch, so the results are those of as many
    calls of `train_on_batch`. There is one program for each shape of batches. Callbacks run between blocks, about
    every `seconds_per_execution`, with the indices of real steps.

    Arrays and a corpus are copied to the device once, and the program gathers each batch by row number. Batches from a
    `tf.data.Dataset` or another iterable are stacked to blocks and copied.

    Each step is checked: labels and token ids must be in the range that the loss and the model have, and the first
    step whose loss is not finite is remembered.

    Under `tf.distribute.MirroredStrategy` and, on JAX, under `keras.distribution` each batch is divided among the
    devices of the process.

    Args:
        model: A compiled `keras.Model`. If XLA cannot compile it, TensorFlow runs the blocks without XLA, and one
            line on standard error reports it.
        data: Arrays: a tuple `(x, y)` or `(x, y, sample_weight)` of arrays `[N, ...]`, or of dictionaries or lists of
            them. Or a corpus: an object with `features`, a dictionary of name to array `[N, ...]` or to an object with
            `values` and `offsets` (`kerazoo.data.Corpus`). Or batches, each of them what `model.train_step` takes,
            such as `(inputs, targets, weights)`: a `tf.data.Dataset`, a `keras.utils.PyDataset` (read without its
            `workers`), a list or another iterable that can be read again, a function from the number of an epoch to one
            of them, or a `kerazoo.data.StreamPlan`.
        batch_fn: For a corpus or a `StreamPlan`: function of `(features, valid)`, written with `keras.ops`, that
            returns `(inputs, targets, weights)`. `features` is a dictionary of tensors `[B, ...]`, ragged ones padded
            with 0; `valid` is a bool tensor `[B]`, False for padding rows, which must get weight zero. Only a batch
            that is divided among several devices has some. Defaults to `None`.
        plan: For a corpus: an object with `shapes` (each with `rows` and `lengths`) and `epoch(e)`, the list of batches
            of an epoch, each with `shape_index` and `rows` (`kerazoo.data.Plan`). Defaults to `None`.
        epochs: int, above 0. The number of the epoch at which training ends. Defaults to `1`.
        batch_size: int, above 0. For arrays: examples of a batch. Defaults to `32`.
        callbacks: List of Keras callbacks. Their `params` also hold what was reached: `step` (of all epochs), `epoch`,
            `position` (batches of this epoch), `examples`, `tokens`, `compile_seconds`, `step_seconds` (of the blocks
            that did not compile), `history`, `skip`, `block` (the last one, in the form of `skip`), and `failure`: what
            is known of the first step whose loss was not finite, or None. A block ends at the multiples of a callback's
            attribute `every_steps`; its method `on_train_interrupted` is called when training ends by an error.
        validation_data: `(corpus, plan)` or `(corpus, plan, batch_fn)`, whose epoch 0 is evaluated; or arrays or
            batches as in `data`. Defaults to `None`.
        validation_split: float in `[0, 1)`. For arrays: share of the examples, the last ones, that are validation data
            and not training data. Defaults to `0.0`.
        validation_freq: int, or list of the epochs, counted from 1, after which validation runs. Defaults to `1`.
        validation_steps: int. Batches of a validation, the first ones each time; needed where the validation data has
            no end. Defaults to `None`.
        shuffle: bool. Whether the examples of arrays, or the batches of a `PyDataset`, have another order in each
            epoch. Defaults to `True`.
        class_weight: Dictionary of class to weight, which multiplies the weights of its examples in the loss and in the
            weighted metrics of training; other classes have weight 1. Defaults to `None`.
        sample_weight: For arrays `(x, y)`: array `[N]`, the weights of the examples. Defaults to `None`.
        initial_epoch: int. The epoch at which training starts. Defaults to `0`.
        steps_per_epoch: int. Steps of an epoch of batches; needed where the data has no end. Epochs then continue one
            iterator, which starts again where the data ends. Defaults to `None`.
        augment: For a corpus or a `StreamPlan`: function of the features of a batch and the number of its step, counted
            over all epochs, that returns the features for `batch_fn` (`kerazoo.data.Augment`). Defaults to `None`.
        change_batch: Function of `(inputs, targets, weights)` and the number of the step that returns them for the
            step, inside the program, which may call the model with its present weights (`ScheduledSampling`). Defaults
            to `None`.
        resume: Dictionary with `epoch`, `position`, `step` and `history`, as `CheckpointStore.restore` returns it.
            Training continues with the batch at `position`. That is exact for a corpus, and for batches that come in
            the same order in each process. It may have `skip`, a list of `[epoch, first, end]`: the batches of an epoch
            from index `first` on and below `end` are left out, and are no steps. Defaults to `None`.
        steps_per_execution: int, above 0. Batches of a block at most. Defaults to that of `Model.compile` if it is
            above 1, else to as many as run in `seconds_per_execution`.
        seconds_per_execution: float, above 0. The time a block should take. Defaults to `1.0`.
        jit_compile: bool. Whether TensorFlow compiles the blocks with XLA; JAX always does. Defaults to `True`.
        verbose: `0`, `1`, `2` or `"auto"`: the progress bar of Keras. Defaults to `0`, which shows none.

    Returns:
        A `keras.callbacks.History`.

    Raises:
        ValueError: if an argument is missing or out of its range, or the model is distributed by another strategy.
        TypeError: if a feature does not hold numbers, or `data` cannot be iterated.
        DataError: if an epoch holds no batch, or a label or token id is out of its range.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    images = np.random.default_rng(0).random((50, 8), "float32")
    corpus = kz.data.Corpus({"image": images, "label": (images[:, 0] > 0.5).astype("int32")})
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("adam", kz.training.SparseCrossentropy(), weighted_metrics=[kz.training.TokenAccuracy()])

    def batch_fn(features, valid):
        return features["image"], features["label"], keras.ops.cast(valid, "float32")

    history = kz.training.fit(model, corpus, batch_fn, kz.data.Plan.of(corpus, batch_size=16), epochs=2)
    print(history.history["loss"])
    ```
    """
    _checks.positive_int("fit", "epochs", epochs)
    epoch = _checks.non_negative_int("fit", "initial_epoch", initial_epoch)
    if resume and epoch:
        raise ValueError(f"fit: give `resume` or `initial_epoch`; got both, initial_epoch={epoch}.")
    data, validation_data = arrays.split("fit", data, sample_weight, validation_data, validation_split)
    feed = feeds.make_feed(
        "fit",
        model,
        data,
        batch_fn,
        plan,
        steps_per_epoch,
        batch_size=batch_size,
        shuffle=shuffle,
        augment=augment,
        class_weight=class_weight,
    )
    start = {"epoch": epoch, "position": 0, "step": epoch * (feed.steps_per_epoch or 0), "history": [], "skip": []}
    start |= resume or {}
    callbacks = keras.tree.flatten(callbacks or [])
    boundaries = sorted({c.every_steps for c in callbacks if getattr(c, "every_steps", None)})
    check = StepCheck(model)
    options = {
        "steps_per_execution": steps_per_execution,
        "seconds_per_execution": seconds_per_execution,
        "jit_compile": jit_compile,
    }
    begin = {"step": start["step"], "skip": start["skip"], "boundaries": boundaries, "change_batch": change_batch}
    loop = BlockLoop(model, "train", feed, check, **begin, **options)
    validation = None
    if validation_data is not None:
        parts = feeds.validation_parts(validation_data, batch_fn)
        unseen = feeds.make_feed("fit (validation_data)", model, *parts, validation_steps, batch_size=batch_size)
        validation = BlockLoop(model, "test", unseen, check, **options)
    callback_list = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=feed.steps_per_epoch,
        epoch=start["epoch"],
        position=start["position"],
        history=list(start["history"]),
        compile_seconds=0.0,
        **loop.progress(),
    )
    try:
        _train(model, loop, callback_list, start, epochs, validation, validation_freq)
    except BaseException:
        for callback in callbacks:
            getattr(callback, "on_train_interrupted", lambda: None)()
        raise
    return model.history


def _train(model, loop, callbacks, start, epochs, validation, validation_freq):
    """The loop over epochs and blocks."""
    params = callbacks.params  # one dictionary, which all callbacks share
    position = start["position"]
    if position:  # the epoch was interrupted
        loop.metric_values = start.get("metric_values")
    model.stop_training = False
    callbacks.on_train_begin()
    epoch_logs = None
    restored = getattr(model, "_initial_epoch", None)  # set by keras.callbacks.BackupAndRestore, read by Model.fit
    for epoch in range(restored or start["epoch"], epochs):
        params.update(epoch=epoch, position=position, steps=loop.feed.steps_per_epoch)
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        logs = None
        for block in loop.blocks(epoch, position):
            callbacks.on_train_batch_begin(block.position)
            logs = loop.run(block)
            position = block.position + block.steps
            params.update(position=position, **loop.progress())
            params["compile_seconds"] += loop.compile_seconds
            if block.last:
                params["steps"] = position
            callbacks.on_train_batch_end(position - 1, logs)
            if model.stop_training:
                break
        if not position and not loop.skip:
            raise _checks.DataError(f"fit: the data of epoch {epoch} holds no batch.")
        # An epoch that was interrupted after its last step has the logs of that time.
        epoch_logs = _metrics_or_logs(model, logs) if logs is not None else dict(start.get("metrics") or {})
        if validation is not None and _is_due(epoch + 1, validation_freq):
            epoch_logs |= {f"val_{name}": value for name, value in _evaluate(model, validation, callbacks).items()}
        position, loop.metric_values = 0, None
        params.update(epoch=epoch + 1, position=0)
        callbacks.on_epoch_end(epoch, epoch_logs)
        if model.stop_training:
            break
    if model.optimizer is not None:
        finalize(model)
    callbacks.on_train_end(epoch_logs)


def make_deterministic() -> None:
    """Lets training give the same numbers in each process, on the same kind of machine and with the same versions.

    On TensorFlow operations take deterministic algorithms from now on, where they have others. On JAX they do so on a
    CPU and a TPU anyway; on a GPU the environment must say so.

    Raises:
        SetupError: if JAX runs on a GPU without `XLA_FLAGS=--xla_gpu_deterministic_ops=true`.
    """
    backend().make_deterministic()


def evaluate(
    model: keras.Model,
    data: Any,
    batch_fn: Callable | None = None,
    plan: Any = None,
    *,
    batch_size: int = 32,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    steps: int | None = None,
    steps_per_execution: int | None = None,
    seconds_per_execution: float = 1.0,
    jit_compile: bool = True,
) -> dict[str, Any]:
    """Evaluates a compiled Keras model on epoch 0 of the data, many steps in each compiled program.

    The arguments are those of `fit`; `steps` is the number of batches, as in `Model.evaluate`.

    Returns:
        Dictionary of metric name to float, or to an array where the metric is a vector.

    Raises:
        ValueError: if an argument is missing or out of its range.
        DataError: if the data holds no batch, or a label or token id is out of its range.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"x": np.ones((5, 3), "float32")})
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    plan = kz.data.Plan.of(corpus, batch_size=2, shuffle=False)
    print(kz.training.evaluate(model, corpus, lambda features, valid: (features["x"], features["x"][:, :1]), plan))
    ```
    """
    feed = feeds.make_feed("evaluate", model, data, batch_fn, plan, steps, batch_size=batch_size)
    loop = BlockLoop(
        model,
        "test",
        feed,
        StepCheck(model),
        steps_per_execution=steps_per_execution,
        seconds_per_execution=seconds_per_execution,
        jit_compile=jit_compile,
    )
    callback_list = keras.callbacks.CallbackList(
        keras.tree.flatten(callbacks), model=model, verbose=0, epochs=1, steps=feed.steps_per_epoch
    )
    return _evaluate(model, loop, callback_list)


def _evaluate(model, loop, callbacks):
    """The loop over the blocks of an evaluation."""
    model.stop_evaluating = False
    callbacks.on_test_begin()
    model.reset_metrics()
    logs = None
    for block in loop.blocks(0):
        callbacks.on_test_batch_begin(block.position)
        logs = loop.run(block)
        callbacks.params["compile_seconds"] = callbacks.params.get("compile_seconds", 0.0) + loop.compile_seconds
        callbacks.on_test_batch_end(block.position + block.steps - 1, logs)
        if model.stop_evaluating:
            break
    if logs is None:
        raise _checks.DataError(f"{loop.feed.owner}: the data of the evaluation holds no batch.")
    logs = _metrics_or_logs(model, logs)
    callbacks.on_test_end(logs)
    return logs


def _metrics_or_logs(model, logs):
    """Returns the results of the metrics if they have the names of the logs, else the logs, as Keras does."""
    if not logs:
        return {}
    results = model.get_metrics_result()
    if set(results) != set(logs):
        return dict(logs)
    return keras.tree.map_structure(to_host, results)


def _is_due(epoch, frequency):
    return epoch in frequency if isinstance(frequency, list | tuple) else epoch % frequency == 0
