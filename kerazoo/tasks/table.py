"""The table of tasks: a name, the function that builds it, the kinds of model that it trains."""

import dataclasses
import importlib
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """One row of the table of tasks.

    Args:
        build: function `(name, kind, **options) -> Task`, or `"module:function"` of it. One that ends in `**text` also
            takes the options of `TextOptions`.
        kinds: tuple of strings. The kinds of model that it trains, the default first.
        about: string. A description in one line.
        training: dict. Fields of `TrainingOptions` that suit it. Defaults to `{}`.
        licence: string. That of its data, where the task brings them. Defaults to `""`: they are the user's own.
    """

    build: Callable | str
    kinds: tuple[str, ...]
    about: str
    training: dict = dataclasses.field(default_factory=dict)
    licence: str = ""

    def __str__(self):
        return f"{self.about} ({', '.join(self.kinds)})"

    def load(self) -> Callable:
        """Returns the function, and imports its module if that is not imported yet."""
        if not isinstance(self.build, str):
            return self.build
        module, name = self.build.split(":")
        return getattr(importlib.import_module(module), name)


GENERATED = "none: the examples are generated"
PREFIX = "tfds:"  # followed by the name of a TensorFlow data set
IMAGE_KINDS = ("classifier", "binary_classifier", "autoencoder")
PIXEL_KINDS = (*IMAGE_KINDS, "seq2seq", "language_model")
TABLE_KINDS = ("seq2seq", "classifier", "language_model", "binary_classifier", "autoencoder", "forecaster")
DEFAULT = {
    "seq2seq": "cmudict",
    "language_model": "topics",
    "classifier": "digits",
    "binary_classifier": "digits",
    "autoencoder": "digits",
    "dual_encoder": "pairs",
    "masked_language_model": "masked_tokens",
    "forecaster": "forecast",
}

SPECS = {
    "cmudict": TaskSpec(
        "kerazoo.tasks.pronunciation:build",
        ("seq2seq",),
        "English words to their phones (CMUdict)",
        {"batch_size": 128, "epochs": 6},
        "CMUdict, BSD style",
    ),
    "digits": TaskSpec(
        "kerazoo.tasks.digits:build",
        PIXEL_KINDS,
        "8x8 images of handwritten digits (scikit-learn)",
        {"batch_size": 32, "epochs": 30},
        "UCI, Optical Recognition of Handwritten Digits, CC BY 4.0",
    ),
    "digit_strings": TaskSpec(
        "kerazoo.tasks.digit_strings:build",
        ("seq2seq",),
        "images of handwritten digits in a row to the string (MNIST in data_dir, or scikit-learn)",
        {"batch_size": 64, "epochs": 10},
    ),
    "digit_questions": TaskSpec(
        "kerazoo.tasks.digit_questions:build",
        ("seq2seq",),
        "images of handwritten digits and a question to the answer (MNIST in data_dir, or scikit-learn)",
        {"batch_size": 64, "epochs": 10},
    ),
    "topics": TaskSpec(
        "kerazoo.tasks.topics:build",
        ("language_model",),
        "Python's own help texts",
        {"batch_size": 16, "epochs": 12},
        "Python Software Foundation License",
    ),
    "table": TaskSpec(
        "kerazoo.tasks.own_data:build_table",
        TABLE_KINDS,
        "your own tables, .tsv .csv .jsonl .txt: data_dir is a folder with train.csv, one file, or a pattern",
    ),
    "tsv": TaskSpec(
        "kerazoo.tasks.own_data:build_table",
        TABLE_KINDS,
        "the same as table; a file of unknown ending is tab-separated",
    ),
    "parallel": TaskSpec(
        "kerazoo.tasks.own_data:build_parallel",
        ("seq2seq",),
        "your own pairs of files: data_dir is a folder with train.en and train.de",
    ),
    "text": TaskSpec(
        "kerazoo.tasks.own_data:build_text",
        ("language_model",),
        "your own long text: data_dir is a file, or a folder with train.txt",
        {"batch_size": 16},
    ),
    "prompts": TaskSpec(
        "kerazoo.tasks.prompted_text:build",
        ("language_model",),
        "your own prompts and what follows them, on which alone a language model is tuned: data_dir is a table",
    ),
    "images": TaskSpec(
        "kerazoo.tasks.own_data:build_images",
        PIXEL_KINDS,
        "your own images: data_dir is a folder with train/CLASS/IMAGE.png, or CLASS/IMAGE.png",
    ),
    "sounds": TaskSpec(
        "kerazoo.tasks.own_data:build_sounds",
        ("seq2seq", "forecaster"),
        "your own recordings to their transcripts, or back: data_dir is a folder with transcripts.tsv, or LJSpeech's",
        {"batch_size": 32, "epochs": 30},
    ),
    "series": TaskSpec(
        "kerazoo.tasks.own_data:build_series",
        ("autoencoder", "classifier", "binary_classifier"),
        "your own series of numbers: data_dir is a CSV file with a header",
        {"batch_size": 32, "epochs": 30},
    ),
    "forecast": TaskSpec(
        "kerazoo.tasks.forecast:build",
        ("forecaster",),
        "the future of your own series, with dates or without: data_dir is a CSV file with a header",
        {"batch_size": 32, "epochs": 15},
    ),
    "spoken_numbers": TaskSpec(
        "kerazoo.tasks.spoken_numbers:build",
        ("seq2seq",),
        "numbers, or your own texts, spoken by many voices (eSpeak NG) to their words",
        {"batch_size": 64, "epochs": 20},
    ),
    "speak_numbers": TaskSpec(
        "kerazoo.tasks.speak_numbers:build",
        ("forecaster",),
        "numbers in words, or your own texts, to their sound in one voice (eSpeak NG)",
        {"batch_size": 32, "epochs": 40},
    ),
    "pairs": TaskSpec(
        "kerazoo.tasks.pairs:build",
        ("dual_encoder",),
        "your own pairs of texts, with a score or as they belong together: data_dir is a table",
    ),
    "masked_tokens": TaskSpec(
        "kerazoo.tasks.pretraining:build",
        ("masked_language_model",),
        "pretraining on your own texts: masked tokens (BERT)",
        {"batch_size": 64},
    ),
    "span_corruption": TaskSpec(
        "kerazoo.tasks.pretraining:build",
        ("seq2seq",),
        "pretraining on your own texts: masked spans (T5)",
        {"batch_size": 64},
    ),
    "denoising": TaskSpec(
        "kerazoo.tasks.pretraining:build",
        ("seq2seq",),
        "pretraining on your own texts: the whole text from one with masked spans and moved sentences (BART)",
        {"batch_size": 64},
    ),
    PREFIX + "NAME": TaskSpec(
        "kerazoo.tasks.tensorflow_datasets:build",
        (*IMAGE_KINDS, "language_model", "seq2seq"),
        "a TensorFlow data set by name: data_dir is the folder where it is prepared",
    ),
    "copy": TaskSpec(
        "kerazoo.tasks.synthetic:build_copy", ("seq2seq",), "random letters to themselves", licence=GENERATED
    ),
    "reverse": TaskSpec(
        "kerazoo.tasks.synthetic:build_reverse", ("seq2seq",), "random letters from back to front", licence=GENERATED
    ),
    "addition": TaskSpec("kerazoo.tasks.synthetic:build_addition", ("seq2seq",), "12+7 to 19", licence=GENERATED),
}
