"""Measure a trained run on unseen examples and write evaluation-SPLIT.json into its folder.

  python -m experiments.evaluate --run_dir=RUN
  python -m experiments.evaluate --run_dir=RUN --split=dev --limit=500
  python -m experiments.evaluate --run_dir=RUN --search=beam --width=8 --option=length_penalty=power
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_cache()
shared.define_search()
flags.DEFINE_enum("split", "test", ["train", "dev", "test"], "Part of the data that is measured.")
flags.DEFINE_integer("limit", 0, "Most examples, 0 for all.", lower_bound=0)
flags.DEFINE_integer("samples", 8, "Answers that are shown beside the truth.", lower_bound=0)
flags.DEFINE_string("data_dir", None, "Where the data lies now, if it is no longer where the run found it.")
flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which state of the run.")


def main(arguments):
    """Evaluates and prints the table."""
    del arguments
    import kerazoo as kz

    shared.use_cache()
    kz.run.evaluate(
        shared.run_dirs(command.require("run_dir")),
        split=FLAGS.split,
        limit=FLAGS.limit,
        samples=FLAGS.samples,
        data_dir=FLAGS.data_dir,
        checkpoint=FLAGS.checkpoint,
        **shared.search_options(),
    )


if __name__ == "__main__":
    command.run(main, __doc__)
