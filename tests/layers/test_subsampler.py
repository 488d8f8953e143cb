"""The convolutional subsampler against NumPy, its masks, and the encoders that begin with it."""

import numpy as np
import pytest
from toys import JAX, not_on_jax

from kerazoo import layers


def floats(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def by_hand(x, kernel, norm, strides):
    """One convolution at every multiple of `strides`, a layer normalization and a ReLU, as loops."""
    size = kernel.shape[0]
    before = (size - 1) // 2
    padded = np.pad(x, ((before, size), (0, 0)))
    rows = np.array([np.tensordot(padded[at : at + size], kernel, 2) for at in range(0, len(x), strides)])
    rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + norm.epsilon)
    return np.maximum(rows, 0)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 8, 11])
def test_subsampler_equals_numpy(length):
    layer = layers.ConvSubsampler(filters=(5, 7), kernel_size=3)
    x = floats(1, length, 3)
    found = np.asarray(layer(x))[0]
    expected = x[0]
    for convolution, norm in zip(layer.convolutions, layer.norms):
        kernel = np.reshape(np.asarray(convolution.kernel), (3, expected.shape[1], -1))
        expected = by_hand(expected, kernel, norm, 2)
    assert len(found) == -(-length // 4)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@not_on_jax
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [2, 3, 5])
def test_padding_changes_no_valid_position(strides, kernel_size):
    layer = layers.ConvSubsampler(filters=(5, 7), kernel_size=kernel_size, strides=strides)
    for length in (7,) if JAX else (1, 4, 7, 10):  # JAX compiles each shape
        alone = np.asarray(layer(floats(2, length, 3)))
        for padding in (1, 2, 3, 5):
            padded = np.concatenate([floats(2, length, 3), 9 + floats(2, padding, 3)], axis=1)
            mask = np.arange(length + padding)[None] < np.array([[length]] * 2)
            found, valid = np.asarray(layer(padded, padding_mask=mask)), np.asarray(layer.subsample_mask(mask))
            assert valid.sum(axis=1).tolist() == [alone.shape[1]] * 2
            np.testing.assert_allclose(found[:, : alone.shape[1]], alone, atol=1e-5)
            np.testing.assert_array_equal(found[:, alone.shape[1] :], 0)


@not_on_jax
@pytest.mark.parametrize(
    "encoder",
    [
        layers.SubsampledLSTMEncoder(5, 2, bidirectional=True, filters=(7, 7)),
        layers.SubsampledTransformerEncoder(1, 12, 3, 17, filters=(7, 7)),
        layers.SubsampledTransformerEncoder(1, 12, 3, 17, filters=(7, 7), positions="rotary"),
    ],
    ids=["lstm", "transformer", "rotary"],
)
def test_encoders_ignore_padding(encoder):
    x = floats(1, 13, 3)
    alone = encoder(x)
    padded = np.concatenate([x, np.full((1, 6, 3), 5, "float32")], axis=1)
    found = encoder(padded, padding_mask=np.arange(19)[None] < 13)
    assert np.asarray(found["mask"]).tolist() == [[True] * 4 + [False]]
    np.testing.assert_allclose(np.asarray(found["sequence"])[:, :4], alone["sequence"], atol=1e-5)
    for one, other in zip(np.ravel(found.get("state", ())), np.ravel(alone.get("state", ()))):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_spec_augment_masks_stretches_and_bands():
    frames, lengths = np.ones((200, 50, 13), "float32"), np.full(200, 40)
    layer = layers.SpecAugment(1, 9, 1, 4, time_fraction=0.5, seed=2)
    mask = np.arange(50)[None] < lengths[:, None]
    zero = np.asarray(layer(frames, padding_mask=mask, training=True)) == 0
    times, bands = zero.all(axis=2), zero.all(axis=1)
    assert not times[:, 40:].any()
    assert set(times.sum(axis=1)) == set(range(10)) and set(bands.sum(axis=1)) == set(range(5))
    np.testing.assert_array_equal(zero, times[:, :, None] | bands[:, None, :])
    for rows in (times, bands):  # each is one stretch
        assert (np.diff(rows.astype(int), axis=1, prepend=0) == 1).sum(axis=1).max() == 1
    assert times[:, 0].any() and times[:, 39].any() and bands[:, 12].any()


@not_on_jax
def test_spec_augment_never_masks_more_than_a_fraction_of_the_time():
    layer = layers.SpecAugment(1, 100, 0, 0, time_fraction=0.25, seed=2)
    mask = np.arange(40)[None] < np.array([[40], [12], [3]])
    zero = np.stack([np.asarray(layer(np.ones((3, 40, 2), "float32"), mask, training=True)) == 0 for _ in range(60)])
    assert zero[..., 0].sum(axis=2).max(axis=0).tolist() == [10, 3, 0]
