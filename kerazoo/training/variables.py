"""Keras variables as bytes: their layout, their values, and the comparison with those of a model."""

import contextlib
import io
import math
import os
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kerazoo import _checks
from kerazoo.training import processes

COUNTS = ("int32", "int64", "uint32", "uint64")  # dtypes of what is counted, and of the states of random numbers
HEADER_BYTES = 1024  # of an array in an `.npz` file, and of the file itself, at most
_NUMBER = re.compile(r"_\d+(?=/|_|$)")  # what Keras appends to the second layer of a class, and to the next model


def layout(variables: list) -> list[dict]:
    """Returns name, shape and dtype of each variable as plain values."""
    return [{"name": v.path, "shape": list(v.shape), "dtype": str(v.dtype)} for v in variables]


def compare(path: os.PathLike, part: str, saved: list[dict], existing: list[dict]) -> None:
    """Raises a CheckpointError that names the first variable which differs.

    Counts may have another width: the states of random numbers are int64 with TensorFlow and uint32 with JAX. Weights
    in few bits may not.
    """
    for index in range(max(len(saved), len(existing))):
        one, two = (side[index] if index < len(side) else None for side in (saved, existing))
        if one and two and one["shape"] == two["shape"] and _same_kind(one, two) and _same_name(part, one, two):
            continue
        raise _checks.CheckpointError(
            f"{path}: does not fit the {part}: variable {index} of {len(saved)} is saved as {_words(one)}; "
            f"the {part} has {_words(two)} ({len(existing)} variables)."
        )


def converted(path: os.PathLike, variable: keras.Variable, value: np.ndarray) -> np.ndarray:
    """Returns a saved value in the dtype of a variable that it is compared with.

    Raises:
        CheckpointError: if a whole number is too large or too small for the dtype.
    """
    if str(value.dtype) == str(variable.dtype) or value.dtype.kind not in "iu":
        return value
    found = value.astype(str(variable.dtype))
    if (found != value).any():
        raise _checks.CheckpointError(
            f"{path}: {variable.path} was saved as {value.dtype} with {value[found != value].flat[0]}, which "
            f"{variable.dtype} cannot hold. Use the backend of Keras that the run was trained with."
        )
    return found


def _same_kind(one, two):
    return one["dtype"] == two["dtype"] or all(each["dtype"] in COUNTS for each in (one, two))


def _same_name(part, one, two):
    # The numbers in names depend on what was built before in the same process, and an optimizer's names on both.
    last = [_NUMBER.sub("", variable["name"]).split("/")[-2:] for variable in (one, two)]
    return part.startswith("optimizer") or last[0] == last[1]


def _words(variable):
    return f"{variable['name']} {tuple(variable['shape'])} {variable['dtype']}" if variable else "none"


def copy(variables: list) -> list[np.ndarray]:
    """Returns the values of the variables as arrays of their own, which a later step does not change."""
    return [np.array(processes.to_host(variable.value), order="C", copy=True) for variable in variables]


@contextlib.contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Gives the variables of a built model the values that they had before the block."""
    kept = list(zip(model.variables, copy(model.variables)))
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def pack(arrays: list[np.ndarray]) -> bytes:
    """Returns arrays as the bytes of an `.npz` file."""
    # NumPy writes only its own dtypes: others, such as bfloat16, are saved as integers of the same width.
    arrays = [a if a.dtype.isbuiltin == 1 else a.view(f"u{a.dtype.itemsize}") for a in arrays]
    named: dict[str, Any] = {f"{index:05d}": array for index, array in enumerate(arrays)}
    content = io.BytesIO()
    np.savez(content, **named)
    return content.getvalue()


def packed_bytes(variables: list) -> int:
    """Returns an upper bound of the length of what `pack` returns."""
    return sum(math.prod(v.shape) * 8 + HEADER_BYTES for v in variables) + HEADER_BYTES


def unpack(content: bytes, layout: list[dict]) -> Iterator[np.ndarray]:
    """Yields the arrays that `pack` wrote, in the shapes and dtypes of `layout`; a compressed file is refused."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for index, variable in enumerate(layout):
            member = archive.getinfo(f"{index:05d}.npy")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(content):
                raise ValueError(f"{member.filename} is compressed, which kerazoo never writes")
            yield _array(archive.read(member), variable)


def not_finite(variables: list, arrays: list[np.ndarray]) -> str | None:
    """Returns the name of the first variable with NaN in its array, or infinite values in a trainable one."""
    for variable, array in zip(variables, arrays, strict=True):
        if array.dtype.kind in "biu":
            continue
        array = array if array.dtype.isbuiltin == 1 else array.astype("float32")
        if np.isnan(array).any() or (variable.trainable and not np.isfinite(array).all()):
            return variable.path
    return None


def _array(member, variable):
    """Returns the array in the bytes of an `.npy` file; its header is skipped, for the layout tells what it holds."""
    dtype, shape = np.dtype(variable["dtype"]), variable["shape"]
    start = 10 + int.from_bytes(member[8:10], "little")
    if member[:8] != b"\x93NUMPY\x01\x00" or math.prod(shape) * dtype.itemsize != len(member) - start:
        raise ValueError(f"no array of shape {tuple(shape)} and {dtype}, which was saved")
    return np.frombuffer(member, dtype, offset=start).reshape(shape)
