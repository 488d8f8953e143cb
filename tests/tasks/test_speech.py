"""Sound as a target: Griffin-Lim, the frames of steps, masks, the stop, measures, and a task from files to sounds."""

import keras
import numpy as np
import pytest
from recordings import WORDS, write_recordings

pytest.importorskip("tensorflow")

import tensorflow as tf

import kerazoo as kz
from kerazoo._checks import DataError
from kerazoo.run import recognition
from kerazoo.run.model_building import build_model
from kerazoo.tasks import griffin_lim
from kerazoo.tasks.log_mel import FLOOR, LogMel
from kerazoo.tasks.measures import MEASURES, aligned_distance
from tests.commands import in_process, refused

RATE = 8000
TONES = {"low": 300, "high": 1500}


def recording(words, number=0):
    time = np.arange(400 + 16 * number) / RATE
    parts = [0.3 * np.sin(2 * np.pi * TONES[word] * time) for word in words.split()]
    sound = np.concatenate([part for word in parts for part in (word, np.zeros(200))])
    return (sound + np.random.default_rng(number).normal(scale=0.003, size=len(sound))).astype("float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of one or two tones."""
    return write_recordings(tmp_path_factory.mktemp("speech"), recording, RATE)


@pytest.fixture(scope="module")
def options(folder):
    return {
        "data_dir": folder,
        "sample_rate": RATE,
        "num_mel_bins": 13,
        "frames_per_step": 3,
        "source_tokens": "words",
    }


@pytest.fixture(scope="module")
def task(options):
    return kz.tasks.create("sounds", "forecaster", **options).fit()


def test_griffin_lim_finds_a_sound_with_the_given_frames(monkeypatch):
    time = np.arange(4001) / RATE
    chirp = (0.3 * np.sin(2 * np.pi * (200 * time + 1500 * time**2)) * np.minimum(1, 20 * time)).astype("float32")
    log_mel = LogMel("task x", RATE, 40)
    invert, frames = griffin_lim.GriffinLim(log_mel), log_mel.program(chirp[None])
    lengths = np.array([frames.shape[1]], np.int32)

    def convergence(found):
        """The error of the magnitudes of a sound, relative to those that were looked for."""
        magnitudes = tf.abs(invert._spectrum(np.pad(found, ((0, 0), (0, log_mel.frame_length - log_mel.frame_step)))))
        wanted = invert.magnitudes(frames)
        return float(tf.norm(magnitudes - wanted) / tf.norm(wanted))

    found = invert.program(frames, lengths)
    assert found.shape == (1, lengths[0] * log_mel.frame_step) and convergence(found) < 0.2
    monkeypatch.setattr(griffin_lim, "ITERATIONS", 1)
    assert convergence(griffin_lim.GriffinLim(log_mel).program(frames, lengths)) > 2 * convergence(found)
    # Where the chirp is loud its frames are those of the found sound.
    difference = np.abs(log_mel.program(found) - frames)[0, 10:-3]
    loud = frames[0, 10:-3] > tf.reduce_max(frames) - 4
    assert np.mean(difference[loud]) < 0.4  # nepers of power


def test_a_sound_does_not_depend_on_its_batch_and_ends_with_silence():
    log_mel = LogMel("task x", RATE, 13)
    invert = griffin_lim.GriffinLim(log_mel)
    one, two = log_mel(recording("low high")[None])[0], log_mel(recording("high")[None])[0]
    both = np.full((2, len(one) + 5, 13), 3.0, "float32")  # what is after the end of a sound has no meaning
    both[0, : len(one)], both[1, : len(two)] = one, two
    found = invert.program(both, np.array([len(one), len(two)], np.int32)).numpy()
    for row, frames in zip(found, (one, two)):
        alone = invert.program(frames[None], np.array([len(frames)], np.int32))[0]
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-3)
        np.testing.assert_array_equal(row[len(alone) :], 0)


