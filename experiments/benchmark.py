"""Measure speed on this machine, with everything that is compared in one run; prints a table, or JSON with --json.

python -m experiments.benchmark train            # dense, LSTM and Transformer, with Keras' own loop, and KerasHub and
                                                 # PyTorch if they are installed
python -m experiments.benchmark data --data_dir=PATH     # tokenizing and feeding, against the training step
python -m experiments.benchmark decode           # searches, with KerasHub, transformers and CTranslate2
                                                 # if they are installed
python -m experiments.benchmark predict --run_dir=RUN    # from the start of a process to its answers
python -m experiments.benchmark devices          # on paper: memory, exchanged bytes, efficiency of 8 to 512 devices
python -m experiments.benchmark serve --model=SAVED      # a server under load, and what it costs beside the model
python -m experiments.benchmark exports SAVED CT2 ONNX   # exported models of all formats, for 1 and 16 examples
"""

import json
import re

from absl import flags

from experiments import command
from experiments import flags as shared
from experiments.benchmarks import (
    decode_speed,
    device_costs,
    export_speed,
    feed_cost,
    predict_speed,
    serve_speed,
    train_speed,
)

FLAGS = flags.FLAGS
BENCHMARKS = {
    "train": train_speed,
    "data": feed_cost,
    "decode": decode_speed,
    "predict": predict_speed,
    "devices": device_costs,
    "serve": serve_speed,
    "exports": export_speed,
}

shared.define_verbose()
with command.flag_group("All benchmarks"):
    flags.DEFINE_integer("repeats", 5, "Measured epochs or calls of each system, in turn.", lower_bound=1)
    flags.DEFINE_bool("json", False, "Print the figures as JSON and not as a table.")
with command.flag_group("train and decode"):
    flags.DEFINE_multi_string("only", [], "Measure only where this regular expression is found in the name of the case "
                                          "followed by that of the system; may be repeated.")  # fmt: skip

    @flags.validator("only", "must be regular expressions, such as 'JAX|PyTorch'")
    def _check_only(value):
        try:
            return all(map(re.compile, value))
        except re.error:
            return False


with command.flag_group("train"):
    flags.DEFINE_bool("large", False, "Measure the large cases as well, which are made for a GPU.")
with command.flag_group("data"):
    flags.DEFINE_integer("batch_size", 32, "Examples of one optimizer step.", lower_bound=1)
    flags.DEFINE_string("data_dir", None, "Table of pairs of texts, as for --task=tsv; random words by default.")
    flags.DEFINE_integer("steps", 40, "Training steps of one measured epoch.", lower_bound=2)
with command.flag_group("data and predict"):
    flags.DEFINE_integer("lines", 20000, "Lines that are tokenized or predicted.", lower_bound=1)
with command.flag_group("predict"):
    flags.DEFINE_string("run_dir", None, "Folder of a run that takes a text.")
with command.flag_group("devices"):
    flags.DEFINE_bool("measure", False, "Count the bytes of a small model on virtual devices beside the formulas.")
with command.flag_group("predict and serve", {"texts": "words of Python's help texts"}):
    flags.DEFINE_string("model", None, "Folder of a SavedModel that takes a text, for `predict` beside the run.")
    flags.DEFINE_string("texts", None, "File of the texts, one in each line.")
with command.flag_group("serve"):
    flags.DEFINE_integer("requests", 10_000, "Requests that are sent in a row.", lower_bound=10)
    flags.DEFINE_integer("parallel", 200, "Requests that are sent at once.", lower_bound=1)
with command.flag_group("exports"):
    flags.DEFINE_integer("num_beams", 1, "Beams of CTranslate2; other formats hold their search.", lower_bound=1)


def main(arguments):
    """Runs the benchmark that the first argument names."""
    name, *folders = arguments or [""]
    if name not in BENCHMARKS or (folders and name != "exports"):
        given = " ".join(arguments) or "nothing"
        raise command.UsageError(f"name one benchmark: {', '.join(BENCHMARKS)}; got {given}.")
    benchmark = BENCHMARKS[name]
    rows = benchmark.results(folders) if name == "exports" else benchmark.results()
    print(json.dumps(rows, indent=2) if FLAGS.json else benchmark.table(rows))


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
