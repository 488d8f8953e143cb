"""What becomes of bad lines, and how they are shown."""

from kerazoo import _checks

SHOWN = 40  # characters of a bad line in an error
LISTED = 20  # names of columns


class BadLines:
    """What becomes of bad lines: the first one stops the run, or they are left out and counted.

    Args:
        choice: `"stop"` or `"skip"`.
    """

    def __init__(self, choice="stop"):
        self.choice = _checks.one_of("read_records", "bad_lines", choice, ("stop", "skip"))
        self.count = 0

    def __call__(self, path, number, fault):
        """Raises or counts."""
        if self.choice == "stop":
            raise _checks.DataError(f"{path}:{number}: {fault}")
        self.count += 1


def shorten(line):
    """Returns the beginning of a bad line, or of the values of a bad record, as it is shown in errors."""
    line = line if isinstance(line, str) else "\t".join(line)
    return repr(line if len(line) <= SHOWN else line[: SHOWN - 3] + "...")


def listed(names):
    """Returns the names that a file has for its columns, as they are shown in errors."""
    names = [name if name.isprintable() else repr(name) for name in names]
    return ", ".join([*names[:LISTED], *(["..."] if len(names) > LISTED else [])]) or "none"


def good(path, lines, bad):
    """Yields number and text of the lines of a scan that are text; the others go to `bad`."""
    for number, line, fault in lines:
        if fault:
            bad(path, number, fault)
        else:
            yield number, line
