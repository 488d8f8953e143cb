"""Adapters: what LoRA trained, as files that are loaded onto their base, one or several at a time."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np

from kerazoo import _checks, _files
from kerazoo.models import layer_paths
from kerazoo.training import processes
from kerazoo.transfer import lora

VERSION = 1
LAYOUT = "adapter.json"
MAX_BYTES = 1 << 33  # of a file
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


def base_hash(model: keras.Model, without: Collection[str] = ()) -> str:
    """Returns SHA-256 of the weights of a model that an adapter changes nothing of or adds to.

    Args:
        model: `keras.Model`. One that is built.
        without: collection of strings. Paths of weights that do not count, for the adapter has them whole. The factors
            of LoRA never count. Defaults to `()`.
    """
    found, seen = hashlib.sha256(), set()
    for path, variable in sorted(layer_paths.variables(model).items()):
        if id(variable) in seen or path in without or path.rpartition(".")[2] in lora.FACTORS:
            continue
        seen.add(id(variable))
        value = np.ascontiguousarray(processes.to_host(variable.value))
        found.update(f"{path} {value.dtype} {value.shape};".encode() + value.tobytes())
    return found.hexdigest()


def save_adapter(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes what LoRA trained: the factors of each layer, and the weights that were trained whole, such as a new head.

    The file is an archive of arrays without code, with SHA-256 of the weights that it belongs to.

    Args:
        model: `keras.Model`. One with `kerazoo.transfer.add_lora`.
        path: string or path. The file.

    Raises:
        ValueError: if the model has no LoRA.
    """
    layers = lora.lora_layers(model)
    if not layers:
        raise ValueError(f"save_adapter: the model must have LoRA; got {model.name!r}. Call add_lora first.")
    whole = {
        name: variable
        for name, variable in layer_paths.variables(model).items()
        if variable.trainable and name.rpartition(".")[2] not in lora.FACTORS
    }
    arrays = {name: variable.value for name, variable in whole.items()}
    for name, layer in layers.items():
        arrays |= {f"{name}.{factor}": getattr(layer, factor).value for factor in lora.FACTORS}
    arrays = {name: np.asarray(processes.to_host(value), "float32") for name, value in arrays.items()}
    layout = {
        "version": VERSION,
        "base_sha256": base_hash(model, whole),
        "whole": list(whole),
        "scales": {name: layer.lora_alpha / layer.lora_rank for name, layer in layers.items()},
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(LAYOUT, json.dumps(layout, indent=1))
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"{number:05d}", array.tobytes())
    _files.write_file(path, content.getvalue())


