"""Searches over a shortlist, against the same model with a smaller vocabulary; and what a list is made of."""

import dataclasses
import itertools
import re

import model_contracts
import numpy as np
import pytest
from toys import SourceToy, Toy, not_on_jax

import kerazoo as kz
from kerazoo import _checks, decoding
from kerazoo.decoding.word_translations import word_translations

VOCABULARY = 17
LISTED = [0, 1, 2, 5, 7, 8, 11, 13, 16]
SOURCES = [[3, 5, 9], [4]]
TRANSFORMER = {
    "num_encoder_layers": 1, "num_decoder_layers": 1, "hidden_dim": 6, "num_heads": 2, "intermediate_dim": 7,
}  # fmt: skip
TIED = {"share_embeddings": True, "tie_output": True}


def shortlist(**arguments):
    given = {"frequent": LISTED, "size": len(LISTED), "vocabulary_size": VOCABULARY, **arguments}
    return decoding.Shortlist(**given)


def smaller(toy):
    """The toy with the tokens of the list alone, which are then numbered from 0."""
    small = Toy(vocabulary_size=len(LISTED), size=toy.size)
    small.a, small.e, small.b = toy.a, toy.e[LISTED], toy.b[:, LISTED]
    return small


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize(
    "search",
    [
        decoding.Greedy(),
        decoding.Beam(3, n_best=3),
        decoding.Sample(seed=3, top_k=5, n_best=2),
        decoding.Contrastive(top_k=3),
        decoding.Beam(3, constraints=(decoding.NoRepeatNgram(1), decoding.MinLength(4))),
        decoding.Greedy(constraints=(decoding.RepetitionPenalty(1.5), decoding.MaxLength(5))),
    ],
    ids=lambda search: f"{type(search).__name__}{len(search.constraints)}",
)
def test_a_search_is_that_of_a_model_with_these_tokens(search):
    toy = Toy(vocabulary_size=VOCABULARY, size=6)
    prompts = [[5, 11], [7, 16], [5, 5]]
    numbered = np.searchsorted(LISTED, prompts)
    found = decoding.generate(toy, None, prompts, dataclasses.replace(search, shortlist=shortlist()), 9)
    expected = decoding.generate(smaller(toy), None, numbered, search, 9)
    np.testing.assert_array_equal(found.tokens, np.take(LISTED, expected.tokens))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_array_equal(found.lengths, expected.lengths)


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("name", ["lstm_lm", pytest.param("transformer_lm_tiny", marks=not_on_jax)])
def test_prompts_without_room_in_the_list_are_read(name):
    options = {"units": 6, "embedding_dim": 5} if name == "lstm_lm" else {"num_layers": 1, **TRANSFORMER}
    options = {key: value for key, value in options.items() if not key.startswith("num_") or "coder" not in key}
    model = kz.create(name, vocabulary_size=VOCABULARY, **options)
    prompts = [[4, 6], [3, 12], [9, 15]]
    found = model.generate(prompts, max_length=5, shortlist=shortlist(size=4, frequent=[8]), search="beam", num_beams=2)
    assert found.tokens[:, 0, :2].tolist() == prompts and set(np.unique(found.tokens[:, :, 2:])) <= {0, 2, 8}
    log_probs = np.asarray(model(found.tokens[:, 0], training=False))[:, 2][:, [0, 1, 2, 8]].astype("float64")
    log_probs -= np.log(np.exp(log_probs).sum(-1, keepdims=True))
    ends = found.tokens[:, 0, 2] == 2
    np.testing.assert_allclose(found.token_scores[:, 0, 2], log_probs[np.arange(3), np.where(ends, 2, 3)], rtol=1e-4)


@pytest.mark.usefixtures("run_eagerly")
def test_a_stream_is_what_is_generated():
    toy = SourceToy(vocabulary_size=VOCABULARY)
    given = shortlist(candidates=np.full((VOCABULARY, 2), 9), frequent=[5, 7, 9, 11])
    blocks = list(decoding.stream(toy, SOURCES, max_length=7, block=3, shortlist=given))
    streamed = [list(itertools.chain.from_iterable(rows)) for rows in zip(*blocks)]
    found = decoding.generate(toy, SOURCES, max_length=7, shortlist=given)
    assert streamed == [[token for token in row if token not in (0, 2)] for row in found.best().tolist()]
    assert set(np.unique(found.tokens)) <= set(np.asarray(given.select(np.array([[3, 5, 9]]), first=3)).tolist())


