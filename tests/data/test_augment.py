"""Augmentation by name: what changes, what must not, and that nothing but seed and step decides."""

import keras
import numpy as np
import pytest
import scipy.ndimage
from keras import ops
from toys import not_on_jax

import kerazoo as kz
from kerazoo import _backend
from kerazoo.data import Augment, Corpus, Ragged, augment
from kerazoo.layers.seeds import StepSeeds

B, T = 7, 5


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return Corpus({"image": random.integers(0, 256, (B, 11, 13, 1), np.uint8), "label": np.arange(B, dtype="int32")})


@pytest.fixture
def texts():
    random = np.random.default_rng(0)
    rows = [random.integers(4, 60, n) for n in (5, 3, 1, 4, 5, 2, 5)]
    return Corpus({"source": Ragged.from_rows(rows), "targets": Ragged.from_rows([row + 1 for row in rows])})


@pytest.fixture
def series():
    random = np.random.default_rng(0)
    lengths = {"source": T, "targets": 3}
    return Corpus({name: random.normal(size=(B, n, 2)).astype("float32") for name, n in lengths.items()})


def batch(corpus):
    return corpus.batch(np.arange(len(corpus)))[0]


def numpy(features):
    return {name: ops.convert_to_numpy(value) for name, value in features.items()}


def test_names_of_each_kind_of_data():
    assert augment.names("images") == [
        "affine",
        "brightness",
        "contrast",
        "crop",
        "cutout",
        "flip",
        "mixup",
        "patch_mask",
        "shift",
    ]
    assert augment.names("tokens") == ["permutation", "replacement", "rotation", "word_dropout"]
    assert augment.names("series") == ["amplitude", "shift"]
    assert augment.names("frames") == ["shift", "spec_augment"]


@not_on_jax
def test_frames_of_sound_change_within_their_valid_part():
    random = np.random.default_rng(0)
    rows = Ragged.from_lengths(1 + random.random((83, 7)).astype("float16"), [23, 13, 47])
    corpus = Corpus({"source": rows, "targets": Ragged.from_rows([[4], [5], [6]])})
    features = corpus.batch([0, 1, 2], {"source": 53, "targets": 2})[0]
    masks = ["spec_augment:num_time_masks=1,time_width=5,num_frequency_masks=1,frequency_width=3,time_fraction=1"]
    changed = [numpy(Augment(masks, corpus, seed=2)(features, step)) for step in (5, 5, 6)]
    np.testing.assert_array_equal(changed[0]["source"], changed[1]["source"])
    assert (changed[0]["source"] != changed[2]["source"]).any()
    for each in changed:
        np.testing.assert_array_equal(each["targets"], features["targets"])
        masked = each["source"] != features["source"]
        assert masked.any() and (each["source"][masked] == 0).all() and each["source"].dtype == np.float16
    shifted = numpy(Augment(["shift:max_shift=3,fill=wrap"], corpus)(features, 4))["source"]
    for row, before, size in zip(shifted, features["source"], (23, 13, 47)):
        assert any(np.array_equal(row[:size], np.roll(before[:size], by, axis=0)) for by in range(-3, 4))
        np.testing.assert_array_equal(row[size:], 0)


def test_targets_are_of_a_kind_only_beside_a_source_of_it():
    tokens, images = Ragged.from_rows([[4], [5, 6]]), np.zeros((2, 3, 5, 1), np.uint8)
    series, numbers = np.zeros((2, 7, 3), np.float32), np.zeros((2, 3), np.float32)
    for features, kinds in [
        ({"targets": tokens}, {"tokens": ("targets",)}),
        (
            {"source": images, "source_2": tokens, "targets": tokens},
            {"images": ("source",), "tokens": ("source_2", "targets")},
        ),
        ({"targets": series, "source": series}, {"series": ("source", "targets")}),
        ({"source": series, "targets": numbers}, {"series": ("source",)}),
        ({"source": tokens, "targets": numbers}, {"tokens": ("source",)}),
        ({"source": series, "targets": np.zeros(2, np.int32)}, {"series": ("source",)}),
    ]:
        assert augment.features_by_kind(Corpus(features)) == kinds


