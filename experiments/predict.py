"""Predict from raw input with a trained run: the arguments, or the lines of standard input, one prediction a line.

  python -m experiments.predict --run_dir=RUN kerazoo tensorflow
  python -m experiments.predict --run_dir=RUN < words.txt
  python -m experiments.predict --run_dir=RUN                    # on a terminal: line by line, as it is generated
  python -m experiments.predict --run_dir=RUN --n_best=5 --scores kerazoo
  python -m experiments.predict --run_dir=RUN --search=sample --temperature=0.7 --seed=1 kerazoo
  python -m experiments.predict --run_dir=RUN --layer=encoder.block_3 --to=features.npz < lines.txt
  python -m experiments.predict --run_dir=RUN digit.png          # a model of images
  python -m experiments.predict --run_dir=RUN --sample=64 --to=digits.png
  python -m experiments.predict --run_dir=RUN --sample=8 --to=digits.png 0 1 2
  python -m experiments.predict --run_dir=RUN --to=sounds 'forty two'      # speech generation
  python -m experiments.predict --run_dir=RUN --format=csv sales.csv > future.csv
  python -m experiments.predict --run_dir=RUN --format=csv --to=windows.png machine.csv    # an autoencoder

A prediction is one line, in which line breaks, tabs and other control characters are written as \\n, \\t and \\x1b;
numbers and images are lists. With --n_best=N an input has up to N lines, the best first, which begin with the number
of the input, counted from 1, and a tab. With --scores a score and a tab precede the prediction: a log-probability, or
the probability of a class. With --alignment a line ends with a tab and pairs of source and target positions, as in 0-0
1-2. With --given a line of input is a source, a tab and a target, and the output is the log-probability of the target
and its perplexity.

With --sample=N there are N samples of each input, or N from nothing of a language model or a variational autoencoder.
With --to=FILE.png images are written as one picture, a row for each input, and nothing is printed but its name.
With --to=FOLDER sounds are written as WAV files 1.wav, 2.wav and so on, numbered as the inputs are; a line has the
name of a file, a tab and its seconds.
With --embed --to=FILE.npy nothing is printed: the vectors of all inputs are written, one row each, those of a dual
encoder for single texts and those of another model with an encoder as its pooled output.

With --layer=PATH --to=FILE.npz the outputs of layers are written, an array by the path of each layer with a row for
each input: the mean of the valid positions, or what --pooling says; with --pooling=none all positions, as PATH.values,
of which those of input i begin at PATH.offsets[i]. Memory is needed for one batch, so there may be any number of lines.

An autoencoder prints the error of the reconstruction, a tab, `anomaly` or `normal`, a tab and the reconstruction. It
is an anomaly if the error is above a quantile of the errors of the dev examples, --threshold_quantile. With
--format=jsonl these are the fields `error`, `is_anomaly` and `predictions`, with --format=csv columns of a table, which
has all windows of a file of a series, where the other formats have the last one. With --to=FILE.png the series is
drawn, windows that are anomalies in red.

With --format=jsonl each input is one line of JSON, with the text as it is:
{"input": 1, "predictions": ["..."], "scores": [-0.5]}
"""

import csv
import itertools
import json
import logging
import math
import os
import sys

from absl import flags

import kerazoo as kz
from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS
# Characters that end a line for some readers, or control a terminal, and that JSON does not escape.
IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}

