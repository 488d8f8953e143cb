import keras
import numpy as np
import pytest
from keras import ops

import oracles
from kerazoo import layers
from kerazoo.layers.positions import spaced_positions

RNG = np.random.default_rng(5)


def test_rotary_agrees_with_the_oracle():
    x = RNG.normal(size=(3, 7, 5, 6)).astype("float32")
    positions = RNG.integers(0, 100, size=(3, 7))
    got = ops.convert_to_numpy(layers.rotary(x, positions))
    for b, t, h in np.ndindex(3, 7, 5):
        np.testing.assert_allclose(got[b, t, h], oracles.rotate(x[b, t, h], positions[b, t]), atol=2e-5)
    shared = ops.convert_to_numpy(layers.rotary(x, positions[0]))
    np.testing.assert_allclose(shared[0], got[0], atol=1e-6)


def test_rotary_keeps_lengths_and_depends_on_distance_alone():
    query, key = RNG.normal(size=(2, 1, 1, 1, 10)).astype("float32")

    def product(m, n):
        a, b = layers.rotary(query, np.array([m])), layers.rotary(key, np.array([n]))
        return float(ops.sum(ops.convert_to_tensor(a) * b))

    assert product(2, 7) == pytest.approx(product(52, 57), abs=1e-4)
    assert product(2, 7) != pytest.approx(product(2, 11), abs=1e-3)
    turned = ops.convert_to_numpy(layers.rotary(query, np.array([13])))
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(query), rel=1e-5)


def test_rotary_refuses_an_odd_width():
    with pytest.raises(ValueError, match="rotary: the width of a head must be even; got 5"):
        layers.rotary(np.zeros((1, 2, 3, 5), "float32"), np.arange(2))


def test_spaced_positions_begin_at_zero_in_each_sequence_of_a_row():
    rows = np.array([[0, 1, 2, 3, 0, 1, 2], [0, 0, 1, 2, 3, 4, 5]])
    spaced = ops.convert_to_numpy(spaced_positions(rows, 4.0, keras.random.SeedGenerator(3)))
    assert np.all(spaced[rows == 0] == 0)
    gaps = np.diff(spaced)[rows[:, 1:] > 0]
    assert np.all((gaps >= 1) & (gaps <= 4)) and np.ptp(gaps) > 1
    assert np.array_equal(ops.convert_to_numpy(spaced_positions(rows, 4.0)), rows * 2.5)


def test_an_encoder_spaces_positions_in_training_alone():
    sizes = {"num_layers": 2, "hidden_dim": 12, "num_heads": 3, "intermediate_dim": 20, "dropout": 0.0}
    encoder = layers.TransformerEncoder(**sizes, positions="rotary", max_position_gap=5, return_dict=False)
    x = RNG.normal(size=(2, 9, 12)).astype("float32")
    predicted, again = (ops.convert_to_numpy(encoder(x)) for _ in range(2))
    assert np.array_equal(predicted, again)
    plain = layers.TransformerEncoder(**sizes, positions="rotary", return_dict=False)
    plain.build(x.shape)
    plain.set_weights([ops.convert_to_numpy(each) for each in encoder.weights])
    steps = np.tile(3 * np.arange(9), (2, 1))
    np.testing.assert_allclose(predicted, ops.convert_to_numpy(plain(x, positions=steps)), atol=1e-5)
    trained, other = (ops.convert_to_numpy(encoder(x, training=True)) for _ in range(2))
    assert not np.allclose(trained, other, atol=1e-4)


def test_an_encoder_refuses_gaps_of_other_positions():
    sizes = {"num_layers": 1, "hidden_dim": 12, "num_heads": 3, "intermediate_dim": 20}
    with pytest.raises(ValueError, match="above 1 needs positions='rotary'; got max_position_gap=2 with"):
        layers.TransformerEncoder(**sizes, max_position_gap=2)
    with pytest.raises(ValueError, match="`max_position_gap` must be .*got max_position_gap=0.5"):
        layers.TransformerEncoder(**sizes, positions="rotary", max_position_gap=0.5)


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoids_have_the_values_of_the_paper(width):
    waves = ops.convert_to_numpy(layers.SinusoidalPositions()(np.zeros((1, 11, width), "float32")))[0]
    half = (width + 1) // 2
    for t, i in np.ndindex(11, half):
        angle = t / 10000 ** (2 * i / width)
        assert waves[t, i] == pytest.approx(np.sin(angle), abs=1e-5)
        if half + i < width:
            assert waves[t, half + i] == pytest.approx(np.cos(angle), abs=1e-5)


