"""The proof that an exported model answers as the live one does, where there is nothing but TensorFlow."""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from kerazoo import _checks

# The output of each signature that is what the task would show.
ANSWERS = ("answer", "text", "label", "reconstruction")

# What the fresh process runs. It talks in JSON, and complains if anything of ours came along.
FRESH = """
import json, sys
import tensorflow as tf

serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(name, spec), = serve.structured_input_signature[1].items()
with open(sys.argv[2]) as file:
    raw = tf.constant(json.load(file), spec.dtype)
outputs = {key: value.numpy() for key, value in serve(**{name: raw}).items()}
text = {k: [s.decode("utf-8", "replace") for s in v] if v.dtype == object else v.tolist() for k, v in outputs.items()}
with open(sys.argv[3], "w") as file:
    json.dump(text, file)
if "kerazoo" in sys.modules:
    sys.exit("kerazoo was imported")
"""


def verify(directory, raw, answers, tolerance: float = 1e-4) -> dict:
    """Loads a SavedModel in a fresh process that imports nothing but TensorFlow, and compares its answers.

    Args:
        directory: What `export` wrote.
        raw: List of raw inputs, strings or images.
        answers: What the live model answers to them, a list, or a dictionary of outputs by name.
        tolerance: Largest difference between two numbers.

    Returns:
        The outputs of the SavedModel by name: lists of strings, of numbers, or of lists of numbers.

    Raises:
        CheckpointError: The SavedModel does not load, or it answers something else.
    """
    outputs = _answers_of_fresh_process(directory, raw)
    if not isinstance(answers, dict):
        answers = {next(name for name in ANSWERS if name in outputs): answers}
    for name, expected in answers.items():
        for item, live, served in zip(raw, expected, outputs[name], strict=True):
            if not _same(live, served, tolerance):
                raise _checks.CheckpointError(
                    f"{directory}: the SavedModel gives {name}={_short(served)} for {_short(item)}, "
                    f"the live model {_short(live)}."
                )
    return outputs


def _answers_of_fresh_process(directory, raw):
    with tempfile.TemporaryDirectory() as folder:
        given, answered = os.path.join(folder, "given.json"), os.path.join(folder, "answered.json")
        with open(given, "w", encoding="utf-8") as file:
            json.dump([item if isinstance(item, str) else np.asarray(item).tolist() for item in raw], file)
        command = [sys.executable, "-I", "-c", FRESH, os.fspath(directory), given, answered]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise _checks.CheckpointError(f"{directory}: does not load where there is only TensorFlow: {last}")
        with open(answered, encoding="utf-8") as file:
            return json.load(file)


def _same(live, served, tolerance):
    if isinstance(live, str):
        return live == served
    live, served = np.asarray(live), np.asarray(served)
    return live.shape == served.shape and bool(np.allclose(live, served, rtol=tolerance, atol=tolerance))


def _short(value):
    text = repr(str(value)) if isinstance(value, str) else np.array2string(np.asarray(value), threshold=8)
    return text if len(text) <= 60 else text[:57] + "..."
