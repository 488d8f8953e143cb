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