def test_sinusoids_are_added_and_go_on_from_any_start():
    x = RNG.normal(size=(3, 7, 5)).astype("float32")
    layer = layers.SinusoidalPositions()
    whole = ops.convert_to_numpy(layer(x))
    rest = ops.convert_to_numpy(layer(x[:, 4:], start_index=ops.convert_to_tensor(4)))
    np.testing.assert_allclose(whole[:, 4:], rest, atol=1e-6)
    np.testing.assert_allclose((whole - x)[0], (whole - x)[2], atol=1e-6)


def test_sinusoids_refuse_a_base_of_one():
    with pytest.raises(ValueError, match="SinusoidalPositions: `base` must be a number.*got base=1"):
        layers.SinusoidalPositions(base=1)
    with pytest.raises(ValueError, match=r"SinusoidalPositions: `inputs` must have 3 axes; got shape \(3, 5\)"):
        layers.SinusoidalPositions()(np.zeros((3, 5), "float32"))


def test_learned_positions_are_rows_of_the_table():
    layer = layers.LearnedPositions(max_length=11)
    x = RNG.normal(size=(3, 7, 5)).astype("float32")
    whole = ops.convert_to_numpy(layer(x))
    table = ops.convert_to_numpy(layer.table)
    np.testing.assert_allclose(whole, x + table[:7], atol=1e-6)
    rest = ops.convert_to_numpy(layer(x, start_index=ops.convert_to_tensor(4)))
    np.testing.assert_allclose(rest, x + table[4:11], atol=1e-6)


def test_learned_positions_end_at_max_length():
    layer = layers.LearnedPositions(max_length=5)
    with pytest.raises(ValueError, match="LearnedPositions: .* got max_length=5 for 7 tokens"):
        layer(np.zeros((1, 7, 3), "float32"))
    with pytest.raises(ValueError, match="got max_length=5 for 6 tokens"):
        layer(np.zeros((1, 2, 3), "float32"), start_index=4)
    with pytest.raises(ValueError, match="LearnedPositions: `max_length` must be an integer above 0; got max_length=0"):
        layers.LearnedPositions(max_length=0)


def test_positions_in_half_precision_are_computed_in_float32():
    far = 4001  # bfloat16 has no odd number near it
    layer = layers.SinusoidalPositions(dtype="mixed_bfloat16")
    low = layer(np.zeros((1, 1, 6), "float32"), start_index=far)
    assert keras.backend.standardize_dtype(low.dtype) == "bfloat16"
    high = layers.SinusoidalPositions()(np.zeros((1, 1, 6), "float32"), start_index=far)
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(low, "float32")), ops.convert_to_numpy(high), atol=1e-2)


def test_positions_of_two_dimensions_are_those_of_rows_and_columns():
    x = RNG.normal(size=(2, 5, 7, 9)).astype("float32")
    got = ops.convert_to_numpy(layers.SinusoidalPositions2D()(x)) - x
    rows = ops.convert_to_numpy(layers.SinusoidalPositions()(np.zeros((1, 5, 4), "float32")))[0]
    columns = ops.convert_to_numpy(layers.SinusoidalPositions()(np.zeros((1, 7, 5), "float32")))[0]
    for row, column in np.ndindex(5, 7):
        np.testing.assert_allclose(got[1, row, column], [*rows[row], *columns[column]], atol=1e-5)
    with pytest.raises(ValueError, match="SinusoidalPositions2D: `inputs` must have 4 axes; got shape"):
        layers.SinusoidalPositions2D()(x[0])
