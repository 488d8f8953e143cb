"""Strings of handwritten digits: an image to the text that is written in it."""

import os

from kerazoo.data import MemorySource
from kerazoo.tasks.digit_images import DigitImages, split_sizes
from kerazoo.tasks.feature_pairs import fixed_text
from kerazoo.tasks.image_feature import ImageFeature
from kerazoo.tasks.task import Task


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    digits: int = 6,
    examples: int = 30000,
    seed: int = 0,
) -> Task:
    """Returns the task `digit_strings`: an image of handwritten digits in a row to the string of digits.

    The digits are those of MNIST, in images of 32 x 144 pixels for 6 digits, or those that scikit-learn ships, in
    images of 9 x 54 pixels. They are split as the single digits are: a string of the test part has digits of the test
    part alone. The length of a string, its digits, the gaps between them and where they stand are random.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. The folder that holds the prepared TensorFlow data set `mnist`, as for `tfds.load`. Defaults
            to `None`: the 1,797 digits of scikit-learn.
        digits: int, at most 20. The largest number of digits of a string; the smallest is one. Defaults to `6`.
        examples: int. The number of strings of the training part; dev and test have a tenth of it. Defaults to `30000`.
        seed: int. The seed of the strings. Defaults to `0`.
    """
    owner = f"task {name}"
    sizes = split_sizes(owner, digits, examples, seed)
    drawer = DigitImages(digits, data_dir)

    def read(split):
        images, values, _ = drawer.examples(split, sizes[split], seed)
        return {"image": images, "text": ["".join(map(str, each)) for each in values]}

    def tokenizer():
        from kerazoo import text

        return text.CharacterTokenizer("0123456789")

    target = fixed_text("text", tokenizer, monitor=("val_sequence_accuracy", "max"))
    target.measures = ("exact_match", "token_error_rate")
    image = ImageFeature("image", height=drawer.height, width=drawer.width, channels=1)
    source = MemorySource(read, drawer.check, columns=("image", "text"))
    options = {"data_dir": data_dir and str(data_dir), "digits": digits, "examples": examples, "seed": seed}
    return Task(source, (image,), target, name, kind or "", options)
