"""Rows of handwritten digits: where their digits are from, that they are made the same again, and their questions."""

import numpy as np
import pytest

from kerazoo import tasks
from kerazoo.tasks import digit_images, digit_questions, digits


@pytest.fixture(scope="module")
def strings():
    return tasks.create("digit_strings", digits=3, examples=211)


def test_a_string_is_made_of_the_digits_of_its_split(strings):
    drawer = digit_images.DigitImages(3)
    for split in ("train", "dev", "test"):
        singles = digits.read(split)
        values = dict(zip(map(digit_bytes, singles["image"][..., 0]), singles["label"]))
        for image, text in zip(*list(strings.columns(split).values())):
            assert image.shape == (drawer.height, drawer.width, 1) and 1 <= len(text) <= 3
            # One row of pixels below another, so the first digit begins at the first column that is not empty.
            assert any(starts_with(image[..., 0], single, value, text) for single, value in values.items()), text


def digit_bytes(image):
    used = np.flatnonzero(image.any(axis=0))
    image = image[:, used[0] : used[-1] + 1]
    return image.shape, image.tobytes()


def starts_with(image, single, value, text):
    shape, pixels = single
    column = np.flatnonzero(image.any(axis=0))[0]
    single = np.frombuffer(pixels, np.uint8).reshape(shape)
    parts = (image[row : row + 8, column : column + shape[1]] for row in range(len(image) - 7))
    return text[0] == value and any(np.array_equal(part, single) for part in parts)


def test_examples_depend_on_seed_split_and_number_alone(strings):
    again = tasks.create("digit_strings", digits=3, examples=389).columns("train")
    first = strings.columns("train")
    assert again["text"][:211] == first["text"] and np.array_equal(again["image"][:211], first["image"])
    other = tasks.create("digit_strings", digits=3, examples=211, seed=1).columns("train")
    assert other["text"] != first["text"]
    assert len(strings.columns("dev")["text"]) == len(strings.columns("test")["text"]) == 22
    assert strings.columns("dev")["text"] != strings.columns("test")["text"]
    lengths = np.bincount(list(map(len, again["text"])), minlength=4)
    assert lengths[0] == 0 and (lengths[1:] > 389 / 6).all()


def test_strings_are_text(strings):
    images, references = strings.examples("dev", limit=5)
    assert strings.sizes()["input_shape"] == (9, 27, 1) and strings.sizes()["target_vocabulary_size"] == 14
    assert strings.monitor == ("val_sequence_accuracy", "max") and strings.max_length <= 4
    assert strings.encode(images)["source"].shape == (5, 9, 27, 1)
    assert references[0][0] in strings.columns("dev")["text"]


def test_questions_and_their_answers():
    values = [7, 0, 7, 6]
    plain = {question: reply(values) for question, reply in digit_questions.PLAIN.items()}
    assert plain == {
        "what is the sum?": "20",
        "what is the largest?": "7",
        "what is the smallest?": "0",
        "what is the first digit?": "7",
        "what is the last digit?": "6",
        "how many digits?": "4",
    }
    about = {questions[7]: reply(values, 7) for questions, reply in digit_questions.ABOUT}
    assert about == {"how many sevens?": "2", "is there a seven?": "yes"}
    (many, count), (there, found) = digit_questions.ABOUT
    assert (many[6], count(values, 8)) == ("how many sixes?", "0")
    assert (there[8], found(values, 8)) == ("is there an eight?", "no")


def test_questions_are_two_inputs():
    task = tasks.create("digit_questions", digits=2, examples=307)
    columns = task.columns("train")
    assert len(set(columns["question"])) > 20 and {"yes", "no"} < set(columns["reply"])
    assert task.sizes()["source_vocabulary_size"][0] is None
    (image, question), (reply, *_) = task.examples("dev", limit=1)[0][0], task.examples("dev", limit=1)[1][0]
    assert image.shape == (9, 18, 1) and question.endswith("?") and reply in {"yes", "no", *map(str, range(19))}
    encoded = task.encode([(image, "How many sixes?")])
    assert (encoded["source_2"][0] > 3).all()  # no unknown word
    every = [*digit_questions.PLAIN, *(each for questions, _ in digit_questions.ABOUT for each in questions)]
    assert (task.encode([(image, each) for each in every])["source_2"] != 3).all()
    decoded = task.decode(task.load("train").features["targets"].padded()[:9])
    assert decoded == columns["reply"][:9]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"digits": 21}, "`digits` must be at most 20; got digits=21"),
        ({"examples": 0}, "`examples` must be an integer above 0; got examples=0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0; got seed=-1"),
    ],
)
@pytest.mark.parametrize("name", ["digit_strings", "digit_questions"])
def test_refusals(name, options, message):
    with pytest.raises(ValueError, match=message):
        tasks.create(name, **options)


def test_mnist_is_read_from_its_data_set(shared_data):
    pytest.importorskip("tensorflow_datasets")
    task = tasks.create("digit_questions", data_dir=shared_data / "tfds", examples=11)
    assert task.columns("test")["image"].shape == (2, 32, 96, 1)
