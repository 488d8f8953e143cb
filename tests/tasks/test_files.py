"""The user's own files: formats, pairs of files, long texts, mixtures, and what is kept of them."""

import dataclasses
import gzip
import json
import os

import numpy as np
import pytest

from kerazoo import tasks
from kerazoo._checks import DataError
from kerazoo.data import TableSource, file_source, lines
from kerazoo.tasks import task as task_module
from kerazoo.tasks import text_feature

ROWS = [(f"wort {i % 7} {i}", f"{i} mots") for i in range(97)]


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def rows_of(task, split):
    columns = task.columns(split)
    return list(zip(columns["source"], columns["target"]))


@pytest.mark.parametrize(
    "name, text, options",
    [
        ("a.csv.gz", "".join(f'"{a}",x,{b}\n' for a, b in ROWS), {"target_column": 2}),
        ("a.csv", "de,fr\n" + "".join(f"{a},{b}\n" for a, b in ROWS), {"source_column": "de", "target_column": "fr"}),
        ("a.data", "".join(f"{a}\t{b}\n" for a, b in ROWS), {"format": "tsv"}),
        (
            "a.jsonl",
            "".join(json.dumps({"t": {"de": a, "fr": b}}) + "\n" for a, b in ROWS),
            {"source_column": "t.de", "target_column": "t.fr"},
        ),
        (
            "a.tsv",
            "".join("\t".join([*a.split(), b]) + "\n" for a, b in ROWS),
            {"source_column": "0,1,2", "target_column": "3"},
        ),
    ],
)
def test_every_format_gives_the_same_examples(tmp_path, name, text, options):
    task = tasks.create("table", data_dir=write(tmp_path / name, text), **options)
    assert sorted(rows_of(task, "train") + rows_of(task, "dev") + rows_of(task, "test")) == sorted(ROWS)
    assert len(task.load("train")) == len(rows_of(task, "train")) > 70


def test_a_name_that_tells_no_format_is_refused(tmp_path):
    task = tasks.create("table", data_dir=write(tmp_path / "a.data", "a\tb\n"))
    with pytest.raises(DataError, match="a.data: which format is it"):
        task.columns("train")
    with pytest.raises(ValueError, match="`format` must be one of 'tsv', 'csv', 'jsonl', 'txt'; got format='xls'"):
        tasks.create("table", data_dir=tmp_path, format="xls")
    with pytest.raises(ValueError, match="`source_column` must be a number, a name or several of them; got 'a,'"):
        tasks.create("table", data_dir=tmp_path, source_column="a,")


def test_mixtures_count_each_line_as_often_as_they_say(tmp_path):
    one = write(tmp_path / "one.tsv", "".join(f"one {i}\t{i}\n" for i in range(61)))
    two = write(tmp_path / "two.tsv", "".join(f"two {i}\t{i}\n" for i in range(601)))
    dev = write(tmp_path / "held.tsv", "held\tout\n")
    task = tasks.create("table", data_dir=f"{one}@3,{two}@.5", dev_data=dev, test_data=str(dev))
    train = rows_of(task, "train")
    counts = {source: train.count((source, target)) for source, target in set(train)}
    assert {counts[source] for source in counts if source.startswith("one")} == {3}
    of_two = [counts[source] for source in counts if source.startswith("two")]
    assert set(of_two) == {1} and 240 < len(of_two) < 360
    assert len({source[:3] for source, _ in train[:2]}) == 2  # taken in turn
    assert rows_of(task, "dev") == rows_of(task, "test") == [("held", "out")]
    assert train == rows_of(tasks.create("table", data_dir=f"{one}@3,{two}@.5", dev_data=dev, test_data=dev), "train")
    plain = tasks.create("table", data_dir=f"{one},{two}")
    assert sum(len(rows_of(plain, split)) for split in ("train", "dev", "test")) == 662


