import numpy as np
import pytest
import tensorflow as tf

from kerazoo import tasks
from kerazoo.data import MemorySource, Plan
from kerazoo.tasks import Task, TextFeature, Vocabulary

LINES = {
    "train": [("read", "R EH D"), ("cat", "K AE T"), ("read", "R IY D"), ("tree", "T R IY"), ("read", "R EH D")],
    "dev": [("trace", "T R EY S"), ("act", "AE K T")],
    "test": [("a", "AH"), ("a", "EY")],
}


def make(source_limit=512, target_limit=512):
    def read(split):
        return {"source": [line[0] for line in LINES[split]], "target": [line[1] for line in LINES[split]]}

    source = TextFeature("source", vocabulary=Vocabulary("characters"), max_length=source_limit)
    target = TextFeature("target", vocabulary=Vocabulary("words"), max_length=target_limit)
    return Task(MemorySource(read), (source,), target, "words")


def test_corpus_holds_unshifted_targets_with_their_end():
    task = make()
    corpus = task.load("train")
    target = task.tokenizers["target"]
    assert len(corpus) == 5 and corpus.length_names == tuple(task.arrays) == ("source", "targets")
    for row, (source, phones) in enumerate(LINES["train"]):
        tokens = corpus[row]["targets"]
        assert tokens[-1] == target.end_id
        assert target.detokenize(tokens[None])[0].numpy().decode() == phones
        assert len(corpus[row]["source"]) == len(source)
    assert task.load("train") is corpus


def test_sizes_cover_all_splits():
    task = make()
    assert task.sizes() == {
        "source_vocabulary_size": 4 + len(set("readcattree")),
        "target_vocabulary_size": 4 + len({"R", "EH", "D", "K", "AE", "T", "IY"}),
        "max_length": 512,  # whatever the data at hand is
        "share_embeddings": False,
        "pad_id": 0,
        "start_id": 1,
        "end_id": 2,
    }
    assert task.max_length == 5  # T R EY S and the end
    assert task.monitor == ("val_loss", "min") and task.kind == "seq2seq"


def test_batch_counts_real_tokens_of_real_rows():
    task = make()
    corpus = task.load("train")
    features, valid = corpus.batch([1, 3, -1])
    inputs, targets, weights = task.batch(features, valid)
    assert sorted(inputs) == ["source", "targets"]
    assert np.array_equal(inputs["targets"], targets) and np.array_equal(targets, features["targets"])
    assert np.asarray(weights).tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    short = task.batch(*corpus.batch([1, 3], {"source": 7, "targets": 7}))
    assert np.asarray(short[2]).sum() == 8
    assert task.batch(*corpus.batch([0]))[0]["source"].dtype == tf.int32


def test_examples_group_the_lines_of_a_source():
    sources, references = make().examples("train")
    assert sources == ["read", "cat", "tree"]
    assert references == [["R EH D", "R IY D"], ["K AE T"], ["T R IY"]]
    assert make().examples("train", limit=3) == (sources, references)
    assert len(make().examples("train", limit=2)[0]) == 2
    assert make().examples("test") == (["a"], [["AH", "EY"]])


def test_encode_decode_and_their_graphs_agree():
    task = make()
    inputs = task.encode(["cat", "", "tree"])
    assert inputs["source"].dtype == np.int32 and inputs["source"].shape == (3, 4)
    graph = tf.function(task.encode_packed, input_signature=[{"source": tf.TensorSpec([None], tf.string)}])
    assert np.array_equal(graph({"source": tf.constant(["cat", "", "tree"])})["source"], inputs["source"])
    rows = [task.load("train")[1]["targets"], np.array([2, 5, 5]), np.array([4])]
    assert task.decode(rows) == ["K AE T", "", task.tokenizers["target"].vocabulary[0]]
    assert task.decode([]) == []
    decoded = task.decode_in_graph(tf.constant([rows[0]]))["answer"]
    assert [value.decode() for value in decoded.numpy()] == ["K AE T"]


