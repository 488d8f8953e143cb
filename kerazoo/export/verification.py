"""Verifies in a process with TensorFlow alone that an exported model predicts the same as the live model."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks

# The outputs of a signature that are the prediction of a task.
PREDICTIONS = ("answer", "text", "image", "label", "reconstruction", "forecast", "value", "similarity")

# The output whose rows are padded to the longest one; how long they are is another output.
PADDED = "frames"

# What the fresh process runs. It reads and writes JSON, and fails if kerazoo was imported.
FRESH = """
import base64, json, sys
import tensorflow as tf

def from_json(value):
    return base64.b64decode(value["bytes"]) if isinstance(value, dict) else value

def plain(value):
    return [text.decode("utf-8", "replace") for text in value] if value.dtype == object else value.tolist()

def outputs(directory, raw, signature):
    serve = tf.saved_model.load(directory).signatures[signature]
    specs = serve.structured_input_signature[1]
    if not isinstance(raw, dict):
        raw = {next(iter(specs)): raw}
    raw = {name: [from_json(value) for value in values] for name, values in raw.items()}
    tensors = {name: tf.constant(values, specs[name].dtype) for name, values in raw.items()}
    return {key: plain(value.numpy()) for key, value in serve(**tensors).items()}

found = [outputs(*job) for job in json.load(sys.stdin)]
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
if "kerazoo" in sys.modules:
    sys.exit("kerazoo was imported")
"""


def verify(
    directory: str | os.PathLike,
    raw: Sequence | Mapping,
    predictions: Sequence | Mapping,
    tolerance: float = 1e-4,
    signature: str = "serving_default",
) -> dict:
    """Loads a SavedModel in a fresh process that imports nothing but TensorFlow, and compares its predictions.

    Args:
        directory: string or path. What `export` wrote.
        raw: list of raw inputs, strings, bytes or arrays; for several inputs a dict of such lists by the names of the
            signature.
        predictions: list. What the live model predicts; or a dict of outputs by name.
        tolerance: float. The largest difference between two numbers, relative and absolute. Defaults to `1e-4`.
        signature: string. The signature of the SavedModel that is called. Defaults to `"serving_default"`.

    Returns:
        The outputs of the SavedModel by name: lists of strings, of numbers, or of lists of numbers.

    Raises:
        CheckpointError: if the SavedModel does not load, or predicts something else.
    """
    (outputs,) = fresh_outputs([(directory, raw, signature)])
    if not isinstance(predictions, Mapping):
        predictions = {next(name for name in PREDICTIONS if name in outputs): predictions}
    rows = list(zip(*raw.values())) if isinstance(raw, Mapping) else raw
    for name, expected in predictions.items():
        for item, live, served in zip(rows, expected, outputs[name], strict=True):
            if name == PADDED:
                served = served[: len(live)]
            if not _same(live, served, tolerance):
                raise _checks.CheckpointError(
                    f"{directory}: the SavedModel gives {name}={_short(served)} for {_short(item)}, "
                    f"the live model {_short(live)}."
                )
    return outputs


def fresh_outputs(jobs: Sequence[tuple]) -> list[dict]:
    """Returns the outputs by name of each job, all from one fresh process.

    Args:
        jobs: list of tuples of the folder of a SavedModel, its raw inputs, and the signature if it is not
            `"serving_default"`.

    Raises:
        CheckpointError: if a SavedModel cannot be loaded or run with TensorFlow alone.
    """
    jobs = [(os.fspath(directory), plain(raw), *(rest or ["serving_default"])) for directory, raw, *rest in jobs]
    return run_fresh(FRESH, jobs, ", ".join(job[0] for job in jobs))


def run_fresh(code: str, given: Any, names: str) -> Any:
    """Returns what Python code in a fresh process writes as JSON into the file of its first argument.

    Args:
        code: string. The code, which reads JSON from its standard input.
        given: plain values, which it reads.
        names: string. The SavedModels that it loads, as the message of an error has them.

    Raises:
        CheckpointError: if the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file_name = os.path.join(folder, "outputs.json")
        done = subprocess.run(
            [sys.executable, "-I", "-c", code, file_name],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            input=json.dumps(given),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise _checks.CheckpointError(f"{names}: cannot be run with TensorFlow alone: {last}")
        with open(file_name, encoding="utf-8") as file:
            return json.load(file)


def plain(raw: Sequence | Mapping) -> Any:
    """Returns packed inputs, or a dict of them by name, as values of JSON."""
    if isinstance(raw, Mapping):
        return {name: plain(values) for name, values in raw.items()}
    return [_plain_item(item) for item in raw]


def _plain_item(item):
    if isinstance(item, bytes):
        return {"bytes": base64.b64encode(item).decode()}
    return item if isinstance(item, str) else np.asarray(item).tolist()


def _same(live, served, tolerance):
    if isinstance(live, str):
        return live == served
    live, served = np.asarray(live), np.asarray(served)
    return live.shape == served.shape and bool(np.allclose(live, served, rtol=tolerance, atol=tolerance))


def _short(value):
    if isinstance(value, tuple):
        return ", ".join(map(_short, value))
    if np.ndim(value) > 1:
        return f"an array of shape {np.shape(value)}"
    text = repr(value) if isinstance(value, str) else np.array2string(np.asarray(value), threshold=8)
    return text if len(text) <= 60 else text[:57] + "..."