def test_pairs_of_files(tmp_path):
    write(tmp_path / "train.de", "".join(f"{a}\n" for a, _ in ROWS))
    write(tmp_path / "train.fr.gz", "".join(f"{b}\n" for _, b in ROWS))
    write(tmp_path / "dev.de", "hallo\r\n")
    write(tmp_path / "dev.fr", "\ufeffsalut")
    options = {"source_language": "de", "target_language": "fr"}
    task = tasks.create("parallel", data_dir=tmp_path, **options)
    assert rows_of(task, "dev") == [("hallo", "salut")]
    assert sorted(rows_of(task, "train") + rows_of(task, "test")) == sorted(ROWS)
    write(tmp_path / "dev.fr", "salut\n\nbonjour\n")
    with pytest.raises(DataError, match=r"dev.de:1: ends here, but .*dev.fr goes on: lines must come in pairs"):
        tasks.create("parallel", data_dir=tmp_path, **options).columns("dev")
    write(tmp_path / "dev.de", "hallo\nleer\nguten tag\n")
    with pytest.raises(DataError, match=r"dev.fr:2: is empty, but must go with a line of the other file"):
        tasks.create("parallel", data_dir=tmp_path, **options).columns("dev")
    skipping = tasks.create("parallel", data_dir=tmp_path, bad_lines="skip", **options)
    assert rows_of(skipping, "dev") == [("hallo", "salut"), ("guten tag", "bonjour")]
    assert skipping.load("dev").notes == {"clipped": 0, "skipped": 1}
    with pytest.raises(DataError, match="dev.xx: no such file"):
        tasks.create("parallel", data_dir=tmp_path, source_language="de", target_language="xx").columns("dev")
    with pytest.raises(ValueError, match="needs `target_language`, what .* Say target_language=en"):
        tasks.create("parallel", data_dir=tmp_path, source_language="de")


def test_a_long_text_is_divided_by_place(tmp_path):
    text = "".join(f"line {i} of a long text\r\n" for i in range(200)) + "the end"
    for name in ("a.txt", "a.txt.gz"):
        path = write(tmp_path / name, "\ufeff" + text)
        task = tasks.create("text", data_dir=path, target_tokens="bytes", length=31)
        parts = [task.columns(split)["text"][0] for split in ("train", "dev", "test")]
        assert "".join(parts) == text.replace("\r\n", "\n") and all(part.startswith("line") for part in parts)
        assert 0.88 < len(parts[0]) / len(text.replace("\r", "")) < 0.92
        ids = task.load("dev").features["targets"].values
        assert bytes((np.array(ids[:-1]) - 4).tolist()).decode() == parts[1]
        assert ids[-1] == task.targets.tokenizer.end_id


def test_blocks_of_a_long_text_are_one_text(tmp_path, monkeypatch):
    write(tmp_path / "train.txt", "one two\nthree\nfour\n\nfive\n" * 5)
    write(tmp_path / "test.txt", "two\n\0\nthree")
    whole = tasks.create("text", data_dir=tmp_path, length=7, bad_lines="skip").load("train")
    monkeypatch.setattr(lines, "BLOCK", 3)
    task = tasks.create("text", data_dir=tmp_path, length=7, bad_lines="skip")
    assert [row.tolist() for row in task.load("train").features["targets"]] == [
        row.tolist() for row in whole.features["targets"]
    ]
    assert task.columns("test")["text"] == ["two\nthree"] and task.load("test").notes == {"skipped": 1}
    with pytest.raises(DataError, match=r"test.txt:2: holds a NUL byte at position 1"):
        tasks.create("text", data_dir=tmp_path).columns("test")
    with pytest.raises(ValueError, match="the weight of a text must be a whole number; got 0.5"):
        tasks.create("text", data_dir=f"{tmp_path}@0.5").columns("train")
    twice = tasks.create("text", data_dir=f"{tmp_path}@2").columns("train")["text"]
    assert len(twice) == 2 and twice[0] == twice[1]


