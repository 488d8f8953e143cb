"""Write a trained run as a SavedModel from raw input to prediction.

python -m experiments.export --run_dir=RUN --to=DIR
python -m experiments.export --run_dir=RUN --to=DIR --search=beam --num_beams=8 --option=length_penalty=power
python -m experiments.export --run_dir=RUN --to=DIR --format=ctranslate2 --quantize=int8

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
    flags.DEFINE_enum(
        "format", "saved_model", ["saved_model", "ctranslate2", "onnx", "litert", "safetensors"], "What is written."
    )
    flags.DEFINE_string(
        "quantize",
        None,
        "For ctranslate2: int8, int8_float32, int16, float16 or bfloat16; for litert: int8 or float16.",
    )
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
    arguments |= {"format": FLAGS.format, "quantize": FLAGS.quantize}
    path = kz.run.export(run_dir, folder, **arguments, **shared.search_options())
    verified = "; a fresh process gives the same outputs" if FLAGS.verify else ""
    if FLAGS.verify and FLAGS.quantize:
        verified = "; VERIFY.json has how far its outputs differ from those of the run"
    print(f"{path}: written{verified}.")


if __name__ == "__main__":
    command.run(main, __doc__)
