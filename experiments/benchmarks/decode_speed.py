"""Tokens per second of decoding: kerazoo, KerasHub and transformers in turn on one machine."""

import statistics
import sys
from typing import Any

import numpy as np
from absl import flags

from experiments.benchmarks.decoders import HIDDEN_DIM, NUM_BEAMS, NUM_LAYERS, SYSTEMS, VOCABULARY_SIZE
from experiments.benchmarks.timing import timed
from experiments.benchmarks.workers import request, start_all

FLAGS = flags.FLAGS


def cases() -> list[str]:
    """Returns the names of the cases: model, search, batch."""
    names = [
        f"{model} {search} {batch}"
        for model in ("transformer", "lstm")
        for search in ("greedy", "beam")
        for batch in (1, 16)
    ]
    return [name for name in names if all(part in name for part in FLAGS.only)]


def results() -> list[dict[str, Any]]:
    """Returns a row for each case and system: tokens per second of the median, the slowest and the fastest call."""
    backends = {system: backend for system, (backend, _) in SYSTEMS.items()}
    workers = start_all("experiments.benchmarks.decoders", backends, FLAGS.new_tokens)
    for system, (_, state) in workers.items():
        if state != "ready":
            print(f"without {system}: {state}", file=sys.stderr)
    limits = _limits()
    rows = []
    for case in cases():
        seconds, first = {}, {}
        for repeat in range(FLAGS.repeats + 1):  # in turn, so that a slow minute of the machine affects all of them
            for system, (worker, state) in workers.items():
                if state == "ready" and first.get(system, 0) is not None:
                    taken = request(worker, case)
                    if repeat == 0:
                        first[system] = taken  # compiles
                    elif taken is not None:
                        seconds.setdefault(system, []).append(taken)
        rows += _rows(case, seconds, first, limits)
    for worker, _ in workers.values():
        worker.kill()
    return rows


def _rows(case, seconds, first, limits):
    model, search, batch = case.split()
    new_tokens = int(batch) * FLAGS.new_tokens
    hypotheses = int(batch) * (NUM_BEAMS if search == "beam" else 1)
    # One row is bound by reading all weights for each token, many rows by multiplying with them.
    seconds_per_step = limits["read"] if hypotheses == 1 else hypotheses * limits["multiply"]
    limit = int(batch) / (seconds_per_step * limits["parameters"][model])
    rows = []
    for system, taken in seconds.items():
        speed = new_tokens / statistics.median(taken)
        rows.append(
            {
                "case": case,
                "system": system,
                "tokens_per_second": round(speed),
                "slowest": round(new_tokens / max(taken)),
                "fastest": round(new_tokens / min(taken)),
                "first_call_seconds": round(first[system], 1),
                "share_of_limit": round(speed / limit, 3),
            }
        )
    return sorted(rows, key=lambda row: -row["tokens_per_second"])


def table(rows: list[dict[str, Any]]) -> str:
    """Returns a table for each case."""
    width = max(map(len, SYSTEMS))
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        found = [row for row in rows if row["case"] == case]
        hub = max((row["tokens_per_second"] for row in found if row["system"].startswith("KerasHub")), default=None)
        lines += [
            f"\n{case}: tokens/s, medians of {FLAGS.repeats} calls",
            f"{'system':{width}}  {'tokens/s':>9} {'slowest':>8} {'fastest':>8} {'first s':>8} {'of limit':>8} "
            "times hub",
        ]
        for row in found:
            times = f"{row['tokens_per_second'] / hub:9.2f}" if hub else ""
            lines.append(
                f"{row['system']:{width}}  {row['tokens_per_second']:9,} {row['slowest']:8,} {row['fastest']:8,} "
                f"{row['first_call_seconds']:8.1f} {row['share_of_limit']:8.3f}  {times}"
            )
    return "\n".join(lines)


def _limits():
    """Returns the seconds per weight to read it and to multiply a row with it, and the weights that a token needs."""
    weights, square = np.ones((2048, 4096), "float32"), np.ones((2048, 2048), "float32")
    read = min(timed(lambda: np.ones((1, 2048), "float32") @ weights) for _ in range(20)) / weights.size
    multiply = min(timed(lambda: square @ square) for _ in range(5)) / 2048 / square.size
    # The keys and values of the source are computed once, so a block multiplies six matrices for its two attentions.
    block = 6 * HIDDEN_DIM**2 + 2 * HIDDEN_DIM * 4 * HIDDEN_DIM
    recurrence = 2 * HIDDEN_DIM * 4 * HIDDEN_DIM + 2 * HIDDEN_DIM * HIDDEN_DIM
    head = HIDDEN_DIM * VOCABULARY_SIZE
    return {
        "read": read,
        "multiply": multiply,
        "parameters": {"transformer": NUM_LAYERS * block + head, "lstm": recurrence + head},
    }
