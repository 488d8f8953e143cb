"""Weights of one model for another one that shares parts with it: matched by path, rows of vocabularies by number."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerazoo import _checks
from kerazoo.layers import TokenEmbedding
from kerazoo.models import layer_paths
from kerazoo.training import processes

NEW = "new"
KEPT = "kept"
MAX_NAMED = 3  # weights in a message
# A decoder that has no encoder to attend to reads a text as an encoder does that is causal.
OF_LANGUAGE_MODEL = (
    ("encoder.forward_", "decoder.lstm_"), ("encoder.", "decoder."), ("source_embedding.", "target_embedding.")
)  # fmt: skip
# Arguments of layers that change neither the shapes nor what the weights mean.
FREE_ARGUMENTS = {
    "name", "trainable", "dtype", "dropout", "recurrent_dropout", "max_length", "vocabulary_size", "vectors",
    "freeze_embeddings", "cross_attention", "return_dict", "causal", "scale", "num_layers", "share_layers", "pad_id",
}  # fmt: skip


class WarmStart(NamedTuple):
    """Where the weights of a model are from.

    Args:
        origins: dictionary of the path of each weight to `"kept"`, `"new"`, or what else is kept of it.
        unused: list of paths of weights that the other model has and this one does not take.
        differences: list of strings. Arguments of kept layers that have another value in the other model.
    """

    origins: dict[str, str]
    unused: list[str]
    differences: list[str]


def warm_start(
    model: keras.Model, source: keras.Model, rows: Mapping[str, Sequence[int]] | None = None, name: str = "source"
) -> WarmStart:
    """Loads into a model the weights of another one that have the same path.

    A path is that of `kerazoo.transfer.layers`, so an encoder goes into any model with such an encoder, whatever their
    decoders and heads are. The stack and the embedding of a language model, which has no encoder, go into an encoder.
    Everything is checked before the first weight is assigned. Weights that the other model computes, for they are
    quantized or of low rank, are taken as it computes them.

    A head with another number of outputs is new, and so is an embedding of another shape whose stack is new.
    Vocabularies and classes may differ: `rows` says which row of the other model each row of an embedding, or each
    output of a head, is from. Where one model scales its token vectors by the square root of their width and the other
    does not, the table is multiplied accordingly.

    Args:
        model: `keras.Model`. One that is built.
        source: `keras.Model`. The other one, built.
        rows: mapping from `"source_embedding"`, `"target_embedding"` or `"head"` to a sequence of integers, one for
            each token or class of `model`: its number in `source`, -1 for a new one. Defaults to `None`: the same ones.
        name: string. What messages call the other model. Defaults to `"source"`.

    Returns:
        A `WarmStart`.

    Raises:
        CheckpointError: if a weight has another shape, or no weight has a path of the other model.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    sizes = {"encoder.num_layers": 1, "encoder.hidden_dim": 8, "encoder.num_heads": 2, "encoder.intermediate_dim": 12}
    pairs = kz.create("transformer+dual_encoder", vocabulary_size=11, **sizes)
    model = kz.create("transformer+classifier", vocabulary_size=11, num_classes=3, **sizes)
    pairs.build_from_inputs(), model.build_from_inputs()
    report = kz.transfer.warm_start(model, pairs)
    assert report.origins["head.kernel"] == "new" and report.origins["encoder.block_0.attention_norm.gamma"] == "kept"
    ```
    """
    rows, saved = dict(rows or {}), layer_paths.computed_variables(source)
    paths: dict[int, list[str]] = {}
    weights: dict[int, keras.Variable] = {}
    for path, variable in layer_paths.variables(model).items():
        paths.setdefault(id(variable), []).append(path)
        weights[id(variable)] = variable
    # A head, or the embedding of a stack that is new, need not have the shapes of the other one.
    kept_stacks = {path.partition(".")[0] for each in paths.values() for path in each if _find(each, saved)}
    planned, origins, faults, used = [], {}, [], set()
    for key, variable in weights.items():
        path, found = paths[key][0], _find(paths[key], saved)
        chosen = _rows_of(path, rows)
        if found is None or (chosen is not None and max(chosen, default=-1) < 0):
            origins[path] = NEW
            continue
        axis = _row_axis(path)
        wanted, given = list(variable.shape), list(saved[found].shape)
        if chosen is not None:
            del wanted[axis], given[axis]
        if wanted != given and chosen is None and _is_free(path, kept_stacks):
            origins[path] = NEW
            continue
        if wanted != given:
            faults.append(f"{path} {tuple(variable.shape)}, and {found} {tuple(saved[found].shape)}")
            continue
        used.add(id(saved[found]))
        origins[path] = KEPT if chosen is None else _counted(chosen)
        planned.append((variable, saved[found], chosen, axis, _factor(model, source, path, found)))
    _refuse(name, faults, planned, model, source)
    for variable, other, chosen, axis, factor in planned:
        value = processes.to_host(other.value) * (1 if factor == 1 else factor)
        if chosen is not None:
            value = _with_rows(processes.to_host(variable.value), value, chosen, axis)
        processes.assign(variable, value)
    unused = [path for path, variable in saved.items() if id(variable) not in used]
    return WarmStart(origins, unused, _differences(model, source, origins))


def _find(paths, saved):
    """Returns the path in the other model of a weight with some paths, None if that has none."""
    for path in paths:
        if path in saved:
            return path
    if any(path.startswith("encoder.") for path in saved):
        return None
    for path in paths:
        for mine, other in OF_LANGUAGE_MODEL:
            renamed = other + path.removeprefix(mine)
            if path.startswith(mine) and renamed in saved:
                return renamed
    return None


def _is_free(path, kept_stacks):
    """Returns whether a weight may be new where its shape is another one."""
    part = path.partition(".")[0]
    reader = {"source_embedding": "encoder", "target_embedding": "decoder"}.get(part)
    return part == "head" or (reader is not None and reader not in kept_stacks)


def _rows_of(path, rows):
    """Returns the rows of a weight that has one for each token or class, None for other weights."""
    part, _, rest = path.partition(".")
    if part == "head" or rest.rpartition(".")[2] == "embeddings":
        return rows.get(part)
    return None


def _row_axis(path):
    return -1 if path.startswith("head.") else 0


def _counted(rows):
    kept = sum(row >= 0 for row in rows)
    return KEPT if kept == len(rows) else f"{kept:,} of {len(rows):,} kept"


def _with_rows(value, other, rows, axis):
    """Returns `value` with the chosen rows of `other`."""
    rows = np.asarray(rows)
    value, other = np.moveaxis(np.array(value), axis, 0), np.moveaxis(other, axis, 0)
    value[rows >= 0] = other[rows[rows >= 0]]
    return np.moveaxis(value, 0, axis)


def _factor(model, source, path, found):
    """Returns by what the table of an embedding is multiplied, so that the scaled vectors are those of the source."""
    if not path.endswith(".table.embeddings"):
        return 1.0
    mine, other = (layer_paths.layers(each)[name.partition(".")[0]] for each, name in ((model, path), (source, found)))
    if not isinstance(mine, TokenEmbedding) or not isinstance(other, TokenEmbedding) or mine.scale == other.scale:
        return 1.0
    if getattr(model, "tie_output", False) and getattr(model, "target_embedding", None) is mine:
        raise _checks.CheckpointError(
            f"warm_start: {path} is also the output of the model and must be scaled as in the source; got "
            f"scale={mine.scale} with a source of scale={other.scale}. Set tie_output=False."
        )
    return other.hidden_dim ** (-0.5 if mine.scale else 0.5)


def _refuse(name, faults, planned, model, source):
    """Raises a CheckpointError where shapes differ or nothing is kept."""
    if faults:
        more = f", and {len(faults) - MAX_NAMED} more" if len(faults) > MAX_NAMED else ""
        raise _checks.CheckpointError(
            f"{name}: has other shapes than the model. The model has {'; '.join(faults[:MAX_NAMED])} in {name}{more}. "
            "Choose the sizes that it has."
        )
    if not planned:
        parts = [", ".join(dict.fromkeys(path.partition(".")[0] for path in layer_paths.layers(each))) for each in
                 (source, model)]  # fmt: skip
        raise _checks.CheckpointError(
            f"{name}: no weight has a path of the model: it has the parts {parts[0]} of {type(source).__name__}, and "
            f"the model {parts[1]} of {type(model).__name__} with other layers inside. Choose a model with a part of "
            "the same kind."
        )


def _differences(model, source, origins):
    """Returns the arguments of the kept parts of a model that have other values in the source, in words."""
    found, mine, others = [], layer_paths.layers(model), layer_paths.layers(source)
    kept = {path.partition(".")[0] for path, origin in origins.items() if origin != NEW}
    for part in [path for path in mine if path in kept]:
        renamed = {"encoder": "decoder", "source_embedding": "target_embedding"}.get(part, part)
        other = others.get(part) or others.get(renamed)
        if other is None:
            continue
        one, two = (_plain_config(layer) for layer in (mine[part], other))
        for argument in one.keys() & two.keys() - FREE_ARGUMENTS:
            if one[argument] != two[argument]:
                found.append(f"{part} has {argument}={one[argument]!r}, not {two[argument]!r}")
    return sorted(found)


def _plain_config(layer: Any) -> dict[str, Any]:
    """Returns the arguments of a layer that are plain values; initializers and the like are not."""
    return {name: value for name, value in layer.get_config().items() if not isinstance(value, dict)}
