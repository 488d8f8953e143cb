"""The table of tasks: a name, the function that builds it, the kinds of model that it trains."""

import dataclasses
import importlib
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """One row of the table of tasks.

    Args:
        build: Function `(name, kind, *, restored=None, **options) -> Task`, or `"module:function"` of it. One that
            ends in `**text` also takes the options of `TextOptions`.
        kinds: The kinds of model that it trains, the most natural first.
        about: What it is, in a line.
        training: Fields of `TrainingOptions` that suit it.
    """

    build: Callable | str
    kinds: tuple
    about: str
    training: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        return f"{self.about} ({', '.join(self.kinds)})"

    def load(self):
        """Returns the function, importing its module where that is still to be done."""
        if not isinstance(self.build, str):
            return self.build
        module, name = self.build.split(":")
        return getattr(importlib.import_module(module), name)


PREFIX = "tfds:"  # what follows is the name of a TensorFlow data set
IMAGES = ("classifier", "binary_classifier", "autoencoder")
DEFAULT = {
    "seq2seq": "cmudict",
    "language_model": "topics",
    "classifier": "digits",
    "binary_classifier": "digits",
    "autoencoder": "digits",
}

SPECS = {
    "cmudict": TaskSpec(
        "kerazoo.tasks.pronunciation:build",
        ("seq2seq",),
        "English words to their phones (CMUdict)",
        {"batch_size": 128, "epochs": 6},
    ),
    "digits": TaskSpec(
        "kerazoo.tasks.digits:build",
        IMAGES,
        "8x8 images of handwritten digits (scikit-learn)",
        {"batch_size": 32, "epochs": 30},
    ),
    "topics": TaskSpec(
        "kerazoo.tasks.topics:build",
        ("language_model",),
        "Python's own help texts",
        {"batch_size": 16, "epochs": 12},
    ),
    "table": TaskSpec(
        "kerazoo.tasks.tables:build",
        ("seq2seq", "classifier", "language_model"),
        "your own tables, .tsv .csv .jsonl .txt: --data_dir=FOLDER with train.csv, one file, or a pattern",
    ),
    "tsv": TaskSpec(
        "kerazoo.tasks.tables:build",
        ("seq2seq", "classifier", "language_model"),
        "the same as table; a file of unknown ending is tab-separated",
    ),
    "parallel": TaskSpec(
        "kerazoo.tasks.tables:build_parallel",
        ("seq2seq",),
        "your own pairs of files: --data_dir=FOLDER with train.en and train.de",
    ),
    "text": TaskSpec(
        "kerazoo.tasks.long_texts:build",
        ("language_model",),
        "your own long text: --data_dir=FILE, or a folder with train.txt",
        {"batch_size": 16},
    ),
    "images": TaskSpec(
        "kerazoo.tasks.image_folders:build",
        IMAGES,
        "your own images: --data_dir=FOLDER with train/CLASS/IMAGE.png, or CLASS/IMAGE.png",
    ),
    "series": TaskSpec(
        "kerazoo.tasks.series:build",
        ("autoencoder",),
        "your own series of numbers: --data_dir=FILE.csv with a header",
        {"batch_size": 32, "epochs": 30},
    ),
    PREFIX + "NAME": TaskSpec(
        "kerazoo.tasks.tfds:build",
        (*IMAGES, "language_model", "seq2seq"),
        "a TensorFlow data set by name: --data_dir=FOLDER where it is prepared",
    ),
    "copy": TaskSpec("kerazoo.tasks.synthetic:build_copy", ("seq2seq",), "random letters to themselves"),
    "reverse": TaskSpec("kerazoo.tasks.synthetic:build_reverse", ("seq2seq",), "random letters from back to front"),
    "addition": TaskSpec("kerazoo.tasks.synthetic:build_addition", ("seq2seq",), "12+7 to 19"),
}
