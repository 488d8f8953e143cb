"""Questions on images of handwritten digits: an image and a question to the answer."""

import os

from kerazoo.data import MemorySource
from kerazoo.tasks.digit_images import DigitImages, split_sizes
from kerazoo.tasks.feature_pairs import fixed_text
from kerazoo.tasks.image_feature import ImageFeature
from kerazoo.tasks.task import Task

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLURALS = tuple(f"{name}es" if name == "six" else f"{name}s" for name in NAMES)
# Questions and their answers from the values of the digits.
PLAIN = {
    "what is the sum?": lambda values: str(sum(values)),
    "what is the largest?": lambda values: str(max(values)),
    "what is the smallest?": lambda values: str(min(values)),
    "what is the first digit?": lambda values: str(values[0]),
    "what is the last digit?": lambda values: str(values[-1]),
    "how many digits?": lambda values: str(len(values)),
}
# The same with the value that the question is about; `{}` is its name.
ABOUT = (
    (tuple(f"how many {name}?" for name in PLURALS), lambda values, value: str(values.count(value))),
    (
        tuple(f"is there {'an' if name == 'eight' else 'a'} {name}?" for name in NAMES),
        lambda values, value: "yes" if value in values else "no",
    ),
)
KINDS = len(PLAIN) + len(ABOUT)


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    digits: int = 4,
    examples: int = 30000,
    seed: int = 0,
) -> Task:
    """Returns the task `digit_questions`: an image of handwritten digits and a question about it to the answer.

    The images are those of the task `digit_strings` with one to four digits, which are split in the same way. The
    questions are `what is the sum?`, `what is the largest?`, `what is the smallest?`, `what is the first digit?`, `what
    is the last digit?`, `how many digits?`, `how many sevens?` and `is there a seven?`, all equally often. The last two
    are about a digit of the image in half of the cases. Questions and answers are read and written word by word.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. The folder that holds the prepared TensorFlow data set `mnist`, as for `tfds.load`. Defaults
            to `None`: the 1,797 digits of scikit-learn.
        digits: int, at most 20. The largest number of digits of an image; the smallest is one. Defaults to `4`.
        examples: int. The number of questions of the training part; dev and test have a tenth of it. Defaults to
            `30000`.
        seed: int. The seed of the images and the questions. Defaults to `0`.
    """
    owner = f"task {name}"
    sizes = split_sizes(owner, digits, examples, seed)
    drawer = DigitImages(digits, data_dir)

    def read(split):
        images, values, numbers = drawer.examples(split, sizes[split], seed, further=2)
        pairs = [_question(each, which % KINDS, about) for each, (which, about) in zip(values, numbers)]
        return {"image": images, "question": [pair[0] for pair in pairs], "reply": [pair[1] for pair in pairs]}

    question = fixed_text("question", _question_words)
    target = fixed_text("reply", lambda: _reply_words(digits), monitor=("val_sequence_accuracy", "max"))
    target.measures = ("exact_match", "token_error_rate")
    image = ImageFeature("image", height=drawer.height, width=drawer.width, channels=1)
    source = MemorySource(read, drawer.check, columns=("image", "question", "reply"))
    options = {"data_dir": data_dir and str(data_dir), "digits": digits, "examples": examples, "seed": seed}
    return Task(source, (image, question), target, name, kind or "", options)


def _question(values, which, about):
    """Returns the question of a kind on an image of digits, and its answer."""
    if which < len(PLAIN):
        question = list(PLAIN)[which]
        return question, PLAIN[question](values)
    questions, reply = ABOUT[which - len(PLAIN)]
    about, present = divmod(about, 2)
    value = values[about % len(values)] if present else about % 10
    return questions[value], reply(values, value)


def _question_words():
    from kerazoo import text

    questions = [*PLAIN, *(question for questions, _ in ABOUT for question in questions)]
    return text.WordTokenizer(dict.fromkeys(word for question in questions for word in question.split()), case="lower")


def _reply_words(digits):
    from kerazoo import text

    return text.WordTokenizer(["yes", "no", *map(str, range(9 * digits + 1))])
