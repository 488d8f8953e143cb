"""The recipes that are installed with the commands: flag files, found by their names from any folder."""

import difflib
import pathlib
import re
from collections.abc import Sequence

FOLDER = pathlib.Path(__file__).with_name("recipes")
FLAGS = ("--flagfile", "-flagfile")
COMMAND = re.compile(r"# *(?:python |pip |[A-Z]=|-)")  # and the lines that continue a command


def names() -> list[str]:
    """Returns the names of all recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.flags"))


def path(name: str) -> pathlib.Path:
    """Returns the flag file of the recipe `name`."""
    if name not in names():
        close = difflib.get_close_matches(name, names())
        near = f" Close names: {', '.join(close)}." if close else ""
        raise ValueError(
            f"--flagfile: there is no file and no recipe {name!r}.{near} All: python -m experiments.run --list_recipes."
        )
    return FOLDER / f"{name}.flags"


def description(name: str) -> str:
    """Returns what a recipe trains: the beginning of its first sentence."""
    lines = path(name).read_text(encoding="utf-8").splitlines()
    text = " ".join(line.lstrip("# ") for line in lines if line.startswith("#") and not COMMAND.match(line))
    return re.split(r"[.:] | \(", text)[0]


def find(arguments: Sequence[str]) -> list[str]:
    """Returns a command line with the flag file of a recipe where `--flagfile` has its name.

    A file of this name in the working directory is taken first. A word that is neither is refused.
    """
    found, rest = [], list(arguments)
    while rest and rest[0] != "--":
        argument = rest.pop(0)
        if argument in FLAGS and rest:
            argument = f"{argument}={rest.pop(0)}"
        flag, _, name = argument.partition("=")
        if flag in FLAGS and re.fullmatch(r"\w+", name) and not pathlib.Path(name).exists():
            argument = f"{flag}={path(name)}"
        found.append(argument)
    return found + rest
