"""Loads a file of weights into a model, after all of it was compared with the model."""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from kerazoo import _checks, _files
from kerazoo.models.layer_paths import variables
from kerazoo.training import processes
from kerazoo.transfer import keras_weights
from kerazoo.transfer.bart import BART
from kerazoo.transfer.bert import BERT
from kerazoo.transfer.gpt2 import GPT2
from kerazoo.transfer.marian import MARIAN
from kerazoo.transfer.tensor_names import MAX_NAMED, Family, Row
from kerazoo.transfer.weight_files import WeightFile, opened

FAMILIES = (BART, MARIAN, BERT, GPT2)
CONFIG = "config.json"


@dataclasses.dataclass(frozen=True)
class LoadedWeights:
    """What `load_weights` did; printed, a table.

    Args:
        path: string. The file.
        architecture: string. Whose names the file has: `"BERT"`, `"GPT-2"`, `"Marian"`, `"BART"`, `"Keras"` or
            `"kerazoo"`.
        loaded: dict. The number of weights that were loaded, by the variable.
        kept: dict. The number of weights that the file has no values for, which stayed as they were, by the variable.
        unused: tuple of strings. The tensors of the file that belong to no part of the model, such as another head.
        checked: bool. Whether a `config.json` beside the file was compared with the model; without one nothing tells
            the number of heads or the activation.
    """

    path: str
    architecture: str
    loaded: Mapping[str, int]
    kept: Mapping[str, int]
    unused: tuple[str, ...]
    checked: bool

    def __str__(self):
        lines = [f"{self.path}: {self.architecture}, {sum(self.loaded.values()):,} weights loaded."]
        rows = [(part, "loaded", count) for part, count in _by_part(self.loaded)]
        rows += [(part, "as it was", count) for part, count in _by_part(self.kept)]
        width = max(len(part) for part, *_ in rows)
        lines += [f"  {part:{width}}  {count:>13,}  {state}" for part, state, count in rows]
        if self.unused:
            lines.append(f"  Not used: {_named(self.unused)}.")
        if not self.checked and self.architecture not in ("Keras", "kerazoo"):
            lines.append(f"  No {CONFIG} beside the file tells the heads and the activation: they are taken on trust.")
        return "\n".join(lines)


def load_weights(model: keras.Model, path: str | os.PathLike) -> LoadedWeights:
    """Loads weights from elsewhere into a built model, by tables of names; no code of a file is run.

    The file is a safetensors file or the index of several, an `.npz` file of NumPy or the `.weights.h5` of the same
    Keras model. Its names are those of BERT, GPT-2, Marian or BART in the form of Hugging Face, or the paths of the
    weights in `kerazoo.transfer.variables(model)`. All names and shapes are compared first, then all values are read,
    and only then is the model changed. A `config.json` in the same folder is compared as well.

    A model with a `kerazoo.layers.BackboneEncoder` also takes the file of its network alone: a `.weights.h5`, or an
    older file with the layers in order, as the weights of `keras.applications` are published (`..._notop.h5`).

    A part of the model that the file knows nothing of, such as the head of a classifier or a decoder on BERT, stays as
    it is. Of more learned positions than the model has, the first ones are taken. Token types are those of one text:
    the first of them is added to the positions.

    Args:
        model: A built `keras.Model`.
        path: string or path. The file.

    Returns:
        `LoadedWeights`, which prints as a table of what was loaded.

    Raises:
        ValueError: if the model is not built.
        CheckpointError: if the file is missing or damaged, or does not fit the model; the model is as it was then.
        SetupError: if a package is missing.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    model = kz.create("transformer_lm_tiny", vocabulary_size=11, num_layers=1, hidden_dim=8, num_heads=2)
    model.build_from_inputs()
    weights = kz.transfer.variables(model)
    np.savez("weights.npz", **{path: np.zeros(variable.shape) for path, variable in weights.items()})
    print(kz.transfer.load_weights(model, "weights.npz"))
    ```

    Reference:
        Devlin et al. (2019), BERT, arXiv:1810.04805; Lewis et al. (2019), BART, arXiv:1910.13461;
        Junczys-Dowmunt et al. (2018), Marian, arXiv:1804.00344.
    """
    if not model.built:
        raise ValueError(f"load_weights: the model must be built first; got {model.name!r}.")
    path = os.fspath(path)
    with opened(path) as file:
        if file.format == "h5":
            counts, loaded = keras_weights.load(model, file)
            ids = set(map(id, loaded.variables))
            kept = {name: _size(each) for name, each in _paths(model).items() if id(each) not in ids}
            return LoadedWeights(path, "Keras", counts, kept, (), False)
        paths = _paths(model)
        if not set(variables(model)).isdisjoint(file.shapes):
            rows = [Row(variable, path, (path,)) for path, variable in paths.items()]
            return _load(model, file, "kerazoo", rows, lambda name: False, _second_paths(model, file), False)
        family, prefix = _family(file)
        config = _config(path, family)
        family.parts(path, model)  # which it must have
        different = family.differences(model, family.options(config) if config else {})
        if different:
            raise _checks.CheckpointError(f"{path}: holds a {family.name} model, which has {different}.")
        _check_types(file, family, prefix)
        rows = list(family.rows(path, model, prefix, file.shapes))
        return _load(model, file, family.name, rows, family.is_unused, _copies(file, family, prefix), bool(config))