shared.define_run_dir()
shared.define_import()
shared.define_predictions()
shared.define_checkpoint()
shared.define_threshold()
shared.define_layer()
with command.flag_group("Run and output"):
    flags.DEFINE_integer("batch_size", 256, "Lines of one batch.", lower_bound=1)
    flags.DEFINE_enum(
        "format",
        "text",
        ["text", "jsonl", "csv"],
        "Lines of text, a line of JSON for each input, or a table: of the future rows of a series, or of errors of "
        "reconstructions.",
    )
    flags.DEFINE_integer("sample", None, "Samples of each input, or from nothing where there is none.", lower_bound=1)
    flags.DEFINE_string("to", None, "PNG file that predicted images are written to, in a grid; folder of WAV files "
                        "that predicted sounds are written to; NPZ file of the outputs of --layer; or NPY file of the "
                        "vectors of --embed.")  # fmt: skip
    flags.DEFINE_bool("scores", False, "Print the score of each prediction before it; a probability for a class.")
    flags.DEFINE_bool("alignment", False, "Print for each token the source position with the largest attention.")
    flags.DEFINE_bool("given", False, "Score given targets and generate none: source, tab, target.")
    flags.DEFINE_bool("embed", False, "Write the vectors of the inputs into the file of NumPy --to=FILE.npy.")
    flags.DEFINE_enum("embed_side", "source", ["source", "target"], "Whose encoder gives the vectors, where a dual "
                      "encoder has two.")  # fmt: skip
    flags.DEFINE_integer("block", 4, "Tokens that are printed at a time on a terminal.", lower_bound=1)


def main(arguments):
    """Prints a prediction for each input."""
    if FLAGS.given and (FLAGS.scores or FLAGS.alignment):
        raise command.UsageError("--given generates nothing, so --scores and --alignment cannot be used with it.")
    if FLAGS.sample and (FLAGS.given or FLAGS.n_best or FLAGS.search not in (None, "sample")):
        raise command.UsageError("--sample is a search of its own, without --given, --n_best and another --search.")
    if FLAGS.layer and not FLAGS.to:
        raise command.UsageError("--layer needs --to=FILE.npz, the file that the outputs are written to.")
    if FLAGS.embed and not FLAGS.to:
        raise command.UsageError("--embed needs --to=FILE.npy, the file that the vectors are written to.")
    interactive = not (arguments or FLAGS.sample or FLAGS.embed or FLAGS.layer) and sys.stdin.isatty()
    if sys.stderr.isatty():
        logging.basicConfig(format="%(message)s")
        logging.getLogger("kerazoo").setLevel(logging.INFO)
    shared.use_imports()
    predictor = kz.load(shared.run_dirs(command.require("run_dir")), checkpoint=FLAGS.checkpoint)
    predictor.batch_size = FLAGS.batch_size
    if FLAGS.threshold_quantile is not None:
        predictor.threshold(FLAGS.threshold_quantile)  # refuses it where there is none
    if FLAGS.embed:
        return embed(predictor, arguments or [line for _, line in kz.data.read_lines("-")])
    if FLAGS.layer:
        return write_features(predictor, arguments)
    options = shared.search_options(predictor.generates)
    if predictor.task.targets.modality == "sound":
        return write_sounds(predictor, arguments, options)
    if FLAGS.sample:
        options["search"] = "sample"
        if not arguments:
            return print_samples(predictor, options)
        options["n_best"] = FLAGS.sample
    if (
        predictor.task.is_autoencoder
        and predictor.task.targets.modality == "series"
        and (FLAGS.to or FLAGS.format == "csv")
    ):
        return print_windows(predictor, arguments)
    if FLAGS.to:
        return write_images(predictor, arguments, options)
    if interactive:
        return converse(predictor, options)
    if FLAGS.format == "csv":
        if not predictor.task.is_autoencoder:
            return print_tables(predictor, arguments)
        print("input,error,is_anomaly")
    lines, first = iter(arguments or (line for _, line in kz.data.read_lines("-"))), 1
    while batch := list(itertools.islice(lines, FLAGS.batch_size)):
        for line in output_lines(predictor, batch, options, first):
            print(line, flush=True)
        first += len(batch)
    return 0


def print_samples(predictor, options):
    """Prints examples from nothing, or writes them as a picture."""
    if not predictor.generates:
        options = {name: value for name, value in options.items() if name == "seed"}
    samples = predictor.sample(FLAGS.sample, **options)
    if FLAGS.to:
        columns = math.ceil(math.sqrt(len(samples)))
        return write_grid([samples[start : start + columns] for start in range(0, len(samples), columns)])
    for sample in samples:
        print(_text(sample))
    return 0


