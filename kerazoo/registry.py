"""Registry: a table from names to values, with wildcards, lazy imports and the nearest name for a misspelt one."""

import fnmatch
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kerazoo import _checks, _docstrings, _options

_LAZY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Registry:
    """A table from names to values that refuses duplicates and offers the nearest name for a misspelt one.

    A value may be given as `"module:name"`. It is then imported by the first `get`, so that a table of many classes
    can be listed without importing them.

    Args:
        what: string. What a name stands for, used in error messages, such as `"model"`.
        all_names: string. The call that lists the whole table, used in error messages. Defaults to the names
            themselves.

    Example:

    ```python
    from kerazoo.registry import Registry

    shapes = Registry("shape")
    shapes.add("ratio", "fractions:Fraction")  # imported when it is needed

    @shapes.register("square")
    def square(side=2):
        return side * side

    assert shapes.names("s*") == ["square"]
    assert shapes.get("square")(3) == 9
    assert shapes.parse("square:side=5") == ("square", {"side": 5})
    ```
    """

    def __init__(self, what: str, all_names: str | None = None):
        self.what = what
        self.all_names = all_names
        self._values: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def add(self, name: str, value: Any, *, replace: bool = False) -> Any:
        """Adds `value` under `name`.

        Args:
            name: string. The new name.
            value: any object, or `"module:name"` of an object that is imported when it is needed.
            replace: boolean. Whether an existing value may be replaced. Defaults to `False`.

        Returns:
            `value`.

        Raises:
            TypeError: if `name` is not a string.
            ValueError: if `name` is empty, has blanks around it, contains `:` or is taken while `replace` is `False`.
        """
        if not isinstance(name, str):
            raise TypeError(f"Registry: `name` of a {self.what} must be a string; got name={name!r}.")
        if not name or name != name.strip():
            raise ValueError(f"Registry: `name` of a {self.what} must be a word; got name={name!r}.")
        if name in self._values and not replace:
            raise ValueError(
                f"Registry: {self.what} {name!r} is already registered: {self._values[name]}. "
                "Use another name, or pass replace=True."
            )
        self._values[name] = value
        return value

    def register(self, name: str, *, replace: bool = False) -> Callable[[Any], Any]:
        """Returns a decorator that adds a class or function under `name`; see `add`."""

        def decorate(value):
            return self.add(name, value, replace=replace)

        return decorate

    def get(self, name: str) -> Any:
        """Returns the value of `name`, imported if it was added as `"module:name"`.

        Raises:
            ValueError: if there is no such name; the message offers the nearest ones.
        """
        if name not in self._values:
            raise _checks.unknown(self.what, name, list(self), self.all_names or ", ".join(self))
        value = self._values[name]
        if isinstance(value, str) and _LAZY.fullmatch(value):
            module, attribute = value.split(":")
            value = self._values[name] = getattr(importlib.import_module(module), attribute)
        return value

    def names(self, pattern: str = "*") -> list[str]:
        """Returns the sorted names that match `pattern`, in which `*`, `?` and `[abc]` are wildcards."""
        return [name for name in self if fnmatch.fnmatchcase(name, pattern)]

    def parse(self, text: str) -> tuple[str, dict[str, Any]]:
        """Returns the name and the options of `"NAME"` or `"NAME:OPTION=VALUE,OPTION=VALUE"`.

        Values are Python literals, and text where they are not. A comma inside a literal belongs to the value.

        Raises:
            TypeError: if `text` is not a string.
            ValueError: if there is no such name, or the options are not written like that.
        """
        name, options = _options.parse_options(f"{self.what}:", text)
        if name not in self._values:
            self.get(name)
        return name, options

    def check_options(self, name: str, options: Iterable[str], accepted: Iterable[str] | None = None) -> None:
        """Refuses options that the class or function of `name` does not accept.

        Args:
            name: string. A name of the table.
            options: iterable of strings. Names of options.
            accepted: iterable of strings. The accepted options. Defaults to the arguments of the value of `name`.

        Raises:
            ValueError: for the first unknown option; the message offers the nearest ones.
        """
        accepted = tuple(argument_names(self.get(name)) if accepted is None else accepted)
        for option in options:
            if option not in accepted:
                raise _checks.unknown(f"option of {self.what} {name}:", option, accepted, ", ".join(accepted) or "none")


def argument_names(function: Callable) -> tuple[str, ...]:
    """Returns the names of the arguments that a function, or the constructor of a class, takes by name."""
    parameters = _docstrings.parameters(function)
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def lazy_names(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` of a package whose names are imported when they are first used.

    Args:
        package: string. The name of the package.
        names: mapping from names to the modules of the package that define them.
    """
    namespace = vars(sys.modules[package])

    def load(name):
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        return namespace[name]

    def listed():
        return sorted({*namespace, *names})

    return load, listed
