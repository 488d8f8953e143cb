"""Sources of examples in files: every line is in one split, once, with its location; fingerprints notice changes."""

import collections
import gzip
import io
import json
import os

import numpy as np
import pytest

from kerazoo._checks import DataError
from kerazoo.data import Chunk, ImageFolderSource, ParallelSource, SeriesSource, TableSource, TextSource, lines

ROWS = [(f"wort {i % 7} {i}", f"{i} mots") for i in range(97)]
SPLITS = ("train", "dev", "test")


def write(path, text):
    path.write_bytes(gzip.compress(text.encode(), 1) if path.suffix == ".gz" else text.encode())
    return path


def tsv(rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def rows_of(source, split):
    chunks = list(source.chunks(split))
    assert all(tuple(chunk.columns) == source.columns for chunk in chunks)
    return [row for chunk in chunks for row in zip(*chunk.columns.values(), strict=True)]


def everything(source):
    return [row for split in source.splits() for row in rows_of(source, split)]


# Tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, text, columns, options",
    [
        ("a.tsv", tsv(ROWS), None, {}),
        ("a.csv.gz", "".join(f'"{a}",x,{b}\n' for a, b in ROWS), {"source": 0, "target": "2"}, {}),
        ("a.csv", "de,fr\n" + "".join(f"{a},{b}\n" for a, b in ROWS), {"source": "de", "target": "fr"}, {}),
        ("a.data", tsv(ROWS), None, {"format": "tsv"}),
        (
            "a.jsonl",
            "".join(json.dumps({"t": {"de": a, "fr": b}}) + "\n" for a, b in ROWS),
            {"source": "t.de", "target": "t.fr"},
            {},
        ),
        ("a.tsv", tsv([(*a.split(), b) for a, b in ROWS]), {"source": "0,1,2", "target": 3}, {}),
    ],
)
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_every_format_gives_the_same_examples(tmp_path, monkeypatch, name, text, columns, options, block):
    monkeypatch.setattr(lines, "BLOCK", block)
    source = TableSource(write(tmp_path / name, text), columns, **options)
    source.check()
    assert source.columns == ("source", "target") and source.splits() == SPLITS
    splits = {split: rows_of(source, split) for split in SPLITS}
    assert sorted(sum(splits.values(), [])) == sorted(ROWS) and all(splits.values())
    chunks = list(source.chunks("train"))
    assert chunks[-1].progress == 1 and (block > 7) == (len(chunks) == 1)
    assert [chunk.progress for chunk in chunks] == sorted(chunk.progress for chunk in chunks)


def test_locations_and_given_splits(tmp_path):
    train, dev = write(tmp_path / "train.csv", 'a,b\n"x\ny",1\nz,2\n'), write(tmp_path / "valid.csv", "a,b\nv,3\n")
    source = TableSource(tmp_path, {"text": "a", "label": "b"}, test_data=dev)
    (chunk,) = source.chunks("train")
    assert chunk.columns == {"text": ["x\ny", "z"], "label": ["1", "2"]}
    assert list(chunk.locations) == [f"{train}:2", f"{train}:4"]
    assert rows_of(source, "dev") == rows_of(source, "test") == [("v", "3")]


def test_nothing_is_held_out_where_that_is_asked_for(tmp_path):
    lines = [f"{row}\t{row}" for row in range(101)]
    (tmp_path / "all.tsv").write_text("\n".join(lines) + "\n")
    whole = TableSource(tmp_path / "all.tsv", held_out=0)
    assert whole.splits() == ("train",) and len(rows_of(whole, "train")) == 101 and not rows_of(whole, "dev")
    tenth = TableSource(tmp_path / "all.tsv", held_out=0.1)
    assert [len(rows_of(tenth, split)) for split in SPLITS] == [81, 10, 10]
    given = TableSource(tmp_path / "all.tsv", held_out=0, dev_data=tmp_path / "all.tsv")
    assert given.splits() == ("train", "dev") and len(rows_of(given, "dev")) == 101
    with pytest.raises(ValueError, match=r"TableSource: `held_out` must be a number in \[0, 0.5\); got held_out=0.5"):
        TableSource(tmp_path / "all.tsv", held_out=0.5)


