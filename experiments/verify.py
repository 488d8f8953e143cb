"""Compare exported models with the models that they were exported from.

python -m experiments.verify DIR ...
python -m experiments.verify DIR --tolerance=0.05 --min_equal=0.9

Each folder holds examples and what the model gave for them when it was exported. A fresh process without kerazoo runs
them again; the exit code is 4 if any output differs.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_verbose()
with command.flag_group("Run and output", {"tolerance": "that of the export", "min_equal": "that of the export"}):
    flags.DEFINE_float("tolerance", None, "Largest difference between two numbers.", lower_bound=0)
    flags.DEFINE_float("min_equal", None, "Share of the texts that must be equal.", lower_bound=0, upper_bound=1)


def main(arguments):
    """Compares each model."""
    import kerazoo as kz

    if not arguments:
        raise command.UsageError("name the folders of exported models.")
    for path in arguments:
        found = kz.verify(path, FLAGS.tolerance, FLAGS.min_equal)
        for signature, outputs in found["compared"].items():
            for name, counts in outputs.items():
                if name != "ties":
                    print(f"{signature}\t{name}\t{counts['equal']} of {counts['rows']} equal\t"
                          f"largest difference {counts['largest_difference']:.2g}")  # fmt: skip
        changed = f"; changed since the export: {', '.join(found['changed'])}" if found["changed"] else ""
        print(f"{path}: gives what it gave when it was exported{changed}.")


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
