import gzip

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerazoo import run, tasks
from kerazoo.export import export
from kerazoo.tasks import ImageFeature

SPECTROGRAM = "spectrogram:frame_length=8,frame_step=3"
MEL = "mel_spectrogram:fft_length=16,sequence_stride=5,num_mel_bins=7,sampling_rate=100,min_freq=0"
LENGTH = 19


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    draws = np.random.default_rng(3).normal(size=(211, 2)) * [3, 100] + [5, -7]
    path = tmp_path_factory.mktemp("series") / "s.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + "".join(f"{a},{b}\n" for a, b in draws).encode()))
    return path


def of_series(path, preprocess, **options):
    return tasks.create("series", data_dir=path, length=options.pop("length", LENGTH), preprocess=preprocess, **options)


def same_everywhere(task, tmp_path):
    """Batches, encoded lists and the exported graph see the same numbers, before and after the task was saved."""
    raw = task.examples("dev")[0][:3]
    inputs, targets, _ = task.batch(*task.load("dev").batch([0, 1, 2, -1]))
    encoded = task.encode(raw)["source"]
    assert encoded.dtype == np.float32 and encoded.shape == (3, *task.sizes()["input_shape"])
    assert np.allclose(np.asarray(inputs["source"])[:3], encoded, atol=1e-4)
    assert np.allclose(task.encode_packed({"source": tf.constant(np.stack(raw))})["source"], encoded, atol=1e-4)
    assert np.allclose(task.encode(raw[1:2])["source"], encoded[1:2], atol=1e-4)  # whoever else is asked
    assert task.encode([])["source"].shape == (0, *encoded.shape[1:])
    task.save(tmp_path)
    again = tasks.restore(tmp_path)
    assert again.state == task.state and again.hash == task.hash and again.sizes() == task.sizes()
    assert np.array_equal(again.encode(raw)["source"], encoded)
    return np.asarray(targets)


@pytest.mark.parametrize("kind", ["classifier", "binary_classifier"])
def test_standardised_images(kind, tmp_path):
    task = tasks.create("digits", kind, preprocess="standardise")
    same_everywhere(task, tmp_path)
    pixels = task.load("train").features["source"] / 255
    assert task.state["source"]["mean"] == pytest.approx(pixels.mean((0, 1, 2)))
    assert task.state["source"]["deviation"] == pytest.approx(pixels.std((0, 1, 2)))
    inputs = np.asarray(task.batch(*task.load("train").batch(range(len(pixels))))[0]["source"])
    assert inputs.mean() == pytest.approx(0, abs=1e-4) and inputs.std() == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="fitted with preprocess='standardise'; got preprocess='scale'. Train a new"):
        tasks.restore(tmp_path, preprocess="scale")


def test_each_channel_is_fitted_for_itself_over_all_chunks():
    images = np.random.default_rng(5).integers(0, 256, (7, 3, 5, 2), dtype=np.uint8)
    images[..., 1] = 9  # a constant
    feature = ImageFeature("image", preprocess="standardise")
    assert all(feature.update({"image": part}) for part in (images[:2], images[2:])) and not feature.finish()
    state = feature.state
    assert state["mean"] == pytest.approx((images / 255).mean((0, 1, 2)))
    assert state["deviation"] == pytest.approx([(images[..., 0] / 255).std(), 1.0])
    assert state["shape"] == [3, 5, 2]


def test_scaling_is_the_default():
    plain, named = tasks.create("digits"), tasks.create("digits", preprocess="scale")
    assert plain.hash == named.hash and "mean" not in plain.state["source"]


@pytest.mark.parametrize("preprocess, shape", [(SPECTROGRAM, (4, 2 * 5)), (MEL, (4, 2 * 7))])
def test_spectrograms(path, tmp_path, preprocess, shape):
    task = of_series(path, preprocess)
    assert task.sizes() == {"input_shape": shape, "output_size": shape[0] * shape[1]}
    assert task.state["source"]["shape"] == [LENGTH, 2]  # what an exported model takes
    targets = same_everywhere(task, tmp_path)
    windows, references = (rows[:3] for rows in task.examples("dev"))
    assert windows[0].shape == (LENGTH, 2) and references[0][0].shape == shape
    assert np.allclose(task.decode(targets[:3]), [each for (each,) in references], atol=1e-2)
    assert np.allclose(task.decode_in_graph(targets)["reconstruction"][:3], [each for (each,) in references], atol=1e-2)
    assert task.evaluate(task.decode(targets[:3]), references)["mean_squared_error"] == pytest.approx(0, abs=1e-6)
    bins = task.encode(task.examples("train")[0])["source"]
    assert bins.mean((0, 1)) == pytest.approx(0, abs=1e-3) and bins.std((0, 1)) == pytest.approx(1, abs=1e-3)


