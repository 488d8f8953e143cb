"""Files and folders are whole at any moment: after an error, a full disk, and a kill."""

import errno
import os
import pathlib
import re
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo import _checks, _files


class Killed(BaseException):
    """What ends a process in the middle."""


def fail_at(monkeypatch, name, count, fault):
    """Makes call number `count` (from 0) of `os.name` raise `fault`."""
    original, calls = getattr(os, name), []

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == count + 1:
            raise fault
        return original(*arguments, **options)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("content", ["first\nné", b"\xff\x00"])
def test_a_file_holds_what_was_written_and_parents_are_made(tmp_path, content):
    path = tmp_path / "a" / "b" / "notes"
    _files.write_file(path, "before")
    _files.write_file(os.fspath(path), content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(path.parent) == ["notes"]


def test_files_and_folders_have_the_permissions_of_others(tmp_path):
    plain, folder = tmp_path / "plain", tmp_path / "plain_folder"
    plain.write_text("x")
    folder.mkdir()
    _files.write_file(tmp_path / "written", "x")
    with _files.new_folder(tmp_path / "made"):
        pass
    for one, other in ((plain, "written"), (folder, "made")):
        assert stat.S_IMODE(one.stat().st_mode) == stat.S_IMODE((tmp_path / other).stat().st_mode)


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), Killed()])
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_fault_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, fault):
    path = tmp_path / "notes"
    _files.write_file(path, "old")
    with monkeypatch.context() as patch:
        fail_at(patch, name, 0, fault)
        with pytest.raises(_checks.SetupError if isinstance(fault, OSError) else Killed) as raised:
            _files.write_file(path, "new", advice="Free some space.")
    if isinstance(fault, OSError):
        message = (
            rf"{path}: cannot be written: No space left on device \(3 bytes are needed, [\d,]+ bytes are left on it\)"
        )
        assert re.fullmatch(message + r"\. Free some space\.", str(raised.value))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["notes"]


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), Killed()])
@pytest.mark.parametrize(("name", "count"), [("fsync", 0), ("fsync", 1), ("fsync", 2), ("replace", 0), ("mkdir", 0)])
def test_a_fault_leaves_no_half_folder(tmp_path, monkeypatch, name, count, fault):
    path = tmp_path / "corpus"
    with monkeypatch.context() as patch:
        fail_at(patch, name, count, fault)
        with pytest.raises(_checks.SetupError if isinstance(fault, OSError) else Killed) as raised:
            with _files.new_folder(path) as folder:
                (folder / "one").write_text("1")
                (folder / "two").write_text("2")
    if isinstance(fault, OSError):
        assert str(raised.value) == f"{path}: cannot be written: Input/output error."
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", [ValueError("bad row"), Killed()])
def test_what_a_block_raises_comes_out_as_it_is_and_the_folder_is_gone(tmp_path, fault):
    with pytest.raises(type(fault)) as raised:
        with _files.new_folder(tmp_path / "corpus") as folder:
            (folder / "one").write_text("1")
            raise fault
    assert raised.value is fault and os.listdir(tmp_path) == []


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    path = tmp_path / "a" / "saved"
    with _files.new_folder(path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "one").write_text("1")
        assert not path.exists()
    assert (path / "inner" / "one").read_text() == "1" and os.listdir(path.parent) == ["saved"]


def test_an_empty_folder_is_replaced_and_a_full_one_is_not(tmp_path):
    path = tmp_path / "saved"
    path.mkdir()
    with _files.new_folder(path) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(_checks.SetupError, match="saved: cannot be written: Directory not empty"):
        with _files.new_folder(path) as folder:
            (folder / "two").write_text("2")
    assert os.listdir(tmp_path) == ["saved"] and os.listdir(path) == ["one"]


