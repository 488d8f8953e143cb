"""The JSON of TensorFlow Serving's REST interface: requests to arrays, arrays to responses.

Reference: https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii
import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo.serve.request_error import RequestError

ROWS, COLUMNS = "instances", "inputs"  # the two forms of a request
KEYS = ("signature_name", ROWS, COLUMNS)
MAX_QUOTED = 60  # characters of a value in a message


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """A tensor of a signature.

    Args:
        dtype: `np.dtype`. That of strings is `object`.
        shape: tuple of ints and `None`. `None` in place of the tuple if even the number of axes is open.
        default: array. What the signature has for an input that is left out. Defaults to `None`.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...] | None
    default: np.ndarray | None = None

    @property
    def is_text(self) -> bool:
        """Whether its values are strings."""
        return self.dtype == object

    @property
    def is_batched(self) -> bool:
        """Whether its first axis is open, so that it holds a row for each example."""
        return bool(self.shape) and self.shape is not None and self.shape[0] is None


def read_body(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a request.

    Raises:
        RequestError: if the body is no JSON object with exactly one of `"instances"` and `"inputs"`.
    """
    try:
        request = json.loads(body)
    except RecursionError:
        raise RequestError(400, "The body must be JSON; it is nested too deeply.") from None
    except ValueError as error:  # as well for bytes that are no UTF-8 and for numbers of thousands of digits
        raise RequestError(400, f"The body must be JSON; got {shorten(body)}: {error}.") from None
    if not isinstance(request, dict):
        raise RequestError(400, f"The body must be a JSON object; got {shorten(request)}.")
    unknown = sorted(set(request) - set(KEYS))
    if unknown:
        raise RequestError(400, f"The body has the unknown key {shorten(unknown[0])}; it may have {', '.join(KEYS)}.")
    if (ROWS in request) == (COLUMNS in request):
        got = "both" if ROWS in request else f"the keys {sorted(request)}"
        raise RequestError(400, f"The body must have either `{ROWS}` or `{COLUMNS}`; got {got}.")
    if not isinstance(request.get("signature_name", ""), str):
        raise RequestError(400, f"`signature_name` must be a string; got {shorten(request['signature_name'])}.")
    return request


def read_tensors(
    request: Mapping[str, Any], inputs: Mapping[str, TensorInfo], max_text_length: int
) -> dict[str, np.ndarray]:
    """Returns the arrays of a request by the names of all inputs, checked against the signature.

    Args:
        request: dict. What `read_body` returned.
        inputs: dict from names to `TensorInfo`. The inputs of the signature.
        max_text_length: int. The largest number of characters of a text.

    Raises:
        RequestError: if an input is missing or unknown, or a value has another type, shape or range.
    """
    if ROWS in request:
        columns, where = _columns_of_rows(request[ROWS], inputs)
    else:
        columns, where = _columns(request[COLUMNS], inputs)
    defaults = {name: info.default for name, info in inputs.items() if info.default is not None}
    return defaults | {
        name: _array(name, inputs[name], values, functools.partial(where, name), max_text_length)
        for name, values in columns.items()
    }


def write_rows(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns the response to a request with `"instances"`: a prediction for each row.

    Raises:
        RequestError: if an output has no row for each example.
    """
    sizes = {name: array.shape[:1] for name, array in outputs.items()}
    for name, size in sizes.items():
        if not size or size != next(iter(sizes.values())):
            raise RequestError(
                400,
                f"The output `{name}` has the shape {list(outputs[name].shape)}, not a row for each of the `{ROWS}`. "
                f"Send the values as `{COLUMNS}`.",
            )
    columns = {name: plain_values(name, array) for name, array in sorted(outputs.items())}
    if len(columns) == 1:
        (rows,) = columns.values()
    else:
        rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    return dump({"predictions": rows})


def write_columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns the response to a request with `"inputs"`: the outputs as they are."""
    columns = {name: plain_values(name, array) for name, array in sorted(outputs.items())}
    return dump({"outputs": next(iter(columns.values())) if len(columns) == 1 else columns})


def plain_values(name: str, array: np.ndarray) -> Any:
    """Returns an output as values of JSON.

    Numbers of 16 and 32 bits have the fewest decimals that give them back. Strings are read as UTF-8, those of an
    output whose name ends in `_bytes` are written in base64.

    Args:
        name: string. The name of the output.
        array: array of numbers, booleans or, with the dtype `object`, bytes.
    """
    if array.dtype == object:
        convert = _as_base64 if name.endswith("_bytes") else _as_text
        values = np.empty(array.size, object)
        values[:] = list(map(convert, array.reshape(-1).tolist()))
        return values.reshape(array.shape).tolist()
    if array.dtype.kind in "iub" or array.dtype == np.float64:
        return array.tolist()
    decimals = array.astype(np.float32, copy=False).reshape(-1).astype(str).tolist()
    return np.array(list(map(float, decimals)), np.float64).reshape(array.shape).tolist()


def dump(values: Any) -> bytes:
    """Returns values as JSON; NaN and infinite numbers are written as TensorFlow Serving does, `NaN` and `Infinity`."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def shorten(value: Any) -> str:
    """Returns a value as a message has it."""
    text = repr(value[: 2 * MAX_QUOTED] if isinstance(value, str | bytes | list) else value)
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 3] + "..."


