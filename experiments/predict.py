"""Predict from raw input with a trained run: the arguments, or the lines of standard input, one prediction a line.

  python -m experiments.predict --run_dir=RUN kerazoo tensorflow
  python -m experiments.predict --run_dir=RUN < words.txt
  python -m experiments.predict --run_dir=RUN                    # on a terminal: line by line, as it is generated
  python -m experiments.predict --run_dir=RUN --n_best=5 --scores kerazoo
  python -m experiments.predict --run_dir=RUN --search=sample --temperature=0.7 --seed=1 kerazoo
  python -m experiments.predict --run_dir=RUN digit.png          # a model of images

With --n_best=N every input has up to N lines, the best first. With --scores a line begins with the score and a tab.
With --alignment it ends with a tab and pairs of source and target positions, as in 0-0 1-2. With --given a line of
input is a source, a tab and a target, and the output is the log-probability of the target and its perplexity.
"""

import itertools
import logging
import sys

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_search()
shared.define_checkpoint()
with command.flag_group("Run and output"):
    flags.DEFINE_integer("batch_size", 256, "Lines of one batch.", lower_bound=1)
    flags.DEFINE_bool("scores", False, "Print the score of each prediction before it.")
    flags.DEFINE_bool("alignment", False, "Print for each token the source position with the largest attention.")
    flags.DEFINE_bool("given", False, "Score given targets and generate none: source, tab, target.")
    flags.DEFINE_integer("block", 4, "Tokens that are printed at a time on a terminal.", lower_bound=1)


def main(arguments):
    """Prints a prediction for each input."""
    import kerazoo as kz

    if FLAGS.given and (FLAGS.scores or FLAGS.alignment):
        raise command.UsageError("--given generates nothing, so --scores and --alignment cannot be used with it.")
    interactive = not arguments and sys.stdin.isatty()
    if sys.stderr.isatty():
        logging.basicConfig(format="%(message)s")
        logging.getLogger("kerazoo").setLevel(logging.INFO)
    predictor = kz.load(shared.run_dirs(command.require("run_dir")), checkpoint=FLAGS.checkpoint)
    options = shared.search_options()
    if interactive:
        return converse(predictor, options)
    lines = iter(arguments) if arguments else (line.rstrip("\r\n") for line in _standard_input())
    while batch := list(itertools.islice(lines, FLAGS.batch_size)):
        for line in output_lines(predictor, batch, options):
            print(line, flush=True)
    return 0


def output_lines(predictor, batch, options):
    """Yields the lines of output for a batch of lines of input."""
    if FLAGS.given:
        pairs = [_pair(line) for line in batch]
        scored = predictor.score(*zip(*pairs))
        yield from (f"{score:.4f}\t{each:.4f}" for score, each in zip(scored.scores, scored.perplexities))
    elif FLAGS.scores or FLAGS.alignment or options.get("n_best", 1) > 1:
        for predictions in predictor.predictions(predictor.task.read(batch), alignment=FLAGS.alignment, **options):
            yield from map(_line, predictions)
    else:
        yield from predictor(predictor.task.read(batch), **options)


def converse(predictor, options):
    """Predicts from what is typed, line by line, until the end of the input."""
    while True:
        print("> ", end="", flush=True)  # `input` would write to file descriptor 2, which is redirected
        try:
            line = input()
        except EOFError:
            print()
            return 0
        if not line:
            continue
        plain = options.get("search", "greedy") in ("greedy", "sample") and options.get("n_best", 1) == 1
        if not plain or not predictor.generates or FLAGS.scores or FLAGS.alignment or FLAGS.given:
            print(*output_lines(predictor, [line], options), sep="\n")
            continue
        for text in predictor.stream(predictor.task.read([line])[0], block=FLAGS.block, **options):
            print(text, end="", flush=True)
        print()


def _line(prediction):
    parts = [f"{prediction.score:.4f}"] if FLAGS.scores else []
    parts.append(str(prediction.text))
    if FLAGS.alignment:
        pairs = enumerate(prediction.alignment.argmax(-1))
        parts.append(" ".join(f"{source}-{target}" for target, source in pairs))
    return "\t".join(parts)


def _pair(line):
    source, tab, target = line.partition("\t")
    if not tab:
        raise command.InputError(f"--given: a line must be a source, a tab and a target; got {line!r}.")
    return source, target


def _standard_input():
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise command.InputError(f"standard input:{number}: not UTF-8: byte {line[error.start]:#04x}.") from error


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
