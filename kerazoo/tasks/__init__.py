"""What to learn, by name. Importing this, and asking which tasks there are, loads neither Keras nor TensorFlow."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable

from kerazoo import _checks
from kerazoo.registry import Registry
from kerazoo.tasks.base import Task
from kerazoo.tasks.known import Known, read_saved
from kerazoo.tasks.text_options import TextOptions

__all__ = [
    "DEFAULT",
    "Known",
    "Task",
    "TaskSpec",
    "TextOptions",
    "create",
    "default",
    "describe",
    "kinds",
    "names",
    "register",
    "restore",
    "training",
]


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

_tasks = Registry("task", all_names="kerazoo.tasks.names()")
for _name, _spec in {
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
}.items():
    _tasks.add(_name, _spec)


def names(pattern="*"):
    """Returns the sorted names of the tasks that match a wildcard pattern; `tfds:NAME` stands for any name."""
    return _tasks.names(pattern)


def describe(name):
    """Returns the `TaskSpec` of a task.

    Raises:
        ValueError: There is no such task; the message offers the nearest names.
    """
    return _tasks.get(PREFIX + "NAME" if str(name).startswith(PREFIX) else name)


def kinds(name):
    """Returns the kinds of model that a task may train."""
    return describe(name).kinds


def default(kind):
    """Returns the name of the task that a kind of model trains on unless told otherwise."""
    if kind not in DEFAULT:
        raise _checks.unknown("kind", kind, DEFAULT, ", ".join(DEFAULT))
    return DEFAULT[kind]


def training(name, kind):
    """Returns the fields of `TrainingOptions` that suit a task, as a dictionary."""
    return dict(_fitting(name, kind).training)


def create(name, kind=None, **options):
    """Returns the task `name` for models of `kind`.

    Args:
        name: A name of `names()`, or `tfds:` and the name of a TensorFlow data set.
        kind: A kind of the catalog; the task's first one by default.
        **options: Options of the task, such as `data_dir` or `length`; None stands for the default.

    Returns:
        A `Task`. The data is not read yet, but it is there.

    Raises:
        ValueError: Unknown task or option, or a kind that does not fit.
        DataError: The data is not where it should be.
        SetupError: A package that holds the data is missing.

    Example:

    ```python
    import kerazoo as kz

    task = kz.tasks.create("reverse", length=5)
    words, answers = task.examples("dev", limit=2)
    print(words, answers, task.encode(words))
    ```
    """
    task = _build(name, kind, {key: value for key, value in options.items() if value is not None}, None)
    task.find()
    return task


def restore(folder, **options):
    """Returns the task that `Task.save` wrote into `folder`; the data is needed only for `load` and `examples`.

    Args:
        folder: The folder.
        **options: Options that changed since, such as `data_dir`; None stands for no change.

    Raises:
        DataError: There is no task in the folder, or its files do not belong together.
    """
    record, known = read_saved(folder)
    changed = {key: value for key, value in options.items() if value is not None}
    return _build(record["name"], record["kind"], {**record["options"], **changed}, known)


def register(name, kinds, about="", training=None, replace=False):
    """Returns a decorator that puts a task of your own into the table.

    Args:
        name: The name; a taken one is refused.
        kinds: Tuple of the kinds of model that it trains.
        about: What it is, in a line.
        training: Dictionary of the fields of `TrainingOptions` that suit it.
        replace: Whether a task of that name is replaced.

    Example:

    ```python
    import kerazoo as kz
    from kerazoo.tasks.sequences import SequenceTask

    def doubles(split):
        words = {"train": ["a", "b"], "dev": ["ab"], "test": ["ba"]}[split]
        return {"source": words, "target": [2 * word for word in words]}

    def tokenizers(sources, targets):
        return kz.text.Characters("ab"), kz.text.Characters("ab")

    @kz.tasks.register("double", kinds=("seq2seq",), replace=True)
    def build(name, kind, restored=None):
        return SequenceTask(name, kind, {}, doubles, restored, make_tokenizers=tokenizers)

    print(kz.tasks.create("double").sizes())
    ```
    """

    def decorate(build):
        _tasks.add(name, TaskSpec(build, tuple(kinds), about, dict(training or {})), replace=replace)
        return build

    return decorate


def _build(name, kind, options, known):
    spec = _fitting(name, kind)
    build = spec.load()
    allowed = _options(build)
    for key in options:
        if key not in allowed:
            listed = ", ".join(allowed) or "none"
            raise ValueError(f"task {name}: no option {key!r}; it has: {listed}.{_checks.hint(key, allowed)}")
    return build(name, kind or spec.kinds[0], restored=known, **options)


def _options(build):
    """Returns the names of the options that a function which builds a task takes."""
    given = inspect.signature(build).parameters
    names = [key for key in given if key not in ("name", "kind", "restored", "text")]
    return names + [field.name for field in dataclasses.fields(TextOptions)] if "text" in given else names


def _fitting(name, kind):
    spec = describe(name)
    if kind is not None and kind not in spec.kinds:
        fitting = [other for other in names() if kind in _tasks.get(other).kinds]
        raise ValueError(
            f"task {name}: trains models of kind {', '.join(spec.kinds)}; got kind={kind!r}. "
            f"Tasks for {kind}: {', '.join(fitting) or 'none'}."
        )
    return spec
