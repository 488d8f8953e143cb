"""The frame of every command: flags in groups, `--help`, errors in terms of flags, exit codes, quiet libraries."""

import contextlib
import dis
import faulthandler
import logging
import os
import re
import signal
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from absl import flags

import kerazoo as kz
from experiments import recipe_files

FLAGS = flags.FLAGS
USAGE = 2
ENVIRONMENT = 5
PREEMPTED, KEYBOARD_INTERRUPT, TERMINATED = 75, 130, 143
MAX_ERROR_LINES = 5
HELP = ("--help", "-help", "-h", "--helpfull")
GROUPS = ("Model", "Task and data", "Text", "Series", "Training", "Search", "Run and output")
NOTES = {"Training": "a model may have other defaults"}
# Flags that have another name than the argument.
ARGUMENTS = {
    "imports": "import",
    "start": "from",
    "adapters": "adapter",
    "draft": "draft_run",
    "quantile": "threshold_quantile",
}
FLAGFILE = "--flagfile: Read flags from this file, one in each line"
RECIPES = ", such as the run.flags of a run, or from a recipe by its name (python -m experiments.run --list_recipes)"
MODULES = "python -m experiments."  # what a command is called without the console script
# Options that remedies name and that have no flag of their own.
OPTIONS = {
    **dict.fromkeys(("download", "format", "height", "preprocess", "resample", "sample_rate", "width"), "task_option"),
    **dict.fromkeys(("source_language", "target_language"), "task_option"),
    **dict.fromkeys(("instance_normalization", "tie_output"), "set"),
}
# Remedies of a sentence, or of the end of one.
READING = re.compile(r"(?: Is there another delimiter\?)? Say (\w+)=.*?\.(?= |$)|, or say (\w+)=.*?\.(?= |$)")
NO_BOOLEAN = re.compile(r"\('Non-boolean argument to boolean flag', (.*)\)")  # as absl says it
AS_TRAINED = " The data must be written as that of the run."
REMEDY = re.compile(rf"\b((?:[Ss]et|[Ss]ay|or) )({'|'.join(OPTIONS)})=")
CALLS = {"kerazoo.list_models()": "--list_models='*'", "kerazoo.tasks.names()": "--list_tasks"}

_groups: dict[str, str] = {}  # flag -> group
_defaults: dict[str, Any] = {}  # flag -> what `--help` shows for a flag whose own default is None


class UsageError(ValueError):
    """A command line that is not valid (exit code 2)."""

    exit_code = USAGE


class InputError(ValueError):
    """Input that cannot be read (exit code 3)."""

    exit_code = 3


class Terminated(BaseException):
    """SIGTERM."""


