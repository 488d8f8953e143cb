"""A model as files of numbers alone: for ONNX, and for LiteRT; texts are tokenized beside it."""

import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kerazoo import _checks, _files
from kerazoo.export import network, tokenization

CONFIG = "kerazoo.json"
DRIVER = "run_network.py"
OPSET = 17
# The numbers that LiteRT stores for each kind of file.
QUANTIZATIONS = ("float16", "int8")


def export_onnx(
    model: Any, task: Any, directory: str | os.PathLike, max_length: int | None = None
) -> tuple[pathlib.Path, dict[str, str]]:
    """Writes the functions of a network as files of ONNX with a dynamic batch and length, and a driver.

    A model that generates has `start.onnx` and `step.onnx`, with which `run_network.py` in the folder decodes, and
    `generate.onnx`, the whole greedy search, where that converts; others have `predict.onnx`, and `embed.onnx` where
    they have an encoder. What takes strings otherwise takes token ids, which the SavedModel `tokenizer` makes.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`.
        directory: string or path. The new folder.
        max_length: int. The largest number of tokens of a prediction. Defaults to the task's.

    Returns:
        The path of the folder, and the functions that do not convert with the reason.

    Raises:
        ValueError: if ONNX cannot hold what the model needs.
        SetupError: if a package is missing, or the folder cannot be written.
    """
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx
    except ModuleNotFoundError as error:
        raise _checks.SetupError('Writing ONNX needs: pip install "kerazoo[onnx]"') from error

    def convert(name, signature):
        import tensorflow as tf

        specs = [tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in signature.inputs.items()]
        handlers = {"XlaDynamicUpdateSlice": (_replace_rows, []), "Log1p": (_log_of_one_more, [])}
        np.__dict__.setdefault("object", object)  # which tf2onnx names, and NumPy 2 has no more
        made, _ = tf2onnx.convert.from_function(
            signature.traced(), input_signature=specs, opset=OPSET, custom_op_handlers=handlers
        )
        content = made.SerializeToString()
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])  # refuses what it cannot run
        return content

    functions = network.network_functions(model, task, max_length)
    return _write(model, task, directory, functions, convert, "onnx", {"max_length": max_length})


def _log_of_one_more(ctx, node, name, args):
    """Converts log(1 + x)."""
    del name, args
    shapes, dtypes, output, x = node.output_shapes, node.output_dtypes, node.output[0], node.input[0]
    one = ctx.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0]
    total = ctx.make_node("Add", [x, one]).output[0]
    ctx.remove_node(node.name)
    ctx.make_node("Log", [total], name=node.name, outputs=[output], shapes=shapes, dtypes=dtypes)


def _replace_rows(ctx, node, name, args):
    """Converts the replacing of rows along axis 1, which is all that a cache needs."""
    del name, args
    operand, update, start = node.input[:3]
    shapes, dtypes, output = node.output_shapes, node.output_dtypes, node.output[0]

    def const(values):
        return ctx.make_const(f"{node.name}_{len(ctx.get_nodes())}", np.array(values, np.int64)).output[0]

    def made(kind, inputs, **attributes):
        return ctx.make_node(kind, inputs, attr=attributes).output[0]

    start = made("Cast", [start], to=7)  # int64
    first = made("Slice", [start, const([1]), const([2]), const([0])])
    count = made("Slice", [made("Shape", [update]), const([1]), const([2]), const([0])])
    before = made("Slice", [operand, const([0]), first, const([1])])
    after = made("Slice", [operand, made("Add", [first, count]), const([np.iinfo(np.int64).max]), const([1])])
    ctx.remove_node(node.name)
    ctx.make_node(
        "Concat",
        [before, update, after],
        attr={"axis": 1},
        name=node.name,
        outputs=[output],
        shapes=shapes,
        dtypes=dtypes,
    )