def test_steps_hold_the_frames_of_a_sound_and_the_end(task):
    assert task.kind == "forecaster" and task.targets.modality == "sound"
    texts, references = task.examples("train", limit=4)
    corpus, bins = task.load("train"), 13
    rows = [corpus.ragged("targets")[row] for row in kz.data.corpus.sample_rows(len(corpus), 4)]
    (silence,) = task.targets._normalized(np.full((1, bins), np.log(FLOOR), "float32"))
    for row, (sound,) in zip(rows, references):
        count = -(-len(sound) // 80)
        assert row.shape == (-(-count // 3), 3 * bins + 1)
        assert row[:, -1].tolist() == [0] * (len(row) - 1) + [1]
        frames = np.reshape(row[:, :-1], (-1, bins))
        np.testing.assert_allclose(frames[:count], task.targets.comparable([sound])[0], atol=5e-3)
        np.testing.assert_allclose(frames[count:], np.tile(silence, (len(frames) - count, 1)), atol=5e-3)
    sizes = task.sizes()
    steps = max(len(corpus.ragged("targets")[row]) for row in range(len(corpus)))
    assert sizes["output_length"] == np.ceil(1.25 * steps)
    assert sizes["num_values"] == 39 and sizes["stop"] is True and sizes["source_vocabulary_size"] == 6
    assert set(texts) <= set(WORDS)


def test_loss_is_that_of_the_valid_positions(task):
    corpus, random = task.load("train"), np.random.default_rng(0)
    rows = [5, 2, -1]
    outputs = random.normal(size=(3, 23, 40)).astype("float32")
    losses = []
    for length in (23, 17):
        inputs, targets, weights = task.batch(*corpus.batch(rows, {"targets": length, "source": 2}))
        assert inputs["targets"].shape == (3, length, 39)
        np.testing.assert_array_equal(inputs["targets"], targets[:, :, :-1])  # shifted by models alone
        losses.append(float(task.loss()(targets, outputs[:, :length], sample_weight=weights)))
    expected = []
    for row, found in zip(rows[:2], outputs):
        true = np.asarray(corpus.ragged("targets")[row], np.float64)
        found = found[: len(true)]
        errors = np.abs(true[:, :-1] - found[:, :-1]).mean(axis=1)
        expected += (errors + np.log1p(np.exp(np.where(true[:, -1] == 1, -1, 1) * found[:, -1]))).tolist()
    np.testing.assert_allclose(losses, np.mean(expected), rtol=1e-5)
    loss = keras.losses.deserialize(keras.losses.serialize(task.loss()))
    assert isinstance(loss, kz.training.SpectrogramLoss)
    with pytest.raises(ValueError, match="task sounds: frames of sound take no label_smoothing; got label_smooth"):
        task.loss(0.1)


def test_a_sound_ends_with_the_first_stop(task):
    outputs = np.random.default_rng(1).normal(scale=0.3, size=(2, 7, 40)).astype("float32")
    outputs[:, :, -1] = -1
    outputs[0, [3, 5], -1] = 1
    served = task.decode_in_graph(tf.constant(outputs))
    assert served["length"].numpy().tolist() == [4 * 3 * 80, 7 * 3 * 80] and int(served["sample_rate"]) == RATE
    live = task.decode([outputs[0, :4], outputs[1]])
    for sound, row in zip(live, served["sound"].numpy()):
        np.testing.assert_allclose(row[: len(sound)], sound, atol=1e-3)
        np.testing.assert_array_equal(row[len(sound) :], 0)
    assert [len(sound) for sound in live] == served["length"].numpy().tolist()


def test_aligned_distance_equals_the_best_of_all_paths():
    random = np.random.default_rng(2)
    one, two = random.normal(size=(4, 3)), random.normal(size=(5, 3))

    def paths(i, j):
        if (i, j) == (0, 0):
            yield [(0, 0)]
        for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)):
            if min(a, b) >= 0:
                for path in paths(a, b):
                    yield [*path, (i, j)]

    costs = [[np.mean(np.abs(one[i] - two[j])) for i, j in path] for path in paths(3, 4)]
    assert aligned_distance(one, two) == pytest.approx(np.mean(min(costs, key=np.sum)))
    assert aligned_distance(one, np.repeat(one, 2, axis=0)) == 0
    error = MEASURES.get("length_error")([np.zeros((7, 2)), np.zeros((5, 2))], [[np.zeros((5, 2))], [np.zeros((5, 2))]])
    assert error == pytest.approx(2 / 10)


def test_recordings_have_no_error_and_the_mean_frame_has_some(task):
    texts, references = task.examples("train", limit=4)
    recorded = [each[0] for each in references]
    assert task.evaluate(recorded, references) == {"mean_absolute_error": 0.0, "length_error": 0.0}
    fitted = task.targets.baselines(task.load("train").features["targets"], task.inputs)
    ((name, frames),) = fitted.items()
    simple = task.evaluate(task.targets.predict_baseline(name, frames, texts), references)
    assert simple["mean_absolute_error"] > 0.3 and simple["length_error"] > 0
    again = task.targets.through_frames(recorded)
    assert task.evaluate(again, references)["length_error"] < 0.1
    for before, after in zip(recorded, again):  # the tone is that of the recording
        peaks = [np.argmax(np.abs(np.fft.rfft(sound))) / len(sound) for sound in (before, after)]
        assert peaks[1] == pytest.approx(peaks[0], rel=0.15)  # within its band


class Listener:
    """Reads recordings of tones by their spectrum."""

    def __init__(self, task):
        self.task = task

    def __call__(self, sounds):
        return [self._read(np.asarray(sound)) for sound in sounds]

    def _read(self, sound):
        heard = []
        for start in range(0, len(sound) - 200, 200):
            spectrum = np.abs(np.fft.rfft(sound[start : start + 200]))
            tone = "low" if spectrum.argmax() * RATE / 200 < 800 else "high"
            if spectrum.max() > 10 and (not heard or heard[-1] != tone):
                heard.append(tone)
        return " ".join(heard)


def test_word_error_rates_of_what_a_recognizer_reads(folder, task):
    listener = Listener(
        kz.tasks.create("sounds", data_dir=folder, sample_rate=RATE, num_mel_bins=13, target_tokens="words").fit()
    )
    texts, references = task.examples("train", limit=8)
    swapped = [each[0] for each in references[1:] + references[:1]]
    found = recognition.word_error_rates(listener, task, texts, references, swapped)
    assert found["baseline.recording"] == found["baseline.griffin_lim"] == 0
    read = listener(swapped)
    assert found["word_error_rate"] == MEASURES.get("word_error_rate")(read, [[text] for text in texts]) > 0


def test_models_and_texts_that_cannot_speak_are_refused(task, folder, tmp_path):
    with pytest.raises(ValueError, match="task sounds: .* such as model='lstm\\+lstm_values'; got model='linear_for"):
        build_model("linear_forecaster", task, {})
    with pytest.raises(ValueError, match="its data determines `stop`=True; got stop=False"):
        build_model("lstm+lstm_values", task, {"stop": False})
    for text, expected in (("", "not empty; got ''"), ("low loud", "have no 'loud'; got 'low loud'")):
        with pytest.raises(DataError, match=f"task sounds: .*{expected}"):
            task.read([text])
    assert task.read(["low low"]) == ["low low"]
    lines = (folder / "transcripts.tsv").read_text().splitlines()
    lines[4] = "missing.wav\tlow"
    for line in lines:
        name = line.split("\t")[0]
        if name != "missing.wav":
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "transcripts.tsv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"transcripts\.tsv:5: no such file: .*missing\.wav"):
        kz.tasks.create("sounds", "forecaster", data_dir=tmp_path, sample_rate=RATE).load("train")


def test_sound_is_the_target_of_a_table(folder):
    lines = [f"{WORDS[n % 4]},{n}.wav,{'ab'[n % 2]}\n" for n in range(40)]
    (folder / "train.csv").write_text("".join(["word,file,speaker\n", *lines]))
    made = kz.tasks.create(
        "table", data_dir=folder / "train.csv", inputs="text:word", targets="sound:file", sample_rate=RATE
    )
    assert made.kind == "forecaster" and made.sizes()["num_values"] == 160
    assert made.examples("train", limit=2)[1][0][0].dtype == np.float32
    tagged = kz.tasks.create(
        "table", data_dir=folder / "train.csv", inputs="tag:speaker,text:word", targets="sound:file", sample_rate=RATE
    )
    assert tagged.fit().read(["b\tlow"]) == [("b", "low")]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is written with TensorFlow")
def test_from_files_to_sounds_and_a_saved_model(options, tmp_path):
    run = tmp_path / "run"
    predictor = kz.run.train(
        "lstm+lstm_values",
        "sounds",
        run_dir=run,
        model_options={"encoder.units": 5, "decoder.units": 16, "decoder.attention": "multiplicative"},
        task_options=options,
        training={"epochs": 1, "batch_size": 8, "max_shapes": 1, "xla": False},
        tensorboard=False,
    )
    raw = ["low high", "high"]
    outputs = predictor.outputs(raw)
    out, _ = in_process("predict", f"--run_dir={run}", f"--to={tmp_path}/sounds", *raw)
    for number, (line, steps) in enumerate(zip(out.splitlines(), outputs, strict=True), 1):
        path = tmp_path / "sounds" / f"{number}.wav"
        assert line == f"{path}\t{len(steps) * 0.03:.2f}"
        assert len(kz.data.read_sound(path, RATE)) == len(steps) * 240
    assert "--to=FOLDER names the folder of their WAV files" in refused("predict", f"--run_dir={run}", "low")
    flags = (f"--run_dir={run}", f"--to={tmp_path}/sounds", "low")
    assert "--scores is not for sounds" in refused("predict", "--scores", *flags)
    assert "takes no search" in refused("predict", "--search=beam", *flags)
    assert "have no 'loud'" in refused("predict", f"--run_dir={run}", f"--to={tmp_path}/sounds", "loud", code=3)
    assert "predictions are sounds" in refused("evaluate", f"--run_dir={run}", "--save_predictions")
    assert "reads sound and writes text" in refused("evaluate", f"--run_dir={run}", f"--recognizer={run}")
    folder = kz.export.export(predictor.model, predictor.task, tmp_path / "saved", signatures=())
    served = tf.saved_model.load(folder).signatures["serving_default"](source=tf.constant(raw))
    frames = predictor.task.targets.decode_frames(outputs)
    assert served["length"].numpy().tolist() == [80 * len(each) for each in frames]
    for live, row in zip(frames, served["frames"].numpy()):
        np.testing.assert_allclose(row[: len(live)], live, atol=1e-4)
    assert served["sound"].shape[1] == served["length"].numpy().max()


def test_spoken_numbers_of_the_splits_are_different_ones():
    pytest.importorskip("espeakng_loader")
    from kerazoo.tasks.speak_numbers import SpeakNumbersSource

    for examples in (1, 7, 19, 80):
        source = SpeakNumbersSource("task x", examples, 99, "en-us", 200, 50, RATE, 5)
        chosen = [source.numbers(split) for split in ("train", "dev", "test")]
        assert [len(each) for each in chosen] == [examples, *[max(1, examples // 10)] * 2]
        assert len(set().union(*chosen)) == sum(map(len, chosen)) and max(map(max, chosen)) <= 99
    numbers = SpeakNumbersSource("task x", 3000, 9999, "en-us", 200, 50, RATE, 5).numbers("train")
    assert sum(number < 100 for number in numbers) > 70 and sum(number > 999 for number in numbers) > 1000
    (one,), (other,) = (list(source.chunks("dev")) for _ in range(2))
    for sound, same in zip(one.columns["sound"], other.columns["sound"]):
        np.testing.assert_array_equal(sound, same)
        assert not sound[:390].any() and not sound[-390:].any() and 22000 < np.abs(sound).max() < 23000
    with pytest.raises(ValueError, match="task x: each of `examples` .*; got examples=90, largest=99"):
        SpeakNumbersSource("task x", 90, 99, "en-us", 200, 50, RATE, 5)


def test_texts_of_files_are_spoken_once_each(tmp_path):
    pytest.importorskip("espeakng_loader")
    for split, texts in {"train": ["good day", "good night", "good day"], "dev": ["good morning"]}.items():
        (tmp_path / f"{split}.csv").write_text("".join(["number,line\n", *(f"1,{text}\n" for text in texts)]))
    made = kz.tasks.create("speak_numbers", data_dir=tmp_path, source_column="line", source_tokens="words")
    (train,), (dev,) = (list(made.source.chunks(split)) for split in ("train", "dev"))
    assert sorted(train.columns["text"]) == ["good day", "good night"] and dev.columns["text"] == ["good morning"]
    assert made.read(["good night"]) == ["good night"] and made.options["source_tokens"] == "words"
