"""Files and folders that appear whole or not at all, and the careful reading of those that came from elsewhere.

They are written under a temporary name, synchronised, then renamed.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from kerazoo import _checks

MAX_RECORD_BYTES = 1 << 28  # of a JSON file; a vocabulary of a million words has some 20 MB
SHA256 = "sha256"
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
    content = content.encode() if isinstance(content, str) else content
    with _reported(path, advice, len(content)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)


def write_record(path: str | os.PathLike, values: Mapping, advice: str = "") -> None:
    """Writes plain values as JSON together with the SHA-256 of their content.

    Args:
        path: string or path. The file.
        values: mapping of strings to plain values. What JSON lacks is written as a string.
        advice: string. A sentence that ends the message of an error. Defaults to `""`.

    Raises:
        SetupError: if the file cannot be written.
    """
    values = plain(values)
    content = json.dumps({**values, SHA256: _sum(values)}, indent=2, ensure_ascii=False)
    write_file(path, content.encode("utf-8", "surrogatepass") + b"\n", advice)


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the values that `write_record` wrote; a file without the SHA-256 is read as it is.

    Args:
        path: string or path. The file.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is no plain file, or its content is damaged.
    """
    try:
        values = json.loads(read_file(path, MAX_RECORD_BYTES).decode("utf-8", "surrogatepass"))
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"it must hold a JSON object, not {type(values).__name__}")
    expected = values.pop(SHA256, None)
    if expected not in (None, _sum(values)):
        raise ValueError(f'its content has another SHA-256; if you changed it yourself, delete its line "{SHA256}"')
    return values


def plain(values: Any) -> Any:
    """Returns values as JSON gives them back: tuples as lists, keys as strings, paths and the like as strings."""
    return json.loads(json.dumps(values, default=_plain_object))


def read_file(path: str | os.PathLike, max_bytes: int) -> bytes:
    """Returns the content of a plain file. A symbolic link is not followed, and a device or pipe not waited for.

    Args:
        path: string or path. The file.
        max_bytes: int. A larger file is refused.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is no plain file, or too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("it is a symbolic link") from error
        raise
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no plain file")
        if status.st_size > max_bytes:
            raise ValueError(f"it has {status.st_size:,} bytes; at most {max_bytes:,} are read")
        return file.read(status.st_size)


def reason(error: OSError, path: str | os.PathLike, size: int | None = None) -> str:
    """Returns why something cannot be written, and for a full disk how much is needed and how much is left.

    Args:
        error: `OSError`.
        path: string or path. What cannot be written.
        size: int. The number of bytes that are needed, if it is at hand. Defaults to `None`.
    """
    text = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return text
    existing = next(each for each in pathlib.Path(path).absolute().parents if each.is_dir())
    needed = f"{size:,} bytes are needed, " if size is not None else ""
    return f"{text} ({needed}{shutil.disk_usage(existing).free:,} bytes are left on it)"


def check_tree(folder: str | os.PathLike) -> None:
    """Refuses a folder with anything but plain files and folders in it.

    Raises:
        ValueError: for the first symbolic link, device, pipe or socket; the message names it.
    """
    folders = [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    kind = "a symbolic link" if entry.is_symlink() else "a device, pipe or socket"
                    raise ValueError(f"{entry.path} is {kind}; a run directory has only plain files and folders")


@contextlib.contextmanager
def new_file(path: str | os.PathLike, advice: str = "") -> Iterator[pathlib.Path]:
    """Yields the name of a file to write, which becomes `path` when the block ends, and is removed when it raises.

    Args:
        path: string or path. The file. Missing parent folders are made.
        advice: string. A sentence that ends the message of an error. Defaults to `""`.

    Raises:
        SetupError: if the file cannot be written.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    try:
        with _reported(path, advice, None):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike, advice: str = "", size: int | None = None) -> Iterator[pathlib.Path]:
    """Yields an empty folder that becomes `path` when the block ends, and is removed when the block raises.

    `path` must be missing or an empty folder. Missing parent folders are made. Everything that the block wrote is
    synchronised with the disk before the folder is renamed.

    Args:
        path: string or path. The folder.
        advice: string. A sentence that ends the message of an error. Defaults to `""`.
        size: int. The number of bytes that will be written, for the message of a full disk. Defaults to `None`.

    Raises:
        SetupError: if the folder cannot be written, or if the block raises `OSError`.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    with _reported(path, advice, size):
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


def is_temporary(name: str) -> bool:
    """Returns whether a name is that of a file or folder that is not finished."""
    return _TEMPORARY.fullmatch(name) is not None


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """Returns a new name in the same folder; a name of `tempfile` would not get the permissions of the umask."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"


@contextlib.contextmanager
def _reported(path: pathlib.Path, advice: str, size: int | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{path}: cannot be written: {reason(error, path, size)}. {advice}"
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


def _sum(values: Mapping) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _plain_object(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)  # from NumPy; a path
