"""The flags that several commands share, each defined once, and their values as arguments of kerazoo."""

import dataclasses
from typing import Any

from absl import flags

import kerazoo as kz
from experiments import command
from experiments.command import flag_group

FLAGS = flags.FLAGS
DEFAULTS = kz.run.TrainingOptions()
TRAINING = tuple(field.name for field in dataclasses.fields(kz.run.TrainingOptions))
TASK = ("data_dir", "inputs", "targets", "source_tokens", "target_tokens", "source_column", "target_column",
        "header", "delimiter", "quote", "bad_lines", "held_out", "length", "vocabulary_size", "share_vocabulary",
        "case", "normalization", "stop_words", "subword_dropout", "source_vectors", "target_vectors",
        "source_vocabulary_file", "target_vocabulary_file", "columns", "window", "horizon", "splits", "season",
        "quantiles", "gaps", "date_column", "decimal", "anomalies")  # fmt: skip
NOT_REPEATED = ("coordinator", "flagfile", "num_processes", "override_resume", "process_id", "undefok", "verbose")
SEARCH = ("search", "num_beams", "n_best", "temperature", "top_k", "top_p", "seed", "max_length")


def define_switch(name: str, help_text: str) -> None:
    """Defines a flag that is given alone, as `--NAME`, or with a value: False, True or the value."""

    class Parser(flags.ArgumentParser):
        def parse(self, argument):
            return {"true": True, "1": True, "false": False, "0": False}.get(str(argument).lower(), argument)

    flag = flags.Flag(Parser(), flags.ArgumentSerializer(), name, False, help_text, boolean=True)
    flags.DEFINE_flag(flag)


def define_number_or_word(name: str, kind: type, word: str, help_text: str) -> None:
    """Defines a flag whose value is a number of the type `kind`, or `word`."""

    class Parser(flags.ArgumentParser):
        def parse(self, argument):
            try:
                return argument if argument == word else kind(argument)
            except ValueError:
                raise ValueError(f"must be a number, or {word!r}; got {argument!r}") from None

    flags.DEFINE_flag(flags.Flag(Parser(), flags.ArgumentSerializer(), name, None, help_text))


def define_run_dir(required: bool = True) -> None:
    """Defines `--run_dir` and `--verbose`."""
    with flag_group("Run and output", {} if required else {"run_dir": "runs/MODEL-TASK"}):
        flags.DEFINE_string("run_dir", None, "Folder of the run.")
    define_verbose()


def define_verbose() -> None:
    """Defines `--verbose`."""
    with flag_group("Run and output"):
        flags.DEFINE_bool("verbose", False, "Show the traceback of an error.")


def define_checkpoint() -> None:
    """Defines `--checkpoint`."""
    with flag_group("Run and output"):
        flags.DEFINE_enum(
            "checkpoint",
            "best",
            ["best", "last", "average"],
            "Which checkpoint of the run is used, or the mean of those that --average_checkpoints kept.",
        )


def define_threshold() -> None:
    """Defines `--threshold_quantile`."""
    with flag_group("Run and output", {"threshold_quantile": 0.99}):
        flags.DEFINE_float(
            "threshold_quantile",
            None,
            "Of an autoencoder: quantile of the errors of dev examples above which an example is an anomaly.",
            lower_bound=0,
            upper_bound=1,
        )


def define_layer() -> None:
    """Defines `--layer` and `--pooling`."""
    with flag_group("Run and output"):
        flags.DEFINE_multi_string("layer", [], "Layer whose outputs are computed, as a path, a name or a pattern, such "
                                  "as encoder.block_3 or 'encoder.block_*'; may be repeated.")  # fmt: skip
        flags.DEFINE_enum("pooling", "mean", ["mean", "max", "last", "first", "none"], "How the positions of such an "
                          "output become one vector; none keeps them.")  # fmt: skip


def define_cache() -> None:
    """Defines `--cache_dir`."""
    with flag_group("Task and data", {"cache_dir": "KERAZOO_CACHE, else ~/.cache/kerazoo"}):
        flags.DEFINE_string("cache_dir", None, "Folder of prepared data and compiled programs; empty for none on disk.")


