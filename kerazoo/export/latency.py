"""How long an exported model takes and how much memory, in a fresh process with TensorFlow alone."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from kerazoo import _checks
from kerazoo.export import operations, verification

# What the fresh process runs: each batch of a size in turn, for some seconds.
FRESH = """
import base64, json, resource, statistics, sys, time
import tensorflow as tf

def from_json(value):
    return base64.b64decode(value["bytes"]) if isinstance(value, dict) else value

def peak():
    try:
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def seconds(serve, batches, limit):
    for batch in batches:
        serve(**batch)
    times, end = [], time.perf_counter() + limit
    while not times or time.perf_counter() < end:
        for batch in batches:
            start = time.perf_counter()
            [value.numpy() for value in serve(**batch).values()]
            times.append(time.perf_counter() - start)
    return statistics.median(times)

job = json.load(sys.stdin)
try:  # Linux counts the largest memory anew from here on: importing TensorFlow takes more than it keeps
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
except OSError:
    pass
before = peak()
serve = tf.saved_model.load(job["directory"]).signatures["serving_default"]
specs = serve.structured_input_signature[1]
raw = job["raw"] if isinstance(job["raw"], dict) else {next(iter(specs)): job["raw"]}
raw = {name: [from_json(value) for value in values] for name, values in raw.items()}
count = len(next(iter(raw.values())))
found = {}
for size in job["batch_sizes"]:
    starts = range(0, max(1, count - size + 1), size)
    batches = [{name: tf.constant([values[(start + row) % count] for row in range(size)], specs[name].dtype)
                for name, values in raw.items()} for start in starts]
    found[size] = seconds(serve, batches, job["seconds"])
with open(sys.argv[1], "w") as file:
    json.dump({"seconds": found, "memory": peak() - before}, file)
"""


def measure_latency(
    directory: str | os.PathLike,
    raw: Sequence | Mapping,
    batch_sizes: Sequence[int] = (1, 16),
    seconds: float = 3.0,
) -> dict[str, Any]:
    """Returns how long a SavedModel takes for batches of some sizes, and the memory that it takes.

    A fresh process imports TensorFlow alone, loads the SavedModel, calls it once for each batch, and then as often as
    the time allows. The time of a call is the median, from tensors in to arrays out.

    Args:
        directory: string or path. What `export` wrote.
        raw: list of packed inputs as for `verify`; for several inputs a dict of such lists by the names of the
            signature. Batches are made of them in turn, and of the first ones again where they are too few.
        batch_sizes: list of ints, above 0. Defaults to `(1, 16)`.
        seconds: float, above 0. How long the calls of a size are repeated. Defaults to `3.0`.

    Returns:
        dict: `"seconds"`, the time of a call by the size of the batch, and `"memory"`, the bytes by which the largest
        memory of the process exceeds that of one with TensorFlow and no model.

    Raises:
        ValueError: if a number is out of its range.
        CheckpointError: if the SavedModel has operations that do more than compute, or does not load or run.
    """
    sizes = _checks.positive_ints("measure_latency", "batch_sizes", list(batch_sizes))
    _checks.number("measure_latency", "seconds", seconds, low=0, low_open=True)
    operations.check_operations(directory)
    job = {"directory": os.fspath(directory), "raw": verification.plain(raw), "batch_sizes": sizes, "seconds": seconds}
    found = verification.run_fresh(FRESH, job, os.fspath(directory))
    return {**found, "seconds": {int(size): value for size, value in found["seconds"].items()}}
