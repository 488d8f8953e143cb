"""What a run reports: samples as a table and as pictures, report.md of all splits, and the next commands."""

import json
import os
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo import data, run, tasks
from kerazoo.run import pictures, report, sample_table
from kerazoo.run.sample_table import Sample

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True)
WINDOW = np.arange(6.0).reshape(3, 2)
IMAGE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


@PROPERTY
@given(st.text(st.characters(codec=None)))
def test_printable_text_is_one_line_without_control_characters(text):
    shown = run.printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()  # no lone surrogates
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert run.printable(shown) == shown


def test_control_characters_are_written_out():
    assert run.printable("a\nb\r\tc\x1b[31m \u2028\ud800 ü") == "a\\nb\\r\\tc\\x1b[31m \\u2028\\ud800 ü"


def test_a_flag_file_names_files_wherever_it_is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data_dir=a.tsv,-", "--task_option=dev_data=b.tsv", "--task_option=max_length=7", "--set=units=3"]
    lines = report.flag_file({"kerazoo": "1"}, flags).splitlines()[2:]
    assert lines == [f"--data_dir={tmp_path}/a.tsv,-", f"--task_option=dev_data={tmp_path}/b.tsv", *flags[2:]]
    options = run.directory.absolute({"test_data": "b.tsv", "max_length": 7})
    assert options == {"test_data": f"{tmp_path}/b.tsv", "max_length": 7}


def test_a_table_of_samples_names_what_is_repeated():
    samples = [Sample("ab", ["AB", "Ab"], "Ab"), Sample("a\nb", ["C"], "D"), Sample(("x", "y"), ["long"], "x")]
    assert sample_table.table(samples, "dev").splitlines() == [
        "input  reference  prediction (dev)",
        "----------------------------------",
        "ab     AB or Ab   = reference",
        "a\\nb   C          D",
        "x | y  long       x",
    ]
    assert sample_table.table([], "dev") == ""


@pytest.mark.parametrize("width", [30, 50, 79])
def test_a_terminal_is_never_exceeded(width):
    words = " ".join(f"word{n}" for n in range(90))
    samples = [Sample(words, ["漢字" * 30], "x" * 70), Sample("a", ["b"], "c")]
    lines = sample_table.table(samples, "dev", width).splitlines()
    assert max(map(sample_table._columns, lines)) <= width
    assert "... (all of it in report.md)"[: width - 19] in lines[5]


def test_without_a_terminal_nothing_is_left_out():
    words = " ".join(f"word{n}" for n in range(90))
    lines = sample_table.table([Sample(words, ["b"], "c")], "dev").splitlines()
    assert lines == [f"input             {words}", "reference         b", "prediction (dev)  c"]


@PROPERTY
@given(st.text("ab \u6f22", max_size=200), st.integers(12, 20))
def test_wrapped_text_loses_nothing_but_blanks(text, width):
    lines = sample_table._wrapped(text, width)
    joined = "".join(lines).replace(" ", "")
    whole = text.replace(" ", "")
    assert joined == whole if len(lines) < sample_table.MAX_LINES else whole.startswith(joined.partition("...(")[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", "a\nb"),
        (("a", IMAGE), "a | [2x2x3] 0 to 11, mean 5.5"),
        (0.25, "0.25"),
        (7, "7"),
        ([1.0, 2.5], "[1, 2.5]"),
        (WINDOW, "[[0, 1], [2, 3], [4, 5]]"),
        (np.ones((50, 2)), "[50x2] 1 to 1, mean 1"),
    ],
)
def test_values_in_words(value, text):
    assert sample_table.text(value) == text


@pytest.fixture
def folder(tmp_path):
    run_dir = run.RunDirectory(tmp_path)
    run_dir.checkpoints.mkdir()
    record = {"model": "a_b", "model_options": {}, "task": "table", "task_options": {}, "training": {}, "import": []}
    run_dir.save_record(record)
    return run_dir


def result(**metrics):
    return {"metrics": metrics, "examples": 3, "seconds": 0.1, "search": {}}


def test_the_report_holds_every_split_and_all_of_the_samples(folder):
    long = "w " * 500 + "end"
    report.write(folder, result(accuracy=0.5), "dev", [Sample(long, ["a|b", "<i>"], "*\n\x1b[2J")])
    report.write(folder, {**result(accuracy=0.25, f1=1.0), "search": {"num_beams": 3}}, "test", [])
    text = folder.report.read_text(encoding="utf-8")
    assert "# a\\_b on table" in text and "| split | examples | search | accuracy | f1 |" in text
    assert "| dev | 3 | default | 0.5000 |  |" in text and "| test | 3 | num\\_beams=3 | 0.2500 | 1.0000 |" in text
    assert f"| {long} | a\\|b or \\<i\\> | \\*<br>\\x1b\\[2J |" in text
    (saved,) = json.loads(folder.evaluation("dev").read_text())["samples"]
    assert saved.pop("kind") == "random"
    assert saved == {"input": long, "references": ["a|b", "<i>"], "prediction": "*\n\x1b[2J", "correct": False}