def test_paths_are_relative_to_the_table(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "a.tsv", "file\tcaption\npics/1.png\tone\n/x/2.png\ttwo\n")
    monkeypatch.chdir(tmp_path)
    source = TableSource("sub/a.tsv", {"image": "file", "text": "caption"}, path_columns=["image"])
    source.fractions = {}
    assert rows_of(source, "train") == [(str(tmp_path / "sub/pics/1.png"), "one"), ("/x/2.png", "two")]
    before = source.fingerprint("train")
    (tmp_path / "sub" / "pics").mkdir()
    (tmp_path / "sub" / "pics" / "1.png").write_bytes(b"image")
    after = source.fingerprint("train")
    assert before != after and after == source.fingerprint("train")


@pytest.mark.parametrize(
    "name, content, columns, fault",
    [
        ("train.tsv", "a\tb\nHallo Welt\nc\td\n", None, "2: expected 2 columns separated by a tab, got 1: 'Hallo W"),
        ("train.csv", 'a,b\nd,"e\nc,d\n', None, "2: not CSV: a quote is never closed: 'd,\"e'."),
        ("train.jsonl", '{"a":"a"}\n{"b":1}\n{"a":"c"}', {"source": "a"}, "2: not a JSON record: no field 'a'"),
    ],
)
def test_bad_lines_stop_or_are_skipped_and_counted(tmp_path, name, content, columns, fault):
    path = write(tmp_path / name, content)
    source = TableSource(path, columns)
    source.fractions = {}
    with pytest.raises(DataError) as error:
        rows_of(source, "train")
    assert str(error.value).startswith(f"{path}:{fault}")
    source = TableSource(path, columns, bad_lines="skip")
    source.fractions = {}
    assert [row[0] for row in rows_of(source, "train")] == ["a", "c"]
    assert sum(chunk.skipped for chunk in source.chunks("train")) == 1


def test_of_two_faults_the_first_one_in_the_file_is_raised(tmp_path):
    path = write(tmp_path / "a.tsv", "a\tb\n \td\nno tab\n\0\n")
    for expected in ("2: column 0 is empty", "3: expected 2", "4: holds a NUL"):
        with pytest.raises(DataError, match=expected):
            rows_of(TableSource(path), "train")
        content = path.read_text().splitlines()
        content[int(expected[0]) - 1] = "x\ty"
        path.write_text("\n".join(content))


def test_a_file_of_bad_lines_alone_is_counted(tmp_path):
    source = TableSource(write(tmp_path / "a.tsv", "x\ny\n"), bad_lines="skip")
    assert [(chunk.num_rows, chunk.skipped) for chunk in source.chunks("train")] == [(0, 2)]


def test_weights_repeat_and_thin_and_take_turns(tmp_path):
    one = write(tmp_path / "one.tsv", "".join(f"one {i}\t{i}\n" for i in range(61)))
    two = write(tmp_path / "two.tsv", "".join(f"two {i}\t{i}\n" for i in range(601)))
    dev = write(tmp_path / "held.tsv", "held\tout\n")
    source = TableSource(f"{one}@3,{two}@.5", dev_data=dev, test_data=dev)
    train = rows_of(source, "train")
    counts = collections.Counter(train)
    assert [counts[f"one {i}", f"{i}"] for i in range(61)] == [3] * 61
    of_two = [counts[row] for row in counts if row[0].startswith("two")]
    assert set(of_two) == {1} and 240 < len(of_two) < 360
    assert [row[0][:3] for row in train[:4]] == ["one", "two", "one", "two"]
    assert rows_of(source, "dev") == rows_of(source, "test") == [("held", "out")]
    assert len(everything(TableSource(f"{one},{two}"))) == 662


def test_fingerprints_notice_what_changes(tmp_path):
    path = write(tmp_path / "train.tsv", tsv(ROWS))
    source = TableSource(path)
    first = source.fingerprint("train")
    assert json.loads(json.dumps(first)) == json.loads(json.dumps(TableSource(path).fingerprint("train")))
    assert first == source.fingerprint("dev")  # held out from the same file
    others = [TableSource(path, {"source": 1}), TableSource(path, bad_lines="skip"), TableSource(f"{path}@2")]
    assert all(other.fingerprint("train") != first for other in others)
    os.utime(path, ns=(5, 5))
    assert source.fingerprint("train") != first


@pytest.mark.parametrize(
    "columns, options, error, message",
    [
        (None, {"format": "xls"}, ValueError, "`format` must be one of 'tsv', 'csv', 'jsonl', 'txt'; got format='xls'"),
        ({"source": "a,"}, {}, ValueError, "`source` must be a number, a name or several of them; got 'a,'"),
        ({"source": -1}, {}, ValueError, "`source` must be an integer of at least 0; got source=-1"),
        ({}, {}, ValueError, "`columns` must name at least one column"),
        (None, {"path_columns": ["image"]}, ValueError, "`path_columns` must be one of 'source', 'target'; got .*im"),
        (None, {"bad_lines": "no"}, ValueError, "`bad_lines` must be one of 'stop', 'skip'; got bad_lines='no'"),
    ],
)
def test_refused_arguments_of_tables(tmp_path, columns, options, error, message):
    with pytest.raises(error, match=message):
        TableSource(tmp_path, columns, **options)