@contextlib.contextmanager
def flag_group(title: str, defaults: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Puts the flags that are defined in the block under one title of `--help`.

    Args:
        title: string. One of `GROUPS`, or the title of a group that comes after them.
        defaults: mapping from flags to the defaults that `--help` shows for flags whose own default is `None`.
    """
    before = set(FLAGS)
    yield
    _groups.update(dict.fromkeys(set(FLAGS) - before, title))
    _defaults.update(defaults or {})


def run(
    main: Callable[[list[str]], int | None],
    description: str,
    positional: bool = False,
    more_help: Callable[[], list[str]] = list,
    resumes: bool = False,
) -> NoReturn:
    """Parses the command line, calls `main(arguments)` and exits.

    Args:
        main: function of the list of positional arguments. It returns the exit code, or `None` for 0.
        description: string. The text of `--help` above the flags.
        positional: boolean. Whether positional arguments are allowed. Defaults to `False`.
        more_help: function that returns further lines of `--help`, for the flags that were given with it. Defaults to
            `list`: none.
        resumes: boolean. Whether the same command goes on after SIGTERM ended it: the exit code is 75 then, not 143.
            Defaults to `False`.
    """
    given = [argument for argument in sys.argv if argument not in HELP]
    try:
        arguments = FLAGS(recipe_files.find(given))[1:]
        if arguments and not positional:
            raise UsageError(f"unexpected argument {arguments[0]!r}: every option is a flag, such as --model=NAME.")
        _refuse_nul()
    except (flags.Error, ValueError) as error:  # absl raises both
        message = str(error).removeprefix("ERROR:: ")
        _fail(NO_BOOLEAN.sub(r"must be true or false; got \1", message), USAGE)
    quiet()
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        if len(given) < len(sys.argv):
            lines = more_help()
            print(in_words_of_the_caller("\n".join([help_text(description), *lines])))
            sys.exit(0)
        sys.exit(main(arguments) or 0)
    except KeyboardInterrupt:
        _fail("stopped by the keyboard.", KEYBOARD_INTERRUPT)
    except Terminated:
        _fail("stopped by SIGTERM.", PREEMPTED if resumes else TERMINATED)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        if FLAGS.verbose or not is_expected(error):
            raise
        _fail(in_terms_of_flags(_message(error)), exit_code(error))
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _terminate(number, frame):
    """Handles SIGTERM where no training does; a second one ends the process at once."""
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def exit_code(error: BaseException) -> int:
    """Returns the exit code of an expected error: its own, else 5 for the environment and 2 for a wrong argument."""
    environment = isinstance(error, OSError) or kz.run.find_refusal(error) is not None
    return getattr(error, "exit_code", ENVIRONMENT if environment else USAGE)


def is_expected(error: BaseException) -> bool:
    """Returns whether an error is a fault of the input or the environment, and not of the program.

    These are the errors with an exit code, those of the operating system, lack of memory, and every `ValueError` or
    `TypeError` that a `raise` statement of kerazoo raises. An error of Keras, TensorFlow or an operation of Python is a
    bug.
    """
    if hasattr(error, "exit_code") or isinstance(error, OSError) or kz.run.find_refusal(error) is not None:
        return True
    if not isinstance(error, (ValueError, TypeError)) or error.__traceback__ is None:
        return False
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "")
    raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raised and module.split(".")[0] in ("kerazoo", "experiments", "__main__")


def in_terms_of_flags(message: str) -> str:
    """Returns a message of the library with the flags of this command in place of the arguments of a function.

    An argument in backticks, `` `data_dir` ``, and an assignment, `data_dir='x'`, become `--data_dir` and
    `--data_dir='x'` if the command has such a flag. Calls that list names become the flags that list them.
    """
    for call, flag in CALLS.items():
        if flag.lstrip("-").partition("=")[0] in FLAGS:
            message = message.replace(call, flag)

    def flag_of(match):
        name = match[1] or match[2]
        name = ARGUMENTS.get(name, name)
        if name not in FLAGS:
            return match[0]
        return f"--{name}" if match[1] else f"--{name}="

    def without_a_flag(match):
        """Returns the remedy, or another one where this command reads data as the run did and has no such flag."""
        name = match[1] or match[2]
        if name in FLAGS or "task_option" in FLAGS or "run_dir" not in FLAGS:
            return match[0]
        return ("." if match[2] else "") + AS_TRAINED

    def option_of(match):
        flag = OPTIONS[match[2]]
        return f"{match[1]}--{flag}={match[2]}=" if flag in FLAGS and match[2] not in FLAGS else match[0]

    message = REMEDY.sub(option_of, READING.sub(without_a_flag, message))
    return re.sub(r"`(\w+)`|(?<![\w.`-])([A-Za-z_]\w*)=(?=[^\s=])", flag_of, message)


def in_words_of_the_caller(text: str) -> str:
    """Returns a text with commands as the user typed this one: `kerazoo run` or `python -m experiments.run`."""
    return text.replace(MODULES, os.environ.get("KERAZOO_PROGRAM", MODULES))


def log(message: str) -> None:
    """Prints a line of the library on standard error, in terms of flags."""
    print(in_words_of_the_caller(in_terms_of_flags(message)), file=sys.stderr, flush=True)


def quiet() -> None:
    """Keeps the messages of the C++ code of TensorFlow and XLA off standard error.

    No setting of theirs silences what they write before their own logging starts. So file descriptor 2 is redirected
    to a temporary file, while `sys.stderr` keeps the terminal. When the process dies inside C++, `faulthandler` still
    shows where. With --verbose everything stays as it is.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if FLAGS.verbose:
        return
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    faulthandler.enable(sys.stderr)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)


