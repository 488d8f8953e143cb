"""What to learn, by name. Importing this, and asking which tasks there are, loads neither Keras nor TensorFlow."""

import dataclasses
import inspect

from kerazoo import _checks
from kerazoo.registry import Registry
from kerazoo.tasks.base import Task
from kerazoo.tasks.known import Known, read_saved
from kerazoo.tasks.specs import DEFAULT, PREFIX, SPECS, TaskSpec
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


_tasks = Registry("task", all_names="kerazoo.tasks.names()")
for _name, _spec in SPECS.items():
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
        return kz.text.CharacterTokenizer("ab"), kz.text.CharacterTokenizer("ab")

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
