"""A table of names: no duplicates, wildcards, and a near name offered for a wrong one."""

import fnmatch

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
