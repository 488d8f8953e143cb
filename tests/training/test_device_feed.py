import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo.training import device_feed


@pytest.fixture
def corpus():
    rng = np.random.default_rng(2)
    return kz.data.Corpus(
        {
            "source": kz.data.Ragged.from_rows([rng.integers(1, 200, n) for n in (3, 0, 7, 5, 2)], np.uint8),
            "targets": kz.data.Ragged.from_rows([rng.integers(1, 9, n) for n in (1, 2, 3, 4, 5)]),
            "image": rng.integers(0, 256, (5, 2, 3)).astype(np.uint8),
            "label": rng.integers(0, 9, 5),
            "value": rng.random((5, 2)),
        }
    )


def test_gather_equals_the_batches_of_the_corpus(corpus):
    rows, lengths = np.array([4, 2, -1, 1, 3], np.int32), {"source": 6, "targets": 5}
    features, valid = device_feed.gather(device_feed.to_device(corpus.features), ops.convert_to_tensor(rows), lengths)
    expected, real = corpus.batch(rows, lengths)
    np.testing.assert_array_equal(valid, real)
    for name, array in expected.items():
        found = ops.convert_to_numpy(features[name])
        np.testing.assert_array_equal(found, array.astype(found.dtype))
        assert found.dtype.itemsize == min(4, array.dtype.itemsize), name


def test_corpus_of_empty_rows():
    arrays = device_feed.to_device({"source": kz.data.Ragged.from_rows([[], []])})
    features, _ = device_feed.gather(arrays, ops.convert_to_tensor(np.array([1, -1], np.int32)), {"source": 3})
    np.testing.assert_array_equal(features["source"], np.zeros((2, 3)))


def test_token_lengths_are_those_of_the_targets(corpus):
    np.testing.assert_array_equal(device_feed.token_lengths(corpus.features), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(device_feed.token_lengths({"source": corpus.features["source"]}), [3, 0, 7, 5, 2])
    assert device_feed.token_lengths({"image": corpus.features["image"]}) is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        TypeError, match=r"features on the device must be numbers; got 'word' of dtype <U1. .*kerazoo.data.dataset"
    ):
        device_feed.to_device({"word": np.array(["a"])})
    with pytest.raises(
        ValueError, match=r"feature 'id' has values or offsets up to 4294967296, above the range of 32 bits"
    ):
        device_feed.to_device({"id": np.array([2**32])})


def test_packed_rows_equal_those_of_the_pipeline(corpus):
    from kerazoo.data.pipeline import gather

    held = kz.data.Corpus({name: corpus.features[name] for name in ("source", "targets")})
    (batch,) = kz.data.PackedPlan.of(held, tokens=1000).epoch(0)
    shape = kz.data.PackedPlan.of(held, tokens=1000).shapes[0]
    rows = np.concatenate([batch.rows, np.full_like(batch.rows[:1], -1)])
    found = device_feed.gather(device_feed.to_device(held.features), ops.convert_to_tensor(rows), shape.lengths)
    expected = gather(held, rows, shape)
    np.testing.assert_array_equal(found[1], expected[1])
    assert set(found[0]) == set(expected[0])
    for name, array in expected[0].items():
        np.testing.assert_array_equal(ops.convert_to_numpy(found[0][name]), array)
