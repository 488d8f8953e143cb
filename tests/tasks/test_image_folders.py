import numpy as np
import pytest

from kerazoo import tasks
from kerazoo._checks import DataError


@pytest.fixture
def folder(tmp_path):
    import tensorflow as tf

    for number in range(29):
        for name, level in (("cat", 50), ("dog", 200)):
            pixels = np.full((7, 5, 3), level, np.uint8)
            pixels[0, 0] = number
            path = tmp_path / "all" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(pixels).numpy())
    return tmp_path / "all"


def test_classes_are_folders(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAZOO_CACHE", str(tmp_path / "cache"))
    task = tasks.create("images", data_dir=folder)
    assert task.sizes() == {"input_shape": (7, 5, 3), "num_classes": 2} and task.targets.names == ["cat", "dog"]
    corpora = [task.load(split) for split in ("train", "dev", "test")]
    assert sum(map(len, corpora)) == 58 and all(map(len, corpora))
    features = corpora[0].features
    assert features["source"].shape[1:] == (7, 5, 3) and set(features["targets"].tolist()) == {0, 1}
    assert (features["source"][:, 6, 4, 0] == np.where(features["targets"], 200, 50)).all()
    scaled = tasks.create("images", "autoencoder", data_dir=folder, height=3, width=4, channels=1)
    assert scaled.load("dev").features["source"].shape[1:] == (3, 4, 1)
    (folder / "dog" / "0.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    assert len(tasks.create("images", data_dir=folder).load("train")) == len(corpora[0])
    assert len(list((tmp_path / "cache").glob("*.lock"))) > 5  # the changed image was noticed


def test_sizes_are_bounded_before_an_image_is_read(folder):
    with pytest.raises(ValueError, match="`height` must be at most 16,384; got height=100000"):
        tasks.create("images", data_dir=folder, height=100000)


def test_folders_of_splits_and_bad_images(folder, tmp_path):
    (tmp_path / "set").mkdir()
    folder.rename(tmp_path / "set" / "train")
    (tmp_path / "set" / "val" / "dog").mkdir(parents=True)
    (tmp_path / "set" / "train" / "dog" / "3.png").rename(tmp_path / "set" / "val" / "dog" / "a.PNG")
    (tmp_path / "set" / "val" / "dog" / "notes.txt").write_text("not looked at")
    task = tasks.create("images", data_dir=tmp_path / "set")
    assert task.examples("dev")[1] == [["dog"]]
    bad = tmp_path / "set" / "val" / "dog" / "b.jpg"
    bad.write_text("no image")
    with pytest.raises(DataError, match=r"b.jpg: not an image"):
        tasks.create("images", data_dir=tmp_path / "set").load("dev")
    skipping = tasks.create("images", data_dir=tmp_path / "set", bad_lines="skip")
    assert len(skipping.load("dev")) == 1 and skipping.load("dev").notes == {"skipped": 1}
    bad.parent.rename(bad.parent.with_name("dogs"))
    (bad.parent.with_name("dogs") / "b.jpg").unlink()
    with pytest.raises(DataError, match="the classes of all 1 examples are not in the training data"):
        tasks.create("images", data_dir=tmp_path / "set").load("dev")


def test_folders_without_images(tmp_path):
    with pytest.raises(DataError, match="no images here: they lie in one folder for each class"):
        tasks.create("images", data_dir=tmp_path)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        tasks.create("images", data_dir=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="task images: needs `data_dir`, a folder with one folder of images"):
        tasks.create("images")
    with pytest.raises(ValueError, match="`channels` must be one of 1, 3; got channels=2"):
        tasks.create("images", data_dir=tmp_path, channels=2)


def test_every_format_is_read_alike_for_training_and_prediction(tmp_path, capsys):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "b").mkdir()
    folder = tmp_path / "train" / "a"
    image.quantize(16).save(folder / "palette.bmp")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("P").save(folder / "a.gif")
    image.save(folder / "a.tiff")
    image.save(folder / "a.webp", lossless=True)
    image.save(tmp_path / "train" / "b" / "turned.png", exif=exif)
    for name in ("x.heic", "y.png"):
        (tmp_path / "train" / "b" / name).write_text("no image")
    for channels in (1, 3):
        options = {"data_dir": tmp_path, "channels": channels, "height": 6, "width": 9}
        with pytest.raises(DataError, match=r"(x.heic|y.png): not an image"):
            tasks.create("images", **options).load("train")
        task = tasks.create("images", bad_lines="skip", **options)
        task.source.fractions = {}
        corpus = task.load("train")
        assert len(corpus) == 6 and corpus.notes == {"skipped": 2}
        assert sorted(line.partition(": not")[0] for line in capsys.readouterr().err.splitlines()) == [
            f"skipped: {tmp_path}/train/b/{name}" for name in ("x.heic", "y.png")
        ]
        readable = [path for path, _ in task.source.files("train") if not path.endswith(("x.heic", "y.png"))]
        assert np.array_equal(corpus.features["source"], np.stack(task.read(readable)))


def test_all_captions_of_an_image_are_accepted(folder):
    """Each caption is an example to train on; in an evaluation the captions of a file are references of one input."""
    rows = [
        f'{{"file": "{name}/{number}.png", "caption": "a {word} {name}"}}'
        for name in ("cat", "dog")
        for number in range(5)
        for word in ("small", "small", name + "like")
    ]
    (folder / "captions.jsonl").write_text("\n".join(rows) + "\n")
    options = {"inputs": "image:file", "targets": "text:caption", "height": 3, "width": 2}
    task = tasks.create("table", data_dir=folder / "captions.jsonl", dev_data=folder / "captions.jsonl", **options)
    assert len(task.load("dev")) == 30
    images, references = task.examples("dev")
    assert [image.shape for image in images] == [(3, 2, 3)] * 10
    assert references == [["a small cat", "a catlike cat"]] * 5 + [["a small dog", "a doglike dog"]] * 5
    assert task.examples("dev", limit=2)[1] == [references[0], references[5]]
    measures = task.evaluate(["a catlike cat", "a small cat"], references[:1] + references[-1:])
    assert measures["sequence_error_rate"] == 0.5


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_damaged_image_of_a_caption_is_named_with_file_and_line(folder, split, capsys):
    (folder / "bad.png").write_bytes((folder / "cat" / "3.png").read_bytes()[:-35])
    (folder / "captions.tsv").write_text(
        "file\tcaption\ncat/0.png\tone\ncat/0.png\ttwo\nbad.png\tthree\ncat/1.png\tfour\n"
    )
    options = {"inputs": "image:file", "targets": "text:caption", "data_dir": folder / "captions.tsv"}
    task = tasks.create("table", dev_data=folder / "captions.tsv", height=3, width=2, **options)
    read = task.load if split == "train" else task.examples
    with pytest.raises(DataError, match=r"captions.tsv:4: .*bad.png: a damaged image: "):
        read(split)
    task = tasks.create("table", dev_data=folder / "captions.tsv", height=3, width=2, bad_lines="skip", **options)
    read = task.load if split == "train" else task.examples
    found = read(split)
    assert len(found) == 3 if split == "train" else found[1] == [["one", "two"], ["four"]]
    assert "bad.png" in capsys.readouterr().err or split == "dev"
