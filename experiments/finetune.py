"""Train a model that begins with the weights of a run, or with those in a file; print what is kept and what is new.

  python -m experiments.finetune --from=RUN --data_dir=PATH                       # the same task on other data
  python -m experiments.finetune --from=RUN --task=table --data_dir=PATH --targets=label:topic --inputs=text:text
  python -m experiments.finetune --from=RUN --model=transformer+dual_encoder --task=pairs --data_dir=PATH
  python -m experiments.finetune --from=FILE.weights.h5 --model=NAME --task=NAME --data_dir=PATH --epochs=0

The new run is like any other: evaluate, predict and export it. The same command a second time continues it.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run()
with command.flag_group("Model", {"model": "that of the run, or its encoder in a model that the task trains"}):
    flags.DEFINE_string("from", None, "Folder of a run, or file of weights, to begin with.")
    flags.DEFINE_enum("checkpoint", "best", ["best", "last", "average"], "Which checkpoint of the run to begin with.")
    flags.DEFINE_multi_string("adapter", [], "File of an adapter, RUN/adapter or RUN/adapter@WEIGHT, that is merged "
                              "into the run first; may be repeated.")  # fmt: skip
with command.flag_group("Text"):
    flags.DEFINE_enum("vocabulary", "source", ["source", "new"], "Whether texts have the vocabularies of the run, or "
                      "new ones, of which the tokens that both have keep their weights.")  # fmt: skip


def main(arguments):
    """Trains."""
    del arguments
    import kerazoo as kz

    shared.use_imports()
    start = command.require("from")
    shared.use_processes()
    shared.use_cache()
    options = {"checkpoint": FLAGS.checkpoint, "vocabulary": FLAGS.vocabulary, "adapters": FLAGS.adapter}
    kz.run.finetune(start, model=FLAGS.model, **options, **shared.run_arguments())
    return 0


if __name__ == "__main__":
    command.run(main, __doc__)
