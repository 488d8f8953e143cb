"""Images that are generated pixel by pixel: levels, sizes, prompts, measures, and what is refused."""

import numpy as np
import pytest

from kerazoo import tasks, training
from kerazoo.data import MemorySource
from kerazoo.tasks import LabelFeature, PixelsFeature, Task

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 3, 5, 2)).astype(np.uint8)


def read(split):
    return {"image": IMAGES, "label": [str(n % 3) for n in range(len(IMAGES))]}


def make(inputs=(), **options):
    return Task(MemorySource(read), inputs, PixelsFeature("image", **options))


@pytest.mark.parametrize("levels", [2, 7, 256])
def test_pixels_become_levels_and_back(levels):
    task = make(levels=levels)
    assert task.kind == "language_model" and task.max_length == 30
    corpus = task.load("train")
    inputs, targets, weights = task.batch(*corpus.batch([3, -1]))
    ids = np.asarray(targets)
    assert np.array_equal(inputs["targets"], ids) and ids.shape == (2, 30)
    assert np.array_equal(ids[0] - 3, IMAGES[3].reshape(-1).astype(int) * levels // 256)
    assert np.asarray(weights).tolist() == [[1] * 30, [0] * 30]
    (image,) = task.decode([ids[0]])
    assert image.shape == (3, 5, 2) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - IMAGES[3]).max() <= 256 / levels
    assert np.array_equal(task.decode_in_graph(ids)["image"][0], image)
    assert np.array_equal(task.decode([ids[0, :4]])[0].reshape(-1)[4:], [0] * 26)


def test_sizes_fit_a_model_of_either_kind():
    sizes = make().sizes()
    assert sizes["vocabulary_size"] == sizes["target_vocabulary_size"] == 19
    assert sizes["image_shape"] == (3, 5, 2) and sizes["max_length"] == 30
    sizes = make((LabelFeature("label"),)).sizes()
    assert sizes["source_vocabulary_size"] == 4 and sizes["target_vocabulary_size"] == 19
    assert make((LabelFeature("label"),)).kind == "seq2seq"


def test_the_prompt_of_a_language_model_is_the_first_rows():
    task = make(levels=256)
    prompts, wholes = task.examples("dev", limit=4)
    assert len(prompts) == len(wholes) == 4
    assert all(np.array_equal(prompt, whole[0][:1]) for prompt, whole in zip(prompts, wholes))
    assert np.array_equal(task.encode(prompts)["prompt"], [whole[0][0].reshape(-1) + 3.0 for whole in wholes])
    assert task.encode([np.zeros((0, 5, 2), np.uint8)])["prompt"].shape == (1, 0)
    assert task.signature == {"prompt": ([None, 5, 2], "uint8")}
    with pytest.raises(ValueError, match=r"an image must have shape \(3, 5, 2\), or fewer rows; got \(4, 5, 2\)"):
        task.encode([np.zeros((4, 5, 2), np.uint8)])
    with pytest.raises(TypeError, match="pixels must be uint8, 0 to 255; got float64"):
        task.encode([np.zeros((1, 5, 2))])
    with pytest.raises(ValueError, match=r"prompts of one batch must have the same number of rows; got \[1, 2\]"):
        task.encode([np.zeros((1, 5, 2), np.uint8), np.zeros((2, 5, 2), np.uint8)])


def test_the_end_token_is_never_sampled_and_options_of_text_are_refused():
    feature = make().targets
    assert feature.search_options({"seed": 1}) == {"search": "sample", "seed": 1, "forbidden": (2,)}
    with pytest.raises(ValueError, match="`stop_strings` is for text; got stop_strings="):
        feature.search_options({"stop_strings": ["a"]})


def test_bits_per_dimension_are_the_base_two_cross_entropy():
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(2, 7, 5)), rng.integers(0, 5, (2, 7))
    metric = training.BitsPerDimension()
    metric.update_state(targets, logits.astype("float32"))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log2(np.take_along_axis(probabilities, targets[..., None], -1)).mean()
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_the_baseline_is_the_code_of_a_histogram_of_each_pixel():
    task = make(levels=2)
    values = task.load("train").features["targets"]
    (fitted,) = task.targets.baselines(values, ()).values()
    shares = ((values >= 128).sum(0) + 1) / (len(values) + 2)
    expected = -np.log2(np.where(values >= 128, shares, 1 - shares)).mean()
    found = task.targets.evaluate_baseline(fitted, values)
    assert found == {"bits_per_dimension": pytest.approx(expected, abs=1e-3)}


def test_levels_are_checked_and_kept(tmp_path):
    for levels in (0, 1, 257):
        with pytest.raises(ValueError, match="`levels` must be .*; got levels="):
            PixelsFeature("image", levels=levels)
    tasks.create("digits", "language_model", levels=5).save(tmp_path)
    assert tasks.restore(tmp_path).sizes()["vocabulary_size"] == 8
    with pytest.raises(ValueError, match="was fitted with levels=5; got levels=7"):
        tasks.restore(tmp_path, levels=7)


def test_pixels_are_no_input():
    options = {"data_dir": "none.csv", "inputs": "pixels:file", "targets": "label:state"}
    with pytest.raises(ValueError, match="pixels are a target, and an input is an image: inputs='image:file'"):
        tasks.create("table", "classifier", **options)


def test_nats_are_those_of_a_character():
    """The same text costs the same with any tokens, so that the losses of bytes and of subwords can be compared."""
    text = "na\u00efve caf\u00e9 " * 20
    source = MemorySource(lambda split: {"text": [text]})
    for tokens in ("characters", "bytes", "subwords"):
        vocabulary = tasks.Vocabulary(tokens)
        task = Task(source, (), tasks.TextFeature("text", vocabulary=vocabulary, window=16))
        rows = task.load("dev").features["targets"]
        found = task.targets.loss_measures({"loss": 2.0, "perplexity": float(np.exp(2))}, rows)
        assert found["nats"] == pytest.approx(2 * len(rows.values) / len(text), rel=1e-6)
