"""The flags that several commands share, each defined once, and how their values reach kerazoo."""

import dataclasses

from absl import flags

import kerazoo as kz

FLAGS = flags.FLAGS
DEFAULTS = kz.run.TrainingOptions()
TRAINING = tuple(field.name for field in dataclasses.fields(kz.run.TrainingOptions))
TASK = ("data_dir", "source_tokens", "target_tokens", "source_column", "target_column", "bad_lines", "length",
        "vocabulary_size", "share_vocabulary", "case", "normalization", "subword_dropout", "source_vectors",
        "target_vectors")


def define_run_dir(required=True):
    """Defines `--run_dir` and `--verbose`."""
    flags.DEFINE_string("run_dir", None, "Folder of the run." if required else "Folder of the run; runs/MODEL-TASK.")
    define_verbose()


def define_verbose():
    """Defines `--verbose`."""
    flags.DEFINE_bool("verbose", False, "Show the traceback of a fault.")


def define_task():
    """Defines what to learn and from which data."""
    flags.DEFINE_string("task", None, "What to learn: --list_tasks shows the names; the model's kind has a default.")
    flags.DEFINE_string("data_dir", None, "Folder, file, pattern, - for standard input, or several: A@3,B@0.5.")
    flags.DEFINE_string("source_tokens", None, "Units of the source text: bytes, characters, words or subwords.")
    flags.DEFINE_string("target_tokens", None, "Units of the target text: bytes, characters, words or subwords.")
    flags.DEFINE_string("source_column", None, "Column of the source: number from 0, name in the header, JSON field.")
    flags.DEFINE_string("target_column", None, "Column of the target: number from 0, name in the header, JSON field.")
    flags.DEFINE_enum("bad_lines", None, ["stop", "skip"], "Whether a bad line stops the run or is left out.")
    define_cache()
    flags.DEFINE_integer("vocabulary_size", None, "Most ids of each vocabulary that is learnt; 8000, words 32000.")
    flags.DEFINE_bool("share_vocabulary", None, "Whether source and target share one vocabulary.")
    flags.DEFINE_alias("joint_vocabulary", "share_vocabulary")
    flags.DEFINE_enum("case", None, ["auto", "keep", "lower", "upper"], "What text is folded to; auto: sources alone.")
    flags.DEFINE_enum("normalization", None, ["nfkc"], "Unicode's normal form that text is brought into first.")
    flags.DEFINE_float("subword_dropout", None, "Share of subword merges left out at random in training, 0.1 say.")
    flags.DEFINE_string("source_vectors", None, "File of word vectors that the source embedding starts from.")
    flags.DEFINE_string("target_vectors", None, "File of word vectors that the target embedding starts from.")
    flags.DEFINE_integer("length", None, "Tokens of one training window of a language model.")
    flags.DEFINE_multi_string("task_option", [], "Any other option of the task as name=value; may be repeated.")


def define_search():
    """Defines how answers are searched for."""
    flags.DEFINE_string("search", None, "greedy, sample, beam, contrastive or speculative; beam where --n_best is set.")
    flags.DEFINE_integer("width", None, "Hypotheses of a beam.", lower_bound=1)
    flags.DEFINE_integer("n_best", None, "Answers to each input, with --search=beam or sample.", lower_bound=1)
    flags.DEFINE_float("temperature", None, "Of a sample: below 1 for safer choices.")
    flags.DEFINE_integer("top_k", None, "Of a sample or a contrastive search: the most likely tokens to choose among.")
    flags.DEFINE_float("top_p", None, "Of a sample: the probability that the tokens to choose among have together.")
    flags.DEFINE_integer("seed", None, "Of a sample: a number to draw the same again.")
    flags.DEFINE_integer("max_length", None, "Most tokens of an answer.", lower_bound=1)
    flags.DEFINE_multi_string("stop", [], "Text that ends an answer and is no part of it; may be repeated.")
    flags.DEFINE_multi_string("ensemble", [], "A further run on the same vocabularies that answers with --run_dir's.")
    flags.DEFINE_string("draft_run", None, "Run of the small model of --search=speculative.")
    flags.DEFINE_multi_string("option", [], "Any other option of the search as name=value: length_penalty=power, say.")


