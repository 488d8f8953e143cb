"""Evaluate a trained run on unseen examples; writes evaluation-SPLIT.json and report.md into its folder.

python -m experiments.evaluate --run_dir=RUN
python -m experiments.evaluate --run_dir=RUN --split=dev --limit=500
python -m experiments.evaluate --run_dir=RUN --search=beam --num_beams=8 --option=length_penalty=power
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_import()
shared.define_cache()
shared.define_search()
shared.define_checkpoint()
with command.flag_group("Task and data", {"data_dir": "that of the run"}):
    flags.DEFINE_enum("split", "test", ["train", "dev", "test"], "Split of the data that is evaluated.")
    flags.DEFINE_integer("limit", 0, "Maximum number of examples, spread over the split; 0 for all.", lower_bound=0)
    flags.DEFINE_string("data_dir", None, "Folder of the data, if it has moved since the training.")
with command.flag_group("Run and output"):
    flags.DEFINE_integer("samples", 8, "Predictions that are printed with their references.", lower_bound=0)


def main(arguments):
    """Evaluates and prints the results."""
    del arguments
    import kerazoo as kz

    shared.use_cache()
    shared.use_imports()
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
