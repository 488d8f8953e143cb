"""What every command does around its main function: parse, refuse, report, exit code."""

import faulthandler
import logging
import os
import sys
import tempfile
import warnings

from absl import flags

FLAGS = flags.FLAGS
USAGE = 2
LINES_OF_A_FAULT = 5


class UsageError(ValueError):
    """A command line that cannot be obeyed (exit code 2)."""


class InputError(ValueError):
    """Input that cannot be read (exit code 3)."""

    exit_code = 3


def run(main, description, positional=False):
    """Parses the command line, calls `main(arguments)` and exits with the code of DESIGN's table.

    Args:
        main: Function of the list of positional arguments; its return value is the exit code, None for 0.
        description: What `--help` prints above the flags.
        positional: Whether arguments without a flag are welcome.
    """
    if any(argument in ("--help", "-help", "-h", "--helpfull") for argument in sys.argv[1:]):
        _print_help(description)
        sys.exit(0)
    try:
        arguments = FLAGS(sys.argv)[1:]
        if arguments and not positional:
            raise UsageError(f"unexpected argument {arguments[0]!r}: every option is a flag, such as --model=NAME.")
    except (flags.Error, UsageError) as error:
        _fail(str(error), USAGE)
    quiet()
    try:
        sys.exit(main(arguments) or 0)
    except KeyboardInterrupt:
        _fail("stopped by the keyboard.", 130)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        if FLAGS.verbose or not _expected(error):
            raise
        _fail(str(error), exit_code(error))


def exit_code(error):
    """Returns the exit code of an expected fault: its own, 5 for the machine's, 2 for a wrong argument."""
    return getattr(error, "exit_code", 5 if isinstance(error, OSError) else USAGE)


def quiet():
    """Keeps the lines of TensorFlow's and XLA's C++ code off standard error, which is for ours.

    No setting of theirs silences what they write before their own logging starts, so file descriptor 2 goes to a
    file without a name, while Python's standard error keeps the terminal. When the process dies inside C++,
    `faulthandler` still tells where; --verbose leaves everything as it is.
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


def require(flag):
    """Returns the value of a flag that this command cannot do without."""
    if FLAGS[flag].value is None:
        raise UsageError(f"--{flag} is required; --help shows all flags.")
    return FLAGS[flag].value


def _expected(error):
    # Faults of ours and of the machine speak for themselves; anything raised inside Keras or TensorFlow is a bug.
    if hasattr(error, "exit_code") or isinstance(error, (UsageError, OSError)):
        return True
    if not isinstance(error, (ValueError, TypeError)):
        return False
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "")
    return module.split(".")[0] in ("kerazoo", "experiments", "__main__")


def _fail(message, code):
    lines = message.strip().splitlines()[:LINES_OF_A_FAULT]
    print("\n".join(["error: " + lines[0], *lines[1:]]) if lines else "error", file=sys.stderr)
    sys.exit(code)


def _print_help(description):
    print(description.strip() + "\n\nFlags:")
    by_module = FLAGS.flags_by_module_dict()
    own = {f.name: f for module in by_module if module.startswith("experiments") for f in by_module[module]}
    for name, flag in sorted({**own, **{f.name: f for f in by_module.get(sys.argv[0], ())}}.items()):
        default = "" if flag.default in (None, [], False) else f" (default: {flag.default})"
        print(f"  --{name}: {flag.help}{default}")
    print("  --flagfile: Read flags from this file, one a line; experiments/recipes holds some.")
