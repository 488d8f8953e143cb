"""What a task was fitted to belongs to names: data of another order, with more or with less reads the same."""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kerazoo import tasks
from kerazoo._checks import DataError

few = settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = np.random.default_rng(0).normal(size=(23, 3)) * [1, 10, 100] + [5, 1000, -7]
SERIES = {"date": [f"d{i}" for i in range(23)], "a": NUMBERS[:, 0], "b": NUMBERS[:, 1], "c": NUMBERS[:, 2]}
ROWS = {
    "text": [f"text {i}" for i in range(31)],
    "label": ["yes" if i % 3 else "no" for i in range(31)],
    "size": [str(i * i) for i in range(31)],
    "note": [f"more {i}" for i in range(31)],
}


def write(path, columns, names):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *zip(*(columns[name] for name in names))])
    return path


def read(folder, data, split="test"):
    task = tasks.restore(folder, test_data=data) if split == "test" else tasks.restore(folder, data_dir=data)
    return task.load(split).features, task.examples(split)


def assert_same(found, expected):
    (stored, (raw, references)), (stored_before, (raw_before, references_before)) = found, expected
    for name, values in stored_before.items():
        assert np.array_equal(getattr(stored[name], "values", stored[name]), getattr(values, "values", values))
    assert np.array_equal(np.array(raw, object), np.array(raw_before, object))
    assert np.array_equal(np.array(references), np.array(references_before))


@pytest.fixture
def series(tmp_path):
    path = write(tmp_path / "train.csv", SERIES, ["date", "a", "b"])
    tasks.create("series", data_dir=path, length=3).save(tmp_path / "saved")
    return tmp_path


@few
@given(names=st.permutations(list(SERIES)), without=st.sampled_from(["c", "date", None]))
def test_columns_of_series_are_found_by_name(series, names, without):
    names = [name for name in names if name != without]
    expected = read(series / "saved", series / "train.csv", "train")
    assert_same(read(series / "saved", write(series / "other.csv", SERIES, names), "train"), expected)


def test_a_missing_column_of_a_series_is_named(series):
    path = write(series / "other.csv", SERIES, ["date", "c", "a"])
    with pytest.raises(DataError, match=r"other.csv:1: column 'b' is not in the header; it has: date, c, a"):
        read(series / "saved", path)
    with pytest.raises(ValueError, match=r"trained on the columns \['a', 'b'\]; got columns=\['b', 'a'\]"):
        tasks.restore(series / "saved", columns="b,a")


def test_windows_of_another_shape_are_refused(series):
    task = tasks.restore(series / "saved")
    with pytest.raises(DataError, match=r"'window' must have shape \(3, 2\), as in the training data; got \(3, 1\)"):
        task.targets.convert({"window": np.zeros((5, 3, 1))})


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": "text:text,number:size", "targets": "label:label"},
        {"source_column": 0, "target_column": 1, "header": True},
    ],
    ids=["names", "numbers"],
)
def test_columns_of_tables_are_found_by_name(tmp_path, options):
    path = write(tmp_path / "train.csv", ROWS, ["text", "label", "size"])
    tasks.create("table", "classifier", data_dir=path, **options).save(tmp_path / "saved")
    expected = read(tmp_path / "saved", path)

    @few
    @given(names=st.permutations(list(ROWS)), without=st.sampled_from(["note", None]))
    def permuted(names, without):
        names = [name for name in names if name != without]
        assert_same(read(tmp_path / "saved", write(tmp_path / "other.csv", ROWS, names)), expected)

    permuted()
    with pytest.raises(DataError, match=r"other.csv:1: column 'text' is not in the header; it has: label, size"):
        read(tmp_path / "saved", write(tmp_path / "other.csv", ROWS, ["label", "size"]))


def test_a_test_file_with_another_order_of_columns_than_the_training_file(tmp_path):
    write(tmp_path / "train.csv", ROWS, ["text", "label"])
    write(tmp_path / "test.csv", ROWS, ["label", "text"])
    task = tasks.create("table", "classifier", data_dir=tmp_path, header=True)
    assert task.examples("test") == (ROWS["text"], [[label] for label in ROWS["label"]])


LEVELS = {"ant": 10, "bee": 90, "cow": 170, "doe": 250}


def folders(root, classes, size=(3, 5)):
    for name in classes:
        for number in range(2):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*size, 3), LEVELS[name] + number, np.uint8)).save(path)


@pytest.fixture
def images(tmp_path):
    for split in ("train", "dev", "test"):
        folders(tmp_path / "set" / split, ["ant", "bee", "cow"])
    tasks.create("images", data_dir=tmp_path / "set").save(tmp_path / "saved")
    return tmp_path


@few
@given(
    classes=st.sets(st.sampled_from(["ant", "bee", "cow", "doe"]), min_size=1),
    size=st.sampled_from([(3, 5), (6, 10)]),
)
def test_classes_of_folders_are_found_by_name(images, classes, size):
    shutil.rmtree(images / "other", ignore_errors=True)
    folders(images / "other" / "train", ["ant"])
    folders(images / "other" / "test", classes, size)
    task = tasks.restore(images / "saved", data_dir=images / "other")
    raw, references = task.examples("test")
    found = sorted((name, int(image[0, 0, 0])) for image, (name,) in zip(raw, references))
    assert found == [(name, LEVELS[name] + number) for name in sorted(classes) for number in range(2)]
    assert all(image.shape == (3, 5, 3) for image in raw)
    known = [name for name in sorted(classes) if name != "doe"]
    if known:
        corpus = task.load("test")
        names = [task.targets.names[index] for index in corpus.features["targets"]]
        assert sorted(names) == sorted(2 * known)
        assert corpus.notes.get("unseen", 0) == 2 * ("doe" in classes)
    assert task.targets.unseen(references) == ({"doe": 2} if "doe" in classes else {})
