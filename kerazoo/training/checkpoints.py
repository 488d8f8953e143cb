"""Checkpoints that exist wholly or not at all: temporary name, fsync, SHA-256 of every file, rename."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys

from kerazoo import _checks
from kerazoo.training import variables

VERSION = 1
MANIFEST, STATE, MODEL, OPTIMIZER, BEST = "manifest.json", "state.json", "model.npz", "optimizer.npz", "best.json"
VOCABULARIES = "vocabularies.json"
_NAME = re.compile(r"step-(\d+)(?:-(\d+))?")


class CheckpointStore:
    """The checkpoints of one training run, in one folder.

    A checkpoint is a folder `step-N` with the model's variables, its random seeds among them, the optimizer's
    variables, and a state of plain values. It gets its name when every file is on the disk, so a kill at any moment
    leaves the older ones as they were. The newest ones are kept, and the best. Whoever restores one checks the
    SHA-256 of each file that is read.

    Args:
        directory: The folder; `save` makes it.
        keep: How many of the newest checkpoints stay, above 0; the best one stays beside them.
        vocabularies: Dictionary of role to the fingerprint of a tokenizer (`task.vocabularies`), which is saved with
            the model; a checkpoint of another vocabulary is then refused. Default None.

    Raises:
        CheckpointError: No checkpoint is intact, or it belongs to another model or another vocabulary.
        SetupError: The folder cannot be written, or the disk is full.

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

    def __init__(self, directory, keep=2, vocabularies=None):
        self.directory = pathlib.Path(directory)
        self.keep = _checks.positive_int("CheckpointStore", "keep", keep)
        self.vocabularies = dict(vocabularies or {})

    def names(self):
        """Returns the names of the checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted((entry.name for entry in self.directory.iterdir() if _NAME.fullmatch(entry.name)), key=_order)

    def best(self):
        """Returns the name of the best checkpoint, or None."""
        try:
            name = json.loads((self.directory / BEST).read_text(encoding="utf-8"))["name"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return name if name in self.names() else None

    def save(self, model, state, best=False):
        """Writes a checkpoint, then removes those that are not kept.

        Args:
            model: A built Keras model; its optimizer is saved with it if there is one.
            state: Dictionary of plain values with `step`; `fit` goes on from its `epoch` and `position`.
            best: Whether this is the best one so far.

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
        files[STATE] = json.dumps(layout, indent=1, default=float).encode()  # NumPy's numbers become plain ones
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files[MANIFEST] = json.dumps({"version": VERSION, "sha256": sums}, indent=1).encode()
        name = self._free_name(int(state["step"]))
        temporary = self.directory / f".new-{name}"
        with self._reported(name):
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._sweep()
                temporary.mkdir()
                for file, content in files.items():
                    _write(temporary / file, content)
                _sync(temporary)
                os.replace(temporary, self.directory / name)
                _sync(self.directory)
                if best:
                    self._point_to_best(name)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        self._remove_old()
        return self.directory / name

    def restore(self, model, which="last"):
        """Puts a checkpoint into a built model, and into its optimizer if it is compiled.

        A damaged checkpoint is passed over for the newest intact one, which a line on standard error says.

        Args:
            model: The built model.
            which: `"last"` or `"best"`; without a best one, the last.

        Returns:
            The state that was saved, and the name of the checkpoint as `checkpoint`.
        """
        _checks.one_of("CheckpointStore.restore", "which", which, ("last", "best"))
        if not model.built:
            raise ValueError(f"CheckpointStore.restore: the model must be built first; got {model.name!r}.")
        wanted = self.names()[::-1]
        best = self.best() if which == "best" else None
        if best:
            wanted = [best, *(name for name in wanted if name != best)]
        damage = []
        for name in wanted:
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
        for file, digest in manifest["sha256"].items():
            if file == OPTIMIZER and not optimizer:
                continue
            files[file] = (folder / file).read_bytes()
            if hashlib.sha256(files[file]).hexdigest() != digest:
                raise ValueError(f"the SHA-256 of {file} is not that of the manifest")
        return files

    def _apply(self, name, files, model):
        layout = json.loads(files[STATE])
        where = self.directory / name
        for role, saved in json.loads(files.get(VOCABULARIES, b"{}")).items():
            difference = role in self.vocabularies and _checks.vocabulary_difference(self.vocabularies[role], saved)
            if difference:
                raise _checks.CheckpointError(f"{where}: was trained with another {role} vocabulary: {difference}.")
        parts = [("model", model.variables, MODEL)]
        if OPTIMIZER in files:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            if layout["optimizer_class"] != _class(model.optimizer):
                raise _checks.CheckpointError(
                    f"{where}: saved with the optimizer {layout['optimizer_class']}; the model has "
                    f"{_class(model.optimizer)}."
                )
            parts.append(("optimizer", model.optimizer.variables, OPTIMIZER))
        for part, own, _ in parts:  # all of them first: a model is filled wholly or not at all
            variables.compare(where, part, layout[part], variables.layout(own))
        for part, own, file in parts:
            for variable, value in zip(own, variables.unpack(files[file], layout[part]), strict=True):
                variable.assign(value)
        return layout["state"]

    def _free_name(self, step):
        name, serial = f"step-{step:09d}", 1
        while (self.directory / name).exists():
            serial += 1
            name = f"step-{step:09d}-{serial}"
        return name

    def _point_to_best(self, name):
        temporary = self.directory / f".new-{BEST}"
        _write(temporary, json.dumps({"name": name}).encode())
        os.replace(temporary, self.directory / BEST)
        _sync(self.directory)

    def _remove_old(self):
        kept = {*self.names()[-self.keep :], self.best()}
        for name in self.names():
            if name not in kept:
                # Renamed first: a folder that is half removed must not look like a checkpoint.
                gone = self.directory / f".old-{name}"
                with contextlib.suppress(OSError):
                    os.replace(self.directory / name, gone)
                shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self):
        """Removes what a killed process left behind."""
        for entry in self.directory.iterdir():
            if entry.name.startswith((".new-", ".old-")):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    @contextlib.contextmanager
    def _reported(self, name):
        try:
            yield
        except OSError as error:
            raise _checks.SetupError(
                f"{self.directory / name}: the checkpoint cannot be written: {error.strerror or error}. "
                "The checkpoints before it are as they were."
            ) from error


def _order(name):
    step, serial = _NAME.fullmatch(name).groups()
    return int(step), int(serial or 1)


def _class(optimizer):
    inner = getattr(optimizer, "inner_optimizer", None)
    return type(optimizer).__name__ + (f" of {_class(inner)}" if inner is not None else "")


def _write(path, content):
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
