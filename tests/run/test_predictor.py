"""A loaded run: searches by name, text in place of token ids, several predictions, streams, scores."""

import keras
import numpy as np
import pytest

from kerazoo import decoding, run, tasks
from kerazoo.run.model_building import build_model

WORDS = ["abc", "j", "ggba", "a"]


@pytest.fixture(scope="module")
def copier():
    keras.utils.set_random_seed(5)
    task = tasks.create("copy", length=5)
    model = build_model("lstm_seq2seq_attention", task, {"units": 11, "encoder_units": 7, "embedding_dim": 5})
    return run.Predictor(model, task, batch_size=3)


@pytest.fixture(scope="module")
def continuer():
    keras.utils.set_random_seed(5)
    task = tasks.create("topics", "language_model", length=24)
    model = build_model("transformer_lm_tiny", task, {"num_layers": 1, "hidden_dim": 8, "num_heads": 2})
    return run.Predictor(model, task)


def test_the_best_of_several_predictions_is_the_prediction(copier):
    options = {"search": "beam", "num_beams": 3}
    several = copier.predictions(WORDS, n_best=2, alignment=True, **options)
    assert [predictions[0].text for predictions in several] == copier(WORDS, **options)
    for word, predictions in zip(WORDS, several):
        assert len(predictions) == 2 and predictions[0].score >= predictions[1].score
        for found in predictions:
            assert len(found.tokens) == len(found.token_scores) == len(found.alignment)
            np.testing.assert_allclose(found.alignment[:, : len(word)].sum(-1), 1, atol=1e-5)


def test_a_beam_search_for_long_predictions_takes_fewer_inputs_at_once(copier):
    predictor = run.Predictor(copier.model, copier.task)
    sizes = [
        predictor._inputs_at_once({"max_length": length, **options})
        for length, options in [
            (60, {"search": "beam", "num_beams": 5}),
            (260, {"search": "beam", "num_beams": 5}),
            (260, {"search": "beam"}),
            (260, {"search": decoding.Beam(2)}),
            (99_999, {"search": "beam"}),
            (9_999, {"search": "sample", "n_best": 8}),
            (9_999, {}),
            (0, {"num_beams": 3}),
            (260, {"num_beams": "3"}),
        ]
    ]
    assert sizes == [218, 50, 63, 126, 1, 256, 256, 256, 256]
    options = {"search": "beam", "num_beams": 3}
    expected = predictor(WORDS, **options)
    predictor.batch_size = 1
    assert predictor(WORDS, **options) == expected


def test_text_stands_for_token_ids(copier):
    assert all(text.startswith("ja") for text in copier(WORDS, prefix="ja"))
    assert not any(set("abc") & set(text) for text in copier(WORDS, forbidden="abc"))
    assert all(set(text) <= set("de") for text in copier(WORDS, allowed="de"))
    whole = copier(WORDS, prefix="abcd")
    assert copier(WORDS, prefix="abcd", stop_strings=["cd", "x"]) == ["ab"] * 4 and all(t[:4] == "abcd" for t in whole)


@pytest.mark.parametrize("block", [1, 3, 64])
def test_a_stream_joined_is_the_prediction(copier, block):
    for options in ({}, {"search": "sample", "seed": 3}, {"prefix": "abcab", "stop_strings": ["ca"]}):
        assert "".join(copier.stream("gab", block=block, **options)) == copier(["gab"], **options)[0]


def test_a_prompt_does_not_count_for_stop_strings(continuer):
    prompt = "a stop b"
    text = continuer([prompt], stop_strings=["stop", "t"])[0]
    assert text.startswith(prompt) and "t" not in text[len(prompt) :]
    assert prompt + "".join(continuer.stream(prompt, stop_strings=["stop", "t"])) == text


def test_prompts_without_room_are_returned_and_all_are_tokenized_once(continuer, monkeypatch, caplog):
    tokenized, tokenizer = [], continuer.task.targets.tokenizer
    encode = type(tokenizer).tokenize
    monkeypatch.setattr(type(tokenizer), "tokenize", lambda self, texts: tokenized.append(texts) or encode(self, texts))
    prompts = ["a" * 29, "ab", "b" * 24, "c" * 23]
    texts = continuer(prompts)
    assert len(tokenized) == 1 and [len(text) for text in texts][::2] == [29, 24]
    assert all(text.startswith(prompt) for text, prompt in zip(texts, prompts)) and texts[2] == prompts[2]
    assert continuer([prompts[3], "ab"]) == [texts[3], texts[1]]
    assert "2 prompts have max_length=24 tokens or more: nothing is generated for them." in caplog.text
    several = continuer.predictions(prompts)
    assert [row[0].text for row in several] == texts and [row[0].score == 0 for row in several] == [1, 0, 1, 0]
    assert [len(row[0].tokens) for row in several][::2] == [0, 0] and len(several[3][0].tokens) == 1


