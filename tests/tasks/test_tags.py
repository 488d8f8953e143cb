"""Tags: mixtures whose parts have one, and its special token in front of a text."""

import numpy as np
import pytest

from kerazoo import tasks
from kerazoo._checks import DataError
from kerazoo.data import MemorySource, MixtureSource, TableSource, TaggedSource

ROWS = [(f"one {i}", f"uno {i}", f"eins {i}", f"un {i}") for i in range(7)]


@pytest.fixture
def folder(tmp_path):
    for split, rows in (("train", ROWS), ("dev", ROWS[:3]), ("test", ROWS[:2])):
        lines = [("en", "es", "de", "fr"), *rows]
        (tmp_path / f"{split}.tsv").write_text("".join("\t".join(row) + "\n" for row in lines))
    return tmp_path


def parts(folder):
    return f"{folder}#tag=es;target=es@2,{folder}#tag=de;target=2,{folder}#tag=fr;source=de;target=fr"


def mixture(folder, **options):
    return tasks.create("table", "seq2seq", data_dir=parts(folder), source_column="en", **options)


def test_each_part_has_its_tag_its_columns_and_its_weight(folder):
    task = mixture(folder, source_tokens="words", target_tokens="words", share_vocabulary=True)
    columns = task.columns("train")
    found = sorted(zip(columns["tag"], columns["source"], columns["target"]))
    expected = [("es", en, es) for en, es, de, fr in ROWS for _ in range(2)]
    expected += [("de", en, de) for en, es, de, fr in ROWS] + [("fr", de, fr) for en, es, de, fr in ROWS]
    assert found == sorted(expected)
    assert task.examples("test")[0] == [
        ("es", "one 0"), ("de", "one 0"), ("fr", "eins 0"), ("es", "one 1"), ("de", "one 1"), ("fr", "eins 1")
    ]  # fmt: skip
    assert len(task.load("dev")) == 9 and task.signature == {"tag": ([], "string"), "source": ([], "string")}
    tokenizer = task.tokenizers["source"]
    assert tokenizer.tags == ("de", "es", "fr") and task.sizes()["share_embeddings"]
    assert task.sizes()["source_vocabulary_size"] == tokenizer.vocabulary_size == 4 + len(tokenizer.vocabulary) + 3


def test_the_token_of_a_tag_is_in_no_text(folder):
    task = mixture(folder, source_tokens="words", target_tokens="words", share_vocabulary=True)
    tokenizer = task.tokenizers["source"]
    encoded = task.encode([("de", "one 1"), ("es", "de <de> 1")])["source"]
    first = tokenizer.vocabulary_size - 3
    assert encoded[:, 0].tolist() == [first, first + 1] and (encoded[:, 1:] < first).all()
    corpus = task.load("test")
    for row, raw in enumerate(task.examples("test")[0]):
        assert corpus.features["source"][row].tolist() == task.encode([raw])["source"][0].tolist()
    assert task.decode([encoded[0]]) == ["one 1"]


def test_a_saved_task_has_its_tags_and_columns(folder, tmp_path):
    task = mixture(folder, source_tokens="characters")
    task.save(tmp_path / "saved")
    for name in ("train", "dev", "test"):  # the columns change their places; those given by number have a name by now
        lines = [line.split("\t") for line in (folder / f"{name}.tsv").read_text().splitlines()]
        (folder / f"{name}.tsv").write_text("".join("\t".join(line[::-1]) + "\n" for line in lines))
    restored = tasks.restore(tmp_path / "saved")
    raw = [("fr", "eins 1"), ("es", "one")]
    assert restored.hash == task.hash and restored.columns("train") == task.columns("train")
    np.testing.assert_array_equal(restored.encode(raw)["source"], task.encode(raw)["source"])


def test_a_column_of_tags(tmp_path):
    (tmp_path / "train.tsv").write_text("up\tab\tAB\ntwice\tab\tabab\n")
    (tmp_path / "dev.tsv").write_text("up\tba\tBA\ndown\tBA\tba\n")
    options = {"data_dir": tmp_path, "inputs": "tag:0,text:1", "targets": "text:2"}
    with pytest.raises(DataError, match=r"dev.tsv:2: no tag 'down'; the training data has: twice, up."):
        tasks.create("table", "seq2seq", **options).load("dev")
    task = tasks.create("table", "seq2seq", bad_lines="skip", **options)
    assert task.tokenizers["source"].tags == ("twice", "up") and task.read(["up\tba"]) == [("up", "ba")]
    assert len(task.load("dev")) == 1 and task.load("dev").notes["skipped"] == 1
    assert task.encode([("up", "b")])["source"].shape == (1, 2)
    assert list(task.signature) == ["column_0", "column_1"]
    with pytest.raises(ValueError, match=r"task table: no tag 'upp'; .*Did you mean 'up'"):
        task.encode([("upp", "b")])


def test_pairs_of_files(tmp_path):
    for split in ("train", "dev", "test"):
        for language in ("en", "de", "fr"):
            (tmp_path / f"{split}.{language}").write_text(f"{language} {split}\n")
    data_dir = f"{tmp_path}#tag=to de;target=de,{tmp_path}#tag=to en;source=fr;target=en"
    task = tasks.create("parallel", data_dir=data_dir, source_language="en", target_language="es")
    assert task.examples("dev") == ([("to de", "en dev"), ("to en", "fr dev")], [["de dev"], ["en dev"]])