def test_mixup_mixes_all_images_of_an_example(images):
    corpus = Corpus({"source": images.features["image"], "source_2": images.features["image"][:, ::-1]})
    made = numpy(Augment(["mixup:alpha=1"], corpus)(batch(corpus), 0))
    assert np.allclose(made["source"], made["source_2"][:, ::-1], atol=1e-3)


@pytest.mark.parametrize("kind", ["images", "tokens", "series"])
def test_each_follows_from_seed_and_step_alone_and_compiles(kind, request):
    corpus = request.getfixturevalue({"images": "images", "tokens": "texts", "series": "series"}[kind])
    features = batch(corpus)
    items = [f"{name}:on=targets" if name == "replacement" else name for name in augment.names(kind)]
    items += ["replacement:by=random,rate=0.5"] if kind == "tokens" else []
    program = _backend.compile(Augment(items, corpus, seed=5), jit=True)
    once, later, again = (numpy(program(features, np.int32(step))) for step in (3, 4, 3))
    for name in once:
        assert np.array_equal(once[name], again[name])
    if keras.backend.backend() == "tensorflow":  # two instances, eagerly, which takes long on JAX
        first, second = (numpy(Augment(items, corpus, seed=5)(features, np.int32(3))) for _ in range(2))
        assert all(np.array_equal(first[name], second[name]) for name in first)
    changed = {"images": "image", "tokens": "source", "series": "source"}[kind]
    assert not np.array_equal(once[changed], later[changed])
    assert not np.array_equal(once[changed], features[changed])
    if kind == "images":
        assert once["image"].min() >= 0 and once["image"].max() <= 255 and once["label"].dtype == "int32"
    if kind == "tokens":
        assert np.array_equal(once["targets"], features["targets"])  # what is learnt
        assert once["targets_read"].shape == features["targets"].shape
    for name, value in features.items():
        assert once[name].shape == value.shape


on_one_backend = pytest.mark.skipif(keras.backend.backend() == "jax", reason="eager; nothing differs on JAX")


@on_one_backend
@pytest.mark.parametrize("name", augment.names("images"))
def test_each_image_stays_one(name, images):
    features = batch(images)
    made = numpy(Augment([name], images)(features, 1))
    assert made["image"].min() >= 0 and made["image"].max() <= 255
    assert made["label"].dtype == "int32"
    if name != "mixup":
        assert np.array_equal(made["label"], features["label"])


def test_a_crop_is_a_part_of_its_own_image(images):
    size = (B, 11, 13, 1)
    planes = [np.broadcast_to(np.reshape(np.arange(n), shape), size) for n, shape in ((11, (-1, 1, 1)), (13, (-1, 1)))]
    features = {"image": np.concatenate(planes, axis=-1).astype("float32")}  # each pixel holds its row and column
    corpus = Corpus({"image": features["image"]})
    made = numpy(Augment(["crop:fraction=0.5"], corpus)(features, 0))["image"]
    assert made.shape == features["image"].shape
    for axis, size in ((0, round(0.5 * 11)), (1, round(0.5 * 13))):
        plane = np.moveaxis(made[..., axis], 1 + axis, 1)
        assert np.allclose(plane, plane[:, :, :1], atol=1e-4)  # nothing moved along the other axis
        first, last = plane[:, 0, 0], plane[:, -1, 0]
        assert np.allclose(last - first, size - 1, atol=1e-3) and len(set(first.tolist())) > 2
        assert first.min() >= 0 and last.max() <= features["image"].shape[1 + axis] - 1
    whole = numpy(Augment(["crop:fraction=1"], corpus)(features, 0))["image"]
    assert np.allclose(whole, features["image"], atol=1e-5)


