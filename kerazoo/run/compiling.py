"""Compiles a model with the optimizer, the loss and the metrics of its `TrainingOptions`."""

from typing import TYPE_CHECKING, Any

import keras

from kerazoo.run.options import TrainingOptions
from kerazoo.training import GradientAccumulation, schedules

if TYPE_CHECKING:
    from kerazoo.tasks import Task


def compile_model(model: keras.Model, task: "Task", options: TrainingOptions, start: int, end: int) -> None:
    """Compiles `model` for `task`: optimizer with its schedule, loss, metrics and weight regularization.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`. It defines the loss and the metrics.
        options: `TrainingOptions`.
        start: int. The batch at which the schedule of the learning rate begins.
        end: int, above `start`. The batch at which it ends.
    """
    if options.l1 or options.l2:
        regularize(model, options.l1, options.l2)
    model.compile(
        optimizer=optimizer(options, start, end),
        loss=task.loss(label_smoothing=options.label_smoothing),
        weighted_metrics=task.metrics(),
        jit_compile=options.xla,
    )


class _Shifted(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the batches from the one with number `start`, as a function of updates of `batches` each."""

    def __init__(self, inner, start, batches=1):
        self.inner = inner
        self.start = start
        self.batches = batches

    def __call__(self, step):
        return self.inner(keras.ops.maximum(step * self.batches - self.start, 0))

    def get_config(self):
        return {"inner": self.inner, "start": self.start, "batches": self.batches}


def schedule(options: TrainingOptions, start: int, end: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate as a function of the step, by a schedule from step `start` to step `end`."""
    found = _schedule(options, end - start)
    return _Shifted(found, start) if start else found


def _schedule(options, total_steps):
    peak = options.learning_rate
    warmup = min(int(options.warmup * total_steps), total_steps - 1)
    if options.schedule == "cosine":
        return schedules.WarmupCosine(peak, warmup, total_steps)
    if options.schedule == "linear":
        return schedules.WarmupLinear(peak, warmup, total_steps)
    if options.schedule == "inverse_sqrt":
        return schedules.InverseSquareRoot(peak, max(warmup, 1))
    return schedules.WarmupConstant(peak, warmup)


def optimizer(options: TrainingOptions, start: int, end: int) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer of the options."""
    classes = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": lambda **arguments: keras.optimizers.SGD(momentum=0.9, nesterov=True, **arguments),
        "rmsprop": keras.optimizers.RMSprop,
        "adafactor": keras.optimizers.Adafactor,
        "lion": keras.optimizers.Lion,
        "muon": keras.optimizers.Muon,
    }
    rates, batches = schedule(options, start, end), options.gradient_accumulation_steps
    arguments: dict[str, Any] = {"learning_rate": _Shifted(rates, 0, batches) if batches > 1 else rates}
    if options.weight_decay:
        arguments["weight_decay"] = options.weight_decay
    if options.clip_norm:
        arguments["global_clipnorm"] = options.clip_norm
    if options.ema_momentum:
        arguments.update(use_ema=True, ema_momentum=options.ema_momentum)
    found = classes[options.optimizer](**arguments)
    return GradientAccumulation(found, batches) if batches > 1 else found


def regularize(model: keras.Model, l1: float, l2: float) -> None:
    """Adds L1 and L2 penalties to every trainable kernel: weights of rank two or more, except embeddings."""
    for variable in model.trainable_variables:
        if len(variable.shape) > 1 and "embedding" not in variable.path.lower():
            variable.regularizer = keras.regularizers.L1L2(l1=l1, l2=l2)