def _read(path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the layout and the arrays of an adapter.

    Raises:
        CheckpointError: if the file is missing, damaged, or something else.
    """
    try:
        content = _files.read_file(path, MAX_BYTES)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if any(each.compress_type != zipfile.ZIP_STORED or each.file_size > len(content) for each in members):
                raise ValueError("it is compressed, which kerazoo never writes")
            layout = json.loads(archive.read(LAYOUT))
            if layout["version"] != VERSION:
                raise ValueError(f"written by version {layout['version']}, this one reads {VERSION}")
            arrays = {
                name: np.frombuffer(archive.read(f"{number:05d}"), "<f4").reshape(shape)
                for number, (name, shape) in enumerate(layout["arrays"].items())
            }
        numbers = [*layout["scales"].values()]
        names = {*layout["whole"], *(f"{name}.{each}" for name in layout["scales"] for each in lora.FACTORS)}
        if names != set(arrays) or not all(isinstance(each, float | int) for each in numbers):
            raise ValueError("its arrays are not those that it describes")
    except DAMAGE as error:
        raise _checks.CheckpointError(f"{path}: cannot be read as an adapter: {error}.") from error
    return layout, arrays


class Adapters:
    """The adapters of one model, which use some of them at a time.

    The kernels of the model become their base plus the products of the adapters in use, each times its weight, so the
    model works and exports as any other. Its base is kept in memory and comes back exactly.

    Args:
        model: `keras.Model`. The base: one that is built and has no LoRA.

    Example:

    ```python
    import kerazoo as kz

    base, tuned = (kz.create("transformer_lm_tiny", num_layers=1) for _ in range(2))
    base.build_from_inputs(), tuned.build_from_inputs()
    kz.transfer.warm_start(tuned, base)
    kz.transfer.add_lora(tuned, rank=2)
    kz.transfer.save_adapter(tuned, "news.adapter")  # after its training
    adapters = kz.transfer.Adapters(base)
    adapters.load("news", "news.adapter")
    adapters.use("news")
    adapters.use({"news": 0.5})
    adapters.use()  # the base alone
    ```
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._loaded: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {}
        self._base: dict[str, np.ndarray] = {}  # of the weights that adapters change
        self._used: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        """The names of the adapters that are loaded."""
        return list(self._loaded)

    def load(self, name: str, path: str | os.PathLike) -> None:
        """Reads an adapter under a name; it is used by `use`.

        Args:
            name: string.
            path: string or path. A file of `save_adapter`.

        Raises:
            CheckpointError: if the file is damaged, or belongs to another base.
        """
        before, self._used_before = dict(self._used), None
        self.use()  # the hash is that of the base
        layout, arrays = _read(path)
        weights = layer_paths.variables(self.model)
        for each in layout["whole"]:
            if each not in weights or list(weights[each].shape) != list(arrays[each].shape):
                raise self._other_base(path, each, arrays[each].shape, weights)
        for layer in layout["scales"]:
            kernel, (a, b) = f"{layer}.kernel", (arrays[f"{layer}.{each}"] for each in lora.FACTORS)
            shape = (*a.shape[:-1], *b.shape[1:])
            if kernel not in weights or tuple(weights[kernel].shape) != shape:
                raise self._other_base(path, kernel, shape, weights)
        found = base_hash(self.model, layout["whole"])
        if found != layout["base_sha256"]:
            raise _checks.CheckpointError(
                f"{path}: belongs to another base: to weights with SHA-256 {layout['base_sha256'][:16]}; the model has "
                f"{found[:16]}. Load the model that the adapter was trained on."
            )
        self._loaded[name] = layout, arrays
        self.use(before)

    def _other_base(self, path, name, shape, weights):
        has = f"{name} {tuple(weights[name].shape)}" if name in weights else f"no {name}"
        return _checks.CheckpointError(
            f"{path}: belongs to another base: it has {name} {tuple(shape)}; the model has {has}."
        )

    def use(self, adapters: Mapping[str, float] | str | None = None) -> None:
        """Puts adapters in use in place of those before.

        Args:
            adapters: string, the name of one; or mapping from names to their weights. Defaults to `None`: the base.

        Raises:
            ValueError: if there is no such adapter, or two of them have the same weight whole.
        """
        wanted = {adapters: 1.0} if isinstance(adapters, str) else dict(adapters or {})
        changes: dict[str, Any] = {}
        for name, factor in wanted.items():
            if name not in self._loaded:
                raise _checks.unknown("adapter", name, self._loaded, ", ".join(self._loaded) or "none is loaded")
            factor = _checks.number("Adapters", name, factor)
            layout, arrays = self._loaded[name]
            for path in layout["whole"]:
                if path in changes:
                    raise ValueError(f"Adapters: only one of those in use may have {path} whole; got {list(wanted)}.")
                changes[path] = (None, arrays[path])
            for path, scale in layout["scales"].items():
                a, b = (arrays[f"{path}.{each}"] for each in lora.FACTORS)
                before = changes.get(f"{path}.kernel", (None, 0.0))[1]
                changes[f"{path}.kernel"] = ("added", before + factor * scale * np.tensordot(a, b, axes=1))
        weights = layer_paths.variables(self.model)
        for path in {*changes, *self._base}:
            if path not in self._base:
                self._base[path] = np.array(processes.to_host(weights[path].value))
            kind, value = changes.get(path, ("added", 0.0))
            processes.assign(weights[path], self._base[path] + value if kind else value)
        self._used = wanted
