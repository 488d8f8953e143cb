"""Beam search against all sequences of a tiny vocabulary, and where searches are known to go wrong."""

import itertools
import math

import numpy as np
import pytest
from keras import ops
from toys import END, SourceToy, Toy, all_sequences, not_on_jax

from kerazoo import decoding

pytestmark = pytest.mark.usefixtures("run_eagerly")

PENALTIES = [("none", 0.0), ("gnmt", 0.6), ("gnmt", 2.0), ("power", 1.0), ("power", 0.3)]
STOPS = ["first", "all", "cannot_improve"]


def divisor(kind, alpha, n):
    return {"none": 1.0, "gnmt": ((5 + n) / 6) ** alpha, "power": float(n) ** alpha}[kind]


def ranked(model, length, kind, alpha, prompt=(), bias=0.0):
    """All sequences, best first, as (score, tokens)."""
    sequences = all_sequences(model, length, prompt, bias)
    return sorted(((total / divisor(kind, alpha, len(t) - len(prompt)), t) for t, total in sequences), reverse=True)


def first_finished(model, length, kind, alpha):
    """The sequence of an unlimited beam that stops once a finished hypothesis is above all unfinished ones."""
    everything = ranked(model, length, kind, alpha)
    for n in range(1, length + 1):
        finished = [a for a in everything if len(a[1]) <= n and (a[1][-1] == END or len(a[1]) == length)]
        alive = {}
        for _, tokens in everything:
            if len(tokens) > n or (len(tokens) == n and tokens[-1] != END and n < length):
                alive[tuple(tokens[:n])] = sum(model.log_probs(tokens[:i])[tokens[i]] for i in range(n))
        if not alive or finished[0][0] >= max(alive.values()) / divisor(kind, alpha, n):
            return finished[0]


@pytest.fixture(scope="module")
def toys():
    """Tiny vocabularies: 3 inner tokens and the end, sequences of at most 4 tokens, so 121 sequences."""
    return [Toy(vocabulary_size=6, seed=seed, sharpness=1.0) for seed in range(5)]


@pytest.mark.parametrize(
    "kind, alpha, stop",
    [
        pytest.param(*penalty, stop, marks=() if number % len(STOPS) == column else not_on_jax)
        for number, penalty in enumerate(PENALTIES)
        for column, stop in enumerate(STOPS)
    ],
)
def test_full_width_finds_the_best_of_all(toys, kind, alpha, stop):
    search = decoding.Beam(121, kind, alpha=alpha, stop=stop, n_best=1 if stop == "first" else 7)
    for model in toys[PENALTIES.index((kind, alpha)) :][:1]:
        found = decoding.generate(model, search=search, max_length=4)
        if stop == "first":
            expected = [first_finished(model, 4, kind, alpha)]
        else:
            expected = ranked(model, 4, kind, alpha)[: search.n_best]
        assert found.sequences(keep_end=True)[0] == [tokens for _, tokens in expected]
        np.testing.assert_allclose(found.scores[0], [score for score, _ in expected], rtol=1e-4)


@not_on_jax
def test_without_penalty_the_first_rule_finds_the_best_of_all(toys):
    """Log-probabilities only fall: a finished hypothesis above all others is the best there is."""
    for model in toys[2:4]:
        search = decoding.Beam(num_beams=121, length_penalty="none", stop="first")
        found = decoding.generate(model, search=search, max_length=4)
        assert found.sequences(keep_end=True)[0][0] == ranked(model, 4, "none", 0)[0][1]


@pytest.mark.parametrize("num_beams", [pytest.param(1, marks=not_on_jax), 2, pytest.param(5, marks=not_on_jax)])
def test_cannot_improve_never_stops_early(toys, num_beams):
    """It finds what a beam finds that runs to the last position."""
    for model, (kind, alpha) in list(zip(toys, PENALTIES))[num_beams % 2 :: 2]:
        limited = decoding.Beam(num_beams, kind, alpha=alpha, stop="cannot_improve", n_best=num_beams)
        found = decoding.generate(model, search=limited, max_length=6)
        expected = beam_search(model, 6, num_beams, kind, alpha)
        assert found.sequences(keep_end=True)[0] == [tokens for _, tokens in expected]
        np.testing.assert_allclose(found.scores[0], [score for score, _ in expected], rtol=1e-4)


def beam_search(model, length, num_beams, kind, alpha):
    """Beam search in plain Python, to the last position."""
    growing, waiting = [(0.0, [])], []
    for n in range(1, length + 1):
        candidates = []
        for total, generated in growing:
            log_probs = model.log_probs(generated)
            candidates += [(total + log_probs[v], [*generated, v]) for v in range(2, model.vocabulary_size)]
        growing = sorted((c for c in candidates if c[1][-1] != END), reverse=True)[:num_beams]
        threshold = growing[-1] if len(growing) == num_beams else (-np.inf, [])
        closed = [c for c in candidates if c[1][-1] == END and c >= threshold]
        closed += growing if n == length else []
        waiting += [(total / divisor(kind, alpha, n), tokens) for total, tokens in closed]
        waiting = sorted(waiting, reverse=True)[:num_beams]
    return waiting


class KnownTrap(Toy):
    """The end comes at once with 0.55; the other way leads to a sequence of 0.45 = 0.45 * 1.0 * 1.0.

    A search that goes on to make finished hypotheses longer, or that compares them at another length, returns the
    sequence of 0.45 here with two to four beams.
    """

    def __init__(self):
        super().__init__(vocabulary_size=5)
        table = np.full((5, 5), 1e-9)
        table[1, [END, 3]] = 0.55, 0.45  # after the start
        table[3, 4] = table[4, END] = table[END, END] = 1.0
        self.table = np.log(table / table.sum(1, keepdims=True)).astype("float32")

    def step(self, tokens, cache, index):
        return ops.take(ops.convert_to_tensor(self.table), tokens, axis=0), cache


