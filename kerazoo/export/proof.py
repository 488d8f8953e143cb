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

def plain(value):
    return [text.decode("utf-8", "replace") for text in value] if value.dtype == object else value.tolist()

def answer(directory, raw):
    serve = tf.saved_model.load(directory).signatures["serving_default"]
    (name, spec), = serve.structured_input_signature[1].items()
    return {key: plain(value.numpy()) for key, value in serve(**{name: tf.constant(raw, spec.dtype)}).items()}

answers = [answer(*job) for job in json.load(sys.stdin)]
with open(sys.argv[1], "w") as file:
    json.dump(answers, file)
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
    (outputs,) = fresh_answers([(directory, raw)])
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


def fresh_answers(jobs) -> list[dict]:
    """Returns the outputs by name of each job, a SavedModel and its raw inputs, all from one fresh process.

    Raises:
        CheckpointError: A SavedModel does not load or run where there is only TensorFlow.
    """
    jobs = [(os.fspath(directory), [_plain(item) for item in raw]) for directory, raw in jobs]
    with tempfile.TemporaryDirectory() as folder:
        answered = os.path.join(folder, "answered.json")
        done = subprocess.run(
            [sys.executable, "-I", "-c", FRESH, answered],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            names = ", ".join(directory for directory, _ in jobs)
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise _checks.CheckpointError(f"{names}: does not answer where there is only TensorFlow: {last}")
        with open(answered, encoding="utf-8") as file:
            return json.load(file)


def _plain(item):
    return item if isinstance(item, str) else np.asarray(item).tolist()


def _same(live, served, tolerance):
    if isinstance(live, str):
        return live == served
    live, served = np.asarray(live), np.asarray(served)
    return live.shape == served.shape and bool(np.allclose(live, served, rtol=tolerance, atol=tolerance))


def _short(value):
    if np.ndim(value) > 1:
        return f"an array of shape {np.shape(value)}"
    text = repr(value) if isinstance(value, str) else np.array2string(np.asarray(value), threshold=8)
    return text if len(text) <= 60 else text[:57] + "..."
