"""Draws follow the softmax, repeat with their seed, and do not depend on what else is in the batch."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from toys import END, JAX, PAD, START, SourceToy, Toy, not_on_jax, tokens

from kerazoo import decoding
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.sampling import filter_probable, gumbel_noise


def test_frequencies_agree_with_the_softmax():
    """Chi-squared of 4,000 first tokens; 16.27 is passed by chance once in a thousand seeds (3 degrees of freedom)."""
    model = Toy(vocabulary_size=6, sharpness=0.4)
    found = decoding.generate(model, prompt=np.zeros((4000, 0), "int32"), search="sample", seed=11, max_length=1)
    allowed = tokens(model)
    expected = np.exp(model.log_probs([])[allowed])
    expected *= 4000 / expected.sum()
    counts = np.array([(found.tokens == token).sum() for token in allowed])
    assert counts.sum() == 4000
    assert ((counts - expected) ** 2 / expected).sum() < 16.27


def test_noise_is_independent_of_its_neighbours():
    """Gumbel noise has the mean 0.5772 and the variance pi ** 2 / 6, and no correlation along any key."""
    noise = ops.convert_to_numpy(
        gumbel_noise(3, ops.arange(101, dtype="int32")[:, None], ops.arange(53)[None, :], size=29)
    )
    assert noise.shape == (101, 53, 29) and np.isfinite(noise).all()
    assert noise.mean() == pytest.approx(0.5772, abs=0.02)
    assert noise.var() == pytest.approx(math.pi**2 / 6, rel=0.02)
    for axis in range(3):
        moved = np.roll(noise, 1, axis)
        assert abs(np.corrcoef(noise.ravel(), moved.ravel())[0, 1]) < 0.012
    other = ops.convert_to_numpy(
        gumbel_noise(4, ops.arange(101, dtype="int32")[:, None], ops.arange(53)[None, :], size=29)
    )
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.012


def test_seed_repeats_across_splits_of_the_batch():
    model = SourceToy(sharpness=1.0)
    sources = [[3 + i % 4, 4] for i in range(7)]
    search = decoding.Sample(temperature=1.3, seed=5, n_best=2)
    whole = decoding.generate(model, sources, search=search, max_length=8)
    again = decoding.generate(model, sources, search=search, max_length=8)
    np.testing.assert_array_equal(whole.tokens, again.tokens)
    split = decoding.generate(model, sources, search=search, max_length=8, batch_size=3)
    np.testing.assert_array_equal(whole.tokens, split.tokens)
    tail = decoding.generate(model, sources[4:], search=search, max_length=8, first_row=4)
    np.testing.assert_array_equal(whole.tokens[4:], tail.tokens)
    other = decoding.generate(model, sources, search="sample", temperature=1.3, seed=6, n_best=2, max_length=8)
    assert (whole.tokens != other.tokens).any()
    assert (whole.tokens[:, 0] != whole.tokens[:, 1]).any()
    assert (np.diff(whole.scores, axis=1) <= 0).all()


def test_seeds_share_a_program_and_none_draws_anew():
    model = Toy(sharpness=0.5)
    prompt = np.zeros((16, 0), "int32")
    first = decoding.generate(model, prompt=prompt, search="sample", max_length=8)
    traces = model.traces
    second = decoding.generate(model, prompt=prompt, search="sample", max_length=8)
    third = decoding.generate(model, prompt=prompt, search="sample", max_length=8, seed=2**32 - 1)
    assert model.traces == traces
    assert (first.tokens != second.tokens).any() and (second.tokens != third.tokens).any()


def test_scores_are_those_of_the_model():
    """Temperature and filters change what is sampled, not the log-probability that is reported."""
    model = Toy(sharpness=1.0)
    search = decoding.Sample(temperature=0.7, top_k=4, top_p=0.95, min_p=0.01, seed=1)
    found = decoding.generate(model, search=search, max_length=9)
    sequence = found.sequences(keep_end=True)[0][0]
    total = sum(model.log_probs(sequence[:i])[sequence[i]] for i in range(len(sequence)))
    assert found.scores[0, 0] == pytest.approx(total, rel=1e-4)


@not_on_jax
@pytest.mark.parametrize("options", [{"temperature": 1e-6}, {"top_k": 1}, {"top_p": 1e-6}, {"min_p": 0.999}])
def test_strict_filters_are_greedy(options):
    model = Toy(seed=2)
    greedy = decoding.generate(model, max_length=9)
    found = decoding.generate(model, search="sample", max_length=9, **options)
    np.testing.assert_array_equal(found.tokens, greedy.tokens)


LIKELY = np.log(np.array([[0.5, 0.05, 0.25, 0.2], [0.1, 0.6, 0.2, 0.1]], "float32"))


@not_on_jax
@pytest.mark.parametrize(
    "options, kept",
    [
        ({}, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        ({"top_k": 2}, [[0, 2], [1, 2]]),
        ({"top_k": 9}, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        ({"top_p": 0.74}, [[0, 2], [1, 2]]),
        ({"top_p": 0.76}, [[0, 2, 3], [1, 2]]),
        ({"top_p": 0.4}, [[0], [1]]),
        ({"min_p": 0.45}, [[0, 2], [1]]),
        ({"top_k": 3, "min_p": 0.3, "top_p": 0.6}, [[0, 2], [1]]),
    ],
)
def test_filters_keep_the_likely(options, kept):
    found = ops.convert_to_numpy(filter_probable(ops.convert_to_tensor(LIKELY), **options))
    assert [np.flatnonzero(row > -1e9).tolist() for row in found] == kept
    np.testing.assert_array_equal(found[found > -1e9], LIKELY[found > -1e9])


@not_on_jax
@pytest.mark.parametrize(
    "probabilities, options, kept",
    [
        ([0.3, 0.1, 0.1, 0.5], {"top_p": 0.8}, [0, 3]),
        ([0.1] * 10, {"top_p": 0.5}, [0, 1, 2, 3, 4]),
        ([0.1] * 10, {"top_k": 3}, [0, 1, 2]),
        ([0.2, 0.4, 0.2, 0.2], {"top_k": 3, "top_p": 0.6}, [0, 1]),
    ],
)
def test_filters_cut_by_rank_where_probabilities_are_equal(probabilities, options, kept):
    scores = ops.convert_to_tensor(np.log(np.array([probabilities], "float32")))
    assert np.flatnonzero(ops.convert_to_numpy(filter_probable(scores, **options))[0] > -1e9).tolist() == kept


@not_on_jax
@settings(max_examples=5 if JAX else 25, deadline=None, derandomize=True)  # each length is compiled on JAX
@given(st.lists(st.integers(1, 20), min_size=2, max_size=30), st.integers(1, 99))
def test_top_p_keeps_the_fewest_tokens_that_reach_it(weights, percent):
    """Exact in integers: sums of probabilities that equal `top_p` in decimal figures reach it."""
    scores = ops.convert_to_tensor(np.log(np.array(weights, "float64") / sum(weights)).astype("float32"))
    found = filter_probable(scores[None], top_p=percent / 100)
    count = int((ops.convert_to_numpy(found) > -1e9).sum())
    reached = np.cumsum(sorted(weights, reverse=True)) * 100 >= percent * sum(weights)
    assert count == np.argmax(reached) + 1


@not_on_jax
@pytest.mark.parametrize("temperature", [1e-30, 1e-40, 5e-324])
def test_the_lowest_temperatures_are_greedy(temperature):
    model = Toy(seed=2)
    search = decoding.Sample(temperature=temperature, top_k=5, top_p=0.9, min_p=0.1, seed=3)
    context = SimpleNamespace(seed=3, row_ids=ops.arange(2, dtype="int32"), index=0)
    log_probs = np.array([[model.log_probs([])], [model.log_probs([4])]], "float32")
    log_probs[:, :, [PAD, START]] = LOWEST
    assert np.array_equal(search.choose(ops.convert_to_tensor(log_probs), context), log_probs.argmax(-1))


@not_on_jax
@pytest.mark.parametrize("temperature", [1e30, 1e300])
def test_the_highest_temperatures_draw_evenly_among_what_is_allowed(temperature):
    log_probs = np.log(np.full((1000, 1, 6), 1 / 6, "float32"))
    log_probs[:, :, [PAD, START]] = LOWEST
    context = SimpleNamespace(seed=3, row_ids=ops.arange(1000, dtype="int32"), index=0)
    drawn = decoding.Sample(temperature=temperature).choose(ops.convert_to_tensor(log_probs), context)
    counts = np.bincount(ops.convert_to_numpy(drawn).ravel(), minlength=6)
    assert counts[[PAD, START]].tolist() == [0, 0] and counts[2:].min() > 200


def test_padding_and_start_are_never_drawn():
    prompt = np.zeros((64, 0), "int32")
    found = decoding.generate(Toy(sharpness=0.1), prompt=prompt, search="sample", seed=1, max_length=8)
    for row in found.sequences(keep_end=True):
        assert not set(row[0]) & {PAD, START}
    assert (found.tokens == END).any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"temperature": 0}, "`temperature` must be a number .* got temperature=0"),
        ({"top_p": 1.5}, "`top_p` must be a number .* got top_p=1.5"),
        ({"top_k": 0}, "`top_k` must be an integer above 0; got top_k=0"),
        ({"min_p": 1.0}, "`min_p` must be a number .* got min_p=1.0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0; got seed=-1"),
        ({"n_best": 0}, "`n_best` must be an integer above 0; got n_best=0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.Sample(**arguments)
