"""Every constraint alone, together, and under every search."""

import numpy as np
import pytest
from keras import ops
from toys import END, SourceToy, Toy, all_sequences, not_on_jax

from kerazoo import decoding
from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.context import ConstraintContext

pytestmark = pytest.mark.usefixtures("run_eagerly")

VOCABULARY = 7


def apply(constraint, rows, index=None, prompts=0, source_lengths=None):
    """What a constraint makes of equal log-probabilities -1 after each of `rows`."""
    index = len(rows[0]) if index is None else index
    tokens = np.zeros((len(rows), 11), "int32")
    tokens[:, : len(rows[0])] = rows
    context = ConstraintContext(
        ops.convert_to_tensor(tokens),
        ops.convert_to_tensor(index, "int32"),
        ops.convert_to_tensor(np.full(len(rows), index - prompts), "int32"),
        None if source_lengths is None else ops.convert_to_tensor(source_lengths, "int32"),
        (END,),
    )
    log_probs = ops.convert_to_tensor(np.full((len(rows), VOCABULARY), -1, "float32"))
    return ops.convert_to_numpy(constraint(log_probs, context))


def ruled_out(*arguments, **options):
    return [np.flatnonzero(row <= LOWEST).tolist() for row in apply(*arguments, **options)]


def test_forbidden_and_allowed():
    assert ruled_out(decoding.Forbidden([3, 5, 99]), [[3]]) == [[3, 5]]
    assert ruled_out(decoding.Allowed(range(3, 5)), [[3]]) == [[0, 1, 5, 6]]


def test_repetition_penalty_lowers_what_is_there():
    found = apply(decoding.RepetitionPenalty(1.5), [[3, 5, 3], [4, 4, 4]])
    np.testing.assert_allclose(found[0], [-1, -1, -1, -1.5, -1, -1.5, -1])
    np.testing.assert_allclose(found[1], [-1, -1, -1, -1, -1.5, -1, -1])


def test_what_lies_beyond_the_position_does_not_count():
    assert (apply(decoding.RepetitionPenalty(1.5), [[3, 5, 3, 6]], index=0) == -1).all()
    found = apply(decoding.RepetitionPenalty(1.5), [[3, 5, 4, 6]], index=2)
    np.testing.assert_allclose(found[0], [-1, -1, -1, -1.5, -1, -1.5, -1])
    assert ruled_out(decoding.NoRepeatNgram(1), [[3, 5, 4, 6]], index=2) == [[3, 5]]


@not_on_jax
@pytest.mark.parametrize(
    "size, rows, expected",
    [
        (1, [[3, 5, 3, 4]], [[3, 4, 5]]),
        (2, [[3, 5, 4, 3], [3, 5, 3, 5], [3, 3, 3, 3]], [[5], [3], [3]]),
        (3, [[3, 5, 4, 3, 5], [3, 5, 4, 5, 3], [5, 5, 5, 5, 5]], [[4], [], [5]]),
        (4, [[3, 5, 4]], [[]]),
        (12, [[3, 5, 4]], [[]]),
    ],
)
def test_no_ngram_twice(size, rows, expected):
    assert ruled_out(decoding.NoRepeatNgram(size), rows) == expected


def test_lengths_absolute_and_by_the_source():
    assert ruled_out(decoding.MinLength(3), [[3, 4]]) == [[END]]
    assert ruled_out(decoding.MinLength(3), [[3, 4, 5]]) == [[]]
    assert ruled_out(decoding.MinLength(3), [[3, 4, 5]], prompts=1) == [[END]]
    assert ruled_out(decoding.MaxLength(3), [[3, 4]]) == [[]]
    others = [v for v in range(VOCABULARY) if v != END]
    assert ruled_out(decoding.MaxLength(3), [[3, 4, 5]]) == [others]
    both = ruled_out(decoding.MaxLength(1, ratio=0.5), [[3, 4, 5], [3, 4, 5]], source_lengths=[5, 6])
    assert both == [others, []]
    assert ruled_out(decoding.MinLength(ratio=2.0), [[3, 4, 5], [3, 4, 5]], source_lengths=[1, 2]) == [[], [END]]


