"""Tasks: a source of examples, input features and a target feature; ready tasks have names.

Importing this package, and listing the tasks, loads neither Keras nor TensorFlow.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kerazoo import _checks, _docstrings
from kerazoo.registry import Registry, lazy_names
from kerazoo.tasks.table import DEFAULT, PREFIX, SPECS, TaskSpec

if TYPE_CHECKING:
    from kerazoo.tasks.task import Task

_NAMES = {
    "DenoisedTextFeature": "corruption_features",
    "Feature": "feature",
    "FutureFeature": "future_feature",
    "GappedTextFeature": "gapped_text_feature",
    "ImageFeature": "image_feature",
    "LabelFeature": "label_feature",
    "MEASURES": "measures",
    "MaskedSpansFeature": "corruption_features",
    "MaskedTokensFeature": "corruption_features",
    "MatchFeature": "similarity_feature",
    "Measure": "measures",
    "NumberFeature": "number_feature",
    "PixelsFeature": "pixels_feature",
    "SeriesFeature": "series_feature",
    "SimilarityFeature": "similarity_feature",
    "SoundFeature": "sound_feature",
    "SpectrogramFeature": "spectrogram_feature",
    "Task": "task",
    "TextFeature": "text_feature",
    "TextOptions": "text_options",
    "Vocabulary": "text_feature",
}

__all__ = [
    "DEFAULT",
    *_NAMES,
    "TaskSpec",
    "create",
    "default",
    "describe",
    "explain",
    "kinds",
    "names",
    "options",
    "register",
    "restore",
    "training",
]


__getattr__, __dir__ = lazy_names(__name__, _NAMES)


_tasks = Registry("task", all_names="kerazoo.tasks.names()")
for _name, _spec in SPECS.items():
    _tasks.add(_name, _spec)


def names(pattern: str = "*") -> list[str]:
    """Returns the sorted names of the tasks that match a wildcard pattern; `tfds:NAME` stands for any name."""
    return _tasks.names(pattern)


def describe(name: str) -> TaskSpec:
    """Returns the `TaskSpec` of a task.

    Raises:
        ValueError: if there is no such task; the message offers the nearest names.
    """
    return _tasks.get(PREFIX + "NAME" if str(name).startswith(PREFIX) else name)


def kinds(name: str) -> tuple[str, ...]:
    """Returns the kinds of model that a task may train."""
    return describe(name).kinds


def default(kind: str) -> str:
    """Returns the name of the task that a kind of model trains on by default."""
    if kind not in DEFAULT:
        raise _checks.unknown("kind", kind, DEFAULT, ", ".join(DEFAULT))
    return DEFAULT[kind]


def training(name: str, kind: str | None) -> dict:
    """Returns the fields of `TrainingOptions` that suit a task, as a dictionary."""
    return dict(_fitting(name, kind).training)


def options(name: str) -> list[str]:
    """Returns the names of the options of a task."""
    given = inspect.signature(describe(name).load()).parameters
    names = [key for key in given if key not in ("name", "kind", "text")]
    if "text" not in given:
        return names
    from kerazoo.tasks.text_options import TextOptions

    return names + [field.name for field in dataclasses.fields(TextOptions)]


def explain(name: str) -> dict[str, tuple[Any, str]]:
    """Returns the default value and the description of each option of a task."""
    functions = [describe(name).load()]
    if "text" in inspect.signature(functions[0]).parameters:
        from kerazoo.tasks.text_options import TextOptions

        functions.append(TextOptions)
    defaults, texts = {}, {}
    for function in functions:
        defaults |= _docstrings.argument_defaults(function)
        texts |= _docstrings.argument_help(function)
    return {option: (defaults.get(option), texts.get(option, "")) for option in options(name)}


def create(name: str, kind: str | None = None, **options: Any) -> "Task":
    """Returns the task `name` for models of `kind`.

    Args:
        name: string. A name of `names()`, or `tfds:` and the name of a TensorFlow data set.
        kind: string. A kind of the catalog. Defaults to the first kind that the task trains.
        **options: options of the task, such as `data_dir` or `length`; `None` stands for the default.

    Returns:
        A `Task`. The data exists, and is read when it is needed.

    Raises:
        ValueError: if the task or an option is unknown, or `kind` does not fit.
        DataError: if the data is missing.
        SetupError: if a package that holds the data is missing.

    Example:

    ```python
    import kerazoo as kz

    task = kz.tasks.create("reverse", length=5)
    words, targets = task.examples("dev", limit=2)
    print(words, targets, task.encode(words))
    ```
    """
    task = build(name, kind, {key: value for key, value in options.items() if value is not None})
    task.check()
    return task


def restore(folder: str | os.PathLike, **options: Any) -> "Task":
    """Returns the task that `Task.save` saved in `folder`; data is needed only for `load` and `examples`.

    Nothing is downloaded for it unless `download=True` is given again.

    Args:
        folder: string or path. The folder.
        **options: options that changed since, such as `data_dir`; `None` stands for no change.

    Raises:
        DataError: if there is no task in the folder, or its files do not belong together.
        ValueError: if an option changed that the features were fitted with.
    """
    from kerazoo.tasks import saved_task

    record = saved_task.read(folder)
    try:
        name, kind, saved = record["name"], record["kind"], record["options"]
    except (KeyError, TypeError) as error:
        raise _checks.DataError(f"{folder}: cannot be read as a task: {error!r}.") from error
    changed = {key: value for key, value in options.items() if value is not None}
    if "download" in saved:
        saved = {**saved, "download": False}
    task = build(name, kind, {**saved, **changed})
    saved_task.read_state(folder, task)
    return task


def register(
    name: str,
    kinds: Iterable[str],
    about: str = "",
    training: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Callable:
    """Returns a decorator that registers the user's task.

    Args:
        name: string. The name, which must be new unless `replace`.
        kinds: tuple of strings. The kinds of model that it trains.
        about: string. A description in one line. Defaults to `""`.
        training: dict. Fields of `TrainingOptions` that suit it. Defaults to `None`.
        replace: bool. Whether a task of that name is replaced. Defaults to `False`.

    Example:

    ```python
    import kerazoo as kz

    def read(split):
        words = {"train": ["a", "b"], "dev": ["ab"], "test": ["ba"]}[split]
        return {"word": words, "twice": [2 * word for word in words]}

    @kz.tasks.register("double", kinds=("seq2seq",), replace=True)
    def build(name, kind):
        features = kz.tasks.TextFeature("word"), kz.tasks.TextFeature("twice")
        return kz.tasks.Task(kz.data.MemorySource(read), features[:1], features[1], name)

    print(kz.tasks.create("double").sizes())
    ```
    """

    def decorate(build):
        _tasks.add(name, TaskSpec(build, tuple(kinds), about, dict(training or {})), replace=replace)
        return build

    return decorate


def build(name: str, kind: str | None, given: Mapping[str, Any]) -> "Task":
    """Returns a task as `create` does, whose data need not be there.

    Args:
        name: string. As for `create`.
        kind: string. As for `create`.
        given: dict. The options of the task.
    """
    spec = _fitting(name, kind)
    allowed = options(name)
    for key in given:
        if key not in allowed:
            listed = ", ".join(allowed) or "none"
            hint = _checks.hint(key, allowed)
            if key == "data_dir":
                hint = " Name the task that reads your data, such as task='table'; kerazoo.tasks.names() lists them."
            raise ValueError(f"task {name}: no option {key!r}; it has: {listed}.{hint}")
    chosen = kind if "targets" in given else kind or spec.kinds[0]
    return spec.load()(name, chosen, **given)


def _fitting(name, kind):
    spec = describe(name)
    if kind is not None and kind not in spec.kinds:
        fitting = [other for other in names() if kind in _tasks.get(other).kinds]
        raise ValueError(
            f"task {name}: trains models of kind {', '.join(spec.kinds)}; got kind={kind!r}. "
            f"Tasks for {kind}: {', '.join(fitting) or 'none'}."
        )
    return spec
