"""The model of a run: of a name, with the sizes that the task determines, and what its record adds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _backend, _checks, catalog
from kerazoo.data import cache
from kerazoo.run import memory, model_options

if TYPE_CHECKING:
    import keras

    from kerazoo.tasks import Task
    from kerazoo.training import checkpoints

WEIGHTS_OF_A_BYTE = 64  # of a compressed model, at most: one that is zero takes a bit, or it has a low rank


def add_lora(model: "keras.Model", record: Mapping) -> None:
    """Adds to a built model the LoRA that a run was trained with, if it was.

    Args:
        model: a built model.
        record: mapping. The record of the run.
    """
    from kerazoo import transfer

    options = record["training"]
    if options.get("lora"):
        new = record.get("start", {}).get("new", ())
        transfer.add_lora(model, options["lora"], options.get("lora_alpha") or None, options["lora_layers"], new)


def model_of(
    record: Mapping[str, Any],
    task: "Task",
    store: "checkpoints.CheckpointStore | None" = None,
    lora: bool = True,
) -> "keras.Model":
    """Returns the built model of a run, with its LoRA, and weights of low rank and in a small format where it has them.

    Args:
        record: dict. The record of the run.
        task: `kerazoo.tasks.Task`.
        store: `kerazoo.training.CheckpointStore`. The saved weights that the model must fit. Defaults to `None`: any.
        lora: bool. Whether a run with LoRA gets it. Defaults to `True`.
    """
    from kerazoo import compress

    _backend.keep_programs(cache.compiled_programs_dir)
    factors, stored = record.get("low_rank"), record.get("stored_weights")
    weights_of_a_byte = WEIGHTS_OF_A_BYTE if factors or stored else 1
    model = build_model(record["model"], task, record["model_options"], store, weights_of_a_byte)
    if lora:
        add_lora(model, record)
    if factors:
        compress.prepare_factors(model, factors)
    if stored:
        compress.prepare(model, stored)
    return model


def build_model(
    name: str,
    task: "Task",
    overrides: dict,
    store: "checkpoints.CheckpointStore | None" = None,
    weights_of_a_byte: int = 1,
) -> "keras.Model":
    """Returns the built model `name` with the sizes that `task` determines and the given `overrides`.

    Args:
        name: string. The name of the model.
        task: `kerazoo.tasks.Task`.
        overrides: dict. Arguments of the model.
        store: `kerazoo.training.CheckpointStore`. The saved weights that the model must fit. Defaults to `None`: any.
        weights_of_a_byte: int. How many weights a byte of `store` may hold. Defaults to `1`.

    Raises:
        ValueError: if the model has another number of encoders than the task has inputs, or an option does not fit.
        SetupError: if there is not enough memory.
        CheckpointError: if the model has more weights than `store`; no memory is taken for them.
    """
    options = model_sizes(name, task, overrides)
    given = f"the options {overrides}" if overrides else "its default sizes"
    with (
        memory.reported(f"{name} with {given}", "Set smaller sizes of the model."),
        model_options.refused_by_keras(name, overrides),
        _backend.discard_failed_weights(),
    ):
        if store is None:
            model = catalog.create(name, **options)
        else:  # which is counted once its weights have shapes
            catalog.check_overrides(name, options)
            model = catalog.describe(name).build(options)
        if not model.built:
            _build(model, task, store, weights_of_a_byte)
    task.targets.check_model(model)
    return model


def model_sizes(name: str, task: "Task", overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments with which the model `name` is created for a task: its sizes, and the overrides.

    Args:
        name: string. The name of the model.
        task: `kerazoo.tasks.Task`.
        overrides: dict. Arguments of the model.

    Raises:
        ValueError: if the model has another number of encoders than the task has inputs, or an option does not fit.
    """
    encoders = name.partition("+")[0].count(",") + 1 if "+" in name else 1
    shared = encoders == 1 and catalog.get(name).kind == "dual_encoder"
    if task.inputs and encoders != len(task.inputs) and not shared:
        inputs = " and ".join(f"{feature.modality} ({', '.join(feature.columns)})" for feature in task.inputs)
        raise ValueError(
            f"{task.owner}: `model` must have an encoder for each input; got model={name!r} with {encoders} and the "
            f"inputs {inputs}. Neighbouring texts, and numbers, are one input. Name an encoder for each, such as "
            "model='conv,lstm+lstm' for an image and a text."
        )
    determined = task.sizes()
    if overrides.get("sentences"):
        determined["sentence_ends"] = task.sentence_ends
    accepted = catalog.arguments(name)
    if "stop" in determined and "stop" not in accepted:
        raise ValueError(
            f"{task.owner}: `model` must have a decoder of values, which learns where a sound ends, such as "
            f"model='lstm+lstm_values'; got model={name!r}."
        )
    sizes = {key: value for key, value in determined.items() if key in accepted}
    needed = sizes.get("max_length", 0)
    if (overrides.get("max_length") or needed) < needed:
        option = "length" if task.is_language_model else "max_length"
        raise ValueError(
            f"{task.owner}: `max_length` of the model must be at least {needed}, where the task cuts its texts; got "
            f"max_length={overrides['max_length']}. Set the task's {option}={overrides['max_length']} instead."
        )
    model_options.check(task.owner, determined, overrides)
    for encoder, feature in zip(name.partition("+")[0].split(","), task.inputs):
        if feature.modality == "image":
            model_options.check_images(task.owner, encoder, feature)
    return {**sizes, **overrides}


def _build(model, task, store, weights_of_a_byte):
    """Creates the weights of a model; a plain `keras.Model` knows no shapes and is called on empty examples."""
    from kerazoo.models.base_model import BaseModel

    if isinstance(model, BaseModel):
        with _backend.values_at_the_end(are_restored=store is not None):
            model.build_from_inputs()
            if store is not None:
                _check_count(model, store, weights_of_a_byte)
        return
    dtypes = {name: "str" if dtype == "string" else dtype for name, (_, dtype) in task.signature.items()}
    empty = {name: np.zeros((2, *shape), dtypes[name]) for name, (shape, _) in task.signature.items()}
    inputs = {name: x for name, x in task.encode_packed(empty).items() if name != "prompt"}
    if task.targets.generated:
        inputs["targets"] = np.zeros((2, 3), "int32")
    model(inputs, training=False)


def _check_count(model, store, weights_of_a_byte):
    """Refuses a model that has more weights than were saved, or than fit into memory."""
    saved, count = store.sizes(), model.count_params()
    if saved is not None and count > saved[1] * weights_of_a_byte:
        raise _checks.CheckpointError(
            f"{store.directory.parent}: describes another model than the saved weights are of: it has {count:,} "
            f"parameters, and {saved[1]:,} bytes are saved."
        )
    catalog.check_memory(f"{store.directory.parent}", count)