def test_a_parent_that_is_a_file_is_reported_with_path_and_reason(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (lambda path: _files.write_file(path, "x"), lambda path: _files.new_folder(path).__enter__()):
        with pytest.raises(_checks.SetupError, match="file/new: cannot be written: (Not a directory|File exists)"):
            write(tmp_path / "file" / "new")


def test_a_file_system_that_cannot_synchronise_folders_is_good_enough(tmp_path, monkeypatch):
    fail_at(monkeypatch, "fsync", 1, OSError(errno.EINVAL, "Invalid argument"))
    _files.write_file(tmp_path / "notes", "text")
    assert (tmp_path / "notes").read_text() == "text"


KILLED = """
import os, sys
from kerazoo import _files
folder = sys.argv[1]
os.replace = lambda *arguments: os._exit(9)
if sys.argv[2] == "file":
    _files.write_file(os.path.join(folder, "kept"), "new")
else:
    with _files.new_folder(os.path.join(folder, "corpus")) as inner:
        open(os.path.join(inner, "one"), "w").close()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_process_leaves_the_old_file_and_what_can_be_removed(tmp_path, kind):
    _files.write_file(tmp_path / "kept", "old")
    (tmp_path / ".kept.mine.tmp").write_text("another program's")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), kind], timeout=60)
    assert done.returncode == 9
    assert (tmp_path / "kept").read_text() == "old" and not (tmp_path / "corpus").exists()
    assert len(os.listdir(tmp_path)) == 3
    _files.remove_leftovers(tmp_path, "other")
    assert len(os.listdir(tmp_path)) == 3
    _files.remove_leftovers(tmp_path, "kept" if kind == "file" else "corpus")
    assert sorted(os.listdir(tmp_path)) == [".kept.mine.tmp", "kept"]
    _files.remove_leftovers(tmp_path / "missing")


def test_a_folder_that_is_removed_is_never_seen_in_part(tmp_path, monkeypatch):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "part").write_text("x")

    def die(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(_files.shutil, "rmtree", die)
        with pytest.raises(Killed):
            _files.remove_folder(folder)
    assert not folder.exists()
    _files.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []
    _files.remove_folder(folder)  # a missing one is no error


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda name: name != "sha256"), PLAIN))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_record_comes_back_and_no_flipped_bit_changes_it(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("record") / "record.json"
    _files.write_record(path, values)
    assert repr(_files.read_record(path)) == repr(values)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 1 + len(content) // 2):
        path.write_bytes(bytes(byte ^ (1 << bit % 8 if index == bit // 8 else 0) for index, byte in enumerate(content)))
        try:
            read = _files.read_record(path)
        except ValueError:
            continue
        read.pop("sha256", None)
        assert {name: repr(value) for name, value in read.items() if name in values} == {
            name: repr(value) for name, value in values.items()}  # fmt: skip


def test_what_is_no_record_is_refused_in_words(tmp_path):
    path = tmp_path / "record.json"
    bad = {b"[1]": "must hold a JSON object, not list", b"[" * 100_000: "nested too deeply", b"{": "Expecting"}
    bad[b'{"a": 1, "sha256": "x"}'] = 'delete its line "sha256"'
    for content, message in bad.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            _files.read_record(path)
    path.write_bytes(b'{"a": 1}')
    assert _files.read_record(path) == {"a": 1}
    with pytest.raises(ValueError, match="it has 8 bytes; at most 7 are read"):
        _files.read_file(path, 7)


def test_plain_values_are_what_json_gives_back():
    assert _files.plain({"units": (8, 4), "path": pathlib.Path("a"), 1: None}) == {
        "units": [8, 4],
        "path": "a",
        "1": None,
    }


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_tree_has_only_plain_files_and_folders(tmp_path, kind):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("x")
    _files.check_tree(tmp_path)
    bad = tmp_path / "a" / "b" / "bad"
    if kind == "pipe":
        os.mkfifo(bad)
    else:
        bad.symlink_to(tmp_path / ("a/file" if kind == "link" else "a"))
    with pytest.raises(
        ValueError, match=f"{bad} is a {'device, pipe or socket' if kind == 'pipe' else 'symbolic link'}"
    ):
        _files.check_tree(tmp_path)
    with pytest.raises((ValueError, OSError)):
        _files.read_file(bad, 100)
