"""From the start of a process to its answers: one text, and many lines, beside the import of TensorFlow alone."""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import flags

from experiments import command
from experiments.benchmarks.texts import random_texts

FLAGS = flags.FLAGS
IMPORT = "import tensorflow"
SIGNATURE = """
import sys
import tensorflow as tf
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(name,) = signature.structured_input_signature[1]
print([value.numpy() for value in signature(**{name: tf.constant([sys.argv[2]])}).values()])
"""


def results() -> list[dict[str, Any]]:
    """Returns a row for each case: the seconds of the median, the slowest and the fastest process, and its memory."""
    if FLAGS.run_dir is None:
        raise command.UsageError("predict needs --run_dir=RUN, the folder of a run that takes a text.")
    texts = random_texts(FLAGS.texts)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as lines:
        lines.writelines(f"{text}\n" for text in itertools.islice(itertools.cycle(texts), FLAGS.lines))
        lines.flush()
        cases = _cases(texts[0])
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(FLAGS.repeats):  # in turn, so that a slow minute of the machine affects all of them
            for name, (arguments, backend) in cases.items():
                found[name].append(_process(arguments, backend, lines.name))
    return [_row(name, found) for name in cases]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a table."""
    width = max(len(row["case"]) for row in rows)
    lines = [f"{'medians of ' + str(FLAGS.repeats):{width}}  seconds slowest fastest  times import   MiB  texts/s"]
    for row in rows:
        lines.append(
            f"{row['case']:{width}}  {row['seconds']:7.2f} {row['slowest']:7.2f} {row['fastest']:7.2f} "
            f"{row['times_import']:13.2f} {row['peak_mib']:5,}  {row.get('texts_per_second', ''):>7}"
        )
    return "\n".join(lines)


def _cases(text):
    """Returns the arguments of Python and the backend of Keras by the name of each case."""
    predict = ["-m", "experiments.predict", f"--run_dir={FLAGS.run_dir}"]
    cases = {
        IMPORT: (["-c", IMPORT], "tensorflow"),
        "predict one text, TensorFlow": ([*predict, text], "tensorflow"),
        "predict one text, JAX": ([*predict, text], "jax"),
        f"predict {FLAGS.lines:,} lines, TensorFlow": (predict, "tensorflow"),
        f"predict {FLAGS.lines:,} lines, JAX": (predict, "jax"),
    }
    if FLAGS.model is not None:
        cases["SavedModel, one text"] = (["-c", SIGNATURE, FLAGS.model, text], "tensorflow")
    return cases


def _process(arguments, backend, lines):
    """Returns the seconds of a process and its most memory in MiB."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with open(lines, "rb") as stdin, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=stdin, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            errors.seek(0)
            last = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise command.UsageError(f"{' '.join(arguments)[:80]} failed: {' '.join(last)}")
    return seconds, usage.ru_maxrss / 1024


def _row(name, found):
    seconds = [each for each, _ in found[name]]
    median, imported = statistics.median(seconds), statistics.median([each for each, _ in found[IMPORT]])
    row = {
        "case": name,
        "seconds": round(median, 2),
        "slowest": round(max(seconds), 2),
        "fastest": round(min(seconds), 2),
        "times_import": round(median / imported, 2),
        "peak_mib": round(max(memory for _, memory in found[name])),
    }
    return row | ({"texts_per_second": round(FLAGS.lines / median)} if "lines" in name else {})
