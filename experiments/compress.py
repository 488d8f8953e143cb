"""Make smaller variants of a trained run by recipes, and compare them by quality, size and speed.

python -m experiments.compress --run_dir=RUN --recipe=int8
python -m experiments.compress --run_dir=RUN --recipe=int8 --recipe=prune:0.8,int8 --to=VARIANTS
python -m experiments.compress --run_dir=RUN --recipe=distil:lstm_seq2seq:units=64,int8 --tune=epochs=5

Each variant is a run directory that all commands take: evaluate, predict, export. The folder of the variants,
RUN/compressed, has compression.md with the table, compression.json and compression.png. The same command a second time
continues.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_import()
shared.define_cache()
shared.define_search()
with command.flag_group("Task and data", {"data_dir": "that of the run"}):
    flags.DEFINE_string("data_dir", None, "Folder of the data, if it has moved since the training.")
    flags.DEFINE_integer("limit", 0, "Maximum number of dev and of test examples that are predicted; 0 for all.",
                         lower_bound=0)  # fmt: skip
with command.flag_group("Run and output", {"to": "RUN/compressed", "metric": "the first one of the run"}):
    flags.DEFINE_multi_string("recipe", [], "Steps of a variant with commas between them; may be repeated.")
    flags.DEFINE_multi_string("tune", [], "Training option of the variants that are trained, as OPTION=VALUE, such as "
                              "epochs=5; may be repeated.")  # fmt: skip
    flags.DEFINE_string("to", None, "Folder of the variants.")
    flags.DEFINE_string("metric", None, "Measure by which the variants are compared.")


def main(arguments):
    """Makes and measures the variants, and prints the table."""
    del arguments
    import kerazoo as kz

    shared.use_cache()
    shared.use_imports()
    run_dir = command.require("run_dir")
    if not FLAGS.recipe:
        raise command.UsageError("--recipe is required; --help lists the steps.")
    kz.run.compress(
        run_dir,
        FLAGS.recipe,
        to=FLAGS.to,
        metric=FLAGS.metric,
        limit=FLAGS.limit,
        training=kz.parse_assignments("--tune", FLAGS.tune),
        data_dir=FLAGS.data_dir,
        imports=getattr(FLAGS, "import"),
        print_fn=command.log,
        **shared.search_options(),
    )


def more_help():
    """Returns the help on the steps of recipes."""
    import kerazoo as kz

    steps = {name: (None, kind.about) for name, kind in kz.compress.STEPS.items()}
    return ["", "Steps of --recipe:", *command.option_help(steps)]


if __name__ == "__main__":
    command.run(main, __doc__, more_help=more_help)
