"""Plans, augments and feeds the batches of a training run."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.run import report
from kerazoo.run.options import TrainingOptions

if TYPE_CHECKING:
    from kerazoo import data
    from kerazoo.tasks import Task

MANY_STEPS = 32  # of a validation: fewer take less time than compiling another shape
MAX_DEVICE_BYTES = 1 << 30  # a larger corpus is fed with tf.data instead of being copied to the device


def plans(options: TrainingOptions, corpus: "data.Corpus | data.Stream", dev: "data.Corpus | None") -> tuple:
    """Returns the plans of the training and of the dev examples, `None` if there are none."""
    from kerazoo import data

    size = {"tokens": options.batch_tokens} if options.batch_tokens else {"batch_size": options.batch_size}
    if options.feed == "stream":
        plan = _stream_plan(options, corpus, size)
    elif options.packing:
        plan = data.PackedPlan.of(corpus, seed=options.seed, **size)
    else:
        plan = data.Plan.of(corpus, max_shapes=options.max_shapes, seed=options.seed, **size)
    return plan, None if dev is None else _dev_plan(dev, options.max_shapes, size)


def _dev_plan(dev, max_shapes, size):
    """Returns a plan with few shapes, for each is compiled: a further one must save a third of the positions."""
    from kerazoo import data

    plan = data.Plan.of(dev, max_shapes=1, shuffle=False, **size)
    for count in range(2, max_shapes + 1):
        more = data.Plan.of(dev, max_shapes=count, shuffle=False, **size)
        if plan.steps < MANY_STEPS or more.valid_fraction < 1.5 * plan.valid_fraction:
            break
        plan = more
    return plan


def _stream_plan(options, stream, size):
    from kerazoo import data

    if not isinstance(stream, data.Stream):
        raise ValueError(f"TrainingOptions: feed='stream' needs a task that reads in chunks; got {stream}.")
    report.log(
        f"feed=stream: {options.shuffle_buffer:,} examples are shuffled among each other. A run that resumes reads the "
        "data again up to its position: approximate, unless the examples have the same order."
    )
    return data.StreamPlan(
        stream, options.shuffle_buffer, limit=options.limit, seed=options.seed, max_shapes=options.max_shapes, **size
    )


def augment(options: TrainingOptions, corpus: "data.Corpus") -> "data.Augment | None":
    """Returns the augmentation of the training batches, or `None`."""
    from kerazoo import data

    if not options.augment:
        return None
    return data.Augment(options.augment, corpus, seed=options.seed, packed=options.packing)


def class_weight(options: TrainingOptions, task: "Task", corpus: Any) -> dict[int, float]:
    """Returns the weight of each class by its number, an empty dictionary if all weigh the same."""
    given, owner = options.class_weight, "TrainingOptions"
    if not given:
        return {}
    if task.targets.modality != "label":
        raise ValueError(
            f"{owner}: `class_weight` needs a label as target; got class_weight={given} for a target of modality "
            f"{task.targets.modality!r}."
        )
    targets: Any = task.targets
    names = targets.names
    if given == ("balanced",):
        if not hasattr(corpus, "features"):
            raise ValueError(
                f"{owner}: the classes of a stream are not counted; got feed='stream' with class_weight={given}. "
                "Give the weights as NAME=WEIGHT."
            )
        counts = np.bincount(np.asarray(corpus.features["targets"]), minlength=len(names))
        return {index: len(corpus) / (len(names) * count) for index, count in enumerate(counts.tolist()) if count}
    weights = {}
    for item in given:
        name, equals, number = item.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"{owner}: `class_weight` must be 'balanced' or NAME=WEIGHT; got {item!r}.")
        _checks.one_of(owner, "class_weight", name, names)
        weights[names.index(name)] = _checks.number(owner, f"class_weight of {name!r}", weight, low=0)
    return weights


def choose_feed(corpus: "data.Corpus") -> str:
    """Returns the default feed of a corpus by its size: `"device"` or `"tf.data"`."""
    return "device" if corpus.nbytes <= MAX_DEVICE_BYTES else "tf.data"


def stream(corpus: "data.Corpus", plan: Any, batch_fn: Callable, epoch: int, change: Callable | None) -> Iterable:
    """Returns an iterable of the batches of one epoch of a corpus or a stream, prepared ahead of the training step.

    On TensorFlow the batches are made by `tf.data`, on the other backends by NumPy alone.
    """
    import keras

    from kerazoo import data

    if isinstance(plan, data.StreamPlan):
        return plan.batches(epoch, batch_fn, change)
    feed = data.dataset if keras.backend.backend() == "tensorflow" else data.batches
    return feed(corpus, plan, batch_fn, epoch=epoch, augment=change)
