import keras
import numpy as np
import pytest

from kerazoo.training import metrics


def measured(metric, *batches):
    for batch in batches:
        metric.update_state(*batch)
    return float(metric.result())


@pytest.fixture
def batches():
    rng = np.random.default_rng(5)
    return [
        (
            rng.integers(0, 3, (5, 7)),
            rng.normal(size=(5, 7, 3)).astype("float32"),
            (rng.random((5, 7)) < 0.7).astype("float32"),
        )
        for _ in range(2)
    ]


def joined(batches):
    targets, logits, weight = (np.concatenate(parts) for parts in zip(*batches))
    return targets, logits.argmax(-1), weight > 0, logits


def test_token_accuracy_counts_real_tokens(batches):
    targets, predicted, real, _ = joined(batches)
    assert measured(metrics.TokenAccuracy(), *batches) == pytest.approx((predicted == targets)[real].mean(), rel=1e-6)


def test_token_accuracy_of_a_single_logit():
    logits = np.array([[2.0], [-1.0], [3.0]])
    assert measured(metrics.TokenAccuracy(), (np.array([1, 1, 1]), logits)) == pytest.approx(2 / 3)
    assert measured(metrics.TokenAccuracy(), (np.array([[1], [0], [1]]), logits)) == 1.0


def test_sequence_accuracy_needs_every_real_token():
    logits = np.eye(3)[[[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 0, 0]]]
    targets = np.array([[0, 1, 2], [0, 1, 1], [0, 1, 1], [1, 1, 1]])
    weight = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 0, 0]])
    assert measured(metrics.SequenceAccuracy(), (targets, logits, weight)) == pytest.approx(2 / 3)
    assert measured(metrics.SequenceAccuracy(), (targets, logits)) == pytest.approx(1 / 4)


def test_sequence_accuracy_of_packed_rows_is_that_of_their_sequences(batches):
    parts = [[5, 4, 2], [3, 2], [2], [4, 4, 4], [5, 2], [3, 3, 2]]  # the fourth was cut, so it has no end
    predicted = [[5, 4, 2], [3, 5], [2], [4, 4, 4], [5, 2], [5, 3, 2]]
    rows = [[0, 1, 2], [3], [4, 5], []]
    packed, logits = np.zeros((4, 7), int), np.zeros((4, 7, 6))
    for number, row in enumerate(rows):
        tokens, found = ([token for part in row for token in values[part]] for values in (parts, predicted))
        packed[number, : len(tokens)] = tokens
        logits[number, : len(found)] = np.eye(6)[found]
    batch = packed, logits, (packed > 0).astype("float32")
    assert measured(metrics.SequenceAccuracy(end_id=2), batch) == pytest.approx(4 / 6)
    assert measured(metrics.SequenceAccuracy(), batch) == pytest.approx(1 / 3)
    assert measured(metrics.SequenceAccuracy(end_id=99), *batches) == measured(metrics.SequenceAccuracy(), *batches)


def test_perplexity_is_the_same_in_one_batch_or_many(batches):
    targets, _, real, logits = joined(batches)
    each = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    assert measured(metrics.Perplexity(), *batches) == pytest.approx(np.exp(each[real].mean()), rel=1e-5)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_f1_agrees_with_scikit_learn(batches, average):
    reference = pytest.importorskip("sklearn.metrics")
    targets, predicted, real, _ = joined(batches)
    expected = reference.f1_score(targets[real], predicted[real], average=average)
    assert measured(
        metrics.F1(5, average=average),
        *[(t, np.pad(p, ((0, 0), (0, 0), (0, 2)), constant_values=-9), w) for t, p, w in batches],
    ) == pytest.approx(expected, rel=1e-5)


def test_f1_of_yes_or_no():
    logits = np.array([[1.0], [1.0], [-1.0], [-1.0], [1.0]])
    batch = (np.array([1, 0, 1, 0, 1]), logits, np.array([1, 1, 1, 1, 0]))
    assert measured(metrics.F1(2, average="binary"), batch) == pytest.approx(0.5)


def test_f1_leaves_out_classes_that_do_not_occur():
    assert measured(metrics.F1(7), (np.array([0, 1]), np.eye(7)[[0, 1]])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "make",
    [
        metrics.TokenAccuracy,
        metrics.SequenceAccuracy,
        lambda: metrics.SequenceAccuracy(end_id=1),
        metrics.Perplexity,
        lambda: metrics.F1(3, "micro"),
    ],
)
def test_reset_and_config_round_trip(make, batches):
    metric = make()
    metric.update_state(*batches[0])
    metric.reset_state()
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert measured(metric, batches[1]) == measured(again, batches[1])
    assert type(again) is type(metric) and again.name == metric.name
    assert len(metric.variables) == len({id(variable) for variable in metric.variables}) > 1


def test_works_as_a_weighted_metric_of_compile(batches):
    targets, logits, weight = batches[0]
    model = keras.Sequential([keras.layers.Activation("linear")])
    model.compile(loss="mse", weighted_metrics=[metrics.TokenAccuracy(), metrics.F1(3)])
    with_weight = model.compute_metrics(None, targets, logits, weight)
    assert float(with_weight["accuracy"]) == pytest.approx((logits.argmax(-1) == targets)[weight > 0].mean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, r"F1: `num_classes` must be at least 2; got num_classes=1"),
        ({"num_classes": 3, "average": "binary"}, r"must be 2 with average='binary'; got num_classes=3"),
        ({"num_classes": 3, "average": "mean"}, r"F1: `average` must be one of 'macro', .*got average='mean'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        metrics.F1(**arguments)
