"""The versions of one model in a folder: the newest one serves, and a new one takes over between two requests."""

import asyncio
import dataclasses
import os
import pathlib
from collections.abc import Callable

from kerazoo import _checks
from kerazoo.serve.batch_queue import Batcher
from kerazoo.serve.event_stream import StepDecoder, step_decoder
from kerazoo.serve.request_error import RequestError
from kerazoo.serve.servable import Servable, is_servable
from kerazoo.serve.serving_options import ServingOptions

# States of a version in TensorFlow Serving.
LOADING, AVAILABLE, END = "LOADING", "AVAILABLE", "END"


@dataclasses.dataclass
class Version:
    """A version of a model.

    Args:
        number: int. Its number.
        state: string. `"LOADING"`, `"AVAILABLE"`, or `"END"` of one that failed or was replaced. Defaults to
            `'LOADING'`.
        error: string. Why it could not be loaded. Defaults to `""`.
        servable: `Servable`, while it is available. Defaults to `None`.
        batcher: `Batcher`, while it serves. Defaults to `None`.
        decoder: `StepDecoder` for streams, if the model has one. Defaults to `None`.
    """

    number: int
    state: str = LOADING
    error: str = ""
    servable: Servable | None = None
    batcher: Batcher | None = None
    decoder: StepDecoder | None = None

    @property
    def status(self) -> dict:
        """The status in the form of TensorFlow Serving."""
        code = "INTERNAL" if self.error else "OK"
        return {
            "version": str(self.number),
            "state": self.state,
            "status": {"error_code": code, "error_message": self.error},
        }


class ModelVersions:
    """A model whose folder is a SavedModel, or has one in each of its subfolders that are named by a number.

    Args:
        name: string. The name of the model.
        folder: string or path. The folder.
        options: `ServingOptions`.
        on_batch: callable of the number of rows of a batch and the seconds that it took. Defaults to `None`.
        print_fn: callable of a string, to which loaded versions are reported. Defaults to `print`.

    Raises:
        CheckpointError: if there is no version that can be loaded.
    """

    def __init__(
        self,
        name: str,
        folder: str | os.PathLike,
        options: ServingOptions,
        on_batch: Callable[[int, float], object] | None = None,
        print_fn: Callable[[str], object] = print,
    ):
        self.name, self.folder = name, pathlib.Path(folder)
        self._options, self._on_batch, self._print = options, on_batch, print_fn
        self.versions: dict[int, Version] = {}
        self._failed: dict[int, tuple] = {}  # the files of a version that could not be loaded
        found = self._found()
        if not found:
            raise _checks.CheckpointError(
                f"{self.folder}: holds no SavedModel, neither itself nor in a folder named by a number. "
                "Write one with python -m experiments.export --run_dir=RUN --to=DIR."
            )
        for number in sorted(found, reverse=True):
            version = self._load(number, found[number])
            if version.servable is not None:
                version.state = AVAILABLE
                break
        else:
            raise _checks.CheckpointError(self.versions[max(found)].error)

    @property
    def current(self) -> Version:
        """The version that serves."""
        return max(
            (version for version in self.versions.values() if version.state == AVAILABLE),
            key=lambda version: version.number,
        )

    def find(self, number: int | None = None) -> Version:
        """Returns the version that serves, if it is the one that is asked for.

        Args:
            number: int. The number of a version. Defaults to `None`: the newest one.

        Raises:
            RequestError: if this version is not loaded.
        """
        current = self.current
        if number not in (None, current.number):
            raise RequestError(404, f"Model {self.name} has version {current.number} loaded; got version {number}.")
        return current

    def start(self) -> None:
        """Starts the batches of the version that serves, inside the event loop."""
        self.current.batcher = Batcher(self._options, self._on_batch)

    async def refresh(self) -> None:
        """Loads a newer version if there is one; the one before it finishes its requests and is released."""
        found, before = self._found(), self.current
        newer = sorted((number for number in found if number > before.number), reverse=True)
        for number in newer:
            if self._failed.get(number) == _print_of(found[number]):
                continue
            version = await asyncio.get_running_loop().run_in_executor(None, self._load, number, found[number])
            if version.servable is None:
                continue
            version.batcher = Batcher(self._options, self._on_batch)
            version.state, before.state = AVAILABLE, END  # requests that come from now on go to the new version
            if before.batcher is not None:
                await before.batcher.finish()
            before.servable = before.batcher = before.decoder = None
            return

    async def finish(self) -> None:
        """Waits until all requests are computed."""
        if self.current.batcher is not None:
            await self.current.batcher.finish()

    def _found(self):
        """Returns the folders of the versions by their numbers."""
        if is_servable(self.folder):
            return {1: self.folder}
        try:
            names = [name for name in os.listdir(self.folder) if name.isascii() and name.isdecimal()]
        except OSError as error:
            if self.versions:  # the loaded one goes on serving
                return {}
            raise _checks.CheckpointError(f"{self.folder}: cannot be read: {error.strerror}.") from error
        return {int(name): self.folder / name for name in names if is_servable(self.folder / name)}

    def _load(self, number, folder):
        """Loads a version; one that fails is tried again when its files change."""
        files = _print_of(folder)
        version = self.versions[number] = Version(number)
        try:
            servable = Servable(folder)
            servable.warm_up()
        except Exception as error:
            version.state, version.error = END, str(error)
            self._failed[number] = files
            self._print(f"{self.name}: version {number} is not loaded: {error}")
            return version
        version.servable, version.decoder = servable, step_decoder(servable)
        self._print(f"{self.name}: version {number} is loaded from {folder}.")
        return version


def _print_of(folder):
    """Returns names, sizes and times of the files in a folder."""
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((path, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