def write_images(predictor, arguments, options):
    """Writes the predictions for all inputs as a picture."""
    lines = arguments or [line for _, line in kz.data.read_lines("-")]
    found = records(predictor, lines, options)
    return write_grid([record["predictions"] for record in found])


def write_grid(rows):
    """Writes rows of images to --to."""
    if not rows or not all(getattr(image, "ndim", 0) == 3 for row in rows for image in row):
        raise command.UsageError("--to: writes images, and the model predicts something else.")
    kz.run.write_image_grid(FLAGS.to, rows)
    print(FLAGS.to)
    return 0


def write_sounds(predictor, arguments, options):
    """Writes a sound for each input into the folder --to."""
    if not FLAGS.to:
        raise command.UsageError("This model predicts sounds: --to=FOLDER names the folder of their WAV files.")
    given = [name for name in ("scores", "alignment", "given", "sample") if FLAGS[name].value]
    if given or FLAGS.format != "text":
        raise command.UsageError(f"--{[*given, 'format'][0]} is not for sounds, which are files. Leave it out.")
    rate, first = predictor.task.targets.sample_rate, 1
    lines = iter(arguments or (line for _, line in kz.data.read_lines("-")))
    size = FLAGS.batch_size if arguments or not sys.stdin.isatty() else 1  # a sound as soon as its text is typed
    while batch := list(itertools.islice(lines, size)):
        for number, sound in enumerate(predictor(predictor.task.read(batch), **options), first):
            path = os.path.join(FLAGS.to, f"{number}.wav")
            kz.data.write_sound(path, sound, rate)
            print(f"{path}\t{len(sound) / rate:.2f}", flush=True)
        first += len(batch)
    return 0


def embed(predictor, lines):
    """Writes the vectors of lines of input, one row each."""
    raw = lines if predictor.task.kind == "dual_encoder" else predictor.task.read(lines)
    vectors = predictor.embed(raw, FLAGS.embed_side)
    kz.run.write_vectors(FLAGS.to, vectors)
    rows, width = vectors.shape
    print(f"{rows:,} vectors of {width:,} numbers written to {FLAGS.to}.", file=sys.stderr)
    return 0


def write_features(predictor, arguments):
    """Writes the outputs of layers for all inputs to --to."""
    lines = iter(arguments or (line for _, line in kz.data.read_lines("-")))
    raw = itertools.chain.from_iterable(map(predictor.task.read, iter(lambda: take(lines), [])))
    for name, shape in kz.run.write_features(predictor, raw, FLAGS.to, FLAGS.layer, FLAGS.pooling).items():
        print(f"{name}\t{'x'.join(map(str, shape))}")
    return 0


def take(lines):
    """Returns the next lines of a batch, none at their end."""
    return list(itertools.islice(lines, FLAGS.batch_size))


def print_windows(predictor, paths):
    """Prints the errors of all windows of a file as CSV, and draws the series to --to."""
    if len(paths) != 1:
        raise command.UsageError("--format=csv and --to: need the name of one file of a series as an argument.")
    found = kz.run.windows_of_file(predictor, paths[0])
    made = predictor.reconstructions(found.windows, FLAGS.threshold_quantile)
    if FLAGS.format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows(kz.run.window_table(found, made))
    if FLAGS.to:
        threshold = predictor.threshold(FLAGS.threshold_quantile)
        kz.run.write_series_picture(FLAGS.to, found.rows.numbers, found.names, found.spans, made, threshold)
        print(FLAGS.to, file=sys.stderr if FLAGS.format == "csv" else sys.stdout)
    return 0


def print_tables(predictor, paths):
    """Prints the forecast of each file as CSV, its dates continued."""
    if predictor.task.targets.modality != "series":
        raise command.UsageError(
            "--format=csv is for forecasts of series and errors of autoencoders. Use --format=text or --format=jsonl."
        )
    if not paths:
        raise command.UsageError("--format=csv needs the names of files of series as arguments.")
    table = csv.writer(sys.stdout, lineterminator="\n")
    for path in paths:
        table.writerows(kz.run.future_table(predictor, path))
    return 0


