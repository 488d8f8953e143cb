"""RandomShift: what moves, where to, and what comes in at the open end."""

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import _backend
from kerazoo.layers import RandomShift, roll

B, T = 61, 7
TOKENS = np.arange(1, B * T + 1).reshape(B, T).astype("int32")


def moved(layer, inputs, **options):
    return ops.convert_to_numpy(layer(inputs, training=True, **options))


def offsets(outputs, inputs, expect):
    """For each row the one offset k for which `expect(row, k)` is what came out."""
    found = []
    for row, out in zip(inputs, outputs):
        fits = [k for k in range(-2, 3) if np.array_equal(expect(row, k), out)]
        assert len(fits) == 1, (row, out)
        found += fits
    return found


def test_sequences_rotate_by_every_offset_and_keep_their_dtype():
    outputs = moved(RandomShift(2, seed=3), TOKENS)
    assert outputs.dtype == "int32"
    assert set(offsets(outputs, TOKENS, np.roll)) == {-2, -1, 0, 1, 2}


def test_it_is_roll_by_a_random_offset():
    outputs = moved(RandomShift(1, seed=3), TOKENS)
    row = offsets(outputs, TOKENS, np.roll).index(-1)
    assert np.array_equal(roll(TOKENS)[row], outputs[row])


def slide(row, k, fill):
    """One row moved by k, one position at a time."""
    for _ in range(abs(k)):
        end = row[:1] if k > 0 else row[-1:]
        end = end if fill == "edge" else np.zeros_like(end)
        row = np.concatenate([end, row[:-1]] if k > 0 else [row[1:], end])
    return row


@pytest.mark.parametrize("fill", ["zero", "edge"])
@pytest.mark.parametrize("channels", [(), (1,), (3,)], ids=["waveform", "mono", "series"])
def test_series_and_waveforms_slide_in_time(fill, channels):
    inputs = np.random.default_rng(0).normal(size=(B, T, *channels)).astype("float32")
    outputs = moved(RandomShift(2, fill=fill, seed=3), inputs)
    assert set(offsets(outputs, inputs, lambda row, k: slide(row, k, fill))) == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("fill", ["wrap", "zero", "edge"])
def test_images_move_along_both_axes(fill):
    inputs = np.random.default_rng(0).normal(size=(B, 5, T, 3)).astype("float32")
    outputs = moved(RandomShift((1, 2), axes=(1, 2), fill=fill, seed=3), inputs)

    def shift(image, down, right):
        if fill == "wrap":
            return np.roll(image, (down, right), axis=(0, 1))
        image = slide(image, down, fill)
        return slide(image.swapaxes(0, 1), right, fill).swapaxes(0, 1)

    every = [(down, right) for down in (-1, 0, 1) for right in (-2, -1, 0, 1, 2)]
    for image, out in zip(inputs, outputs):
        assert sum(np.array_equal(shift(image, *both), out) for both in every) == 1


@pytest.mark.parametrize("fill", ["wrap", "zero", "edge"])
@pytest.mark.parametrize("right", [True, False], ids=["right", "any"])
def test_only_valid_tokens_move_and_padding_stays(fill, right):
    rng = np.random.default_rng(1)
    mask = np.arange(T)[None] < rng.integers(3, T + 1, size=(B, 1)) if right else rng.random((B, T)) < 0.6
    mask[0] = False
    outputs = moved(RandomShift(2, fill=fill, seed=3), TOKENS, padding_mask=mask)
    assert np.array_equal(outputs[~mask], TOKENS[~mask])
    for row, out, valid in zip(TOKENS, outputs, mask):
        tokens = row[valid]
        expect = [np.roll(tokens, k) if fill == "wrap" else slide(tokens, k, fill) for k in range(-2, 3)]
        assert any(np.array_equal(each, out[valid]) for each in expect)


def test_nothing_moves_in_inference():
    for options in ({}, {"training": False}):
        assert np.array_equal(RandomShift(3)(TOKENS, **options), TOKENS)


def test_every_call_samples_anew_and_a_seed_repeats_it():
    layer = RandomShift(3, seed=11)
    first, second = moved(layer, TOKENS), moved(layer, TOKENS)
    assert not np.array_equal(first, second)
    again = RandomShift(3, seed=11)
    assert np.array_equal(moved(again, TOKENS), first)
    assert np.array_equal(moved(again, TOKENS), second)


def test_it_compiles():
    layer = RandomShift(2, seed=3)
    mask = TOKENS % T != 0
    if keras.backend.backend() == "jax":
        import jax

        layer.build(TOKENS.shape)
        state = [v.value for v in layer.non_trainable_variables]
        program = jax.jit(lambda x: layer.stateless_call([], state, x, padding_mask=mask, training=True)[0])
    else:
        program = _backend.compile(lambda x: layer(x, padding_mask=mask, training=True), layer.variables, jit=True)
    outputs = ops.convert_to_numpy(program(TOKENS))
    assert np.array_equal(outputs, moved(RandomShift(2, seed=3), TOKENS, padding_mask=mask))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomShift(0), ValueError, r"RandomShift: `max_shift\[0\]` .* max_shift\[0\]=0"),
        (lambda: RandomShift(0.5), TypeError, r"RandomShift: `max_shift` .* max_shift=0.5"),
        (lambda: RandomShift(1, axes=0), ValueError, r"RandomShift: `axes\[0\]` .* axes\[0\]=0"),
        (lambda: RandomShift((1, 2)), ValueError, r"`max_shift` .* max_shift=\(1, 2\), axes=\(1,\)"),
        (lambda: RandomShift(1, fill="nearest"), ValueError, r"`fill` must be one of 'wrap', .* fill='nearest'"),
        (lambda: RandomShift(1, axes=2)(TOKENS), ValueError, r"`axes` must be axes .* axes=\(2,\), shape \(61, 7\)"),
        (
            lambda: RandomShift(1, axes=(1, 2))(TOKENS[..., None], padding_mask=TOKENS > 0),
            ValueError,
            r"RandomShift: `padding_mask` needs axes=1; got axes=\(1, 2\)",
        ),
    ],
)
def test_errors_name_argument_and_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