def test_evaluate_takes_the_closest_reference():
    measures = make().evaluate(["R EH D", "K AE"], [["R IY D", "R EH D"], ["K AE T"]])
    assert measures == {"token_error_rate": 1 / 6, "sequence_error_rate": 1 / 2}


def test_long_lines_are_cut_off_and_counted():
    task = make(source_limit=3, target_limit=3)
    corpus = task.load("dev")
    assert corpus.notes == {"clipped": 2}
    assert corpus.lengths("source").tolist() == [3, 3] and corpus.lengths("targets").tolist() == [3, 3]
    assert task.max_length == 3 and task.sizes()["max_length"] == 3
    assert task.encode(["tracer"])["source"].shape == (1, 3)


def test_loss_and_metrics_take_what_batch_gives():
    task = make()
    _, targets, weights = task.batch(*task.load("train").batch([0, 1, -1]))
    logits = np.zeros((3, 4, task.sizes()["target_vocabulary_size"]), np.float32)
    assert float(task.loss(0.1)(targets, logits, sample_weight=weights)) == pytest.approx(np.log(11), rel=1e-5)
    metrics = task.metrics()
    assert [metric.name for metric in metrics] == ["token_accuracy", "sequence_accuracy"]
    for metric in metrics:
        metric.update_state(targets, logits, sample_weight=weights)
        assert float(metric.result()) == 0
        metric.reset_state()
        metric.update_state(targets, np.eye(11)[np.asarray(targets)], sample_weight=weights)
        assert float(metric.result()) == 1


def test_pronunciation():
    task = tasks.create("cmudict")
    corpora = {split: task.load(split) for split in ("train", "dev", "test")}
    assert len(corpora["train"]) > 125_000
    assert task.sizes()["source_vocabulary_size"] == 31 and task.sizes()["target_vocabulary_size"] == 43
    words = {split: set(task.examples(split)[0]) for split in corpora}
    assert not words["train"] & words["dev"] and not words["dev"] & words["test"]
    assert 0.018 < len(words["dev"]) / sum(map(len, words.values())) < 0.022
    for corpus in corpora.values():  # nothing is unknown
        assert 3 not in corpus.features["source"].values and 3 not in corpus.features["targets"].values
    found = dict(zip(*task.examples(next(split for split in words if "TOMATO" in words[split]))))
    assert sorted(found["TOMATO"]) == ["T AH M AA T OW", "T AH M EY T OW"]
    assert np.array_equal(task.encode(["kerazoo"])["source"], task.encode(["KERAZOO"])["source"])
    assert 3 not in task.encode(["kerazoo"])["source"]
    assert Plan.of(corpora["train"], batch_size=128).valid_fraction > 0.8


@pytest.mark.parametrize("name, answer", [("copy", "ab"), ("reverse", "ba")])
def test_strings_of_letters(name, answer):
    task = tasks.create(name, length=5, letters=7, examples=211)
    for split in ("train", "dev", "test"):
        sources, references = task.examples(split)
        assert len(set(sources)) == len(sources) > 2
        for source, (reference,) in zip(sources, references):
            assert 1 <= len(source) <= 5 and set(source) <= set("abcdefg")
            assert reference == (source if answer == "ab" else source[::-1])
    assert task.sizes()["target_vocabulary_size"] == 11 and task.sizes()["share_embeddings"]
    assert task.examples("dev") == tasks.create(name, length=5, letters=7, examples=211).examples("dev")
    assert task.examples("dev") != tasks.create(name, length=5, letters=7, examples=211, seed=1).examples("dev")


def test_addition():
    sources, references = tasks.create("addition").examples("train")
    assert 8800 < len(sources) < 9200  # of all 10,000 sums of two numbers below 100
    many = tasks.create("addition", digits=7, examples=599)
    for source, (reference,) in [*zip(sources, references), *zip(*many.examples("train"))]:
        one, other = source.split("+")
        assert int(one) + int(other) == int(reference)
