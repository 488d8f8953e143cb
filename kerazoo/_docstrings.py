"""The arguments of a function or class, read from its docstring and its signature."""

import inspect
import re
from collections.abc import Callable
from typing import Any

_ARGUMENT = re.compile(r"(\w+): (.*)")


def argument_help(function: Callable) -> dict[str, str]:
    """Returns the text of each argument in the section `Args` of a docstring."""
    lines = (inspect.getdoc(function) or "").split("\n")
    texts: dict[str, str] = {}
    name = None
    for line in lines[lines.index("Args:") + 1 :] if "Args:" in lines else []:
        if line and not line.startswith("    "):
            break
        match = _ARGUMENT.fullmatch(line[4:])
        if match:
            name = match[1]
            texts[name] = match[2]
        elif name:
            texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts


def parameters(function: Callable) -> list[inspect.Parameter]:
    """Returns the parameters of a function, or those of a constructor without `self`."""
    if not inspect.isclass(function):
        return list(inspect.signature(function).parameters.values())
    # The signature of a class whose constructor is inherited is that of its `__new__` before Python 3.11.4.
    return list(inspect.signature(function.__init__).parameters.values())[1:]


def argument_defaults(function: Callable) -> dict[str, Any]:
    """Returns the default values of the arguments of a function or constructor."""
    return {each.name: each.default for each in parameters(function) if each.default is not each.empty}
