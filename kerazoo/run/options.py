"""How a model is trained: one frozen table of choices, shared by the command line and Python."""

import dataclasses

from kerazoo import _checks

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adafactor", "lion", "muon")
SCHEDULES = ("cosine", "linear", "inverse_sqrt", "constant")
DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")
FEEDS = ("auto", "device", "tf.data", "stream")


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Everything about a training run that is neither the model nor the task.

    Args:
        epochs: Passes over the training data, a positive integer.
        batch_size: Examples of one optimizer step.
        batch_tokens: Positions of one optimizer step in its longest feature instead, 0 to count examples.
        learning_rate: The highest learning rate of the schedule.
        schedule: `"cosine"`, `"linear"` or `"constant"` after the warm-up, or the `"inverse_sqrt"` of 1706.03762.
        warmup: Share of all steps in which the rate rises from zero, in [0, 1).
        optimizer: A name of `kerazoo.run.options.OPTIMIZERS`.
        weight_decay: Decoupled weight decay per step, 0 for none.
        l2: Factor of the summed squares of all kernels, added to the loss, 0 for none.
        l1: The same for absolute values.
        clip_norm: Upper bound of the global gradient norm, 0 for none.
        label_smoothing: Share of the target probability that is spread over the vocabulary, in [0, 1).
        dtype: A Keras dtype policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        seed: Seed of initial weights, dropout and the order of examples.
        patience: Epochs without a better dev result before training stops, 0 for never.
        max_shapes: Most static batch shapes (one compiled program each): 4 for a short training, 8 for a long one.
        packing: Whether several sequences share a row, which leaves hardly any padding; for Transformers that write
            tokens.
        augment: Strings such as `"flip"` or `"word_dropout:rate=0.1"`, see `kerazoo.data.Augment`: how training
            examples are changed at random.
        steps_per_execution: Most optimizer steps of one compiled program, 0 to choose by time.
        feed: `"device"` keeps the data on the device, `"tf.data"` makes batches beside the training, `"auto"` decides
            by size; `"stream"` reads training examples anew in every epoch and keeps none.
        shuffle_buffer: Examples of a stream that are shuffled among each other.
        limit: Most training examples, 0 for all.
        xla: Whether programs are compiled with XLA.
    """

    epochs: int = 10
    batch_size: int = 64
    batch_tokens: int = 0
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.05
    optimizer: str = "adam"
    weight_decay: float = 0.0
    l2: float = 0.0
    l1: float = 0.0
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    dtype: str = "float32"
    seed: int = 0
    patience: int = 0
    max_shapes: int = 4
    packing: bool = False
    augment: tuple = ()
    steps_per_execution: int = 0
    feed: str = "auto"
    shuffle_buffer: int = 10000
    limit: int = 0
    xla: bool = True

    def __post_init__(self):
        owner = "TrainingOptions"
        for name in ("epochs", "batch_size", "max_shapes", "shuffle_buffer"):
            _checks.positive_int(owner, name, getattr(self, name))
        for name in ("seed", "patience", "steps_per_execution", "limit", "batch_tokens"):
            _checks.non_negative_int(owner, name, getattr(self, name))
        _checks.number(owner, "learning_rate", self.learning_rate, low=0, low_open=True)
        for name in ("weight_decay", "clip_norm", "l1", "l2"):
            _checks.number(owner, name, getattr(self, name), low=0)
        for name in ("warmup", "label_smoothing"):
            _checks.rate(owner, name, getattr(self, name))
        _checks.one_of(owner, "schedule", self.schedule, SCHEDULES)
        _checks.one_of(owner, "optimizer", self.optimizer, OPTIMIZERS)
        _checks.one_of(owner, "dtype", self.dtype, DTYPES)
        _checks.one_of(owner, "feed", self.feed, FEEDS)
        object.__setattr__(self, "augment", (self.augment,) if isinstance(self.augment, str) else tuple(self.augment))
        if self.augment:
            from kerazoo.data.augment import AUGMENTATIONS

            for item in self.augment:
                AUGMENTATIONS.parse(item)

    def replace(self, **changes):
        """Returns a copy with `changes`; a name that does not exist is refused with the nearest one."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise ValueError(f"TrainingOptions: no option {name!r}.{_checks.hint(name, names)}")
        return dataclasses.replace(self, **changes)

    def to_dict(self):
        """Returns the options as a dictionary of plain values."""
        return dataclasses.asdict(self)
