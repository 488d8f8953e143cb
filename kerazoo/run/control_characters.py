"""Control characters in text that is printed: written out, so that they neither end a line nor steer a terminal."""

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Returns a text as a part of one line, safe for a terminal.

    Line breaks, tabs, other control characters and lone surrogates are written as in `\n`, `\t`, `\x1b` and `\ud800`.

    Args:
        text: string.
    """
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)
