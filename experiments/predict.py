"""Answer raw input with a trained run: the arguments, or the lines of standard input, one answer a line.

  python -m experiments.predict --run_dir=RUN kerazoo tensorflow
  python -m experiments.predict --run_dir=RUN < words.txt
  python -m experiments.predict --run_dir=RUN digit.png          # a model of images
"""

import itertools
import sys

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which state of the run.")
flags.DEFINE_integer("max_length", None, "Most tokens of an answer.", lower_bound=1)
flags.DEFINE_integer("batch_size", 256, "Lines that are answered at once.", lower_bound=1)


def main(arguments):
    """Prints an answer for each input."""
    import kerazoo as kz

    answer = kz.load(command.require("run_dir"), checkpoint=FLAGS.checkpoint)
    options = {"max_length": FLAGS.max_length} if FLAGS.max_length else {}
    lines = iter(arguments) if arguments else (line.rstrip("\r\n") for line in _standard_input())
    while batch := list(itertools.islice(lines, FLAGS.batch_size)):
        for text in answer(answer.task.read(batch), **options):
            print(text, flush=True)


def _standard_input():
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise command.InputError(f"standard input:{number}: not UTF-8: byte {line[error.start]:#04x}.") from error


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
