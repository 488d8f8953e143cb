"""How many weights pruning leaves, written as a number or as N:M."""

import re

from kerazoo import _checks


def parse_sparsity(owner: str, value: float | str) -> tuple[float, tuple[int, int] | None]:
    """Returns the share of zeros, and the N and M of `"N:M"`, `None` where it is a number.

    Args:
        owner: string. Who is named in the message.
        value: float or string.

    Raises:
        ValueError: if it is neither a number in [0, 1) nor N:M with N below M.
    """
    found = re.fullmatch(r"(\d{1,4}):(\d{1,4})", value) if isinstance(value, str) else None
    if found:
        kept, group = int(found[1]), int(found[2])
        if 0 < kept < group:
            return 1 - kept / group, (kept, group)
    else:
        try:
            return _checks.number(owner, "sparsity", float(value), low=0, high=1, high_open=True), None
        except (ValueError, TypeError):
            pass
    raise ValueError(
        f"{owner}: `sparsity` must be a share of zeros in [0, 1), such as 0.8, or N:M with N below M, such as 2:4; got "
        f"{value!r}."
    )
