"""What the data costs: tokenising and feeding in tokens per second, and what feeding adds to a training step.

The step is that of transformer_seq2seq_tiny on pairs of texts, --data_dir=multi30k for the published figures. Feeding
is measured alone, as a share of that step, and batches from outside also beside batches that already lie in memory: the
first is exact and counts all of it, the second is what is felt, give or take the noise of the machine.
"""

import functools
import itertools
import statistics
import sys
import time

import numpy as np
from absl import flags

from experiments.benchmark_ways import timed

FLAGS = flags.FLAGS

flags.DEFINE_string("data_dir", None, "Table of pairs for `data`, as for --task=tsv; random words by default.")
flags.DEFINE_integer("steps", 40, "Training steps of one measured epoch, for `data`.", lower_bound=2)
flags.DEFINE_integer("lines", 20000, "Lines that are tokenised, for `data`.", lower_bound=1)

VOCABULARY = 8000  # words of each language
GROWING = 4  # epochs until a program runs as many steps in a call as it will


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
            tokenizer = kz.text.get(name).fit(lines)
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
    corpus = task.load("train")
    # Examples of one length share a shape with little padding: the quicker the step, the more of it is feeding.
    order = np.argsort(sum(corpus.lengths().values()), kind="stable")
    wanted = min(len(corpus), FLAGS.steps * FLAGS.batch_size)
    first = (len(corpus) - wanted) // 2
    corpus = corpus.take(order[first : first + wanted])
    plan = kz.data.Plan.of(corpus, batch_size=FLAGS.batch_size, max_shapes=1)
    tokens = sum(int(lengths.sum()) for lengths in corpus.lengths().values()) / plan.steps
    _say("training, the program gathers its batches")
    step = _program(kz, _model(kz, task), corpus, task.batch, plan)
    rows = [_row("step, program on the corpus", tokens / step, step)]
    alone = _program(kz, _idle(), corpus, task.batch, plan)
    rows.append(_row("  gathering alone", tokens / alone, alone, alone / step))
    _say("training, batches from outside")
    seconds, streams = _streams(kz, task, corpus, plan)
    base = statistics.median(seconds) / plan.steps
    rows.append(_row("step, batches in memory", tokens / base, base))
    for name, (feed, ratios) in streams.items():
        share = statistics.median(ratios) - 1
        rows.append(_row(f"step, {name}", tokens / base / (1 + share), base * (1 + share), share))
        epochs = [feed(corpus, plan, task.batch, epoch=epoch) for epoch in range(FLAGS.repeats)]
        alone = statistics.median(timed(functools.partial(list, batches)) for batches in epochs) / plan.steps
        rows.append(_row(f"  {name} alone", tokens / alone, alone, alone / base))
    return rows


def _program(kz, model, corpus, batch, plan):
    """Returns the seconds of a step of a model whose compiled program gathers its batches."""
    import keras

    watch = clock(keras)
    kz.training.fit(model, corpus, batch, plan, epochs=FLAGS.repeats + GROWING, callbacks=[watch])
    return statistics.median(watch.seconds[GROWING:]) / plan.steps


def _idle():
    """Returns a model that does nothing but look once at every number of its batch."""
    import keras
    from keras import ops

    def mean(nest):
        return sum(ops.mean(ops.cast(x, "float32")) for x in keras.tree.flatten(nest))

    class Idle(keras.Model):
        def build(self, shapes):
            self.scale = self.add_weight(shape=(1, 1))

        def call(self, inputs):
            return self.scale * mean(inputs)  # [1, 1], for any batch

    model = Idle()
    model.compile(keras.optimizers.SGD(), lambda targets, output: ops.cast(targets, "float32") * output)
    return model


def _streams(kz, task, corpus, plan):
    """Returns what each kind of stream takes, all in one training, epoch by epoch in turns.

    Returns:
        The seconds of the epochs from memory; and for the name of each other way its function, and its seconds as
        multiples of those from memory in the same turn.
    """
    import keras

    feeds = {"tf.data": kz.data.dataset} if _backend() == "tensorflow" else {}
    feeds["NumPy"] = kz.data.batches
    ready, watch = list(kz.data.batches(corpus, plan, task.batch)), clock(keras)
    ways = [lambda *_, **__: ready, *feeds.values()]
    kz.training.fit(
        _model(kz, task),
        lambda epoch: ways[epoch % len(ways)](corpus, plan, task.batch, epoch=epoch),
        epochs=(FLAGS.repeats + 1) * len(ways),
        callbacks=[watch],
    )
    turns = np.reshape(watch.seconds, (-1, len(ways)))[1:]  # the first turn compiles
    ratios = (turns / turns[:, :1]).T[1:].tolist()
    return turns[:, 0].tolist(), {name: pair for name, *pair in zip(feeds, feeds.values(), ratios)}


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
