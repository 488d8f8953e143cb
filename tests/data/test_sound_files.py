"""Sound from files of many forms, resampled or refused, and the faults of damaged ones."""

import struct
import wave

import numpy as np
import pytest

import kerazoo as kz
from kerazoo._checks import DataError
from kerazoo.data.sound_files import resampled

soundfile = pytest.importorskip("soundfile")


def tone(rate, seconds=0.31, frequency=440.0, channels=1):
    time = np.arange(round(rate * seconds)) / rate
    sound = 0.5 * np.sin(2 * np.pi * frequency * time)
    return np.stack([sound * (1 - 0.5 * channel) for channel in range(channels)], axis=1)  # [samples, channels]


@pytest.mark.parametrize("ending, kind, step", [
    ("wav", "PCM_U8", 2 / 255), ("wav", "PCM_16", 2**-14), ("wav", "PCM_24", 2**-22), ("wav", "PCM_32", 1e-6),
    ("wav", "FLOAT", 1e-6), ("wav", "DOUBLE", 1e-6), ("flac", "PCM_16", 2**-14), ("flac", "PCM_24", 2**-22),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_read(tmp_path, ending, kind, step, channels):
    path, sound = tmp_path / f"a.{ending}", tone(11025, channels=channels)
    soundfile.write(path, sound, 11025, subtype=kind)
    found = kz.data.read_sound(path)
    assert found.dtype == np.float32 and found.shape == (len(sound),)
    np.testing.assert_allclose(found, sound.mean(axis=1), atol=step)


def test_written_sounds_are_read_back(tmp_path):
    sound = np.array([0.0, 0.25, -1.0, 1.0, 3.0])
    kz.data.write_sound(tmp_path / "a.wav", sound, 16000)
    np.testing.assert_allclose(kz.data.read_sound(tmp_path / "a.wav", 16000), np.clip(sound, -1, 1), atol=1e-4)


@pytest.mark.parametrize(
    "rate, new_rate", [(8000, 16000), (44100, 16000), (22050, 8000), (16000, 16000), (48000, 11025)]
)
def test_resampling_keeps_a_tone(rate, new_rate):
    found, expected = resampled(tone(rate)[:, 0].astype(np.float32), rate, new_rate), tone(new_rate)[:, 0]
    assert abs(len(found) - len(expected)) <= 1
    inside = slice(new_rate // 50, -new_rate // 50)  # the tone begins and ends at once, which no other rate can hold
    np.testing.assert_allclose(found[: len(expected)][inside], expected[: len(found)][inside], atol=0.01)


def test_resampling_equals_that_of_scipy():
    signal = pytest.importorskip("scipy.signal")
    sound = np.convolve(np.random.default_rng(2).normal(size=2000), np.hanning(41) / 20, "same").astype(np.float32)
    expected = signal.resample_poly(sound, 160, 441)
    found = resampled(sound, 44100, 16000)
    np.testing.assert_allclose(found[20:-20], expected[20 : len(found) - 20], atol=0.02)


def test_resampling_leaves_out_what_the_new_rate_cannot_hold():
    high = tone(16000, frequency=7000.0)[:, 0].astype(np.float32)
    assert np.abs(resampled(high, 16000, 8000)[200:-200]).max() < 0.01
    np.testing.assert_array_equal(resampled(np.ones(1, np.float32), 8000, 16000).shape, (2,))


def damaged(path, content=None, cut=None):
    soundfile.write(path, tone(8000), 8000, subtype="PCM_16")
    whole = path.read_bytes() if content is None else content
    path.write_bytes(whole[:cut])
    return path


@pytest.mark.parametrize(
    "name, content, cut, expected",
    [
        ("a.wav", None, 20, "a damaged WAV file: it ends within its header"),
        ("a.wav", None, 1000, "a damaged WAV file: it ends after 478 of 2,480 samples"),
        ("a.wav", b"no sound at all", None, r"no sound that can be read \(WAV or FLAC\)"),
        ("a.wav", b"", None, r"no sound that can be read \(WAV or FLAC\)"),
        ("a.flac", b"fLaC" + bytes(60), None, r"no sound that can be read"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, cut, expected):
    path = damaged(tmp_path / name if name.endswith("wav") else tmp_path / "b.wav", content, cut)
    with pytest.raises(DataError, match=f"{path}: .*{expected}"):
        kz.data.read_sound(path)


def test_missing_empty_and_infinite_sounds_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.wav: cannot be read: No such file"):
        kz.data.read_sound(tmp_path / "none.wav")
    kz.data.write_sound(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(DataError, match=r"empty\.wav: holds no samples of sound"):
        kz.data.read_sound(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 8000, subtype="FLOAT")
    with pytest.raises(DataError, match="values that are no numbers"):
        kz.data.read_sound(tmp_path / "nan.wav")
    content = bytearray(damaged(tmp_path / "rate.wav").read_bytes())
    content[24:28] = struct.pack("<I", 0)
    (tmp_path / "rate.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"rate\.wav: a damaged WAV file: its header says 0 samples a second"):
        kz.data.read_sound(tmp_path / "rate.wav")


def test_another_rate_is_refused_where_it_is_not_converted(tmp_path):
    kz.data.write_sound(tmp_path / "a.wav", tone(8000)[:, 0], 8000)
    with pytest.raises(DataError, match=r"a\.wav: has 8,000 samples a second, and 16,000 are expected.*resample=True"):
        kz.data.read_sound(tmp_path / "a.wav", 16000, resample=False)
    assert len(kz.data.read_sound(tmp_path / "a.wav", 16000)) == 2 * 2480


def record(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(folder / name), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(400))


def rows_of(source, split="train"):
    chunks = list(source.chunks(split))
    rows = [(sound.rpartition("/")[2], text) for chunk in chunks for sound, text in zip(*chunk.columns.values())]
    return rows, sum(chunk.skipped for chunk in chunks)


def test_folder_with_a_table_and_folders_of_splits(tmp_path):
    record(tmp_path, "train/a/1.wav", "train/2.wav", "dev/3.wav")
    (tmp_path / "train" / "transcripts.tsv").write_text('a/1.wav\tone "two"\n2.wav\tthree\n')
    (tmp_path / "dev" / "transcripts.tsv").write_text("3.wav\tfour\n")
    source = kz.data.SoundFolderSource(tmp_path)
    assert rows_of(source) == ([("1.wav", 'one "two"'), ("2.wav", "three")], 0)
    assert rows_of(source, "dev") == ([("3.wav", "four")], 0)
    (chunk,) = source.chunks("dev")
    assert chunk.columns["sound"] == [str(tmp_path / "dev" / "3.wav")]
    assert chunk.locations == [f"{tmp_path}/dev/transcripts.tsv:1"]


def test_header_gives_the_order_and_speakers_stay_apart(tmp_path):
    names = [f"{number}.wav" for number in range(60)]
    record(tmp_path, *names)
    lines = [f"{n % 12}\tx\ttext {n}\t{name}" for n, name in enumerate(names)]
    (tmp_path / "transcripts.tsv").write_text("\n".join(["Speaker\tother\tText\tFile", *lines]) + "\n")
    source = kz.data.SoundFolderSource(tmp_path)
    speakers = {}
    for split in ("train", "dev", "test"):
        rows, _ = rows_of(source, split)
        assert all(text == f"text {name.removesuffix('.wav')}" for name, text in rows)
        speakers[split] = {int(name.removesuffix(".wav")) % 12 for name, _ in rows}
    assert sum(map(len, speakers.values())) == 12 and all(speakers.values())


def test_other_test_recordings(tmp_path):
    record(tmp_path, "a/1.wav", "b/2.wav", "b/3.wav")
    (tmp_path / "a" / "transcripts.tsv").write_text("1.wav\tone\n")
    (tmp_path / "b" / "transcripts.tsv").write_text("text\tfile\ntwo\t2.wav\nthree\t3.wav\n")
    source = kz.data.SoundFolderSource(tmp_path / "a").with_test_data(tmp_path / "b")
    assert rows_of(source, "test") == ([("2.wav", "two"), ("3.wav", "three")], 0)
    assert rows_of(source) == ([], 0)


def test_ljspeech(tmp_path):
    record(tmp_path, "wavs/LJ-1.wav", "wavs/LJ-2.wav")
    (tmp_path / "metadata.csv").write_text('LJ-1|Dr. "No|Doctor "No\nLJ-2|2|two\n')
    assert rows_of(kz.data.SoundFolderSource(tmp_path)) == ([("LJ-1.wav", 'Doctor "No'), ("LJ-2.wav", "two")], 0)
    (tmp_path / "metadata.csv").write_text("LJ-1|one\nLJ-2|two\n")
    assert rows_of(kz.data.SoundFolderSource(tmp_path))[0] == [("LJ-1.wav", "one"), ("LJ-2.wav", "two")]


def test_bad_lines_are_named_or_skipped_and_counted(tmp_path):
    record(tmp_path, "1.wav", "2.wav")
    (tmp_path / "transcripts.tsv").write_text("1.wav\tone\n2.wav\t\n3.wav\tthree\n2.wav\ttwo\n")
    with pytest.raises(DataError, match=r"transcripts\.tsv:2: column 1 is empty"):
        rows_of(kz.data.SoundFolderSource(tmp_path))
    assert rows_of(kz.data.SoundFolderSource(tmp_path, bad_lines="skip")) == ([("1.wav", "one"), ("2.wav", "two")], 2)
    (tmp_path / "transcripts.tsv").write_text("1.wav\tone\n3.wav\tthree\n")
    with pytest.raises(DataError, match=r"transcripts\.tsv:2: no such file: .*/3\.wav"):
        rows_of(kz.data.SoundFolderSource(tmp_path))


def test_folders_without_a_table_of_transcripts_are_refused(tmp_path):
    with pytest.raises(DataError, match="neither transcripts.tsv nor metadata.csv is here"):
        kz.data.SoundFolderSource(tmp_path).check()
    with pytest.raises(DataError, match="no such folder"):
        kz.data.SoundFolderSource(tmp_path / "none").check()
    (tmp_path / "transcripts.tsv").write_text("file\tspeaker\n1.wav\tme\n")
    with pytest.raises(DataError, match=r"transcripts\.tsv:1: a header must name .*without text"):
        kz.data.SoundFolderSource(tmp_path).check()
    (tmp_path / "transcripts.tsv").write_text("1.wav\n")
    with pytest.raises(DataError, match=r"transcripts\.tsv:1: expected a file, a tab and its transcript"):
        kz.data.SoundFolderSource(tmp_path).check()
