import collections

import numpy as np
import pytest

from kerazoo import tasks
from kerazoo._checks import DataError

PAIRS = [(f"wort {i % 7} {i}", f"{i} mots") for i in range(97)]


@pytest.fixture
def folder(tmp_path):
    def write(name, lines):
        (tmp_path / name).write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")

    write("train.tsv", PAIRS)
    write("dev.tsv", [("wort 3 1000", "neu mots")])
    return tmp_path


def test_pairs_of_words_and_characters(folder):
    task = tasks.create("tsv", data_dir=folder, source_tokens="words", target_tokens="characters")
    assert task.kind == "seq2seq"
    assert task.examples("dev") == (["wort 3 1000"], [["neu mots"]])
    assert task.tokenizers["source"].tokenize(["wort 3 1000"]).to_list()[0][-1] == 3
    assert task.tokenizers["source"].case == "lower"  # all training sources are: capitals mean small letters
    train, test = task.load("train"), task.load("test")
    assert len(train) + len(test) == 97 and 1 <= len(test) <= 15  # there is no test file
    assert len(train.lengths("source")) == len(train)
    assert task.monitor == ("val_token_accuracy", "max")


def test_one_file_is_split_by_source(folder):
    task = tasks.create("tsv", data_dir=folder / "train.tsv")
    sources = [set(task.examples(split)[0]) for split in ("train", "dev", "test")]
    assert sum(map(len, sources)) == 97 and all(sources)


def test_columns_limits_and_shared_vocabulary(folder):
    task = tasks.create(
        "tsv", data_dir=folder, source_column=1, target_column=0, max_length=5, source_vocabulary=9, target_vocabulary=7
    )
    assert task.examples("dev") == (["neu mots"], [["wort 3 1000"]])
    assert task.sizes()["source_vocabulary_size"] == 9 and task.sizes()["target_vocabulary_size"] == 7
    assert task.load("dev").notes == {"clipped": 1} and task.max_length == 5
    shared = tasks.create("tsv", data_dir=folder, share_vocabulary=True)
    assert shared.tokenizers["source"].hash == shared.tokenizers["target"].hash


def test_text_to_class(folder, tmp_path):
    task = tasks.create("tsv", "classifier", data_dir=folder, source_column=1, target_column=0, source_tokens="words")
    with pytest.raises(DataError, match="task tsv, dev: the classes of all 1 examples are not in the training data"):
        task.load("dev")
    many = [(f"some text {i}", "good" if i % 2 else "bad") for i in range(97)]
    (folder / "train.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in many))
    (folder / "dev.tsv").write_text("other text\tgood\n")
    task = tasks.create("tsv", "classifier", data_dir=folder, source_tokens="words", max_length=2)
    assert task.sizes()["num_classes"] == 2 and task.sizes()["max_length"] == 2
    assert task.load("dev").features["targets"].tolist() == [1]
    assert task.load("train").notes["clipped"] == len(task.load("train"))
    inputs, labels, weights = task.batch(*task.load("dev").batch([0, -1]))
    assert inputs["source"].shape == (2, 2) and np.asarray(labels).tolist() == [1, 1]
    assert np.asarray(weights).tolist() == [1, 0]
    logits = np.array([[0.1, 3.0], [2.0, -1.0]], np.float32)
    assert task.decode(logits) == ["good", "bad"]
    assert [name.decode() for name in task.decode_in_graph(logits)["label"].numpy()] == ["good", "bad"]
    assert task.examples("dev") == (["other text"], [["good"]])
    assert task.evaluate(["good"], [["good"]]) == {"accuracy": 1, "f1": 1}
    assert float(task.loss()(labels, logits, sample_weight=weights)) == pytest.approx(0.0536, abs=1e-3)
    assert [metric.name for metric in task.metrics()] == ["accuracy", "f1"]
    task.save(tmp_path / "saved")
    again = tasks.restore(tmp_path / "saved")
    assert again.sizes() == task.sizes() and again.decode(logits) == ["good", "bad"]
    assert np.array_equal(again.encode(["some text 5"])["source"], task.encode(["some text 5"])["source"])


def test_lines_as_texts(folder):
    task = tasks.create("tsv", "language_model", data_dir=folder, source_column=1, length=5)
    assert task.columns("dev") == {"source": ["neu mots"]}
    assert task.load("dev").lengths("targets").tolist() == [5, 4]


def test_a_restored_table_may_have_moved(folder, tmp_path):
    task = tasks.create("tsv", data_dir=folder)
    task.save(tmp_path / "saved")
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in folder.glob("*.tsv"):
        path.rename(moved / path.name)
    with pytest.raises(DataError, match="no train.tsv or train.tsv.gz"):
        tasks.restore(tmp_path / "saved").load("dev")
    assert len(tasks.restore(tmp_path / "saved", data_dir=moved).load("dev")) == 1


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({}, ValueError, "task tsv: needs `data_dir`, a folder with train.tsv or a file; got data_dir=None"),
        ({"data_dir": "nowhere"}, DataError, "nowhere: no such file or folder"),
        ({"source_tokens": "word"}, ValueError, "`source_tokens` must be one of .*source_tokens='word'"),
        ({"source_column": -1}, ValueError, "`source_column` must be an integer of at least 0; got source_column=-1"),
        ({"max_length": 0}, ValueError, "`max_length` must be an integer above 0; got max_length=0"),
        ({"target_vocabulary": 0}, ValueError, "`target_vocabulary` must be an integer above 0"),
        ({"bad_lines": "no"}, ValueError, "`bad_lines` must be one of 'stop', 'skip'; got bad_lines='no'"),
        (
            {"share_vocabulary": True, "source_tokens": "words"},
            ValueError,
            "needs the same tokens on both sides; got source_tokens='words', target_tokens='characters'",
        ),
    ],
)
def test_refusals(folder, options, error, message):
    held = {} if not options else {"data_dir": folder}
    with pytest.raises(error, match=message):
        tasks.create("tsv", **{**held, **options})


