"""What the data costs: tokenizing and feeding in tokens per second, and the time that feeding adds to a training step.

The step is that of transformer_seq2seq_tiny on pairs of texts, --data_dir=multi30k for the published figures. Feeding
is measured alone, as a share of that step. Batches from outside the program are also compared with batches that are in
memory already: the first figure is exact and counts all of the work, the second is what training notices, up to the
noise of the machine.
"""

import functools
import itertools
import statistics
import sys
from typing import Any

import numpy as np
from absl import flags

from experiments.benchmarks.timing import epoch_timer, timed

FLAGS = flags.FLAGS

MAX_WORDS = 8000  # ids of each vocabulary
WARMUP_EPOCHS = 4  # until the program has its final number of steps in one call


def results() -> list[dict[str, Any]]:
    """Returns a row for each tokenizer and for each feed."""
    import kerazoo as kz

    task = _task(kz)
    return [*_tokenizing(kz, task), *_feeding(kz, task)]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a table."""
    width = max(len(row["name"]) for row in rows)
    lines = [
        f"{rows[0]['backend']}, medians of {FLAGS.repeats}",
        f"{'measured':{width}}  {'tokens/s':>12}  {'ms a step':>10}  {'share of the step':>17}",
    ]
    for row in rows:
        step = "" if row["ms_per_step"] is None else f"{row['ms_per_step']:.2f}"
        share = "" if row["share"] is None else f"{row['share']:.1%}"
        lines.append(f"{row['name']:{width}}  {row['tokens_per_second']:12,}  {step:>10}  {share:>17}")
    return "\n".join(lines)


def _task(kz):
    if FLAGS.data_dir:
        return kz.tasks.create(
            "tsv",
            "seq2seq",
            data_dir=FLAGS.data_dir,
            source_tokens="words",
            target_tokens="words",
            vocabulary_size=MAX_WORDS,
        )
    return kz.tasks.create("reverse", "seq2seq")


def _tokenizing(kz, task):
    lines = list(itertools.islice(itertools.cycle(task.examples("train", limit=FLAGS.lines)[0]), FLAGS.lines))
    rows = []
    for name in kz.text.names():
        try:
            tokenizer = kz.text.get(name).fit(lines)
        except RuntimeError as error:  # its library is not installed
            _report(f"{name} left out: {error}")
            continue
        _report(f"tokenizing {name}")
        count = int(tokenizer.tokenize(lines).flat_values.shape[0])  # the first call compiles
        tokenize = functools.partial(tokenizer.tokenize, lines)
        seconds = [timed(tokenize) for _ in range(FLAGS.repeats)]
        rows.append(_row(f"tokenize {name}", count / statistics.median(seconds)))
    return rows


def _feeding(kz, task):
    corpus = task.load("train")
    # Examples of similar length have little padding: the faster the step, the larger the share of feeding.
    order = np.argsort(sum(corpus.lengths().values()), kind="stable")
    wanted = min(len(corpus), FLAGS.steps * FLAGS.batch_size)
    first = (len(corpus) - wanted) // 2
    corpus = corpus.take(order[first : first + wanted])
    plan = kz.data.Plan.of(corpus, batch_size=FLAGS.batch_size, max_shapes=1)
    tokens = sum(int(lengths.sum()) for lengths in corpus.lengths().values()) / plan.steps
    _report("training, the program gathers its batches")
    step = _program(kz, _model(kz, task), corpus, task.batch, plan)
    rows = [_row("step, program on the corpus", tokens / step, step)]
    alone = _program(kz, _idle(), corpus, task.batch, plan)
    rows.append(_row("  gathering alone", tokens / alone, alone, alone / step))
    _report("training, batches from outside")
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
    timer = epoch_timer()
    kz.training.fit(model, corpus, batch, plan, epochs=FLAGS.repeats + WARMUP_EPOCHS, callbacks=[timer])
    return statistics.median(timer.seconds[WARMUP_EPOCHS:]) / plan.steps


def _idle():
    """Returns a model that only computes the mean of every array of its batch."""
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
    """Returns the time of each kind of stream, all in one training, epoch by epoch in turn.

    Returns:
        The seconds of the epochs from memory; and for the name of each other feed its function, and its seconds as
        multiples of those from memory in the same round.
    """
    feeds = {"tf.data": kz.data.dataset} if _backend() == "tensorflow" else {}
    feeds["NumPy"] = kz.data.batches
    ready, timer = list(kz.data.batches(corpus, plan, task.batch)), epoch_timer()
    sources = [lambda *_, **__: ready, *feeds.values()]
    kz.training.fit(
        _model(kz, task),
        lambda epoch: sources[epoch % len(sources)](corpus, plan, task.batch, epoch=epoch),
        epochs=(FLAGS.repeats + 1) * len(sources),
        callbacks=[timer],
    )
    rounds = np.reshape(timer.seconds, (-1, len(sources)))[1:]  # the first round compiles
    ratios = (rounds / rounds[:, :1]).T[1:].tolist()
    return rounds[:, 0].tolist(), {name: pair for name, *pair in zip(feeds, feeds.values(), ratios)}


def _model(kz, task):
    import keras

    sizes = {name: value for name, value in task.sizes().items() if name != "max_length"}
    model = kz.create("transformer_seq2seq_tiny", **sizes)
    model.compile(keras.optimizers.Adam(1e-3), task.loss())
    return model


def _row(name, tokens, seconds=None, share=None):
    return {
        "name": name,
        "backend": _backend(),
        "tokens_per_second": round(tokens),
        "ms_per_step": None if seconds is None else round(1000 * seconds, 3),
        "share": None if share is None else round(share, 4),
    }


def _backend():
    import keras

    return keras.backend.backend()


def _report(text):
    print(text, file=sys.stderr, flush=True)
