"""Search a collection of texts by meaning with a trained dual encoder, or measure how well that works.

  python -m experiments.search --run_dir=RUN --collection=docs.tsv "heat conduction in slabs"
  python -m experiments.search --run_dir=RUN --collection=docs.jsonl --text_column=title,text --queries=queries.tsv
  python -m experiments.search --run_dir=RUN --collection=docs.txt              # on a terminal: query by query
  python -m experiments.search --run_dir=RUN --collection=docs.tsv --queries=queries.tsv --qrels=qrels.tsv

A collection is a table with an id and a text in each line (.tsv, .csv, or .jsonl with the fields id and text, plain or
.gz), or plain lines (.txt), whose ids are their numbers. Each line of output is the id of a text, its cosine with the
query and the text, separated by tabs; where there are several queries, the id of the query comes first. The vectors of
the collection are kept in the run, and computed again when the collection or the weights change.

With --qrels the search is measured on judged queries beside BM25, and evaluation-NAME.json is written into the run.
"""

import itertools
import os
import pathlib
import sys

from absl import flags

import kerazoo as kz
from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_import()
shared.define_checkpoint()
with command.flag_group("Collection and queries"):
    flags.DEFINE_string("collection", None, "File of the texts that are searched.")
    flags.DEFINE_string("queries", None, "File of queries with their ids, in the format of a collection.")
    flags.DEFINE_string("qrels", None, "File of judgments: a query's id, a text's id and a grade in each line.")
    flags.DEFINE_multi_string("gain", [], "Gain of a grade as GRADE=GAIN, 0 for not relevant; may be repeated. "
                              "Without it a grade is its own gain.")  # fmt: skip
    flags.DEFINE_string("id_column", None, "Column of the ids of the collection: number from 0, name, or JSON field.")
    flags.DEFINE_string("text_column", None, "Column of its texts; several with commas are joined: title,text.")
    flags.DEFINE_string("query_column", None, "Column of the texts of --queries.")
    flags.DEFINE_bool("header", None, "Whether the first line of the tables names their columns.")
    flags.DEFINE_enum(
        "bad_lines",
        "stop",
        ["stop", "skip"],
        "Whether a line without an id or a text, or a blank query, stops the command.",
    )
with command.flag_group("Search"):
    flags.DEFINE_integer("k", 10, "Texts that are found for each query.", lower_bound=1)
    flags.DEFINE_string("hybrid", None, "Weight of the model, 0 to 1, in a sum with BM25; tune: with --qrels, the best "
                        "one on half of the queries.")  # fmt: skip
with command.flag_group("Run and output"):
    flags.DEFINE_string("name", None, "Name of the collection in evaluation-NAME.json. Defaults to that of its folder.")
    flags.DEFINE_integer("batch_size", 256, "Texts of one batch.", lower_bound=1)
    flags.DEFINE_bool("keep_index", True, "Whether the vectors of the collection are kept in the run.")


def main(arguments):
    """Answers queries, or measures the search."""
    if FLAGS.qrels and (arguments or not FLAGS.queries):
        raise command.UsageError("--qrels needs --queries=FILE, whose ids it has, and no queries as arguments.")
    if arguments and FLAGS.queries:
        raise command.UsageError("give queries either as arguments or as --queries=FILE.")
    hybrid, gains = _hybrid(), _gains()
    collection = kz.run.read_texts(
        command.require("collection"), FLAGS.id_column, FLAGS.text_column, FLAGS.bad_lines, FLAGS.header
    )
    queries = FLAGS.queries and kz.run.read_texts(
        FLAGS.queries, text_column=FLAGS.query_column, bad_lines=FLAGS.bad_lines, header=FLAGS.header
    )
    judgments = FLAGS.qrels and kz.run.read_judgments(FLAGS.qrels, gains)
    shared.use_imports()
    run_dir = command.require("run_dir")
    predictor = kz.load(run_dir, checkpoint=FLAGS.checkpoint)
    predictor.batch_size = FLAGS.batch_size
    index = kz.run.Index(predictor, collection, run_dir if FLAGS.keep_index else None)
    if judgments:
        name = FLAGS.name or pathlib.Path(os.path.abspath(FLAGS.collection)).parent.name
        result = kz.run.evaluate_search(index, queries, judgments, hybrid)
        kz.run.publish_search(kz.run.RunDirectory(run_dir), name, result)
    elif queries:
        for name, found in zip(queries.ids, index.search(queries.texts, FLAGS.k, hybrid)):
            _print(found, [name])
    elif arguments:
        for number, found in enumerate(index.search(arguments, FLAGS.k, hybrid), 1):
            _print(found, [str(number)] if len(arguments) > 1 else [])
    elif sys.stdin.isatty():
        _converse(index, hybrid)
    else:
        _search_lines(index, hybrid)
    return 0


def _search_lines(index, hybrid):
    """Answers the queries of standard input, whose numbers are those of their lines."""
    lines = iter(kz.data.read_lines("-"))
    while batch := list(itertools.islice(lines, FLAGS.batch_size)):
        for number, line in batch:
            if not line.strip() and FLAGS.bad_lines == "stop":
                raise command.InputError(f"-:{number}: a query is blank. Leave such lines out by --bad_lines=skip.")
        queries = [(number, line) for number, line in batch if line.strip()]
        found = index.search([line for _, line in queries], FLAGS.k, hybrid)
        for (number, _), results in zip(queries, found):
            _print(results, [str(number)])


def _converse(index, hybrid):
    """Answers what is typed, query by query, until the end of the input."""
    while True:
        print("> ", end="", flush=True)  # `input` would write to file descriptor 2, which is redirected
        try:
            line = input()
        except EOFError:
            print()
            return
        if line.strip():
            _print(index.search([line], FLAGS.k, hybrid)[0], [])


def _print(found, prefix):
    for each in found:
        print("\t".join([*prefix, each.id, f"{each.score:.4f}", kz.run.printable(each.text)]), flush=True)


def _hybrid():
    if FLAGS.hybrid is None:
        return None
    if FLAGS.hybrid == "tune":
        if not FLAGS.qrels:
            raise command.UsageError("--hybrid=tune needs --qrels; give the weight that it found there.")
        return "tune"
    try:
        weight = float(FLAGS.hybrid)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1:
        raise command.UsageError(f"--hybrid must be a number from 0 to 1, or tune; got {FLAGS.hybrid!r}.")
    return weight


def _gains():
    gains = {}
    for item in FLAGS.gain:
        grade, equals, gain = item.rpartition("=")
        try:
            gains[grade] = float(gain)
        except ValueError:
            equals = ""
        if not equals:
            raise command.UsageError(f"--gain must be GRADE=GAIN, such as 1=4; got {item!r}.")
    return gains or None


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
