"""Pretraining tasks: what is hidden of a text, what predictions are made of, and that runs train, resume and export."""

import json

import numpy as np
import pytest
import tensorflow as tf
from commands import in_process

import kerazoo as kz
from kerazoo import tasks

WORDS = ["a", "small", "red", "fox", "and", "an", "old", "grey", "dog", "run", "over", "the", "wet", "green", "hill"]
SEQ2SEQ = ("span_corruption", "denoising")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts of words, one a line, in two splits."""
    folder = tmp_path_factory.mktemp("texts")
    random = np.random.default_rng(0)
    for split, count in (("train", 97), ("dev", 11), ("test", 7)):
        lines = [" ".join(random.choice(WORDS, size)) + "." for size in random.integers(3, 31, count)]
        (folder / f"{split}.tsv").write_text("".join(f"{line}\tx\n" for line in lines), encoding="utf-8")
    return folder


def make(name, folder, **options):
    return tasks.create(name, data_dir=str(folder), **{"target_tokens": "words", "length": 13, **options})


@pytest.mark.parametrize("name", ["masked_tokens", *SEQ2SEQ])
def test_inputs_have_gaps_and_references_are_the_texts(folder, name):
    task = make(name, folder)
    raw, references = task.examples("dev")
    texts = task.columns("dev")["source"]
    # Windows of a text follow each other.
    assert " ".join(whole for (whole,) in references).split() == " ".join(texts).split()
    assert sum("<mask>" in text for text in raw) > len(raw) // 2
    assert task.examples("dev", limit=3)[0] == task.examples("dev", limit=3)[0]
    # What is read as a text with gaps has the token ids of the corpus.
    rows = task.load("dev").features["source"]
    encoded = task.encode(raw)["source"]
    assert [row[row != 0].tolist() for row in encoded] == [rows[row].tolist() for row in range(len(rows))]
    if name != "denoising":
        for text, (whole,) in zip(raw, references):
            if name == "span_corruption":
                parts = [part.strip() for part in text.split("<mask>")]
                assert whole.startswith(parts[0]) and whole.endswith(parts[-1])
            else:
                assert len(text.replace("<mask>", "mask").split()) == len(whole.split())


@pytest.mark.parametrize("name", ["masked_tokens", *SEQ2SEQ])
def test_epochs_differ_and_are_functions_of_the_seed(folder, name):
    task = make(name, folder)
    first, again, other = (task.resampled(seed) for seed in (5, 5, 6))
    assert first.epoch(2).fingerprint == again.epoch(2).fingerprint
    assert len({first.epoch(0).fingerprint, first.epoch(1).fingerprint, other.epoch(0).fingerprint}) == 3
    for array in first.epoch(0).features:
        assert first.epoch(0).lengths(array).tolist() == first.epoch(1).lengths(array).tolist()
    assert task.load("dev").fingerprint == make(name, folder).load("dev").fingerprint
    sizes = task.sizes()
    assert max(first.bounds.lengths("source")) <= sizes["max_length"]
    if name != "masked_tokens":
        assert max(first.bounds.lengths("targets")) <= task.max_length and sizes["share_embeddings"]


def test_gaps_are_filled_by_the_spans_of_their_masks(folder):
    task = make("span_corruption", folder, length=60)
    target, source = task.targets, task.encode(["<mask> small fox <mask> the", "an old"])["source"]
    masks, end = target.mask_ids.tolist(), target.tokenizer.end_id
    word = {text: target.tokenizer.tokenize([text]).to_list()[0][0] for text in WORDS}
    rows = [
        [masks[1], word["wet"], masks[0], word["a"], word["an"], masks[2], word["dog"], end, word["old"]],
        [word["dog"], masks[0], word["dog"], end],
    ]
    tokens = np.array([row + [0] * (9 - len(row)) for row in rows])
    filled = np.asarray(target.complete(tokens, {"source": source}))
    assert task.decode(filled) == ["a an small fox wet the", "an old"]
    graph = tf.function(lambda source: target.complete(tokens, {"source": source}))(source)
    assert np.array_equal(graph, filled)
    assert len(masks) == 3
    with pytest.raises(ValueError, match="a text must have at most 3 <mask>; got 4 in "):
        task.encode(["<mask> a <mask> a <mask> a <mask>"])


def test_masked_positions_are_predicted_and_filled(folder):
    task = make("masked_tokens", folder)
    inputs = task.encode(["a <mask> fox <mask>", "old dog", "<mask>"])
    assert inputs["masked_positions"].shape == (3, 2) and inputs["masked_positions"][0].tolist() == [1, 3]
    ids = {text: task.targets.tokenizer.tokenize([text]).to_list()[0][0] for text in ("red", "dog")}
    logits = np.zeros((3, 2, task.sizes()["vocabulary_size"]), "float32")
    logits[..., 0] = logits[..., -1] = 9  # padding and the mask are never predicted
    logits[0, 0, ids["red"]] = logits[0, 1, ids["dog"]] = logits[2, 0, ids["dog"]] = 5
    assert task.decode(np.asarray(task.targets.complete(logits, inputs))) == ["a red fox dog", "old dog", "dog"]
    logits[0, 0, ids["dog"]] = 4
    best = task.targets.best_fills(logits, inputs, 2)
    assert [text for text, _ in best[0]] == ["a red fox dog", "a dog fox dog"] and best[1] == [("old dog", 0.0)]
    words = len(task.targets.tokenizer.vocabulary)
    total = [np.log(np.exp([5.0, 4.0]).sum() + words - 2), np.log(np.exp(5.0) + words - 1)]
    np.testing.assert_allclose([score for _, score in best[0]], [10 - sum(total), 9 - sum(total)], atol=1e-5)


def test_a_masked_language_model_predicts_chosen_positions_also_in_shared_rows():
    model = kz.create("transformer+masked_lm", vocabulary_size=11, **{"encoder.hidden_dim": 8, "encoder.num_heads": 2})
    one, two = np.array([[5, 6, 7]]), np.array([[8, 9, 4, 3]])
    whole = [np.array(model({"source": source})) for source in (one, two)]
    packed = {
        "source": np.array([[5, 6, 7, 8, 9, 4, 3, 0]]),
        "source_segments": np.array([[1, 1, 1, 2, 2, 2, 2, 0]]),
        "masked_positions": np.array([[2, 0, 3, 0]]),
        "masked_positions_segments": np.array([[1, 2, 2, 0]]),
    }
    found = np.array(model(packed))
    np.testing.assert_allclose(found[0, :3], [whole[0][0, 2], whole[1][0, 0], whole[1][0, 3]], atol=1e-5)
    chosen = np.array(model({"source": two, "masked_positions": np.array([[3, 1]])}))
    np.testing.assert_allclose(chosen[0], whole[1][0, [3, 1]], atol=1e-5)
    kz.models.check_packing(model)


def test_long_texts_and_help_texts_are_read_in_windows(tmp_path):
    (tmp_path / "train.txt").write_text("one two three four\n" * 90, encoding="utf-8")
    task = tasks.create("span_corruption", over="text", data_dir=str(tmp_path), length=17, target_tokens="words")
    assert task.load("train").lengths("targets").max() == 17 * 15 // 100 + 1 + 1 + 1 and len(task.load("dev"))
    topics = tasks.create("denoising", over="topics", length=31, target_tokens="characters")
    assert topics.examples("dev", limit=2)[1][0][0].strip()


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("masked_tokens", {"mean_span": 2}, "task masked_tokens: `mean_span` has no use here; got mean_span=2"),
        ("span_corruption", {"permute_sentences": True}, "`permute_sentences` has no use here; got permute_sentences"),
        ("denoising", {"rate": 1.5}, "`rate` must be .*got rate=1.5"),
        ("denoising", {"mean_span": 0.5}, "`mean_span` must be .*got mean_span=0.5"),
        ("denoising", {"source_tokens": "bytes"}, "`source_tokens` has no use, for there is no source"),
        ("span_corruption", {"over": "copy"}, "task copy: trains models of kind seq2seq; got kind='language_model'"),
        ("span_corruption", {"over": "text", "source_column": 1}, "task text: no option 'source_column'"),
        ("span_corruption", {"over": "text", "exclude": "x"}, "`files` are compared with texts in rows"),
    ],
)
def test_refusals(folder, name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, folder, **options).load("train")


def arguments(name, folder, run):
    return [
        f"--model={'lstm+masked_lm' if name == 'masked_tokens' else 'lstm+lstm'}",
        f"--task={name}",
        f"--data_dir={folder}",
        "--target_tokens=words",
        "--length=13",
        "--set=encoder.units=7",
        *(["--set=decoder.units=7"] if name != "masked_tokens" else []),
        "--batch_size=16",
        "--cache_dir=",
        "--notensorboard",
        "--max_shapes=1",
        "--noxla",
        "--optimizer=sgd",
        "--schedule=constant",
        "--warmup=0",
        f"--run_dir={run}",
    ]


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(folder, tmp_path):
    sizes = {"hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "num_layers": 1}
    given = [*arguments("masked_tokens", folder, tmp_path / "run"), "--packing", "--noevaluate"]
    given = [each.replace("lstm+", "transformer+") for each in given if "units" not in each]
    given += [f"--set=encoder.{size}={value}" for size, value in sizes.items()]
    in_process("run", *given, "--epochs=1")
    in_process("run", *given, "--epochs=2")
    whole = [each.replace("/run", "/whole") for each in given]
    in_process("run", *whole, "--epochs=2")
    stopped, whole = (kz.load(tmp_path / each, checkpoint="last") for each in ("run", "whole"))
    for one, two in zip(stopped.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_masked_tokens_are_trained_measured_and_filled(folder, tmp_path):
    in_process("run", *arguments("masked_tokens", folder, tmp_path / "run"), "--epochs=1", "--limit=32")
    predictor = kz.load(tmp_path / "run")
    first, second = predictor(["a <mask> fox and <mask> dog", "an old"])
    assert "<mask>" not in first and "fox and" in first and first.endswith("dog") and second == "an old"
    best = predictor.predictions(["a <mask> fox and <mask> dog"], n_best=3)[0]
    assert best[0].text == first and len(best) == 3 and best[0].score >= best[1].score >= best[2].score
    found = json.loads((tmp_path / "run" / "evaluation-dev.json").read_text())
    names = ("nats_per_token", "token_accuracy")
    assert set(found["metrics"]) == {*names, *(f"baseline.{name}" for name in names)}
    assert found["baseline"].startswith("most frequent token") and "<mask>" in str(found["samples"])


def test_spans_are_measured_filled_and_exported(folder, tmp_path):
    task = make("span_corruption", folder)
    model = kz.run.model_building.build_model("lstm+lstm", task, {"encoder.units": 7, "decoder.units": 7})
    predictor = kz.run.Predictor(model, task)
    result, samples = kz.run.evaluation.evaluate_predictor(predictor, "dev", limit=5, samples=1)
    assert (
        set(result["metrics"]) == {"nats_per_token", "token_accuracy", "span_accuracy"} and "<mask>" in samples[0].raw
    )
    assert result["metrics"]["nats_per_token"] == pytest.approx(np.log(task.sizes()["target_vocabulary_size"]), rel=0.1)
    text = "a <mask> fox and <mask> dog"
    first = predictor([text])[0]
    assert "<mask>" not in first and "fox and" in first and first.endswith("dog")
    assert predictor.predictions([text])[0][0].text == first == "".join(predictor.stream(text))
    with pytest.raises(ValueError, match="no targets that could be scored"):
        predictor.score([text], ["a"])
    served = tf.saved_model.load(kz.export.export(model, task, tmp_path / "saved", signatures=()))
    outputs = served.signatures["serving_default"](source=tf.constant([text]))
    assert outputs["answer"].numpy()[0].decode() == first


def test_a_stream_is_corrupted_anew_in_each_epoch(folder):
    import dataclasses

    task = make("span_corruption", folder).fit()
    stream = dataclasses.replace(task, streamed=True).load("train")
    first, again, other = (next(stream.corpora(epoch))[0] for epoch in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.lengths("source").tolist() == other.lengths("source").tolist()
