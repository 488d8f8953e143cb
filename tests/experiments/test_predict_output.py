"""The output of `predict`: one line for each prediction, or a line of JSON for each input."""

import json
import types

import numpy as np
import pytest
from commands import in_process, refused

import kerazoo as kz

BREAKS = "a\nb\tc\x1b[31m\u2028 ü"


class Echo:
    """A predictor without a model: the prediction is a function of the input."""

    def __init__(self, function=lambda text: text + BREAKS, modality="text"):
        self.function = function
        self.generates = modality == "text"
        self.task = types.SimpleNamespace(
            read=list, is_autoencoder=False, targets=types.SimpleNamespace(modality=modality)
        )

    def __call__(self, raw, **options):
        return list(map(self.function, raw))

    def predictions(self, raw, n_best=1, alignment=False, **options):
        scores = [-0.5, -float("inf")][:n_best]
        attention = np.eye(2)[::-1] if alignment else None
        texts = map(self.function, raw)
        return [[kz.run.Prediction(text, score, alignment=attention) for score in scores] for text in texts]


@pytest.fixture
def predict(monkeypatch):
    def run(predictor, *arguments, **options):
        monkeypatch.setattr(kz, "load", lambda *_, **__: predictor)
        out, err = in_process("predict", "--run_dir=r", *arguments, **options)
        assert err == ""
        return out

    return run


def test_a_prediction_with_line_breaks_is_one_line(predict):
    shown = "a\\nb\\tc\\x1b[31m\\u2028 ü"
    assert predict(Echo(), "1", "2") == f"1{shown}\n2{shown}\n"
    assert predict(Echo(), "--scores", "1") == f"-0.5000\t1{shown}\n"
    assert predict(Echo(), "--alignment", "1") == f"1{shown}\t1-0 0-1\n"


def test_several_predictions_begin_with_the_number_of_the_input(predict):
    lines = predict(Echo(str.upper), "--n_best=2", "--scores", "--batch_size=1", "x", "y").splitlines()
    assert lines == ["1\t-0.5000\tX", "1\t-inf\tX", "2\t-0.5000\tY", "2\t-inf\tY"]
    assert predict(Echo(str.upper, "label"), "--n_best=1", "x") == "1\tX\n"


def test_json_lines_hold_the_text_as_it_is(predict):
    lines = predict(Echo(), "--format=jsonl", "--n_best=2", "--batch_size=1", stdin=b"1\n2\n").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == [
        {"input": number, "predictions": [f"{number}{BREAKS}"] * 2, "scores": [-0.5, None]} for number in (1, 2)
    ]
    assert all(line.isprintable() for line in lines) and "ü" in lines[0] and lines[-1] == ""
    assert json.loads(predict(Echo(), "--format=jsonl", "--alignment", "1"))["alignments"] == [[1, 0]]


def test_numbers_and_arrays_are_one_line(predict):
    series = Echo(lambda _: np.array([[1e8 + 0.5, 2], [3, np.nan]]), "series")
    assert predict(series, "1") == "[[100000000.5, 2], [3, nan]]\n"
    expected = {"input": 1, "predictions": [[[1e8 + 0.5, 2], [3, None]]]}
    assert json.loads(predict(series, "--format=jsonl", "1")) == expected
    image = Echo(lambda _: np.full((1, 2, 1), 0.3, np.float32), "image")
    assert predict(image, "1") == "[[[0.3], [0.3]]]\n"
    assert predict(Echo(float, "number"), "7.25") == "7.25\n"
    pixels = Echo(lambda _: np.full((1, 2, 1), 17, np.uint8), "image")
    assert "[[[17], [17]]]" in predict(pixels, "--format=jsonl", "1")


class Painter(Echo):
    """A predictor of images without a model: their brightness is the length of the input."""

    def __init__(self):
        super().__init__(modality="pixels")
        self.generates = True

    def predictions(self, raw, n_best=1, **options):
        assert options == {"search": "sample", "seed": 7}
        return [[kz.run.Prediction(self.image(len(each) + n), 0.0) for n in range(n_best)] for each in raw]

    def sample(self, count, **options):
        assert options == {"search": "sample", "seed": 7}
        return [self.image(n) for n in range(count)]

    @staticmethod
    def image(value):
        return np.full((3, 5, 1), value, np.uint8)


def test_samples_are_a_grid_with_a_row_for_each_input(predict, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    path, gap = tmp_path / "grid.png", 2
    flags = ("--sample=3", "--seed=7", f"--to={path}")
    assert predict(Painter(), *flags, "a", "bb") == f"{path}\n"
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (2 * (3 + gap) + gap, 3 * (5 + gap) + gap)
    assert [[pixels[3 + 5 * row, 3 + 7 * column] for column in range(3)] for row in range(2)] == [[1, 2, 3], [2, 3, 4]]
    predict(Painter(), "--sample=7", *flags[1:])
    assert np.asarray(Image.open(path)).shape == (3 * (3 + gap) + gap, 3 * (5 + gap) + gap)
    assert predict(Painter(), "--sample=2", "--seed=7").startswith("[[[0], [0]")


def test_a_picture_needs_images_and_samples_no_other_search(monkeypatch):
    monkeypatch.setattr(kz, "load", lambda *_, **__: Echo())
    assert "--to: writes images" in refused("predict", "--run_dir=r", "--to=a.png", "x")
    assert "--sample is a search of its own" in refused("predict", "--run_dir=r", "--sample=2", "--search=beam", "x")


def test_standard_input_is_read_as_a_training_file(predict):
    assert predict(Echo(repr), stdin=b"\xef\xbb\xbfa\r\n\r\n b\x0c\xef\xbb\xbf") == "'a'\n''\n' b\\x0c\\ufeff'\n"
    assert predict(Echo(), stdin=b"") == ""


@pytest.mark.parametrize(
    ("given", "message"), [(b"a\n\xff", "2: not UTF-8: byte 0xff"), (b"a\0b", "1: holds a NUL byte")]
)
def test_standard_input_that_is_no_text_is_refused(monkeypatch, given, message):
    monkeypatch.setattr(kz, "load", lambda *_, **__: Echo())
    assert f"standard input:{message}" in refused("predict", "--run_dir=r", stdin=given, code=3)


def test_vectors_are_written_to_a_file(monkeypatch, tmp_path):
    predictor = Echo()
    predictor.task.kind = "dual_encoder"
    predictor.embed = lambda raw, side: np.array([[len(text), 1.0] for text in raw], "float32")
    monkeypatch.setattr(kz, "load", lambda *_, **__: predictor)
    path = tmp_path / "vectors.npy"
    _, err = in_process("predict", "--run_dir=r", "--embed", f"--to={path}", stdin=b"one\nthree\n")
    assert np.load(path).tolist() == [[3, 1], [5, 1]] and "2 vectors of 2 numbers" in err
    assert "--embed needs --to=FILE.npy" in refused("predict", "--run_dir=r", "--embed", "x")