def _as_text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _as_base64(value):
    return {"b64": base64.b64encode(value).decode()}


def _is_base64(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _is_object(value):
    return isinstance(value, dict) and not _is_base64(value)


def _required(inputs):
    return [name for name, info in inputs.items() if info.default is None]


def _columns_of_rows(rows, inputs):
    """Returns the values of each input from the rows of a request, and how a message names one of them."""
    if not isinstance(rows, list) or not rows:
        raise RequestError(400, f"`{ROWS}` must be a list of at least one example; got {shorten(rows)}.")
    if _is_object(rows[0]):
        names = list(rows[0])
        _check_names(names, inputs, f"{ROWS}[0]")
        for index, row in enumerate(rows):
            if not _is_object(row) or set(row) != set(names):
                got = f"those of {sorted(row)}" if _is_object(row) else shorten(row)
                raise RequestError(400, f"{ROWS}[{index}] must have the inputs {sorted(names)}; got {got}.")
        columns = {name: [row[name] for row in rows] for name in names}
        return columns, lambda name, index: f"{ROWS}[{index[0]}].{name}{_brackets(index[1:])}"
    name = _single_input(inputs, f"each of the `{ROWS}` must be an object with a value for each")
    return {name: rows}, lambda _, index: f"{ROWS}{_brackets(index)}"


def _columns(values, inputs):
    """The same for a request with a column for each input."""
    if _is_object(values):
        _check_names(list(values), inputs, f"`{COLUMNS}`")
        return values, lambda name, index: f"{COLUMNS}.{name}{_brackets(index)}"
    name = _single_input(inputs, f"`{COLUMNS}` must be an object with a list for each")
    return {name: values}, lambda _, index: f"{COLUMNS}{_brackets(index)}"


def _single_input(inputs, rule):
    names = _required(inputs) or list(inputs)
    if len(names) != 1:
        raise RequestError(400, f"The signature has the inputs {', '.join(inputs)}: {rule}.")
    return names[0]


def _check_names(names, inputs, where):
    """Refuses names that the signature lacks, and missing ones."""
    for name in names:
        if name not in inputs:
            raise RequestError(400, f"{where} has the unknown input {shorten(name)}; the signature has {list(inputs)}.")
    missing = [name for name in _required(inputs) if name not in names]
    if missing:
        raise RequestError(400, f"{where} lacks the input `{missing[0]}`; the signature has {list(inputs)}.")


def _brackets(index):
    return "".join(f"[{each}]" for each in index)


def _array(name, info, values, where, max_text_length):
    """Returns nested lists as an array of the dtype and shape of an input."""
    leaves, shape = _flatten(name, values, where)

    def refuse(accepted, rule):
        """Raises for the first value that is not accepted."""
        if not all(map(accepted, leaves)):
            number = next(number for number, value in enumerate(leaves) if not accepted(value))
            index = np.unravel_index(number, shape) if shape else ()
            raise RequestError(400, f"Input `{name}` must be {rule}; got {shorten(leaves[number])} at {where(index)}.")

    if info.shape and not leaves and len(shape) < len(info.shape):  # an empty list of rows, whatever rows are
        shape += tuple(size or 0 for size in info.shape[len(shape) :])
    if info.shape is not None and not _fits(shape, info.shape):
        expected = ["any" if size is None else size for size in info.shape]
        raise RequestError(400, f"Input `{name}` must have the shape {expected}; got {list(shape)}.")
    if info.is_text:
        refuse(lambda value: isinstance(value, str) or _is_base64(value), 'strings or {"b64": ...}')
        too_long = f"texts of at most {max_text_length:,} characters"
        refuse(lambda value: not isinstance(value, str) or len(value) <= max_text_length, too_long)
        array = np.empty(len(leaves), object)
        array[:] = [_bytes(value) for value in leaves]
        if any(each is None for each in array):
            refuse(lambda value: _bytes(value) is not None, "Unicode or base64")
        return array.reshape(shape)
    kinds = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}.get(info.dtype.kind)
    if kinds is None:
        raise RequestError(400, f"Input `{name}` has the type {info.dtype}, which JSON cannot hold.")
    if not set(map(type, leaves)) <= set(kinds):
        words = {"b": "true or false", "f": "numbers"}.get(info.dtype.kind, "whole numbers")
        refuse(lambda value: type(value) in kinds, words)
    return _numbers(info.dtype, leaves, refuse).reshape(shape)


