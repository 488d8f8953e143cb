"""Rows of handwritten digits as images, which the tasks on strings and on questions read."""

import os
from collections.abc import Sequence

import numpy as np

from kerazoo import _checks
from kerazoo.data import TFDSSource
from kerazoo.data.splits import SPLITS
from kerazoo.tasks import digits

MAX_DIGITS = 20  # of an image


class DigitImages:
    """Draws rows of handwritten digits: those of MNIST, or the smaller ones that scikit-learn ships.

    A row of a split has digits of that split alone. Which digits, the gaps between them and where they stand follow
    from random bits, so that the same bits give the same image.

    Args:
        count: int, above 0. The largest number of digits of a row; it determines the width of the images.
        data_dir: string or path. The folder of the prepared TensorFlow data set `mnist`. Defaults to `None`: the digits
            of scikit-learn.
    """

    def __init__(self, count: int, data_dir: str | os.PathLike | None = None):
        self.count = count
        # The side of an image of one digit, and the width of the widest digit in it.
        self.side, width = (8, 8) if data_dir is None else (28, 20)
        self.gap = self.side // 6
        self.height, self.width = self.side + self.gap, count * (width + self.gap)
        self._split, self._digits = "", ([], [])
        self.source = None
        if data_dir is not None:  # the class keeps dev the same as in the task `tfds:mnist`
            self.source = TFDSSource("mnist", data_dir=data_dir).with_label_columns(["label"])

    @property
    def bits(self) -> int:
        """The number of random integers that `draw` reads: column and row of the first digit, digits, gaps."""
        return 2 + 2 * self.count

    def check(self) -> None:
        """Raises an error if the digits are missing."""
        if self.source is None:
            digits.images()
        else:
            self.source.check()

    def read(self, split: str) -> tuple[list[np.ndarray], list[int]]:
        """Returns the digits of a split without the empty columns around them, uint8 `[side, W]`, and their values."""
        if self._split != split:  # the splits are read one after another
            self._split, self._digits = split, self._read(split)
        return self._digits

    def _read(self, split):
        if self.source is None:
            columns = digits.read(split)
            images, labels = columns["image"], columns["label"]
        else:
            chunks = [chunk.columns for chunk in self.source.chunks(split)]
            images = np.concatenate([chunk["image"] for chunk in chunks])
            labels = [label for chunk in chunks for label in chunk["label"]]
        return [_trimmed(image[..., 0]) for image in images], list(map(int, labels))

    def draw(self, split: str, bits: Sequence[int], count: int) -> tuple[np.ndarray, list[int]]:
        """Returns an image of `count` digits of a split, uint8 `[height, width, 1]`, and their values.

        Args:
            split: string. The split of the digits.
            bits: list of ints of at least 0, as many as `self.bits`. Random numbers.
            count: int, at most `self.count`. The number of digits.
        """
        images, labels = self.read(split)
        left, top, *others = bits
        chosen = [others[number] % len(images) for number in range(count)]
        gaps = [gap % (self.gap + 1) for gap in others[self.count : self.count + count - 1]]
        parts = [images[row] for row in chosen]
        length = sum(part.shape[1] for part in parts) + sum(gaps)
        column, row = left % (self.width - length + 1), top % (self.height - self.side + 1)
        image = np.zeros((self.height, self.width, 1), np.uint8)
        for part, gap in zip(parts, [*gaps, 0]):
            image[row : row + self.side, column : column + part.shape[1], 0] = part
            column += part.shape[1] + gap
        return image, [labels[row] for row in chosen]

    def examples(self, split: str, rows: int, seed: int, further: int = 0) -> tuple[np.ndarray, list, list]:
        """Returns images of a split of one to `count` digits, which the same seed always gives.

        Args:
            split: string. The split of the digits.
            rows: int. The number of images N.
            seed: int. The seed.
            further: int. Random integers that are returned for each image. Defaults to `0`.

        Returns:
            uint8 array `[N, height, width, 1]`, the list of the values of the digits of each image, and its further
            random integers.
        """
        images, values, others = np.zeros((rows, self.height, self.width, 1), np.uint8), [], []
        for row, (length, *bits) in enumerate(random_rows(seed, split, rows, 1 + further + self.bits)):
            images[row], found = self.draw(split, bits[further:], 1 + length % self.count)
            values.append(found)
            others.append(bits[:further])
        return images, values, others


def random_rows(seed: int, split: str, rows: int, size: int) -> list[list[int]]:
    """Returns `rows` lists of `size` random integers of 64 bits, which depend on seed, split and number of the row."""
    # Raw bits: NumPy promises that they never change, unlike the numbers of `integers`.
    bits = np.random.Philox(np.random.SeedSequence([seed, SPLITS.index(split)])).random_raw(rows * size)
    return bits.reshape(rows, size).tolist()


def split_sizes(owner: str, digits: int, examples: int, seed: int) -> dict[str, int]:
    """Returns the number of examples of each split: dev and test have a tenth of those of train, at least one.

    Args:
        owner: string. The task that error messages name.
        digits: int, at most 20. The largest number of digits of an image.
        examples: int, above 0. The number of examples of the training part.
        seed: int, not negative. The seed of the examples.
    """
    _checks.not_above(owner, "digits", _checks.positive_int(owner, "digits", digits), MAX_DIGITS)
    _checks.positive_int(owner, "examples", examples)
    _checks.non_negative_int(owner, "seed", seed)
    return {"train": examples, "dev": -(-examples // 10), "test": -(-examples // 10)}


def _trimmed(image: np.ndarray) -> np.ndarray:
    """Returns an image `[H, W]` without the columns at both sides that are empty."""
    used: Sequence[int] = np.flatnonzero(image.any(axis=0)).tolist() or [0]
    return image[:, used[0] : used[-1] + 1]
