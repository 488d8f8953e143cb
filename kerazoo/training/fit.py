"""`Model.fit` with many optimizer steps in each compiled program, over data that lies on the device."""

import contextlib
import warnings

from kerazoo import _checks
from kerazoo.training import prepare
from kerazoo.training.conductor import Conductor

FEEDS = ("device", "tf.data")


def fit(
    model,
    corpus,
    batch_fn=None,
    plan=None,
    epochs=1,
    callbacks=(),
    validation=None,
    feed="device",
    resume=None,
    steps_per_call=None,
    seconds_per_call=1.0,
    jit_compile=True,
    validation_freq=1,
    verbose=0,
    augment=None,
):
    """Trains a compiled Keras model; its callbacks, metrics, validation and history are those of `Model.fit`.

    With `feed="device"` the corpus is copied to the device once. A compiled program then runs many steps: it gathers
    each batch by row number, makes the model's inputs from it with `batch_fn`, and calls `model.train_step`. The
    results are those of as many calls of `train_on_batch`. Callbacks run between programs, about every
    `seconds_per_call`, and see the numbers of real steps. There is one program for each shape of the plan; if XLA
    cannot compile it, TensorFlow runs the same loop without XLA and says so.

    With `feed="tf.data"` the batches come from an iterable and each call runs `steps_per_execution` of them, as in
    Keras.

    Args:
        model: A compiled `keras.Model`.
        corpus: An object with `features`, a dictionary of name to array `[N, ...]` or to an object with `values` and
            `offsets` (`kerazoo.data.Corpus`); with `feed="tf.data"` an iterable of `(inputs, targets, weights)`, such
            as a `tf.data.Dataset`, or a function from the number of an epoch to one.
        batch_fn: Function of `(features, valid)`, written with `keras.ops`, that returns `(inputs, targets, weights)`.
            `features` is a dictionary of tensors `[B, ...]`, ragged ones padded with 0; `valid` is a bool tensor
            `[B]`, False for fillers, which must get weight zero.
        plan: An object with `shapes` (each with `rows` and `lengths`) and `epoch(e)`, the list of batches of an epoch,
            each with `shape_index` and `rows` (`kerazoo.data.Plan`).
        epochs: The number of the epoch at which training ends, above 0.
        callbacks: List of Keras callbacks. A callback with an attribute `every_steps` is called at its multiples; one
            with a method `on_train_interrupted` is called when training ends by an error.
        validation: `(corpus, plan)` or `(corpus, plan, batch_fn)`, whose epoch 0 is measured after each epoch, or
            anything that Keras takes as `validation_data`.
        feed: `"device"` or `"tf.data"`.
        resume: Dictionary with `epoch`, `position` (steps within it), `step` and `history`, as
            `CheckpointStore.restore` returns it, or None to begin.
        steps_per_call: Steps of a program, above 0; None chooses by time.
        seconds_per_call: How long a program should run, above 0.
        jit_compile: Whether TensorFlow compiles the programs with XLA; JAX always does.
        validation_freq: Epochs between validations.
        verbose: 0 for no progress bar of Keras, 1 or 2 as in `Model.fit`.
        augment: Function of the features of a training batch and the number of its step, counted over all epochs, that
            returns the features which `batch_fn` gets (`kerazoo.data.Augment`); only with `feed="device"`.

    Returns:
        A `keras.callbacks.History`.

    Raises:
        ValueError: An argument is missing or out of its range, or several devices share the model.
        TypeError: A feature does not hold numbers.

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
    _checks.one_of("fit", "feed", feed, FEEDS)
    resume = {"epoch": 0, "position": 0, "step": 0, "history": [], **(resume or {})}
    callbacks = list(callbacks)
    options = {"jit_compile": jit_compile, "steps_per_call": steps_per_call, "seconds_per_call": seconds_per_call}
    with contextlib.ExitStack() as stack:
        if feed == "device":
            stops = sorted({c.every_steps for c in callbacks if getattr(c, "every_steps", None)})
            turns, endless = prepare.program_turns(
                model, "train", corpus, batch_fn, plan, stops, resume["step"], augment, **options
            )
            steps = len(plan.epoch(resume["epoch"]))
            if resume["position"] >= steps:
                resume |= {"epoch": resume["epoch"] + 1, "position": 0}
        else:
            turns, endless, steps = prepare.stream_turns(model, corpus, resume)
        stack.enter_context(turns)
        test = None
        if _is_resident(validation):
            dev, dev_plan, *own = validation
            test, validation = prepare.program_turns(model, "test", dev, *(own or [batch_fn]), dev_plan, **options)
            stack.enter_context(test)
        conductor = Conductor(
            callbacks,
            train=turns,
            test=test,
            begin=(resume["epoch"], resume["position"]),
            add_history=True,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
            history=list(resume["history"]),
        )
        stack.enter_context(_quiet())
        stack.enter_context(_told(callbacks))
        return model.fit(
            endless,
            epochs=epochs,
            initial_epoch=resume["epoch"],
            callbacks=conductor,
            validation_data=validation,
            validation_freq=validation_freq,
            shuffle=False,
            verbose=verbose,
        )


def evaluate(model, corpus, batch_fn, plan, callbacks=(), steps_per_call=None, seconds_per_call=1.0, jit_compile=True):
    """Measures a compiled Keras model on epoch 0 of `plan`, many steps in each compiled program.

    The arguments are those of `fit`.

    Returns:
        Dictionary of metric name to float.

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
    turns, endless = prepare.program_turns(
        model,
        "test",
        corpus,
        batch_fn,
        plan,
        steps_per_call=steps_per_call,
        seconds_per_call=seconds_per_call,
        jit_compile=jit_compile,
    )
    conductor = Conductor(list(callbacks), test=turns, model=model, verbose=0, epochs=1, steps=len(plan.epoch(0)))
    with turns, _quiet():
        return model.evaluate(endless, callbacks=conductor, return_dict=True, verbose=0)


def _is_resident(validation):
    return isinstance(validation, tuple | list) and len(validation) in (2, 3) and hasattr(validation[0], "features")


@contextlib.contextmanager
def _quiet():
    # Keras warns of data that ran out when an epoch ends by `StopIteration`, which is how a turn ends it.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        yield


@contextlib.contextmanager
def _told(callbacks):
    """Calls `on_train_interrupted` of the callbacks that have it when training ends by an error."""
    try:
        yield
    except BaseException:
        for callback in callbacks:
            getattr(callback, "on_train_interrupted", lambda: None)()
        raise
