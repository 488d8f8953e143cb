"""The run directory: the paths of its files, its lock, and its record."""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping

from kerazoo import _checks, _files

RECORD = "run.json"


class RunDirectory:
    """The folder that holds everything about one run.

    `run.json` is the record of the options, `task/` holds the vocabularies, `checkpoints/` the training states,
    `metrics.jsonl` one line per epoch, `events/` the TensorBoard events, `evaluation-SPLIT.json` and `report.md` the
    results.

    Args:
        path: string or path. The folder; `create` creates it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.task = self.path / "task"
        self.checkpoints = self.path / "checkpoints"
        self.events = self.path / "events"
        self.metrics = self.path / "metrics.jsonl"
        self.report = self.path / "report.md"

    def evaluation(self, split: str) -> pathlib.Path:
        """Returns the path of the results on `split`."""
        return self.path / f"evaluation-{split}.json"

    def exists(self) -> bool:
        """Returns whether the folder holds a run."""
        return (self.path / RECORD).is_file()

    def create(self, record: Mapping) -> bool:
        """Creates the folder for the run that `record` describes, or checks that it already belongs to that run.

        Args:
            record: dict of plain values with `model`, `model_options`, `task` and `task_options`.

        Returns:
            `True` if the run is new, `False` if it resumes.

        Raises:
            SetupError: if the folder cannot be written.
            CheckpointError: if the folder belongs to another model or task, or is not a run.
        """
        if self.exists():
            self._check_same(record)
            self._check_writable()
            return False
        if self.path.is_dir() and any(entry.name != "lock" for entry in self.path.iterdir()):
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
        return True

    def save_record(self, record: Mapping) -> None:
        """Writes `run.json`."""
        _files.write_file(self.path / RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n")

    def record(self) -> dict:
        """Returns the content of `run.json`.

        Raises:
            CheckpointError: if there is no run, or its record cannot be read.
        """
        path = self.path / RECORD
        if not path.is_file():
            raise _checks.CheckpointError(
                f"run_dir={self.path}: no run here ({RECORD} is missing). Train a model there first."
            )
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise _checks.CheckpointError(f"{path}: cannot be read: {error}.") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the folder, so that one process at a time trains in it.

        Raises:
            SetupError: if another process holds the lock.
        """
        import fcntl

        with open(self.path / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _checks.SetupError(
                    f"run_dir={self.path}: another process is training here. Wait for it or choose another folder."
                ) from error
            yield

    def _check_same(self, record):
        saved = self.record()
        for name in ("model", "task", "model_options", "task_options"):
            if saved.get(name) != record.get(name):
                raise _checks.CheckpointError(
                    f"run_dir={self.path}: belongs to another run: its {name} is {saved.get(name)!r}; "
                    f"got {record.get(name)!r}. Choose another folder or repeat its options ({self.path}/run.flags)."
                )

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
