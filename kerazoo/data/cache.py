"""A folder of prepared data that later runs reuse; each entry is complete or not there."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kerazoo import _checks, _files

VARIABLE = "KERAZOO_CACHE"
VERSION = 3  # of the content of entries; entries of another version are not found
UNUSED_SECONDS = 30 * 24 * 3600  # after which what was not read is deleted
ENTRY = re.compile(r"\.?([0-9a-f]{40})(\.[0-9a-f]{32}\.tmp)?")  # an entry, or what a killed process left of one
ENDS = 1 << 16  # bytes at both ends of a file that are hashed
ADVICE = "Name another folder with cache_dir=FOLDER, or none with cache_dir='' (all data is then in memory)."


def set_cache_dir(folder: str | os.PathLike) -> None:
    """Sets the folder of prepared data and, on JAX, of compiled programs.

    The default is the folder in the environment variable `KERAZOO_CACHE`, else `kerazoo` in the user's folder of
    caches (`XDG_CACHE_HOME`, `~/.cache`). The folder may be deleted whenever no run is reading it. Whenever a new entry
    is made, entries that were not read for 30 days are deleted.

    Args:
        folder: string or path. The empty string keeps nothing on disk, and all data in memory. Once a model of a run
            was made, it no longer changes where its process keeps compiled programs.

    Example:

    ```python
    import tempfile

    import kerazoo as kz

    before = kz.data.cache_dir()
    kz.data.set_cache_dir(tempfile.mkdtemp())
    print(kz.data.cache_dir())
    kz.data.set_cache_dir(before or "")
    ```
    """
    os.environ[VARIABLE] = os.fspath(folder)


def cache_dir() -> pathlib.Path | None:
    """Returns the folder of prepared data, or `None` if nothing is kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return pathlib.Path(named).expanduser() if named else None
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "kerazoo"


def compiled_programs_dir() -> pathlib.Path | None:
    """Returns the folder of compiled programs, within that of prepared data, or `None` if nothing is kept.

    It is made if it is not there, and programs that were not read for 30 days are deleted. A program is machine code: a
    folder into which other users could write is not used.
    """
    root = cache_dir()
    if root is None:
        return None
    folder = root / "programs"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_mine_alone(folder) or not os.access(folder, os.W_OK):
            return None
        for path in folder.iterdir():
            with contextlib.suppress(OSError):  # another process was quicker
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and _is_unused(max(status.st_atime, status.st_mtime)):
                    path.unlink()
    except OSError:
        return None
    return folder


def _is_mine_alone(folder):
    status = folder.lstat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not others_write


def _is_unused(read):
    return time.time() - read > UNUSED_SECONDS


def fingerprint(paths: Iterable[str | os.PathLike]) -> list:
    """Returns plain values that change when one of the files does: path, size, time, and a hash of both ends.

    Raises:
        DataError: if a file cannot be read.
    """
    return [_of_file(pathlib.Path(path)) for path in paths]


def key(*parts: Any) -> str:
    """Returns the name of the entry that plain values determine."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True).encode()).hexdigest()[:40]


def entry(name: str, make: Callable[[pathlib.Path], Any], read: Callable[[pathlib.Path], Any]) -> Any:
    """Returns `read(folder)` of the entry `name`, which `make(folder)` fills if it is not there yet.

    One process makes an entry while others that need it wait. What a killed process leaves is removed by the next one.
    A damaged entry is made anew.

    Args:
        name: string, as returned by `key`.
        make: function that writes files into an empty folder.
        read: function that raises `DataError` if the folder is damaged.

    Raises:
        SetupError: if the cache cannot be written, or the disk is full.
    """
    root = cache_dir()
    if root is None:
        raise ValueError("cache.entry: there is no cache folder; got cache_dir=''. Set one with set_cache_dir.")
    folder = root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(_checks.DataError):
            if folder.is_dir():
                return _read(read, folder)
        _delete_unused(root)  # before the lock, for an old entry of this name is deleted with its lock
        with _lock(root / f"{name}.lock"):
            with contextlib.suppress(_checks.DataError):
                if folder.is_dir():  # another process made it while this one waited
                    return _read(read, folder)
            shutil.rmtree(folder, ignore_errors=True)
            _files.remove_leftovers(root, name)
            with _files.new_folder(folder) as temporary:
                make(temporary)
    except (OSError, _checks.SetupError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        reason = _files.reason(cause, root / name)
        raise _checks.SetupError(f"{root}: prepared data cannot be kept there: {reason}. {ADVICE}") from error
    return read(folder)


def _read(read, folder):
    found = read(folder)
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(folder)
    return found


def _delete_unused(root):
    """Deletes the entries that were not read for long; a process that has one open keeps its mapped files."""
    for folder in root.iterdir():
        match = ENTRY.fullmatch(folder.name)
        with contextlib.suppress(OSError):  # another process was quicker
            if match and _is_unused(folder.stat().st_mtime):
                shutil.rmtree(folder, ignore_errors=True)
                (root / f"{match[1]}.lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path) -> Iterator[None]:
    """Holds the lock of an entry; the operating system releases it when the process ends."""
    import fcntl

    with open(path, "w") as file:
        with contextlib.suppress(OSError):  # a file system without locks: the last writer of equal entries wins
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _of_file(path):
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            ends = hashlib.sha256(file.read(ENDS))
            file.seek(max(status.st_size - ENDS, 0))
            ends.update(file.read(ENDS))
    except OSError as error:
        raise _checks.DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return [os.fspath(path.resolve()), status.st_size, status.st_mtime_ns, ends.hexdigest()]