def test_search_keeps_every_rule():
    model = Toy(seed=1, sharpness=0.5)
    options = dict(no_repeat_ngram=1, min_length=2, forbidden=(3,))
    for search in ("greedy", "sample", "beam"):
        sequence = decoding.generate(model, search=search, max_length=9, **options).sequences(keep_end=True)[0][0]
        assert len(sequence) == len(set(sequence)) >= 3 and 3 not in sequence, search
        assert sequence[-1] == END


@not_on_jax
@pytest.mark.parametrize("search", ["greedy", "sample", "contrastive", "speculative"])
def test_constraints_that_exclude_all_tokens_end_the_sequence(search):
    """One token is allowed, once, and the minimum length is three."""
    model, options = Toy(seed=1), {"draft": Toy(seed=2)} if search == "speculative" else {}
    found = decoding.generate(
        model, search=search, max_length=6, allowed=[5], no_repeat_ngram=1, min_length=3, **options
    )
    assert found.sequences(keep_end=True) == [[[5, END]]]
    expected = [model.log_probs([])[5], model.log_probs([5])[END]]
    np.testing.assert_allclose(found.token_scores[0, 0, :2], expected, rtol=1e-4)


def test_a_beam_returns_nothing_where_no_sequence_keeps_the_constraints():
    found = decoding.generate(Toy(seed=1), search="beam", max_length=6, allowed=[5], no_repeat_ngram=1, min_length=3)
    assert found.lengths.tolist() == [[0]] and np.isneginf(found.scores).all()


@not_on_jax
def test_length_by_the_source_in_a_ragged_batch():
    found = decoding.generate(SourceToy(sharpness=0.1, seed=3), [[3] * 5, [4] * 2], max_ratio=1.0, max_length=16)
    found = decoding.generate(
        SourceToy(sharpness=0.1, seed=3),
        [[3] * 5, [4] * 2],
        search=decoding.Greedy(constraints=[decoding.MinLength(ratio=1.0), decoding.MaxLength(ratio=1.0)]),
        max_length=16,
    )
    assert found.lengths.tolist() == [[6], [3]]


@pytest.mark.parametrize("kind", ["none", "gnmt"])
def test_full_beam_finds_the_best_that_keeps_the_rules(kind):
    model = Toy(vocabulary_size=6, seed=4, sharpness=1.0)
    rules = (decoding.NoRepeatNgram(2), decoding.MinLength(2))
    found = decoding.generate(model, search=decoding.Beam(121, kind, n_best=3, constraints=rules), max_length=4)
    expected = []
    for sequence, total in all_sequences(model, 4):
        pairs = list(zip(sequence, sequence[1:]))
        if len(pairs) == len(set(pairs)) and not (sequence[-1] == END and len(sequence) < 3):
            expected.append((total / (((5 + len(sequence)) / 6) ** 0.6 if kind == "gnmt" else 1), sequence))
    expected = sorted(expected, reverse=True)[:3]
    assert found.sequences(keep_end=True)[0] == [sequence for _, sequence in expected]
    np.testing.assert_allclose(found.scores[0], [score for score, _ in expected], rtol=1e-4)


def keeps(rule, sequence, source):
    """Whether a whole sequence of at most 4 tokens keeps a rule, by its definition."""
    generated = sequence[:-1] if sequence[-1] == END else sequence
    share = int(getattr(rule, "ratio", 0) * len(source))
    if isinstance(rule, decoding.MinLength):
        return sequence[-1] != END or len(generated) >= rule.tokens + share
    if isinstance(rule, decoding.MaxLength):
        return len(generated) <= rule.tokens + share
    if isinstance(rule, decoding.NoRepeatNgram):
        grams = list(zip(*(sequence[i:] for i in range(rule.size))))
        return len(grams) == len(set(grams))
    if isinstance(rule, decoding.Allowed):
        return set(generated) <= set(rule.tokens)
    if isinstance(rule, decoding.Forbidden):
        return not set(sequence) & set(rule.tokens)
    return sequence[: len(rule.tokens)] == list(rule.tokens)[: len(sequence)] and len(sequence) >= len(rule.tokens)


