"""How long an exported model takes and how much memory, in a fresh process without kerazoo."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.export import verification

# What the fresh process runs: each batch of a size in turn, for some seconds.
FRESH = """
import json, resource, statistics, sys, time

def peak():
    try:
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def seconds(run, batches, limit):
    for batch in batches:
        run(batch)
    times, end = [], time.perf_counter() + limit
    while not times or time.perf_counter() < end:
        for batch in batches:
            start = time.perf_counter()
            run(batch)
            times.append(time.perf_counter() - start)
    return statistics.median(times)

job = json.load(sys.stdin)
program = {"__name__": "program"}
exec(job["program"], program)
if job["has_tokenizer"]:
    import tensorflow
try:  # Linux counts the largest memory anew from here on: importing TensorFlow takes more than it keeps
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
except OSError:
    pass
before = peak()
read = program.get("from_json", lambda value: value)
if "Model" in program:
    model = program["Model"](job["folder"])
    run = lambda batch: model(batch, **job["options"])
else:
    serve = program["load"](job["folder"])["serving_default"]
    run = lambda batch: program["call"](serve, batch)
found = {}
for size, batches in job["batches"].items():
    batches = [{name: read(value) for name, value in batch.items()} for batch in batches]
    found[size] = seconds(run, batches, job["seconds"])
with open(sys.argv[1], "w") as file:
    json.dump({"seconds": found, "memory": peak() - before}, file)
"""


def measure_latency(
    directory: str | os.PathLike,
    raw: Mapping | None = None,
    batch_sizes: Sequence[int] = (1, 16),
    seconds: float = 3.0,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns how long an exported model takes for batches of some sizes, and the memory that it takes.

    A fresh process loads the model as the program of its format does, calls it once for each batch, and then as often
    as the time allows. The time of a call is the median, from raw inputs to predictions: texts are tokenized, and
    predictions are arrays and texts of Python.

    Args:
        directory: string or path. What an export wrote, in any format but safetensors.
        raw: dict of lists or arrays by the names of the inputs, as `kerazoo.tasks.Task.pack` returns them. Batches are
            made of their rows in turn, and of the first ones again where they are too few. Defaults to `None`: the
            examples of `VERIFY.json`.
        batch_sizes: list of ints, above 0. Defaults to `(1, 16)`.
        seconds: float, above 0. How long the calls of a size are repeated. Defaults to `3.0`.
        options: dict of plain values. Further arguments of the `Model` of the program in the folder, such as
            `num_beams=4` for CTranslate2, or `function="generate"` for ONNX and LiteRT. Defaults to none.

    Returns:
        dict: `"seconds"`, the time of a call by the size of the batch, and `"memory"`, the bytes by which the largest
        memory of the process exceeds that of one that has imported what the program needs and no model.

    Raises:
        ValueError: if a number is out of its range, or options are given for a SavedModel, which has its own.
        CheckpointError: if a SavedModel in the folder has operations that do more than compute, the model does not load
            or run, or its folder has no examples where `raw` is left out.
    """
    sizes = _checks.positive_ints("measure_latency", "batch_sizes", list(batch_sizes))
    _checks.number("measure_latency", "seconds", seconds, low=0, low_open=True)
    format, inputs = "saved_model", raw
    if raw is None or not os.path.isfile(os.path.join(directory, "saved_model.pb")):
        format, cases, _ = verification.read_cases(directory)
        inputs = cases[0].inputs if raw is None else raw
    if format == "safetensors":
        raise ValueError(f"measure_latency: safetensors are weights without a program of their own; got {directory}.")
    if options and format == "saved_model":
        raise ValueError(
            f"measure_latency: `options` are for other formats, and {directory} is a SavedModel with its own; got "
            f"{dict(options)}. Leave them out."
        )
    verification.check_folder(directory, format)
    job = {
        "program": verification.program_of(format),
        "folder": os.fspath(directory),
        "has_tokenizer": os.path.isdir(os.path.join(directory, "tokenizer")),  # which some programs load late
        "batches": {size: list(map(verification.to_json, _batches(inputs, size))) for size in sizes},
        "seconds": seconds,
        "options": dict(options or {}),
    }
    found = verification.run_fresh(FRESH, job, os.fspath(directory))
    return {**found, "seconds": {int(size): value for size, value in found["seconds"].items()}}


def _batches(inputs, size):
    """Returns batches of inputs by name, each of `size` rows."""
    count = len(next(iter(inputs.values())))
    starts = range(0, max(1, count - size + 1), size)
    rows = [[(start + row) % count for row in range(size)] for start in starts]
    return [{name: _rows(values, each) for name, values in inputs.items()} for each in rows]


def _rows(values, rows):
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
