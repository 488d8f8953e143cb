"""The convolutional blocks and the encoder made of them: shapes, masks, normalisation, the shuffle."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

from kerazoo.layers import (
    ConvBlock,
    ConvEncoder,
    SeparableConvBlock,
    ShuffleBlock,
    SinusoidalPositions2D,
    channel_shuffle,
)

B, T, H, W, C = 3, 7, 5, 11, 6
BLOCKS = pytest.mark.parametrize("block", [ConvBlock, SeparableConvBlock, ShuffleBlock])
RIGHT = np.arange(T)[None] < np.array([[T], [3], [1]])


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def close(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(ops.convert_to_numpy(got), ops.convert_to_numpy(expected), tolerance, tolerance)


@not_on_jax
@pytest.mark.parametrize(("groups", "expected"), [(2, [1, 4, 2, 5, 3, 6]), (3, [1, 3, 5, 2, 4, 6]), (1, range(1, 7))])
def test_shuffle_deals_the_groups_out(groups, expected):
    for shape in ((1, 6), (1, 1, 6), (1, 1, 1, 6)):
        x = np.arange(1, 7).reshape(shape)
        assert np.reshape(channel_shuffle(x, groups), -1).tolist() == list(expected)


@pytest.mark.parametrize("shape", [(None, H, W, C), (None, None, None, C)])
def test_shuffle_takes_symbolic_tensors(shape):
    symbol = keras.Input(batch_shape=shape)
    model = keras.Model(symbol, channel_shuffle(symbol, 3))
    assert model.output.shape == shape
    close(model(floats(B, H, W, C)), channel_shuffle(floats(B, H, W, C), 3))


@not_on_jax
@BLOCKS
@pytest.mark.parametrize("filters", [C, 14])
@pytest.mark.parametrize("strides", [1, 2])
def test_blocks_of_images_shrink_by_their_strides(block, filters, strides):
    outputs = block(filters, strides=strides)(floats(B, H, W, C))
    assert outputs.shape == (B, -(-H // strides), -(-W // strides), filters)


def test_a_plain_block_equals_numpy():
    block = ConvBlock(13, normalization="layer", activation="tanh")
    inputs = floats(B, T, C)
    outputs = block(inputs)
    kernel, scale, shift = block.get_weights()
    block.set_weights([kernel, floats(13, seed=1), floats(13, seed=2)])
    kernel, scale, shift = block.get_weights()
    padded = np.pad(inputs, ((0, 0), (1, 1), (0, 0)))
    x = np.stack([np.einsum("bkc,kcf->bf", padded[:, t : t + 3], kernel) for t in range(T)], axis=1)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3) * scale + shift
    assert outputs.shape == x.shape
    close(block(inputs), np.tanh(x), 1e-4)


def test_a_shuffle_block_lets_one_half_pass():
    block, inputs = ShuffleBlock(C), floats(B, H, W, C)
    outputs = block(inputs)
    close(outputs[..., ::2], inputs[..., : C // 2])
    assert not np.allclose(outputs[..., 1::2], inputs[..., C // 2 :])


@not_on_jax
@BLOCKS
@pytest.mark.parametrize("normalization", ["layer", "batch", None])
@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_no_valid_position(block, normalization, training):
    layer = block(14, normalization=normalization)
    inputs, filters = floats(B, T, C), 14
    expected = np.asarray(layer(inputs, padding_mask=RIGHT, training=training))
    noisy = np.where(RIGHT[..., None], inputs, 100.0)
    close(np.asarray(layer(noisy, padding_mask=RIGHT, training=training))[RIGHT], expected[RIGHT])
    longer = np.pad(noisy, ((0, 0), (0, 2), (0, 0)), constant_values=100.0)
    mask = np.pad(RIGHT, ((0, 0), (0, 2)))
    outputs = np.asarray(layer(longer, padding_mask=mask, training=training))
    assert outputs.shape == (B, T + 2, filters)
    close(outputs[:, :T][RIGHT], expected[RIGHT], 1e-4)


@not_on_jax
@pytest.mark.parametrize("normalization", ["auto", "layer", "batch", None])
def test_normalization_by_kind_of_input(normalization):
    image, sequence = (ConvBlock(13, normalization=normalization) for _ in range(2))
    image(floats(B, H, W, C))
    sequence(floats(B, T, C))
    kinds = [None if block.norm is None else type(block.norm).__name__ for block in (image, sequence)]
    names = {"layer": "LayerNormalization", "batch": "BatchNormalization", None: None}
    assert kinds == ([names["batch"], names["layer"]] if normalization == "auto" else [names[normalization]] * 2)
    assert image.convolution.use_bias == (normalization is None)


def test_batch_normalization_learns_in_training_only():
    block, inputs = ConvBlock(13), floats(B, H, W, C)
    block(inputs)
    before = np.asarray(block.norm.moving_mean)
    block(inputs, training=False)
    close(block.norm.moving_mean, before)
    block(inputs, training=True)
    assert not np.allclose(block.norm.moving_mean, before)


@not_on_jax
@pytest.mark.parametrize("kind", ["plain", "separable", "shuffle"])
def test_the_encoder_makes_a_sequence_of_an_image(kind):
    encoder = ConvEncoder((6, 8, 8), block=kind, strides=(1, 2, 1))
    encoded = encoder(floats(B, H, W, 1))
    assert encoded["sequence"].shape == (B, 3 * 6, 8)
    assert encoded["mask"].shape == (B, 3 * 6) and np.all(encoded["mask"])
    kinds = {"plain": ConvBlock, "separable": SeparableConvBlock, "shuffle": ShuffleBlock}
    assert [type(block) for block in encoder.blocks] == [ConvBlock, kinds[kind], kinds[kind]]


@not_on_jax
def test_the_encoder_halves_images_in_each_block_by_default():
    assert ConvEncoder((2, 3))(floats(B, 8, 8, 1))["sequence"].shape == (B, 4, 3)
    assert ConvEncoder((2, 3), strides=1)(floats(B, 8, 8, 1))["sequence"].shape == (B, 64, 3)


@not_on_jax
@pytest.mark.parametrize("kind", ["plain", "separable", "shuffle"])
def test_the_encoder_keeps_length_and_mask_of_sequences(kind):
    encoder, inputs = ConvEncoder((8, 8, 8), block=kind), floats(B, T, C)
    encoded = encoder(inputs, padding_mask=RIGHT)
    assert encoded["sequence"].shape == (B, T, 8) and np.array_equal(encoded["mask"], RIGHT)
    row, length = 1, 3
    assert RIGHT[row].sum() == length
    alone = encoder(inputs[row : row + 1, :length])
    close(encoded["sequence"][row, :length], alone["sequence"][0], 1e-4)


def test_positions_of_an_image_are_in_row_order():
    encoder, image = ConvEncoder(2, strides=1, normalization=None), floats(1, H, W, 1)
    changed = image.copy()
    changed[0, 4, 0] += 1
    differs = np.any(~np.isclose(encoder(changed)["sequence"], encoder(image)["sequence"]), axis=(0, 2))
    assert set(np.flatnonzero(differs)) <= {3 * W, 3 * W + 1, 4 * W, 4 * W + 1}
    assert np.any(differs)


@not_on_jax
def test_dropout_and_penalties_of_the_encoder():
    encoder, inputs = ConvEncoder((6, 8), block="separable", dropout=0.4, kernel_regularizer="l2"), floats(B, H, W, 1)
    expected = encoder(inputs)["sequence"]
    close(encoder(inputs, training=False)["sequence"], expected)
    kernels = [w for w in encoder.trainable_weights if "kernel" in w.path]
    assert len(kernels) == len(encoder.losses) == 3
    close(sum(encoder.losses), sum(0.01 * np.sum(np.square(w)) for w in kernels))
    assert not np.allclose(encoder(inputs, training=True)["sequence"], expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ConvBlock(0), ValueError, r"ConvBlock: `filters` .* filters=0"),
        (lambda: ConvBlock(3, kernel_size=2.5), TypeError, r"ConvBlock: `kernel_size` .* kernel_size=2.5"),
        (lambda: SeparableConvBlock(3, strides=0), ValueError, r"SeparableConvBlock: `strides` .* strides=0"),
        (lambda: ConvBlock(3, normalization="bach"), ValueError, r"normalization='bach'.* Did you mean 'batch'"),
        (lambda: ShuffleBlock(7), ValueError, r"ShuffleBlock: `filters` must be even.* filters=7. Try filters=8"),
        (lambda: ConvBlock(3)(floats(B, C)), ValueError, r"ConvBlock: `inputs` must have 3 or 4 axes; got shape"),
        (
            lambda: ShuffleBlock(8, strides=2)(floats(B, T, C)),
            ValueError,
            r"ShuffleBlock: `strides` must be 1 for sequences.* strides=2, inputs of shape \(3, 7, 6\)",
        ),
        (lambda: channel_shuffle(floats(B, 6), 4), ValueError, r"channel_shuffle: .* channels=6, groups=4"),
        (lambda: channel_shuffle(floats(B, 6), 0), ValueError, r"channel_shuffle: `groups` .* groups=0"),
        (lambda: ConvEncoder((3, -1)), ValueError, r"ConvEncoder: `filters\[1\]` .* filters\[1\]=-1"),
        (lambda: ConvEncoder(3, kernel_size=0), ValueError, r"ConvEncoder: `kernel_size` .* kernel_size=0"),
        (lambda: ConvEncoder((3, 5), strides=(1, 2, 2)), ValueError, r"strides=\(1, 2, 2\), filters=\(3, 5\)"),
        (lambda: ConvEncoder(3, block="mobile"), ValueError, r"ConvEncoder: `block` .* block='mobile'"),
        (lambda: ConvEncoder(3, normalization="group"), ValueError, r"`normalization` .* normalization='group'"),
        (lambda: ConvEncoder(3, dropout=1), ValueError, r"ConvEncoder: `dropout` .* dropout=1"),
        (lambda: ConvEncoder(3)(floats(B, C)), ValueError, r"ConvEncoder: `inputs` must have 3 or 4 axes"),
        (lambda: ConvEncoder(3, strides=2)(floats(B, T, C)), ValueError, r"`strides` must be 1 for sequences"),
    ],
)
def test_errors_name_argument_and_value(make, error, message):
    with pytest.raises(error, match=message):
        make()


@not_on_jax
@pytest.mark.parametrize("block", ["plain", "separable", "shuffle"])
def test_integer_images_give_what_their_floats_give(block):
    encoder = ConvEncoder((6, 6), strides=1, block=block)
    images = np.random.default_rng(3).integers(0, 256, (2, 5, 5, 6), "uint8")
    expected = encoder(images.astype("float32"))["sequence"]
    np.testing.assert_array_equal(encoder(images)["sequence"], expected)
    block = encoder.blocks[1]
    np.testing.assert_array_equal(block(images), block(images.astype("float32")))


def test_strides_of_height_alone_keep_the_columns():
    encoder = ConvEncoder(filters=(4, 6), strides=((3, 1), (2, 1)))
    assert encoder(floats(B, H, W, C))["sequence"].shape == (B, W, 6)
    again = ConvEncoder.from_config(encoder.get_config())
    assert again.strides == encoder.strides == ((3, 1), (2, 1))
    assert ConvEncoder(filters=(4, 6), strides=(2, 1)).strides == (2, 1)


@not_on_jax
def test_positions_are_added_to_the_outputs():
    inputs = floats(B, H, W, C)
    with_positions = ConvEncoder(filters=(4, 6), positions="sinusoidal", strides=(2, 1))
    plain = ConvEncoder(filters=(4, 6), strides=(2, 1))
    outputs = with_positions(inputs)["sequence"]
    plain.build(inputs.shape)
    plain.set_weights(with_positions.get_weights())
    features = np.reshape(plain(inputs)["sequence"], (B, 3, 6, 6))
    close(np.reshape(outputs, (B, 3, 6, 6)), SinusoidalPositions2D()(features))
    learned = ConvEncoder(filters=(4, 6), positions="learned", strides=(2, 1))
    learned.build(inputs.shape)
    assert learned.add_positions.table.shape == (18, 6)


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"strides": ((2, 1), (1, 2, 3))},
            r"`strides\[1\]` must be an integer above 0, or a pair for height and width",
        ),
        ({"strides": (1, 2, 3)}, "`strides` must be one integer or as many as `filters`"),
        ({"positions": "rotary"}, "`positions` must be one of 'sinusoidal', 'learned', None; got positions='rotary'"),
    ],
)
def test_the_encoder_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        ConvEncoder(filters=(4, 6), **options)


def test_depthwise_convolutions_have_equal_strides():
    with pytest.raises(ValueError, match=r"SeparableConvBlock: `strides` must be one integer.*got strides=\(2, 1\)"):
        ConvEncoder(filters=(4, 6), block="separable", strides=(1, (2, 1))).build((B, H, W, C))
    with pytest.raises(ValueError, match="must have a known size where positions are learned"):
        ConvEncoder(filters=4, positions="learned").build((B, None, W, C))
