"""Train a recipe or a run again, and tell whether the result lies within its spread.

python -m experiments.reproduce stsb --data_dir=../shared/data/stsb
python -m experiments.reproduce RUN --spread=0.01
python -m experiments.reproduce RECIPE --from=RUN      # a recipe of fine-tuning

A recipe is named as for --flagfile. It states its results in comments, one in each line, with or without a spread:

    # result: spearman 0.661 +- 0.010 on test

It is trained, and evaluated with the flags of the command `experiments.evaluate` in its comment. A run is trained again
from its record, and compared by its results on dev; on the machine and with the versions of its receipt they are equal.
The exit code is 0 if all results are within their spread, else 1.
"""

import pathlib
import re
import shlex
import subprocess
import sys

from absl import flags

from experiments import command, recipe_files
from experiments import flags as shared

FLAGS = flags.FLAGS
RESULT = re.compile(r"# result: (\S+) (-?[\d.]+)(?: \+- ([\d.]+))? on (train|dev|test)\s*")
FINETUNE = re.compile(r"# python -m experiments\.finetune ")
EVALUATE = re.compile(r"# python -m experiments\.evaluate --run_dir=RUN(.*)")
OUTSIDE = 1

shared.define_cache()
shared.define_verbose()
with command.flag_group("Run and output", {"run_dir": "runs/reproduced-NAME"}):
    flags.DEFINE_string("run_dir", None, "Folder of the new run.")
    flags.DEFINE_float("spread", None, "Of a run: how far results may differ.", lower_bound=0)
    flags.DEFINE_string("from", None, "Of a recipe of fine-tuning: the run that it begins with.")
with command.flag_group("Task and data", {"data_dir": "that of the recipe or the run"}):
    flags.DEFINE_string("data_dir", None, "Folder of the data.")


def main(arguments):
    """Trains, compares and prints a line for each result."""
    import kerazoo as kz

    if len(arguments) != 1:
        raise command.UsageError(f"one RECIPE or RUN is needed, and got {len(arguments)}.")
    given = pathlib.Path(arguments[0])
    if not given.exists() and arguments[0] in recipe_files.names():
        given = recipe_files.path(arguments[0])
    target = FLAGS.run_dir or f"runs/reproduced-{given.stem}"
    shared.use_cache()
    if given.is_dir():
        rows = kz.run.reproduce(given, target, FLAGS.data_dir, FLAGS.spread, print_fn=command.log)
    else:
        rows = reproduce_recipe(kz, given, target)
    print("\n".join(str(row) for row in rows))
    return 0 if all(row.within or row.spread is None for row in rows) else OUTSIDE


def reproduce_recipe(kz, recipe, target):
    """Trains and evaluates a recipe by the commands of a user, and returns the comparisons."""
    if not recipe.is_file():
        names = f"{command.MODULES}run --list_recipes"
        raise command.UsageError(f"{recipe}: is neither a recipe nor a run. The recipes: {names}.")
    text = recipe.read_text(encoding="utf-8")
    stated = []
    for name, value, spread, split in RESULT.findall(text):
        rounding = 0.5 * 10.0 ** -len(value.partition(".")[2])
        stated.append((split, name, float(value), float(spread) if spread else None, rounding))
    if not stated:
        raise command.UsageError(f"{recipe}: states no result, as '# result: accuracy 0.9 +- 0.01 on test'.")
    data = [f"--data_dir={FLAGS.data_dir}"] if FLAGS.data_dir is not None else []
    cache = [f"--cache_dir={FLAGS.cache_dir}"] if FLAGS.cache_dir is not None else []
    script, start = "run", []
    if FINETUNE.search(text):
        script, start = "finetune", [f"--from={command.require('from')}"]
    run_command(script, f"--flagfile={recipe}", f"--run_dir={target}", *start, *data, *cache)
    options = EVALUATE.search(text)
    for split in sorted({split for split, *_ in stated}):
        more = shlex.split(options[1]) if options else []
        run_command("evaluate", f"--run_dir={target}", f"--split={split}", *more, *cache)
    return kz.run.compare_results(kz.run.RunDirectory(target), stated)


def run_command(name, *arguments):
    """Runs a command of this package in a process of its own; ends with its exit code if it fails."""
    # `quiet` has put the standard error of this process elsewhere.
    streams = {"stderr": sys.stderr} if hasattr(sys.stderr, "buffer") else {}
    done = subprocess.run([sys.executable, "-m", f"experiments.{name}", *arguments], check=False, **streams)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
