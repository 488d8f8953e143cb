"""Write a trained run as a SavedModel that takes raw input and returns answers.

  python -m experiments.export --run_dir=RUN --to=DIR
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_cache()
flags.DEFINE_string("to", None, "Folder of the SavedModel; must not exist.")
flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which state of the run.")
flags.DEFINE_string("data_dir", None, "Where the data lies now, if it moved; only --verify reads it.")
flags.DEFINE_bool("verify", True, "Load the SavedModel in a fresh process and compare its answers with the model's.")


def main(arguments):
    """Exports and verifies."""
    del arguments
    import kerazoo as kz

    shared.use_cache()
    run_dir, folder = command.require("run_dir"), command.require("to")
    path = kz.run.export(run_dir, folder, checkpoint=FLAGS.checkpoint, verify=FLAGS.verify, data_dir=FLAGS.data_dir)
    proof = "; a fresh process with nothing but TensorFlow gives the same answers" if FLAGS.verify else ""
    print(f"{path}: written{proof}.")


if __name__ == "__main__":
    command.run(main, __doc__)
