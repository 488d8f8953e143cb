"""The arguments that the tasks over tables of the user's own share."""

import os
from typing import Any

from kerazoo import _checks
from kerazoo.data import formats
from kerazoo.data.table_source import check_held_out


def table_arguments(
    owner: str,
    *,
    header: bool | None,
    format: str | None,
    delimiter: str | None,
    quote: str | None,
    dev_data: str | os.PathLike | None,
    test_data: str | os.PathLike | None,
    held_out: float,
    bad_lines: str,
) -> dict[str, Any]:
    """Returns the arguments of a `kerazoo.data.TableSource`, checked, as plain values for the options of a task.

    Args:
        owner: string. The task that error messages name.
        header: bool. As for the task `table`, like all that follow.
        format: string.
        delimiter: string.
        quote: string.
        dev_data: string or path.
        test_data: string or path.
        held_out: float.
        bad_lines: string.

    Raises:
        ValueError: for the first that is wrong.
    """
    formats.TableFormat(format, header, delimiter, quote, owner)
    return {
        "header": header,
        "format": format,
        "delimiter": delimiter,
        "quote": quote,
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "held_out": check_held_out(owner, held_out),
        "bad_lines": _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip")),
    }