def define_task() -> None:
    """Defines the task and its data."""
    with flag_group("Task and data", {"task": "that of the kind of the model", "bad_lines": "stop",
                                      "held_out": 0.05}):  # fmt: skip
        flags.DEFINE_string("task", None, "Name of the task: --list_tasks shows them.")
        flags.DEFINE_string(
            "data_dir",
            None,
            "Folder, file, pattern, - for standard input, or several with weights: A@3,B@0.5; with tags: "
            "A#tag=de;target=1@3,A#tag=fr;target=2.",
        )
        flags.DEFINE_string(
            "inputs",
            None,
            "What the model reads, as MODALITY:COLUMN with commas between them: "
            "image:file, or text:question,text:context. Modalities: image, label, number, pixels, series, "
            "sound, text; tag:COLUMN before a text is a special token.",
        )
        flags.DEFINE_string(
            "targets", None, "What the model predicts, as MODALITY:COLUMN: text:caption, label:state, or number:score."
        )
        flags.DEFINE_string(
            "source_column", None, "Column of the source: number from 0, name in the header, or JSON field."
        )
        flags.DEFINE_string(
            "target_column", None, "Column of the target: number from 0, name in the header, or JSON field."
        )
        flags.DEFINE_bool("header", None, "Whether the first line of a table names its columns.")
        flags.DEFINE_string("delimiter", None, "Character between the columns of a table, or tab.")
        flags.DEFINE_string("quote", None, "Character around the values of a table; empty for none.")
        flags.DEFINE_enum("bad_lines", None, ["stop", "skip"], "Whether a bad line stops the run or is skipped.")
        flags.DEFINE_float("held_out", None, "Share of train for a dev or test split that is not given; 0 for none.")
        flags.DEFINE_integer("length", None, "Tokens or rows of one training window.")
        define_anomalies("Of an autoencoder: COLUMN, or COLUMN=VALUE, of the examples that only the test part has.")
        flags.DEFINE_multi_string("task_option", [], "Another option of the task as OPTION=VALUE; may be repeated.")
    define_cache()
    define_text()
    define_series()


def define_anomalies(help_text: str) -> None:
    """Defines `--anomalies`."""
    flags.DEFINE_string("anomalies", None, help_text)


def define_text() -> None:
    """Defines tokenizers and vocabularies."""
    with flag_group("Text", {"vocabulary_size": "8000, words 32000", "share_vocabulary": False, "subword_dropout": 0,
                             "case": "auto for the source, keep for the target"}):  # fmt: skip
        for side in ("source", "target"):
            flags.DEFINE_string(f"{side}_tokens", None, f"Tokens of the {side}: bytes, characters, words, "
                                "words_and_punctuation, subwords or wordpiece.")  # fmt: skip
            flags.DEFINE_string(f"{side}_vocabulary_file", None, f"File of the {side} vocabulary of wordpiece, such as "
                                "the vocab.txt of BERT.")  # fmt: skip
            flags.DEFINE_string(f"{side}_vectors", None, f"File of word vectors that initialize the {side} embedding.")
        flags.DEFINE_integer("vocabulary_size", None, "Maximum number of ids of each vocabulary.")
        flags.DEFINE_bool("share_vocabulary", None, "Whether source and target share one vocabulary.")
        flags.DEFINE_enum("case", None, ["auto", "keep", "lower", "upper"], "Case that text is changed to.")
        flags.DEFINE_enum("normalization", None, ["nfkc"], "Unicode normal form that text is brought into.")
        flags.DEFINE_string("stop_words", None, "File of words that are left out of input texts of words.")
        flags.DEFINE_float("subword_dropout", None, "Share of subword merges that are dropped at random in training.")


def define_series() -> None:
    """Defines what is read and predicted of series of numbers."""
    defaults = {"window": 336, "horizon": 96, "splits": "0.7,0.15,0.15", "gaps": "refuse", "decimal": "."}
    with flag_group("Series", defaults):
        flags.DEFINE_string("columns", None, "Columns of numbers, with commas between them; all where none are named.")
        flags.DEFINE_integer("window", None, "Rows that a forecast is made from.", lower_bound=1)
        flags.DEFINE_integer("horizon", None, "Rows that are forecast.", lower_bound=1)
        flags.DEFINE_string("splits", None, "Fractions or rows of train, dev and test; or the dates that divide them.")
        flags.DEFINE_integer("season", None, "Rows of a season; found where it is not given.", lower_bound=1)
        flags.DEFINE_string("quantiles", None, "Quantiles that are forecast, such as 0.1,0.5,0.9.")
        flags.DEFINE_enum("gaps", None, ["refuse", "interpolate"], "What is done where rows or values are missing.")
        flags.DEFINE_string("date_column", None, "Column of dates, empty for none; recognised where it is not given.")
        flags.DEFINE_enum("decimal", None, [".", ","], "Decimal point of numbers.")


