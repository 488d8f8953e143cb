import gzip
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerazoo._checks import DataError
from kerazoo.data import find_splits, read_lines, read_table, read_text

COMPRESSED = gzip.compress(b"a\tb\n", mtime=0)  # at a fixed time, for it is a part of a test's name


def write(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["train.tsv", "train.tsv.gz"])
def test_columns_are_chosen(tmp_path, name):
    path = write(tmp_path / name, "1\tça va\tbien\n2\t日本\tx\n".encode())
    table = read_table(path, (2, 1))
    assert table.columns == (["bien", "x"], ["ça va", "日本"])
    assert table.lines == [1, 2] and table.skipped == 0


def test_mark_line_ends_and_missing_last_end(tmp_path):
    path = write(tmp_path / "a.tsv", b"\xef\xbb\xbfa\tb\r\nc\td\r\n\xef\xbb\xbfe\tf")
    assert read_table(path, (0, 1)).columns == (["a", "c", "\ufeffe"], ["b", "d", "f"])
    assert read_text(path) == "a\tb\nc\td\n\ufeffe\tf\n"


def test_only_line_ends_end_lines(tmp_path):
    # What str.splitlines would split at is text here.
    path = write(tmp_path / "a.tsv", "a\u2028b\tc\x0bd\x85\n".encode())
    assert read_table(path, (0, 1)).columns == (["a\u2028b"], ["c\x0bd\x85"])


def test_a_very_long_line_is_read(tmp_path):
    path = write(tmp_path / "a.tsv", b"x" * 10_000_000 + b"\ty\n")
    assert len(read_table(path, (0, 1)).columns[0][0]) == 10_000_000


@pytest.mark.parametrize(
    "content, columns, message",
    [
        (b"", (0, 1), r"train.tsv: is empty\."),
        (b"a\tb\nHallo Welt\n", (0, 1), r"train.tsv:2: expected 2 columns separated by a tab, got 1: 'Hallo Welt'\."),
        (b"a\tb\nc\td\n", (0, 4), r"train.tsv:1: expected 5 .*, got 2: 'a\\tb'\. Say a number from 0 to 1\.$"),
        (b"a\tb\n\nc\td\n", (0, 1), r"train.tsv:2: expected 2 columns separated by a tab, got 1: ''\."),
        (b"a\tb\n\tc\n", (0, 1), r"train.tsv:2: column 0 is empty: '\\tc'\."),
        (b"a\tb\n \n", (0,), r"train.tsv:2: column 0 is empty: ' '\."),
        (b"a\t" + b"b" * 90 + b"\nc" + b"d" * 90, (0, 1), r"train.tsv:2: expected 2 .* got 1: 'cd{36}\.\.\.'\."),
        (b"a\tb\ncaf\xe9\td\n", (0, 1), r"train.tsv:2: not UTF-8: byte 0xe9 at position 4\. .*iconv"),
        (b"a\tb\x00\n", (0, 1), r"train.tsv:1: holds a NUL byte at position 4"),
    ],
)
def test_bad_files_are_refused_with_file_and_line(tmp_path, content, columns, message):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "train.tsv", content), columns)


def test_missing_files_and_folders(tmp_path):
    write(tmp_path / "train.tsv", b"a\tb\n")
    with pytest.raises(DataError, match=r"tran.tsv: no such file\. Did you mean 'train.tsv'\?"):
        list(read_lines(tmp_path / "tran.tsv"))
    with pytest.raises(DataError, match=r"nowhere/at.tsv: no such file\."):
        list(read_lines(tmp_path / "nowhere" / "at.tsv"))
    with pytest.raises(DataError, match="is a folder, not a file"):
        list(read_lines(tmp_path))


