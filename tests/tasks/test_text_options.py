"""The options of tokens from end to end: subwords, dropout, folding, vocabularies that are told apart."""

import numpy as np
import pytest

import kerazoo as kz
from kerazoo import tasks
from kerazoo._checks import CheckpointError, DataError
from kerazoo.tasks.subword_dropout import fitted

SENTENCES = [
    ("The black cat sits there", "Die schwarze Katze sitzt dort"),
    ("The black dog sits there", "Der schwarze Hund sitzt dort"),
    ("A white cat sits here", "Eine weiße Katze sitzt hier"),
    ("A white dog ﬁnds here", "Ein weißer Hund ﬁndet hier"),
]


@pytest.fixture
def folder(tmp_path):
    rows = [f"{source} {n}\t{target} {n}\n" for n in range(7) for source, target in SENTENCES]
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    return tmp_path


def make(folder, kind="seq2seq", tokens="subwords", **options):
    named = {"source_tokens": tokens, "target_tokens": tokens, "vocabulary_size": 307, **options}
    return tasks.create("tsv", kind, data_dir=folder, **named)


def rows(task, corpus, name, role):
    feature = corpus.features[name]
    texts = {"source": task.inputs[0], "target": task.targets}[role]
    return texts.decode([feature[row] for row in range(len(feature))])


def test_subwords_of_two_vocabularies_and_of_one(folder):
    task = make(folder)
    sizes = task.sizes()
    assert 260 < sizes["source_vocabulary_size"] <= 307 and 260 < sizes["target_vocabulary_size"] <= 307
    assert not sizes["share_embeddings"]
    assert rows(task, task.load("dev"), "targets", "target") == [target for target in task.columns("dev")["target"]]
    one = make(folder, share_vocabulary=True)
    assert one.sizes()["share_embeddings"]
    assert one.tokenizers["source"].hash == one.tokenizers["target"].hash
    one.save(folder / "task")
    assert tasks.restore(folder / "task").hash == one.hash


def test_each_side_has_its_own_size_where_it_is_given(folder):
    sizes = make(folder, source_vocabulary=293, target_tokens="words", vocabulary_size=11).sizes()
    assert (sizes["source_vocabulary_size"], sizes["target_vocabulary_size"]) == (293, 11)


def test_folding_is_kept_with_the_vocabulary_and_in_the_references(folder):
    task = make(folder, case="lower", normalization="nfkc")
    sources, references = task.examples("dev")
    assert sources[3] == "A white dog ﬁnds here 0" and references[3] == ["ein weißer hund findet hier 0"]
    assert rows(task, task.load("dev"), "source", "source")[3] == "a white dog finds here 0"
    task.save(folder / "task")
    again = tasks.restore(folder / "task").tokenizers["source"]
    assert (again.case, again.normalization) == ("lower", "nfkc")
    kept = make(folder, tokens="characters", case="keep").tokenizers["source"]
    assert (kept.case, kept.normalization) == (None, None)


def test_stop_words_of_a_file_are_left_out_of_inputs_and_saved_with_the_task(folder):
    (folder / "stop.txt").write_text("the\na there\n", encoding="utf-8")
    options = {"tokens": "words", "vocabulary_size": None, "case": "lower", "stop_words": folder / "stop.txt"}
    task = make(folder, **options)
    assert rows(task, task.load("dev"), "source", "source")[:2] == ["black cat sits 0", "black dog sits 0"]
    assert "die" in task.tokenizers["target"].vocabulary
    task.save(folder / "task")
    (folder / "stop.txt").unlink()
    assert tasks.restore(folder / "task").tokenizers["source"].stop_words == ["a", "the", "there"]
    assert make(folder, **{**options, "stop_words": ["the", "a", "there"]}).hash == task.hash
    with pytest.raises(DataError, match="stop.txt: cannot be read as stop words: .*No such file"):
        make(folder, **options)
    with pytest.raises(ValueError, match=r"`stop_words` needs input texts of words .*\['the'\], source_tokens='subw"):
        make(folder, stop_words=["the"])


@pytest.mark.parametrize("kind", ["seq2seq", "classifier"])
def test_every_epoch_cuts_the_same_text_in_another_way(folder, kind):
    task = make(folder, kind, subword_dropout=0.3)
    plain, resampled, again = task.load("train"), task.resampled(5), task.resampled(5)
    first, second = resampled.epoch(0), resampled.epoch(1)
    for name, role in (("source", "source"), ("targets", "target"))[: len(plain.length_names)]:
        a, b, most = first.features[name], second.features[name], resampled.bounds.lengths(name)
        assert a.values.tolist() != b.values.tolist()
        assert again.epoch(0).features[name].values.tolist() == a.values.tolist()
        assert task.resampled(6).epoch(0).features[name].values.tolist() != a.values.tolist()
        for corpus in (first, second):
            assert rows(task, corpus, name, role) == rows(task, plain, name, role)
            assert (corpus.lengths(name) <= most).all()
        assert (plain.lengths(name) <= most).all() and most.max() <= task.state[name]["longest"]
        assert a.lengths.sum() > plain.lengths(name).sum()
    assert len(kz.data.Plan.of(resampled.bounds, batch_size=5).epoch(0)) > 0
    assert make(folder, kind).resampled(5) is None


