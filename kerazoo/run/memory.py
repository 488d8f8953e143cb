"""Memory that the machine or its accelerator refuses, as an error that says what was tried and what to change."""

import contextlib
import re
from collections.abc import Iterator

from kerazoo import _checks

_REFUSED = re.compile(r"RESOURCE_EXHAUSTED|[Oo]ut of memory|OOM when allocating")
_TRIED = re.compile(r"shape ?\[[\d,]+\]|allocat\w+ [\d.,]+ ?\w*[Bb](?:ytes)?\b|array with shape \([\d, ]+\)")


@contextlib.contextmanager
def reported(what: str, advice: str) -> Iterator[None]:
    """Turns a refusal of memory inside the block into a `SetupError`.

    Args:
        what: string. What needed the memory, with the numbers that its size depends on.
        advice: string. A sentence that ends the message.

    Raises:
        SetupError: if memory is refused.
    """
    try:
        yield
    except Exception as error:
        refusal = find_refusal(error)
        if refusal is None or isinstance(error, _checks.SetupError):
            raise
        tried = _TRIED.search(str(refusal))
        tried = f" ({tried[0]})" if tried else ""
        raise _checks.SetupError(f"{what}: there is not enough memory{tried}. {advice}") from error


def find_refusal(error: BaseException | None) -> BaseException | None:
    """Returns the error in the chain of `error` by which memory was refused: each library has one of its own."""
    while error is not None:
        name = type(error).__name__
        if isinstance(error, MemoryError) or name == "ResourceExhaustedError":
            return error
        if name in ("XlaRuntimeError", "JaxRuntimeError", "InternalError") and _REFUSED.search(str(error)):
            return error
        error = error.__cause__ or error.__context__
    return None
