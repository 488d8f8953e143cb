"""Patches of images: their order, their padding, and what is refused."""

import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

from kerazoo.layers import PatchEmbedding, PatchEncoder

B, H, W, C, D = 3, 6, 10, 2, 7


def test_patches_equal_numpy():
    images = np.random.default_rng(0).normal(size=(B, H, W, C)).astype("float32")
    layer = PatchEmbedding(patch_size=(3, 2), hidden_dim=D)
    got = ops.convert_to_numpy(layer(images))
    kernel, bias, table = layer.get_weights()
    patches = images.reshape(B, 2, 3, 5, 2, C).transpose(0, 1, 3, 2, 4, 5).reshape(B, 10, -1)  # row by row
    np.testing.assert_allclose(got, patches @ kernel.reshape(-1, D) + bias + table, atol=1e-5)
    assert layer.compute_output_shape((B, H, W, C)) == (B, 10, D)


def test_other_sides_are_padded_with_zeros():
    images = np.random.default_rng(0).normal(size=(B, 5, 9, C)).astype("float32")
    layer = PatchEmbedding(patch_size=(3, 2), hidden_dim=D, positions="sinusoidal")
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)))
    np.testing.assert_allclose(layer(images), layer(padded), atol=1e-6)


def test_pixels_may_be_integers():
    layer = PatchEmbedding(patch_size=2, hidden_dim=D)
    images = np.arange(B * H * W * C).reshape(B, H, W, C) % 256
    np.testing.assert_allclose(layer(images.astype("uint8")), layer(images.astype("float32")), rtol=1e-5)


@not_on_jax
def test_a_stem_halves_the_image_in_front_of_the_patches():
    encoder = PatchEncoder(1, 8, num_heads=2, intermediate_dim=3, patch_size=(4, 1), stem_filters=(3, 5))
    assert encoder(np.ones((B, 13, 19, 1), "float32"))["sequence"].shape == (B, 5, 8)  # 4 x 5 positions
    assert encoder.embedding.projection.kernel.shape == (4, 1, 5, 8)
    assert PatchEncoder.from_config(encoder.get_config()).stem_filters == (3, 5)
    assert PatchEncoder(1, 8, num_heads=2, intermediate_dim=3, stem_filters=3).stem_filters == (3,)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: PatchEmbedding(patch_size=(1, 2, 3), hidden_dim=D),
            r"or a pair for height and width; got patch_size=",
        ),
        (lambda: PatchEmbedding(2, D).build((None, None, 4, 1)), "must have a known size where positions are learned"),
        (lambda: PatchEmbedding(2, D).build((None, 4, 1)), "PatchEmbedding: `inputs` must have 4 axes"),
        (
            lambda: PatchEncoder(1, 8, num_heads=2, intermediate_dim=3, stem_filters=0),
            r"`stem_filters\[0\]` must be an integer above 0; got stem_filters\[0\]=0",
        ),
        (
            lambda: PatchEncoder(1, D, num_heads=2, intermediate_dim=3),
            "`hidden_dim` must be divisible by `num_heads`; got hidden_dim=7, num_heads=2",
        ),
        (
            lambda: PatchEncoder(1, 8, num_heads=2, intermediate_dim=3)(np.ones((1, 4, 4, 1)), np.ones((1, 4), bool)),
            "PatchEncoder: images have no padding",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
