"""The training loop: Keras' model, optimizer, metrics and callbacks, with many optimizer steps in each program."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerazoo import _checks
from kerazoo.training.blocks import BlockLoop, backend, to_host
from kerazoo.training.device_feed import DeviceFeed
from kerazoo.training.stream_feed import StreamFeed

FEEDS = ("auto", "device", "tf.data")


def fit(
    model: keras.Model,
    data: Any,
    batch_fn: Callable | None = None,
    plan: Any = None,
    *,
    epochs: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    validation_data: Any = None,
    validation_freq: int | Sequence[int] = 1,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    feed: str = "auto",
    augment: Callable | None = None,
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

    A corpus is copied to the device once, and the program gathers each batch from it by row number. Batches from a
    `tf.data.Dataset` or another iterable are stacked to blocks and copied.

    Under `tf.distribute.MirroredStrategy` and, on JAX, under `keras.distribution` each batch is divided among the
    devices of the process.

    Args:
        model: A compiled `keras.Model`. If XLA cannot compile it, TensorFlow runs the blocks without XLA, and one
            line on standard error reports it.
        data: A corpus: an object with `features`, a dictionary of name to array `[N, ...]` or to an object with
            `values` and `offsets` (`kerazoo.data.Corpus`). Or batches, each of them what `model.train_step` takes,
            such as `(inputs, targets, weights)`: a `tf.data.Dataset`, an iterable that can be read again, a function
            from the number of an epoch to one of them, or a `kerazoo.data.StreamPlan`.
        batch_fn: For a corpus or a `StreamPlan`: function of `(features, valid)`, written with `keras.ops`, that
            returns `(inputs, targets, weights)`. `features` is a dictionary of tensors `[B, ...]`, ragged ones padded
            with 0; `valid` is a bool tensor `[B]`, False for padding rows, which must get weight zero. Only a batch
            that is divided among several devices has some.
        plan: For a corpus: an object with `shapes` (each with `rows` and `lengths`) and `epoch(e)`, the list of batches
            of an epoch, each with `shape_index` and `rows` (`kerazoo.data.Plan`).
        epochs: int, above 0. The number of the epoch at which training ends. Defaults to `1`.
        callbacks: List of Keras callbacks. Their `params` also hold what was reached: `step` (of all epochs), `epoch`,
            `position` (steps of this epoch), `examples`, `tokens`, `compile_seconds` and `history`. A block ends at
            the multiples of a callback's attribute `every_steps`; its method `on_train_interrupted` is called when
            training ends by an error.
        validation_data: `(corpus, plan)` or `(corpus, plan, batch_fn)`, whose epoch 0 is evaluated; a
            `tf.data.Dataset`; or what `Model.fit` takes.
        validation_freq: int, or list of the epochs, counted from 1, after which validation runs. Defaults to `1`.
        initial_epoch: int. The epoch at which training starts. Defaults to `0`.
        steps_per_epoch: int. Steps of an epoch of batches; needed where the data has no end. Epochs then continue one
            iterator, which starts again where the data ends.
        feed: `"device"` for a corpus, `"tf.data"` for batches, `"auto"` for either. Defaults to `"auto"`.
        augment: For a corpus or a `StreamPlan`: function of the features of a batch and the number of its step, counted
            over all epochs, that returns the features for `batch_fn` (`kerazoo.data.Augment`).
        resume: Dictionary with `epoch`, `position`, `step` and `history`, as `CheckpointStore.restore` returns it.
            Training continues with the batch at `position`. That is exact for a corpus, and for batches that come in
            the same order in each process.
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
        DataError: if an epoch holds no batch.

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
    if resume and initial_epoch:
        raise ValueError(f"fit: give `resume` or `initial_epoch`; got both, initial_epoch={initial_epoch}.")
    callbacks = keras.tree.flatten(callbacks or [])
    options = {
        "steps_per_execution": steps_per_execution,
        "seconds_per_execution": seconds_per_execution,
        "jit_compile": jit_compile,
    }
    source = _feed(model, data, batch_fn, plan, feed, steps_per_epoch, augment)
    steps = source.steps_per_epoch
    epoch = _checks.non_negative_int("fit", "initial_epoch", initial_epoch)
    start = {"epoch": epoch, "position": 0, "step": epoch * (steps or 0), "history": [], **(resume or {})}
    if steps and start["position"] >= steps:
        start |= {"epoch": start["epoch"] + 1, "position": 0}
    boundaries = sorted({c.every_steps for c in callbacks if getattr(c, "every_steps", None)})
    loop = BlockLoop(model, "train", source, boundaries=boundaries, step=start["step"], **options)
    validate = _validation(model, validation_data, batch_fn, options)
    callback_list = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
        epoch=start["epoch"],
        position=start["position"],
        history=list(start["history"]),
        step=loop.step,
        examples=0,
        tokens=0,
        compile_seconds=0.0,
    )
    try:
        _train(model, loop, callback_list, (start["epoch"], start["position"]), epochs, validate, validation_freq)
    except BaseException:
        for callback in callbacks:
            getattr(callback, "on_train_interrupted", lambda: None)()
        raise
    return model.history


def _train(model, loop, callbacks, start, epochs, validate, validation_freq):
    """The loop over epochs and blocks."""
    params = callbacks.params  # one dictionary, which all callbacks share
    first_epoch, position = start
    model.stop_training = False
    callbacks.on_train_begin()
    epoch_logs = None
    restored = getattr(model, "_initial_epoch", None)  # set by keras.callbacks.BackupAndRestore, read by Model.fit
    for epoch in range(restored or first_epoch, epochs):
        params.update(epoch=epoch, position=position, steps=loop.feed.steps_per_epoch)
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        logs = None
        for block in loop.blocks(epoch, position):
            callbacks.on_train_batch_begin(block.position)
            logs = loop.run(block)
            position = block.position + block.steps
            params.update(position=position, step=loop.step, examples=loop.examples, tokens=loop.tokens)
            params["compile_seconds"] += loop.compile_seconds
            if block.last:
                params["steps"] = position
            callbacks.on_train_batch_end(position - 1, logs)
            if model.stop_training:
                break
        if logs is None and not position:
            raise _checks.DataError(f"fit: the data of epoch {epoch} holds no batch.")
        epoch_logs = _metrics_or_logs(model, logs)
        if validate is not None and _is_due(epoch + 1, validation_freq):
            epoch_logs |= {f"val_{name}": value for name, value in validate(callbacks).items()}
        position = 0
        params.update(epoch=epoch + 1, position=0)
        callbacks.on_epoch_end(epoch, epoch_logs)
        if model.stop_training:
            break
    if model.optimizer is not None:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(epoch_logs)


def evaluate(
    model: keras.Model,
    data: Any,
    batch_fn: Callable | None = None,
    plan: Any = None,
    *,
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
    source = _feed(model, data, batch_fn, plan, "auto", steps)
    loop = BlockLoop(model, "test", source, steps_per_execution, seconds_per_execution, jit_compile)
    callback_list = keras.callbacks.CallbackList(
        keras.tree.flatten(callbacks), model=model, verbose=0, epochs=1, steps=source.steps_per_epoch
    )
    return _evaluate(model, loop, callback_list)


def _evaluate(model, loop, callbacks):
    """The loop over the blocks of an evaluation."""
    model.stop_evaluating = False
    callbacks.on_test_begin()
    model.reset_metrics()
    logs = {}
    for block in loop.blocks(0):
        callbacks.on_test_batch_begin(block.position)
        logs = loop.run(block)
        callbacks.params["compile_seconds"] = callbacks.params.get("compile_seconds", 0.0) + loop.compile_seconds
        callbacks.on_test_batch_end(block.position + block.steps - 1, logs)
        if model.stop_evaluating:
            break
    logs = _metrics_or_logs(model, logs)
    callbacks.on_test_end(logs)
    return logs


def _feed(model, data, batch_fn, plan, feed, steps_per_epoch, augment=None):
    """Returns the feed of the data."""
    _checks.one_of("fit", "feed", feed, FEEDS)
    if not model.compiled:
        raise ValueError(f"fit: the model must be compiled first; got {model.name!r}. Call model.compile(...).")
    devices = backend().count_devices(model)
    if feed == "device" or (feed == "auto" and (plan is not None or hasattr(data, "features"))):
        if steps_per_epoch is not None:
            raise ValueError(f"fit: the plan of a corpus has its own steps; got steps_per_epoch={steps_per_epoch}.")
        return DeviceFeed(data, batch_fn, plan, augment, devices)
    if plan is not None:
        raise ValueError(f"fit: `plan` must be None for finished batches; got plan={plan!r}.")
    return StreamFeed(data, steps_per_epoch, batch_fn, augment)


def _validation(model, data, batch_fn, options):
    """Returns a function of the list of callbacks that evaluates the model, or None without data."""
    if data is None:
        return None
    if isinstance(data, tuple | list) and len(data) in (2, 3) and hasattr(data[0], "features"):
        corpus, plan, batch_fn = data if len(data) == 3 else (*data, batch_fn)
        source = DeviceFeed(corpus, batch_fn, plan, devices=backend().count_devices(model))
    elif hasattr(data, "element_spec"):
        source = StreamFeed(data)
    else:
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        return lambda callbacks: model.evaluate(
            inputs, targets, sample_weight=weights, callbacks=callbacks, return_dict=True
        )
    loop = BlockLoop(model, "test", source, **options)
    return lambda callbacks: _evaluate(model, loop, callbacks)


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
