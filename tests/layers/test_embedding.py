import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import layers

TOKENS = np.array([[3, 4, 9, 0, 0], [5, 1, 1, 7, 10]], "int32")


def numpy(x):
    return ops.convert_to_numpy(x)


def test_lookup_scales_and_adds_positions():
    layer = layers.TokenEmbedding(11, 6, scale=True, positions="sinusoidal")
    got = numpy(layer(TOKENS))
    rows = numpy(layer.table.embeddings)[TOKENS] * np.sqrt(6)
    np.testing.assert_allclose(got, numpy(layers.SinusoidalPositions()(rows.astype("float32"))), atol=1e-6)
    plain = layers.TokenEmbedding(11, 6)
    np.testing.assert_allclose(numpy(plain(TOKENS)), numpy(plain.table.embeddings)[TOKENS])


@pytest.mark.parametrize("positions", [None, "sinusoidal", "learned"])
def test_one_token_at_a_time_gives_the_whole(positions):
    layer = layers.TokenEmbedding(11, 6, positions=positions, max_length=5)
    whole = numpy(layer(TOKENS))
    for t in range(5):
        index = ops.convert_to_tensor(t)
        np.testing.assert_allclose(numpy(layer(TOKENS[:, t], start_index=index)), whole[:, t], atol=1e-6)
        np.testing.assert_allclose(numpy(layer(TOKENS[:, t, None], start_index=index))[:, 0], whole[:, t], atol=1e-6)


def test_reverse_uses_the_same_table_and_gives_float32():
    layer = layers.TokenEmbedding(11, 6, scale=True, dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    layer(TOKENS)
    logits = layer(x, reverse=True)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32" and logits.shape == (2, 5, 11)
    np.testing.assert_allclose(numpy(logits), x @ numpy(layer.table.embeddings).T, atol=0.1)
    assert layer(x[:, 0], reverse=True).shape == (2, 11)
    assert len(layer.trainable_weights) == 1


def test_given_vectors_may_be_frozen_and_are_saved_as_weights(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(11, 6)).astype("float32")
    layer = layers.TokenEmbedding(
        11, 6, vectors=vectors, freeze_embeddings=True, positions="learned", max_length=5, name="words"
    )
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, layer(tokens))
    np.testing.assert_allclose(numpy(layer.table.embeddings), vectors)
    assert [w.path for w in layer.trainable_weights] == ["words/positions/table"]
    assert "vectors" in layer.get_config() and layer.get_config()["vectors"] is None
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(loaded(TOKENS)), numpy(model(TOKENS)))
    assert len(loaded.trainable_weights) == 1

    free = layers.TokenEmbedding(11, 6, vectors=vectors)
    free(TOKENS)
    assert len(free.trainable_weights) == 1


@pytest.mark.parametrize("scale", [False, True])
def test_vectors_loaded_later_are_what_the_layer_gives(scale):
    vectors = np.random.default_rng(1).normal(size=(11, 6)).astype("float32")
    layer = layers.TokenEmbedding(11, 6, scale=scale)
    layer.build((None, None))
    layer.load_vectors(vectors)
    np.testing.assert_allclose(numpy(layer(np.array([[3, 7]]))), vectors[[3, 7]][None], rtol=1e-5)
    with pytest.raises(ValueError, match=r"`vectors` must have shape .*\(11, 6\); got \(11, 5\)"):
        layer.load_vectors(vectors[:, :5])


def test_start_gives_scaled_vectors_and_logits_of_variance_one():
    layer = layers.TokenEmbedding(499, 64, scale=True)
    x = numpy(layer(np.arange(499)[None]))
    assert x.std() == pytest.approx(1, abs=0.05)
    normal = np.random.default_rng(2).normal(size=(1, 50, 64)).astype("float32")
    assert numpy(layer(normal, reverse=True)).std() == pytest.approx(1, abs=0.1)


def test_dropout_acts_in_training_alone():
    layer = layers.TokenEmbedding(11, 64, dropout=0.5)
    x = numpy(layer(TOKENS, training=True))
    assert 0.3 < np.mean(x == 0) < 0.7
    assert not np.any(numpy(layer(TOKENS)) == 0)


def test_padding_mask_is_false_at_the_pad():
    layer = layers.TokenEmbedding(11, 6, pad_id=1)
    assert numpy(layer.padding_mask(TOKENS)).tolist() == [[True] * 5, [True, False, False, True, True]]


def test_wrong_arguments_are_named():
    with pytest.raises(
        ValueError, match="TokenEmbedding: `positions` must be one of .*got positions='sinusoid'.*sinusoidal"
    ):
        layers.TokenEmbedding(11, 6, positions="sinusoid")
    with pytest.raises(ValueError, match="positions='learned' needs `max_length`; got max_length=None"):
        layers.TokenEmbedding(11, 6, positions="learned")
    with pytest.raises(ValueError, match=r"`vectors` must have shape .*\(11, 6\); got \(6, 11\)"):
        layers.TokenEmbedding(11, 6, vectors=np.zeros((6, 11)))
    with pytest.raises(ValueError, match="`vocabulary_size` must be an integer above 0; got vocabulary_size=0"):
        layers.TokenEmbedding(0, 6)
    with pytest.raises(ValueError, match=r"`dropout` must be a number.*got dropout=1"):
        layers.TokenEmbedding(11, 6, dropout=1)
    with pytest.raises(ValueError, match="got max_length=3 for 5 tokens"):
        layers.TokenEmbedding(11, 6, positions="learned", max_length=3)(TOKENS)
    with pytest.raises(ValueError, match=r"`inputs` must have 1 or 2 axes; got shape \(2, 5, 1\)"):
        layers.TokenEmbedding(11, 6)(TOKENS[:, :, None])


def test_tokens_give_a_mask_and_single_tokens_none():
    layer, loss = layers.TokenEmbedding(11, 6, pad_id=1), keras.losses.MeanSquaredError()
    tokens = np.array([[1, 5, 1], [4, 0, 7]])
    np.testing.assert_array_equal(layer.compute_mask(ops.convert_to_tensor(tokens), None), tokens != 1)
    x = numpy(layer(tokens))
    np.testing.assert_allclose(loss(np.zeros_like(x), layer(tokens)), np.mean(x[tokens != 1] ** 2), rtol=1e-5)
    single = layer(tokens[:, 0])
    np.testing.assert_allclose(loss(np.zeros((2, 6)), single), np.mean(numpy(single) ** 2), rtol=1e-5)


def test_float_tokens_are_refused():
    with pytest.raises(TypeError, match="TokenEmbedding: `inputs` must be token ids, integers; got dtype .*float32"):
        layers.TokenEmbedding(11, 6)(TOKENS.astype("float32"))
    with pytest.raises(TypeError, match="TokenEmbedding: `inputs` must be token ids"):
        layers.TokenEmbedding(11, 6)(keras.Input((None,)))