@pytest.mark.parametrize("truncate, expected", [("end", "abcdef"), ("start", "defgh|xy")])
def test_a_long_input_loses_its_end_or_its_start_and_never_its_tag(truncate, expected):
    data = {"tag": ["t", "u"], "a": ["abcdefgh", "a"], "b": ["xy", "y"], "c": ["x", "y"]}
    source = MemorySource({"train": data})
    length = 7 if truncate == "end" else 9
    feature = tasks.TextFeature("tag", "a", "b", tags=1, truncate=truncate, max_length=length)
    task = tasks.Task(source, (feature,), tasks.TextFeature("c"))
    stored, raw = task.load("train").features["source"], list(zip(data["tag"], data["a"], data["b"]))
    encoded = task.encode(raw)["source"]
    tokenizer = feature.tokenizer
    for row in range(2):
        assert encoded[row][encoded[row] != 0].tolist() == stored[row].tolist()
        assert stored[row][0] == tokenizer.tag_ids([data["tag"][row]]).numpy()[0]
    names = {id: letter for letter in "abcdefghxy" for id in tokenizer.tokenize([letter]).to_list()[0]}
    names[tokenizer.end_id] = "|"
    assert "".join(names[id] for id in stored[0][1:].tolist()) == expected
    assert task.load("train").notes == {"clipped": 1} and task.count_cut(raw, {"source": encoded}) == 1


def test_a_long_input_without_tags_loses_its_start():
    source = MemorySource({"train": {"a": ["abcdefgh", "a"], "c": ["x", "y"]}})
    feature = tasks.TextFeature("a", truncate="start", max_length=3)
    task = tasks.Task(source, (feature,), tasks.TextFeature("c"))
    stored = task.load("train").features["source"]
    assert (
        feature.decode(task.encode(["abcdefgh", "a"])["source"])
        == feature.decode([stored[0], stored[1]])
        == ["fgh", "a"]
    )


@pytest.mark.parametrize(
    "data_dir, message",
    [
        ("{0}#tag=de,{0}", "all parts of `data_dir` must have a tag or none; got '{0}' without one"),
        ("{0}#tga=de", "Unknown option of a part of `data_dir` of task table: 'tga'.*tag, source, target"),
        ("{0}#tag=", "PATH#NAME=VALUE;NAME=VALUE@WEIGHT, each name once; got '{0}#tag='"),
        ("{0}#tag=a;tag=b", "each name once"),
        ("{0}#tag=a;target=-1", "target|column"),
    ],
)
def test_faults_of_parts_are_named(folder, data_dir, message):
    with pytest.raises((ValueError, DataError), match=message.format(folder)):
        tasks.create("table", data_dir=data_dir.format(folder)).load("train")


def test_faults_of_tags_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"Leave dev_data and test_data out"):
        mixture(folder, dev_data=folder / "dev.tsv")
    for inputs in ("tag:en", "tag,text:en", "text:en,tag", "tag:en,number:es", "text:en,tag:es"):
        with pytest.raises(ValueError, match=r"a tag must name its column and stand before a text"):
            tasks.create("table", data_dir=folder, inputs=inputs, targets="text:de")
    with pytest.raises(ValueError, match=r"a tag stands before a text; got no input"):
        tasks.create("table", "language_model", data_dir=f"{folder}#tag=de")
    with pytest.raises(ValueError, match=r"`tags` must leave a column of text"):
        tasks.TextFeature("a", tags=1)
    rows = "".join(f"{i}\tx\ty\n" for i in range(1301))
    (tmp_path / "many.tsv").write_text(rows)
    many = tasks.create("table", data_dir=tmp_path / "many.tsv", inputs="tag:0,text:1", targets="text:2",
                        bad_lines="skip")  # fmt: skip
    with pytest.raises(DataError, match=r"the tags in the column 0 must be at most 1,000 different ones"):
        many.fit()
    with pytest.raises(ValueError, match="without a column 'tag'"):
        TaggedSource(MemorySource({"train": {"tag": ["a"]}}), "b")


def test_a_path_with_the_mark_is_a_path(tmp_path):
    (tmp_path / "a#tag=b.tsv").write_text("x\ty\n" * 3)
    task = tasks.create("table", data_dir=tmp_path / "a#tag=b.tsv")
    assert task.source.columns == ("source", "target")
    tagged = tasks.create("table", data_dir=f"{tmp_path}/a#tag=b.tsv#tag=c")
    assert next(tagged.chunks("train")).columns["tag"][0] == "c"


def test_a_mixture_knows_the_columns_of_its_sources(folder):
    made = MixtureSource([TableSource(folder, {"a": "en"}), TableSource(folder, {"a": 2})], [1, 1])
    assert made.resolved_columns() == [["en"], ["de"]]
    other = MixtureSource([TableSource(folder, {"a": 0}), TableSource(folder, {"a": 3})], [1, 1])
    other.use_columns([["en"], ["de"]])
    assert [chunk.columns for chunk in other.chunks("dev")] == [chunk.columns for chunk in made.chunks("dev")]


def test_each_part_is_measured_by_itself(folder, tmp_path):
    task = mixture(folder)
    raw, references, values = task.examples_by(["tag"], "test")
    assert [tag for (tag,) in values["tag"]] == [tag for tag, _ in raw] == ["es", "de", "fr"] * 2
    assert references[:3] == [["uno 0"], ["eins 0"], ["un 0"]]
    assert task.examples_by(["fr"], "test", limit=2)[2]["fr"] == [["un 0"], ["un 1"]]
    (tmp_path / "other.tsv").write_text("de\tone\teins\nes\tone\tuno\n")
    other = task.with_test_data(tmp_path / "other.tsv")
    assert other.examples("test") == ([("de", "one"), ("es", "one")], [["eins"], ["uno"]])