def test_missing_files_are_found_early(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        TableSource(tmp_path / "nowhere").check()
    with pytest.raises(ValueError, match="TableSource: needs `data_dir`, .*; got data_dir=None"):
        TableSource(None)
    with pytest.raises(ValueError, match="`split` must be one of 'train', 'dev', 'test'; got split='valid'"):
        TableSource(write(tmp_path / "a.tsv", "a\tb\n")).chunks("valid")


def stand_in(monkeypatch, text):
    """Makes a file standard input."""
    import sys

    read, written = os.pipe()
    with os.fdopen(written, "wb") as file:
        file.write(text.encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(os.fdopen(read, "rb")))


@pytest.mark.parametrize("kind", [TableSource, TextSource])
def test_standard_input_is_for_training_and_read_once(tmp_path, monkeypatch, kind):
    stand_in(monkeypatch, tsv(ROWS))
    held = write(tmp_path / "held.txt", "held\n")
    source = kind("-", dev_data=held)
    assert source.splits() == ("train", "dev") and source.fingerprint("train") is None
    with pytest.raises(DataError, match="-: standard input holds training examples alone. Name a file: test_data=FILE"):
        source.chunks("test")
    read = rows_of(source, "train")
    assert read == (ROWS if kind is TableSource else [(tsv(ROWS),)])  # nothing is held out from it
    with pytest.raises(DataError, match="standard input can be read only once: use feed='stream' with epochs=1"):
        source.chunks("train")


# Pairs of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [5, 1 << 20])
def test_pairs_of_files(tmp_path, monkeypatch, block):
    monkeypatch.setattr(lines, "BLOCK", block)
    write(tmp_path / "train.de", "".join(f"{a}\n" for a, _ in ROWS))
    write(tmp_path / "train.fr.gz", "".join(f"{b}\n" for _, b in ROWS))
    write(tmp_path / "dev.de", "hallo\r\n")
    write(tmp_path / "dev.fr", "\ufeffsalut")
    source = ParallelSource(tmp_path, "de", target_language="fr")
    assert rows_of(source, "dev") == [("hallo", "salut")]
    assert sorted(rows_of(source, "train") + rows_of(source, "test")) == sorted(ROWS)
    before = source.fingerprint("dev")
    write(tmp_path / "dev.fr", "salut\n\nbonjour\n")
    assert source.fingerprint("dev") != before
    with pytest.raises(DataError, match=r"dev.de:1: ends here, but .*dev.fr goes on: lines must come in pairs"):
        rows_of(source, "dev")
    write(tmp_path / "dev.de", "hallo\nleer\nguten tag\n")
    with pytest.raises(DataError, match=r"dev.fr:2: is empty, but must go with a line of the other file"):
        rows_of(source, "dev")
    skipping = ParallelSource(tmp_path, "de", target_language="fr", bad_lines="skip")
    assert rows_of(skipping, "dev") == [("hallo", "salut"), ("guten tag", "bonjour")]
    chunks = list(skipping.chunks("dev"))
    assert sum(chunk.skipped for chunk in chunks) == 1
    assert sum((list(chunk.locations) for chunk in chunks), [])[1] == f"{tmp_path / 'dev.de'}:3"
    with pytest.raises(DataError, match="dev.xx: no such file"):
        rows_of(ParallelSource(tmp_path, "de", target_language="xx"), "dev")
    with pytest.raises(ValueError, match="ParallelSource: needs `target_language`, what the files' names end in"):
        ParallelSource(tmp_path, "de", target_language="")


# Long texts ------------------------------------------------------------------------------------------------------


def text_of(source, split):
    texts, continues = [], False
    for chunk in source.chunks(split):
        (block,) = chunk.columns["text"]
        texts[len(texts) - continues :] = [texts[-1] + block if continues else block]
        continues = chunk.continues
    assert not continues
    return texts


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_long_text_is_divided_by_position(tmp_path, monkeypatch, name, block):
    monkeypatch.setattr(lines, "BLOCK", block)
    text = "".join(f"line {i} of a long text\r\n" for i in range(200)) + "the end"
    source = TextSource(write(tmp_path / name, "\ufeff" + text))
    parts = [text_of(source, split)[0] for split in SPLITS]
    assert "".join(parts) == text.replace("\r\n", "\n") and all(part.startswith("line") for part in parts)
    assert 0.88 < len(parts[0]) / len(text.replace("\r", "")) < 0.92
    assert source.fingerprint("train") != source.fingerprint("dev")


def test_weights_and_bad_lines_of_texts(tmp_path):
    write(tmp_path / "train.txt", "one two\nthree\n")
    write(tmp_path / "test.txt", "two\n\0\nthree")
    with pytest.raises(DataError, match=r"test.txt:2: holds a NUL byte at position 1"):
        text_of(TextSource(tmp_path), "test")
    source = TextSource(f"{tmp_path}@2", bad_lines="skip")
    assert text_of(source, "test") == ["two\nthree"] and next(source.chunks("test")).skipped == 1
    assert [text[:3] for text in text_of(source, "train")] == ["one", "one"]
    with pytest.raises(ValueError, match="the weight of a text must be a whole number; got 0.5"):
        TextSource(f"{tmp_path}@0.5").chunks("train")


# Images ----------------------------------------------------------------------------------------------------------


def test_image_folders(tmp_path):
    with pytest.raises(DataError, match="no images here: they lie in one folder for each class and end in .png"):
        ImageFolderSource(tmp_path).check()
    with pytest.raises(DataError, match=r"nowhere: no such folder\."):
        ImageFolderSource(tmp_path / "nowhere").check()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "1.png").touch()
    with pytest.raises(DataError, match="flat: the images of all classes are in one folder: they lie in"):
        ImageFolderSource(tmp_path / "flat").check()
    with pytest.raises(DataError, match="1.png: is a file. The task images reads a folder for each class"):
        ImageFolderSource(tmp_path / "flat" / "1.png").check()
    (tmp_path / "flat" / "1.png").unlink()
    (tmp_path / "flat").rmdir()
    for label, count in (("cat", 83), ("dog", 71)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(count):
            (tmp_path / "set" / label / f"{index:02d}.PNG").touch()
    (tmp_path / "set" / "cat" / "notes.txt").touch()
    source = ImageFolderSource(tmp_path / "set")
    assert collections.Counter(label for _, label in everything(source)) == {"cat": 83, "dog": 71}
    assert all(rows_of(source, split) for split in SPLITS) and len(list(source.chunks("train"))) == 3
    first = source.fingerprint("train")
    os.utime(rows_of(source, "train")[0][0], ns=(5, 5))
    assert source.fingerprint("train") != first
    (tmp_path / "set").rename(tmp_path / "train")
    (tmp_path / "val" / "dog").mkdir(parents=True)
    (tmp_path / "val" / "dog" / "1.jpg").touch()
    given = ImageFolderSource(tmp_path)
    (chunk,) = given.chunks("dev")
    path = str(tmp_path / "val" / "dog" / "1.jpg")
    assert chunk == Chunk({"image": [path], "label": ["dog"]}, progress=1.0, locations=[path])


# Series ----------------------------------------------------------------------------------------------------------

NUMBERS = [(i, 1000 - 7 * i, "ab"[i > 40]) for i in range(101)]


def series(path, rows=NUMBERS, header="date,a,b,state"):
    text = header + "\n" + "".join(f"d{i}," + ",".join(map(str, row)) + "\n" for i, row in enumerate(rows))
    return write(path, text)


def test_windows_futures_and_labels(tmp_path):
    source = SeriesSource(series(tmp_path / "s.csv.gz"), length=5, horizon=2, stride=3, labels=["state"])
    assert source.columns == ("window", "future", "state") and source.column_names() == ["a", "b"]
    (train,) = source.chunks("train")
    window, future, state = train.columns.values()
    assert window.shape == (22, 5, 2) and future.shape == (22, 2, 2) and window.dtype == future.dtype == np.float64
    assert window[1].tolist() == [list(row[:2]) for row in NUMBERS[3:8]]
    assert future[1].tolist() == [list(row[:2]) for row in NUMBERS[8:10]]
    assert future[-1, -1, 0] == 69 and state == ["ab"[int(w[-1, 0] > 40)] for w in window]
    assert train.locations[0] == f"{tmp_path / 's.csv.gz'}:6"
    (dev,), (test,) = source.chunks("dev"), source.chunks("test")
    assert dev.columns["window"][0, 0, 0] == 71 and dev.columns["future"].max(axis=(0, 1))[0] <= 85
    assert test.columns["window"][0, 0, 0] == 86
    whole = SeriesSource(tmp_path / "s.csv.gz", "b, a", length=5)
    assert next(whole.chunks("train")).columns["window"].shape == (67, 5, 2)
    assert next(whole.chunks("train")).columns["window"][0, 0].tolist() == [1000, 0]
    assert source.fingerprint("dev") != whole.fingerprint("dev") != whole.fingerprint("test")


def test_a_description_of_the_training_rows(tmp_path, monkeypatch):
    rows = [(i, 5, "x") for i in range(101)]
    source = SeriesSource(series(tmp_path / "s.csv", rows), length=7, horizon=3, labels=["state"])
    described = source.describe_series("window")
    assert described["names"] == ["a", "b"] and described["shape"] == [7, 2] and described["mean"] == [35, 5]
    assert described["deviation"] == pytest.approx([np.arange(71).std(), 1])  # 1 for a constant
    assert source.describe_series("future")["shape"] == [3, 2] and source.describe_series("state") is None
    stand_in(monkeypatch, "a\tb\n" + "".join(f"{i}\t{i}\n" for i in range(11)))
    piped = SeriesSource("-", "a,b", length=7)
    assert piped.describe_series("window") is None and rows_of(piped, "train")[-1][0][-1].tolist() == [10, 10]


def test_numbers_keep_their_precision(tmp_path):
    path = series(tmp_path / "s.csv", [(1e8 + i, 0, "x") for i in range(31)])
    (chunk,) = SeriesSource(path, ["a"], length=3).chunks("train")
    assert np.ptp(chunk.columns["window"][0]) == 2  # in float32 it would be 0


@pytest.mark.parametrize(
    "rows, options, message",
    [
        ([(1, "x", "s")] * 9, {}, "s.csv:2: column 'b' holds no finite number: 'x'"),
        ([(1, "nan", "s")] * 9, {"columns": ["b"]}, "s.csv:2: column 'b' holds no finite number"),
        ([("y", "x", "s")] * 9, {"columns": None}, "s.csv:2: no column holds numbers; the header has: date, a"),
        ([], {"columns": None}, "a series needs a header and rows below it; got 1 lines"),
        ([(1, 2, "s")] * 9, {"columns": "c"}, "s.csv:1: column 'c' is not in the header"),
        ([(1, 2, " ")] * 9, {"labels": ["state"]}, "s.csv:2: column 'state' is empty"),
        ([(1, 2, "s")] * 9, {}, r"SeriesSource, dev: 2 rows hold no window of 3 rows\. Take a shorter"),
        ([(1, 2, "s")] * 17, {"horizon": 1}, r"dev: 2 rows hold no window of 3 rows and the 1 after them\. Take"),
    ],
)
def test_faults_of_series(tmp_path, rows, options, message):
    source = SeriesSource(series(tmp_path / "s.csv", rows), **{"columns": "a,b", "length": 3, **options})
    with pytest.raises(DataError, match=message):
        everything(source)


def test_bad_rows_are_skipped_weights_and_names_refused(tmp_path):
    path = series(tmp_path / "s.csv", [*NUMBERS[:50], (1, "", "a"), ("inf", 2, "a"), *NUMBERS[50:]])
    (chunk,) = SeriesSource(path, length=5, bad_lines="skip").chunks("train")
    assert chunk.skipped == 2 and len(chunk.columns["window"]) == 67
    with pytest.raises(ValueError, match="SeriesSource: files of series take no weight; got 2.0"):
        SeriesSource(f"{path}@2").check()
    with pytest.raises(ValueError, match="`labels` must be distinct names other than 'window'.*; got .'window'"):
        SeriesSource(path, labels=["window"])
    with pytest.raises(ValueError, match="`horizon` must be an integer of at least 0; got horizon=-1"):
        SeriesSource(path, horizon=-1)


def test_files_that_were_moved_are_divided_as_before(tmp_path, monkeypatch):
    lines = "".join(f"{number}.png\tcaption {number}\n" for number in range(200))
    found = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "captions.tsv").write_text(lines)
        monkeypatch.chdir(tmp_path / name)
        for path in (tmp_path / name / "captions.tsv", "captions.tsv"):
            source = TableSource(path, {"image": 0, "text": 1}, header=False, path_columns=["image"])
            found.append([text for chunk in source.chunks("test") for text in chunk.columns["text"]])
    assert 0 < len(found[0]) < 40 and found == 4 * [found[0]]
