"""A run directory: what lies where, who holds it, and files that exist wholly or not at all."""

import contextlib
import json
import os
import pathlib
import tempfile

from kerazoo import _checks, _files

RECORD = "run.json"


class RunDirectory:
    """The folder that holds everything about one run.

    `run.json` is the record of what was asked for, `task/` the vocabularies, `checkpoints/` the states,
    `metrics.jsonl` one line per epoch, `events/` for TensorBoard, `evaluation-SPLIT.json` and `report.md` the results.

    Args:
        path: The folder; `create` makes it.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.task = self.path / "task"
        self.checkpoints = self.path / "checkpoints"
        self.events = self.path / "events"
        self.metrics = self.path / "metrics.jsonl"
        self.report = self.path / "report.md"

    def evaluation(self, split):
        """Returns the path of the results on `split`."""
        return self.path / f"evaluation-{split}.json"

    def exists(self):
        """Says whether a run was ever opened here."""
        return (self.path / RECORD).is_file()

    def create(self, record):
        """Makes the folder for the run that `record` describes, or checks that it already belongs to it.

        Args:
            record: A dictionary of plain values with `model`, `model_options`, `task` and `task_options`.

        Returns:
            True when the run is new, False when it goes on.

        Raises:
            SetupError: The folder cannot be written.
            CheckpointError: The folder belongs to another model or task, or to something else altogether.
        """
        if self.exists():
            self._check_same(record)
            self._check_writable()
            return False
        if self.path.is_dir() and any(entry.name != "lock" for entry in self.path.iterdir()):
            raise _checks.CheckpointError(
                f"--run_dir={self.path}: the folder is not empty and holds no {RECORD}, so it is not a run. "
                "Name a new folder."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _checks.SetupError(
                f"--run_dir={self.path}: cannot be made: {error.strerror or error}. Name a folder that you may write."
            ) from error
        self._check_writable()
        return True

    def save_record(self, record):
        """Writes `run.json`."""
        _files.write_file(self.path / RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n")

    def record(self):
        """Returns what `run.json` says."""
        path = self.path / RECORD
        if not path.is_file():
            raise _checks.CheckpointError(
                f"--run_dir={self.path}: no run here ({RECORD} is missing). Train one with experiments.run."
            )
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise _checks.CheckpointError(f"{path}: cannot be read: {error}.") from error

    @contextlib.contextmanager
    def lock(self):
        """Holds the folder for one training process at a time."""
        import fcntl

        with open(self.path / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _checks.SetupError(
                    f"--run_dir={self.path}: another process is training here. Wait for it or name another folder."
                ) from error
            yield

    def _check_same(self, record):
        held = self.record()
        for name in ("model", "task", "model_options", "task_options"):
            if held.get(name) != record.get(name):
                raise _checks.CheckpointError(
                    f"--run_dir={self.path}: belongs to another run: its {name} is {held.get(name)!r}, "
                    f"asked for {record.get(name)!r}. Name another folder or repeat its flags ({self.path}/run.flags)."
                )

    def _check_writable(self):
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise _checks.SetupError(f"--run_dir={self.path}: cannot be written: permission denied.")
        try:
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise _checks.SetupError(
                f"--run_dir={self.path}: cannot be written: {error.strerror or error}. Name another folder."
            ) from error
