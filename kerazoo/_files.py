"""Files and folders that appear whole or not at all: written under a temporary name, synchronised, then renamed."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterator

from kerazoo import _checks

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")


def write_file(path: str | os.PathLike, content: str | bytes, advice: str = "") -> None:
    """Writes `content` to the file `path`, which holds either its old content or all of the new one at any moment.

    Missing parent folders are made. Text is written as UTF-8.

    Args:
        path: string or path. The file.
        content: string or bytes. What the file holds afterwards.
        advice: string. A sentence that ends the message of an error. Defaults to `""`.

    Raises:
        SetupError: if the file cannot be written.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    with _reported(path, advice):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike, advice: str = "") -> Iterator[pathlib.Path]:
    """Yields an empty folder that becomes `path` when the block ends, and is removed when the block raises.

    `path` must be missing or an empty folder. Missing parent folders are made. Everything that the block wrote is
    synchronised with the disk before the folder is renamed.

    Args:
        path: string or path. The folder.
        advice: string. A sentence that ends the message of an error. Defaults to `""`.

    Raises:
        SetupError: if the folder cannot be written, or if the block raises `OSError`.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    with _reported(path, advice):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            _sync_tree(temporary)
            os.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(path.parent)


def remove_folder(path: str | os.PathLike) -> None:
    """Removes a folder, which is there with all of its content or not at all at any moment.

    Args:
        path: string or path. The folder.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    with contextlib.suppress(OSError):
        os.replace(path, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: str | os.PathLike, name: str | None = None) -> None:
    """Removes the temporary files and folders in `folder` that killed processes left.

    The caller makes sure that no process is writing there, by a lock for example.

    Args:
        folder: string or path. A folder, which may be missing.
        name: string. The name of the file or folder that was to be written, None for any. Defaults to `None`.
    """
    with contextlib.suppress(FileNotFoundError):
        for entry in list(pathlib.Path(folder).iterdir()):
            match = _TEMPORARY.fullmatch(entry.name)
            if not match or name not in (None, match[1]):
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """Returns a new name in the same folder; a name of `tempfile` would not get the permissions of the umask."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"


@contextlib.contextmanager
def _reported(path: pathlib.Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}. {advice}"
        raise _checks.SetupError(message.rstrip()) from error


def _sync_tree(folder: pathlib.Path) -> None:
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(root)


def _sync_folder(folder: str | os.PathLike) -> None:
    """Makes names in a folder durable, on the file systems that have such an operation."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
