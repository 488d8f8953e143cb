import json
import shutil

import numpy as np
import pytest

from kerazoo._checks import DataError, SetupError
from kerazoo.data import TFDSSource
from kerazoo.data import tfds_source as tfds
from kerazoo.data.splits import assign_split


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
    batches = list(prepared.batches("test", ["image", "label"]))
    images, labels = (np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))
    assert images.shape == (10000, 28, 28, 1) and images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert 30 < images.mean() < 36
    assert list(next(prepared.batches("test", ["image"]))) == ["image"]


def test_texts_come_whole(shared_data):
    pytest.importorskip("tensorflow")
    prepared = tfds.Prepared("tiny_shakespeare", shared_data / "tfds")
    assert prepared.splits["dev"] == "validation"
    ((text,),) = list(prepared.strings("dev", "text"))
    assert text.startswith("?\n\nGREMIO:") and len(text) == 55770


def test_sources_of_images_and_texts(shared_data, tmp_path):
    pytest.importorskip("tensorflow")
    source = TFDSSource("mnist", data_dir=shared_data / "tfds")
    source.check()
    assert source.feature_types() == {"image": "Image", "label": "ClassLabel"}
    assert source.class_names("label") == list("0123456789") and source.class_names("image") is None
    chunks = list(source.chunks("test"))
    assert sum(chunk.num_rows for chunk in chunks) == 10000
    held_out = next(chunk for chunk in source.chunks("dev") if chunk.num_rows).columns["image"]
    assert {assign_split(image.tobytes(), source.fractions) for image in held_out} == {"dev"}
    first = chunks[0].columns
    assert first["image"].shape == (64, 28, 28, 1) and first["image"].dtype == np.uint8
    alone = TFDSSource("mnist", {"digit": "label"}, data_dir=shared_data / "tfds")
    assert next(alone.chunks("test")).columns["digit"][:64] == first["label"]
    assert source.fingerprint("train") != alone.fingerprint("train")
    text = TFDSSource("tiny_shakespeare", {"text": "text"}, data_dir=shared_data / "tfds")
    (chunk,) = text.chunks("dev")
    assert [len(each) for each in chunk.columns["text"]] == [55770]


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"image": "img"}, r"has no feature 'img'; it has image \(Image\), label \(ClassLabel\)\. Did you mean"),
        ({"x": "label.en"}, "has no feature 'label.en'"),
    ],
)
def test_features_that_a_set_lacks(shared_data, columns, message):
    pytest.importorskip("tensorflow")
    with pytest.raises(DataError, match="tfds:mnist: " + message):
        TFDSSource("mnist", columns, data_dir=shared_data / "tfds").check()


def test_a_translation_and_its_languages(monkeypatch):
    class Translation(dict):
        pass

    class Text:
        pass

    class Prepared:
        features = {"translation": Translation(en=Text(), de=Text()), "id": Text(), "audio": object()}
        splits = {"train": "train"}
        languages = tfds.Prepared.languages
        _builder = type("Builder", (), {"info": type("Info", (), {"supervised_keys": ("en", "de")})})

        def __init__(self, *arguments):
            pass

        def strings(self, split, *paths):
            assert split == "train" and paths == (("translation", "de"), ("translation", "en"), "id")
            yield from ([f"de {i}", f"en {i}", str(i)] for i in range(97))

    monkeypatch.setattr(tfds, "Prepared", Prepared)
    monkeypatch.setattr(tfds, "CHUNK_ROWS", 31)
    columns = {"source": "translation.de", "target": "translation.en", "id": "id"}
    source = TFDSSource("pairs", columns)
    source.check()
    assert source.languages("translation") == ["en", "de"]
    chunks = {split: list(source.chunks(split)) for split in source.splits()}
    rows = [row for each in chunks.values() for chunk in each for row in zip(*chunk.columns.values())]
    assert sorted(rows) == sorted((f"de {i}", f"en {i}", str(i)) for i in range(97)) and len(chunks["train"]) == 4
    with pytest.raises(DataError, match="feature 'audio' is of type object; Image, Text, ClassLabel and the languages"):
        TFDSSource("pairs", {"x": "audio"}).check()


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


def test_images_of_many_sizes_are_scaled(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf
    import tensorflow_datasets
    from PIL import Image

    import kerazoo as kz

    sizes = [(7, 11), (5, 13), (11, 7)] * 7
    images = [np.full((*size, 3), 10 * number, np.uint8) for number, size in enumerate(sizes)]
    examples = tf.data.Dataset.from_generator(
        lambda: ({"image": image, "label": number % 2} for number, image in enumerate(images)),
        output_signature={"image": tf.TensorSpec((None, None, 3), tf.uint8), "label": tf.TensorSpec((), tf.int64)},
    )
    types = tensorflow_datasets.features
    features = {"image": types.Image(shape=(None, None, 3)), "label": types.ClassLabel(num_classes=2)}
    tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
        name="pets",
        version="1.0.0",
        data_dir=tmp_path,
        split_datasets={"train": examples.take(len(images)), "test": examples.take(3)},
        features=types.FeaturesDict(features),
        disable_shuffling=True,
    )
    task = kz.tasks.create("tfds:pets", data_dir=tmp_path, height=5, width=6)
    assert task.sizes() == {"input_shape": (5, 6, 3), "num_classes": 2}
    raw, references = task.examples("test")
    assert [image.shape for image in raw] == [(5, 6, 3)] * 3 and references == [["0"], ["1"], ["0"]]
    assert {int(image.min()) for image in raw} <= {10 * number for number in range(len(sizes))}
    first = kz.tasks.create("tfds:pets", data_dir=tmp_path, channels=1).sizes()["input_shape"]
    assert first[:2] in sizes and first[2] == 1
    Image.fromarray(images[4]).save(tmp_path / "new.png")
    np.testing.assert_array_equal(task.read([str(tmp_path / "new.png")])[0], np.full((5, 6, 3), 40))


@pytest.mark.parametrize("key", ["pythonClassName", "type"])
def test_a_set_with_a_class_of_its_own_is_refused_and_runs_no_code(tmp_path, key, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    folder = fake(tmp_path, "mine/1.0.0")
    (tmp_path / "evil_tfds.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    features = {"featuresDict": {"features": {"x": {key: "evil_tfds.Image"}}}, key: "tensorflow_datasets.features.X"}
    (folder / "features.json").write_text(json.dumps(features))
    with pytest.raises(DataError, match=r"has a feature of the class 'evil_tfds.Image', and opening the set would run"):
        tfds.Prepared("mine", tmp_path)
    (folder / "features.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"features.json: cannot be read"):
        tfds.Prepared("mine", tmp_path)


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