SEARCH = ("search", "width", "n_best", "temperature", "top_k", "top_p", "seed", "max_length")


def run_dirs(first):
    """Returns the runs that answer: the folder `first`, or a list of it and those of --ensemble."""
    return [first, *FLAGS.ensemble] if FLAGS.ensemble else first


def search_options():
    """Returns what the flags of the search ask for, as options of an `Answerer`."""
    options = {name: FLAGS[name].value for name in SEARCH if FLAGS[name].value is not None}
    if options.get("n_best", 1) > 1:
        options.setdefault("search", "beam")
        if options["search"] == "beam":
            options.setdefault("width", max(4, options["n_best"]))
    if FLAGS.stop:
        options["stop_strings"] = list(FLAGS.stop)
    if FLAGS.draft_run is not None:
        options.setdefault("search", "speculative")
        options["draft"] = kz.load(FLAGS.draft_run).model
    return {**options, **kz.parse_assignments("--option", FLAGS.option)}


def define_cache():
    """Defines `--cache_dir`."""
    flags.DEFINE_string("cache_dir", None, "Folder of prepared data: KERAZOO_CACHE, ~/.cache/kerazoo; empty for none.")


def use_cache():
    """Says where prepared data is kept, where the flag was set."""
    if FLAGS.cache_dir is not None:
        kz.data.set_cache_dir(FLAGS.cache_dir)


def define_model():
    """Defines which model is built."""
    flags.DEFINE_string("model", None, "Name of the model: --list_models='*' shows them.")
    flags.DEFINE_multi_string("set", [], "A size of the model as name=value, such as --set=units=256; may be repeated.")
    flags.DEFINE_multi_string("import", [], "A Python module to import first, where kz.register names your own model.")


def define_training():
    """Defines one flag for each field of `TrainingOptions`; unset means the model's own default."""
    options = kz.run.options
    helps = {
        "epochs": "Passes over the training data.",
        "batch_size": "Examples of one optimizer step.",
        "batch_tokens": "Positions of one optimizer step instead of examples, padding included.",
        "learning_rate": "Highest learning rate of the schedule.",
        "schedule": f"Learning rate after the warm-up: {', '.join(options.SCHEDULES)}.",
        "warmup": "Share of all steps in which the rate rises, 0 to 1.",
        "optimizer": f"One of {', '.join(options.OPTIMIZERS)}.",
        "weight_decay": "Decoupled weight decay, 0 for none.",
        "l2": "Factor of the summed squares of the kernels in the loss, 0 for none.",
        "l1": "Factor of the summed absolute values of the kernels in the loss, 0 for none.",
        "clip_norm": "Bound of the global gradient norm, 0 for none.",
        "label_smoothing": "Share of the target probability spread over the vocabulary, 0 to 1.",
        "dtype": f"Precision: {', '.join(options.DTYPES)}.",
        "seed": "Seed of initial weights, dropout and the order of examples.",
        "patience": "Epochs without a better dev result before training stops, 0 for never.",
        "max_shapes": "Most static batch shapes, one compiled program each: 4 for a short training, 8 for a long one.",
        "packing": "Whether several sequences share a row, for Transformers that write tokens: hardly any padding.",
        "augment": "Change training examples: NAME or NAME:OPTION=VALUE,..., such as flip, shift:max_shift=2 or "
        "word_dropout:rate=0.1; may be repeated.",
        "steps_per_execution": "Most optimizer steps of one compiled program, 0 to choose by time.",
        "feed": f"Where batches come from: {', '.join(options.FEEDS)}.",
        "shuffle_buffer": "Examples that --feed=stream shuffles among each other.",
        "limit": "Most training examples, 0 for all.",
        "xla": "Whether to compile with XLA.",
    }
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_multi_string,
    }
    for name in TRAINING:
        define[type(getattr(DEFAULTS, name))](name, None, helps[name])


def training_options():
    """Returns the training flags that were set."""
    return {name: FLAGS[name].value for name in TRAINING if FLAGS[name].value is not None}


def task_options():
    """Returns the task flags that were set."""
    named = {name: FLAGS[name].value for name in TASK if FLAGS[name].value is not None}
    return {**named, **kz.parse_assignments("--task_option", FLAGS.task_option)}
