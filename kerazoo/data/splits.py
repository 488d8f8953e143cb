"""Train, dev and test by a hash of each example, so that an example never changes its split."""

import hashlib
from collections.abc import Collection, Mapping, Sequence

SPLITS = ("train", "dev", "test")


def assign_split(key: str | bytes, fractions: Mapping[str, float]) -> str:
    """Returns the split of an example, which depends on `key` and `fractions` alone.

    Args:
        key: string or bytes of what must stay together, such as the source of a pair.
        fractions: dictionary of `"dev"` and `"test"` to the fraction of all keys that each takes, in [0, 1]; the rest
            is `"train"`.
    """
    if isinstance(key, str):
        key = key.encode()
    point = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64  # uniform in [0, 1)
    for split, fraction in fractions.items():
        if point < fraction:
            return split
        point -= fraction
    return "train"


def split_rows(split: str, keys: Sequence[str | bytes], fractions: Mapping[str, float]) -> list[int]:
    """Returns the indices of the `keys` that belong to `split`."""
    assigned, rows = {}, []
    for row, key in enumerate(keys):
        if key not in assigned:
            assigned[key] = assign_split(key, fractions)
        if assigned[key] == split:
            rows.append(row)
    return rows


def split_origin(split: str, given: Collection[str], fractions: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """Returns which given split `split` is read from, and how the others are held out from it.

    Args:
        split: string.
        given: the splits that are there.
        fractions: dictionary of `"dev"` and `"test"` to the fraction of train that each takes if it is not given.

    Returns:
        The given split to read, and the fractions of those that are held out from it, empty if it is read whole.
    """
    if split != "train" and split in given:
        return split, {}
    return "train", {name: fraction for name, fraction in fractions.items() if name not in given}


def split_range(split: str, fractions: Mapping[str, float]) -> tuple[float, float]:
    """Returns the part of an ordered whole that is `split`: train first, then dev, then test.

    Args:
        split: string.
        fractions: dictionary of `"dev"` and `"test"` to the fraction that each takes, as returned by `split_origin`.

    Returns:
        Begin and end of the part, fractions of the whole in [0, 1].
    """
    end = 1.0
    for name in ("test", "dev"):
        fraction = fractions.get(name, 0.0)
        if name == split and fraction:
            return round(end - fraction, 9), end
        end = round(end - fraction, 9)
    return 0.0, end
