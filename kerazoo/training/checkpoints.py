"""Checkpoints that appear whole or not at all, with the SHA-256 of every file."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import sys
import typing
import zipfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kerazoo import _checks, _files
from kerazoo.training import distribution, processes, variables
from kerazoo.training.background import Background
from kerazoo.training.weight_averages import moving_averages

VERSION = 2
MANIFEST, STATE, VOCABULARIES = "manifest.json", "state.json", "vocabularies.json"
REMEDY = "Copy the whole run again, or train it."
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RecursionError, zipfile.BadZipFile)
ADVICE = "Try a lower learning rate, a longer warm-up or gradient clipping."
_NAME = re.compile(r"step-(\d+)(?:-(\d+))?")


class Snapshot(typing.NamedTuple):
    """What a checkpoint will hold, in memory: its state, whether it is the best, and arrays with their layouts."""

    state: dict[str, Any]
    best: bool
    optimizers: dict[str, dict]
    layouts: dict[str, list[dict]]
    arrays: dict[str, list[np.ndarray]]


class CheckpointStore:
    """The checkpoints of one training run, in one folder.

    A checkpoint is a folder `step-N` with the variables of the model, including its random seeds, the variables of the
    optimizer and of other optimizers that are attributes of the model, and a state of plain values with the name of the
    best checkpoint. It gets its name when every file is on the disk, so the older checkpoints stay intact whenever the
    process is killed. The newest ones and the best one are kept. `restore` verifies the SHA-256 of each file that it
    reads.

    Of an optimizer with `use_ema` the moving averages are saved as the weights of the model, for they are what is used,
    and the weights that training goes on from are saved in their place among the variables of the optimizer. `restore`
    puts both where they were; `optimizer.finalize_variable_values` then puts the averages into the model.

    Args:
        directory: string or path. The folder, which `save` creates.
        keep: int, above 0. How many of the newest checkpoints are kept, in addition to the best. Defaults to `2`.
        keep_epochs: int, not negative. How many of the newest checkpoints from ends of epochs are kept as well, for
            `kerazoo.transfer.average_checkpoints`. Defaults to `0`.
        vocabularies: Dictionary of role to the fingerprint of a tokenizer (`task.vocabularies`), which is saved with
            the model; `restore` refuses a checkpoint with another vocabulary. Defaults to `None`.

    Raises:
        CheckpointError: if no checkpoint is intact, or it belongs to another model or another vocabulary.
        DivergedError: if a variable that is to be saved is not finite.
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

    def __init__(
        self,
        directory: str | os.PathLike,
        keep: int = 2,
        vocabularies: dict[str, Any] | None = None,
        keep_epochs: int = 0,
    ):
        self.directory = pathlib.Path(directory)
        self.keep = _checks.positive_int("CheckpointStore", "keep", keep)
        self.keep_epochs = _checks.non_negative_int("CheckpointStore", "keep_epochs", keep_epochs)
        self.vocabularies = dict(vocabularies or {})
        self._newest: str | None = None  # what this process saved or restored last
        self._background = Background()

    def names(self) -> list[str]:
        """Returns the names of the checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted((entry.name for entry in self.directory.iterdir() if _NAME.fullmatch(entry.name)), key=_order)

    def epoch_ends(self) -> list[str]:
        """Returns the names of the intact checkpoints that were saved at the end of an epoch, oldest first."""
        found = []
        for name in self.names():
            with contextlib.suppress(*DAMAGE):
                state = self.layout(name)["state"]
                if state.get("epoch") and not state.get("position"):
                    found.append(name)
        return found

    def best(self) -> str | None:
        """Returns the name of the best checkpoint, or None."""
        best = self._recorded_best()
        return best if best in self.names() else None

    def name(self, which: str = "best") -> str | None:
        """Returns the name of the best or of the newest checkpoint, or None.

        Args:
            which: string. `"best"` or `"last"`; the last if there is no best one. Defaults to `"best"`.
        """
        _checks.one_of("CheckpointStore.name", "which", which, ("last", "best"))
        names = self.names()
        return (self.best() if which == "best" else None) or (names[-1] if names else None)

    def _recorded_best(self):
        for name in reversed(self.names()):
            with contextlib.suppress(*DAMAGE):
                return self.layout(name)["best"]
        return None

    def state(self) -> dict[str, Any] | None:
        """Returns the state of the newest intact checkpoint without a model, or None."""
        for name in reversed(self.names()):
            with contextlib.suppress(*DAMAGE):
                return {**self.layout(name)["state"], "checkpoint": name}
        return None

    def sizes(self) -> tuple[int, int] | None:
        """Returns the number of variables of the largest saved model and the bytes of its file, or None."""
        found = []
        for name in self.names():
            with contextlib.suppress(*DAMAGE):
                described = self.layout(name)["layouts"]["model"]
                found.append((len(described), (self.directory / name / "model.npz").lstat().st_size))
        return max(found, default=None)

    def save(self, model: keras.Model, state: dict[str, Any], best: bool = False) -> pathlib.Path:
        """Writes a checkpoint, then removes those that are not kept.

        Args:
            model: A built `keras.Model`, which is saved with its optimizers.
            state: Dictionary of plain values with `step`; `fit` resumes at its `epoch` and `position`.
            best: bool. Whether this is the best checkpoint so far. Defaults to `False`.

        Returns:
            The path of the checkpoint.
        """
        snapshot = self.snapshot(model, state, best)
        processes.on_first(lambda: self.write(snapshot))
        return self.directory / str(self._agreed())

    def snapshot(self, model: keras.Model, state: dict[str, Any], best: bool = False) -> Snapshot:
        """Copies what a checkpoint holds into memory, for `write`; the arguments are those of `save`.

        Raises:
            DivergedError: if a variable is not finite.
        """
        optimizers = [(key, each) for key, each in _optimizers(model) if each.built]
        parts = [("model", model.variables), *((key, each.variables) for key, each in optimizers)]
        pairs = [pair for _, each in optimizers for pair in moving_averages(each)]
        arrays = {}
        for key, saved in parts:
            exchanged = _exchanged(saved, pairs)
            arrays[key] = variables.copy(exchanged)
            bad = variables.not_finite(exchanged, arrays[key])
            if bad:
                raise _checks.DivergedError(
                    f"{self.directory / _name(state)}: not saved, for the values of {bad} are not finite: training has "
                    f"diverged.{self.last_good()} {ADVICE}"
                )
        layouts = {key: variables.layout(saved) for key, saved in parts}
        return Snapshot(_files.plain(state), best, _descriptions(model), layouts, arrays)

    def write(self, snapshot: Snapshot) -> pathlib.Path:
        """Writes a checkpoint, then removes those that are not kept; returns the path of the checkpoint."""
        name = self._free_name(snapshot.state)
        layout = {"state": snapshot.state, "best": name if snapshot.best else self.best()}
        layout |= {"optimizers": snapshot.optimizers, "layouts": snapshot.layouts}
        files = {f"{key}.npz": variables.pack(arrays) for key, arrays in snapshot.arrays.items()}
        if self.vocabularies:
            files[VOCABULARIES] = json.dumps(self.vocabularies, indent=1).encode()
        files[STATE] = json.dumps(_files.plain(layout), indent=1).encode()
        sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        files[MANIFEST] = json.dumps({"version": VERSION, "sha256": sums}, indent=1).encode()
        self._report_removed()
        _files.remove_leftovers(self.directory)
        advice, size = "The checkpoints before it are intact.", sum(map(len, files.values()))
        with _files.new_folder(self.directory / name, advice, size) as folder:
            for file, content in files.items():
                (folder / file).write_bytes(content)
        self._newest = name
        self._remove_old()
        return self.directory / name

    def start(self, snapshot: Snapshot) -> None:
        """Writes a checkpoint in a thread, as soon as the one before is written; see `wait`.

        Of several processes the first one writes.
        """
        if processes.is_first():
            self._background.start(lambda: self.write(snapshot))

    def wait(self) -> pathlib.Path | None:
        """Waits for the checkpoint that is being written; returns the path of the newest one.

        Raises:
            SetupError: if it cannot be written.
        """
        processes.on_first(self._background.wait)
        newest = self._agreed()
        return self.directory / newest if newest else None

    def _agreed(self):
        """Returns the name of the newest checkpoint, which the first of several processes wrote."""
        self._newest = processes.gather(self._newest)[0]
        return self._newest

    def join(self) -> None:
        """Waits for the checkpoint that is being written; an error of it is not raised."""
        self._background.join()

    def check(self) -> None:
        """Raises the error of a checkpoint that could not be written, without waiting for one."""
        self._background.check()

    def last_good(self) -> str:
        """Returns a sentence that names the newest checkpoint, the empty string if there is none."""
        self.join()
        names = self.names()
        return f" The last good checkpoint is {self.directory / names[-1]}." if names else ""

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
        names, damage = self.names()[::-1], []
        best = self._recorded_best() if which == "best" else None
        if best and best not in names:
            damage.append(f"{self.directory / str(best)}, which was the best, is missing")
        candidates = [best, *(name for name in names if name != best)] if best in names else names
        for name in candidates:
            try:
                layout = self.layout(name)
                parts = self._parts(name, layout, model)
                values = [self._values(name, key, layout, existing) for key, existing in parts]
            except _checks.CheckpointError:
                raise
            except DAMAGE as error:
                damage.append(f"{self.directory / name} is damaged ({error})")
                continue
            for line in damage:
                print(f"{line}; {name} is used instead.", file=sys.stderr)
            for (_, existing), saved in zip(parts, values):
                for variable, value in zip(existing, saved, strict=True):
                    processes.assign(variable, value)
            self._newest = names[0]
            return {**layout["state"], "checkpoint": name}
        fault = "; ".join(damage) or f"{self.directory}: there is no checkpoint here"
        raise _checks.CheckpointError(f"{fault}. {REMEDY}") from None

    def layout(self, name: str) -> dict[str, Any]:
        """Returns the checked content of the state of a checkpoint, without the values of its variables."""
        layout = json.loads(self._file(name, STATE))
        state = layout["state"]
        numbers = [state.get(number, 0) for number in ("step", "epoch", "position")]
        numbers += [number for skipped in state.get("skip", []) for number in skipped]
        epochs = state.get("history", [])
        if not all(isinstance(number, int) for number in numbers) or not all(isinstance(e, dict) for e in epochs):
            raise ValueError(f"{STATE} holds values of another kind")
        return layout

    def checksums(self, name: str) -> dict[str, str]:
        """Returns the SHA-256 of each file of a checkpoint, as it was saved.

        Raises:
            CheckpointError: if the record of them is damaged.
        """
        path = self.directory / name
        try:
            sums = self._manifest(name)["sha256"]
            return {file: sums[file] for file in (STATE, "model.npz", *sums)}
        except DAMAGE as error:
            raise _checks.CheckpointError(f"{path} is damaged ({error}). {REMEDY}") from error

    def values(self, name: str, model: keras.Model) -> list[np.ndarray]:
        """Returns the values that a checkpoint has for the variables of a built model.

        Raises:
            CheckpointError: if the checkpoint is damaged or does not fit the model.
        """
        try:
            layout = self.layout(name)
            variables.compare(
                self.directory / name, "model", layout["layouts"]["model"], variables.layout(model.variables)
            )
            return self._values(name, "model", layout, model.variables)
        except _checks.CheckpointError:
            raise
        except DAMAGE as error:
            raise _checks.CheckpointError(f"{self.directory / name} is damaged ({error}). {REMEDY}") from error

    def _manifest(self, name):
        return json.loads(_files.read_file(self.directory / name / MANIFEST, _files.MAX_RECORD_BYTES))

    def _file(self, name, file, max_bytes=_files.MAX_RECORD_BYTES):
        """Returns the checked content of a file of a checkpoint."""
        folder = self.directory / name
        manifest = self._manifest(name)
        if manifest["version"] != VERSION:
            raise ValueError(f"made by version {manifest['version']}, this one reads {VERSION}")
        content = _files.read_file(folder / file, max_bytes)
        if hashlib.sha256(content).hexdigest() != manifest["sha256"][file]:
            raise ValueError(f"the SHA-256 of {file} differs from the manifest")
        return content

    def _values(self, name, key, layout, existing):
        """Returns the saved values of a part of the model, which take no more memory than the part does."""
        described = layout["layouts"][key]
        max_bytes = variables.packed_bytes([keras.KerasTensor(each["shape"]) for each in described])
        saved = variables.unpack(self._file(name, f"{key}.npz", max_bytes), described)
        path = self.directory / name
        return [variables.converted(path, variable, value) for variable, value in zip(existing, saved, strict=True)]

    def _parts(self, name, layout, model):
        """Returns the names and the variables of the parts that are restored, after a comparison with those saved."""
        path = self.directory / name
        saved = json.loads(self._file(name, VOCABULARIES)) if (path / VOCABULARIES).exists() else {}
        for role, vocabulary in saved.items():
            difference = role in self.vocabularies and _checks.vocabulary_difference(
                self.vocabularies[role], vocabulary
            )
            if difference:
                raise _checks.CheckpointError(f"{path}: has another {role} vocabulary: {difference}.")
        parts, pairs = [("model", model.variables)], []
        for key, optimizer in _optimizers(model):
            described = layout["optimizers"].get(key)
            if described is None:
                continue
            if not optimizer.built:
                trained = model.trainable_variables
                with distribution.scope_of(model):
                    optimizer.build(
                        [trained[index] for index in described["trains"]] if described["trains"] else trained
                    )
            if described["class"] != _class(optimizer):
                raise _checks.CheckpointError(
                    f"{path}: saved with the {key} {described['class']}; the model has {_class(optimizer)}."
                )
            parts.append((key, optimizer.variables))
            pairs += moving_averages(optimizer)
        for key, existing in parts:  # all of them before the first assignment
            variables.compare(path, key, layout["layouts"][key], variables.layout(existing))
        return [(key, _exchanged(existing, pairs)) for key, existing in parts]

    def _report_removed(self):
        if self._newest and not (self.directory / self._newest).exists():
            lost = f"{self.directory / self._newest} was removed while training ran"
            print(f"{lost}, and the best checkpoint may be lost with it.", file=sys.stderr)

    def _free_name(self, state):
        name, serial = _name(state), 1
        while (self.directory / name).exists():
            serial += 1
            name = f"{_name(state)}-{serial}"
        return name

    def _remove_old(self):
        kept = {*self.names()[-self.keep :], self.best()}
        if self.keep_epochs:
            kept.update(self.epoch_ends()[-self.keep_epochs :])
        for name in self.names():
            if name not in kept:
                _files.remove_folder(self.directory / name)


def _name(state):
    return f"step-{int(state['step']):09d}"


def _order(name):
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 1)) if match else (0, 0)


def _optimizers(model) -> Iterator[tuple[str, keras.optimizers.Optimizer]]:
    """Yields the optimizer of a model, then those that are attributes of it, by name."""
    main = getattr(model, "optimizer", None)
    if main is not None:
        yield "optimizer", main
    for name, value in vars(model).items():
        if isinstance(value, keras.optimizers.Optimizer) and value is not main:
            yield f"optimizer-{name}", value


def _exchanged(variables, pairs):
    """Returns a list of variables in which those of each pair have each other's place."""
    others = {id(one): two for pair in pairs for one, two in (pair, pair[::-1])}
    return [others.get(id(variable), variable) for variable in variables]


def _descriptions(model):
    """Returns the class of each built optimizer, and which trainable variables of the model it updates."""
    numbers = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
    found = {}
    for key, optimizer in _optimizers(model):
        if optimizer.built:
            trained = getattr(optimizer, "inner_optimizer", optimizer)._trainable_variables
            indices = [numbers.get(id(variable)) for variable in trained]
            found[key] = {"class": _class(optimizer), "trains": [] if None in indices else indices}
    return found


def _class(optimizer):
    inner = getattr(optimizer, "inner_optimizer", None)
    return type(optimizer).__name__ + (f" of {_class(inner)}" if inner is not None else "")
