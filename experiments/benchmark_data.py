"""What the data costs: tokenising and feeding in tokens per second, and what feeding adds to a training step.

The step is that of transformer_seq2seq_tiny on pairs of texts, --data_dir=multi30k for the published figures. A way to
feed is compared with the same program over a batch that already lies on the device.
"""

import functools
import itertools
import statistics
import sys
import time

from absl import flags

from experiments.benchmark_ways import timed

FLAGS = flags.FLAGS

flags.DEFINE_string("data_dir", None, "Table of pairs for `data`, as for --task=tsv; random words by default.")
flags.DEFINE_integer("steps", 40, "Training steps of one measured epoch, for `data`.", lower_bound=2)
flags.DEFINE_integer("lines", 20000, "Lines that are tokenised, for `data`.", lower_bound=1)

VOCABULARY = 8000  # words of each language


def measure():
    """Returns a row for each tokenizer and for each way to feed."""
    import kerazoo as kz

    task = _task(kz)
    return [*_tokenising(kz, task), *_feeding(kz, task)]


def show(rows):
    """Prints the rows as a table."""
    print(f"{rows[0]['backend']}, medians of {FLAGS.repeats}")
    width = max(len(row["way"]) for row in rows)
    print(f"{'way':{width}}  {'tokens/s':>12}  {'ms a step':>10}  {'share of the step':>17}")
    for row in rows:
        step = "" if row["ms_per_step"] is None else f"{row['ms_per_step']:.2f}"
        share = "" if row["share"] is None else f"{row['share']:.1%}"
        print(f"{row['way']:{width}}  {row['tokens_per_second']:12,}  {step:>10}  {share:>17}")


def _task(kz):
    if FLAGS.data_dir:
        return kz.tasks.create(
            "tsv", "seq2seq", data_dir=FLAGS.data_dir, source_tokens="words", target_tokens="words",
            vocabulary_size=VOCABULARY,
        )
    return kz.tasks.create("reverse", "seq2seq")


def _tokenising(kz, task):
    lines = list(itertools.islice(itertools.cycle(task.examples("train", limit=FLAGS.lines)[0]), FLAGS.lines))
    rows = []
    for name in kz.text.names():
        try:
            tokenizer = kz.text.get(name).learn(lines)
        except RuntimeError as error:  # its library is not installed
            print(f"{name} left out: {error}")
            continue
        _say(f"tokenising {name}")
        count = int(tokenizer.tokenize(lines).flat_values.shape[0])  # the first call makes the program
        tokenise = functools.partial(tokenizer.tokenize, lines)
        seconds = [timed(tokenise) for _ in range(FLAGS.repeats)]
        rows.append(_row(f"tokenise {name}", count / statistics.median(seconds)))
    return rows


def _feeding(kz, task):
    import numpy as np

    corpus = task.load("train")
    # Examples of one length share a shape with little padding: the quicker the step, the more of it is feeding.
    order = np.argsort(sum(corpus.lengths().values()), kind="stable")
    wanted = min(len(corpus), FLAGS.steps * FLAGS.batch_size)
    first = (len(corpus) - wanted) // 2
    corpus = corpus.take(order[first : first + wanted])
    plan = kz.data.Plan.of(corpus, batch_size=FLAGS.batch_size, max_shapes=1)
    tokens = sum(int(lengths.sum()) for lengths in corpus.lengths().values()) / plan.steps
    resident, still = _programs(kz, task, corpus, plan)
    streams = _streams(kz, task, corpus, plan)
    rows = [_row("step, program on one batch", tokens / still, still)]
    rows.append(_row("step, program on the corpus", tokens / resident, resident, 1 - still / resident))
    base = streams.pop("step, batches in memory")
    rows.append(_row("step, batches in memory", tokens / base, base))
    rows += [_row(name, tokens / step, step, 1 - base / step) for name, step in streams.items()]
    for name, feed in (("tf.data", kz.data.dataset), ("NumPy", kz.data.batches)):
        if name == "tf.data" and _backend() != "tensorflow":
            continue
        epochs = [feed(corpus, plan, epoch=epoch) for epoch in range(FLAGS.repeats)]
        seconds = [timed(functools.partial(list, batches)) for batches in epochs]
        rows.append(_row(f"{name} alone", tokens * plan.steps / statistics.median(seconds)))
    return rows


def _programs(kz, task, corpus, plan):
    """Returns the seconds of a step of the program that gathers its batches, and of one that has its batch."""
    import keras

    first = next(iter(kz.data.batches(corpus, plan)))
    held = {name: keras.Variable(value, trainable=False) for name, value in first[0].items()}

    def the_same(features, valid):
        return task.batch({name: variable.value for name, variable in held.items()}, valid)

    seconds = {task.batch: [], the_same: []}
    for _ in range(2):  # in turns, so that a slow minute of the machine does not hit one way alone
        for batch, taken in seconds.items():
            _say(f"training, program on {'the corpus' if batch == task.batch else 'one batch'}")
            watch = clock(keras)
            kz.training.fit(_model(kz, task), corpus, batch, plan, epochs=FLAGS.repeats + 1, callbacks=[watch])
            taken += watch.seconds[1:]  # the first epoch compiles
    return [statistics.median(taken) / plan.steps for taken in seconds.values()]


def _streams(kz, task, corpus, plan):
    """Returns the seconds of a step fed by each kind of stream, all in one training, epoch by epoch in turns."""
    import keras

    ready = list(kz.data.batches(corpus, plan, task.batch))
    ways = {"step, batches in memory": lambda epoch: ready}
    if _backend() == "tensorflow":
        ways["step, tf.data"] = lambda epoch: kz.data.dataset(corpus, plan, task.batch, epoch=epoch)
    ways["step, NumPy"] = lambda epoch: kz.data.batches(corpus, plan, task.batch, epoch=epoch)
    _say("training, batches from outside")
    feeds, watch = list(ways.values()), clock(keras)
    rounds = FLAGS.repeats + 1
    kz.training.fit(
        _model(kz, task),
        lambda epoch: feeds[epoch % len(feeds)](epoch),
        feed="tf.data",
        epochs=rounds * len(feeds),
        callbacks=[watch],
    )
    return {
        name: statistics.median(watch.seconds[index + len(ways) :: len(ways)]) / plan.steps
        for index, name in enumerate(ways)
    }


def _model(kz, task):
    import keras

    sizes = {name: value for name, value in task.sizes().items() if name != "max_length"}
    model = kz.create("transformer_seq2seq_tiny", **sizes)
    model.compile(keras.optimizers.Adam(1e-3), task.loss())
    return model


def _row(way, tokens, seconds=None, share=None):
    return {
        "way": way,
        "backend": _backend(),
        "tokens_per_second": round(tokens),
        "ms_per_step": None if seconds is None else round(1000 * seconds, 3),
        "share": None if share is None else round(share, 4),
    }


def _backend():
    import keras

    return keras.backend.backend()


def _say(text):
    print(text, file=sys.stderr, flush=True)


def clock(keras):
    """Returns a callback whose `seconds` has the time of each epoch; it is called between the programs as any is."""

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds = []

        def on_train_batch_end(self, step, logs=None):
            self.loss = logs["loss"]

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.started)

    return Clock()
