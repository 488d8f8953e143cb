"""One SavedModel that is loaded: what its signatures take and give, and their calls with arrays.

TensorFlow alone is imported.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.export.operations import check_operations
from kerazoo.serve.request_error import RequestError
from kerazoo.serve.rest_format import TensorInfo, plain_values

DEFAULT_SIGNATURE = "serving_default"
GRAPH_FILE = "saved_model.pb"
MAX_GRAPH_BYTES = 1 << 31  # which is what protocol buffers can hold
# What TensorFlow puts around the message of an operation.
FRAME = re.compile(r"Graph execution error|Detected at node|<stack traces|File |\[\[|\d+ root error")


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function of a SavedModel.

    Args:
        inputs: dict from names to `TensorInfo`.
        outputs: dict from names to `TensorInfo`.
        function: callable of tensors by name that returns a dict of tensors.
    """

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    function: Callable

    @property
    def is_batched(self) -> bool:
        """Whether rows of several requests can be computed by one call and the outputs taken apart again."""
        takes = any(info.is_batched for info in self.inputs.values())
        return takes and all(info.is_batched or info.shape == () for info in self.outputs.values())

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs for arrays by the names of the inputs.

        Raises:
            RequestError: if the graph refuses the values, such as bytes that are no image.
        """
        import tensorflow as tf

        try:
            constants = {
                name: tf.constant(array, tf.string if array.dtype == object else None)
                for name, array in tensors.items()
            }
            outputs = self.function(**constants)
            return {name: output.numpy() for name, output in outputs.items()}
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, f"The model refuses the values: {_reason(error)}") from error


class Servable:
    """A version of a model, loaded.

    Args:
        folder: string or path. The folder of a SavedModel.

    Raises:
        CheckpointError: if the folder holds no SavedModel that can be loaded, or one with operations that are refused.
    """

    def __init__(self, folder: str | os.PathLike):
        import tensorflow as tf

        self.folder = pathlib.Path(folder)
        graph = _read_graph(self.folder)
        check_operations(self.folder)
        try:
            self._loaded = tf.saved_model.load(os.fspath(self.folder))
        except Exception as error:  # TensorFlow raises whatever its parsers meet
            raise _checks.CheckpointError(f"{self.folder}: cannot be loaded: {_reason(error)}") from error
        definitions = {
            name: definition for name, definition in graph.signature_def.items() if name in self._loaded.signatures
        }
        if not definitions:
            raise _checks.CheckpointError(f"{self.folder}: the SavedModel has no signatures.")
        self.signatures = {
            name: _signature(definition, self._loaded.signatures[name]) for name, definition in definitions.items()
        }
        self.metadata = {name: _plain_definition(each) for name, each in sorted(graph.signature_def.items())}

    def signature(self, name: str = "") -> Signature:
        """Returns a signature by its name, the default one for an empty name.

        Raises:
            RequestError: if there is none of this name.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            names = ", ".join(sorted(self.signatures))
            raise RequestError(400, f"`signature_name` must be one of {names}; got {name!r}.")
        return self.signatures[name]

    def warm_up(self) -> None:
        """Calls the default signature once with empty values, so that the first request does not wait for it."""
        signature = self.signatures.get(DEFAULT_SIGNATURE)
        if signature is None or any(info.shape is None for info in signature.inputs.values()):
            return
        try:
            signature({name: _empty(info) for name, info in signature.inputs.items()})
        except Exception:  # empty values are no image, for example; the graph is ready for others all the same
            return


def is_servable(folder: str | os.PathLike) -> bool:
    """Returns whether a folder holds a SavedModel."""
    return os.path.isfile(os.path.join(folder, GRAPH_FILE))


def _read_graph(folder):
    """Returns the graph of a SavedModel that is for serving, as a protocol buffer."""
    from tensorflow.core.protobuf import saved_model_pb2

    from kerazoo import _files

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(_files.read_file(folder / GRAPH_FILE, MAX_GRAPH_BYTES))
    except OSError as error:
        raise _checks.CheckpointError(f"{folder}: holds no SavedModel: {error.strerror}.") from error
    except Exception as error:  # the parser's own, of a package that is no dependency of kerazoo
        raise _checks.CheckpointError(f"{folder}: {GRAPH_FILE} is damaged: {_reason(error)}") from error
    for graph in saved.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return graph
    raise _checks.CheckpointError(f"{folder}: the SavedModel has no graph for serving.")


def _signature(definition, function):
    defaults = definition.defaults
    inputs = {name: _tensor_info(info, defaults.get(name)) for name, info in sorted(definition.inputs.items())}
    outputs = {name: _tensor_info(info) for name, info in sorted(definition.outputs.items())}
    return Signature(inputs, outputs, function)


def _tensor_info(info, default=None):
    import tensorflow as tf

    dtype = np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if axis.size < 0 else axis.size for axis in info.tensor_shape.dim)
    return TensorInfo(dtype, shape, None if default is None else np.asarray(tf.make_ndarray(default)))


def _plain_definition(definition) -> dict[str, Any]:
    """Returns a signature as TensorFlow Serving writes it: the fields of the protocol buffers by their names."""
    return {
        "inputs": {name: _plain_info(info) for name, info in sorted(definition.inputs.items())},
        "outputs": {name: _plain_info(info) for name, info in sorted(definition.outputs.items())},
        "method_name": definition.method_name,
        "defaults": {name: _plain_default(value) for name, value in sorted(definition.defaults.items())},
    }


def _plain_default(value):
    import tensorflow as tf

    array = np.asarray(tf.make_ndarray(value))
    field = {"f": "float_val", "i": "int_val", "u": "int_val", "b": "bool_val"}.get(array.dtype.kind, "string_val")
    field = {"float64": "double_val", "int64": "int64_val"}.get(array.dtype.name, field)
    axes = [{"size": str(size), "name": ""} for size in array.shape]
    shape = {"dim": axes, "unknown_rank": False}
    return {"dtype": _name_of(value.dtype), "tensor_shape": shape, field: plain_values("", array.reshape(-1))}


def _plain_info(info):
    axes = [{"size": str(axis.size), "name": axis.name} for axis in info.tensor_shape.dim]
    shape = {"dim": axes, "unknown_rank": info.tensor_shape.unknown_rank}
    return {"dtype": _name_of(info.dtype), "tensor_shape": shape, "name": info.name}


def _name_of(dtype):
    from tensorflow.core.framework import types_pb2

    return types_pb2.DataType.Name(dtype)


def _empty(info):
    if info.default is not None:
        return info.default
    shape = [1 if size is None else size for size in info.shape]
    return np.full(shape, b"", object) if info.is_text else np.zeros(shape, info.dtype)


def _reason(error):
    """Returns the line of an error of TensorFlow that says what is wrong; others say in which operation."""
    message = getattr(error, "message", None) or str(error)
    lines = [line.strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not FRAME.match(line)]
    return lines[0][:500] if lines else type(error).__name__