@pytest.mark.parametrize("fill, mode", [("zero", "constant"), ("edge", "nearest")])
def test_affine_reads_each_image_where_scipy_does(fill, mode):
    random, degrees, zoom, shear = np.random.default_rng(0), 37.0, 0.3, 0.2
    images = random.uniform(0, 255, (B, 11, 13, 2)).astype("float32")
    corpus, seeds = Corpus({"image": images}), StepSeeds(4, 9)
    item = f"affine:degrees={degrees},zoom={zoom},shear={shear},fill={fill}"
    made = numpy(Augment([item], corpus, seed=4)({"image": images}, 9))["image"]
    limits = ((-degrees, degrees), (1 - zoom, 1 + zoom), (-shear, shear))
    sampled = [ops.convert_to_numpy(keras.random.uniform((B, 1, 1), *each, seed=seeds)).ravel() for each in limits]
    center = np.array([5.0, 6.0])
    for image, found, angle, scale, slant in zip(images, made, np.radians(sampled[0]), *sampled[1:]):
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle) + slant, np.cos(angle)]]) / scale
        for channel in range(2):
            # Scipy drops what lies within a pixel outside.
            padded = np.pad(image[..., channel], 20, mode="edge" if fill == "edge" else "constant")
            shift = center + 20 - matrix @ (center + 20)
            expected = scipy.ndimage.affine_transform(padded, matrix, shift, order=1, mode=mode)
            np.testing.assert_allclose(found[..., channel], expected[20:-20, 20:-20], atol=0.05)
    same = numpy(Augment(["affine:degrees=0,zoom=0"], corpus)({"image": images}, 0))["image"]
    np.testing.assert_allclose(same, images, atol=1e-3)


def test_flip_mirrors_some_images(images):
    features = batch(images)
    made = numpy(Augment(["flip"], images)(features, 0))["image"]
    mirrored = [np.array_equal(one[:, ::-1], two) for one, two in zip(features["image"], made)]
    same = [np.array_equal(one, two) for one, two in zip(features["image"], made)]
    assert all(np.logical_xor(mirrored, same)) and any(mirrored) and any(same)


def test_mix_up_mixes_two_and_takes_the_class_of_one(images):
    features = batch(images)
    for step in range(9):
        made = numpy(Augment(["mixup:alpha=1.0"], images)(features, step))
        partner = {}
        for row, (image, label) in enumerate(zip(made["image"], made["label"])):
            fits = []
            for other in range(B):
                low, high = (features["image"][i].astype("float32") for i in (row, other))
                share = np.sum((image - high) * (low - high)) / max(1, np.sum((low - high) ** 2))
                fits += [other] if np.allclose(share * low + (1 - share) * high, image, atol=1e-2) else []
            partner[row] = fits
            assert label == row or label in fits
        assert all(partner.values())


def test_shares_of_mix_up_have_the_moments_of_beta():
    for alpha in (0.2, 1.0, 3.0):
        table = augment._beta_quantiles(alpha)
        sampled = np.interp(np.linspace(0, 1, 100_001), np.linspace(0, 1, len(table)), table)
        assert np.isclose(sampled.mean(), 0.5, atol=1e-3)
        assert np.isclose(sampled.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.02)


def test_all_series_of_an_example_get_the_same_amplitude(series):
    features = batch(series)
    made = numpy(Augment(["amplitude:factor=0.5"], series)(features, 0))
    factors = {name: made[name] / features[name] for name in made}
    for one, other in zip(factors["source"], factors["targets"]):
        assert np.allclose(one, one.flat[0], rtol=1e-4) and np.allclose(other, one.flat[0], rtol=1e-4)
        assert 0.5 <= one.flat[0] <= 1.5


def test_what_a_decoder_reads_changes_and_what_it_learns_does_not():
    pytest.importorskip("tensorflow")  # which text tasks are made with
    task = kz.tasks.create("reverse")
    corpus = task.load("dev")
    features, valid = corpus.batch(np.arange(B))
    noisy = Augment(["replacement:rate=0.5,on=targets"], corpus)(features, 0)
    inputs, targets, _ = task.batch(noisy, valid)
    read = ops.convert_to_numpy(inputs["targets"])
    assert np.array_equal(ops.convert_to_numpy(targets), features["targets"])
    changed = read != features["targets"]
    assert changed.any() and (read[changed] == 3).all() and (features["targets"][changed] > 3).all()


