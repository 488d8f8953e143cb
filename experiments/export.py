"""Write a trained run as a SavedModel from raw input to prediction.

python -m experiments.export --run_dir=RUN --to=DIR
python -m experiments.export --run_dir=RUN --to=DIR --search=beam --num_beams=8 --option=length_penalty=power

The SavedModel contains the tokenizer and the search, which is that of `predict` with the same flags. A fresh process
with TensorFlow alone must give the same outputs; `python -m experiments.verify DIR` compares them again later.
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
shared.define_threshold()
with command.flag_group("Task and data", {"data_dir": "that of the run"}):
    flags.DEFINE_string("data_dir", None, "Folder of the data, if it has moved since the training; for --verify.")
with command.flag_group("Run and output"):
    flags.DEFINE_string("to", None, "Folder of the SavedModel, which must be new or empty.")
    flags.DEFINE_bool("verify", True, "Load the SavedModel in a fresh process and compare its outputs.")
    flags.DEFINE_list("signatures", None, "Signatures beside serving_default, of generate, score, embed, logits and "
                      "step; empty for none. All that fit where it is not given.")  # fmt: skip


def main(arguments):
    """Exports and verifies."""
    del arguments
    import kerazoo as kz

    shared.use_cache()
    shared.use_imports()
    run_dir, folder = command.require("run_dir"), command.require("to")
    arguments = {"checkpoint": FLAGS.checkpoint, "verify": FLAGS.verify, "data_dir": FLAGS.data_dir}
    arguments |= {"threshold_quantile": FLAGS.threshold_quantile, "signatures": FLAGS.signatures}
    path = kz.run.export(run_dir, folder, **arguments, **shared.search_options())
    verified = "; a fresh process with nothing but TensorFlow gives the same outputs" if FLAGS.verify else ""
    print(f"{path}: written{verified}.")


if __name__ == "__main__":
    command.run(main, __doc__)
