"""Train a linear classifier on the outputs of a layer of a trained model, and measure it on test.

  python -m experiments.probe --run_dir=RUN --layer=encoder --task=tfds:mnist --data_dir=PATH
  python -m experiments.probe --run_dir=RUN --layer='encoder.block_*' --task=table --data_dir=reviews.tsv \\
      --inputs=text:review --targets=label:stars

The weights of the model do not change. The features are standardised, and the regularization of the classifier, a
logistic regression of scikit-learn, is the best one on dev. For each layer a line has the accuracy and the F1 on dev
and test; the last line is that of the most frequent class.
"""

from absl import flags

import kerazoo as kz
from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_import()
shared.define_checkpoint()
shared.define_task()
shared.define_layer()
with command.flag_group("Run and output"):
    flags.DEFINE_integer("limit", 0, "Maximum number of training examples, spread over the data; 0 for all.",
                         lower_bound=0)  # fmt: skip


def main(arguments):
    """Prints a row for each layer."""
    del arguments
    shared.use_imports()
    shared.use_cache()
    run_dir, task = command.require("run_dir"), command.require("task")
    if not FLAGS.layer:
        raise command.UsageError("--layer is required; --help shows all flags.")
    found = kz.run.probe(
        run_dir,
        FLAGS.layer,
        task,
        shared.task_options(),
        pooling=FLAGS.pooling,
        limit=FLAGS.limit,
        checkpoint=FLAGS.checkpoint,
        imports=getattr(FLAGS, "import"),
    )
    for line in table(found):
        print(line)
    return 0


def table(found):
    """Returns the lines of a table of the results, the baseline last."""
    rows = [["layer", "features", "C", "dev accuracy", "dev F1", "test accuracy", "test F1"]]
    for each in found:
        rows.append([each.layer, f"{each.width:,}", f"{each.inverse_regularization:g}", *_figures(each.dev, each.test)])
    baseline = {name.removeprefix("baseline."): value for name, value in found[0].test.items() if "baseline." in name}
    rows.append([f"most frequent class ({kz.run.printable(found[0].baseline)})", "", "", *_figures({}, baseline)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.rjust(w) if n else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths))) for row in rows
    ]


def _figures(dev, test):
    return [f"{each[name]:.4f}" if name in each else "" for each in (dev, test) for name in ("accuracy", "f1")]


if __name__ == "__main__":
    command.run(main, __doc__)
