"""Compiles a model with the optimizer, the loss and the metrics of its `TrainingOptions`."""

from typing import TYPE_CHECKING, Any

import keras

from kerazoo.run.options import TrainingOptions
from kerazoo.training import schedules

if TYPE_CHECKING:
    from kerazoo.tasks import Task


def compile_model(model: keras.Model, task: "Task", options: TrainingOptions, total_steps: int) -> None:
    """Compiles `model` for `task`: optimizer with its schedule, loss, metrics and weight regularization.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`. It defines the loss and the metrics.
        options: `TrainingOptions`.
        total_steps: int. The number of optimizer steps of the whole training, at which the schedule ends.
    """
    if options.l1 or options.l2:
        regularize(model, options.l1, options.l2)
    model.compile(
        optimizer=optimizer(options, total_steps),
        loss=task.loss(label_smoothing=options.label_smoothing),
        weighted_metrics=task.metrics(),
        jit_compile=options.xla,
    )


def schedule(options: TrainingOptions, total_steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate as a function of the step."""
    peak = options.learning_rate
    warmup = min(int(options.warmup * total_steps), total_steps - 1)
    if options.schedule == "cosine":
        return schedules.WarmupCosine(peak, warmup, total_steps)
    if options.schedule == "linear":
        return schedules.WarmupLinear(peak, warmup, total_steps)
    if options.schedule == "inverse_sqrt":
        return schedules.InverseSquareRoot(peak, max(warmup, 1))
    return schedules.WarmupConstant(peak, warmup)


def optimizer(options: TrainingOptions, total_steps: int) -> keras.optimizers.Optimizer:
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
    arguments: dict[str, Any] = {"learning_rate": schedule(options, total_steps)}
    if options.weight_decay:
        arguments["weight_decay"] = options.weight_decay
    if options.clip_norm:
        arguments["global_clipnorm"] = options.clip_norm
    return classes[options.optimizer](**arguments)


def regularize(model: keras.Model, l1: float, l2: float) -> None:
    """Adds L1 and L2 penalties to every trainable kernel: weights of rank two or more, except embeddings."""
    for variable in model.trainable_variables:
        if len(variable.shape) > 1 and "embedding" not in variable.path.lower():
            variable.regularizer = keras.regularizers.L1L2(l1=l1, l2=l2)