def test_what_is_prepared_is_kept_until_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAZOO_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "train.tsv", "".join(f"{a}\t{b}\n" for a, b in ROWS))
    first = tasks.create("table", data_dir=path)
    corpora = {split: first.load(split) for split in ("train", "dev", "test")}
    entries = len(list((tmp_path / "cache").glob("*.lock")))
    assert entries == 4  # three splits, and the vocabulary
    monkeypatch.setattr(TableSource, "chunks", lambda self, split: pytest.fail("must not be read again"))
    again = tasks.create("table", data_dir=path)
    assert again.hash == first.hash
    for split, corpus in corpora.items():
        kept = again.load(split).features["targets"]
        assert isinstance(kept.values, np.memmap) and np.array_equal(kept.values, corpus.features["targets"].values)
    monkeypatch.undo()
    monkeypatch.setenv("KERAZOO_CACHE", str(tmp_path / "cache"))
    write(path, "".join(f"{a}\t{b.upper()}\n" for a, b in ROWS))
    os.utime(path, ns=(5, 5))
    assert tasks.create("table", data_dir=path).hash != first.hash
    other = tasks.create("table", data_dir=path, target_tokens="bytes")
    assert len(other.load("dev")) == len(corpora["dev"])


def test_a_bounded_sample_is_taken_at_even_distances():
    sample = text_feature.Sample(400)
    for first in range(0, 3000, 100):
        sample.add([f"{i:04d}" for i in range(first, first + 100)])
    kept = [int(text) for text in sample.strings]
    assert 50 <= len(kept) <= 100 and len({b - a for a, b in zip(kept, kept[1:])}) == 1 and kept[0] == 0
    whole = text_feature.Sample(400)
    whole.add(["ab", "c"])
    assert whole.strings == ["ab", "c"]


def test_chunks_of_any_size_are_the_same_examples(tmp_path, monkeypatch):
    path = write(tmp_path / "train.tsv", "".join(f"{a}\t{b}\n" for a, b in ROWS))
    whole = tasks.create("table", data_dir=path)
    expected = whole.columns("train")
    monkeypatch.setattr(lines, "BLOCK", 99)
    small = tasks.create("table", data_dir=path)
    assert len(list(small.chunks("train"))) > 10 and small.columns("train") == expected
    assert small.hash == whole.hash
    assert np.array_equal(small.load("train").features["source"].values, whole.load("train").features["source"].values)


def test_a_streamed_task_learns_from_the_first_examples_and_reads_the_rest_once(tmp_path, monkeypatch):
    path = write(tmp_path / "train.tsv", "".join(f"{a}\t{b}\n" for a, b in ROWS))
    dev = write(tmp_path / "held.tsv", "wort 1 1\t1 mots\n")
    options = {"data_dir": path, "dev_data": dev, "test_data": dev, "max_length": 31}
    examples = len(tasks.create("table", **options).load("train"))
    monkeypatch.setattr(lines, "BLOCK", 99)
    monkeypatch.setattr(task_module, "SAMPLE_SIZE", 300)
    passes = []
    monkeypatch.setattr(file_source.SingleRead, "check", lambda self, split, paths: passes.append(split))
    task = dataclasses.replace(tasks.create("table", **options), streamed=True)
    assert task.sizes()["max_length"] == 31
    stream = task.load("train")
    assert [row.tolist() for corpus, _ in stream.corpora() for row in corpus.features["source"]] != []
    assert passes == ["train"]
    assert sum(len(corpus) for corpus, _ in stream.corpora()) == examples
    assert len(task.load("dev")) == 1 and passes == ["train", "train", "dev"]
    write(path, "".join(f"{a}\tclass {int(b.split()[0]) % 2}\n" for a, b in ROWS))
    write(dev, "wort 1 1\tclass 1\n")
    for kind, name in (("classifier", "table"), ("language_model", "table"), ("language_model", "text")):
        task = dataclasses.replace(tasks.create(name, kind, data_dir=path, dev_data=dev, test_data=dev), streamed=True)
        assert task.sizes() and sum(len(corpus) for corpus, _ in task.load("train").corpora()) > 1


def test_what_is_read_once_is_not_kept():
    for name in ("table", "text"):
        assert tasks.create(name, data_dir="-").source.fingerprint("train") is None
