"""Train a model of the catalog on a task, evaluate it and print some predictions.

  python -m experiments.run --model=lstm_seq2seq_attention
  python -m experiments.run --model=mlp_classifier --task=tfds:mnist --data_dir=PATH
  python -m experiments.run --flagfile=stsb --data_dir=PATH
  python -m experiments.run --list_models='*seq2seq*'

The same --run_dir a second time continues where the run stopped.
"""

from absl import flags

from experiments import command, recipe_files
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run()
with command.flag_group("Model"):
    flags.DEFINE_string("list_models", None, "Print the models whose names match this wildcard pattern, and stop.")
with command.flag_group("Task and data"):
    flags.DEFINE_bool("list_tasks", False, "Print the tasks and the kinds of model that they train, and stop.")
with command.flag_group("Run and output"):
    flags.DEFINE_bool("list_recipes", False, "Print the names of the recipes, for --flagfile, and stop.")


def main(arguments):
    """Prints a list of models or tasks, or trains."""
    del arguments
    import kerazoo as kz

    shared.use_imports()
    if FLAGS.list_models is not None:
        return print_models(kz, FLAGS.list_models)
    if FLAGS.list_tasks:
        return print_tasks(kz)
    if FLAGS.list_recipes:
        return print_recipes()
    name = command.require("model")
    shared.use_processes()
    shared.use_cache()
    kz.run.train(name, **shared.run_arguments())
    return 0


def more_help():
    """Returns the help on the options of the model and of the task that were given with `--help`."""
    if FLAGS.model is None and FLAGS.task is None:
        return ["", "--help --model=NAME --task=NAME lists the sizes of a model and the options of a task as well."]
    import kerazoo as kz

    shared.use_imports()
    lines, spec = [], None
    if FLAGS.model is not None:
        spec = kz.describe(FLAGS.model)
        lines += ["", f"Sizes of the model {FLAGS.model} ({spec.kind}), as --set=OPTION=VALUE:"]
        lines += command.option_help(spec.explain())
    task = FLAGS.task or kz.tasks.default(spec.kind)
    options = {f"--{name}" if name in FLAGS else name: about for name, about in kz.tasks.explain(task).items()}
    lines += ["", f"Options of the task {task}, as flags or as --task_option=OPTION=VALUE:"]
    lines += command.option_help(options)
    command.set_defaults({**kz.tasks.training(task, spec and spec.kind), **(spec.training if spec else {})})
    return lines


def print_models(kz, pattern):
    """Prints a row for each model whose name matches `pattern`."""
    names = kz.list_models(pattern)
    if not names:
        raise ValueError(f"--list_models: no model matches {pattern!r}. All: --list_models='*'.")
    width = max(map(len, names))
    print(f"{'model':{width}}  {'kind':17}  {'parameters':>11}  configuration")
    for name in names:
        spec = kz.describe(name)
        parameters = f"{spec.parameters:,}" if spec.parameters else ""
        print(f"{name:{width}}  {spec.kind:17}  {parameters:>11}  {spec.reference or ''}")
    return 0


def print_recipes():
    """Prints a row for each recipe."""
    names = recipe_files.names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {recipe_files.description(name)}")
    return 0


def print_tasks(kz):
    """Prints a row for each task."""
    rows = kz.tasks.names()
    width = max(map(len, rows))
    for name in rows:
        print(f"{name:{width}}  {command.in_terms_of_flags(str(kz.tasks.describe(name)))}")
    return 0


if __name__ == "__main__":
    command.run(main, __doc__, more_help=more_help, resumes=True)
