"""How many tokens a second each way of decoding writes, in turns on one machine."""

import json
import os
import statistics
import subprocess
import sys

import numpy as np
from absl import flags

from experiments.benchmark_ways import LAYERS, MARK, VOCABULARY, WAYS, WIDTH, timed

FLAGS = flags.FLAGS

flags.DEFINE_multi_string("only", [], "Cases of the benchmark `decode` that have this in their name; may be repeated.")
flags.DEFINE_integer("new_tokens", 64, "Tokens of each answer of the benchmark `decode`.", lower_bound=2)


def cases():
    """Returns the names of the cases: model, search, batch."""
    names = [
        f"{model} {search} {batch}"
        for model in ("transformer", "lstm")
        for search in ("greedy", "beam")
        for batch in (1, 16)
    ]
    return [name for name in names if all(part in name for part in FLAGS.only)]


def measure():
    """Returns a row for each case and way: tokens a second, of the median, the slowest and the fastest call."""
    workers = {way: _start(way) for way in WAYS}
    missing = {way: said for way, (_, said) in workers.items() if said != "ready"}
    for way, said in missing.items():
        print(f"without {way}: {said}", file=sys.stderr)
    limits = _limits()
    rows = []
    for case in cases():
        seconds, first = {}, {}
        for repeat in range(FLAGS.repeats + 1):  # in turns, so that a slow minute of the machine hits all of them
            for way, (worker, said) in workers.items():
                if said == "ready" and first.get(way, 0) is not None:
                    taken = _ask(worker, case)
                    if repeat == 0:
                        first[way] = taken  # compiles
                    elif taken is not None:
                        seconds.setdefault(way, []).append(taken)
        rows += _rows(case, seconds, first, limits)
    for worker, _ in workers.values():
        worker.kill()
    return rows


def _rows(case, seconds, first, limits):
    model, search, batch = case.split()
    many = int(batch) * FLAGS.new_tokens
    lines = int(batch) * (4 if search == "beam" else 1)
    # One row is bound by reading all weights for each token, many rows by multiplying with them.
    seconds_a_step = limits["read"] if lines == 1 else lines * limits["multiply"]
    most = int(batch) / (seconds_a_step * limits["parameters"][model])
    rows = []
    for way, taken in seconds.items():
        speed = many / statistics.median(taken)
        rows.append(
            {
                "case": case,
                "way": way,
                "tokens_per_second": round(speed),
                "slowest": round(many / max(taken)),
                "fastest": round(many / min(taken)),
                "first_call_seconds": round(first[way], 1),
                "share_of_limit": round(speed / most, 3),
            }
        )
    return sorted(rows, key=lambda row: -row["tokens_per_second"])


def show(rows):
    """Prints the rows as tables."""
    width = max(map(len, WAYS))
    for case in dict.fromkeys(row["case"] for row in rows):
        here = [row for row in rows if row["case"] == case]
        hub = max((row["tokens_per_second"] for row in here if row["way"].startswith("KerasHub")), default=None)
        print(f"\n{case}: tokens/s, medians of {FLAGS.repeats} calls")
        print(f"{'way':{width}}  {'tokens/s':>9} {'slowest':>8} {'fastest':>8} {'first s':>8} {'of limit':>8} "
              "times hub")
        for row in here:
            times = f"{row['tokens_per_second'] / hub:9.2f}" if hub else ""
            print(f"{row['way']:{width}}  {row['tokens_per_second']:9,} {row['slowest']:8,} {row['fastest']:8,} "
                  f"{row['first_call_seconds']:8.1f} {row['share_of_limit']:8.3f}  {times}")


def _limits():
    """Seconds a weight to read it from memory, and to multiply a row with it; and the weights that a token needs."""
    weights, square = np.ones((2048, 4096), "float32"), np.ones((2048, 2048), "float32")
    read = min(timed(lambda: np.ones((1, 2048), "float32") @ weights) for _ in range(20)) / weights.size
    multiply = min(timed(lambda: square @ square) for _ in range(5)) / 2048 / square.size
    block = 6 * WIDTH**2 + 2 * WIDTH * 4 * WIDTH  # attentions without the source's keys and values, feed-forward
    recurrence = 2 * WIDTH * 4 * WIDTH + 2 * WIDTH * WIDTH
    head = WIDTH * VOCABULARY
    return {
        "read": read,
        "multiply": multiply,
        "parameters": {"transformer": LAYERS * block + head, "lstm": recurrence + head},
    }


def _start(way):
    backend, _ = WAYS[way]
    environment = {**os.environ, "KERAS_BACKEND": backend or "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    worker = subprocess.Popen(
        [sys.executable, "-m", "experiments.benchmark_ways", way, str(FLAGS.new_tokens)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    return worker, _answer(worker)


def _ask(worker, case):
    worker.stdin.write(case + "\n")
    worker.stdin.flush()
    return json.loads(_answer(worker))


def _answer(worker):
    for line in worker.stdout:
        if line.startswith(MARK):
            return line[len(MARK) :].strip()
    return "it ended"