def _paths(model: keras.Model) -> dict[str, Any]:
    """Returns the weights of a model by path, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for path, variable in variables(model).items():
        found.setdefault(id(variable), (path, variable))
    return dict(found.values())


def _second_paths(model, file):
    """Returns the paths in a file of weights that have another path as well, and that path."""
    first = {id(variable): path for path, variable in _paths(model).items()}
    paths = {path: first[id(variable)] for path, variable in variables(model).items()}
    return {path: one for path, one in paths.items() if path != one and path in file.shapes and one in file.shapes}


def _load(model, file, architecture, rows, is_unused, copies, checked):
    """Compares the names and shapes of a file with the rows of a model, reads all values, and assigns them."""
    paths = {id(variable): path for path, variable in _paths(model).items()}
    rows = [dataclasses.replace(row, name=paths[id(row.variable)]) for row in rows]
    used = [name for row in rows for name in (*row.tensors, *([row.added] if row.added else []))]
    missing = {name: row.shape for row in rows for name in row.tensors if name not in file.shapes}
    surplus = {
        name: shape
        for name, shape in file.shapes.items()
        if name not in used and name not in copies and not is_unused(name)
    }
    bias = {name for name in surplus if _is_zero_bias(file, name)}
    surplus = {name: shape for name, shape in surplus.items() if name not in bias}
    wrong = [
        f"{name} is {file.shapes[name]}, {row.name} needs {row.shape}"
        for row in rows
        for name in row.tensors
        if name in file.shapes and not row.fits(file.shapes[name])
    ]
    faults = [
        *([f"it lacks {_named(f'{name} {shape}' for name, shape in missing.items())}"] if missing else []),
        *([f"the model has no place for {_named(f'{n} {shape}' for n, shape in surplus.items())}"] if surplus else []),
        *([f"other shapes: {_named(wrong)}"] if wrong else []),
    ]
    if faults:
        owner = f"{file.path}: {architecture}, does not fit {type(model).__name__}"
        raise _checks.CheckpointError(f"{owner}: {'; '.join(faults)}.")
    for name, original in copies.items():
        if not np.array_equal(file.read(name), file.read(original)):
            raise _checks.CheckpointError(
                f"{file.path}: {name} must equal {original}, for both are one weight here; got other values."
            )
    values = [_value(row, file) for row in rows]
    for row, value in zip(rows, values):
        processes.assign(row.variable, value)
    assigned = {id(row.variable) for row in rows}
    kept = {path: _size(variable) for path, variable in _paths(model).items() if id(variable) not in assigned}
    unused = tuple(name for name in file.shapes if name not in used and name not in copies)
    loaded = {row.name: _size(row.variable) for row in rows}
    return LoadedWeights(file.path, architecture, loaded, kept, unused, checked)


def _value(row, file):
    value = row.value(file.read)
    whole = np.dtype(value.dtype).kind in "iub"
    kind = "float" if "float" in str(row.variable.dtype) else "int"
    if whole != (kind == "int"):
        raise _checks.CheckpointError(f"{file.path}: {row.name} is of the type {kind}; got {value.dtype}.")
    return value


def _family(file: WeightFile) -> tuple[Family, str]:
    """Returns the family whose names a file has, and what all of them begin with."""
    found = []
    for family in FAMILIES:
        prefix = family.prefix(file.shapes)
        if prefix is not None:
            found.append((family, prefix))
    # BART and Marian differ in what normalizes the embeddings.
    for family, prefix in found:
        stack = family.encoder or family.decoder
        if not stack or not stack.embedding_norm or f"{prefix}{stack.embedding_norm}.weight" in file.shapes:
            return family, prefix
    names = ", ".join(family.name for family in reversed(FAMILIES))
    first = _named(f"{name} {shape}" for name, shape in file.shapes.items())
    raise _checks.CheckpointError(
        f"{file.path}: has the names of no architecture that is read ({names}), nor those of the variables of the "
        f"model; it has {first or 'none'}."
    )


def _config(path, family):
    """Returns the `config.json` beside a file of weights, `{}` if there is none."""
    file = pathlib.Path(path).parent / CONFIG
    if not file.is_file():
        return {}
    try:
        config = json.loads(_files.read_file(file.resolve(), _files.MAX_RECORD_BYTES))
        kind = config.get("model_type")
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise _checks.CheckpointError(f"{file}: cannot be read as the configuration of {path}: {error}.") from error
    if kind is not None and kind not in family.types:
        raise _checks.CheckpointError(
            f"{file}: is that of the architecture {kind!r}, and {path} has the names of {family.name}. Weights of "
            f"{kind!r} are not read."
        )
    return config


def _check_types(file, family, prefix):
    """Refuses a RoBERTa, which has the names of BERT and counts positions from 2, and tells one token type only."""
    types = family.encoder and family.encoder.types and f"{prefix}{family.encoder.types}"
    if types and file.shapes.get(types, (2,))[0] != 2:
        raise _checks.CheckpointError(
            f"{file.path}: {types} must have 2 rows, as BERT has; got {file.shapes[types]}. RoBERTa is not read."
        )


def _copies(file, family, prefix):
    """Returns the tensors of a file that must equal another one of it."""
    found = {}
    for name, originals in family.copies.items():
        sources = [source for each in originals for source in (f"{prefix}{each}", each) if source in file.shapes]
        for copy in {name, f"{prefix}{name}"} & set(file.shapes):
            if sources and sources[0] != copy:
                found[copy] = sources[0]
    return found


def _is_zero_bias(file, name):
    """Returns whether a tensor that no part of the model has is a bias of zeros, which changes nothing."""
    return name in {family.bias for family in FAMILIES} and not file.read(name).any()


def _by_part(counts: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """Returns the sum of the weights of each part of a model."""
    sums: dict[str, int] = {}
    for name, count in counts.items():
        part = re.split("[./]", name)[0]
        sums[part] = sums.get(part, 0) + count
    return sums.items()


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - MAX_NAMED:,} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more


def _size(variable: Any) -> int:
    return int(np.prod(variable.shape))