@pytest.mark.parametrize(
    "name, options",
    [
        ("lstm_seq2seq", {"units": 6, "embedding_dim": 5}),
        pytest.param(
            "transformer_seq2seq_tiny", {**TRANSFORMER, "share_embeddings": True, "tie_output": True}, marks=not_on_jax
        ),
        pytest.param("lstm_seq2seq", {"units": 6, "embedding_dim": 5, "copy": True}, marks=not_on_jax),
    ],
)
def test_logits_of_the_tokens_are_those_of_the_whole_vocabulary(name, options, monkeypatch):
    model = kz.create(name, source_vocabulary_size=VOCABULARY, target_vocabulary_size=VOCABULARY, **options)
    arguments = {"search": "beam", "num_beams": 2, "max_length": 5, "shortlist": shortlist()}
    found = model.generate(SOURCES, **arguments)  # one compiled program
    if "copy" in options:
        assert model.logits_of(np.array(LISTED)) is None
    monkeypatch.setattr(type(model), "logits_of", lambda self, tokens: None)
    vars(model).pop("_compiled_programs")
    with model_contracts.eager_searches():
        taken = model.generate(SOURCES, **arguments)
    np.testing.assert_array_equal(found.tokens, taken.tokens)
    np.testing.assert_allclose(found.token_scores, taken.token_scores, rtol=1e-4, atol=1e-5)


def test_what_is_selected():
    candidates = np.array([[0, 0], [4, 5], [6, 7], [8, 9]])
    probabilities = np.array([[0.0, 0.0], [0.5, 0.1], [0.9, 0.2], [0.3, 0.05]])
    given = {"candidates": candidates, "probabilities": probabilities, "vocabulary_size": 23, "frequent": [20, 21]}

    def selected(size, *arguments):
        return np.asarray(decoding.Shortlist(size=size, **given).select(*arguments)).tolist()

    source, prompt = np.array([[1, 2], [2, 0]]), np.array([[15, 0]])
    assert selected(7, source) == [0, 4, 5, 6, 7, 20, 21]  # padded to the size with the first tokens
    assert selected(5, source, prompt, 0) == [0, 6, 15, 20, 21]
    assert selected(6, source, prompt, 3) == [0, 1, 2, 15, 20, 21]
    assert selected(5, source, prompt, 3) == [0, 1, 2, 20, 21]
    assert selected(4, source) == [4, 6, 20, 21]  # the most probable candidates of all sources
    assert selected(1, np.array([[3]])) == [20]


def test_translations_are_those_of_the_plain_algorithm():
    sources, targets = [[3, 4], [4, 5], [3], []], [[7, 8], [8, 9, 9], [7], [5]]
    table = {(s, t): 1.0 for row, other in zip(sources, targets) for s in row for t in other}
    for _ in range(3):
        counts = dict.fromkeys(table, 0.0)
        for row, other in zip(sources, targets):
            for t in other if row else ():
                total = sum(table[s, t] for s in row)
                for s in row:
                    counts[s, t] += table[s, t] / total
        sums = {s: sum(value for (other, _), value in counts.items() if other == s) for s, _ in counts}
        table = {(s, t): value / sums[s] for (s, t), value in counts.items()}
    found = word_translations([np.array(row, int) for row in sources], [np.array(row) for row in targets], 11, 3)
    assert {(s, t): pytest.approx(p) for s, t, p in zip(*(each.tolist() for each in found))} == table


def test_examples_are_left_out_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr("kerazoo.decoding.word_translations.MAX_LINKS", 3)
    found = word_translations([[3], [4], [5], [6]], [[7], [8], [9], [10]], 11)
    assert found.sources.tolist() == [3, 5]