def define_search() -> None:
    """Defines the search of models that generate."""
    with flag_group("Search", {"search": "greedy", "num_beams": 4}):
        flags.DEFINE_string("search", None, "greedy, sample, beam, contrastive or speculative.")
        flags.DEFINE_integer("num_beams", None, "Hypotheses of a beam search.", lower_bound=1)
        flags.DEFINE_float("temperature", None, "Of samples: values below 1 sharpen the distribution.")
        flags.DEFINE_integer("top_k", None, "Of samples and contrastive search: candidates at each step.")
        flags.DEFINE_float("top_p", None, "Of samples: total probability of the candidates at each step.")
        flags.DEFINE_integer("seed", None, "Of samples: equal seeds give equal samples.")
        flags.DEFINE_integer("max_length", None, "Maximum number of tokens of a prediction.", lower_bound=1)
        flags.DEFINE_multi_string("stop", [], "Text that ends a prediction and is not part of it; may be repeated.")
        flags.DEFINE_multi_string("option", [], "Another option of the search as OPTION=VALUE, such as "
                                  "length_penalty=power; may be repeated.")  # fmt: skip


def define_predictions() -> None:
    """Defines the search, the other runs that take part in it, and how many predictions it gives."""
    define_search()
    with flag_group("Search", {"search": "greedy, or beam with --n_best above 1", "n_best": 1}):
        flags.DEFINE_integer("n_best", None, "Predictions for each input, of a beam, samples or a classifier.",
                             lower_bound=1)  # fmt: skip
        flags.DEFINE_multi_string("ensemble", [], "Another run with the same vocabularies, decoded together with "
                                  "--run_dir; may be repeated.")  # fmt: skip
        flags.DEFINE_string("draft_run", None, "Run of the draft model of speculative search.")


def define_model() -> None:
    """Defines which model is built."""
    with flag_group("Model"):
        flags.DEFINE_string("model", None, "Name of a model (--list_models='*'), or ENCODER+DECODER such as conv+lstm.")
        flags.DEFINE_multi_string("set", [], "A size of the model as OPTION=VALUE, such as units=256; may be repeated.")
    define_import()


def define_import() -> None:
    """Defines `--import`."""
    with flag_group("Model"):
        flags.DEFINE_multi_string("import", [], "A Python module to import first, which registers your own models.")


def use_imports() -> None:
    """Imports the modules of `--import`."""
    kz.catalog.import_modules(getattr(FLAGS, "import"))


