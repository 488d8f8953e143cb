"""Answer raw input with a trained run: the arguments, or the lines of standard input, one answer a line.

  python -m experiments.predict --run_dir=RUN kerazoo tensorflow
  python -m experiments.predict --run_dir=RUN < words.txt
  python -m experiments.predict --run_dir=RUN                    # on a terminal: asks, and writes as it thinks
  python -m experiments.predict --run_dir=RUN --n_best=5 --scores kerazoo
  python -m experiments.predict --run_dir=RUN --search=sample --temperature=0.7 --seed=1 kerazoo
  python -m experiments.predict --run_dir=RUN digit.png          # a model of images

With --n_best=N every input has up to N lines, the best first. With --scores a line begins with the score and a tab,
with --alignment it ends with a tab and pairs of source token and answer token, as in 0-0 1-2. With --given a line of
input is a source, a tab and an answer, and what is printed is the log-probability of the answer and its perplexity.
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
flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which state of the run.")
flags.DEFINE_integer("batch_size", 256, "Lines that are answered at once.", lower_bound=1)
flags.DEFINE_bool("scores", False, "Print the score of each answer before it.")
flags.DEFINE_bool("alignment", False, "Print behind each answer which source token each of its tokens looked at most.")
flags.DEFINE_bool("given", False, "Score answers that are given instead of writing some: source, tab, answer.")
flags.DEFINE_integer("block", 4, "Tokens that appear at a time on a terminal.", lower_bound=1)


def main(arguments):
    """Prints an answer for each input."""
    import kerazoo as kz

    if FLAGS.given and (FLAGS.scores or FLAGS.alignment):
        raise command.UsageError("--given writes no answers, so --scores and --alignment have nothing to show.")
    asking = not arguments and sys.stdin.isatty()
    if sys.stderr.isatty():
        logging.basicConfig(format="%(message)s")
        logging.getLogger("kerazoo").setLevel(logging.INFO)
    answer = kz.load(shared.run_dirs(command.require("run_dir")), checkpoint=FLAGS.checkpoint)
    options = shared.search_options()
    if asking:
        return ask(answer, options)
    lines = iter(arguments) if arguments else (line.rstrip("\r\n") for line in _standard_input())
    while batch := list(itertools.islice(lines, FLAGS.batch_size)):
        for line in print_lines(answer, batch, options):
            print(line, flush=True)
    return 0


def print_lines(answer, batch, options):
    """Yields what is printed for some lines of input."""
    if FLAGS.given:
        pairs = [_pair(line) for line in batch]
        scored = answer.score(*zip(*pairs))
        yield from (f"{score:.4f}\t{each:.4f}" for score, each in zip(scored.scores, scored.perplexities))
    elif FLAGS.scores or FLAGS.alignment or options.get("n_best", 1) > 1:
        for several in answer.answers(answer.task.read(batch), alignment=FLAGS.alignment, **options):
            yield from map(_line, several)
    else:
        yield from answer(answer.task.read(batch), **options)


def ask(answer, options):
    """Answers what is typed, line by line, until the end of the input."""
    while True:
        print("> ", end="", flush=True)  # `input` would write it to file descriptor 2, which is not the terminal now
        try:
            line = input()
        except EOFError:
            print()
            return 0
        if not line:
            continue
        plain = options.get("search", "greedy") in ("greedy", "sample") and options.get("n_best", 1) == 1
        if not plain or not hasattr(answer.model, "generate") or FLAGS.scores or FLAGS.alignment or FLAGS.given:
            print(*print_lines(answer, [line], options), sep="\n")
            continue
        for text in answer.stream(answer.task.read([line])[0], block=FLAGS.block, **options):
            print(text, end="", flush=True)
        print()


def _line(found):
    parts = [f"{found.score:.4f}"] if FLAGS.scores else []
    parts.append(str(found.text))
    if FLAGS.alignment:
        parts.append(" ".join(f"{where}-{place}" for place, where in enumerate(found.alignment.argmax(-1))))
    return "\t".join(parts)


def _pair(line):
    source, tab, target = line.partition("\t")
    if not tab:
        raise command.InputError(f"--given: a line must be a source, a tab and an answer; got {line!r}.")
    return source, target


def _standard_input():
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise command.InputError(f"standard input:{number}: not UTF-8: byte {line[error.start]:#04x}.") from error


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
