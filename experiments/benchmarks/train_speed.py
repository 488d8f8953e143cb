"""Tokens or samples per second of training: kerazoo, plain Keras, KerasHub's layers and PyTorch in turn."""

import re
import statistics
import sys
from typing import Any

import numpy as np
from absl import flags

from experiments.benchmarks.timing import timed
from experiments.benchmarks.trainers import SYSTEMS
from experiments.benchmarks.training_cases import CASES
from experiments.benchmarks.workers import request, start_all

FLAGS = flags.FLAGS
WARMUP_EPOCHS = 3  # compiling, and until a program has its final number of steps in one call


def results() -> list[dict[str, Any]]:
    """Returns a row for each case and system: the speed of the median, the slowest and the fastest epoch."""
    rows = []
    for case in CASES:
        if CASES[case].large and not FLAGS.large:
            continue
        chosen = [system for system in SYSTEMS if all(re.search(part, f"{case} {system}") for part in FLAGS.only)]
        variables = {system: {"KERAS_BACKEND": SYSTEMS[system][0] or "tensorflow"} for system in chosen}
        workers = start_all("experiments.benchmarks.trainers", variables, case)
        seconds, peaks = {}, {}
        for epoch in range(WARMUP_EPOCHS + FLAGS.repeats):  # in turn: a slow minute of the machine affects all alike
            for system, (worker, state) in list(workers.items()):
                reply = request(worker, "epoch") if state == "ready" else {"error": state}
                if "error" in reply:
                    print(f"{case}: without {system}: {reply['error']}", file=sys.stderr)
                    workers.pop(system)[0].kill()
                elif epoch >= WARMUP_EPOCHS:
                    seconds.setdefault(system, []).append(reply["seconds"])
                    peaks[system] = reply["peak_mib"]
        for worker, _ in workers.values():
            worker.kill()
        rows += _rows(case, seconds, peaks)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Returns a table for each case."""
    width = max(map(len, SYSTEMS))
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        found = [row for row in rows if row["case"] == case]
        speeds = {row["system"]: row["per_second"] for row in found}
        columns = [name for name in ("Keras fit, TensorFlow", "PyTorch") if name in speeds]
        lines += [
            f"\n{case}: {CASES[case].unit} a second, medians of {FLAGS.repeats} epochs",
            f"{'system':{width}}  {'a second':>9} {'slowest':>9} {'fastest':>9} {'of products':>11} {'MiB':>6}"
            + "".join(f"  times {name}" for name in columns),
        ]
        for row in found:
            lines.append(
                f"{row['system']:{width}}  {row['per_second']:9,} {row['slowest']:9,} {row['fastest']:9,} "
                f"{row['share_of_products']:11.2f} {row['peak_mib']:6,}"
                + "".join(f"  {row['per_second'] / speeds[name]:{len(name) + 6}.2f}" for name in columns)
            )
    return "\n".join(lines)


def _rows(name, seconds, peaks):
    case = CASES[name]
    units = case.steps * case.units_of_a_step
    # Backward, each product has two of its size: for the gradients of the inputs and of the weights.
    limit = 3 * case.multiplications() * case.steps * _seconds_per_multiplication() if seconds else 0
    rows = [
        {
            "case": name,
            "system": system,
            "per_second": round(units / statistics.median(taken)),
            "slowest": round(units / max(taken)),
            "fastest": round(units / min(taken)),
            "share_of_products": round(limit / statistics.median(taken), 3),
            "peak_mib": peaks[system],
        }
        for system, taken in seconds.items()
    ]
    return sorted(rows, key=lambda row: -row["per_second"])


def _seconds_per_multiplication():
    """Returns the time of one multiplication and addition in a large matrix product of this machine."""
    square = np.ones((2048, 2048), "float32")
    return min(timed(lambda: square @ square) for _ in range(5)) / 2048**3
