import numpy as np
import pytest

from kerazoo import tasks
from kerazoo._checks import DataError

pytest.importorskip("tensorflow")  # what its import says is not what the tests listen to


def test_images_by_name(shared_data, capfd, tmp_path):
    task = tasks.create("tfds:mnist", "classifier", data_dir=shared_data / "tfds")
    assert task.sizes() == {"input_shape": (28, 28, 1), "num_classes": 10}
    corpora = {split: task.load(split) for split in ("train", "dev", "test")}
    assert len(corpora["train"]) + len(corpora["dev"]) == 60000 and len(corpora["test"]) == 10000
    assert 2800 < len(corpora["dev"]) < 3200
    task.save(tmp_path)
    again = tasks.restore(tmp_path, data_dir=tmp_path)
    assert again.sizes() == task.sizes()
    assert np.array_equal(again.encode([np.zeros((28, 28, 1), np.uint8)])["source"], np.zeros((1, 28, 28, 1)))
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith("preparing task tfds:mnist, ")] == []


def test_images_are_decoded_once(shared_data, tmp_path, monkeypatch):
    from kerazoo.data.tfds_source import Prepared

    monkeypatch.setenv("KERAZOO_CACHE", str(tmp_path))
    first = tasks.create("tfds:mnist", "classifier", data_dir=shared_data / "tfds").load("test")
    monkeypatch.setattr(Prepared, "batches", lambda *arguments: pytest.fail("must not be decoded again"))
    again = tasks.create("tfds:mnist", "classifier", data_dir=shared_data / "tfds").load("test")
    assert np.array_equal(first.features["source"], again.features["source"])
    assert isinstance(again.features["source"], np.memmap)


def test_long_text_by_name(shared_data):
    task = tasks.create("tfds:tiny_shakespeare", "language_model", data_dir=shared_data / "tfds", length=61)
    assert task.sizes()["vocabulary_size"] == 69
    corpora = {split: task.load(split) for split in ("train", "dev", "test")}
    assert sum(len(corpus.features["targets"].values) for corpus in corpora.values()) == 1115394 + 3
    assert 3 not in corpora["test"].features["targets"].values


def test_a_kind_that_the_set_does_not_train(shared_data):
    with pytest.raises(ValueError) as caught:
        tasks.create("tfds:mnist", "seq2seq", data_dir=shared_data / "tfds")
    assert "kind 'seq2seq' needs a feature of type Translation; got image (Image), label (ClassLabel)" in str(
        caught.value
    )
    assert "It trains: classifier, binary_classifier, autoencoder." in str(caught.value)
    with pytest.raises(ValueError, match=r"got text \(Text\). It trains: language_model\."):
        tasks.create("tfds:tiny_shakespeare", "classifier", data_dir=shared_data / "tfds")


def test_a_set_that_is_not_prepared(tmp_path):
    with pytest.raises(DataError, match="tfds:mnist: not prepared under"):
        tasks.create("tfds:mnist", data_dir=tmp_path)