def test_magnitudes_are_those_of_numpy(path):
    task = of_series(path, "spectrogram:frame_length=8,frame_step=4,mode=magnitude")
    windows, references = task.examples("dev", limit=2)
    state = task.state["source"]
    signal = ((windows[0] - state["mean"]) / state["deviation"])[:, 1]
    hann = np.hanning(8)
    expected = [np.abs(np.fft.rfft(signal[at : at + 8] * hann)) for at in (0, 4, 8)]
    got = references[0][0][:, 5:]  # of the second column
    assert got.shape == (3, 5)
    ratio = got / np.array(expected)  # the density of the window is a factor
    assert np.allclose(ratio, ratio[0, 1], rtol=1e-2)


@pytest.mark.parametrize("preprocess", [pytest.param(SPECTROGRAM, marks=pytest.mark.slow), MEL])
def test_the_compiled_program_makes_spectrograms(path, tmp_path, preprocess):
    options = {"data_dir": str(path), "length": LENGTH, "preprocess": preprocess}
    training = {"epochs": 1, "batch_size": 13, "limit": 26, "steps_per_execution": 2, "xla": True}
    trained = run.train(
        "dense_autoencoder", "series", tmp_path, {}, options, training, evaluate=False, tensorboard=False
    )
    windows, _ = trained.task.examples("dev", limit=2)
    inputs, targets, weights = trained.task.batch(*trained.task.load("dev").batch([0, 1]))
    assert np.isfinite(float(trained.task.loss()(targets, trained.model(inputs), sample_weight=weights)))
    if keras.backend.backend() == "tensorflow":
        export(trained.model, trained.task, tmp_path / "exported", signatures=())
        served = tf.saved_model.load(tmp_path / "exported").signatures["serving_default"](
            source=tf.constant(np.stack(windows))
        )["reconstruction"]
        decoded = trained.task.decode(np.asarray(trained.model(trained.task.encode(windows))))
        assert np.allclose(served, decoded, atol=1e-2)


@pytest.mark.parametrize(
    "preprocess, message",
    [
        ("mel_spectogram", "`preprocess` must be one of .* Did you mean 'mel_spectrogram'?"),
        ("spectrogram:frame_lenght=8", "Unknown option of preprocess spectrogram: 'frame_lenght'. Close names: f"),
        ("spectrogram:8", "must be NAME or NAME:OPTION=VALUE,OPTION=VALUE; got 'spectrogram:8'"),
        ("spectrogram:frame_length=32", "`frame_length` must be 2 to 19, the rows of a window; .* got frame_length=32"),
        ("spectrogram:frame_length=8,fft_length=4", "`fft_length` must be at least frame_length=8; got fft_length=4"),
        ("spectrogram:frame_length=8,frame_step=9", "`frame_step` must be 1 to 8, frame_length; got frame_step=9"),
        ("spectrogram:window=han", "`window` must be one of .* got window='han'. Did you mean 'hann'?"),
        ("mel_spectrogram:fft_length=64", "`fft_length` must be 2 to 19, the rows of a window; .* got fft_length=64"),
        ("mel_spectrogram:max_freq=9000", r"`max_freq` must be a number in \(0, 8000.0\]; got max_freq=9000"),
        ("mel_spectrogram:num_mel_bins=0", "`num_mel_bins` must be an integer above 0; got num_mel_bins=0"),
        ("scale", "`preprocess` must be one of 'standardise', 'spectrogram', .*; got preprocess='scale'"),
    ],
)
def test_refusals_of_series(path, preprocess, message):
    with pytest.raises(ValueError, match="(task series: )?(`preprocess` )?" + message):
        of_series(path, preprocess)


@pytest.mark.parametrize(
    "kind, preprocess, message",
    [
        ("classifier", "standardize", "Did you mean 'standardise'?"),
        ("classifier", "standardise:mean=0", "Unknown option of preprocess standardise: 'mean'. All: none"),
        ("autoencoder", "standardise", r"pixels in \[0, 1\].*got preprocess='standardise'. Leave the option out"),
    ],
)
def test_refusals_of_images(kind, preprocess, message):
    with pytest.raises(ValueError, match=message):
        tasks.create("digits", kind, preprocess=preprocess)


def test_refusals_of_text(tmp_path):
    with pytest.raises(ValueError, match="`preprocess` is for images, and this is text; got preprocess='standardise'"):
        tasks.create("tfds:tiny_shakespeare", "language_model", data_dir=tmp_path, preprocess="standardise")
