import keras
import numpy as np
from keras import ops

from kerazoo import layers


def test_masks_are_true_where_attention_is_allowed():
    assert ops.convert_to_numpy(layers.padding_mask(np.array([[4, 0, 3, 0]]))).tolist() == [[True, False, True, False]]
    assert ops.convert_to_numpy(layers.padding_mask(np.array([[4, 9]]), pad_id=9)).tolist() == [[True, False]]
    mask = ops.convert_to_numpy(layers.causal_mask(5))
    assert mask.dtype == bool and np.array_equal(mask, np.tril(np.ones((1, 5, 5), bool)))


def test_masked_mean_counts_valid_positions_only():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5, 2)).astype("float32")
    mask = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
    mean = ops.convert_to_numpy(layers.masked_mean(x, mask))
    np.testing.assert_allclose(mean[0], x[0, :2].mean(0), rtol=1e-6)
    np.testing.assert_allclose(mean[1], x[1, [1, 3, 4]].mean(0), rtol=1e-6)
    assert np.array_equal(mean[2], [0, 0])
    np.testing.assert_allclose(ops.convert_to_numpy(layers.masked_mean(x)), x.mean(1), rtol=1e-5)
    assert keras.backend.standardize_dtype(layers.masked_mean(ops.cast(x, "bfloat16"), mask).dtype) == "bfloat16"


def test_last_valid_skips_padding_on_either_side():
    x = np.arange(3 * 5 * 2, dtype="float32").reshape(3, 5, 2)
    mask = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    last = ops.convert_to_numpy(layers.last_valid(x, mask))
    assert np.array_equal(last, [x[0, 1], x[1, 4], x[2, 0]])
    assert np.array_equal(ops.convert_to_numpy(layers.last_valid(x)), x[:, -1])
