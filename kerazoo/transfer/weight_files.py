"""Files of weights as named arrays: safetensors, `.npz` and HDF5, of which nothing is executed and all is checked."""

import contextlib
import dataclasses
import json
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks, _files

NUMBERS = "fiub"  # kinds of NumPy's dtypes that weights may have
HALF = "bfloat16"
INDEX = ".safetensors.index.json"
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
        layers: list of layers and their arrays in the order of the model, of an HDF5 file as Keras wrote them before
            `.weights.h5`. Defaults to `()`.
    """

    path: str
    format: str
    shapes: dict[str, tuple[int, ...]]
    load: Callable[[str], Any]
    layers: Sequence[tuple[str, list[str]]] = ()

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
        path: string or path. A safetensors file, its index `.safetensors.index.json` with the names of several in the
            same folder, an `.npz` file of NumPy, or an HDF5 file such as `.weights.h5`.

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
            reader = _reader(path, begin)
            opened_file = reader(path, stack)
        except _checks.SetupError:
            raise
        except FileNotFoundError as error:
            raise _checks.CheckpointError(f"{path}: there is no such file of weights.") from error
        except Exception as error:  # whatever the libraries raise for a damaged or hostile file
            raise _checks.CheckpointError(f"{path}: cannot be read as weights: {error}") from error
        yield opened_file


def _reader(path, begin):
    if path.endswith(INDEX):
        return _open_shards
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


def _open_shards(path, stack):
    names = json.loads(_files.read_file(path, _files.MAX_RECORD_BYTES))["weight_map"]
    if not names or not all(isinstance(each, str) for each in names.values()):
        raise ValueError("`weight_map` must have the name of a file for each tensor")
    files = {}
    for name in sorted(set(names.values())):
        if os.path.basename(name) != name or not name.endswith(".safetensors"):
            raise ValueError(f"{name!r} is not the name of a safetensors file in the same folder")
        shard = os.path.join(os.path.dirname(path), name)
        if not stat.S_ISREG(os.stat(shard).st_mode):
            raise ValueError(f"{name} is no plain file")
        files[name] = _open_safetensors(shard, stack)
    held = {tensor: name for name, file in files.items() for tensor in file.shapes}
    different = sorted(tensor for tensor in {*held, *names} if held.get(tensor) != names.get(tensor))
    if different or sum(len(file.shapes) for file in files.values()) != len(held):
        raise ValueError(f"the index and the files differ in {', '.join(different[:3]) or 'a tensor of two files'}")
    shapes = {tensor: files[name].shapes[tensor] for tensor, name in names.items()}
    return WeightFile(path, "safetensors", shapes, lambda tensor: files[names[tensor]].load(tensor))


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
    return WeightFile(path, "h5", shapes, lambda name: file[name][()], _layers(file, shapes))


def _layers(file, shapes):
    """Returns the arrays of each layer in the order that the attributes of an older file of Keras give."""
    prefix = "" if "layer_names" in file.attrs or "model_weights" not in file else "model_weights/"
    root = file[prefix] if prefix else file
    found = []
    for layer in _names(root, "layer_names"):
        arrays = [f"{prefix}{layer}/{name}" for name in _names(root[layer], "weight_names")]
        missing = next((name for name in arrays if name not in shapes), None)
        if missing:
            raise ValueError(f"{missing} is named and is not there")
        if arrays:
            found.append((layer, arrays))
    return found


def _names(group, attribute):
    """Returns the strings of an attribute, which is divided where it is long."""
    parts = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{attribute}{len(parts)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


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
