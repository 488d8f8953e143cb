"""The options of a training run, shared by the command line and Python."""

import dataclasses
import re
from typing import Any

from kerazoo import _checks
from kerazoo.compress.sparsity import parse_sparsity

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adafactor", "lion", "muon")
SCHEDULES = (
    "cosine", "linear", "one_cycle", "stable_decay", "exponential", "piecewise", "inverse_sqrt", "constant",
)  # fmt: skip
DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")
MAX_SEED = 2**32 - 1  # that NumPy takes
ON_NAN = ("stop", "rewind")
DISTILLATIONS = ("logits", "sequences")
FEEDS = ("auto", "device", "tf.data", "stream")
PLACEMENTS = ("auto", "single", "mirrored", "data_parallel", "model_parallel")


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Everything about a training run that is neither the model nor the task.

    Args:
        epochs: int. The number of passes over the training data; 0 only for a run that starts from other weights.
            Defaults to `10`.
        batch_size: int. The number of examples of one batch. Defaults to `64`.
        batch_tokens: int or string. The number of positions of one batch in its longest feature, which then replaces
            `batch_size`; 0 counts examples. `"auto"` finds the fastest number for each position by short trials when
            the run begins. Defaults to `0`.
        gradient_accumulation_steps: int. The number of batches whose gradients make one update of the weights, see
            `kerazoo.training.GradientAccumulation`. Steps and schedules count batches all the same. Defaults to `1`.
        learning_rate: float or string. The peak learning rate of the schedule. `"find"` finds it by a short sweep over
            growing rates when the run begins. Defaults to `1e-3`.
        schedule: string. The rate after the warmup: `"cosine"`, `"linear"`, `"exponential"` (to a hundredth),
            `"piecewise"` (a tenth after half and after three quarters), `"stable_decay"` (constant, linear in the last
            fifth), `"one_cycle"`, `"constant"`, or `"inverse_sqrt"` as in arXiv:1706.03762. Defaults to `"cosine"`.
        warmup: float in [0, 1). The share of all steps in which the rate rises from zero. Defaults to `0.05`.
        layer_decay: float in (0, 1]. The factor of the learning rate from each layer of a stack to the one below it,
            see `kerazoo.training.layer_factors`. Defaults to `1.0`: all have the same rate.
        rate_factors: tuple of strings `"PATTERN=FACTOR"`. Factors of the learning rate of the variables in whose path
            the regular expression is found, such as `"embedding=0.1"`; 0 keeps them as they are. Defaults to `()`.
        freeze: tuple of strings. Patterns of the paths or names of layers that are not trained, see
            `kerazoo.transfer.find_layers`. Their batch normalization keeps its statistics, and their dropout stays
            active. Defaults to `()`.
        unfreeze: tuple of strings `"LAYER@EPOCH"`. Layers that are frozen at first and trained from that epoch on,
            counted from 1, such as `"encoder.block_3@2"`. Defaults to `()`.
        lora: int, not negative. The rank of LoRA: the weights that a run starts from are frozen, and a product of two
            thin matrices is trained beside each kernel; new weights, such as those of a new head, are trained as well.
            See `kerazoo.transfer.add_lora`. Defaults to `0`: no LoRA.
        lora_alpha: float, not negative. The factor of the product before the division by the rank. Defaults to `0.0`:
            the rank.
        lora_layers: tuple of strings. Patterns of the layers whose dense layers have LoRA. Defaults to `()`: all in
            encoders and decoders.
        restart_schedule: bool. Whether a run that continues with another number of epochs begins a new schedule where
            it stands, warmup included, and not the schedule of all epochs from the beginning. Defaults to `False`.
        optimizer: string. A name of `kerazoo.run.options.OPTIMIZERS`. Defaults to `"adam"`.
        weight_decay: float. The decoupled weight decay per step, 0 for none. Defaults to `0.0`.
        l2: float. The factor of the summed squares of all kernels, added to the loss. Defaults to `0.0`.
        l1: float. The same for absolute values. Defaults to `0.0`.
        clip_norm: float. The upper bound of the global gradient norm, 0 for none. Defaults to `1.0`.
        label_smoothing: float in [0, 1). The share of the target probability that is spread over all classes or
            tokens. Defaults to `0.0`.
        consistency: float, not negative. The weight of the difference between two predictions of each batch with other
            dropout, such as 5, see `kerazoo.training.Consistency`. Defaults to `0.0`: one prediction.
        scheduled_sampling: float in [0, 1]. The probability in the end with which a recurrent decoder reads its own
            prediction in training, in place of the true token; it rises linearly over the whole training, see
            `kerazoo.training.ScheduledSampling`. Defaults to `0.0`.
        class_weight: tuple of strings `"NAME=WEIGHT"`, the weights of classes in the loss and the metrics of training,
            for a label as target; a class without one has weight 1. Or `"balanced"`: the number of examples divided by
            the number of classes and by the examples of the class. Defaults to `()`.
        dtype: string. A Keras dtype policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`. Defaults to
            `"float32"`.
        seed: int, not negative. The seed of initial weights, dropout and the order of examples. Defaults to `0`.
        patience: int. The number of epochs without a better dev result after which training stops, 0 for never.
            Defaults to `0`.
        ema_momentum: float in [0, 1). The momentum of the exponential moving averages of the weights, such as 0.999, 0
            for none. The averages are then validated, selected, loaded and exported in place of the weights; training
            goes on with the weights. Defaults to `0.0`.
        checkpoint_every: int or string. How often a checkpoint is written within an epoch: a number of steps, such as
            `500`, or minutes, such as `"10m"`; 0 for never. The end of an epoch always has one. Defaults to `"5m"`.
        on_nan: string. What happens when training diverges: `"stop"` ends it, `"rewind"` goes back to the last
            checkpoint and leaves out the batches that diverged, three times at most. Defaults to `"stop"`.
        prune: string. The share of zeros that the kernels and embeddings end with, such as `"0.8"`, or `"2:4"`, see
            `kerazoo.compress.Pruning`; `"0"` keeps the zeros of the weights that training begins with. The zeros grow
            during the first half of the training, and only epochs after that can be the best. Defaults to `""`: all
            weights are trained.
        rounding: string. `"int8"` or `"int4"`: the weights are rounded to this format wherever a layer reads them, see
            `kerazoo.compress.round_weights`, so that little is lost when they are stored in it. Defaults to `""`: they
            are not.
        teacher: tuple of strings. Folders of trained runs for the same data that the model learns from as well, see
            `kerazoo.compress.distil`. Defaults to `()`.
        teacher_data: string. A file with a text in each line, without targets: the best predictions of the teachers for
            them are further examples. Defaults to `""`.
        distillation: string. `"logits"` compares the distributions of the model and of the teachers; `"sequences"`
            also replaces the targets of the training examples by what the teachers predict for them, as
            arXiv:1606.07947 does. Defaults to `"logits"`.
        distillation_weight: float in [0, 1]. The share of this distance in the loss. Defaults to `0.5`.
        distillation_temperature: float, above 0. What logits are divided by. Defaults to `2.0`.
        distillation_hidden: float. The factor of the distance between the encoded sequences, 0 for none. Defaults to
            `0.0`.
        average_checkpoints: int. The number of the last epochs whose states are kept, so that `checkpoint="average"`
            loads the mean of their weights; 0 for none. Defaults to `0`.
        max_shapes: int. The largest number of static batch shapes, each of which is one compiled program. Defaults to
            `4`.
        packing: bool. Whether several sequences share a row, which leaves little padding; for Transformers that
            generate tokens. Defaults to `False`.
        augment: tuple of strings such as `"flip"` or `"word_dropout:rate=0.1"`. The random augmentations of training
            examples, see `kerazoo.data.Augment`. Defaults to `()`.
        steps_per_execution: int. The largest number of optimizer steps of one compiled program, 0 to choose it by
            time. Defaults to `0`.
        feed: string. `"device"` keeps the data on the device, `"tf.data"` prepares batches in parallel to training,
            `"auto"` decides by size; `"stream"` reads the training examples again in every epoch and stores none.
            Defaults to `"auto"`.
        shuffle_buffer: int. The number of examples of a stream that are shuffled together. Defaults to `10000`.
        limit: int. The largest number of training examples, 0 for all. They are spread evenly over the data; of a
            stream they are the first ones. Defaults to `0`.
        placement: string. The devices that train: `"single"`; `"mirrored"`, copies of the model on the GPUs of one
            machine, on TensorFlow; on JAX `"data_parallel"`, which divides the batches among the devices, or
            `"model_parallel"`, which divides the weights as well; or `"auto"`, see
            `kerazoo.training.distribution.choose`. Defaults to `"auto"`.
        mesh: string. The number of devices of each axis, such as `"data:4,model:2"`. Defaults to `""`: all devices.
        remat: bool. Whether the blocks of Transformers and of convolutional encoders compute their activations again in
            the backward pass, in place of keeping them in memory. Defaults to `False`.
        deterministic: bool. Whether operations take deterministic algorithms where they have others, which may be
            slower. Defaults to `False`.
        profile: string. `"FIRST:LAST"`: the steps whose profile is written into the run for TensorBoard. Defaults to
            `""`: none.
        xla: bool. Whether programs are compiled with XLA; those of models with convolutions never are on a CPU, where
            TensorFlow's own are faster. Defaults to `True`.

    Raises:
        ValueError: if a value is out of its range.
        TypeError: if a size is not an integer.
    """

    epochs: int = 10
    batch_size: int = 64
    batch_tokens: int | str = 0
    gradient_accumulation_steps: int = 1
    learning_rate: float | str = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.05
    layer_decay: float = 1.0
    rate_factors: tuple = ()
    freeze: tuple = ()
    unfreeze: tuple = ()
    lora: int = 0
    lora_alpha: float = 0.0
    lora_layers: tuple = ()
    restart_schedule: bool = False
    optimizer: str = "adam"
    weight_decay: float = 0.0
    l2: float = 0.0
    l1: float = 0.0
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    consistency: float = 0.0
    scheduled_sampling: float = 0.0
    class_weight: tuple = ()
    dtype: str = "float32"
    seed: int = 0
    patience: int = 0
    monitor: str = ""
    monitor_limit: int = 200
    metrics: tuple = ()
    prune: str = ""
    rounding: str = ""
    teacher: tuple = ()
    teacher_data: str = ""
    distillation: str = "logits"
    distillation_weight: float = 0.5
    distillation_temperature: float = 2.0
    distillation_hidden: float = 0.0
    average_checkpoints: int = 0
    ema_momentum: float = 0.0
    checkpoint_every: str = "5m"
    on_nan: str = "stop"
    max_shapes: int = 4
    packing: bool = False
    augment: tuple = ()
    steps_per_execution: int = 0
    feed: str = "auto"
    shuffle_buffer: int = 10000
    limit: int = 0
    placement: str = "auto"
    mesh: str = ""
    remat: bool = False
    deterministic: bool = False
    profile: str = ""
    xla: bool = True

    def __post_init__(self):
        owner = "TrainingOptions"
        _checks.non_negative_int(owner, "epochs", self.epochs)
        for name in ("batch_size", "gradient_accumulation_steps", "max_shapes", "shuffle_buffer"):
            _checks.positive_int(owner, name, getattr(self, name))
        sizes = ("seed", "patience", "average_checkpoints", "steps_per_execution", "limit", "monitor_limit", "lora")
        for name in (*sizes, *(() if self.batch_tokens == "auto" else ("batch_tokens",))):
            value = _checks.non_negative_int(owner, name, getattr(self, name))
            _checks.not_above(owner, name, value, MAX_SEED if name == "seed" else _checks.MAX_INT)
        if self.learning_rate != "find":
            _checks.number(owner, "learning_rate", self.learning_rate, low=0, low_open=True)
        _checks.number(owner, "consistency", self.consistency, low=0)
        _checks.number(owner, "scheduled_sampling", self.scheduled_sampling, low=0, high=1)
        _checks.number(owner, "layer_decay", self.layer_decay, low=0, high=1, low_open=True)
        for name in ("weight_decay", "clip_norm", "l1", "l2", "lora_alpha"):
            _checks.number(owner, name, getattr(self, name), low=0)
        for name in ("warmup", "label_smoothing", "ema_momentum"):
            _checks.rate(owner, name, getattr(self, name))
        _checks.one_of(owner, "schedule", self.schedule, SCHEDULES)
        _checks.one_of(owner, "optimizer", self.optimizer, OPTIMIZERS)
        _checks.one_of(owner, "dtype", self.dtype, DTYPES)
        _checks.one_of(owner, "feed", self.feed, FEEDS)
        if self.packing and self.feed == "stream":
            raise ValueError(
                f"{owner}: a stream cannot be packed; got feed='stream' with packing=True. Set one of them only."
            )
        self._check_compression(owner)
        _checks.one_of(owner, "on_nan", self.on_nan, ON_NAN)
        _checks.one_of(owner, "placement", self.placement, PLACEMENTS)
        object.__setattr__(self, "checkpoint_every", str(self.checkpoint_every))
        self.checkpoint_period()
        self.profiled_steps()
        for name in ("augment", "class_weight", "rate_factors", "teacher"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for name in ("metrics", "freeze", "unfreeze", "lora_layers"):
            object.__setattr__(self, name, _names(getattr(self, name)))
        self._check_lora()
        self.rate_rules()
        self.unfreeze_rules()
        if self.augment:
            from kerazoo.data.augment import AUGMENTATIONS

            for item in self.augment:
                AUGMENTATIONS.parse(item)

    def _check_compression(self, owner):
        """Checks pruning and distillation."""
        if self.prune != "":
            parse_sparsity(owner, self.prune)
        _checks.one_of(owner, "rounding", self.rounding, ("", "int8", "int4"))
        _checks.one_of(owner, "distillation", self.distillation, DISTILLATIONS)
        _checks.number(owner, "distillation_weight", self.distillation_weight, low=0, high=1)
        _checks.number(owner, "distillation_temperature", self.distillation_temperature, low=0, low_open=True)
        _checks.number(owner, "distillation_hidden", self.distillation_hidden, low=0)
        for name in ("teacher_data", "distillation", "distillation_hidden"):
            if getattr(self, name) != getattr(type(self), name) and not self.teacher:
                raise ValueError(
                    f"{owner}: `{name}` needs a `teacher`, the folder of a trained run; got {name}="
                    f"{getattr(self, name)!r} without one."
                )
        if self.teacher and self.feed == "stream":
            raise ValueError(f"{owner}: `teacher` needs examples in memory; got feed='stream'. Leave it out.")

    def checkpoint_period(self) -> dict[str, Any]:
        """Returns the steps and the minutes between two checkpoints, one of them `None`; both for none.

        Raises:
            ValueError: if `checkpoint_every` is neither a number of steps nor of minutes.
        """
        steps = re.fullmatch(r"\d+", self.checkpoint_every)
        minutes = re.fullmatch(r"(\d+(?:\.\d+)?) ?m(?:in)?", self.checkpoint_every)
        if not steps and not minutes:
            raise ValueError(
                "TrainingOptions: `checkpoint_every` must be a number of steps, such as 500, or of minutes, such as "
                f"10m; got checkpoint_every={self.checkpoint_every!r}."
            )
        return {"every_steps": steps and int(steps[0]) or None, "minutes": minutes and float(minutes[1]) or None}

    def profiled_steps(self) -> tuple[int, int] | None:
        """Returns the first and the last step of `profile`, `None` without one.

        Raises:
            ValueError: if it has another form.
        """
        if not self.profile:
            return None
        found = re.fullmatch(r"(\d+):(\d+)", self.profile)
        if not found or not 0 < int(found[1]) <= int(found[2]):
            raise ValueError(
                f"TrainingOptions: `profile` must be FIRST:LAST, such as 100:110; got profile={self.profile!r}."
            )
        return int(found[1]), int(found[2])

    @property
    def freezes(self) -> bool:
        """Whether some layers are frozen, at least at first."""
        return bool(self.freeze or self.unfreeze)

    def unfreeze_rules(self) -> list[tuple[str, int]]:
        """Returns pattern and epoch of each of `unfreeze`.

        Raises:
            ValueError: if one of them has another form.
        """
        rules = []
        for item in self.unfreeze:
            pattern, _, epoch = item.rpartition("@")
            if not pattern or not epoch.isdecimal() or int(epoch) < 2:
                raise ValueError(
                    "TrainingOptions: `unfreeze` must be LAYER@EPOCH with an epoch of at least 2, such as "
                    f"encoder.block_3@2; got {item!r}."
                )
            rules.append((pattern, int(epoch)))
        return rules

    def _check_lora(self):
        if self.lora and self.freezes:
            raise ValueError(
                f"TrainingOptions: `lora` freezes all weights that are not new; got lora={self.lora} with "
                f"freeze={','.join(self.freeze)!r}, unfreeze={','.join(self.unfreeze)!r}. Leave these out."
            )
        if not self.lora and (self.lora_alpha or self.lora_layers):
            raise ValueError(
                f"TrainingOptions: `lora_alpha` and `lora_layers` need LoRA; got lora=0, lora_alpha={self.lora_alpha}, "
                f"lora_layers={','.join(self.lora_layers)!r}. Set lora=8."
            )

    def rate_rules(self) -> list[tuple[str, float]]:
        """Returns regular expression and factor of each of `rate_factors`.

        Raises:
            ValueError: if one of them has another form.
        """
        rules = []
        for item in self.rate_factors:
            pattern, _, factor = item.rpartition("=")
            try:
                re.compile(pattern)
                rules.append((pattern, _checks.number("TrainingOptions", "rate_factors", float(factor), low=0)))
            except (ValueError, re.error):
                pattern = ""
            if not pattern:
                raise ValueError(
                    "TrainingOptions: `rate_factors` must be PATTERN=FACTOR with a regular expression and a number of "
                    f"at least 0; got {item!r}."
                )
        return rules

    def replace(self, **changes: Any) -> "TrainingOptions":
        """Returns a copy with `changes`.

        Raises:
            ValueError: if there is no such option; the message offers the nearest name.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise ValueError(f"TrainingOptions: no option {name!r}.{_checks.hint(name, names)}")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict:
        """Returns the options as a dictionary of plain values."""
        return dataclasses.asdict(self)


def _names(value):
    """Returns names of which several may stand in one string, with commas between them."""
    values = [value] if isinstance(value, str) else value
    return tuple(name.strip() for each in values for name in each.split(",") if name.strip())
