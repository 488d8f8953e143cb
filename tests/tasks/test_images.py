import numpy as np
import pytest
import tensorflow as tf

from kerazoo import tasks
from kerazoo._checks import DataError
from kerazoo.data import MemorySource
from kerazoo.tasks import ImageFeature, LabelFeature, Task


@pytest.fixture(scope="module", params=["classifier", "binary_classifier", "autoencoder"])
def task(request):
    return tasks.create("digits", request.param)


def test_digits_are_split_and_scaled(task):
    corpora = {split: task.load(split) for split in ("train", "dev", "test")}
    assert sum(map(len, corpora.values())) == 1797
    assert all(130 < len(corpora[split]) < 230 for split in ("dev", "test"))
    images = corpora["train"].features["source"]
    assert images.dtype == np.uint8 and images.shape[1:] == (8, 8, 1) and images.max() == 255
    inputs, _, weights = task.batch(*corpora["train"].batch([3, 1, -1]))
    assert np.allclose(inputs["source"], images[[3, 1, 0]] / 255, atol=1e-6)
    assert np.asarray(weights).tolist() == [1, 1, 0]


def test_encode_takes_bytes_and_floats(task):
    images, _ = task.examples("dev", limit=3)
    encoded = task.encode(images)["source"]
    assert encoded.dtype == np.float32 and encoded.shape == (3, 8, 8, 1) and encoded.max() <= 1
    assert np.array_equal(encoded, task.encode([image / np.float32(255) for image in images])["source"])
    assert np.allclose(encoded, task.encode_packed({"source": tf.constant(np.stack(images))})["source"], atol=1e-6)
    assert task.encode([])["source"].shape == (0, 8, 8, 1)
    with pytest.raises(ValueError, match=r"an image must have shape \(8, 8, 1\); got \(8, 8\)"):
        task.encode([images[0][..., 0]])


def test_a_saved_task_has_its_classes(task, tmp_path):
    task.save(tmp_path)
    again = tasks.restore(tmp_path)
    assert again.sizes() == task.sizes() and again.state == task.state and again.hash == task.hash


def test_classes():
    task = tasks.create("digits", "classifier")
    assert task.sizes() == {"input_shape": (8, 8, 1), "num_classes": 10}
    _, labels, weights = task.batch(*task.load("dev").batch([0, 1, -1]))
    references = task.examples("dev")[1][:2]
    logits = np.eye(10, dtype=np.float32)[np.asarray(labels)] * 50
    assert task.decode(list(logits[:2])) == [reference[0] for reference in references]
    assert [name.decode() for name in task.decode_in_graph(logits)["label"].numpy()[:2]] == task.decode(logits[:2])
    assert float(task.loss()(labels, logits, sample_weight=weights)) == pytest.approx(0, abs=1e-6)
    assert [metric.name for metric in task.metrics()] == ["accuracy", "f1"]
    assert task.monitor == ("val_accuracy", "max")
    measures = task.evaluate(["1", "1", "2"], [["1"], ["2"], ["2"]])
    assert measures == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)}
    with pytest.raises(ValueError, match="equally long and not empty; got 1 predictions, 0 references"):
        task.evaluate(["1"], [])


def test_odd_and_even():
    task = tasks.create("digits", "binary_classifier")
    assert task.sizes() == {"input_shape": (8, 8, 1), "num_classes": 1}
    corpus = task.load("dev")
    _, bits, weights = task.batch(*corpus.batch([0, 1, 2, -1]))
    assert np.array_equal(np.asarray(bits)[:3, 0], corpus.features["targets"][:3])
    logits = (np.asarray(bits) * 2 - 1) * 50
    assert float(task.loss()(bits, logits, sample_weight=weights)) == pytest.approx(0, abs=1e-6)
    names = task.decode(logits[:3])
    assert names == [reference[0] for reference in task.examples("dev", limit=3)[1]] and set(names) <= {"odd", "even"}
    assert [name.decode() for name in task.decode_in_graph(tf.constant(logits[:3]))["label"].numpy()] == names
    for metric in task.metrics():
        metric.update_state(bits, logits, sample_weight=weights)
        assert float(metric.result()) == 1


@pytest.mark.parametrize("names", [["cat", "dog"], ["cat", "dog", "cow"]])
def test_yes_or_no_needs_two_classes_or_digits(names):
    labels = [names[1], names[0], names[-1]]
    source = MemorySource(lambda split: {"image": np.zeros((3, 2, 2, 1), np.uint8), "label": labels})
    task = Task(source, (ImageFeature(channels=1),), LabelFeature("label", binary=True), "animals")
    if len(names) == 2:
        assert task.examples("dev")[1] == [["dog"], ["cat"], ["dog"]]
    else:
        with pytest.raises(ValueError, match="needs 2 classes or digits; got 3 classes: cat, cow, dog"):
            task.sizes()


def test_reconstruction():
    task = tasks.create("digits", "autoencoder")
    assert task.sizes() == {"input_shape": (8, 8, 1), "output_size": 64}
    inputs, targets, weights = task.batch(*task.load("dev").batch([0, 1, -1]))
    assert targets.shape == (3, 64) and np.array_equal(np.reshape(inputs["source"], (3, 64)), targets)
    logits = np.zeros((3, 64), np.float32)
    assert float(task.loss()(targets, logits, sample_weight=weights)) == pytest.approx(np.log(2), rel=1e-5)
    assert task.metrics() == []
    images, references = task.examples("dev", limit=2)
    predictions = task.decode(logits[:2])
    assert predictions[0].shape == (8, 8, 1) and np.allclose(predictions[0], 0.5)
    assert np.allclose(task.decode_in_graph(tf.constant(logits))["reconstruction"][:2], np.stack(predictions))
    measures = task.evaluate(predictions, references)
    assert measures["binary_crossentropy"] == pytest.approx(np.log(2), rel=1e-5)
    assert 0.05 < measures["mean_squared_error"] < 0.25
    perfect = task.evaluate([image / 255 for image in images], references)
    assert perfect["mean_squared_error"] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="pixels take no label_smoothing; got label_smoothing=0.1"):
        task.loss(label_smoothing=0.1)


def test_images_are_read_from_files(task, tmp_path):
    path = tmp_path / "seven.png"
    image = task.examples("dev", limit=1)[0][0]
    path.write_bytes(tf.io.encode_png(image).numpy())
    assert np.array_equal(task.read([str(path)])[0], image)
    with pytest.raises(DataError, match="missing.png: cannot be read"):
        task.read([str(tmp_path / "missing.png")])