def _numbers(dtype, leaves, refuse):
    """Returns numbers as an array, if they are in the range of its dtype."""
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype) if dtype.kind in "iu" else None
    try:
        with np.errstate(over="ignore"):
            array = np.array(leaves, dtype)
        is_in_range = dtype.kind != "f" or not np.isinf(array).any()
    except OverflowError:
        array, is_in_range = np.zeros(len(leaves), dtype), False
    if not is_in_range:  # or a number was infinite when it was sent
        low, high = (limits.min.item(), limits.max.item()) if dtype.kind == "f" else (limits.min, limits.max)
        rule = f"numbers of {dtype}" if dtype.kind == "f" else f"in [{low:,}, {high:,}]"
        refuse(lambda value: low <= value <= high or not math.isfinite(value), rule)
    return array


def _flatten(name, values, where):
    """Returns the values in nested lists as one list, with the shape.

    Raises:
        RequestError: if lists of one level have different lengths.
    """
    level, shape = [values], ()
    while level and isinstance(level[0], list):
        sizes = set(map(len, level)) if set(map(type, level)) == {list} else None
        if sizes is None or len(sizes) > 1:
            size = len(level[0])
            odd = next(row for row, each in enumerate(level) if not isinstance(each, list) or len(each) != size)
            index = np.unravel_index(odd, shape) if shape else ()
            got = f"{len(level[odd])}" if isinstance(level[odd], list) else shorten(level[odd])
            raise RequestError(
                400, f"Input `{name}` must have lists of {size} values each; got {got} at {where(index)}."
            )
        shape += tuple(sizes)
        level = list(itertools.chain.from_iterable(level))
    return level, shape


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(want in (None, size) for size, want in zip(shape, expected))


def _bytes(value):
    """Returns the bytes of a string or of base64; `None` if they are not valid."""
    try:
        if isinstance(value, str):
            return value.encode()
        return base64.b64decode(value["b64"], validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return None
