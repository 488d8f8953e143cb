"""Losses and metrics of pairs of vectors against NumPy."""

import keras
import numpy as np
import pytest
from toys import not_on_jax

from kerazoo import training

RNG = np.random.default_rng(11)
VECTORS = RNG.normal(size=(7, 10)).astype("float32")
IDS = np.array([[1, 2], [3, 4], [5, 2], [7, 8], [9, 10], [3, 12], [13, 14]], "int32")
WEIGHT = np.array([1, 1, 1, 0.5, 1, 1, 0], "float32")


def expected_crossentropy(ids, vectors, weight):
    """The loss by loops over the pairs, with the candidates of each row spelled out."""
    first, second = vectors[:, :5].astype("float64"), vectors[:, 5:].astype("float64")
    losses = np.zeros(len(ids))
    for i in range(len(ids)):
        others = [
            j
            for j in range(len(ids))
            if j == i or (ids[i, 0] != ids[j, 0] and ids[i, 1] != ids[j, 1] and weight[i] and weight[j])
        ]
        own = first[i] @ second[i]
        rows = np.log(np.sum(np.exp([first[i] @ second[j] for j in others]))) - own
        columns = np.log(np.sum(np.exp([first[j] @ second[i] for j in others]))) - own
        losses[i] = (rows + columns) / 2
    return np.sum(losses * weight) / np.sum(weight)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_in_batch_crossentropy_is_that_of_loops(weight):
    loss = training.InBatchCrossentropy()(IDS, VECTORS, weight)
    expected = expected_crossentropy(IDS, VECTORS, np.ones(7) if weight is None else weight)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@not_on_jax
def test_rows_that_fill_up_a_batch_change_nothing():
    short = training.InBatchCrossentropy()(IDS[:6], VECTORS[:6], WEIGHT[:6])
    np.testing.assert_allclose(training.InBatchCrossentropy()(IDS, VECTORS, WEIGHT), short, rtol=1e-6)
    short, full = training.InBatchAccuracy(), training.InBatchAccuracy()
    short.update_state(IDS[:6], VECTORS[:6], WEIGHT[:6])
    full.update_state(IDS, VECTORS, WEIGHT)
    np.testing.assert_allclose(full.result(), short.result())


@not_on_jax
def test_equal_texts_are_no_negatives():
    vectors = np.array([[9, 0, 9, 0], [9, 0, 9, 0]], "float32")
    assert float(training.InBatchCrossentropy()(np.array([[1, 2], [3, 4]]), vectors)) == pytest.approx(
        np.log(2), rel=1e-5
    )
    assert float(training.InBatchCrossentropy()(np.array([[1, 2], [3, 2]]), vectors)) == pytest.approx(0, abs=1e-5)


@not_on_jax
def test_accuracy_counts_a_tie_as_wrong():
    accuracy = training.InBatchAccuracy()
    ids = np.array([[1, 2], [3, 4], [5, 6]])
    accuracy.update_state(ids, np.array([[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1]], "float32"))
    assert float(accuracy.result()) == pytest.approx(1 / 3)


def cosines(vectors):
    first, second = vectors[:, :5].astype("float64"), vectors[:, 5:].astype("float64")
    return np.sum(first * second, 1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


def test_cosine_error_and_correlation_are_those_of_numpy():
    scores = RNG.random(7).astype("float32")
    expected = np.sum(WEIGHT * (cosines(VECTORS) - scores) ** 2) / np.sum(WEIGHT)
    np.testing.assert_allclose(training.CosineError()(scores, VECTORS, WEIGHT), expected, rtol=1e-5)
    np.testing.assert_allclose(training.CosineError()(scores[:, None], 3 * VECTORS, WEIGHT), expected, rtol=1e-5)
    correlation = training.CosineCorrelation()
    for rows in (slice(0, 3), slice(3, 7)):
        correlation.update_state(scores[rows], VECTORS[rows])
    np.testing.assert_allclose(correlation.result(), np.corrcoef(cosines(VECTORS), scores)[0, 1], rtol=1e-4)


def test_vectors_of_zeros_have_a_cosine_of_zero_and_finite_gradients():
    zeros = keras.ops.zeros((2, 10))
    np.testing.assert_array_equal(training.pair_losses.pair_cosines(zeros), [0, 0])
    assert np.isfinite(float(training.InBatchCrossentropy()(IDS[:2], zeros)))


@pytest.mark.parametrize(
    "cls", [training.InBatchCrossentropy, training.CosineError, training.InBatchAccuracy, training.CosineCorrelation]
)
def test_configs_come_back(cls):
    again = cls.from_config(cls(name="mine").get_config())
    assert again.name == "mine" and keras.saving.get_registered_name(cls) == f"kerazoo>{cls.__name__}"
