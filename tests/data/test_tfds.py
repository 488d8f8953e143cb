import json
import shutil

import numpy as np
import pytest

from kerazoo._checks import DataError, SetupError
from kerazoo.data import tfds


def fake(folder, name):
    path = folder / name
    path.mkdir(parents=True)
    (path / "dataset_info.json").write_text("{}")
    return path


def test_the_newest_version_is_found(tmp_path):
    fake(tmp_path, "mnist/3.0.1")
    fake(tmp_path, "mnist/3.0.10")
    assert tfds.find("mnist", tmp_path).name == "3.0.10"
    assert tfds.find("mnist:3.0.1", tmp_path).name == "3.0.1"
    fake(tmp_path, "wmt/de-en/1.0.0")
    assert tfds.find("wmt/de-en", tmp_path).parent.name == "de-en"


def test_a_set_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"tfds:mnist: not prepared under .* \(there: no data set\).*download=True"):
        tfds.find("mnist", tmp_path)
    fake(tmp_path, "mnist/3.0.1")
    with pytest.raises(DataError, match=r"tfds:mnst: not prepared .*there: mnist\). Did you mean 'mnist'\?"):
        tfds.find("mnst", tmp_path)
    with pytest.raises(DataError, match="tfds:mnist:9.0.0: not prepared"):
        tfds.find("mnist:9.0.0", tmp_path)
    fake(tmp_path, "wmt/de-en/1.0.0")
    fake(tmp_path, "wmt/fr-en/1.0.0")
    with pytest.raises(DataError, match="several configurations; name one: wmt/de-en, wmt/fr-en"):
        tfds.find("wmt", tmp_path)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    with pytest.raises(SetupError, match=r'pip install "kerazoo\[tfds\]"'):
        tfds.Prepared("mnist", "/nowhere")


def test_images_come_whole_and_in_order(shared_data):
    pytest.importorskip("tensorflow")
    prepared = tfds.Prepared("mnist", shared_data / "tfds")
    assert prepared.splits == {"train": "train", "test": "test"}
    assert prepared.of_type("Image") == ["image"] and prepared.of_type("ClassLabel", "Text") == ["label"]
    assert prepared.classes("label") == list("0123456789")
    images, labels = map(np.concatenate, zip(*prepared.images("test", "image", "label")))
    assert images.shape == (10000, 28, 28, 1) and images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert 30 < images.mean() < 36
    assert next(prepared.images("test", "image", None))[1].max() == 0


def test_texts_come_whole(shared_data):
    pytest.importorskip("tensorflow")
    prepared = tfds.Prepared("tiny_shakespeare", shared_data / "tfds")
    assert prepared.splits["dev"] == "validation"
    ((text,),) = list(prepared.strings("dev", "text"))
    assert text.startswith("?\n\nGREMIO:") and len(text) == 55770


def test_damaged_records_are_refused(shared_data, tmp_path):
    pytest.importorskip("tensorflow")
    copy = tmp_path / "tiny_shakespeare"
    shutil.copytree(shared_data / "tfds" / "tiny_shakespeare", copy)
    for path in copy.glob("*/*validation*"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-99])
    with pytest.raises(DataError, match="tfds:tiny_shakespeare: damaged under"):
        tfds.Prepared("tiny_shakespeare", tmp_path).strings("dev", "text").__next__()
    assert json.loads(next(copy.glob("*/dataset_info.json")).read_text())["name"] == "tiny_shakespeare"


def test_no_download_unless_asked(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
    asked = []

    class Builder:
        def download_and_prepare(self):
            raise ConnectionError("no network here\nand more lines")

    import tensorflow_datasets

    monkeypatch.setattr(tensorflow_datasets, "builder", lambda *args, **kwargs: asked.append(args) or Builder())
    with pytest.raises(DataError, match="not prepared under"):
        tfds.Prepared("mnist", tmp_path)
    assert asked == []
    with pytest.raises(DataError, match="tfds:mnist: could not be downloaded to .*: no network here$"):
        tfds.Prepared("mnist", tmp_path, download=True)
    assert asked == [("mnist",)]
