"""What is prepared once: the same arrays in memory and on disk, entries whole or not there, changes noticed."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from kerazoo._checks import DataError, SetupError
from kerazoo.data import Chunk, Corpus, Ragged, cache, cache_dir, prepare, preparing, set_cache_dir
from kerazoo.data.corpus import CorpusBuilder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def chunks(rows=((3, 1), (0, 5, 2))):
    return [Chunk({"n": list(lengths)}, skipped=1, progress=0.5) for lengths in rows]


def convert(chunk):
    lengths = chunk.columns["n"]
    features = {"source": Ragged.from_rows([range(length) for length in lengths]), "n": np.array(lengths, np.int32)}
    return features, {"clipped": len(lengths)}


def equal(one, other):
    assert len(one) == len(other) and list(one.features) == list(other.features)
    for row in range(len(one)):
        for name in one.features:
            assert np.array_equal(one[row][name], other[row][name])
            assert one[row][name].dtype == other[row][name].dtype
    return True


def test_memory_and_disk_hold_the_same(folder):
    in_memory = prepare("x", chunks, convert)
    kept = prepare("x", chunks, convert, "key")
    assert isinstance(kept.features["n"], np.memmap) and equal(in_memory, kept)
    assert kept.notes == in_memory.notes == {"clipped": 5, "skipped": 2}
    assert kept.lengths("source").tolist() == [3, 1, 0, 5, 2]
    again = prepare("x", lambda: pytest.fail("must not be read again"), convert, "key")
    assert equal(kept, again)
    set_cache_dir("")
    assert cache_dir() is None and equal(in_memory, prepare("x", chunks, convert, "key"))


def test_what_nobody_reads_makes_room(folder):
    unread, read, new = (cache.key(name) for name in ("unread", "read", "new"))
    for name in (unread, read):
        prepare("x", chunks, convert, name)
    cut_off, foreign = folder / f".{unread}.{32 * 'a'}.tmp", folder / "photographs"
    cut_off.mkdir()
    foreign.mkdir()
    for old in (folder / unread, folder / read, cut_off, foreign):
        os.utime(old, (0, time.time() - cache.UNUSED_SECONDS - 100))
    prepare("x", lambda: pytest.fail("must not be made again"), convert, read)
    assert (folder / unread).is_dir()  # only what is new makes room
    prepare("x", chunks, convert, new)
    assert {path.name for path in folder.iterdir()} == {read, f"{read}.lock", new, f"{new}.lock", "photographs"}


def test_a_row_may_go_on_in_the_next_chunk(tmp_path):
    for place in (None, tmp_path):
        builder = CorpusBuilder(place)
        for rows, continues in (([[1], [2, 3]], True), ([[4]], True), ([[5, 6], [7]], False)):
            builder.add({"ids": Ragged.from_rows(rows)}, continues)
        features = builder.finish({})
        ids = (Corpus.open(tmp_path).features if place else features)["ids"]
        assert [row.tolist() for row in ids] == [[1], [2, 3, 4, 5, 6], [7]]
    cut = CorpusBuilder()
    cut.add({"ids": Ragged.from_rows([[1]])}, continues=True)
    with pytest.raises(ValueError, match="the last row of 'ids' was to go on after 1 values"):
        cut.finish({})


def test_chunks_must_be_alike(tmp_path):
    builder = CorpusBuilder(tmp_path)
    builder.add({"n": np.zeros((2, 3), np.int32)})
    with pytest.raises(ValueError, match=r"chunks must be alike; got int32\(2, 5\) after"):
        builder.add({"n": np.zeros((2, 5), np.int32)})
    builder.close()


def test_threads_keep_the_order():
    def slow_first(item):
        time.sleep(0.02 if item % 5 == 0 else 0)
        return item * item

    assert list(preparing.in_order(slow_first, range(23))) == [(n, n * n) for n in range(23)]
    with pytest.raises(ZeroDivisionError):
        list(preparing.in_order(lambda n: 1 / n, range(3)))


def test_no_examples_are_refused_and_leave_nothing(folder):
    with pytest.raises(DataError, match="task x, dev: there are no examples"):
        prepare("task x, dev", list, convert, "key")
    assert [path.name for path in folder.iterdir()] == ["key.lock"]


def test_the_folder_is_the_flag_or_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "kerazoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir().parts[-2:] == (".cache", "kerazoo")
    monkeypatch.setenv("KERAZOO_CACHE", "")
    assert cache_dir() is None
    set_cache_dir(tmp_path)
    assert cache_dir() == tmp_path


def test_a_changed_file_is_noticed(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    os.utime(path, ns=(7, 7))
    before = cache.fingerprint([path])
    assert cache.fingerprint([path]) == before
    os.utime(path, ns=(8, 8))
    assert cache.fingerprint([path]) != before
    path.write_bytes(b"two")
    os.utime(path, ns=(7, 7))
    assert cache.fingerprint([path]) != before  # the same size and time
    assert cache.key(before) != cache.key(before, 1)
    with pytest.raises(DataError, match="nowhere: cannot be read: No such file"):
        cache.fingerprint([tmp_path / "nowhere"])


def test_a_damaged_entry_is_made_anew(folder):
    prepare("x", chunks, convert, "key")
    path = folder / "key" / "source.values.npy"
    path.write_bytes(path.read_bytes()[:-9])
    assert equal(prepare("x", chunks, convert, "key"), prepare("x", chunks, convert))


@pytest.mark.parametrize("position", [0.1, 0.5, 0.999])
def test_an_entry_with_a_flipped_bit_is_made_anew(folder, position):
    expected = prepare("x", chunks, convert, "key")
    for path in [each for each in (folder / "key").iterdir() if each.is_file()]:
        content = bytearray(path.read_bytes())
        content[int(position * len(content))] ^= 4
        path.write_bytes(content)
        assert equal(prepare("x", chunks, convert, "key"), prepare("x", chunks, convert)), path
        assert len(prepare("x", chunks, convert, "key")) == len(expected)


def test_a_full_disk_leaves_no_half_entry(folder, monkeypatch):
    def full(self, notes):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CorpusBuilder, "finish", full)
    with pytest.raises(SetupError, match=r"No space left on device \([\d,]+ bytes are left on it\)\. Name another"):
        prepare("x", chunks, convert, "key")
    assert [path.name for path in folder.iterdir()] == ["key.lock"]
    monkeypatch.undo()
    monkeypatch.setenv("KERAZOO_CACHE", "/dev/null/cache")
    with pytest.raises(SetupError, match="/dev/null/cache: prepared data cannot be kept there: Not a directory"):
        prepare("x", chunks, convert, "key")


SCRIPT = """
import sys, time
from kerazoo.data import cache
def make(folder):
    (folder / "half").write_text("x")
    print("making", flush=True)
    time.sleep(float(sys.argv[1]))
    (folder / "whole").write_text("y")
print(cache.entry("key", make, lambda folder: (folder / "whole").read_text()), flush=True)
"""


def test_a_killed_process_leaves_nothing_that_is_read(folder):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, "60"], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout.readline() == b"making\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "key").exists() and len(list(folder.glob(".key.*.tmp"))) == 1
    assert equal(prepare("x", chunks, convert, "key"), prepare("x", chunks, convert))
    assert not list(folder.glob(".key.*.tmp"))


def test_two_runs_make_one_entry(folder):
    made, results = [], []

    def make(place):
        made.append(place)
        time.sleep(0.2)
        (place / "whole").write_text("y")

    def run():
        results.append(cache.entry("key", make, lambda place: (place / "whole").read_text()))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and results == ["y"] * 3


def test_progress_is_said_when_it_takes_long(capsys, monkeypatch):
    monkeypatch.setattr(preparing, "QUIET_SECONDS", 0)
    monkeypatch.setattr(preparing, "SECONDS_BETWEEN_LINES", 0)
    prepare("task x, train", chunks, convert)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("preparing task x, train:  50% read  2 examples  4 tokens  ")
    assert lines[-1].startswith("preparing task x, train:  50% read  5 examples  11 tokens  ")
