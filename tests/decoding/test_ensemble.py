"""An ensemble writes by the mean of the probabilities of its models."""

import keras
import numpy as np
import pytest
from toys import END, LookingToy, SourceToy, Toy, not_on_jax, tokens

from kerazoo import decoding, models

pytestmark = pytest.mark.usefixtures("run_eagerly")

SOURCES = [[3, 4, 5], [6], [5, 3, 3, 4]]


def mean_log_probs(generated, source, parts, weights):
    each = [np.exp(part.log_probs(generated, part.bias(source))) for part in parts]
    return np.log(sum(weight * p for weight, p in zip(weights, each)))


@pytest.mark.parametrize("weights", [pytest.param(None, marks=not_on_jax), [1, 3]])
def test_equals_the_mean_by_hand(weights):
    parts = [SourceToy(seed=1, size=5, sharpness=1.0), LookingToy(seed=2, size=3, sharpness=1.0)]
    both = decoding.Ensemble(parts, weights)
    found = both.generate(SOURCES, search="beam", num_beams=1, length_penalty="none", max_length=7)
    greedy = both.generate(SOURCES, max_length=7)
    scale = [0.5, 0.5] if weights is None else [0.25, 0.75]
    for row, source in enumerate(SOURCES):
        generated, total = [], 0.0
        while len(generated) < 7 and generated[-1:] != [END]:
            log_probs = mean_log_probs(generated, source, parts, scale)
            generated.append(max(tokens(parts[0]), key=lambda v: log_probs[v]))
            total += log_probs[generated[-1]]
        assert greedy.sequences(keep_end=True)[row][0] == generated
        assert greedy.scores[row, 0] == pytest.approx(total, rel=1e-4)
    scored = both.score(SOURCES, [sequences[0] for sequences in greedy.sequences(keep_end=True)])
    np.testing.assert_allclose(scored.scores, greedy.scores[:, 0], rtol=1e-4)
    assert found.tokens.shape == greedy.tokens.shape
    # The attention of the one that shows it, and the vectors of both.
    for options in ({"search": "beam", "coverage_penalty": 0.2}, {"search": "contrastive", "top_k": 3}):
        assert both.generate(SOURCES, max_length=7, **options).tokens.shape == (3, 1, 7)


@not_on_jax  # the toys show it there
def test_an_lstm_with_a_transformer():
    keras.utils.set_random_seed(4)
    lstm = models.LSTMSeq2Seq(11, 7, embedding_dim=5, units=6, num_layers=2, attention="multiplicative")
    transformer = models.TransformerSeq2Seq(
        11, 7, num_encoder_layers=1, num_decoder_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16
    )
    both = decoding.Ensemble([lstm, transformer])
    found = both.generate(SOURCES, search="beam", num_beams=2, n_best=2, max_length=5)
    for row, sequences in enumerate(found.sequences(keep_end=True)):
        for rank, sequence in enumerate(sequences):
            each = [m.score([SOURCES[row]], [sequence]).token_scores[0] for m in (lstm, transformer)]
            mean = np.log((np.exp(each[0].astype("float64")) + np.exp(each[1].astype("float64"))) / 2)
            np.testing.assert_allclose(found.token_scores[row, rank, : len(sequence)], mean, rtol=1e-3, atol=1e-5)


def test_language_models():
    parts = [Toy(seed=1), Toy(seed=2)]
    found = decoding.Ensemble(parts).generate(prompt=[[3], []], max_length=6)
    for row, prompt in enumerate([[3], []]):
        sequence = found.sequences(keep_end=True)[row][0]
        for index in range(len(prompt), len(sequence)):
            mean = sum(np.exp(part.log_probs(sequence[:index])) for part in parts)
            assert sequence[index] == max(tokens(parts[0]), key=lambda v: mean[v])


@not_on_jax  # a Keras model like any other
def test_language_models_are_evaluated_together():
    parts = [
        models.TransformerLM(7, 1, hidden_dim=8, num_heads=2, intermediate_dim=16),
        models.TransformerLM(7, 2, hidden_dim=12, num_heads=3, intermediate_dim=10),
    ]
    ids = np.array([[3, 4, 5, 2], [6, 2, 0, 0]], "int32")
    both = decoding.Ensemble(parts, [1, 3]).teacher_forced()
    each = [np.asarray(keras.ops.softmax(part(ids))) for part in parts]
    mean = each[0] / 4 + 3 * each[1] / 4
    np.testing.assert_allclose(keras.ops.convert_to_numpy(both(ids)), np.log(mean), rtol=1e-4, atol=1e-5)
    both.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rows, columns = np.indices(ids.shape)
    assert both.evaluate(ids, ids, verbose=0) == pytest.approx(-np.log(mean[rows, columns, ids]).mean(), rel=1e-4)


class Limited(Toy):
    max_length = 5


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: decoding.Ensemble([Toy()]), "`models` must be two or more; got 1"),
        (lambda: decoding.Ensemble([Toy(), Toy(vocabulary_size=9)]), "agree in `vocabulary_size`; got 7, 9"),
        (lambda: decoding.Ensemble([Toy(), SourceToy()]), "agree in `source_pad_ids`; got .*'source': 0"),
        (lambda: decoding.Ensemble([Toy(), Toy()], [1]), "`weights` must be one for each model; got 1 for 2 models"),
        (lambda: decoding.Ensemble([Toy(), Toy()], [1, 0]), "`weights` must be a number .* got weights=0"),
        (
            lambda: decoding.Ensemble([Toy(), Toy()], vocabulary_hashes=["a1", "b2"]),
            "agree in `vocabulary_hashes`; got 'a1', 'b2'",
        ),
        (lambda: decoding.Ensemble([Toy(), Limited()]).generate(max_length=6), "`max_length` must be at most 5"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