def test_fitted_lists_hold_the_translations_and_are_kept_in_a_file(tmp_path):
    rng = np.random.default_rng(0)
    sources = [rng.choice(np.arange(3, 11), 4, replace=False) for _ in range(200)]
    targets = [row[::-1] + 10 for row in sources]
    fitted = decoding.Shortlist.fit(
        sources, targets, source_vocabulary_size=11, vocabulary_size=21, num_candidates=2, num_frequent=1, size=6,
        tokenizer_hash="abc",
    )  # fmt: skip
    assert fitted.candidates[3:, 0].tolist() == list(range(13, 21))
    assert {13, 17, 20} < set(np.asarray(fitted.select(np.array([[3, 7, 10]]))).tolist())
    path = tmp_path / "list.npz"
    fitted.save(path)
    loaded = decoding.Shortlist.load(path)
    assert loaded == fitted and hash(loaded) == hash(fitted) and loaded.tokenizer_hash == "abc"
    assert loaded != decoding.Shortlist(fitted.frequent, vocabulary_size=21)
    for damage in (path.read_bytes()[:90], b"", b"PK"):
        path.write_bytes(damage)
        with pytest.raises(
            _checks.DataError, match=f"Shortlist: cannot read {re.escape(str(path))}: it is no shortlist. Make it with"
        ):
            decoding.Shortlist.load(path)
    with pytest.raises(_checks.DataError, match="No such file"):
        decoding.Shortlist.load(tmp_path / "none.npz")
    np.savez(path, candidates=np.array([["x"]], object), allow_pickle=True)
    with pytest.raises(_checks.DataError, match="cannot read"):
        decoding.Shortlist.load(path)


def test_a_list_as_large_as_the_vocabulary_changes_nothing():
    toy = SourceToy(vocabulary_size=VOCABULARY)
    given = shortlist(size=VOCABULARY)
    with model_contracts.eager_searches():
        np.testing.assert_array_equal(
            decoding.generate(toy, SOURCES, max_length=6, shortlist=given).tokens,
            decoding.generate(toy, SOURCES, max_length=6).tokens,
        )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: shortlist(size=0), "Shortlist: `size` must be"),
        (lambda: shortlist(frequent=[17]), "`frequent` must be token ids from 0 to 16, an array of rank 1"),
        (lambda: shortlist(candidates=[1, 2]), "`candidates` must be token ids from 0 to 16, an array of rank 2"),
        (lambda: shortlist(candidates=[[1]], probabilities=[[np.nan]]), "`probabilities` must be finite numbers"),
        (lambda: decoding.Greedy(shortlist="x.npz"), "Greedy: `shortlist` must be a kerazoo.decoding.Shortlist"),
        (
            lambda: decoding.Beam(2, shortlist=shortlist(), constraints=decoding.Allowed([3])),
            "constraints that name no tokens; got Allowed as well",
        ),
        (lambda: decoding.Greedy(shortlist=shortlist(), constraints=lambda x, _: x), "got function as well"),
        (
            lambda: decoding.Greedy(shortlist=shortlist(), stop_strings=decoding.StopStrings(["a"], [b"a"])),
            "got StopStrings as well",
        ),
        (lambda: decoding.Speculative(Toy(), shortlist=shortlist()), "got Speculative as well"),
        (
            lambda: decoding.generate(Toy(), None, [[3]], max_length=4, shortlist=shortlist()),
            "must be of the vocabulary of the model, which has 7 tokens; got one of 17",
        ),
        (
            lambda: decoding.generate(Toy(17), None, [[3]], max_length=4, shortlist=shortlist(candidates=[[3]])),
            "there is no source of token ids; got NoneType. Make a Shortlist with `frequent` alone",
        ),
        (
            lambda: decoding.generate(Toy(17), None, [[3]], max_length=4, shortlist=shortlist(size=3)),
            "`size` must be above 3, for the tokens up to the last special one are always there; got size=3",
        ),
        (lambda: word_translations([[3]], [], 5), "needs a target for each source; got 1, 0"),
        (lambda: word_translations([], [], 5, 0), "`iterations` must be"),
    ],
)
def test_refusals(make, message):
    with model_contracts.eager_searches(), pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_list_of_another_vocabulary_is_refused():
    pytest.importorskip("tensorflow")  # the tokenizers are TensorFlow's
    task = kz.tasks.create("reverse", length=5, examples=47)
    task.load("train")
    other = shortlist(tokenizer_hash="another")
    with pytest.raises(ValueError, match="`shortlist` must be of the tokens of the targets"):
        task.targets.search_options({"shortlist": other})
    assert task.targets.search_options({"shortlist": shortlist()})["shortlist"] == shortlist()