def test_the_report_names_results_from_before_the_last_training(folder):
    report.write(folder, result(accuracy=0.5), "test", [])
    os.utime(folder.evaluation("test"), (1, 1))
    (folder.checkpoints / "step-9").mkdir()
    report.write(folder, result(accuracy=0.75), "dev", [])
    text = folder.report.read_text()
    assert "| test, before the last training | 3 | default | 0.5000 |" in text
    assert "| dev | 3 | default | 0.7500 |" in text
    folder.evaluation("test").write_text("{")
    report.write(folder, result(accuracy=0.75), "dev", [])
    assert "test" not in folder.report.read_text()


@pytest.mark.parametrize(
    ("sample", "size"),
    [
        (Sample(IMAGE, [IMAGE], IMAGE / 255), (400, 200)),
        (Sample((IMAGE, "text"), ["a"], "b"), (200, 200)),
        (Sample(WINDOW, [WINDOW[:1]], WINDOW[:1] + 1), (640, 200)),
        (Sample(np.ones((3, 9)), ["a"], "a"), (1280, 200)),
        (Sample(np.sin(np.arange(1000.0)), ["a"], "a"), (320, 200)),
    ],
)
def test_samples_of_images_series_and_sound_are_drawn(sample, size):
    png = pictures.draw(sample)
    assert png[:4] == b"\x89PNG" and tuple(np.frombuffer(png[16:24], ">u4")) == size


def test_the_confusion_of_classes_is_drawn(folder):
    confusion = {"classes": ["a", "b"], "counts": [[2, 0], [1, 0]]}
    report.write(folder, {**result(accuracy=0.5), "confusion": confusion}, "dev", [])
    text, path = folder.report.read_text(), folder.path / "pictures/confusion-dev.png"
    assert "| b | 1 | 0 |\n\n![](pictures/confusion-dev.png)" in text and path.read_bytes()[:4] == b"\x89PNG"


def test_text_is_not_drawn():
    assert pictures.draw(Sample("a", ["b"], "c")) is None and pictures.draw(Sample(0.5, [1.0], 2.0)) is None


def test_without_matplotlib_the_report_says_what_is_missing(folder, monkeypatch):
    report.write(folder, result(), "dev", [Sample(IMAGE, ["a"], "b")])
    assert "![](pictures/dev-1.png)" in folder.report.read_text() and (folder.path / "pictures/dev-1.png").exists()
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: None)
    report.write(folder, result(), "dev", [Sample(IMAGE, ["a"], "b")])
    text = folder.report.read_text()
    assert "pip install 'kerazoo[viz]'" in text and "![]" not in text


def table_task(tmp_path, inputs, *rows):
    path = tmp_path / "own data.tsv"
    path.write_text("".join(f"{row}\n" for row in ["a\tb\ty", *rows]), encoding="utf-8")
    return tasks.create("table", data_dir=str(path), dev_data=str(path), header=True, inputs=inputs, targets="text:y")


@pytest.mark.parametrize(
    ("inputs", "rows", "typed"),
    [
        ("text:a", ["it's\tc\tx"], "it's"),
        ("text:a", ["-x\tc\tx", "w" * 70 + "\tc\tx", "'o\tc\tx", "o k\tc\tx"], "o k"),
        ("text:a", ["w" * 70 + "\tc\tx"], "w" * 70),
        ("text:a,text:b", ["it's\tc\\d\tx"], "it's\tc\\d"),
    ],
)
def test_the_next_command_predicts_an_input_of_the_data(tmp_path, inputs, rows, typed):
    commands = report.next_commands(run.RunDirectory(tmp_path / "a b"), table_task(tmp_path, inputs, *rows))
    line = commands.splitlines()[1].replace("python -m experiments.predict", "printf '%s\\n'")
    out = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    assert out == f"--run_dir={tmp_path}/a b\n{typed}\n"


def test_the_next_command_of_other_data(tmp_path):
    folder = run.RunDirectory("r")
    series = tmp_path / "s.csv"
    series.write_text("a\n" + "".join(f"{n}\n" for n in range(90)))
    assert f"--run_dir=r {series}\n" in report.next_commands(folder, tasks.create("series", data_dir=str(series)))
    assert "--run_dir=r FILE.png\n" in report.next_commands(folder, tasks.create("digits", "classifier"))
    (tmp_path / "t.txt").write_text("some words of a long text\n" * 99)
    text = tasks.create("text", data_dir=str(tmp_path / "t.txt"))
    assert "--run_dir=r 'some words of'\n" in report.next_commands(folder, text)
    empty = data.MemorySource(lambda split: {"a": ["x"] if split == "train" else []})
    task = tasks.Task(empty, (tasks.TextFeature("a"),), tasks.TextFeature("a"))
    assert "--run_dir=r INPUT\n" in report.next_commands(folder, task)
    (tmp_path / "pairs.tsv").write_text("a\tb\n" * 9)
    pairs = report.next_commands(folder, tasks.create("pairs", data_dir=tmp_path / "pairs.tsv", held_out=0))
    assert "experiments.search --run_dir=r --collection=FILE" in pairs and "evaluate" not in pairs
