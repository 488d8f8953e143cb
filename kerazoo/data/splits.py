"""Train, dev and test by a hash of each example: the same examples in any order are split the same."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

SPLITS = ("train", "dev", "test")
LARGE = 1000  # keys of a class from which on their hashes alone decide, since about the right share is held out
FEWEST = 10  # keys from which on some are held out, whatever the classes are


def assign_split(key: str | bytes, fractions: Mapping[str, float]) -> str:
    """Returns the split of an example, which depends on `key` and `fractions` alone.

    Args:
        key: string or bytes of what must stay together, such as the source of a pair.
        fractions: dictionary of `"dev"` and `"test"` to the fraction of all keys that each takes, in [0, 1]; the rest
            is `"train"`.
    """
    return _natural_split(point_of(key), fractions)


def point_of(key: str | bytes) -> float:
    """Returns the hash of a key, uniform in [0, 1)."""
    key = key.encode(errors="surrogateescape") if isinstance(key, str) else key
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64


def _natural_split(point, fractions):
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


class SplitAssignment:
    """Which examples are held out from train: a function of the examples, whatever their order is.

    Examples of one key stay together. The hash of the key decides as in `assign_split`, with these exceptions:

    - Of a class with fewer than `LARGE` keys, the keys with the smallest hashes are held out, as many as its share is,
      so that small sets have the right numbers and each class is divided in the same proportions.
    - The key with the largest hash of each class is always in train, so that no class is missing there.
    - A split that would be empty takes a key of the largest class if there are `FEWEST` keys and train keeps another.

    An example that is appended changes the split of others only at the bounds of a small class.

    Args:
        rows: iterable of pairs: the point of a key, see `point_of`, and a tuple of the classes of an example, of which
            the first is divided in equal proportions. It is read until every class is large.
        fractions: dictionary of `"dev"` and `"test"` to the fraction of the keys that each takes.
        num_classes: integer. The number of classes, with which the reading may end early; 1 where there are none.
            Defaults to `None`: unknown.
    """

    def __init__(
        self,
        rows: Iterable[tuple[float, tuple[str, ...]]],
        fractions: Mapping[str, float],
        num_classes: int | None = None,
    ):
        self.fractions = dict(fractions)
        self.num_rows = 0
        self._classes: dict[tuple[int, str], set[float]] = {}
        self._read(rows, num_classes)
        self.large = any(len(points) >= LARGE for points in self._classes.values())
        self.num_keys = len(set().union(*self._classes.values()))  # at least; those of large classes are not all kept
        self._moved: dict[float, str] = {}
        small = {key: points for key, points in sorted(self._classes.items()) if len(points) < LARGE}
        divided = {name: points for (column, name), points in small.items() if not column}
        many_classes = sum(not column for column, _ in self._classes) > 1
        for name, points in divided.items():
            self._divide(points, name if many_classes else "")
        if not self.large and self.num_keys >= FEWEST:
            for split in self.fractions:
                self._fill(split, divided.values())
        for points in small.values():
            if not any(self.split_of(point) == "train" for point in points):
                self._moved[max(points)] = "train"

    def split_of(self, point: float) -> str:
        """Returns the split of a key by its point."""
        return self._moved.get(point) or _natural_split(point, self.fractions)

    def _read(self, rows, num_classes):
        unread = num_classes
        for point, names in rows:
            self.num_rows += 1
            for column, name in enumerate(names):
                points = self._classes.setdefault((column, name), set())
                if len(points) < LARGE:
                    points.add(point)
                    if len(points) == LARGE and not column and unread:
                        unread -= 1
            if unread == 0:
                return

    def _divide(self, points, name):
        """Holds out the share of a small class, without those that another class has moved."""
        taken = {point: self._moved[point] for point in points if point in self._moved}
        free = sorted(points.difference(taken))
        for split, fraction in self.fractions.items():
            # A hash of the class rounds its share up or down, so that many small classes have the right sum.
            rounding = point_of(f"{split}\t{name}") if name else 0.5
            count = int(fraction * len(points) + rounding) - sum(other == split for other in taken.values())
            count = max(min(count, len(free) - 1), 0)
            self._moved.update(dict.fromkeys(free[:count], split))
            free = free[count:]
        self._moved.update(dict.fromkeys(free, "train"))

    def _fill(self, split, classes):
        """Gives an empty split the key with the smallest hash of the class with the most keys in train."""
        if split in self._moved.values():
            return
        train = [sorted(point for point in points if self._moved[point] == "train") for points in classes]
        largest = max(train, key=len)
        if len(largest) > 1:
            self._moved[largest[0]] = split