@pytest.mark.parametrize(
    "items, message",
    [
        (["fliip"], "Unknown augmentation 'fliip'. Close names: flip"),
        (["flip"], "'flip' is not for this data, which holds tokens. Fitting: permutation, replacement"),
        (["word_dropout:rat=0.1"], "option of augmentation word_dropout: 'rat'. Close names: rate"),
        (["word_dropout:0.1"], "must be NAME or NAME:OPTION=VALUE,.* got 'word_dropout:0.1'"),
        (["word_dropout:rate=2"], r"WordDropout: `rate` must be a number in \[0, 1\); got rate=2"),
        (["word_dropout:on=targets"], "must stay aligned with its targets.*on='targets'. Take replacement:on=targets"),
        (["permutation:distance=0"], "`distance` must be an integer above 0; got distance=0"),
        (["replacement:by=chance"], "`by` must be one of 'unknown', 'random'; got by='chance'"),
        (["replacement:on=sorce"], "`on` must be one of.*got on='sorce'. Did you mean 'source'"),
    ],
)
def test_refusals(items, message, texts):
    with pytest.raises(ValueError, match=message):
        Augment(items, texts)


def test_more_refusals(texts, images):
    with pytest.raises(ValueError, match="a row cannot rotate; got packing=True"):
        Augment(["rotation"], texts, packed=True)
    with pytest.raises(ValueError, match="'rotation' is not for this data, which holds images"):
        Augment(["rotation"], images)
    with pytest.raises(ValueError, match=r"`fraction` must be a number in \(0, 1\]; got fraction=3"):
        Augment(["crop:fraction=3"], images)
    with pytest.raises(ValueError, match=r"`zoom` must be a number in \[0, 1\); got zoom=1"):
        Augment(["affine:zoom=1"], images)
    with pytest.raises(ValueError, match="neither images, tokens, series nor frames. Fitting: none"):
        Augment(["flip"], Corpus({"label": np.arange(3)}))


@on_one_backend
def test_keras_layers_make_spectrograms_of_waveforms_that_moved():
    waves = np.random.default_rng(0).normal(size=(3, 101)).astype("float32")
    moved = Augment(["shift:max_shift=9,fill=zero"], Corpus({"source": waves}))({"source": waves}, 0)["source"]
    pictures = keras.layers.MelSpectrogram(fft_length=16, sequence_stride=8, sampling_rate=100, num_mel_bins=5)(moved)
    assert pictures.shape[:2] == (3, 5)


def test_patches_are_hidden_from_the_input_alone():
    images = np.random.default_rng(0).integers(1, 256, (5, 7, 10, 3)).astype("uint8")
    augment = Augment(["patch_mask:rate=0.5,size=3"], Corpus({"source": images}), seed=3)
    found = augment({"source": images}, 4)
    again = augment({"source": images}, 4)
    read = np.asarray(found["source_read"])
    assert np.array_equal(read, np.asarray(again["source_read"])) and np.array_equal(found["source"], images)
    assert not np.array_equal(read, np.asarray(augment({"source": images}, 5)["source_read"]))
    shares = []
    for row, column in np.ndindex(3, 4):
        part = (slice(None), slice(3 * row, 3 * row + 3), slice(3 * column, 3 * column + 3))
        hidden = (read[part] == 0).all(axis=(1, 2, 3))
        assert np.array_equal(read[part][~hidden], images[part][~hidden])
        shares.append(hidden.mean())
    assert 0.3 < np.mean(shares) < 0.7
    task = kz.tasks.create("digits", "autoencoder")
    pixels, valid = np.asarray(task.load("dev").features["source"][:2]), np.ones(2, bool)
    inputs, targets, _ = task.batch({"source": pixels, "source_read": 0 * pixels}, valid)
    assert not np.asarray(inputs["source"]).any() and np.asarray(targets).any()