def export_litert(
    model: Any,
    task: Any,
    directory: str | os.PathLike,
    max_length: int | None = None,
    quantization: str | None = None,
    source_length: int | None = None,
) -> tuple[pathlib.Path, dict[str, str]]:
    """Writes the functions of a network as files of LiteRT for one example at a time, and a driver.

    The files are those of `export_onnx` with the ending `.tflite`. Their shapes are fixed, so sources of tokens are
    padded to `source_length`, which changes no prediction.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`.
        directory: string or path. The new folder.
        max_length: int. The largest number of tokens of a prediction. Defaults to the task's.
        quantization: string. `"float16"`, or `"int8"` for weights of 8 bits. Defaults to `None`: float32.
        source_length: int. The number of tokens of a source. Defaults to that of the longest of the task.

    Returns:
        The path of the folder, and the functions that do not convert with the reason.

    Raises:
        ValueError: if LiteRT cannot hold what the model needs, the inputs are images or sounds of any size, or the
            quantization is unknown.
        SetupError: if the package is missing, or the folder cannot be written.
    """
    import tensorflow as tf

    if quantization is not None:
        _checks.one_of("export", "quantize", quantization, QUANTIZATIONS)
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise _checks.SetupError('Running LiteRT needs: pip install "kerazoo[litert]"') from error
    if not network.reads_strings(task) and any(None in shape for shape, _ in task.signature.values()):
        raise ValueError(
            f"export: `format`='litert' cannot hold this {type(model).__name__}: its inputs have no fixed shape. "
            "format='onnx' holds any length."
        )
    length = source_length or _source_length(task)

    def convert(name, signature):
        held = tf.Module()
        function = signature.traced()
        graph = function.get_concrete_function()
        read = {id(tensor) for tensor in graph.captured_inputs}
        held.weights = [v.value for v in model.variables if id(v.value.handle) in read]
        held.graph = graph
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(held, folder, signatures={name: function})
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[name])
            if quantization is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if quantization == "float16":
                converter.target_spec.supported_types = [tf.float16]
            content = converter.convert()
        Interpreter(model_content=content).allocate_tensors()  # refuses what it cannot run
        return content

    functions = network.network_functions(model, task, max_length, source_length=length)
    return _write(model, task, directory, functions, convert, "tflite", {"max_length": max_length})


def _source_length(task):
    """Returns the largest number of tokens of a source in the data, of a prompt that of a prediction."""
    if task.is_language_model:
        return task.max_length
    found = [feature.state.get("longest", feature.max_length) for feature in task.inputs if feature.modality == "text"]
    return max(found, default=1)


def _reason(error):
    """Returns why a function does not convert, in a line."""
    lacking = re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", str(error))
    if lacking:
        types = "float64" if "f64>" in str(error) else "these types"
        return f"it has no operation {', '.join(sorted(set(lacking)))} of {types}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _write(
    model: Any,
    task: Any,
    directory: str | os.PathLike,
    functions: Mapping[str, Any],
    convert: Callable[[str, Any], bytes],
    ending: str,
    options: Mapping[str, Any],
) -> tuple[pathlib.Path, dict[str, str]]:
    """Writes the files of all functions that convert, the tokenizer and the driver."""
    files, faults = {}, {}
    for name, signature in functions.items():
        try:
            files[name] = convert(name, signature)
        except Exception as error:  # whatever a converter raises for an operation that it lacks
            faults[name] = _reason(error)
    needed = {"start", "step"} if "step" in functions else {"predict"}
    if missing := needed & set(faults):
        first = sorted(missing)[0]
        format = {"onnx": "onnx", "tflite": "litert"}[ending]
        raise ValueError(
            f"export: `format`={format!r} cannot hold this {type(model).__name__}: {first} does not convert: "
            f"{faults[first]}. format='saved_model' holds every model."
        )
    config: dict[str, Any] = {"generates": "step" in functions}
    if config["generates"]:
        config |= {name: int(getattr(model, name)) for name in ("pad_id", "start_id", "end_id")}
        config["max_length"] = int(options["max_length"] or task.max_length)
    elif network.reads_strings(task):
        config["pad_id"] = 0
    if task.targets.modality == "label":
        config["classes"] = task.targets.names
    with _files.new_folder(directory) as folder:
        for name, content in files.items():
            (folder / f"{name}.{ending}").write_bytes(content)
        if network.reads_strings(task) or (config["generates"] and task.targets.modality == "text"):
            tokenization.write_tokenizer(task, folder)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(pathlib.Path(__file__).parent / DRIVER, folder / DRIVER)
    return pathlib.Path(directory), faults
