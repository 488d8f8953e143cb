"""Checkpoints that appear whole or not at all, with the SHA-256 of every file."""

import hashlib
import json
import os
import pathlib
import re
import sys
from typing import Any

import keras

from kerazoo import _checks, _files
from kerazoo.training import variables

VERSION = 1
MANIFEST, STATE, MODEL, OPTIMIZER, BEST = "manifest.json", "state.json", "model.npz", "optimizer.npz", "best.json"
VOCABULARIES = "vocabularies.json"
_NAME = re.compile(r"step-(\d+)(?:-(\d+))?")


class CheckpointStore:
    """The checkpoints of one training run, in one folder.

    A checkpoint is a folder `step-N` with the variables of the model, including its random seeds, the variables of the
    optimizer, and a state of plain values. It gets its name when every file is on the disk, so the older checkpoints
    stay intact whenever the process is killed. The newest ones and the best one are kept. `restore` verifies the
    SHA-256 of each file that it reads.

    Args:
        directory: string or path. The folder, which `save` creates.
        keep: int, above 0. How many of the newest checkpoints are kept, in addition to the best. Defaults to `2`.
        vocabularies: Dictionary of role to the fingerprint of a tokenizer (`task.vocabularies`), which is saved with
            the model; `restore` refuses a checkpoint with another vocabulary. Defaults to `None`.

    Raises:
        CheckpointError: if no checkpoint is intact, or it belongs to another model or another vocabulary.
        SetupError: if the folder cannot be written, or the disk is full.

    Example:

    ```python
    import keras

    import kerazoo as kz

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    store = kz.training.CheckpointStore("checkpoints")
    store.save(model, {"step": 7, "epoch": 1, "position": 0})
    print(store.names(), store.restore(model)["step"])
    ```
    """

    def __init__(self, directory: str | os.PathLike, keep: int = 2, vocabularies: dict[str, Any] | None = None):
        self.directory = pathlib.Path(directory)
        self.keep = _checks.positive_int("CheckpointStore", "keep", keep)
        self.vocabularies = dict(vocabularies or {})

    def names(self) -> list[str]:
        """Returns the names of the checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted((entry.name for entry in self.directory.iterdir() if _NAME.fullmatch(entry.name)), key=_order)

    def best(self) -> str | None:
        """Returns the name of the best checkpoint, or None."""
        try:
            name = json.loads((self.directory / BEST).read_text(encoding="utf-8"))["name"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return name if name in self.names() else None

    def save(self, model: keras.Model, state: dict[str, Any], best: bool = False) -> pathlib.Path:
        """Writes a checkpoint, then removes those that are not kept.

        Args:
            model: A built `keras.Model`, which is saved with its optimizer.
            state: Dictionary of plain values with `step`; `fit` resumes at its `epoch` and `position`.
            best: bool. Whether this is the best checkpoint so far. Defaults to `False`.

        Returns:
            The path of the checkpoint.
        """
        optimizer = getattr(model, "optimizer", None)
        layout = {"model": variables.layout(model.variables), "state": state}
        files = {MODEL: variables.pack(model.variables)}
        if optimizer is not None and optimizer.built:
            layout |= {"optimizer": variables.layout(optimizer.variables), "optimizer_class": _class(optimizer)}
            files[OPTIMIZER] = variables.pack(optimizer.variables)
        if self.vocabularies:
            files[VOCABULARIES] = json.dumps(self.vocabularies, indent=1).encode()
        files[STATE] = json.dumps(layout, indent=1, default=lambda value: value.tolist()).encode()  # from NumPy
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files[MANIFEST] = json.dumps({"version": VERSION, "sha256": sums}, indent=1).encode()
        name = self._free_name(int(state["step"]))
        _files.remove_leftovers(self.directory)
        with _files.new_folder(self.directory / name, advice="The checkpoints before it are intact.") as folder:
            for file, content in files.items():
                (folder / file).write_bytes(content)
        if best:
            _files.write_file(self.directory / BEST, json.dumps({"name": name}))
        self._remove_old()
        return self.directory / name

    def restore(self, model: keras.Model, which: str = "last") -> dict[str, Any]:
        """Loads a checkpoint into a built model, and into its optimizer if it is compiled.

        Instead of a damaged checkpoint the newest intact one is used, and a line on standard error reports it.

        Args:
            model: The built model.
            which: `"last"` or `"best"`; the last if there is no best one. Defaults to `"last"`.

        Returns:
            The state that was saved, and the name of the checkpoint as `checkpoint`.
        """
        _checks.one_of("CheckpointStore.restore", "which", which, ("last", "best"))
        if not model.built:
            raise ValueError(f"CheckpointStore.restore: the model must be built first; got {model.name!r}.")
        candidates = self.names()[::-1]
        best = self.best() if which == "best" else None
        if best:
            candidates = [best, *(name for name in candidates if name != best)]
        damage = []
        for name in candidates:
            try:
                files = self._read(name, optimizer=getattr(model, "optimizer", None) is not None)
            except (OSError, ValueError, KeyError, TypeError) as error:
                damage.append(f"{self.directory / name} is damaged ({error})")
                continue
            for line in damage:
                print(f"{line}; {name} is used instead.", file=sys.stderr)
            return {**self._apply(name, files, model), "checkpoint": name}
        raise _checks.CheckpointError("; ".join(damage) or f"{self.directory}: there is no checkpoint here") from None

    def _read(self, name, optimizer):
        """Returns the checked content of the files of a checkpoint."""
        folder = self.directory / name
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["version"] != VERSION:
            raise ValueError(f"made by version {manifest['version']}, this one reads {VERSION}")
        files = {}
        for file, expected in manifest["sha256"].items():
            if file == OPTIMIZER and not optimizer:
                continue
            files[file] = (folder / file).read_bytes()
            if hashlib.sha256(files[file]).hexdigest() != expected:
                raise ValueError(f"the SHA-256 of {file} differs from the manifest")
        return files

    def _apply(self, name, files, model):
        layout = json.loads(files[STATE])
        path = self.directory / name
        for role, saved in json.loads(files.get(VOCABULARIES, b"{}")).items():
            difference = role in self.vocabularies and _checks.vocabulary_difference(self.vocabularies[role], saved)
            if difference:
                raise _checks.CheckpointError(f"{path}: has another {role} vocabulary: {difference}.")
        parts = [("model", model.variables, MODEL)]
        if OPTIMIZER in files:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            if layout["optimizer_class"] != _class(model.optimizer):
                raise _checks.CheckpointError(
                    f"{path}: saved with the optimizer {layout['optimizer_class']}; the model has "
                    f"{_class(model.optimizer)}."
                )
            parts.append(("optimizer", model.optimizer.variables, OPTIMIZER))
        for part, existing, _ in parts:  # all of them before the first assignment
            variables.compare(path, part, layout[part], variables.layout(existing))
        for part, existing, file in parts:
            for variable, value in zip(existing, variables.unpack(files[file], layout[part]), strict=True):
                variable.assign(value)
        return layout["state"]

    def _free_name(self, step):
        name, serial = f"step-{step:09d}", 1
        while (self.directory / name).exists():
            serial += 1
            name = f"step-{step:09d}-{serial}"
        return name

    def _remove_old(self):
        kept = {*self.names()[-self.keep :], self.best()}
        for name in self.names():
            if name not in kept:
                _files.remove_folder(self.directory / name)


def _order(name):
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 1)) if match else (0, 0)


def _class(optimizer):
    inner = getattr(optimizer, "inner_optimizer", None)
    return type(optimizer).__name__ + (f" of {_class(inner)}" if inner is not None else "")
