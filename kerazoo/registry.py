"""A table of names: no duplicates, wildcards, a near name for a wrong one; and what a row about a model says."""

import dataclasses
import fnmatch
import importlib
import inspect
from collections.abc import Mapping

from kerazoo import _checks


class Registry:
    """A table from names to values that refuses duplicates and helps with misspelt names.

    Args:
        what: string. What a name stands for, as it is written in errors, such as `"model"`.
        all_names: string. Where a reader finds the whole table, as it is written in errors.

    Example:

    ```python
    from kerazoo.registry import Registry

    colours = Registry("colour", all_names="colours.names()")
    colours.add("red", (255, 0, 0))
    colours.add("dark_red", (139, 0, 0))
    assert colours.names("*red") == ["dark_red", "red"]
    assert colours.get("red") == (255, 0, 0)
    ```
    """

    def __init__(self, what, all_names):
        self.what = what
        self.all_names = all_names
        self._values = {}

    def __contains__(self, name):
        return name in self._values

    def __iter__(self):
        return iter(sorted(self._values))

    def __len__(self):
        return len(self._values)

    def add(self, name: str, value, replace: bool = False):
        """Adds `value` under `name` and returns it.

        Raises:
            TypeError: if `name` is not a string.
            ValueError: if `name` is empty, or taken while `replace` is false.
        """
        if not isinstance(name, str):
            raise TypeError(f"Registry: `name` of a {self.what} must be a string; got name={name!r}.")
        if not name or name != name.strip():
            raise ValueError(f"Registry: `name` of a {self.what} must be a word; got name={name!r}.")
        if name in self._values and not replace:
            raise ValueError(
                f"Registry: {self.what} {name!r} is already there: {self._values[name]}. "
                "Take another name, or pass replace=True."
            )
        self._values[name] = value
        return value

    def get(self, name: str):
        """Returns the value of `name`.

        Raises:
            ValueError: if there is none; the message offers the nearest names.
        """
        if name not in self._values:
            raise _checks.unknown(self.what, name, sorted(self._values), self.all_names)
        return self._values[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Returns the sorted names that match `pattern`, in which `*`, `?` and `[abc]` are wildcards."""
        return [name for name in self if fnmatch.fnmatchcase(name, pattern)]

    def describe(self, name: str) -> str:
        """Returns the name with what is known of its value, for a person to read."""
        return f"{name}: {self.get(name)}"


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

    def arguments(self) -> tuple[str, ...]:
        """Returns the names of the constructor's arguments."""
        parameters = list(inspect.signature(self.load().__init__).parameters.values())[1:]
        named = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        return tuple(dict.fromkeys([*named, *(_KERAS_ARGUMENTS if open_ended else ())]))
