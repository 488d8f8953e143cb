"""What differs between a run and the call that continues it, and where its learning rate schedule goes on."""

from collections.abc import Mapping
from typing import Any

from kerazoo import _checks, _files
from kerazoo.run import start
from kerazoo.run.options import TrainingOptions

# How long training goes on and how it is computed may change in every call; everything else changes what is trained.
FREE = (
    "epochs", "patience", "metrics", "average_checkpoints", "checkpoint_every", "on_nan", "restart_schedule",
    "steps_per_execution", "placement", "mesh", "remat", "deterministic", "profile", "xla",
)  # fmt: skip
FIXED = {"freeze", "unfreeze", "lora", "lora_alpha", "lora_layers"}  # what the variables of the optimizer depend on
ORDER = ("batch_size", "batch_tokens", "seed", "max_shapes", "packing", "feed", "shuffle_buffer", "limit")


def check_same_model(where: str, run: Mapping, record: Mapping) -> None:
    """Refuses a call with another model or task than the run has; only the folder of its data may be another.

    Args:
        where: string. The run, as the message names it.
        run: mapping. What the run was trained with: `model`, `model_options`, `task` and `task_options`.
        record: mapping. The same of the call.

    Raises:
        CheckpointError: for the first difference.
    """
    one, two = run.get("start"), record.get("start")
    if not start.same_start(one, two):
        raise _checks.CheckpointError(
            f"{where}: belongs to another run: it began with {_words(one)}; got {_words(two)}. Choose another folder "
            "or repeat its options (run.flags)."
        )
    for name in ("model", "task", "model_options", "task_options"):
        old, new = (_without_folder(_files.plain(each[name])) for each in (run, record))
        if _equal(old, new):
            continue
        if isinstance(old, dict):
            name = next(key for key in {**old, **new} if not _equal(old.get(key), new.get(key)))
            old, new = (repr(each[name]) if name in each else "its default" for each in (old, new))
        else:
            old, new = repr(old), repr(new)
        raise _checks.CheckpointError(
            f"{where}: belongs to another run: its {name} is {old}; got {new}. "
            "Choose another folder or repeat its options (run.flags)."
        )


def check_trainable(where: str, run: Mapping) -> None:
    """Refuses a run whose weights are stored in a small format.

    Raises:
        CheckpointError: if they are.
    """
    if "stored_weights" in run:
        raise _checks.CheckpointError(
            f"{where}: its weights are in a small format, which cannot be trained. Train the run that it was made of, "
            f"{run.get('made_of', {}).get('run_dir')}."
        )


def changed_options(run: Mapping, record: Mapping) -> dict[str, tuple[Any, Any]]:
    """Returns the training options that change what is trained: the value of the run and that of the call, by name."""
    old, new = (_files.plain({**TrainingOptions().to_dict(), **each["training"]}) for each in (run, record))
    for options in (old, new):  # the other feeds make the same batches
        if options["feed"] != "stream":
            options.update(feed="auto", shuffle_buffer=0)
    names = [name for name in new if name not in FREE and not _equal(old.get(name), new[name])]
    return {name: (old.get(name), new[name]) for name in names}


def changed_data(run: Mapping, data: Mapping) -> list[str]:
    """Returns the parts of the data that are not those of the run, such as `"train"`, with the numbers of examples."""
    saved = run.get("data", data)
    return [
        f"{split} ({dict(saved[split]).get('examples')} examples in the run, {each['examples']} now)"
        for split, each in data.items()
        if split in saved and saved[split] != each
    ]


def refusal(where: str, changes: str, fixed: bool = False) -> _checks.CheckpointError:
    """Returns the error of a call that changes what is trained and does not ask for it, or what cannot change."""
    advice = "start another run from this one" if fixed else "go on with these by override_resume=True"
    return _checks.CheckpointError(
        f"{where}: continues with {changes}. Repeat the options of the run (run.flags), choose another folder, or "
        f"{advice}."
    )


def in_words(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Returns changed options as text."""
    return ", ".join(f"{name}={new!r} (the run has {old!r})" for name, (old, new) in changes.items())


def schedule(run: Mapping | None, state: Mapping | None, options: TrainingOptions, steps: int, anew: bool) -> dict:
    """Returns the steps at which the schedule of the learning rate begins and ends, as plain values.

    The schedule ends with the last of `options.epochs`. It begins with the run, or where the run stood when a call
    with another number of epochs had `restart_schedule`.

    Args:
        run: mapping. What the run was trained with, `None` if it is new.
        state: mapping. The state of the newest checkpoint, `None` if there is none.
        options: `TrainingOptions` of the call.
        steps: int. The steps of an epoch now.
        anew: bool. Whether the order of examples changed, so that an epoch may have another number of steps.
    """
    before = (run or {}).get("schedule", {}) if state else {}
    start, shift = int(before.get("start", 0)), int(before.get("shift", 0))
    if state and anew:
        shift = state["step"] - steps * state["epoch"]
    if state and options.restart_schedule:
        old = (run or {}).get("training", {})
        if not old.get("restart_schedule") or old.get("epochs") != options.epochs:
            start = state["step"]
    return {"start": start, "shift": shift, "end": max(steps * options.epochs + shift, start + 1)}


def _words(begin):
    """Returns what a run began with."""
    if begin is None:
        return "new weights"
    return f"{begin['path']} ({', '.join([begin['checkpoint'], begin['vocabulary'], *begin['adapters']])})"


def _without_folder(options):
    return {key: value for key, value in options.items() if key != "data_dir"} if isinstance(options, dict) else options


def _equal(one, two):
    return one == two or repr(one) == repr(two)  # NaN differs from itself
