"""Every real data set loads by one flag and its columns; what is counted stands in the data's own description."""

import pytest

from kerazoo import data, tasks

WORDS = {"source_tokens": "words", "target_tokens": "words", "max_length": 64}
TEXT = {"target_tokens": "characters", "length": 61}


@pytest.mark.parametrize(
    "name, kind, folder, options, dev, least",
    [
        ("table", "seq2seq", "multi30k", {"source_column": 0, "target_column": 1, **WORDS}, 1014, 0.5),
        ("table", "seq2seq", "debian_ddtp/en-de", WORDS, 954, 0.3),
        ("table", "seq2seq", "bible_en_es", {"source_column": "1", "target_column": "2", **WORDS}, 1001, 0.5),
        ("tsv", "seq2seq", "debian_summ", WORDS, 1000, 0.5),
        ("table", "classifier", "babi", {"source_column": "2,3", "target_column": 4, **WORDS}, 20002, 0.4),
        ("table", "seq2seq", "cmudict_g2p", {**WORDS, "source_tokens": "characters"}, 2832, 0.5),
    ],
)
def test_tables(shared_data, name, kind, folder, options, dev, least):
    task = tasks.create(name, kind, data_dir=shared_data / folder, **options)
    assert len(task.columns("dev")["source"]) == dev
    chunk = next(task.chunks("train"))
    assert len(chunk.columns["source"]) > 2000 and 0 < chunk.progress <= 1
    small = tasks.create(name, kind, data_dir=shared_data / folder / "dev.tsv.gz", **options)
    corpora = {split: small.load(split) for split in ("train", "dev", "test")}
    assert sum(map(len, corpora.values())) == dev
    assert data.Plan.of(corpora["train"], batch_size=16).valid_fraction > least


def test_columns_of_a_table_become_other_formats(shared_data, tmp_path):
    import csv
    import json

    rows = [values for _, values in data.read_records(shared_data / "multi30k" / "dev.tsv.gz", [0, 1])][:300]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([("en", "de"), *rows])
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": {"en": a, "de": b}}) + "\n" for a, b in rows))
    (tmp_path / "a.en").write_text("".join(a + "\n" for a, _ in rows))
    (tmp_path / "a.de").write_text("".join(b + "\n" for _, b in rows))
    made = [
        tasks.create("table", data_dir=tmp_path / "a.csv", source_column="en", target_column="de"),
        tasks.create("table", data_dir=tmp_path / "a.jsonl", source_column="text.en", target_column="text.de"),
        tasks.create("parallel", data_dir=tmp_path / "a.en", source_language="en", target_language="de"),
    ]
    first, *others = [[task.columns(split) for split in ("train", "dev", "test")] for task in made]
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    "file, columns, rows",
    [
        ("ETTh1.csv.gz", 7, 17420),
        ("airline-passengers.csv", 1, 144),
        ("daily-min-temperatures.csv", 1, 3650),
        ("monthly-robberies.csv", 1, 118),
        ("monthly-sunspots.csv", 1, 2820),
        ("shampoo.csv", 1, 36),
    ],
)
def test_series(shared_data, file, columns, rows):
    task = tasks.create("series", data_dir=shared_data / "timeseries" / file, length=5)
    corpora = [task.load(split) for split in ("train", "dev", "test")]
    assert corpora[0].features["source"].shape[1:] == (5, columns)
    assert sum(len(corpus) + 4 for corpus in corpora) == rows


def test_prepared_text(shared_data):
    task = tasks.create("tfds:tiny_shakespeare", data_dir=shared_data / "tfds", kind="language_model", **TEXT)
    assert data.Plan.of(task.load("dev"), batch_size=16).valid_fraction > 0.97
