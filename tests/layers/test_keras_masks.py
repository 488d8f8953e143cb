"""The masks that Keras passes along: from an embedding through all layers, in a functional model and after loading."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

from kerazoo import layers, models

param = pytest.param
B, S, T, D, V = 3, 7, 5, 12, 19
RNG = np.random.default_rng(29)
SOURCE = RNG.integers(1, V, (B, S)) * (np.arange(S) < np.array([[7], [4], [2]]))
TARGETS = RNG.integers(1, V, (B, T)) * (np.arange(T) < np.array([[2], [5], [3]]))
ONLY_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="on JAX the contract of each layer proves it, without so many eager calls"
)
SIZES = {"num_layers": 1, "hidden_dim": D, "num_heads": 3, "intermediate_dim": 11}


def embeddings():
    """Two ways to get a mask, by the name of the class."""
    return {
        "Embedding": keras.layers.Embedding(V, D, mask_zero=True),
        "TokenEmbedding": layers.TokenEmbedding(V, D, positions="sinusoidal"),
    }


def make_layers():
    return {
        "dense": layers.DenseEncoder(11),
        "conv": layers.ConvEncoder((11, 13), normalization="batch"),
        "lstm": layers.LSTMEncoder(11, bidirectional=True),
        "transformer": layers.TransformerEncoder(**SIZES),
        "recurrence": layers.LSTM(11, reverse=True),
        "attention": layers.Attention(D, 3),
        "cross": layers.CrossAttention(D, 3),
        "alignment": layers.AlignmentAttention(D),
        "dense_decoder": layers.DenseDecoder(11),
        "lstm_decoder": layers.LSTMDecoder(11, attention="additive"),
        "transformer_decoder": layers.TransformerDecoder(**SIZES),
        "language": layers.TransformerDecoder(**SIZES, cross_attention=False),
    }


def apply(parts, source, targets, source_mask=None, targets_mask=None):
    """The outputs of all `parts`; without masks they have those that Keras passes along."""
    outputs = {}
    for name, layer in parts.items():
        if name in ("dense", "conv", "lstm", "transformer", "recurrence", "attention"):
            outputs[name] = layer(source, padding_mask=source_mask)
        elif name in ("cross", "alignment"):
            outputs[name] = layer(targets, source, padding_mask=source_mask)
        elif name == "language":
            outputs[name] = layer(targets, padding_mask=targets_mask)
        else:
            outputs[name] = layer(targets, outputs["lstm"], padding_mask=targets_mask)
    return outputs


def close(got, expected, tolerance=1e-5):
    got, expected = (keras.tree.flatten(keras.tree.map_structure(ops.convert_to_numpy, x)) for x in (got, expected))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@ONLY_TENSORFLOW
@pytest.mark.parametrize("kind", ["Embedding", "TokenEmbedding"])
def test_an_embedding_gives_what_the_padding_mask_gives(kind):
    embedding, parts = embeddings()[kind], make_layers()
    source, targets = (layers.without_mask(embedding(tokens)) for tokens in (SOURCE, TARGETS))
    expected = apply(parts, source, targets, SOURCE > 0, TARGETS > 0)
    close(apply(parts, embedding(SOURCE), embedding(TARGETS)), expected)
    unmasked = apply(parts, source, targets)
    for name in set(parts) - {"dense", "dense_decoder"}:  # which compute each position separately
        assert not np.allclose(*(keras.tree.flatten(outputs[name])[-1] for outputs in (unmasked, expected))), name


@ONLY_TENSORFLOW
def test_a_compiled_model_and_its_file_give_what_the_padding_mask_gives(tmp_path):
    """The contract has the functional model of every layer; here masks pass through several layers."""
    embedding, other = embeddings().values()
    names = ("lstm", "cross", "transformer_decoder")
    parts = {name: layer for name, layer in make_layers().items() if name in names}
    source, targets = layers.without_mask(embedding(SOURCE)), layers.without_mask(other(TARGETS))
    expected = apply(parts, source, targets, SOURCE > 0, TARGETS > 0)

    tokens = {name: keras.Input((None,), dtype="int32", name=name) for name in ("source", "targets")}
    model = keras.Model(tokens, apply(parts, embedding(tokens["source"]), other(tokens["targets"])))
    model.jit_compile = False
    inputs = {"source": SOURCE.astype("int32"), "targets": TARGETS.astype("int32")}
    close(model.predict_on_batch(inputs), expected)
    model.save(tmp_path / "model.keras")
    close(keras.saving.load_model(tmp_path / "model.keras")(inputs), expected)


@not_on_jax
def test_an_encoder_gives_its_sequence_the_mask_and_no_other_output():
    embedding = layers.TokenEmbedding(V, D)
    average = keras.layers.GlobalAveragePooling1D()
    for name in ("dense", "conv", "lstm", "transformer"):
        encoded = make_layers()[name](embedding(SOURCE))
        np.testing.assert_array_equal(encoded["mask"], SOURCE > 0)
        close(average(encoded["sequence"]), layers.masked_mean(encoded["sequence"], SOURCE > 0))
        # A Keras mask of "mask" would have an effect here.
        flags = ops.cast(encoded["mask"], "float32")
        close(keras.losses.MeanSquaredError()(np.zeros((B, S)), flags), np.mean(SOURCE > 0))


@pytest.mark.parametrize("pooling", [param("mean", marks=not_on_jax), param("max", marks=not_on_jax), "last"])
def test_a_classifier_pools_what_the_mask_of_an_embedding_leaves(pooling):
    for embedding in embeddings().values():
        model = models.Classifier(layers.TransformerEncoder(**SIZES), 3, source_embedding=embedding, pooling=pooling)
        tokens = np.where(SOURCE > 0, SOURCE, 0).astype("int32")
        longer = np.pad(tokens, [(0, 0), (0, 2)])
        close(model({"source": longer}), model({"source": tokens}))


def test_images_and_vectors_have_no_mask():
    image = keras.layers.Masking()(np.zeros((B, S, 2), "float32"))  # all padding
    assert np.all(layers.DenseEncoder(11)(ops.reshape(image, (B, S, 2, 1)))["mask"])
    assert np.all(layers.ConvEncoder(11)(ops.reshape(image, (B, S, 2, 1)))["mask"])


@ONLY_TENSORFLOW
def test_an_explicit_mask_wins():
    embedding, parts = layers.TokenEmbedding(V, D), make_layers()
    x, y = embedding(SOURCE), embedding(TARGETS)
    valid = {"source_mask": np.ones((B, S), bool), "targets_mask": np.ones((B, T), bool)}
    close(apply(parts, x, y, **valid), apply(parts, layers.without_mask(x), layers.without_mask(y), **valid))


def test_a_random_shift_moves_the_valid_positions_of_a_keras_mask():
    x = np.where(SOURCE[..., None] > 0, RNG.normal(size=(B, S, 2)), 0).astype("float32")
    masked = keras.layers.Masking()(x)
    shift, again = layers.RandomShift(3, seed=5), layers.RandomShift(3, seed=5)
    close(shift(masked, training=True), again(x, padding_mask=SOURCE > 0, training=True))
    with pytest.raises(ValueError, match=r"RandomShift: `padding_mask` needs axes=1; got axes=\(2,\)"):
        layers.RandomShift(1, axes=2)(masked, training=True)


def test_without_mask_keeps_the_values():
    x = layers.TokenEmbedding(V, D)(SOURCE)
    close(layers.without_mask(x), x, 0)
    loss, zeros = keras.losses.MeanSquaredError(), np.zeros((B, S, D), "float32")
    close(loss(zeros, layers.without_mask(x)), np.mean(np.square(x)))
    close(loss(zeros, x), np.mean(np.square(np.asarray(x)[SOURCE > 0])))