def test_faults_of_a_file_come_when_it_is_read(folder):
    (folder / "dev.tsv").write_text("a\tb\nHallo Welt\n")
    task = tasks.create("tsv", data_dir=folder)
    with pytest.raises(DataError, match=r"dev.tsv:2: expected 2 columns separated by a tab, got 1: 'Hallo Welt'"):
        task.sizes()
    skipping = tasks.create("tsv", data_dir=folder, bad_lines="skip")
    assert len(skipping.load("dev")) == 1


def test_real_tables(shared_data):
    task = tasks.create("tsv", data_dir=shared_data / "cmudict_g2p", target_tokens="words")
    assert len(task.examples("test")[0]) == 12000 and len(task.examples("dev")[0]) == 2670
    assert task.sizes()["target_vocabulary_size"] == 43
    assert 3 not in task.encode(["kerazoo"])["source"]


def test_a_limit_takes_every_class_of_sorted_data(tmp_path):
    rows = [(f"text {i}", "abc"[i // 40]) for i in range(120)]
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    for targets in ("label:1", "text:1"):  # from the stored labels, and from the raw texts
        task = tasks.create("table", data_dir=tmp_path, inputs="text:0", targets=targets, kind=None)
        _, references = task.examples("dev", limit=12)
        assert collections.Counter(accepted[0] for accepted in references) == {"a": 4, "b": 4, "c": 4}


@pytest.mark.parametrize(
    "name, lines, classes",
    [
        ("train.csv", ["a,pos", "b,pos ", "c, neg", "d,neg\u00a0", "e,\u3000pos"], ["neg", "pos"]),
        (
            "train.jsonl",
            [f'{{"t": "a", "y": {label}}}' for label in ("1", "1.0", '"1"', "-2.0", "1.5", '"-2 "')],
            ["-2", "1", "1.5"],
        ),
        ("train.csv", ["a,1.0", "b,2.0", "c,10.0", "d,1"], ["1", "2", "10"]),
        ("train.csv", ["a,1.10", "b,1.1", "c,v1.0", "d,1."], ["1.", "1.1", "1.10", "v1.0"]),
    ],
)
def test_one_class_has_one_name(tmp_path, name, lines, classes):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    for split in ("dev", "test"):
        path.with_name(path.name.replace("train", split)).write_text(lines[1] + "\n")
    text, label = ("t", "y") if name.endswith("jsonl") else (0, 1)
    task = tasks.create("table", "classifier", data_dir=tmp_path, inputs=f"text:{text}", targets=f"label:{label}")
    assert task.fit().targets.names == classes
    predicted = task.targets.decode(np.eye(len(classes))[task.load("dev").features["targets"]])
    assert task.evaluate(predicted, task.examples("dev")[1])["accuracy"] == 1


def test_the_summary_has_classes_with_their_counts_and_lengths_of_texts(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "".join(f"{'so ' * (i % 3)}fine,{'ab'[i % 4 == 0]}\n" for i in range(40)))
    task = tasks.create("table", "classifier", data_dir=path, source_tokens="words")
    task.source.fractions = {}
    texts = "source: texts of 1 ('fine') to 3 ('so so fine') tokens"
    assert task.summary(task.load("train")) == f"{texts}; targets: 2 classes: a 30, b 10"


def test_a_header_that_is_recognised_names_the_columns_of_all_files(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"film {i},{'ab'[i % 2]}\n" for i in range(20)))
    (tmp_path / "dev.csv").write_text("label,id,text\nb,7,film 1\na,8,film 2\n")
    task = tasks.create("table", "classifier", data_dir=tmp_path)
    assert task.examples("dev") == (["film 1", "film 2"], [["b"], ["a"]]) and task.targets.names == ["a", "b"]
    (tmp_path / "dev.csv").write_text("film 1,b\n")
    with pytest.raises(DataError, match="column 'text' is not in the header; it has: film 1, b"):
        tasks.create("table", "classifier", data_dir=tmp_path).load("dev")


def test_features_without_columns_are_refused(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    message = "task table: `inputs` and `targets` must name the column of each feature, as text:COLUMN; got inputs="
    with pytest.raises(ValueError, match=message):
        tasks.create("table", data_dir=tmp_path, inputs="text", targets="label:label")