def test_rows_longer_than_their_bound_stay_as_they_were():
    drawn = kz.data.Ragged.from_rows([[1, 2, 3], [4], [5, 6]])
    plain = kz.data.Ragged.from_rows([[9], [8], [7, 7]])
    mixed = fitted(drawn, plain, np.array([2, 1, 3]))
    assert [mixed[row].tolist() for row in range(3)] == [[9], [4], [5, 6]]
    assert fitted(drawn, plain, np.array([3, 1, 3])) is drawn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": "words", "subword_dropout": 0.1}, "`subword_dropout` needs subwords; got subword_dropout=0.1, so"),
        ({"kind": "language_model", "subword_dropout": 0.1}, "`subword_dropout` needs a model of kind seq2seq or"),
        ({"subword_dropout": 1.0}, r"`subword_dropout` must be a number in \[0, 1\); got subword_dropout=1.0"),
        ({"vocabulary_size": 0}, "`vocabulary_size` must be an integer above 0; got vocabulary_size=0"),
        ({"case": "upper_lower"}, "`case` must be one of 'auto', 'keep', 'lower', 'upper'; got case='upper_lower'"),
        ({"normalization": "nfc"}, "`normalization` must be one of None, 'nfkc'; got normalization='nfc'"),
        ({"share_vocabulary": True, "source_tokens": "words"}, "`share_vocabulary` needs the same tokens on both"),
        ({"vocabulary_sise": 9}, "no option 'vocabulary_sise'.*Did you mean 'vocabulary_size'?"),
    ],
)
def test_refusals(folder, options, message):
    with pytest.raises(ValueError, match=message):
        make(folder, **options)


def test_a_task_without_a_source_refuses_its_options():
    message = "task topics: `source_tokens` has no use, for there is no source; got source_tokens='words'"
    with pytest.raises(ValueError, match=message):
        tasks.create("topics", source_tokens="words")


def test_another_vocabulary_in_the_folder_is_refused_with_all_that_tells_it(folder):
    task = make(folder, tokens="words", vocabulary_size=13)
    task.save(folder / "task")
    path = folder / "task" / "target.json"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[6] = '"Kätzchen",'
    path.write_text("\n".join(lines), encoding="utf-8")
    said = (
        r"target.json: not the vocabulary of this task: hash [0-9a-f]{16} \(13 ids\), expected [0-9a-f]{16} "
        r'\(13 ids\); line 7 is "Kätzchen",, expected "\w+",. Put the file back.'
    )
    with pytest.raises(DataError, match=said):
        tasks.restore(folder / "task")
    path.write_text("\n".join([*lines[:6], *lines[7:]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"\(12 ids\), expected [0-9a-f]{16} \(13 ids\); line 7 is"):
        tasks.restore(folder / "task")


def test_a_checkpoint_refuses_another_vocabulary_before_all_else(folder):
    import keras

    def store(task):
        return kz.training.CheckpointStore(folder / "checkpoints", vocabularies=task.vocabularies)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    mine, other = make(folder), make(folder, case="upper")
    store(mine).save(model, {"step": 1})
    assert store(mine).restore(model)["step"] == 1
    assert kz.training.CheckpointStore(folder / "checkpoints").restore(model)["step"] == 1
    wider = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    said = (
        r"step-000000001: has another source vocabulary: hash [0-9a-f]{16} \(\d+ ids\), expected "
        r'[0-9a-f]{16} \(\d+ ids\); line 3 is "case": "upper",, expected "case": null,\.'
    )
    with pytest.raises(CheckpointError, match=said):
        store(other).restore(wider)


def test_word_pieces_of_a_file_enclose_inputs(tmp_path):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = [chr(point) for point in range(ord("a"), ord("z") + 1)]
    (tmp_path / "vocab.txt").write_text("\n".join([*special, *letters, *(f"##{each}" for each in letters), "cat"]))
    (tmp_path / "train.tsv").write_text("a cat\tb\n" * 3 + "abcdef g\tCAT\n")
    (tmp_path / "dev.tsv").write_text("b\ta cat\n")
    file = tmp_path / "vocab.txt"
    options = {"data_dir": tmp_path, "source_vocabulary_file": file, "max_length": 5, "held_out": 0}
    task = tasks.create("pairs", "dual_encoder", **options)
    task.fit()
    cat, a = 4 + 2 * 26, 4
    first = [list(map(int, row)) for row in (task.load("train").features["source"][n] for n in range(4))]
    assert sorted(first) == [[2, a, 31, 32, 3], *[[2, a, cat, 3]] * 3]
    inputs = task.encode([("a cat", "b"), ("abcdef g", "CAT")])
    assert np.array(inputs["source"]).tolist() == [[2, a, cat, 3, 0], [2, a, 31, 32, 3]]
    assert np.array(inputs["source_2"]).tolist() == [[2, a + 1, 3], [2, cat, 3]]
    task.save(tmp_path / "task")
    file.unlink()
    again = tasks.restore(tmp_path / "task")
    assert again.hash == task.hash and again.sizes()["source_vocabulary_size"] == (cat + 1, cat + 1)
    with pytest.raises(DataError, match=r"vocab.txt: cannot be read as a vocabulary"):
        tasks.create("pairs", "dual_encoder", **options).fit()
    with pytest.raises(ValueError, match="needs source_tokens='wordpiece'"):
        tasks.create("pairs", "dual_encoder", **options, source_tokens="words")
    with pytest.raises(ValueError, match="a size of its own"):
        tasks.create("pairs", "dual_encoder", **options, vocabulary_size=100)