TRAINING_HELP = {
    "epochs": "Passes over the training data.",
    "batch_size": "Examples of one batch.",
    "batch_tokens": "Positions of one batch, including padding, in place of --batch_size; 0 for none, auto for "
    "the fastest by short trials.",
    "gradient_accumulation_steps": "Batches whose gradients make one update of the weights.",
    "learning_rate": "Peak learning rate of the schedule, or find: by a short sweep over growing rates.",
    "schedule": "Learning rate after the warmup: {SCHEDULES}.",
    "warmup": "Share of all steps in which the learning rate rises, 0 to 1.",
    "layer_decay": "Factor of the learning rate from each layer of a stack to the one below it, up to 1.",
    "rate_factors": "Factor of the learning rate of the variables whose path has a regular expression, as "
    "PATTERN=FACTOR, such as embedding=0.1; may be repeated.",
    "freeze": "Layers that are not trained: paths or names with wildcards and commas between them, such as "
    "encoder or encoder.block_[01].",
    "unfreeze": "Layers that are frozen until an epoch, as LAYER@EPOCH, such as encoder.block_3@2; may be repeated.",
    "lora": "Rank of LoRA: two thin matrices are trained beside each kernel, which is frozen; 0 for none.",
    "lora_alpha": "Factor of LoRA before the division by its rank; 0 for the rank.",
    "lora_layers": "Layers whose dense layers have LoRA, as for --freeze; all in encoders and decoders where none are "
    "given.",
    "restart_schedule": "Whether a run that continues with other --epochs begins a new schedule where it stands.",
    "optimizer": "One of {OPTIMIZERS}.",
    "weight_decay": "Decoupled weight decay; 0 for none.",
    "l2": "Factor of the sum of squared kernels in the loss; 0 for none.",
    "l1": "Factor of the sum of absolute kernels in the loss; 0 for none.",
    "clip_norm": "Maximum global norm of the gradients; 0 for none.",
    "label_smoothing": "Share of the target probability that is spread over the vocabulary, 0 to 1.",
    "consistency": "Weight of the difference between two predictions of each batch with other dropout; 0 for none.",
    "scheduled_sampling": "Probability in the end with which a recurrent decoder reads its own prediction in training.",
    "class_weight": "Weight of a class in the loss as NAME=WEIGHT, or balanced; may be repeated.",
    "dtype": "Precision: {DTYPES}.",
    "seed": "Seed of initial weights, dropout and the order of examples.",
    "patience": "Epochs without a better dev result after which training stops; 0 for never.",
    "ema_momentum": "Momentum of exponential moving averages of the weights, such as 0.999, which are then validated "
    "and used; 0 for none.",
    "checkpoint_every": "Steps, such as 500, or minutes, such as 10m, between two checkpoints within an epoch; 0 for "
    "none.",
    "on_nan": "What happens when training diverges: stop, or rewind to the last checkpoint and leave out the batches "
    "that diverged.",
    "prune": "Share of the weights that are zero in the end, such as 0.8, or N:M, such as 2:4; 0 keeps the zeros that "
    "there are.",
    "rounding": "int8 or int4: trains with weights that are rounded to this format, so that storing them in it loses "
    "little.",
    "teacher": "Run for the same data that the model learns from as well; may be repeated.",
    "teacher_data": "File of texts without targets, one in each line, for which the teachers give the targets.",
    "distillation": "logits, or sequences: the targets are what the teachers predict.",
    "distillation_weight": "Share of the distance to the teachers in the loss, 0 to 1.",
    "distillation_temperature": "What the logits of both are divided by.",
    "distillation_hidden": "Factor of the distance of the encoded sequences; 0 for none.",
    "average_checkpoints": "States of the last epochs that are kept for --checkpoint=average; 0 for none.",
    "monitor": "What tells which epoch is best: a metric of the validation, such as loss, or a measure of "
    "predictions for dev examples, such as bleu.",
    "monitor_limit": "Maximum number of dev examples that are predicted for --monitor, spread over dev; 0 for all.",
    "metrics": "Measures that are computed of predictions, such as bleu,chrf.",
    "max_shapes": "Maximum number of static batch shapes, one compiled program each.",
    "packing": "Whether several sequences share a row, for Transformers that generate text.",
    "augment": "Augmentation as NAME or NAME:OPTION=VALUE,..., such as flip, shift:max_shift=2 or "
    "word_dropout:rate=0.1; may be repeated.",
    "steps_per_execution": "Maximum number of optimizer steps of one compiled program; 0 to choose by time.",
    "feed": "Where batches are made: {FEEDS}.",
    "shuffle_buffer": "Examples among which --feed=stream shuffles.",
    "limit": "Maximum number of training examples, spread over the data (of a stream the first ones); 0 for all.",
    "placement": "Devices that train: {PLACEMENTS}.",
    "mesh": "Number of devices of each axis, such as data:4,model:2.",
    "remat": "Whether blocks compute their activations again in the backward pass: less memory, more time.",
    "deterministic": "Whether operations take deterministic algorithms where they have others.",
    "profile": "Steps whose profile is written into the run for TensorBoard, as FIRST:LAST, such as 100:110.",
    "xla": "Whether to compile with XLA.",
}


