"""Keras variables as bytes: their layout, their values, and the comparison with those of a model."""

import io
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks

_NUMBER = re.compile(r"_\d+(?=/|_|$)")  # what Keras appends to the second layer of a class, and to the next model


def layout(variables: list) -> list[dict]:
    """Returns name, shape and dtype of each variable as plain values."""
    return [{"name": v.path, "shape": list(v.shape), "dtype": str(v.dtype)} for v in variables]


def compare(path: os.PathLike, part: str, saved: list[dict], existing: list[dict]) -> None:
    """Raises a CheckpointError that names the first variable which differs."""
    for index in range(max(len(saved), len(existing))):
        one, two = (side[index] if index < len(side) else None for side in (saved, existing))
        if one and two and one["shape"] == two["shape"] and one["dtype"] == two["dtype"] and _same_name(part, one, two):
            continue
        raise _checks.CheckpointError(
            f"{path}: does not fit the {part}: variable {index} of {len(saved)} is saved as {_words(one)}; "
            f"the {part} has {_words(two)} ({len(existing)} variables)."
        )


def _same_name(part, one, two):
    # The numbers in names depend on what was built before in the same process, and an optimizer's names on both.
    last = [_NUMBER.sub("", variable["name"]).split("/")[-2:] for variable in (one, two)]
    return part == "optimizer" or last[0] == last[1]


def _words(variable):
    return f"{variable['name']} {tuple(variable['shape'])} {variable['dtype']}" if variable else "none"


def pack(variables: list) -> bytes:
    """Returns the values of the variables as the bytes of an `.npz` file."""
    arrays = [np.asarray(ops.convert_to_numpy(variable.value)) for variable in variables]
    # NumPy writes only its own dtypes: others, such as bfloat16, are saved as integers of the same width.
    arrays = [a if a.dtype.isbuiltin == 1 else a.view(f"u{a.dtype.itemsize}") for a in arrays]
    named: dict[str, Any] = {f"{index:05d}": array for index, array in enumerate(arrays)}
    content = io.BytesIO()
    np.savez(content, **named)
    return content.getvalue()


def unpack(content: bytes, layout: list[dict]) -> Iterator[np.ndarray]:
    """Yields the arrays that `pack` wrote, in the dtypes of `layout`."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for index, variable in enumerate(layout):
            array = arrays[f"{index:05d}"]
            yield array if str(array.dtype) == variable["dtype"] else array.view(np.dtype(variable["dtype"]))