def output_lines(predictor, batch, options, first=1):
    """Yields the lines of output for a batch of lines of input, of which the first one has the number `first`."""
    for number, record in enumerate(records(predictor, batch, options), first):
        if FLAGS.format == "csv":
            mark = record["is_anomaly"]
            yield f"{number},{record['error']:.6g},{'' if mark is None else int(mark)}"
        elif FLAGS.format == "jsonl":
            plain = {name: _plain(value) for name, value in record.items()}
            yield json.dumps({"input": number, **plain}, ensure_ascii=False).translate(IN_JSON)
        elif FLAGS.given:
            yield f"{record['score']:.4f}\t{record['perplexity']:.4f}"
        else:
            yield from text_lines(number, record)


def records(predictor, batch, options):
    """Yields what is printed for each line of input, as a dictionary."""
    if FLAGS.given:
        scored = predictor.score(*zip(*map(_pair, batch)))
        for score, perplexity in zip(scored.scores, scored.perplexities):
            yield {"score": score, "perplexity": perplexity}
        return
    raw = predictor.task.read(batch)
    if predictor.task.is_autoencoder:
        for made in predictor.reconstructions(raw, FLAGS.threshold_quantile):
            yield {"predictions": [made.value], "error": made.error, "is_anomaly": made.is_anomaly}
        return
    has_scores = predictor.generates or predictor.task.targets.modality == "label"
    if FLAGS.scores or FLAGS.alignment or "n_best" in options or (FLAGS.format == "jsonl" and has_scores):
        for found in predictor.predictions(raw, **options, **({"alignment": True} if FLAGS.alignment else {})):
            record = {"predictions": [each.text for each in found], "scores": [each.score for each in found]}
            if FLAGS.alignment:
                record["alignments"] = [each.alignment.argmax(-1).tolist() for each in found]
            yield record
    else:
        yield from ({"predictions": [prediction]} for prediction in predictor(raw, **options))


def text_lines(number, record):
    """Yields a line of text for each prediction of an input."""
    for index, prediction in enumerate(record["predictions"]):
        parts = [str(number)] if FLAGS.n_best or FLAGS.sample else []
        parts += [f"{record['scores'][index]:.4f}"] if FLAGS.scores else []
        if "error" in record:
            parts.append(f"{record['error']:.6g}")
            parts += [] if record["is_anomaly"] is None else ["anomaly" if record["is_anomaly"] else "normal"]
        parts.append(_text(prediction))
        if FLAGS.alignment:
            pairs = enumerate(record["alignments"][index])
            parts.append(" ".join(f"{source}-{target}" for target, source in pairs))
        yield "\t".join(parts)


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
        is_text = predictor.generates and predictor.task.targets.modality == "text"
        streamed = is_text and options.get("search", "greedy") in ("greedy", "sample")
        if not streamed or FLAGS.n_best or FLAGS.scores or FLAGS.alignment or FLAGS.given or FLAGS.format == "jsonl":
            print(*output_lines(predictor, [line], options), sep="\n")
            continue
        for text in predictor.stream(predictor.task.read([line])[0], block=FLAGS.block, **options):
            print("\n".join(map(kz.run.printable, text.split("\n"))), end="", flush=True)
        print()


def _text(value):
    """Returns a prediction as a part of one line."""
    if isinstance(value, str):
        return kz.run.printable(value)
    if hasattr(value, "__len__"):
        return f"[{', '.join(map(_text, value))}]"
    return str(value) if getattr(value, "dtype", None) == "float32" else f"{value:.10g}"


def _plain(value):
    """Returns a value of a record as one of JSON, with null for a number that is not finite."""
    if value is None or isinstance(value, str | int):
        return value
    if getattr(value, "dtype", None) is not None and value.dtype.kind in "iu":  # pixels
        return value.tolist()
    if hasattr(value, "__len__"):
        return [_plain(each) for each in value]
    return float(value) if math.isfinite(value) else None


def _pair(line):
    source, tab, target = line.partition("\t")
    if not tab:
        raise command.InputError(f"--given: a line must be a source, a tab and a target; got {line!r}.")
    return source, target


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
