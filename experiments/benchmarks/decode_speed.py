"""Tokens per second of decoding: kerazoo, KerasHub, transformers and CTranslate2 in turn on one machine."""

import re
import statistics
import sys
from typing import Any

import numpy as np
from absl import flags

from experiments.benchmarks.decoders import SYSTEMS
from experiments.benchmarks.decoding_cases import CASES, Case
from experiments.benchmarks.timing import timed
from experiments.benchmarks.workers import request, start_all

FLAGS = flags.FLAGS


def results() -> list[dict[str, Any]]:
    """Returns a row for each case and system: tokens per second of the median, the slowest and the fastest call."""
    limits, rows = _limits(), []
    for name, case in CASES.items():
        chosen = {
            system: each.variables
            for system, each in SYSTEMS.items()
            if each.fits(case) and all(re.search(part, f"{name} {system}") for part in FLAGS.only)
        }
        workers = start_all("experiments.benchmarks.decoders", chosen, name)
        replies: dict[str, list[dict[str, Any]]] = {}
        for _ in range(FLAGS.repeats + 1):  # in turn, so that a slow minute of the machine affects all of them
            for system, (worker, state) in list(workers.items()):
                if state == "ready":
                    replies.setdefault(system, []).append(request(worker, "call"))
                else:
                    print(f"{name}: without {system}: {state}", file=sys.stderr)
                    workers.pop(system)
        for worker, _ in workers.values():
            worker.kill()
        rows += _rows(name, case, replies, limits)
    return rows


def _rows(name: str, case: Case, replies: dict[str, list[dict[str, Any]]], limits: dict[str, float]):
    new_tokens, hypotheses = case.batch * case.new_tokens, case.batch * case.num_beams
    # One row is bound by reading all weights for each token, many rows by multiplying with them.
    seconds_per_step = limits["read"] if hypotheses == 1 else hypotheses * limits["multiply"]
    limit = case.batch / (seconds_per_step * case.weights_of_a_token())
    rows = []
    for system, (first, *others) in replies.items():
        taken = [reply["seconds"] for reply in others]
        speed = new_tokens / statistics.median(taken)
        rows.append(
            {
                "case": name,
                "system": system,
                "tokens_per_second": round(speed),
                "slowest": round(new_tokens / max(taken)),
                "fastest": round(new_tokens / min(taken)),
                "first_call_seconds": round(first["seconds"], 1),  # compiles
                "share_of_limit": round(speed / limit, 3),
                "peak_mib": others[-1]["peak_mib"],
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
            f"\n{case} tokens: tokens/s, medians of {FLAGS.repeats} calls",
            f"{'system':{width}}  {'tokens/s':>9} {'slowest':>8} {'fastest':>8} {'first s':>8} {'of limit':>8} "
            f"{'MiB':>6}  times hub",
        ]
        for row in found:
            times = f"{row['tokens_per_second'] / hub:9.2f}" if hub else ""
            lines.append(
                f"{row['system']:{width}}  {row['tokens_per_second']:9,} {row['slowest']:8,} {row['fastest']:8,} "
                f"{row['first_call_seconds']:8.1f} {row['share_of_limit']:8.3f} {row['peak_mib']:6,}  {times}"
            )
    return "\n".join(lines)


def _limits():
    """Returns the seconds per weight to read it and to multiply a row with it."""
    weights, square = np.ones((2048, 4096), "float32"), np.ones((2048, 2048), "float32")
    read = min(timed(lambda: np.ones((1, 2048), "float32") @ weights) for _ in range(20)) / weights.size
    multiply = min(timed(lambda: square @ square) for _ in range(5)) / 2048 / square.size
    return {"read": read, "multiply": multiply}
