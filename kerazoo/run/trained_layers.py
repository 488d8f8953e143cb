"""Which layers of a model are trained and how: frozen ones, LoRA, and blocks that are computed anew backward."""

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from kerazoo.run import report
from kerazoo.run.options import TrainingOptions

if TYPE_CHECKING:
    import keras

    from kerazoo.training import Unfreeze


def freeze(model: "keras.Model", options: TrainingOptions) -> "Unfreeze | None":
    """Freezes the layers that the options name; returns the callback that unfreezes some of them, if there are any.

    Args:
        model: `keras.Model`. One that is built.
        options: `TrainingOptions`, of which `freeze` and `unfreeze` count.

    Raises:
        ValueError: if a pattern matches no layer, or nothing is left to train in the first epoch.
    """
    from kerazoo import training, transfer

    layers, later, owner = transfer.layers(model), {}, "TrainingOptions"
    paths = transfer.find_layers(owner, "freeze", model, options.freeze)
    for pattern, epoch in options.unfreeze_rules():
        found = transfer.find_layers(owner, "unfreeze", model, [pattern])
        later.setdefault(epoch, []).extend(layers[path] for path in found)
        paths += found
    for path in paths:
        training.set_trainable(layers[path], False)
    if not model.trainable_variables:
        raise ValueError(
            f"{owner}: `freeze` must leave layers to train from the first epoch on; got "
            f"freeze={','.join(options.freeze)!r}, unfreeze={','.join(options.unfreeze)!r}."
        )
    return training.Unfreeze(later) if later else None


def describe(model: "keras.Model", origins: Mapping[str, str], unfreeze: "Unfreeze | None", lora: int = 0) -> list[str]:
    """Returns where the weights of a model are from, and which are trained, as the lines of a table.

    With LoRA the weights that are kept are frozen first.

    Args:
        model: `keras.Model`. One that is built.
        origins: mapping from the path of each weight to `"kept"`, `"new"` or what else is kept of it.
        unfreeze: `kerazoo.training.Unfreeze` or `None`.
        lora: int. The rank of LoRA, 0 for none. Defaults to `0`.
    """
    from kerazoo import transfer

    if lora:
        for path, variable in transfer.variables(model).items():
            variable.trainable = variable.trainable and origins.get(path) != "kept"
    first_epochs = unfreeze.first_epochs() if unfreeze else {}
    return report.aligned(transfer.weight_table(model, origins, first_epochs))


def add_lora(model: "keras.Model", options: TrainingOptions, new: Collection[str]) -> str:
    """Adds LoRA to a model, and returns a line about it.

    Args:
        model: `keras.Model`. One that is built.
        options: `TrainingOptions`, of which those of LoRA count.
        new: collection of strings. Paths of weights that are trained whole.

    Raises:
        ValueError: if a pattern matches no dense layer.
    """
    from kerazoo import transfer

    before = model.count_params()
    adapted = transfer.add_lora(model, options.lora, options.lora_alpha or None, options.lora_layers, new)
    count = model.count_params() - before
    return (
        f"LoRA of rank {options.lora} in {len(adapted):,} layers: {count:,} more weights are trained, "
        f"{count / before:.2%} of the model."
    )


def merge_lora(model: "keras.Model", path: str | os.PathLike, print_fn: Callable[[str], None]) -> None:
    """Makes an ordinary model of one with LoRA; of several processes the first one saves what LoRA trained.

    Args:
        model: `keras.Model`. One with LoRA.
        path: string or path. The file of the adapter.
        print_fn: function of a string that prints a line about the file.
    """
    from kerazoo import transfer
    from kerazoo.training import processes

    if processes.is_first():
        transfer.save_adapter(model, path)
        print_fn(f"{path}: the adapter, {os.path.getsize(path):,} bytes.")
    transfer.merge_lora(model)


def rematerialize(model: "keras.Model", name: str) -> None:
    """Lets the blocks of a model be computed anew backward, which saves memory.

    Args:
        model: `keras.Model`.
        name: string. The name of the model in the message.

    Raises:
        ValueError: if the model has no blocks.
    """
    from kerazoo import training

    blocks = training.numbered_blocks(model)
    if not blocks:
        raise ValueError(
            f"TrainingOptions: `remat` needs a model with blocks, of Transformers or convolutions; got {name!r}, which "
            "has none. Leave it out."
        )
    for block in blocks:
        training.rematerialize(block)
