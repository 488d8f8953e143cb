"""Files of weights as named arrays: safetensors, `.npz` and HDF5, of which nothing is executed and all is checked."""

import contextlib
import dataclasses
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kerazoo import _checks

NUMBERS = "fiub"  # kinds of NumPy's dtypes that weights may have
HALF = "bfloat16"
FAULTS = (OSError, ValueError, LookupError, TypeError, EOFError, RecursionError, RuntimeError, MemoryError,
          OverflowError, zipfile.BadZipFile, zlib.error)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """The names and shapes of the arrays in a file, and how they are read.

    Args:
        path: string. The file.
        format: `"safetensors"`, `"npz"` or `"h5"`.
        shapes: dict of tuples of ints. The shape of each array by its name.
        load: function of a name that returns an array.
    """

    path: str
    format: str
    shapes: dict[str, tuple[int, ...]]
    load: Callable[[str], Any]

    def read(self, name: str) -> np.ndarray:
        """Returns the array `name`; numbers of 16 bits become float32.

        Raises:
            CheckpointError: if it cannot be read, has another shape than the file says, or is not finite.
        """
        try:
            array = np.asarray(self.load(name))
        except FAULTS as error:
            raise _checks.CheckpointError(f"{self.path}: {name} cannot be read: {error}") from error
        if array.dtype.name in (HALF, "float16"):
            array = array.astype("float32")
        if array.shape != self.shapes[name] or array.dtype.kind not in NUMBERS:
            raise _checks.CheckpointError(
                f"{self.path}: {name} must be numbers of the shape {self.shapes[name]}; got {array.dtype} "
                f"{array.shape}."
            )
        if not np.isfinite(array).all():
            raise _checks.CheckpointError(f"{self.path}: {name} has values that are not finite.")
        return array


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[WeightFile]:
    """Yields the file of weights `path`, open for reading; its first bytes tell its format.

    Args:
        path: string or path. A safetensors file, an `.npz` file of NumPy, or an HDF5 file such as `.weights.h5`.

    Raises:
        CheckpointError: if the file is missing, damaged, of another format, or has arrays that are no numbers.
        SetupError: if it is a safetensors file and the package `safetensors` is not installed.
    """
    path = os.fspath(path)
    with contextlib.ExitStack() as stack:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ValueError("it is no plain file")
            with open(path, "rb") as file:
                begin = file.read(9)
            reader = _reader(begin)
            opened_file = reader(path, stack)
        except _checks.SetupError:
            raise
        except FileNotFoundError as error:
            raise _checks.CheckpointError(f"{path}: there is no such file of weights.") from error
        except Exception as error:  # whatever the libraries raise for a damaged or hostile file
            raise _checks.CheckpointError(f"{path}: cannot be read as weights: {error}") from error
        yield opened_file


def _reader(begin):
    if begin.startswith(b"\x89HDF"):
        return _open_h5
    if begin.startswith(b"PK"):
        return _open_npz
    if begin[8:] == b"{":  # after the length of the header
        return _open_safetensors
    raise ValueError("it is neither safetensors nor an .npz file nor HDF5; pickled weights, such as .bin or .pt, are "
                     "not read")  # fmt: skip


def _open_safetensors(path, stack):
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise _checks.SetupError('Reading safetensors needs: pip install "kerazoo[weights]"') from error
    file = stack.enter_context(safetensors.safe_open(path, framework="numpy"))
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
    return WeightFile(path, "safetensors", shapes, file.get_tensor)


def _open_npz(path, stack):
    archive = stack.enter_context(zipfile.ZipFile(path))
    members = archive.namelist()
    if len(set(members)) < len(members) or not all(name.endswith(".npy") for name in members):
        raise ValueError("it is no .npz file of NumPy")
    shapes = {}
    for name in members:
        with archive.open(name) as member:
            shape, dtype = _header(member)
        if dtype.hasobject or dtype.kind not in NUMBERS:
            raise ValueError(f"{name} holds {dtype}, and not numbers")
        if math.prod(shape) * dtype.itemsize > archive.getinfo(name).file_size:
            raise ValueError(f"{name} has fewer values than its shape {shape} needs")
        shapes[name.removesuffix(".npy")] = shape

    def load(name):
        with archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    return WeightFile(path, "npz", shapes, load)


def _header(member):
    """Returns shape and dtype of an array of NumPy without its values."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype


def _open_h5(path, stack):
    import h5py

    file = stack.enter_context(h5py.File(path, "r"))
    shapes = {}
    for name, dataset in _datasets(file, h5py, ""):
        if dataset.dtype.kind not in NUMBERS:
            raise ValueError(f"{name} holds {dataset.dtype}, and not numbers")
        shapes[name] = tuple(dataset.shape)
    return WeightFile(path, "h5", shapes, lambda name: file[name][()])


def _datasets(group, h5py, path, above=()):
    """Yields name and data set of all arrays in a group; what points to another place or file is refused."""
    here = h5py.h5o.get_info(group.id).addr
    if here in above:
        raise ValueError(f"the group {path} contains itself")
    for key in group:
        name = f"{path}/{key}".lstrip("/")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link")
        each = group[key]
        if isinstance(each, h5py.Group):
            yield from _datasets(each, h5py, name, (*above, here))
        elif not isinstance(each, h5py.Dataset) or each.is_virtual or each.external:
            raise ValueError(f"{name} has its values in another file")
        else:
            yield name, each