RULES = [
    (decoding.ForcedPrefix([4, 5]), decoding.NoRepeatNgram(1)),
    (decoding.ForcedPrefix([3, 3]), decoding.MinLength(ratio=1.0)),
    (decoding.Allowed([3, 5]), decoding.MaxLength(ratio=0.7)),
    (decoding.Forbidden([5]), decoding.MinLength(1), decoding.MaxLength(1, ratio=0.5)),
]


@not_on_jax
@pytest.mark.parametrize("rules", RULES)
def test_full_beam_finds_the_best_of_all_that_keep(rules):
    """Every rule against its definition, over all sequences of at most 4 tokens."""
    model, source = SourceToy(vocabulary_size=6, seed=4, sharpness=1.0), [3, 4, 4]
    found = decoding.generate(model, [source], search=decoding.Beam(40, n_best=3, constraints=rules), max_length=4)
    expected = [
        (total / ((5 + len(sequence)) / 6) ** 0.6, sequence)
        for sequence, total in all_sequences(model, 4, bias=model.bias(source))
        if all(keeps(rule, sequence, source) for rule in rules)
    ]
    expected = sorted(expected, reverse=True)[:3]
    assert len(expected) >= 2
    sequences = [row[:n].tolist() for row, n in zip(found.tokens[0], found.lengths[0]) if n]
    assert sequences == [sequence for _, sequence in expected]
    np.testing.assert_allclose(found.scores[0, : len(expected)], [score for score, _ in expected], rtol=1e-4)


def test_prefix_comes_after_the_prompt_and_counts():
    model = Toy(seed=1, sharpness=0.5)
    found = decoding.generate(model, prompt=[[3], [], [4, 4]], prefix=[6, 5], max_length=7)
    for row, prompt in enumerate([[3], [], [4, 4]]):
        sequence = found.sequences(keep_end=True)[row][0]
        assert sequence[: len(prompt) + 2] == [*prompt, 6, 5]
        total = sum(model.log_probs(sequence[:i])[sequence[i]] for i in range(len(prompt), len(sequence)))
        assert found.scores[row, 0] == pytest.approx(total, rel=1e-4)


def test_beam_ranks_after_the_penalty_and_reports_the_model():
    model = Toy(seed=3, sharpness=1.0)
    rules = decoding.RepetitionPenalty(2.0)
    found = decoding.generate(model, search=decoding.Beam(5, "none", constraints=rules), max_length=5)
    sequence = found.sequences(keep_end=True)[0][0]
    each = [model.log_probs(sequence[:i])[sequence[i]] for i in range(len(sequence))]
    assert found.log_probabilities[0, 0] == pytest.approx(sum(each), rel=1e-4)
    penalised = sum(p * (2 if token in sequence[:i] else 1) for i, (p, token) in enumerate(zip(each, sequence)))
    assert found.scores[0, 0] == pytest.approx(penalised, rel=1e-4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: decoding.RepetitionPenalty(0.5), "`factor` must be a number .* got factor=0.5"),
        (lambda: decoding.NoRepeatNgram(0), "`size` must be an integer above 0; got size=0"),
        (lambda: decoding.MinLength(-1), "`tokens` must be an integer of at least 0; got tokens=-1"),
        (lambda: decoding.MaxLength(1, ratio=-0.5), "`ratio` must be a number .* got ratio=-0.5"),
        (lambda: decoding.ForcedPrefix([]), "`tokens` must be at least one token id; got tokens=\\[\\]"),
        (lambda: decoding.Forbidden([-2]), "`tokens` must be an integer of at least 0; got tokens=-2"),
        (
            lambda: decoding.generate(Toy(), search="greedy", max_ratio=1.5, max_length=5),
            "MaxLength: `ratio` needs a source with a mask .* got ratio=1.5 without one",
        ),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
