"""Sound as a feature: log-mel frames against NumPy, masks, faults, and a task from files to a SavedModel."""

import keras
import numpy as np
import pytest
from recordings import WORDS, write_recordings

pytest.importorskip("tensorflow")

import kerazoo as kz
from kerazoo._checks import DataError
from kerazoo.tasks.log_mel import LogMel
from kerazoo.tasks.number_words import number_words

RATE = 8000


def tone(frequency, seconds):
    time = np.arange(round(RATE * seconds)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * time)).astype("float32")


def recording(words, number):
    parts = [tone(300 if word == "low" else 1500, 0.05 + 0.002 * number) for word in words.split()]
    return np.concatenate([part for word in parts for part in (word, np.zeros(200, "float32"))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of one or two tones."""
    return write_recordings(tmp_path_factory.mktemp("sounds"), recording, RATE)


@pytest.fixture
def task(folder):
    return kz.tasks.create("sounds", data_dir=folder, sample_rate=RATE, num_mel_bins=13, target_tokens="words")


def test_log_mel_equals_numpy():
    log_mel, sound = LogMel("task x", 4000, 11), np.random.default_rng(0).normal(size=517).astype("float32")
    assert (log_mel.frame_length, log_mel.frame_step, log_mel.fft_length) == (100, 40, 128)
    padded, expected = np.pad(sound, (0, 200)), []
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(100) / 100)
    for start in range(0, 517, 40):
        power = np.abs(np.fft.rfft(padded[start : start + 100] * window, 128)) ** 2
        expected.append(np.log(np.maximum(power @ log_mel.filters, 1e-6)))
    assert len(expected) == log_mel.num_frames(517)
    np.testing.assert_allclose(log_mel(sound[None])[0], expected, atol=1e-4)
    np.testing.assert_allclose(log_mel.program(sound[None])[0], expected, atol=1e-4)
    # Triangles that overlap by half on the mel scale: their peaks rise, and a tone is loudest in the filter around it.
    peaks = log_mel.filters.argmax(axis=0)
    assert (np.diff(peaks) > 0).all() and log_mel(tone(1000, 0.2)[None]).shape == (1, 40, 11)


def test_stored_frames_are_those_of_prediction_whatever_else_is_in_the_batch(task):
    task.fit()
    raw, _ = task.examples("train", limit=5)
    corpus = task.load("train")
    encoded = task.encode(raw)
    assert set(encoded) == {"source", "source_mask"} and encoded["source"].shape[2] == 13
    rows = [corpus.ragged("source")[row] for row in kz.data.corpus.sample_rows(len(corpus), 5)]
    for row, frames, mask, sound in zip(rows, encoded["source"], encoded["source_mask"], raw):
        assert mask.sum() == len(row) == -(-len(sound) // 80) and mask[: len(row)].all()
        np.testing.assert_allclose(frames[: len(row)], row, atol=5e-3)
        np.testing.assert_array_equal(frames[len(row) :], 0)
        np.testing.assert_allclose(task.encode([sound])["source"][0, : len(row)], frames[: len(row)], atol=1e-5)
    values = np.concatenate([np.asarray(corpus.ragged("source").values, np.float64)])
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=0.01)


def test_batches_have_a_mask_in_every_feed(task):
    from kerazoo.training import device_feed

    corpus, rows = task.load("train"), np.array([3, -1, 0], np.int32)
    lengths = {"source": 23, "targets": 3}
    features, valid = corpus.batch(rows, lengths)
    assert features["source"].shape == (3, 23, 13) and features["source_mask"].shape == (3, 23)
    ends = np.minimum(corpus.lengths("source")[[3, 0, 0]], 23)
    np.testing.assert_array_equal(features["source_mask"].sum(axis=1), ends)
    gathered, _ = device_feed.gather(
        device_feed.to_device("fit", corpus.features), keras.ops.convert_to_tensor(rows), lengths
    )
    assert set(gathered) == set(features)
    for name, value in features.items():
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(gathered[name]), value)
    plan = kz.data.Plan.of(corpus, batch_size=7, max_shapes=2)
    if keras.backend.backend() != "tensorflow":
        return
    pairs = zip(kz.data.batches(corpus, plan, task.batch), kz.data.dataset(corpus, plan, task.batch), strict=True)
    for (inputs, targets, _), (others, _, _) in pairs:
        assert set(inputs) == {"source", "source_mask", "targets"} and len(targets) == len(inputs["source"])
        for name, value in inputs.items():
            np.testing.assert_array_equal(others[name], value)


def test_samples_that_are_no_sound_are_refused(task):
    task.fit()
    for value, expected in [
        (np.zeros((2, 3)), r"samples, float or int16 \[samples\]; got an array of float64 of shape \(2, 3\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.array([0.0, np.nan]), "finite numbers"),
        (np.zeros(RATE * 61), r"at most max_seconds=60; got 61.0 seconds"),
    ]:
        with pytest.raises(ValueError, match=f"task sounds: .*{expected}"):
            task.encode([value])
    loud = np.full(160, 16384, np.int16)
    np.testing.assert_allclose(task.encode([loud])["source"], task.encode([loud / 32768])["source"], atol=1e-6)


def test_bad_recordings_are_named_by_line_or_skipped(folder, tmp_path):
    lines = (folder / "transcripts.tsv").read_text().splitlines()
    for number in range(40):
        (tmp_path / f"{number}.wav").write_bytes((folder / f"{number}.wav").read_bytes())
    (tmp_path / "7.wav").write_bytes(b"RIFF, but no sound")
    lines[11] = "11.wav\t"
    (tmp_path / "transcripts.tsv").write_text("\n".join(lines))
    options = {"data_dir": tmp_path, "sample_rate": RATE, "num_mel_bins": 13}
    with pytest.raises(DataError, match=r"transcripts\.tsv:12: column 1 is empty"):
        kz.tasks.create("sounds", **options).load("train")
    lines[11] = "11.wav\tlow"
    (tmp_path / "transcripts.tsv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"transcripts\.tsv:8: .*7\.wav: a damaged WAV file"):
        kz.tasks.create("sounds", **options).load("train")
    skipping = kz.tasks.create("sounds", bad_lines="skip", **options)
    corpora = [skipping.load(split) for split in ("train", "dev", "test")]
    assert sum(map(len, corpora)) == 39 and sum(corpus.notes.get("skipped", 0) for corpus in corpora) == 1
    with pytest.raises(DataError, match=r"\d\.wav: has 8,000 samples a second, and 16,000 are expected"):
        kz.tasks.create("sounds", data_dir=folder, resample=False).load("train")


def test_sound_is_an_input_of_a_table(folder):
    (folder / "train.csv").write_text("word,file\n" + "".join(f"{WORDS[n % 4]},{n}.wav\n" for n in range(40)))
    made = kz.tasks.create(
        "table",
        "classifier",
        data_dir=folder / "train.csv",
        inputs="sound:file",
        targets="label:word",
        sample_rate=RATE,
    )
    assert made.sizes() == {"input_shape": (None, 40), "num_classes": 4}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is written with TensorFlow")
def test_from_files_to_a_saved_model(folder, tmp_path):
    import tensorflow as tf

    sizes = {"encoder.units": 8, "encoder.filters": (16, 16), "decoder.units": 16}
    augment = ("spec_augment:time_width=2", "shift")
    predictor = kz.run.train(
        "conv_lstm+lstm",
        "sounds",
        run_dir=tmp_path / "run",
        model_options=sizes,
        task_options={"data_dir": folder, "sample_rate": RATE, "num_mel_bins": 13, "target_tokens": "words"},
        training={"epochs": 2, "batch_size": 8, "max_shapes": 1, "xla": False, "augment": augment},
        tensorboard=False,
    )
    raw = predictor.task.read([str(folder / "1.wav"), str(folder / "2.wav")])
    found = predictor(raw)
    assert predictor([str(folder / "1.wav"), str(folder / "2.wav")]) == found
    loaded = kz.load(tmp_path / "run")
    assert loaded(raw) == found == [loaded(raw[:1])[0], loaded(raw[1:])[0]]
    served = tf.saved_model.load(kz.export.export(loaded.model, loaded.task, tmp_path / "saved", signatures=()))
    serve = served.signatures["serving_default"]
    padded = np.full((2, 3000), np.nan, "float32")
    for row, sound in zip(padded, raw):
        row[: len(sound)] = sound
    assert [text.decode() for text in serve(source=tf.constant(padded))["answer"].numpy()] == found
    contents = [(folder / name).read_bytes() for name in ("1.wav", "2.wav")]
    of_files = served.signatures["serving_files"]
    assert [text.decode() for text in of_files(source=tf.constant(contents))["answer"].numpy()] == found
    kz.data.write_sound(tmp_path / "other.wav", raw[0], 16000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the file must have 8000 samples a second"):
        of_files(source=tf.constant([(tmp_path / "other.wav").read_bytes()]))
    alone = serve(source=tf.constant(raw[0][None]))["answer"].numpy()
    assert alone[0].decode() == found[0]


@pytest.mark.parametrize(
    "number, words",
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety nine"),
        (300, "three hundred"),
        (2007, "two thousand seven"),
        (9990, "nine thousand nine hundred ninety"),
        (100019, "one hundred thousand nineteen"),
    ],
)
def test_number_words(number, words):
    assert number_words(number) == words


def test_spoken_numbers_are_the_same_each_time_and_voices_stay_apart():
    pytest.importorskip("espeakng_loader")
    from kerazoo.data.speech_synthesis import Utterance, synthesize
    from kerazoo.tasks.spoken_numbers import VARIANTS, SpokenNumbersSource, voices

    heard = [set(voices(split)) for split in ("train", "dev", "test")]
    assert sum(map(len, heard)) == len(VARIANTS) == len(set.union(*heard)) and min(map(len, heard)) > 10
    one, other = (list(SpokenNumbersSource("task x", 30, 99, RATE, 3).chunks("dev"))[0].columns for _ in range(2))
    assert one["text"] == other["text"] and set(one["text"]) <= set(map(number_words, range(100)))
    assert len(one["sound"]) == 3 and set(one["voice"]) <= heard[1]
    for sound, same in zip(one["sound"], other["sound"]):
        np.testing.assert_array_equal(sound, same)
        assert sound.dtype == np.int16 and 0.2 * RATE < len(sound) < 3 * RATE and np.abs(sound).max() > 6000
    slow, fast = synthesize([Utterance("forty two", rate=100), Utterance("forty two", rate=250)], RATE).lengths
    assert slow > 1.5 * fast
    with pytest.raises(ValueError, match="eSpeak NG has no voice 'xx-none'"):
        synthesize([Utterance("one", "xx-none")])


def test_texts_of_files_are_spoken_by_the_voices_of_their_split(tmp_path):
    pytest.importorskip("espeakng_loader")
    from kerazoo.tasks.spoken_numbers import SpokenNumbersSource, voices

    words = {"train": ["abbey", "bishop", "abbey", "cäsar"], "dev": ["dean", "elder"]}
    for split, texts in words.items():
        (tmp_path / f"{split}.tsv").write_text("".join(f"{text}\tsomething else\n" for text in texts))
    task = kz.tasks.create("spoken_numbers", data_dir=tmp_path, examples=7, accents="de,en-us", sample_rate=RATE)
    (train,), (dev,) = (list(task.source.chunks(split)) for split in ("train", "dev"))
    assert sorted(map(train.columns["text"].count, ("abbey", "bishop", "cäsar"))) == [2, 2, 3]  # by several voices
    assert train.locations[train.columns["text"].index("cäsar")] == f"{tmp_path / 'train.tsv'}:4"
    assert set(train.columns["accent"]) == {"de", "en-us"} and set(dev.columns["voice"]) <= set(voices("dev"))
    assert set(dev.columns["text"]) < set(words["dev"]) and task.options["target_tokens"] == "characters"
    again = SpokenNumbersSource("task x", 7, 99, RATE, 0, tmp_path, 0, ["de", "en-us"])
    for sound, same in zip(train.columns["sound"], next(again.chunks("train")).columns["sound"], strict=True):
        np.testing.assert_array_equal(sound, same)
    (tmp_path / "train.tsv").write_text("abbey\n...\n")
    silent = kz.tasks.create("spoken_numbers", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"train\.tsv:2: eSpeak NG speaks nothing for '\.\.\.'"):
        silent.load("train")
    with pytest.raises(DataError, match="none.tsv: no such file"):
        kz.tasks.create("spoken_numbers", data_dir=tmp_path / "none.tsv").check()
    with pytest.raises(ValueError, match="`accents` must be names of eSpeak NG; got accents=\\[''\\]"):
        kz.tasks.create("spoken_numbers", accents="")