def define_training() -> None:
    """Defines one flag for each field of `TrainingOptions`; an unset flag means the default of the model."""
    options = kz.run.options
    names = ("SCHEDULES", "OPTIMIZERS", "DTYPES", "FEEDS", "PLACEMENTS")
    choices = {name: ", ".join(getattr(options, name)) for name in names}
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_multi_string,
    }
    words = {"learning_rate": (float, "find"), "batch_tokens": (int, "auto")}
    with flag_group("Training", {name: getattr(DEFAULTS, name) for name in TRAINING}):
        for name in TRAINING:
            if name in words:
                define_number_or_word(name, *words[name], TRAINING_HELP[name])
            else:
                define[type(getattr(DEFAULTS, name))](name, None, TRAINING_HELP[name].format(**choices))


def define_run() -> None:
    """Defines what a training has: its model, its task, its options and its folder."""
    define_model()
    define_task()
    define_training()
    define_run_dir(required=False)
    define_processes()
    with flag_group("Run and output"):
        flags.DEFINE_bool("evaluate", True, "Evaluate the dev examples after training and print the results.")
        flags.DEFINE_bool("override_resume", False, "Continue a run although its training options or its data changed.")
        flags.DEFINE_bool("tensorboard", True, "Write TensorBoard events, if TensorBoard is installed.")


def run_arguments() -> dict[str, Any]:
    """Returns the arguments of a training without those that name its model."""
    return {
        "task": FLAGS.task,
        "run_dir": FLAGS.run_dir,
        "model_options": kz.parse_assignments("--set", FLAGS.set),
        "task_options": task_options(),
        "training": training_options(),
        "imports": getattr(FLAGS, "import"),
        "evaluate": FLAGS.evaluate,
        "tensorboard": FLAGS.tensorboard,
        "override_resume": FLAGS.override_resume,
        "command": repeatable_flags(),
        "print_fn": command.log,
    }


def repeatable_flags() -> list[str]:
    """Returns the flags that were given, those of flag files included, for run.flags."""
    given = [FLAGS[name] for name in FLAGS if FLAGS[name].present and name not in NOT_REPEATED]
    return [line for flag in given for line in flag.serialize().splitlines()]


def define_processes() -> None:
    """Defines which processes work together."""
    with flag_group("Processes"):
        flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0 of several, with KERAS_BACKEND=jax; or auto: "
                            "found with the other two by JAX, on Slurm, Kubernetes and TPU pods.")  # fmt: skip
        flags.DEFINE_integer("num_processes", None, "Number of processes.", lower_bound=1)
        flags.DEFINE_integer("process_id", None, "Number of this process, from 0.", lower_bound=0)


def use_processes() -> None:
    """Joins the processes that work together, if the flags say that there are several."""
    if FLAGS.coordinator is not None:
        kz.training.processes.connect(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    elif FLAGS.num_processes is not None or FLAGS.process_id is not None:
        raise command.UsageError("--num_processes and --process_id need --coordinator=HOST:PORT.")


def use_cache() -> None:
    """Sets the folder of prepared data if the flag was set."""
    if FLAGS.cache_dir is not None:
        kz.data.set_cache_dir(FLAGS.cache_dir)


def training_options() -> dict[str, Any]:
    """Returns the training flags that were set."""
    return _set_flags(TRAINING)


def task_options() -> dict[str, Any]:
    """Returns the options of the task that were set."""
    return {**_set_flags(TASK), **kz.parse_assignments("--task_option", FLAGS.task_option)}


def run_dirs(first: str) -> str | list[str]:
    """Returns the runs that predict: the folder `first`, or a list of it and those of --ensemble."""
    return [first, *FLAGS.ensemble] if FLAGS.ensemble else first


def search_options(generates: bool = True) -> dict[str, Any]:
    """Returns the flags of the search that were set, as options of a prediction.

    Args:
        generates: boolean. Whether the model generates; the best classes of a classifier need no search. Defaults to
            `True`.
    """
    options = _set_flags(tuple(name for name in SEARCH if name in FLAGS))
    if generates and options.get("n_best", 1) > 1:
        options.setdefault("search", "beam")
        if options["search"] == "beam":
            options.setdefault("num_beams", max(4, options["n_best"]))
    if FLAGS.stop:
        options["stop_strings"] = list(FLAGS.stop)
    if "draft_run" in FLAGS and FLAGS.draft_run is not None:
        options.setdefault("search", "speculative")
        options["draft"] = kz.load(FLAGS.draft_run).model
    return {**options, **kz.parse_assignments("--option", FLAGS.option)}


def _set_flags(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
