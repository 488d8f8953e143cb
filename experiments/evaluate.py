"""Evaluate a trained run on unseen examples; writes evaluation-SPLIT.json and report.md into its folder.

python -m experiments.evaluate --run_dir=RUN
python -m experiments.evaluate --run_dir=RUN --split=dev --limit=500
python -m experiments.evaluate --run_dir=RUN --metrics=bleu,chrf --test_data=news.tsv --save_predictions
python -m experiments.evaluate --run_dir=RUN --compare=OTHER_RUN
python -m experiments.evaluate --run_dir=RUN --test_data=machine.csv --anomalies=fault     # an autoencoder
python -m experiments.evaluate --run_dir=RUN --search=beam --num_beams=8 --option=length_penalty=power
python -m experiments.evaluate --run_dir=RUN --recognizer=RUN_OF_SPEECH_RECOGNITION
python -m experiments.evaluate --run_dir=RUN --exported=SAVED     # the predictions of an exported model, of any format
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS

shared.define_run_dir()
shared.define_import()
shared.define_cache()
shared.define_predictions()
shared.define_checkpoint()
shared.define_processes()
shared.define_threshold()
with command.flag_group("Task and data", {"data_dir": "that of the run"}):
    flags.DEFINE_enum("split", "test", ["train", "dev", "test"], "Split of the data that is evaluated.")
    flags.DEFINE_integer("limit", 0, "Maximum number of examples, spread over the split; 0 for all.", lower_bound=0)
    flags.DEFINE_string("data_dir", None, "Folder of the data, if it has moved since the training.")
    flags.DEFINE_string("test_data", None, "File of other test examples, with the columns of the task.")
    shared.define_anomalies(
        "Of an autoencoder: COLUMN, or COLUMN=VALUE, that tells anomalies; for test that of the run."
    )
    flags.DEFINE_string("by", None, "Column of the data: each measure is also computed for each value of it.")
with command.flag_group("Run and output"):
    flags.DEFINE_integer("samples", 8, "Predictions that are printed with their references.", lower_bound=0)
    flags.DEFINE_list("metrics", [], "Measures, such as bleu,chrf; those of the training where none are given.")
    flags.DEFINE_string("recognizer", None, "Run of speech recognition that reads the generated sounds of this run, to "
                        "measure its word error rate.")  # fmt: skip
    flags.DEFINE_string("exported", None, "Folder of an export of this run, whose predictions are measured.")
    flags.DEFINE_string("compare", None, "Another run, compared on the same examples with 95 % intervals.")
    flags.DEFINE_integer("resamples", 1000, "Bootstrap samples of --compare.", lower_bound=1)
    flags.DEFINE_integer("resample_seed", 0, "Seed of these samples.", lower_bound=0)
    shared.define_switch("save_predictions", "Write inputs, references and predictions as lines of JSON into the run, "
                         "or into the file that is given.")  # fmt: skip


def main(arguments):
    """Evaluates and prints the results."""
    del arguments
    import kerazoo as kz

    shared.use_processes()
    shared.use_cache()
    shared.use_imports()
    arguments = {
        "split": FLAGS.split,
        "limit": FLAGS.limit,
        "samples": FLAGS.samples,
        "data_dir": FLAGS.data_dir,
        "checkpoint": FLAGS.checkpoint,
        "metrics": FLAGS.metrics,
        "by": FLAGS.by,
        "test_data": FLAGS.test_data,
        "save_predictions": FLAGS.save_predictions,
        **shared.search_options(),
    }
    run = shared.run_dirs(command.require("run_dir"))
    if FLAGS.compare is None:
        marking = {"anomalies": FLAGS.anomalies, "threshold_quantile": FLAGS.threshold_quantile}
        kz.run.evaluate(run, recognizer=FLAGS.recognizer, exported=FLAGS.exported, **arguments, **marking)
    elif FLAGS.anomalies or FLAGS.threshold_quantile is not None:
        given = "anomalies" if FLAGS.anomalies else "threshold_quantile"
        raise command.UsageError(f"--compare: takes no --{given}. Evaluate each of the runs.")
    elif FLAGS.recognizer is not None or FLAGS.exported is not None:
        given = "recognizer" if FLAGS.recognizer is not None else "exported"
        raise command.UsageError(f"--{given} measures one run. Leave --compare out.")
    else:
        kz.run.compare(run, FLAGS.compare, resamples=FLAGS.resamples, resample_seed=FLAGS.resample_seed, **arguments)


if __name__ == "__main__":
    command.run(main, __doc__)
