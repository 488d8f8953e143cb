"""Make the shortlist of a run: the few target tokens among which a search chooses, which is faster.

  python -m experiments.shortlist --run_dir=RUN
  python -m experiments.predict --run_dir=RUN --option=shortlist=RUN/shortlist.npz --search=beam < lines

For each token of a source the shortlist has the target tokens that it is most often translated to in the training
examples, and for all sources the most frequent target tokens. A search over it computes no other logits, which pays
where the vocabulary is large and few sources are decoded at a time. A token outside of the list is never generated:
measure what it costs with experiments.evaluate and the same --option.
"""

import os

from absl import flags

import kerazoo as kz
from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_import()
shared.define_cache()
with command.flag_group("Shortlist"):
    flags.DEFINE_integer("num_candidates", 20, "Target tokens for each source token.", lower_bound=1)
    flags.DEFINE_integer("num_frequent", 500, "The most frequent target tokens that every list has.", lower_bound=0)
    flags.DEFINE_integer("size", 1024, "Tokens of the list of a batch of sources; the least probable are left out.",
                         lower_bound=1)  # fmt: skip
with command.flag_group("Run and output", {"to": "RUN/shortlist.npz"}):
    flags.DEFINE_string("data_dir", None, "Folder or file of the data, if it moved.")
    flags.DEFINE_string("to", None, "File of the shortlist.")


def main(arguments):
    """Writes the shortlist, and prints what it holds of dev targets."""
    del arguments
    shared.use_imports()
    shared.use_cache()
    run_dir = command.require("run_dir")
    found = kz.run.fit_shortlist(
        run_dir,
        FLAGS.num_candidates,
        FLAGS.num_frequent,
        FLAGS.size,
        data_dir=FLAGS.data_dir,
        imports=getattr(FLAGS, "import"),
    )
    path = FLAGS.to or os.path.join(run_dir, "shortlist.npz")
    found.shortlist.save(path)
    print(f"{path}: lists of {found.shortlist.size:,} of {found.shortlist.vocabulary_size:,} target tokens")
    if found.examples:
        print(
            f"dev: the lists of {found.examples} examples, one by one, hold {found.tokens:.2%} of the tokens of their "
            f"targets, and all tokens of {found.targets:.1%} of the targets"
        )
    return 0


if __name__ == "__main__":
    command.run(main, __doc__)
