"""From a model and its data to turns: the data on the device, the model built, the programs ready to compile."""

import types

import keras

from kerazoo import _checks
from kerazoo.training import resident
from kerazoo.training.blocks import Blocks, Pace
from kerazoo.training.turns import ProgramTurns, StreamTurns


def backend():
    """Returns the module with the programs of the backend in use."""
    name = keras.backend.backend()
    if name == "tensorflow":
        from kerazoo.training import _program_tensorflow as programs
    elif name == "jax":
        from kerazoo.training import _program_jax as programs
    else:
        raise ValueError(f"fit: the backend must be 'tensorflow' or 'jax'; got {name!r}.")
    return programs


def program_turns(
    model,
    kind,
    corpus,
    batch_fn,
    plan,
    stops=(),
    step=0,
    augment=None,
    jit_compile=True,
    steps_per_call=None,
    seconds_per_call=1.0,
):
    """Returns the turns that run compiled programs over a corpus on the device, and the stand-in for `fit`'s data.

    Args:
        model: A compiled Keras model; it is built if it was not.
        kind: `"train"` or `"test"`.
        stops: Numbers of steps at whose multiples a program must end.
        step: The number of steps that were taken before.

    The other arguments are those of `fit`.
    """
    _check(model, corpus, batch_fn, plan)
    pace = Pace(
        _checks.number("fit", "seconds_per_call", seconds_per_call, low=0, low_open=True),
        steps_per_call and _checks.positive_int("fit", "steps_per_call", steps_per_call),
    )
    arrays = resident.place(corpus.features)

    def batch(arrays, rows, shape_index, step):
        features, valid = resident.gather(arrays, rows, plan.shapes[shape_index].lengths)
        return batch_fn(features if augment is None else augment(features, step), valid)

    def first():
        chosen = plan.epoch(0)[0]
        return batch(arrays, keras.ops.convert_to_tensor(chosen.rows, "int32"), chosen.shape_index, 0)

    build(model, backend().outline(first))
    lengths = resident.real_tokens(corpus.features) if kind == "train" else None
    blocks = Blocks(plan, pace, stops, lengths, step)
    programs = backend().Programs(model, kind, arrays, batch, jit_compile)
    return ProgramTurns(model, kind, blocks, programs), backend().endless(first)


def stream_turns(model, source, resume):
    """Returns the turns that read batches from an iterable, the stand-in for `fit`'s data, and the steps of an epoch.

    Args:
        model: A compiled Keras model; it is built if it was not.
        source: An iterable of batches, or a function from the number of an epoch to one.
        resume: Dictionary with `epoch` and `step`.
    """
    if isinstance(source, types.GeneratorType) or not (callable(source) or hasattr(source, "__iter__")):
        raise TypeError(
            "fit: with feed='tf.data' the data must be an iterable of batches that can be read again, or a function "
            f"from the number of an epoch to one; got {type(source).__name__}."
        )
    batches = source(resume["epoch"]) if callable(source) else source
    first = next(iter(batches), None)
    if first is None:
        raise _checks.DataError(f"fit: the data of epoch {resume['epoch']} holds no batch.")
    build(model, first)
    try:
        steps = len(batches)
    except TypeError:  # a data set of unknown or no end
        steps = None
    return StreamTurns(model, "train", source, resume["step"]), backend().endless(lambda: first), steps


def build(model, data):
    """Makes all variables of the model, its optimizer, loss and metrics, from the shapes and dtypes of a batch."""
    # What `Model.fit` does on JAX before its first step. No public method does it without running a step.
    model._symbolic_build(data_batch=data)


def _check(model, corpus, batch_fn, plan):
    for name, value, needed in (("corpus", corpus, "features"), ("plan", plan, "epoch")):
        if not hasattr(value, needed):
            raise ValueError(
                f"fit: with feed='device' `{name}` must have `{needed}`; got {name}={value!r}. "
                "Batches from elsewhere go in with feed='tf.data'."
            )
    if not callable(batch_fn):
        raise ValueError(f"fit: with feed='device' `batch_fn` must be a function; got batch_fn={batch_fn!r}.")
    if not model.compiled:
        raise ValueError(f"fit: the model must be compiled first; got {model.name!r}. Call model.compile(...).")
    several = backend().refuse_many_devices(model)
    if several:
        raise ValueError(f"fit: feed='device' works with one device; got {several}. Pass feed='tf.data'.")
