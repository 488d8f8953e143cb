"""The run directory: the paths of its files, its lock, and its record."""

import contextlib
import datetime
import os
import pathlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from kerazoo import _checks, _files

RECORD = "run.json"
TYPES = {"model": str, "task": str, "model_options": dict, "task_options": dict, "training": dict, "import": list}
# What not every run has.
MORE_TYPES = {
    "data": dict, "schedule": dict, "calls": list, "found": dict, "start": dict,
    "stored_weights": list, "low_rank": list, "made_of": dict,
}  # fmt: skip
# In a folder without a record: what a run was killed over.
UNFINISHED = {"lock", "task", "run.flags", "learning-rate.csv", "pictures"}
# Options of tasks that name files.
PATHS = ("data_dir", "dev_data", "test_data", "exclude", "source_vectors", "target_vectors", "source_vocabulary_file",
         "target_vocabulary_file")  # fmt: skip


class RunDirectory:
    """The folder that holds everything about one run.

    `run.json` is the record of the options and of each call, `task/` holds the vocabularies, `checkpoints/` the
    training states, `adapter` what LoRA trained, `baseline.json` the baseline, `dev-errors.json` the errors of an
    autoencoder on dev,
    `metrics.jsonl` one line per epoch, `learning-rate.csv` the sweep of `learning_rate="find"`, `events/` the
    TensorBoard events, `evaluation-SPLIT.json`, `report.md` and `report.html` the results, `receipt.json` all that they
    depend on, `inspect/` pictures of the inside of the model, `predictions-SPLIT.jsonl` the predictions where they are
    saved, `profile/` the profile of some steps.
    The record is written last, so a folder without one holds no run yet.

    Args:
        path: string or path. The folder; `create` creates it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.task = self.path / "task"
        self.checkpoints = self.path / "checkpoints"
        self.events = self.path / "events"
        self.profile = self.path / "profile"
        self.flags = self.path / "run.flags"
        self.metrics = self.path / "metrics.jsonl"
        self.receipt = self.path / "receipt.json"
        self.report = self.path / "report.md"
        self.report_page = self.path / "report.html"
        self.inspected = self.path / "inspect"
        self.adapter = self.path / "adapter"
        self.baseline = self.path / "baseline.json"
        self.dev_errors = self.path / "dev-errors.json"

    def evaluation(self, split: str) -> pathlib.Path:
        """Returns the path of the results on `split`."""
        return self.path / f"evaluation-{split}.json"

    def predictions(self, split: str) -> pathlib.Path:
        """Returns the path of the saved predictions for `split`."""
        return self.path / f"predictions-{split}.jsonl"

    def exists(self) -> bool:
        """Returns whether the folder holds a run."""
        return (self.path / RECORD).is_file()

    def create(self) -> None:
        """Creates the folder unless it is there.

        Raises:
            SetupError: if the folder cannot be written.
            CheckpointError: if the folder holds something else than a run.
        """
        if self.exists():
            self.check_files()
        elif self.path.is_dir():
            found = {entry.name for entry in self.path.iterdir() if not _files.is_temporary(entry.name)}
            if found and not ("lock" in found and found <= UNFINISHED):
                raise _checks.CheckpointError(
                    f"run_dir={self.path}: the folder is not empty and holds no {RECORD}, so it is not a run. "
                    "Choose a new folder."
                )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _checks.SetupError(
                f"run_dir={self.path}: cannot be created: {error.strerror or error}. Choose a writable folder."
            ) from error
        self._check_writable()

    def remove_leftovers(self) -> None:
        """Removes the temporary files that killed processes left; the caller holds the lock."""
        for folder in (self.path, self.task, self.checkpoints):
            _files.remove_leftovers(folder)

    def save_record(self, record: Mapping) -> None:
        """Writes `run.json`."""
        _files.write_record(self.path / RECORD, record)

    def record(self) -> dict[str, Any]:
        """Returns the content of `run.json`.

        Raises:
            CheckpointError: if there is no run, or its record cannot be read.
        """
        path = self.path / RECORD
        if not path.exists():
            raise _checks.CheckpointError(
                f"run_dir={self.path}: no run here ({RECORD} is missing). Train a model there first."
            )
        self.check_files()
        try:
            record = _files.read_record(path)
            check_record(record)
        except (ValueError, OSError) as error:
            raise _checks.CheckpointError(
                f"{path}: cannot be read: {error}. The command in {self.flags.name} writes it anew."
            ) from error
        return record

    def check_files(self) -> None:
        """Refuses links, devices and pipes: a folder from elsewhere could lead anywhere by them.

        Raises:
            CheckpointError: for the first of them.
        """
        try:
            _files.check_tree(self.path)
        except (ValueError, OSError) as error:
            raise _checks.CheckpointError(f"run_dir={self.path}: {error}.") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the folder, so that one process at a time trains in it.

        Raises:
            SetupError: if another process holds the lock; the message names it.
        """
        import fcntl

        with open(self.path / "lock", "a+", encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                holder = f" ({file.read(200).strip()})".replace(" ()", "")
                raise _checks.SetupError(
                    f"run_dir={self.path}: another process is training here{holder}. Wait for it or choose another "
                    "folder."
                ) from error
            file.truncate(0)
            started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {started}\n")
            file.flush()
            yield

    def _check_writable(self):
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise _checks.SetupError(f"run_dir={self.path}: cannot be written: permission denied.")
        try:
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise _checks.SetupError(
                f"run_dir={self.path}: cannot be written: {error.strerror or error}. Choose another folder."
            ) from error


def check_record(record: Mapping[str, Any]) -> None:
    """Refuses a record whose values are of another kind than those that are saved.

    Raises:
        ValueError: for the first of them.
    """
    for name, kind in {**TYPES, **{name: kind for name, kind in MORE_TYPES.items() if name in record}}.items():
        if not isinstance(record.get(name), kind):
            raise ValueError(f"{name!r} must be a {kind.__name__}; got {record.get(name)!r:.60}")


def absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of a task in which file names hold wherever they are read again."""
    return {name: absolute_path(value) if name in PATHS else value for name, value in options.items()}


def absolute_path(value: Any) -> Any:
    """Returns the absolute form of a file name, or of several with commas between them; `-` is standard input."""
    if not isinstance(value, str | os.PathLike):
        return value
    value = os.fspath(value)
    paths = [value] if os.path.exists(value) else value.split(",")
    return ",".join(path if path in ("", "-") else os.path.abspath(path) for path in paths)
