"""Look inside a trained run: pictures of what it attends to, what a prediction depends on, and how right it is.

  python -m experiments.inspect --run_dir=RUN kerazoo tensorflow
  python -m experiments.inspect --run_dir=RUN digit.png
  python -m experiments.inspect --run_dir=RUN                      # two of the dev examples
  python -m experiments.inspect --run_dir=RUN --parts=attention --layers='decoder.*' --to=pictures kerazoo
  python -m experiments.inspect --run_dir=RUN --parts=attribution --target=7 digit.png

An input is what experiments.predict takes: a text, the name of a file of an image, a sound or a series, or several
columns with tabs between them. The pictures are PNG files in the folder `inspect` of the run, or in --to; no window is
opened. The parts are

  attention    of each layer: a heat map for each head, of which position attends to which
  attribution  of the prediction, or of --target, to the input: saliency, integrated gradients and occlusion
  gates        and states of each LSTM layer along the sequence
  embeddings   of dev examples and of the inputs on a plane, and the nearest dev examples of each input
  confusion    of the classes of the dev examples
  calibration  of the probabilities of the dev examples

A part that a model does not have is named with the reason.
"""

import sys

from absl import flags

import kerazoo as kz
from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS
PARTS = ["attention", "attribution", "gates", "embeddings", "confusion", "calibration"]

shared.define_run_dir()
shared.define_import()
shared.define_cache()
shared.define_checkpoint()
with command.flag_group("Task and data", {"data_dir": "that of the run"}):
    flags.DEFINE_string("data_dir", None, "Folder of the data, if it has moved since the training.")
    flags.DEFINE_integer("limit", 1000, "Maximum number of dev examples.", lower_bound=1)
with command.flag_group("Run and output", {"to": "RUN/inspect", "parts": "all"}):
    flags.DEFINE_list("parts", None, f"Parts to inspect: {', '.join(PARTS)}.")
    flags.DEFINE_string("target", None, "Class or text that the attribution is of, in place of the prediction.")
    flags.DEFINE_string("layers", "*", "Pattern of the layers whose attention or gates are plotted, such as decoder.*")
    flags.DEFINE_string("to", None, "Folder of the pictures.")


def main(arguments):
    """Writes the pictures and prints their names and the tables."""
    shared.use_cache()
    shared.use_imports()
    found = kz.run.inspect_run(
        command.require("run_dir"),
        arguments,
        to=FLAGS.to,
        parts=FLAGS.parts or PARTS,
        target=FLAGS.target,
        layers=FLAGS.layers,
        limit=FLAGS.limit,
        data_dir=FLAGS.data_dir,
        checkpoint=FLAGS.checkpoint,
    )
    for title, rows in found.tables.items():
        print("\n".join([kz.run.printable(title), *table_lines(rows), ""]))
    for path, about in found.pictures.items():
        print(f"{path}: {kz.run.printable(about)}")
    for part, reason in found.left_out.items():
        print(f"Left out: {part}: {kz.run.printable(reason)}.".replace("..", "."), file=sys.stderr)


def table_lines(rows):
    """Returns the rows of a table as lines, the columns below each other."""
    rows = [[kz.run.printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
