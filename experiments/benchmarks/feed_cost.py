"""What the data costs: tokenizing and feeding in tokens per second, and the time that feeding adds to a training step.

The step is that of transformer_seq2seq_tiny on pairs of texts, --data_dir=multi30k for the published figures. Feeding
is measured alone, as a share of that step, which counts all of its work; and within training, where one epoch of each
feed is run in turn and compared with that of the program that gathers its batches from the corpus. Memory is the most
that the process had until then.
"""

import functools
import itertools
import statistics
import sys
from typing import Any

import numpy as np
from absl import flags

from experiments.benchmarks import workers
from experiments.benchmarks.timing import epoch_timer, interleave_epochs, timed

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
        f"{'measured':{width}}  {'tokens/s':>12}  {'ms a step':>10}  {'share of the step':>17}  {'peak MiB':>8}",
    ]
    for row in rows:
        step = "" if row["ms_per_step"] is None else f"{row['ms_per_step']:.2f}"
        share = "" if row["share"] is None else f"{row['share']:.1%}"
        speed, memory = f"{row['tokens_per_second']:12,}", f"{row['peak_mib']:8,}"
        lines.append(f"{row['name']:{width}}  {speed}  {step:>10}  {share:>17}  {memory}")
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
    feeds = {"tf.data": kz.data.dataset} if _backend() == "tensorflow" else {}
    feeds["NumPy"] = kz.data.batches
    ready = list(kz.data.batches(corpus, plan, task.batch))
    data = {"batches in memory": lambda epoch: ready} | {
        name: functools.partial(_epoch, feed, corpus, plan, task.batch) for name, feed in feeds.items()
    }
    _report("training, one epoch of each feed in turn")
    seconds = interleave_epochs(
        {"program on the corpus": functools.partial(_fit, kz, _model(kz, task), corpus, task.batch, plan)}
        | {name: functools.partial(_fit, kz, _model(kz, task), batches, None, None) for name, batches in data.items()}
    )
    measured = {name: np.array(taken[WARMUP_EPOCHS:]) / plan.steps for name, taken in seconds.items()}
    on_device = measured["program on the corpus"]
    base = float(np.median(on_device))
    _report("the feeds alone")
    timer = epoch_timer()
    _fit(kz, _idle(), corpus, task.batch, plan, timer)
    alone = {"program on the corpus": statistics.median(timer.seconds[WARMUP_EPOCHS:]) / plan.steps}
    for name in feeds:
        taken = [timed(functools.partial(list, data[name](epoch))) for epoch in range(FLAGS.repeats)]
        alone[name] = statistics.median(taken) / plan.steps
    rows = []
    for name, step in measured.items():
        seconds = base * float(np.median(step / on_device))  # of the same round
        share = None if step is on_device else seconds / base - 1
        rows.append(_row(f"step, {name}", tokens / seconds, seconds, share))
        if name in alone:
            rows.append(_row(f"  {name} alone", tokens / alone[name], alone[name], alone[name] / base))
    return rows


def _epoch(feed, corpus, plan, batch_fn, epoch):
    return feed(corpus, plan, batch_fn, epoch=epoch)


def _fit(kz, model, data, batch_fn, plan, timer):
    """Trains for the measured epochs."""
    kz.training.fit(model, data, batch_fn, plan, epochs=FLAGS.repeats + WARMUP_EPOCHS, callbacks=[timer])


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
        "peak_mib": workers.peak_mib(),
    }


def _backend():
    import keras

    return keras.backend.backend()


def _report(text):
    print(text, file=sys.stderr, flush=True)
