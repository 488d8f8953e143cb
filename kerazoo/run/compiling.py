"""Compiles a model with the optimizer, the loss and the metrics of its `TrainingOptions`."""

from typing import TYPE_CHECKING, Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from kerazoo.run.options import TrainingOptions
from kerazoo.training import GradientAccumulation, layer_factors, named_factors, scale_rates, schedules

if TYPE_CHECKING:
    from kerazoo.tasks import Task


def compile_model(model: keras.Model, task: "Task", options: TrainingOptions, rates: LearningRateSchedule) -> None:
    """Compiles `model` for `task`: optimizer with its schedule, loss, metrics and weight regularization.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`. It defines the loss and the metrics.
        options: `TrainingOptions`.
        rates: a learning rate schedule of Keras, as a function of the number of the batch.
    """
    if options.l1 or options.l2:
        regularize(model, options.l1, options.l2)
    model.compile(
        optimizer=optimizer(options, rates),
        loss=task.loss(label_smoothing=options.label_smoothing),
        weighted_metrics=task.metrics(),
        jit_compile=options.xla,
    )


class _Shifted(LearningRateSchedule):
    """A schedule of the batches from the one with number `start`, as a function of updates of `batches` each."""

    def __init__(self, inner, start, batches=1):
        self.inner = inner
        self.start = start
        self.batches = batches

    def __call__(self, step):
        return self.inner(keras.ops.maximum(step * self.batches - self.start, 0))

    def get_config(self):
        return {"inner": self.inner, "start": self.start, "batches": self.batches}


def schedule(options: TrainingOptions, start: int, end: int) -> LearningRateSchedule:
    """Returns the learning rate as a function of the batch, by a schedule from batch `start` to batch `end`."""
    found = _schedule(options, end - start)
    return _Shifted(found, start) if start else found


def _schedule(options, total_steps):
    peak = options.learning_rate
    warmup = min(int(options.warmup * total_steps), total_steps - 1)
    if options.schedule == "inverse_sqrt":
        return schedules.InverseSquareRoot(peak, max(warmup, 1))
    if options.schedule == "constant":
        return schedules.WarmupConstant(peak, warmup)
    classes = {
        "cosine": schedules.WarmupCosine,
        "linear": schedules.WarmupLinear,
        "one_cycle": schedules.OneCycle,
        "stable_decay": schedules.WarmupStableDecay,
        "exponential": schedules.WarmupExponential,
        "piecewise": schedules.WarmupPiecewise,
    }
    return classes[options.schedule](peak, warmup, total_steps)


def optimizer(options: TrainingOptions, rates: LearningRateSchedule) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer of the options, with a learning rate that is a function of the batch."""
    classes = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": lambda **arguments: keras.optimizers.SGD(momentum=0.9, nesterov=True, **arguments),
        "rmsprop": keras.optimizers.RMSprop,
        "adafactor": keras.optimizers.Adafactor,
        "lion": keras.optimizers.Lion,
        "muon": keras.optimizers.Muon,
    }
    batches = options.gradient_accumulation_steps
    arguments: dict[str, Any] = {"learning_rate": _Shifted(rates, 0, batches) if batches > 1 else rates}
    if options.weight_decay:
        arguments["weight_decay"] = options.weight_decay
    if options.clip_norm:
        arguments["global_clipnorm"] = options.clip_norm
    if options.ema_momentum:
        arguments.update(use_ema=True, ema_momentum=options.ema_momentum)
    found = classes[options.optimizer](**arguments)
    if options.layer_decay != 1 or options.rate_factors:
        scale_rates(found, lambda variables: _factors(variables, options))
    return GradientAccumulation(found, batches) if batches > 1 else found


def _factors(variables, options):
    """Returns the factor of the learning rate of each variable."""
    by_layer = layer_factors(variables, options.layer_decay)
    return [a * b for a, b in zip(by_layer, named_factors(variables, options.rate_rules()))]


def regularize(model: keras.Model, l1: float, l2: float) -> None:
    """Adds L1 and L2 penalties to every trainable kernel: weights of rank two or more, except embeddings."""
    for variable in model.trainable_variables:
        if len(variable.shape) > 1 and "embedding" not in variable.path.lower():
            variable.regularizer = keras.regularizers.L1L2(l1=l1, l2=l2)
