"""The coverage penalty and the groups of a beam, against all sequences and against plain Python."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import END, LookingToy, Toy, all_sequences, jitted, not_on_jax

from kerazoo import decoding, models
from kerazoo.decoding.constraints import LOWEST

pytestmark = pytest.mark.usefixtures("run_eagerly")

SOURCE = [3, 5, 5, 4]


def gnmt(n):
    return ((5 + n) / 6) ** 0.6


def covered(model, sequence, source, beta):
    """The coverage part of the score of a sequence, end token included."""
    attention = sum(model.numpy_attention(sequence[:i], source) for i in range(len(sequence)))
    return beta * np.log(np.minimum(attention, 1)).sum()


@pytest.mark.parametrize("stop", ["cannot_improve", "all"])
def test_full_width_is_the_best_with_coverage(stop):
    model = LookingToy(vocabulary_size=6, seed=2, sharpness=1.0)
    search = decoding.Beam(40, coverage_penalty=0.7, stop=stop, n_best=4)
    # The padding of a longer source in the same batch is not left uncovered.
    found = decoding.generate(model, [SOURCE, [4, 3, 5, 3, 3, 5]], [[4], []], search, max_length=4)
    expected = sorted(
        (
            (total / gnmt(len(sequence) - 1) + covered(model, sequence, SOURCE, 0.7), sequence)
            for sequence, total in all_sequences(model, 4, [4], model.bias(SOURCE))
        ),
        reverse=True,
    )
    plain = sorted(all_sequences(model, 4, [4], model.bias(SOURCE)), key=lambda a: -a[1] / gnmt(len(a[0]) - 1))
    assert [sequence for sequence, _ in plain[:4]] != [sequence for _, sequence in expected[:4]]
    assert found.sequences(keep_end=True)[0] == [sequence for _, sequence in expected[:4]]
    np.testing.assert_allclose(found.scores[0], [score for score, _ in expected[:4]], rtol=1e-4)


def grouped_beam_search(model, length, num_beams, beta, num_groups=1, diversity=0.0, source=SOURCE):
    """Beam search with groups in plain Python, to the last position; the finished ones of each group."""
    bias, size = model.bias(source), num_beams // num_groups
    growing, waiting = [[(0.0, [])] for _ in range(num_groups)], [[] for _ in range(num_groups)]
    for n in range(1, length + 1):
        taken = np.zeros(model.vocabulary_size)
        for group in range(num_groups):
            candidates = []
            for total, generated in growing[group]:
                log_probs = model.log_probs(generated, bias)
                candidates += [(total + log_probs[v], [*generated, v]) for v in range(2, model.vocabulary_size)]
            going = sorted((c for c in candidates if c[1][-1] != END), key=lambda c: diversity * taken[c[1][-1]] - c[0])
            going = going[:size]
            threshold = min(going)[0] if len(going) == size else -np.inf
            closed = [c for c in candidates if c[1][-1] == END and c[0] >= threshold] + (going if n == length else [])
            scored = [(t / gnmt(n) + covered(model, tokens, source, beta), tokens) for t, tokens in closed]
            waiting[group] += scored
            waiting[group] = sorted(waiting[group], reverse=True)[:size]
            growing[group] = going
            for _, generated in going:
                taken[generated[-1]] += 1
    return waiting


@not_on_jax
def test_cannot_improve_never_stops_early_with_coverage():
    for seed in range(3):
        model = LookingToy(vocabulary_size=6, seed=seed, sharpness=2.0)
        search = decoding.Beam(3, coverage_penalty=0.4, n_best=3)
        found = decoding.generate(model, [SOURCE], search=search, max_length=6)
        expected = grouped_beam_search(model, 6, 3, 0.4)[0]
        assert found.sequences(keep_end=True)[0] == [sequence for _, sequence in expected]
        np.testing.assert_allclose(found.scores[0], [score for score, _ in expected], rtol=1e-4)


def test_groups_keep_out_of_each_others_way():
    model = LookingToy(vocabulary_size=8, seed=5, sharpness=0.7)
    search = decoding.Beam(6, num_groups=3, diversity_penalty=0.8, n_best=6)
    found = decoding.generate(model, [SOURCE], search=search, max_length=5)
    groups = grouped_beam_search(model, 5, 6, 0.0, num_groups=3, diversity=0.8)
    expected = []
    for waiting in groups:
        expected += [(score, tokens) for score, tokens in waiting if tokens not in [other for _, other in expected]]
    expected = sorted(expected, reverse=True)
    count = len(expected)
    assert found.sequences(keep_end=True)[0][:count] == [sequence for _, sequence in expected]
    assert found.lengths[0, count:].tolist() == [0] * (6 - count)
    np.testing.assert_allclose(found.scores[0, :count], [score for score, _ in expected], rtol=1e-4)


@not_on_jax
def test_each_group_gives_an_answer_and_none_comes_twice():
    model = LookingToy(vocabulary_size=8, seed=5, sharpness=0.7)
    search = decoding.Beam(4, num_groups=2, diversity_penalty=0.0, n_best=4)
    found = decoding.generate(model, [SOURCE, [3]], search=search, max_length=5)
    alike = decoding.generate(model, [SOURCE, [3]], search="beam", num_beams=2, n_best=2, max_length=5)
    # Without diversity both groups find the same sequences, which are returned once.
    for row in range(2):
        assert found.sequences()[row][:2] == alike.sequences()[row]
    assert (found.lengths[:, 2:] == 0).all() and np.isneginf(found.scores[:, 2:]).all()
    diverse = decoding.Beam(4, num_groups=4, diversity_penalty=50.0, n_best=4)
    apart = decoding.generate(model, [SOURCE], search=diverse, max_length=5)
    assert len({sequence[0] for sequence in apart.sequences(keep_end=True)[0]}) >= 3


@not_on_jax
def test_groups_return_as_many_answers_as_were_asked_for():
    model = LookingToy(vocabulary_size=8, seed=1, sharpness=1.5)
    sources = np.random.default_rng(0).integers(3, 8, (64, 4))
    found = decoding.generate(model, sources, search=decoding.Beam(4, num_groups=2, n_best=2), max_length=6)
    assert np.isfinite(found.scores).all() and (np.diff(found.scores, axis=1) <= 0).all()
    assert all(first != second for first, second in found.sequences(keep_end=True))


@not_on_jax
def test_what_groups_choose_comes_before_what_fills_up():
    """Group 1 finished a, b and c; group 2 finished a again, then d; group 3 finished nothing."""
    a, b, c, d = ([3, 2], [4, 2], [5, 2], [6, 2])
    state = {
        "done_tokens": ops.convert_to_tensor(np.array([[a, b, c, a, d, a, a, a, a]], "int32")),
        "done_lengths": ops.convert_to_tensor(np.array([[2, 2, 2, 2, 2, 0, 0, 0, 0]], "int32")),
        "done_scores": ops.convert_to_tensor(np.array([[-1, -2, -3, -1, -9] + [LOWEST] * 4], "float32")),
    }
    for n_best, expected in {1: [0], 2: [0, 4], 3: [0, 1, 4], 4: [0, 1, 2, 4], 5: [0, 1, 2, 4]}.items():
        search = decoding.Beam(9, num_groups=3, n_best=n_best)
        scores, indices = jitted(search._best)(state)
        exists = ops.convert_to_numpy(scores)[0] > LOWEST / 2
        assert ops.convert_to_numpy(indices)[0][exists].tolist() == expected, n_best


@pytest.mark.parametrize(
    "options",
    [
        {"search": "beam", "num_beams": 4, "num_groups": 2, "coverage_penalty": 0.1, "n_best": 4},
        pytest.param({"search": "contrastive"}, marks=not_on_jax),
    ],
)
def test_a_transformer_reports_what_it_gives_to_the_answers(options):
    """The hypotheses of all groups, and the candidates of contrastive search, attend to their own ancestry."""
    keras.utils.set_random_seed(4)
    model = models.TransformerSeq2Seq(
        11, 7, num_encoder_layers=1, num_decoder_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=16
    )
    found = model.generate([SOURCE, [9]], [[4], []], max_length=7, jit_compile=False, **options)
    sources, sequences = [], []
    for source, row in zip((SOURCE, [9]), found.sequences(keep_end=True)):
        sources += [source] * len(row)
        sequences += row
    scored = model.score(sources, sequences).token_scores.reshape(found.tokens.shape[:2] + (-1,))
    scored[0, :, 0] = 0.0  # the prompt
    np.testing.assert_allclose(scored, found.token_scores[:, :, : scored.shape[2]], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"num_beams": 4, "num_groups": 3},
            "`num_beams` must be divisible by `num_groups`; got num_beams=4, num_groups=3. Try",
        ),
        ({"diversity_penalty": -1}, "`diversity_penalty` must be a number .* got diversity_penalty=-1"),
        ({"coverage_penalty": -0.5}, "`coverage_penalty` must be a number .* got coverage_penalty=-0.5"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.Beam(**arguments)


def test_refuses_coverage_without_attention():
    with pytest.raises(
        ValueError, match="Beam: coverage_penalty=0.2 needs a model whose `step` returns attention.*Toy"
    ):
        decoding.generate(Toy(), search="beam", coverage_penalty=0.2, max_length=4)
