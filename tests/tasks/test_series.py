import gzip

import numpy as np
import pytest
import tensorflow as tf

from kerazoo import tasks
from kerazoo._checks import DataError


def write(path, rows, header="date,a,b"):
    text = header + "\n" + "".join(f"d{i},{a},{b}\n" for i, (a, b) in enumerate(rows))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


ROWS = [(i, 1000 - 7 * i) for i in range(101)]


@pytest.fixture
def task(tmp_path):
    return tasks.create("series", data_dir=write(tmp_path / "s.csv.gz", ROWS), length=5)


def test_windows_by_time_and_scaling_by_training_rows_alone(task):
    train, dev, test = (np.stack(task.examples(split)[0]) for split in ("train", "dev", "test"))
    assert train.shape == (71 - 4, 5, 2) and dev.shape == (11, 5, 2) and test.shape == (11, 5, 2)
    assert train[0].tolist() == [list(row) for row in ROWS[:5]] and train[-1, -1, 0] == 70
    assert dev[0, 0, 0] == 71 and dev[-1, -1, 0] == 85 and test[0, 0, 0] == 86
    assert task.state["source"]["names"] == ["a", "b"]
    assert task.state["source"]["mean"] == [35.0, 1000 - 7 * 35.0]
    assert task.state["source"]["deviation"] == pytest.approx([np.arange(71).std(), 7 * np.arange(71).std()])
    assert task.sizes() == {"input_shape": (5, 2), "output_size": 10}


def test_batches_predictions_and_evaluate(task, tmp_path):
    windows, references = (rows[:2] for rows in task.examples("dev"))
    inputs, targets, weights = task.batch(*task.load("dev").batch([0, 1, -1]))
    encoded = task.encode(windows)["source"]
    assert np.allclose(inputs["source"][:2], encoded, atol=1e-6)
    assert np.allclose(task.encode_packed({"source": tf.constant(np.stack(windows))})["source"], encoded, atol=1e-6)
    assert targets.shape == (3, 10) and np.asarray(weights).tolist() == [1, 1, 0]
    decoded = task.decode(np.asarray(targets)[:2])
    assert np.allclose(decoded, windows, rtol=1e-5)
    assert np.allclose(task.decode_in_graph(targets)["reconstruction"][:2], windows, rtol=1e-5)
    assert task.evaluate(decoded, references)["mean_squared_error"] == pytest.approx(0, abs=1e-6)
    off = [window + np.array(task.state["source"]["deviation"]) for window in windows]
    assert task.evaluate(off, references) == pytest.approx({"mean_squared_error": 1, "mean_absolute_error": 1})
    assert float(task.loss()(targets, targets * 0, sample_weight=weights)) == pytest.approx(
        float(np.mean(np.asarray(targets)[:2] ** 2)), rel=1e-5
    )
    task.save(tmp_path / "saved")
    again = tasks.restore(tmp_path / "saved")
    (last,) = again.read([tmp_path / "s.csv.gz"])
    assert last[-1].tolist() == [100, 300]
    assert np.array_equal(again.encode([last])["source"], task.encode([last])["source"])
    with pytest.raises(ValueError, match=r"a window must have shape \(5, 2\); got \(3, 2\)"):
        task.encode([last[:3]])
    with pytest.raises(ValueError, match="task series: was fitted with length=5; got length=7. Train a new model"):
        tasks.restore(tmp_path / "saved", length=7)


def test_files_of_splits_columns_and_constant_columns(tmp_path):
    write(tmp_path / "train.csv", [(3, i) for i in range(20)])
    write(tmp_path / "valid.csv", [(4, i) for i in range(13)])
    write(tmp_path / "test.csv", [(4, i) for i in range(5)])
    task = tasks.create("series", data_dir=tmp_path, columns="a", length=3, stride=4)
    assert task.load("train").features["source"].shape == (5, 3, 1) and len(task.load("dev")) == 3
    assert task.state["source"]["deviation"] == [1.0]  # of a constant


@pytest.mark.parametrize(
    "rows, header, options, message",
    [
        ([(1, "x")] * 9, "date,a,b", {}, r"s.csv:2: column 'b' holds no finite number: 'x'"),
        ([(1, "nan")] * 9, "date,a,b", {"columns": "b"}, "s.csv:2: column 'b' holds no finite number"),
        ([("y", "x")] * 9, "date,a,b", {"columns": None}, "s.csv:2: no column holds numbers; the header has: date, a"),
        ([], "date,a,b", {"columns": None}, "a series needs a header and rows below it; got 1 lines"),
        ([(1, 2)] * 9, "date,a,b", {"columns": "c"}, "s.csv:1: column 'c' is not in the header"),
        ([(1, 2)] * 9, "date,a,b", {}, r"SeriesSource, dev: 2 rows hold no window of 3 rows\. Take a shorter"),
    ],
)
def test_faults(tmp_path, rows, header, options, message):
    options = {"columns": "a,b", "length": 3, **options}
    with pytest.raises(DataError, match=message):
        task = tasks.create("series", data_dir=write(tmp_path / "s.csv", rows, header), **options)
        task.sizes(), task.load("dev")


def test_bad_rows_are_skipped_and_counted(tmp_path):
    path = write(tmp_path / "s.csv", [*ROWS[:50], (1, ""), ("inf", 2), *ROWS[50:]])
    task = tasks.create("series", data_dir=path, length=5, bad_lines="skip")
    assert task.load("train").notes == {"skipped": 2} and task.load("train").features["source"].shape[0] == 67
    with pytest.raises(ValueError, match="SeriesSource: files of series take no weight; got 2.0"):
        tasks.create("series", data_dir=f"{path}@2").sizes()
    with pytest.raises(ValueError, match="numbers take no label_smoothing; got label_smoothing=0.1"):
        task.loss(label_smoothing=0.1)
