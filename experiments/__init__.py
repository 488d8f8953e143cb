"""Commands over the public names of kerazoo; `python -m experiments.run --help` shows the first one."""

import sys

_default_hook = sys.excepthook


def _hook(kind, error, trace):
    """Tells in words that Ctrl-C ended a command before it began, while Python still imports its modules."""
    if issubclass(kind, KeyboardInterrupt):
        print("error: stopped by the keyboard.", file=sys.stderr)
    else:
        _default_hook(kind, error, trace)


sys.excepthook = _hook
