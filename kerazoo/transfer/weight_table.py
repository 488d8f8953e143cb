"""What is kept, new and frozen of the weights of a model, as a table by layer."""

import math
import re
from collections.abc import Mapping

import keras

from kerazoo.models import layer_paths

HEAD = ("layer", "parameters", "weights", "trained")


def weight_table(
    model: keras.Model, origins: Mapping[str, str] | None = None, first_epochs: Mapping[int, int] | None = None
) -> list[list[str]]:
    """Returns a table: layers, their parameters, where their weights are from, and whether they are trained.

    A layer whose weights differ in that has a row for each layer inside it; blocks with consecutive numbers that do not
    differ share one. The first row is the head, and the last one has the sums.

    Args:
        model: `keras.Model`. One that is built.
        origins: mapping from paths of weights to text, such as `WarmStart.origins`. Defaults to `None`: all are new.
        first_epochs: mapping from the `id` of a frozen variable to the epoch from which on it is trained, as
            `kerazoo.training.Unfreeze.first_epochs` returns it. Defaults to `None`: none of them is.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("transformer_classifier", num_layers=2)
    model.build_from_inputs()
    for row in kz.transfer.weight_table(model):
        print(*row)
    ```
    """
    origins, first_epochs, found, leaves = origins or {}, first_epochs or {}, {}, {}
    for path, layer in {"": model, **layer_paths.layers(model)}.items():
        for variable in layer_paths.weights(layer):
            if id(variable) not in found:
                found[id(variable)] = variable
                name = f"{path}.{variable.name}".lstrip(".")
                # What no gradient changes, such as the statistics of batch normalization, belongs to its layer.
                fixed = any(variable is each for each in layer._non_trainable_variables)
                trains = "yes" if (layer if fixed else variable).trainable else "no"
                if id(variable) in first_epochs:
                    trains = f"from epoch {first_epochs[id(variable)]}"
                leaves[tuple(name.split("."))] = (math.prod(variable.shape), (origins.get(name, "new"), trains))
    rows = _merged(_rows(leaves, ()))
    total = sum(size for size, _ in leaves.values())
    kept = sum(size for size, (origin, _) in leaves.values() if origin != "new")
    trained = sum(math.prod(variable.shape) for variable in found.values() if variable.trainable)
    table = [[".".join(path), f"{size:,}", *state] for path, size, state in rows]
    return [list(HEAD), *table, ["all", f"{total:,}", f"{kept:,} kept", f"{trained:,} trained"]]


def _rows(leaves, path):
    """Returns path, size and state of each layer below one whose weights agree."""
    inside = {key: leaf for key, leaf in leaves.items() if key[: len(path)] == path}
    states = {state for _, state in inside.values()}
    if path and len(states) == 1:
        return [(path, sum(size for size, _ in inside.values()), states.pop())]
    children = dict.fromkeys(key[: len(path) + 1] for key in inside if len(key) > len(path))
    return [row for child in children for row in _rows(inside, child)]


def _merged(rows):
    """Returns the rows, of which consecutive ones of numbered blocks with one state are one."""
    merged = []
    for path, size, state in rows:
        before = merged[-1] if merged else None
        name, number = _numbered(path)
        if before and number is not None and before["next"] == (name, number) and before["state"] == state:
            before.update(last=path[-1], size=before["size"] + size, next=(name, number + 1))
        else:
            following = (name, number + 1) if number is not None else None
            merged.append({"path": path, "last": None, "size": size, "state": state, "next": following})
    return [(_named(row["path"], row["last"]), row["size"], row["state"]) for row in merged]


def _named(path, last):
    """Returns the path of consecutive layers, of which `last` is the last one if there are several."""
    return (*path[:-1], f"{path[-1]} to {last}") if last else path


def _numbered(path):
    """Returns the path without the number at its end, and the number or None."""
    match = re.fullmatch(r"(.*?)_(\d+)", path[-1])
    return ((*path[:-1], match[1]), int(match[2])) if match else (path, None)
