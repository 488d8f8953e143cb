"""The table of models: a name, the class behind it, its sizes, what it is for and where its configuration is from.

Reading the table imports no Keras: a row names its class, and only `create` loads it. The number of parameters stands
in the row and a test counts it.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Mapping

from kerazoo import _checks
from kerazoo.registry import Registry

KINDS = ("seq2seq", "language_model", "classifier", "binary_classifier", "autoencoder")

# What `keras.Model` itself takes, through the `**kwargs` of a constructor.
_KERAS_ARGUMENTS = ("name", "dtype", "trainable")


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One row of the catalog.

    Args:
        cls: The class, or `"module:name"` of it.
        kind: What the model is for, one of `KINDS`; a task serves some kinds.
        sizes: Constructor arguments of this row.
        reference: Where the configuration is from.
        parameters: Number of weights with these sizes, or None if nobody counted.
        training: Fields of `TrainingOptions` that this model wants different.
    """

    cls: type | str
    kind: str
    sizes: Mapping = dataclasses.field(default_factory=dict)
    reference: str | None = None
    parameters: int | None = None
    training: Mapping = dataclasses.field(default_factory=dict)

    def __str__(self):
        count = f", {self.parameters:,} parameters" if self.parameters else ""
        sizes = ", ".join(f"{name}={value!r}" for name, value in self.sizes.items())
        source = f"\n  {self.reference}" if self.reference else ""
        return f"{self.kind}{count}\n  {self.class_name}({sizes}){source}"

    @property
    def class_name(self) -> str:
        """The bare name of the class."""
        return self.cls.split(":")[-1] if isinstance(self.cls, str) else self.cls.__name__

    def load(self) -> type:
        """Returns the class, importing its module where that is still to be done."""
        if not isinstance(self.cls, str):
            return self.cls
        module, name = self.cls.split(":")
        return getattr(importlib.import_module(module), name)


_models = Registry("model", all_names="kerazoo.list_models()")


def list_models(pattern: str = "*", kind: str | None = None) -> list[str]:
    """Returns the sorted names of the models that match.

    Args:
        pattern: What a name must look like; `*`, `?` and `[abc]` are wildcards.
        kind: One of `KINDS` to see only models of that kind.

    Example:

    ```python
    import kerazoo as kz

    assert "lstm_seq2seq_attention" in kz.list_models("*lstm*")
    assert "transformer_lm_tiny" in kz.list_models(kind="language_model")
    ```
    """
    if kind is not None:
        _checks.one_of("list_models", "kind", kind, KINDS)
    return [name for name in _models.names(pattern) if kind in (None, _models.get(name).kind)]


def describe(name: str) -> ModelSpec:
    """Returns the row of a model; printed, it tells what the model is for, its sizes and their source."""
    return _models.get(name)


get = describe


def arguments(name: str) -> tuple[str, ...]:
    """Returns the names of the constructor arguments of a model."""
    parameters = inspect.signature(_models.get(name).load().__init__).parameters.values()
    named = [p.name for p in list(parameters)[1:] if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return tuple(dict.fromkeys([*named, *(_KERAS_ARGUMENTS if open_ended else ())]))


def check_overrides(name: str, overrides: Mapping) -> None:
    """Refuses names in `overrides` that the constructor of the model lacks, and offers the nearest."""
    known = arguments(name)
    for argument in overrides:
        if argument not in known:
            owner = _models.get(name).class_name
            raise _checks.unknown(f"argument of {name} ({owner})", argument, known, ", ".join(known))


def create(name: str, **overrides):
    """Returns a new model with the sizes of its row.

    Args:
        name: A name of `list_models()`.
        **overrides: Constructor arguments that shall differ from the row.

    Raises:
        ValueError: if there is no such model or argument; the message offers the nearest name.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq", source_vocabulary_size=50, target_vocabulary_size=40)
    logits = model({"source": [[5, 6, 7]], "targets": [[8, 9]]})  # [1, 2, 40]
    ```
    """
    spec = _models.get(name)
    check_overrides(name, overrides)
    return spec.load()(**{**spec.sizes, **overrides})


def count_parameters(name: str, **overrides) -> int:
    """Returns the number of weights of a model; nothing of that size is put into memory.

    Args:
        name: A name of `list_models()`.
        **overrides: Constructor arguments that shall differ from the row.
    """
    spec = _models.get(name)
    if not overrides and spec.parameters is not None:
        return spec.parameters
    from kerazoo import _backend

    with _backend.no_memory():
        model = create(name, **overrides)
        model.build_from_inputs()
        return model.count_params()


def register(name: str, kind: str, sizes: Mapping | None = None, reference: str | None = None, replace: bool = False):
    """Returns a decorator that puts a class of your own into the catalog.

    The model then answers to its name everywhere: in `create`, in the listings and on the command line
    (`--import=my_module --model=mine`). The class is made known to Keras as well, so that its files load again.

    Args:
        name: The name of the row; a taken one is refused.
        kind: What the model is for, one of `KINDS`.
        sizes: Constructor arguments of this row.
        reference: Where the configuration is from.
        replace: Whether a row of that name is replaced, for a cell of a notebook that runs twice.

    Example:

    ```python
    import keras
    import kerazoo as kz

    @kz.register("linear_classifier", kind="classifier", sizes={"num_classes": 10}, replace=True)
    class Linear(kz.models.Classifier):
        def __init__(self, num_classes, input_shape=(64,), **kwargs):
            encoder = kz.layers.DenseEncoder(units=(num_classes,), activation=None)
            super().__init__(encoder, num_classes, input_shape=input_shape, **kwargs)

    model = kz.create("linear_classifier", num_classes=3)
    ```
    """
    _checks.one_of("register", "kind", kind, KINDS)
    if not isinstance(name, str):
        raise TypeError(f'register: write `@kerazoo.register("name", kind=...)` above the class; got name={name!r}.')

    def decorate(cls):
        import keras

        if keras.saving.get_registered_name(cls) == cls.__name__:  # nobody has told Keras of this class
            keras.saving.register_keras_serializable(package=cls.__module__)(cls)
        _models.add(name, ModelSpec(cls, kind, dict(sizes or {}), reference), replace=replace)
        check_overrides(name, sizes or {})
        return cls

    return decorate


def import_modules(names) -> None:
    """Imports modules of your own by name, so that their `register` lines take effect."""
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.split(".")[0] and error.name != name:
                raise
            raise _checks.SetupError(
                f"No module {name!r} to import. It is looked for in the current folder and on PYTHONPATH."
            ) from error
