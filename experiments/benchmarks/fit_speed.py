"""Samples per second of an epoch inside `fit`: Keras' own loop and kerazoo's on the dense 784-128-10 network."""

import statistics
from typing import Any

from absl import flags

from experiments.benchmarks.timing import epoch_timer

FLAGS = flags.FLAGS


def results() -> list[dict[str, Any]]:
    """Returns a row for each training loop."""
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (FLAGS.examples, 784)).astype("uint8")
    labels = rng.integers(0, 10, FLAGS.examples).astype("int32")
    loops = {
        "Model.fit": _keras_fit(pixels, labels),
        "Model.fit, steps_per_execution=25": _keras_fit(pixels, labels, steps_per_execution=25),
        "kerazoo.training.fit": _kerazoo_fit(pixels, labels),
    }
    seconds = {name: [] for name in loops}
    for _ in range(2):  # twice in turn, so that a slow minute of the machine does not affect one loop alone
        for name, fit in loops.items():
            timer = epoch_timer()
            fit(timer)
            seconds[name] += timer.seconds[1:]  # the first epoch compiles
    speeds = {name: FLAGS.examples / statistics.median(taken) for name, taken in seconds.items()}
    baseline = next(iter(speeds.values()))
    return [
        {
            "loop": name,
            "backend": keras.backend.backend(),
            "samples_per_second": round(speed),
            "slowest": round(FLAGS.examples / max(seconds[name])),
            "fastest": round(FLAGS.examples / min(seconds[name])),
            "times": round(speed / baseline, 2),
        }
        for name, speed in speeds.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a table."""
    width = max(len(row["loop"]) for row in rows)
    lines = [
        f"{rows[0]['backend']}, medians of {FLAGS.repeats} epochs",
        f"{'loop':{width}}  {'samples/s':>10}  {'slowest':>9}  {'fastest':>9}  {'times':>6}",
    ]
    for row in rows:
        lines.append(
            f"{row['loop']:{width}}  {row['samples_per_second']:10,}  {row['slowest']:9,}  {row['fastest']:9,}  "
            f"{row['times']:6.2f}"
        )
    return "\n".join(lines)


def _network(**options):
    import keras

    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-3), loss, weighted_metrics=["accuracy"], **options)
    return network


def _keras_fit(pixels, labels, **options):
    network, scaled = _network(**options), pixels.astype("float32") / 255

    def fit(timer):
        network.fit(scaled, labels, batch_size=FLAGS.batch_size, epochs=FLAGS.repeats + 1, callbacks=[timer], verbose=0)

    return fit


def _kerazoo_fit(pixels, labels):
    import keras

    import kerazoo as kz

    network = _network()
    corpus = kz.data.Corpus({"pixels": pixels, "label": labels})
    plan = kz.data.Plan.of(corpus, batch_size=FLAGS.batch_size)

    def batch(features, valid):
        scaled = keras.ops.cast(features["pixels"], "float32") / 255
        return scaled, features["label"], keras.ops.cast(valid, "float32")

    def fit(timer):
        kz.training.fit(network, corpus, batch, plan, epochs=FLAGS.repeats + 1, callbacks=[timer])

    return fit
