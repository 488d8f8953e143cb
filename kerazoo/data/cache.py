"""A folder of prepared data that later runs reuse: every entry is there wholly or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import time

from kerazoo import _checks

VARIABLE = "KERAZOO_CACHE"
VERSION = 1  # of what entries hold; entries of another version are not found
UNUSED = 30 * 24 * 3600  # seconds after which an entry that nobody read makes room for a new one
OURS = re.compile(r"([0-9a-f]{40})(\.\w+\.tmp)?")  # an entry, or one whose making was cut off; nothing else is touched
ENDS = 1 << 16  # bytes at both ends of a file that tell it from another one of the same size and time


def set_cache_dir(folder):
    """Says where prepared data is kept.

    Without this it is the folder in the environment variable `KERAZOO_CACHE`, else `kerazoo` in the user's folder of
    caches (`XDG_CACHE_HOME`, `~/.cache`). The folder may be deleted whenever no run is reading it. Whenever something
    new is kept, what was not read for 30 days is deleted.

    Args:
        folder: The folder; the empty string keeps nothing, and all data in memory.

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


def cache_dir():
    """Returns the folder of prepared data, or None where nothing is kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return pathlib.Path(named).expanduser() if named else None
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "kerazoo"


def fingerprint(paths):
    """Returns plain values that change when one of the files does: path, size, time, and a hash of both ends.

    Raises:
        DataError: A file cannot be read.
    """
    return [_of_file(pathlib.Path(path)) for path in paths]


def key(*parts):
    """Returns the name of the entry that plain values determine."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True).encode()).hexdigest()[:40]


def entry(name, make, read):
    """Returns `read(folder)` of the entry `name`, which `make(folder)` fills where it is not there yet.

    One process makes an entry while others that want the same wait. A process that is killed leaves a folder under
    another name, which the next one takes away. A damaged entry is made anew.

    Args:
        name: What `key` returned.
        make: Function that writes files into an empty folder.
        read: Function that raises `DataError` if the folder does not hold what it should.

    Raises:
        SetupError: The cache cannot be written, or the disk is full.
    """
    root = cache_dir()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(_checks.DataError):
            if (root / name).is_dir():
                return _read(read, root / name)
        _make_room(root)  # before the lock, for an old entry of this name takes its lock with it
        with _lock(root / f"{name}.lock"):
            with contextlib.suppress(_checks.DataError):
                if (root / name).is_dir():  # another process made it while this one waited
                    return _read(read, root / name)
            for left in [root / name, *root.glob(f"{name}.*.tmp")]:
                shutil.rmtree(left, ignore_errors=True)
            temporary = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".tmp", dir=root))
            try:
                make(temporary)
                os.replace(temporary, root / name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise _checks.SetupError(
            f"{root}: prepared data cannot be kept there: {reason}. "
            "Name another folder with --cache_dir=FOLDER, or none with --cache_dir= (all data is then in memory)."
        ) from error
    return read(root / name)


def _read(read, folder):
    found = read(folder)
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(folder)
    return found


def _make_room(root):
    """Deletes the entries that were not read for long; who still has one open keeps its mapped files."""
    for folder in root.iterdir():
        ours = OURS.fullmatch(folder.name)
        with contextlib.suppress(OSError):  # another process was quicker
            if ours and time.time() - folder.stat().st_mtime > UNUSED:
                shutil.rmtree(folder, ignore_errors=True)
                (root / f"{ours[1]}.lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path):
    """Holds the lock of an entry; it ends with the process, however that ends."""
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
