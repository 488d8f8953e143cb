"""Measure speed on this machine, everything compared in one run; prints a table, and JSON with --json.

  python -m experiments.benchmark train            # fit of the dense 784-128-10 network: Keras' own against ours
  KERAS_BACKEND=jax python -m experiments.benchmark train
  python -m experiments.benchmark data --data_dir=PATH     # tokenising and feeding, against the step they feed
  python -m experiments.benchmark decode           # searches, beside KerasHub and transformers where they are installed
"""

import json
import statistics

from absl import flags

from experiments import benchmark_data, benchmark_decode, command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_verbose()
flags.DEFINE_integer("repeats", 5, "Measured epochs or calls of each way, taken in turns.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Examples of one optimizer step.", lower_bound=1)
flags.DEFINE_integer("examples", 60000, "Examples of one epoch.", lower_bound=1)
flags.DEFINE_bool("json", False, "Print the figures as JSON instead of a table.")


def main(arguments):
    """Runs the benchmark that the first argument names."""
    known = {"train": (train, _print), "data": (benchmark_data.measure, benchmark_data.show),
             "decode": (benchmark_decode.measure, benchmark_decode.show)}
    if len(arguments) != 1 or arguments[0] not in known:
        raise command.UsageError(f"name one benchmark: {', '.join(known)}; got {' '.join(arguments) or 'nothing'}.")
    measure, show = known[arguments[0]]
    rows = measure()
    if FLAGS.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


def train():
    """Returns samples per second of an epoch inside `fit`, for each way to train the 784-128-10 network."""
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (FLAGS.examples, 784)).astype("uint8")
    labels = rng.integers(0, 10, FLAGS.examples).astype("int32")
    ways = {
        "Model.fit": _keras_fit(pixels, labels),
        "Model.fit, steps_per_execution=25": _keras_fit(pixels, labels, steps_per_execution=25),
        "kerazoo.training.fit": _our_fit(pixels, labels),
    }
    seconds = {name: [] for name in ways}
    for _ in range(2):  # twice in turns, so that a slow minute of the machine does not hit one way alone
        for name, fit in ways.items():
            watch = benchmark_data.clock(keras)
            fit(watch)
            seconds[name] += watch.seconds[1:]  # the first epoch compiles
    speeds = {name: FLAGS.examples / statistics.median(taken) for name, taken in seconds.items()}
    base = next(iter(speeds.values()))
    return [
        {
            "way": name,
            "backend": keras.backend.backend(),
            "samples_per_second": round(speed),
            "slowest": round(FLAGS.examples / max(seconds[name])),
            "fastest": round(FLAGS.examples / min(seconds[name])),
            "times": round(speed / base, 2),
        }
        for name, speed in speeds.items()
    ]


def _network(**options):
    import keras

    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-3), loss, weighted_metrics=["accuracy"], **options)
    return network


def _keras_fit(pixels, labels, **options):
    network, scaled = _network(**options), pixels.astype("float32") / 255

    def fit(watch):
        network.fit(
            scaled, labels, batch_size=FLAGS.batch_size, epochs=FLAGS.repeats + 1, callbacks=[watch], verbose=0
        )

    return fit


def _our_fit(pixels, labels):
    import keras

    import kerazoo as kz

    network = _network()
    corpus = kz.data.Corpus({"pixels": pixels, "label": labels})
    plan = kz.data.Plan.of(corpus, batch_size=FLAGS.batch_size)

    def batch(features, valid):
        scaled = keras.ops.cast(features["pixels"], "float32") / 255
        return scaled, features["label"], keras.ops.cast(valid, "float32")

    def fit(watch):
        kz.training.fit(network, corpus, batch, plan, epochs=FLAGS.repeats + 1, callbacks=[watch])

    return fit


def _print(rows):
    width = max(len(row["way"]) for row in rows)
    print(f"{rows[0]['backend']}, medians of {FLAGS.repeats} epochs")
    print(f"{'way':{width}}  {'samples/s':>10}  {'slowest':>9}  {'fastest':>9}  {'times':>6}")
    for row in rows:
        print(f"{row['way']:{width}}  {row['samples_per_second']:10,}  {row['slowest']:9,}  {row['fastest']:9,}  "
              f"{row['times']:6.2f}")


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
