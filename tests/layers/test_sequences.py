import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import layers


def test_shift_right_puts_the_start_first_and_drops_the_last():
    targets = np.array([[5, 6, 7], [8, 9, 0]], "int32")
    shifted = layers.shift_right(targets, start_id=1)
    assert ops.convert_to_numpy(shifted).tolist() == [[1, 5, 6], [1, 8, 9]]
    assert keras.backend.standardize_dtype(shifted.dtype) == "int32"


def test_shift_right_of_symbolic_tokens_keeps_the_unknown_shape():
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, layers.shift_right(tokens, 1))
    assert ops.convert_to_numpy(model(np.array([[3, 4]]))).tolist() == [[1, 3]]


def test_shift_right_refuses_a_flat_list():
    with pytest.raises(ValueError, match=r"shift_right: `targets` must have 2 axes; got shape \(3,\)"):
        layers.shift_right(np.array([1, 2, 3]), 1)


def test_roll_moves_towards_the_start():
    x = np.array([[1, 2, 3, 4, 5]])
    assert ops.convert_to_numpy(layers.roll(x)).tolist() == [[2, 3, 4, 5, 1]]
    assert ops.convert_to_numpy(layers.roll(x, shift=2)).tolist() == [[4, 5, 1, 2, 3]]
    assert ops.convert_to_numpy(layers.roll(x.T, axis=0)).tolist() == [[2], [3], [4], [5], [1]]


def test_masks_are_true_where_attention_is_allowed():
    assert ops.convert_to_numpy(layers.padding_mask(np.array([[4, 0, 3, 0]]))).tolist() == [[True, False, True, False]]
    assert ops.convert_to_numpy(layers.padding_mask(np.array([[4, 9]]), pad_id=9)).tolist() == [[True, False]]
    mask = ops.convert_to_numpy(layers.causal_mask(5))
    assert mask.dtype == bool and np.array_equal(mask, np.tril(np.ones((1, 5, 5), bool)))


def test_masked_mean_counts_real_positions_only():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5, 2)).astype("float32")
    mask = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
    mean = ops.convert_to_numpy(layers.masked_mean(x, mask))
    np.testing.assert_allclose(mean[0], x[0, :2].mean(0), rtol=1e-6)
    np.testing.assert_allclose(mean[1], x[1, [1, 3, 4]].mean(0), rtol=1e-6)
    assert np.array_equal(mean[2], [0, 0])
    np.testing.assert_allclose(ops.convert_to_numpy(layers.masked_mean(x)), x.mean(1), rtol=1e-5)
    assert keras.backend.standardize_dtype(layers.masked_mean(ops.cast(x, "bfloat16"), mask).dtype) == "bfloat16"


def test_last_real_skips_padding_on_either_side():
    x = np.arange(3 * 5 * 2, dtype="float32").reshape(3, 5, 2)
    mask = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    last = ops.convert_to_numpy(layers.last_real(x, mask))
    assert np.array_equal(last, [x[0, 1], x[1, 4], x[2, 0]])
    assert np.array_equal(ops.convert_to_numpy(layers.last_real(x)), x[:, -1])