def test_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress(b"a\tb\n" * 5000)
    for content in (whole[:-9], whole[:30] + b"\xff" * 9 + whole[39:]):
        path = tmp_path / "train.tsv.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"train.tsv.gz: damaged gzip file after line \d+"):
            read_table(path, (0, 1))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv.gz", b"a\tb\n", "is not compressed with gzip. Rename it without .gz."),
        ("a.tsv", COMPRESSED, "is compressed with gzip, so its name must end in .gz. Rename it."),
        ("a.csv", "a,b\r\n".encode("utf-16"), "is text in UTF-16. Convert the file, for example with: iconv -f utf-16"),
        ("a.csv", b"PK\x03\x04\x14", "is a ZIP file or a spreadsheet. Unpack it, or save the table as CSV in UTF-8."),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1", "is a file of an office program. Save the table as CSV in UTF-8."),
        ("a.tsv", b"\x89PNG\r\n\x1a\n", "is an image, not text."),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{name}: {message}")):
        read_table(tmp_path / name, (0, 1))


def test_bad_lines_are_skipped_and_counted_by_choice(tmp_path):
    path = write(tmp_path / "a.tsv", b"a\tb\nbad\n\nc\td\n")
    with pytest.raises(DataError, match=r"'bad'\. Correct it, or say bad_lines='skip' to leave such lines out\.$"):
        read_table(path, (0, 1))
    table = read_table(path, (0, 1), bad_lines="skip")
    assert (table.columns, table.lines, table.skipped) == ((["a", "c"], ["b", "d"]), [1, 4], 2)
    with pytest.raises(DataError, match="no line is left: all 1 are bad"):
        read_table(write(tmp_path / "b.tsv", b"bad\n"), (0, 1), bad_lines="skip")
    with pytest.raises(ValueError, match="`bad_lines` must be one of 'stop', 'skip'; got bad_lines='go'"):
        read_table(path, (0, 1), bad_lines="go")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"a", b"\t", b"\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", "é".encode()])))
def test_any_bytes_are_read_or_refused_in_our_words(tmp_path, parts):
    path = write(tmp_path / "any.tsv", b"".join(parts))
    try:
        table = read_table(path, (0, 1))
    except DataError as error:
        assert str(error).startswith(str(path))
    else:
        assert all(value.strip() for column in table.columns for value in column)


def test_splits_are_found_by_name(tmp_path):
    for name in ("train.tsv.gz", "valid.tsv", "test.tsv", "notes.txt"):
        write(tmp_path / name, b"a\tb\n")
    found = find_splits(tmp_path)
    assert {split: path.name for split, path in found.items()} == {
        "train": "train.tsv.gz",
        "dev": "valid.tsv",
        "test": "test.tsv",
    }
    assert find_splits(tmp_path / "test.tsv") == {"train": tmp_path / "test.tsv"}
    (tmp_path / "one").mkdir()
    write(tmp_path / "one" / "pairs.tsv", b"a\tb\n")
    assert find_splits(tmp_path / "one") == {"train": tmp_path / "one" / "pairs.tsv"}


def test_splits_that_cannot_be_found(tmp_path):
    with pytest.raises(DataError, match=r"missing: no such file or folder\."):
        find_splits(tmp_path / "missing")
    with pytest.raises(DataError, match=r"no train.tsv or train.tsv.gz; there is: nothing\."):
        find_splits(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"there is: cat\. Folders of images are read by task='images'"):
        find_splits(tmp_path)
    (tmp_path / "cat").rmdir()
    write(tmp_path / "a.txt", b"")
    write(tmp_path / "test.tsv", b"")
    with pytest.raises(DataError, match=r"no train.tsv or train.tsv.gz; there is: a.txt, test.tsv\."):
        find_splits(tmp_path)
    write(tmp_path / "train.tsv", b"")
    write(tmp_path / "train.tsv.gz", b"")
    with pytest.raises(DataError, match="which is the train file"):
        find_splits(tmp_path)


def test_real_tables(shared_data):
    found = find_splits(shared_data / "cmudict_g2p")
    assert sorted(found) == ["dev", "test", "train"]
    assert len(read_table(found["dev"], (0, 1)).lines) == 2832
    assert len(read_table(shared_data / "bible_en_es" / "test.tsv.gz", (1, 2)).lines) == 994
