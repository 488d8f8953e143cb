"""Train, dev and test by a hash of the example, so that an example never changes sides."""

import hashlib

SPLITS = ("train", "dev", "test")


def place(key, shares):
    """Returns the split that `key` belongs to, whatever other examples there are.

    Args:
        key: String or bytes of what must stay together, such as the source of a pair.
        shares: Dictionary of `"dev"` and `"test"` to the share of all keys that each takes; train takes the rest.
    """
    if isinstance(key, str):
        key = key.encode()
    point = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64  # even in [0, 1)
    for split, share in shares.items():
        if point < share:
            return split
        point -= share
    return "train"


def rows_of(split, keys, shares):
    """Returns the indices of the `keys` that belong to `split`."""
    cache = {}
    rows = []
    for row, key in enumerate(keys):
        if key not in cache:
            cache[key] = place(key, shares)
        if cache[key] == split:
            rows.append(row)
    return rows


def origin(split, present, shares):
    """Says where `split` comes from when only the splits `present` were given.

    Returns:
        `(given, shares)`: the given split to read, and the shares that are drawn from it for those that are missing;
        empty if it is read whole.
    """
    missing = {name: share for name, share in shares.items() if name not in present}
    if split != "train" and split in present:
        return split, {}
    return "train", missing


def bounds(split, shares):
    """Returns where a split lies in a whole whose end is divided: from and to, as shares of it; train, dev, test.

    Args:
        split: The split.
        shares: Dictionary of `"dev"` and `"test"` to the share of each that is taken from the end, as of `origin`.
    """
    end = 1.0
    for name in ("test", "dev"):
        share = shares.get(name, 0.0)
        if name == split and share:
            return round(end - share, 9), end
        end = round(end - share, 9)
    return 0.0, end