def test_given_targets_are_scored(copier):
    scored = copier.score(WORDS, ["abc", "j", "ggba", "a"])
    assert scored.scores.shape == (4,) and (scored.lengths == [4, 2, 5, 2]).all()
    found = copier.predictions(["abc"], search="beam", num_beams=2, length_penalty="none")[0][0]
    # The answer may be cut off at the last place; given answers always end.
    again = copier.score(["abc"], [found.text]).token_scores[0, : len(found.tokens)]
    np.testing.assert_allclose(found.token_scores, again, atol=1e-4)
    assert found.score == pytest.approx(float(again.sum()), abs=1e-4)


def test_several_runs_predict_together(copier):
    both = run.Predictor(decoding.Ensemble([copier.model, copier.model]), copier.task)
    assert both(WORDS) == copier(WORDS)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(5)
    task = tasks.create("digits", "classifier")
    return run.Predictor(build_model("mlp_classifier", task, {"units": (3,)}), task)


def test_the_predictions_of_a_classifier_are_its_classes_with_their_probabilities(classifier):
    images = np.random.default_rng(7).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    logits = np.stack(classifier.outputs(images)).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    every = classifier.predictions(images, n_best=99)
    for row, found in zip(expected, every):
        assert [each.text for each in found] == [str(index) for index in np.argsort(-row)]
        np.testing.assert_allclose([each.score for each in found], np.sort(row)[::-1], atol=1e-9)
    assert classifier.predictions(images, n_best=2) == [found[:2] for found in every]
    best = [[each.text for each in found] for found in classifier.predictions(images)]
    assert best == [[label] for label in classifier(images)]


def test_a_model_that_does_not_generate_takes_no_search(classifier):
    with pytest.raises(ValueError, match="MLPClassifier: does not generate, so it takes no search"):
        classifier([np.zeros((8, 8, 1))], search="beam")
    with pytest.raises(ValueError, match="`n_best` must be an integer above 0; got n_best=0"):
        classifier.predictions([np.zeros((8, 8, 1))], n_best=0)
    with pytest.raises(ValueError, match="number feature: a model that predicts a number has one prediction and no sc"):
        tasks.NumberFeature("size").ranked([[0.5]])


def test_a_language_model_scores_no_given_targets(continuer):
    with pytest.raises(ValueError, match="score: needs a model that generates tokens for an input"):
        continuer.score(["a"], ["b"])


def test_a_string_is_one_input(copier):
    assert copier("abcd") == copier.predict("abcd") == copier(["abcd"]) == copier({"source": "abcd"})
    assert len(copier("")) == 1 and copier([]) == []
    assert [each[0].text for each in copier.predictions("abcd")] == copier("abcd")
    assert copier.score("abc", "abc").scores.shape == (1,)
    with pytest.raises(ValueError, match="score: needs a target for each input; got 1 inputs, 2 targets"):
        copier.score("ab", ["a", "b"])


@pytest.mark.parametrize(
    "raw, error, message",
    [
        (None, TypeError, "Predictor: `raw` must be a list of inputs, or one string; got None"),
        (7, TypeError, "Predictor: `raw` must be a list of inputs, or one string; got 7"),
        (b"ab", TypeError, "Predictor: `raw` must be a list of inputs, or one string; got b'ab'"),
        (["a", None], TypeError, "task copy: a text must be a string; got None"),
        (["a", 7], TypeError, "task copy: a text must be a string; got 7"),
        (["a", "b\ud800"], ValueError, "task copy: a text must be valid Unicode; got .*surrogate pair at position 2"),
        ({"text": "a"}, ValueError, "task copy: an input must have the columns source; got {'text': 'a'}"),
    ],
)
def test_inputs_that_are_no_text_are_refused(copier, raw, error, message):
    with pytest.raises(error, match=message):
        copier(raw)
    if isinstance(raw, list):
        with pytest.raises(error, match=message):
            copier.score(["a", "b"], raw)
