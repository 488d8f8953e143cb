"""Confusion and calibration by hand and by scikit-learn; neighbours and the plane of vectors by NumPy."""

import numpy as np
import pytest

import kerazoo as kz


def test_the_calibration_error_by_hand():
    probabilities = [[0.95, 0.05], [0.05, 0.95], [0.65, 0.35], [0.4, 0.6], [1.0, 0.0]]
    found = kz.inspect.calibration(probabilities, [0, 0, 0, 1, 0], bins=5)
    assert found.counts.tolist() == [0, 0, 1, 1, 3]  # 0.6 is the upper edge of the third
    np.testing.assert_allclose(found.confidence[2:], [0.6, 0.65, 2.9 / 3])
    np.testing.assert_allclose(found.accuracy[2:], [1, 1, 2 / 3])
    np.testing.assert_allclose(found.error, (0.4 + 0.35 + 0.9) / 5)
    assert kz.inspect.draw_calibration(found, "dev")[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(2,\)"):
        kz.inspect.calibration([0.5, 0.5], [0, 1])


def test_the_temperature_undoes_that_of_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4001, 3)) * 2
    odds = np.exp(logits)
    labels = (rng.random((4001, 1)) < (odds / odds.sum(1, keepdims=True)).cumsum(1)).argmax(1)
    for factor in (0.5, 1.0, 3.0):
        assert abs(kz.inspect.fit_temperature(logits * factor, labels) / factor - 1) < 0.08


def test_names_that_are_numbers_are_sorted_as_numbers():
    classes, counts = kz.inspect.confusion_matrix(["10", "9", "b"], ["9", "9", "a"])
    assert classes == ["9", "10", "a", "b"]
    assert counts.sum() == 3 and counts[1, 0] == 1 and counts[3, 2] == 1
    with pytest.raises(ValueError, match="`predicted` must have 1 names; got 2"):
        kz.inspect.confusion_matrix(["a"], ["a", "b"])


def test_neighbours_are_those_with_the_largest_cosine():
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(31, 5)), rng.normal(size=(3, 5))
    rows, cosines = kz.inspect.nearest(vectors, queries, count=4)
    expected = (queries @ vectors.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(vectors, axis=1)
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :4])
    np.testing.assert_allclose(cosines, np.sort(expected, axis=1)[:, :-5:-1], atol=1e-5)
    with pytest.raises(ValueError, match="must have the width of `vectors`"):
        kz.inspect.nearest(vectors, queries[:, :4])


def test_the_plane_is_that_of_the_principal_components():
    from sklearn.decomposition import PCA

    vectors = np.random.default_rng(0).normal(size=(31, 5)) * [5, 1, 3, 0.5, 0.1]
    found, expected = kz.inspect.project(vectors), PCA(2).fit(vectors)
    np.testing.assert_allclose(np.abs(found.points), np.abs(expected.transform(vectors)), atol=1e-4)
    np.testing.assert_allclose(found.shares, expected.explained_variance_ratio_, atol=1e-6)
    picture = kz.inspect.draw_projection(found, ["a", "b", "c"] * 10 + ["d"], ["$x$"] + [""] * 30)
    assert picture[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match=r"must have at least 2 rows and columns; got shape \(1, 5\)"):
        kz.inspect.project(vectors[:1])