def require(flag: str) -> Any:
    """Returns the value of a required flag."""
    if FLAGS[flag].value is None:
        raise UsageError(f"--{flag} is required; --help shows all flags.")
    return FLAGS[flag].value


def help_text(description: str) -> str:
    """Returns what `--help` prints: the description, then the flags in groups with their defaults."""
    modules = FLAGS.flags_by_module_dict()
    groups: dict[str, list] = {title: [] for title in GROUPS}
    for module in [*(name for name in modules if name.startswith("experiments")), sys.argv[0]]:
        for flag in modules.get(module, ()):
            groups.setdefault(_groups.get(flag.name, GROUPS[-1]), []).append(flag)
    lines = [description.strip()]
    for title, found in groups.items():
        if found:
            note = f" ({NOTES[title]})" if title in NOTES else ""
            lines += ["", f"{title}{note}:", *map(_flag_help, found)]
        if found and title == GROUPS[-1]:
            trains = "task" in FLAGS and "seed" in FLAGS
            lines.append(_paragraph(f"{FLAGFILE}{RECIPES if trains else ''}."))
    return "\n".join(lines)


def option_help(options: Mapping[str, tuple[Any, str]]) -> list[str]:
    """Returns a paragraph of help for each option.

    Args:
        options: mapping from option to its default value and its description.
    """
    lines = []
    for name, (default, text) in options.items():
        text = re.sub(r" ?Defaults? to .*", "", text.replace("`", "")).strip()
        suffix = "" if default is None else f" (default: {default!r})"
        lines.append(_paragraph(f"{name}: {text}{suffix}"))
    return lines


def set_defaults(defaults: Mapping[str, Any]) -> None:
    """Replaces the defaults that `--help` shows for flags whose own default is `None`."""
    _defaults.update(defaults)


def _flag_help(flag) -> str:
    default = _defaults.get(flag.name) if flag.default is None else flag.default
    suffix = "" if default is None or default in ([], ()) else f" (default: {default})"
    text = re.split(r";\s+repeat this option", flag.help)[0]  # what absl adds to flags of several values
    negative = f", --no{flag.name}" if flag.boolean else ""
    return _paragraph(f"--{flag.name}{negative}: {text}{suffix}")


def _paragraph(text) -> str:
    return textwrap.fill(
        text,
        110,
        initial_indent="  ",
        subsequent_indent="      ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _refuse_nul() -> None:
    """Refuses a NUL character, which a flag file may hold and no name of a file."""
    for name in FLAGS:
        value = FLAGS[name].value
        if any("\0" in each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)):
            raise UsageError(f"--{name} must not hold a NUL character; got {value!r}.")


def _message(error: BaseException) -> str:
    """Returns what an expected error says: its own words, or those of the operating system or the allocator."""
    if hasattr(error, "exit_code"):
        return f"{error}{_where_data_may_be(error)}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}."
    refusal = kz.run.find_refusal(error)
    if refusal is not None:
        return f"there is not enough memory. {refusal}".rstrip()
    return str(error) or type(error).__name__


def _where_data_may_be(error: BaseException) -> str:
    """Returns the remedy for data that a trained run reads and that is not there any more."""
    reads_a_run = "data_dir" in FLAGS and "task" not in FLAGS
    if not reads_a_run or FLAGS.data_dir is not None or not getattr(error, "data_is_missing", False):
        return ""
    rest = " Or leave out the comparison with --noverify." if "verify" in FLAGS else ""
    return f" If the data has moved since the training, say where it is with --data_dir.{rest}"


def _fail(message: str, code: int) -> NoReturn:
    message = in_words_of_the_caller(message).strip()
    lines = [kz.run.printable(line) for line in message.split("\n")[:MAX_ERROR_LINES]]
    print("\n".join(["error: " + lines[0], *lines[1:]]) if lines else "error", file=sys.stderr)
    if "kerazoo.training.processes" in sys.modules:
        kz.training.processes.leave(code, lines[0] if lines else "error")
    sys.exit(code)
