"""The command `kerazoo`: `kerazoo run --model=NAME` is `python -m experiments.run --model=NAME`."""

import ast
import difflib
import importlib.metadata
import os
import pathlib
import platform
import runpy
import sys

import kerazoo as kz

COMMANDS = (
    "run",
    "evaluate",
    "predict",
    "export",
    "verify",
    "serve",
    "finetune",
    "compress",
    "inspect",
    "probe",
    "search",
    "shortlist",
    "reproduce",
    "benchmark",
    "launch",
    "inject_faults",
)
USAGE = 2


def main() -> None:
    """Runs the command that the first argument names, with the arguments after it."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-help", "-h", "help"):
        print(help_text())
    elif name in ("--version", "-V", "version"):
        print(version_text())
    elif name in COMMANDS:
        os.environ["KERAZOO_PROGRAM"] = "kerazoo "  # how the messages of this process and its own name commands
        sys.path.append(os.getcwd())  # for --import=my_module, as `python -m` has it
        sys.argv = [sys.argv[0], *arguments]
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    else:
        close = difflib.get_close_matches(name, COMMANDS)
        near = f" Close names: {', '.join(close)}." if close else ""
        print(f"error: unknown command {name!r}.{near} All: kerazoo --help.", file=sys.stderr)
        sys.exit(USAGE)


def help_text() -> str:
    """Returns a line for each command: the first one of its description."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {first_line(name)}" for name in COMMANDS]
    title = "kerazoo COMMAND ...: train, measure and use encoder-decoder models with Keras 3."
    note = "kerazoo COMMAND --help shows the flags of a command, kerazoo --version the versions."
    return "\n".join([title, "", *lines, "", note])


def first_line(name: str) -> str:
    """Returns the first line of the description of a command, which is read and not imported."""
    text = pathlib.Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def version_text() -> str:
    """Returns the versions that a report of a fault should name, found without importing the packages."""
    found = [f"Python {platform.python_version()}"]
    for name in ("keras", "tensorflow", "jax"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"kerazoo {kz.__version__} ({', '.join(found)})"


if __name__ == "__main__":
    main()
