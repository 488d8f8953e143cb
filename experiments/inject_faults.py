"""Write a series with faults in its last rows and a column that tells them, to measure what finds them.

python -m experiments.inject_faults --data=ETTh1.csv.gz --to=faulty.csv

The faults are those of kerazoo.data.inject_faults: spikes, flat sections, and sections that are shifted. The column
`fault` has the kind of the fault of a row, 0 for none.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_verbose()
with command.flag_group("Task and data"):
    flags.DEFINE_string("data", None, "CSV or TSV file with a header, plain or .gz.")
    flags.DEFINE_string("columns", None, "Columns of numbers, with commas between them; all where none are named.")
with command.flag_group("Faults"):
    flags.DEFINE_list("kinds", ["spike", "flat", "shift"], "Kinds of faults.")
    flags.DEFINE_integer("count", 10, "Faults of each kind.", lower_bound=1)
    flags.DEFINE_integer("rows", 24, "Rows of a section.", lower_bound=1)
    flags.DEFINE_float("size", 4.0, "Standard deviations by which a spike is off; a shifted section by half of them.")
    flags.DEFINE_float("share", 0.15, "Share of the rows, at the end, that have faults.", lower_bound=0, upper_bound=1)
    flags.DEFINE_integer("seed", 0, "Equal seeds give equal faults.", lower_bound=0)
with command.flag_group("Run and output"):
    flags.DEFINE_string("to", None, "CSV file to write.")


def main(arguments):
    """Writes the series with faults."""
    del arguments
    import kerazoo as kz

    target = command.require("to")
    count = kz.data.write_faulty_series(
        command.require("data"),
        target,
        FLAGS.columns and FLAGS.columns.split(","),
        FLAGS.kinds,
        share=FLAGS.share,
        count=FLAGS.count,
        length=FLAGS.rows,
        size=FLAGS.size,
        seed=FLAGS.seed,
    )
    print(f"{target}: written, {count:,} rows of it with faults.")


if __name__ == "__main__":
    command.run(main, __doc__)