@pytest.mark.parametrize("stop", [*STOPS[:2], pytest.param(STOPS[2], marks=not_on_jax)])
def test_more_beams_are_never_worse_where_others_fail(stop):
    for num_beams in (1, 2, 3, 4):
        search = decoding.Beam(num_beams, "none", stop=stop)
        found = decoding.generate(KnownTrap(), search=search, max_length=8)
        assert found.sequences(keep_end=True) == [[[END]]]
        assert math.exp(found.scores[0, 0]) == pytest.approx(0.55, rel=1e-4)


def test_n_best_are_different_and_sorted():
    found = decoding.generate(Toy(seed=7, sharpness=1.0), search="beam", num_beams=6, n_best=5, max_length=9)
    assert found.tokens.shape == (1, 5, 9)
    sequences = found.sequences(keep_end=True)[0]
    assert len({tuple(sequence) for sequence in sequences}) == 5
    assert (np.diff(found.scores[0]) <= 0).all()
    model = Toy(seed=7, sharpness=1.0)
    for sequence, total, each in zip(sequences, found.log_probabilities[0], found.token_scores[0]):
        expected = [model.log_probs(sequence[:i])[sequence[i]] for i in range(len(sequence))]
        np.testing.assert_allclose(each[: len(sequence)], expected, rtol=1e-3, atol=1e-5)
        assert total == pytest.approx(sum(expected), rel=1e-4)


def test_fewer_answers_than_asked_for():
    """One inner token and at most two tokens: three sequences, however wide the beam."""
    found = decoding.generate(Toy(vocabulary_size=4), search="beam", num_beams=5, n_best=5, max_length=2)
    assert sorted(found.lengths[0].tolist()) == [0, 0, 1, 2, 2]
    assert np.isneginf(found.scores[0, 3:]).all() and np.isfinite(found.scores[0, :3]).all()
    assert not found.tokens[0, 3:].any()


@not_on_jax
def test_ragged_sources_and_prompts_are_each_alone():
    model = SourceToy(seed=6, sharpness=1.0)
    sources = [[3, 4, 5], [6], [5, 3, 3, 4, 6, 6, 3], [4, 4, 4]]
    prompts = [[], [4, 6], [3], [5, 5, 5]]
    search = decoding.Beam(3, n_best=3)
    together = decoding.generate(model, sources, prompts, search, max_length=8)
    for row, (source, prompt) in enumerate(zip(sources, prompts)):
        alone = decoding.generate(model, [source], [prompt], search, max_length=8)
        assert alone.sequences(keep_end=True)[0] == together.sequences(keep_end=True)[row]
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-4)


def test_full_width_with_prompt_and_source():
    model = SourceToy(vocabulary_size=6, seed=2, sharpness=1.0)
    source, prompt = [3, 5, 5], [4]
    search = decoding.Beam(40, "power", alpha=1.0, n_best=4)
    found = decoding.generate(model, [source], [prompt], search, max_length=4)
    expected = ranked(model, 4, "power", 1.0, prompt, model.bias(source))[:4]
    assert found.sequences(keep_end=True)[0] == [tokens for _, tokens in expected]
    np.testing.assert_allclose(found.scores[0], [score for score, _ in expected], rtol=1e-4)


@pytest.mark.parametrize("dtype", [pytest.param("float16", marks=not_on_jax), "bfloat16"])
def test_half_precision_ranks_like_float32(dtype):
    search = decoding.Beam(3, constraints=(decoding.Forbidden((4,)), decoding.MinLength(2)))
    for seed in range(2):
        half = Toy(seed=seed, sharpness=1.0, dtype=dtype)
        expected = decoding.generate(Toy(seed=seed, sharpness=1.0), search=search, max_length=6)
        found = decoding.generate(half, search=search, max_length=6)
        assert found.sequences() == expected.sequences()
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0.05)
        assert found.scores.dtype == np.float32


def test_two_end_tokens_leave_room_for_what_goes_on():
    """With as many end tokens as others, the best K continuations must not all be ends."""
    model = Toy(vocabulary_size=7, seed=3, sharpness=1.0)
    search = decoding.Beam(200, "none", n_best=3)
    found = decoding.generate(model, search=search, max_length=3, end_ids=(END, 3, 4))
    inner = [5, 6]
    expected = []
    for n in range(3):
        for middle in itertools.product(inner, repeat=n):
            closers = [END, 3, 4, *inner] if n == 2 else [END, 3, 4]
            for closer in closers:
                tokens = [*middle, closer]
                expected.append((sum(model.log_probs(tokens[:i])[tokens[i]] for i in range(n + 1)), tokens))
    expected = sorted(expected, reverse=True)[:3]
    assert found.sequences(keep_end=True)[0] == [tokens for _, tokens in expected]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_beams": 0}, "`num_beams` must be an integer above 0; got num_beams=0"),
        (
            {"num_beams": 2, "n_best": 3},
            "`n_best` must be at most `num_beams`; got n_best=3, num_beams=2. Try num_beams=3",
        ),
        ({"length_penalty": "gmnt"}, "`length_penalty` must be one of .*='gmnt'. Did you mean 'gnmt'"),
        ({"alpha": -1}, "`alpha` must be a number .* got alpha=-1"),
        ({"stop": "never"}, "`stop` must be one of 'first', 'all', 'cannot_improve'; got stop='never'"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.Beam(**arguments)
