"""Saliency is the gradient, integrated gradients are complete, and occlusion is what is lost."""

import keras
import numpy as np
import pytest

import kerazoo as kz
from kerazoo.inspect.attribution import by_position, embedding_call

SIZES = {"source_vocabulary_size": 11, "target_vocabulary_size": 11, "units": 6, "embedding_dim": 5,
         "encoder_units": 3}  # fmt: skip
TOKENS = {"source": np.array([[5, 6, 7, 0], [8, 4, 5, 6]]), "targets": np.array([[8, 9, 2], [4, 2, 0]])}


@pytest.fixture(scope="module")
def convolutions():
    keras.utils.set_random_seed(3)
    model = kz.create("cnn_classifier", input_shape=(7, 5, 1), filters=(3, 4), num_classes=3, activation="tanh")
    model.build_from_inputs()
    return model


@pytest.fixture(scope="module")
def images():
    return {"source": np.random.default_rng(0).random((2, 7, 5, 1)).astype("float32")}


def test_saliency_equals_finite_differences(convolutions, images):
    score = kz.inspect.class_score([2, 0])
    found = kz.inspect.saliency(convolutions, images, score)
    for row, place in [((0, 3, 2, 0), 0), ((1, 6, 4, 0), 1)]:
        moved = []
        for step in (1e-2, -1e-2):
            changed = images["source"].copy()
            changed[row] += step
            moved.append(np.asarray(score(convolutions({"source": changed})))[place])
        np.testing.assert_allclose(found[row], (moved[0] - moved[1]) / 2e-2, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_integrated_gradients_of_images_are_complete(images, activation):
    model = kz.create("cnn_classifier", input_shape=(7, 5, 1), filters=(3, 4), num_classes=3, activation=activation)
    model.build_from_inputs()
    score = kz.inspect.class_score([2, 0])
    found = kz.inspect.integrated_gradients(model, images, score)
    outputs = [np.asarray(score(model({"source": each}))) for each in (images["source"], 0 * images["source"])]
    np.testing.assert_allclose(found.difference, outputs[0] - outputs[1], atol=1e-5)
    sums = found.values.reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(sums, found.difference, rtol=0.01, atol=1e-4)
    np.testing.assert_allclose(found.residual, found.difference - sums, atol=1e-6)


class Normalized(keras.Model):
    """Scores of vectors that are normalized, which changes fast where these are almost zero."""

    def __init__(self):
        super().__init__()
        self.norm, self.dense = keras.layers.LayerNormalization(epsilon=1e-5), keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(self.norm(inputs["source"]))


def test_integrated_gradients_are_complete_where_a_baseline_of_zeros_is_normalized():
    inputs = {"source": np.random.default_rng(0).normal(size=(2, 7)).astype("float32")}
    found = kz.inspect.integrated_gradients(Normalized(), inputs, kz.inspect.class_score([1, 2]))
    np.testing.assert_allclose(found.values.sum(axis=1), found.difference, rtol=0.01)
    assert found.steps <= 64


def test_integrated_gradients_of_texts_are_complete_and_padding_has_none():
    model = kz.create("lstm_seq2seq_attention", **SIZES)
    model.build_from_inputs()
    score = kz.inspect.target_score(TOKENS["targets"])
    found = kz.inspect.integrated_gradients(model, TOKENS, score)
    assert found.values.shape == (2, 4, 5)
    values = by_position(found.values)
    np.testing.assert_allclose(values.sum(axis=1), found.difference, rtol=0.01, atol=1e-4)
    assert not values[0, 3].any() and np.abs(values[:, :3]).min() > 0
    probabilities = np.asarray(keras.ops.softmax(model(TOKENS), axis=-1), np.float64)
    odds = np.log(probabilities / (1 - probabilities))
    expected = [odds[0, 0, 8] + odds[0, 1, 9] + odds[0, 2, 2], odds[1, 0, 4] + odds[1, 1, 2]]
    np.testing.assert_allclose(score(model(TOKENS)), expected, rtol=1e-4)


@pytest.mark.usefixtures("programs")  # many steps
def test_a_shared_embedding_is_replaced_for_the_source_alone():
    """One table embeds the source, then the targets, and makes the logits."""
    model = kz.create("transformer_seq2seq_tiny", source_vocabulary_size=11, target_vocabulary_size=11,
                      num_encoder_layers=1, num_decoder_layers=1, hidden_dim=6, num_heads=2, intermediate_dim=7,
                      share_embeddings=True, tie_output=True)  # fmt: skip
    model.build_from_inputs()
    assert [embedding_call(model, name)[1] for name in ("source", "targets")] == [0, 1]
    score = kz.inspect.target_score(TOKENS["targets"])
    found = kz.inspect.integrated_gradients(model, TOKENS, score)
    assert found.values.shape == (2, 4, 6)
    np.testing.assert_allclose(by_position(found.values).sum(1), found.difference, rtol=0.01, atol=1e-4)
    # The first target is predicted from the start token, so what is read at position 1 cannot change its score.
    first = kz.inspect.target_score(np.array([[8, 0, 0], [4, 0, 0]]))
    assert not by_position(np.abs(kz.inspect.saliency(model, TOKENS, first, "targets")))[:, 1:].any()


def test_a_binary_classifier_and_a_language_model():
    model = kz.create("mlp_classifier", input_shape=(5,), num_classes=1)
    inputs = {"source": np.random.default_rng(0).random((2, 5)).astype("float32")}
    (logits,) = np.asarray(model(inputs)).T
    score = kz.inspect.class_score([1, 0])
    np.testing.assert_allclose(score(model(inputs)), [logits[0], -logits[1]], rtol=1e-5)
    assert kz.inspect.saliency(model, inputs, score).shape == (2, 5)
    model = kz.create("lstm_lm", vocabulary_size=11, units=5, embedding_dim=3)
    inputs = {"targets": TOKENS["targets"]}
    score = kz.inspect.target_score(np.array([[0, 0, 2], [0, 2, 0]]))
    assert kz.inspect.saliency(model, inputs, score, "targets").shape == (2, 3, 3)


def test_occlusion_is_what_the_score_loses(convolutions, images):
    score = kz.inspect.class_score([2, 0])
    lost = kz.inspect.occlusion(convolutions, images, score, size=2, stride=2, fill=0.0)
    assert lost.shape == (2, 7, 5)
    covered = images["source"].copy()
    covered[:, :2, :2] = 0
    whole, part = (np.asarray(score(convolutions({"source": each}))) for each in (images["source"], covered))
    np.testing.assert_allclose(lost[:, 0, 0], whole - part, atol=1e-5)  # one window alone is there
    model = kz.create("lstm_seq2seq_attention", **SIZES)
    model.build_from_inputs()
    score = kz.inspect.target_score(TOKENS["targets"])
    lost = kz.inspect.occlusion(model, TOKENS, score)
    without = {**TOKENS, "source": np.where(np.arange(4) == 1, 0, TOKENS["source"])}
    expected = np.asarray(score(model(TOKENS))) - np.asarray(score(model(without)))
    np.testing.assert_allclose(lost[:, 1], expected, atol=1e-5)
    assert lost.shape == (2, 4) and not lost[0, 3]


def test_wrong_arguments_are_named(convolutions, images):
    score = kz.inspect.class_score([2, 0])
    with pytest.raises(ValueError, match=r"`baseline` must have the shape \(2, 7, 5, 1\); got \(1,\)"):
        kz.inspect.integrated_gradients(convolutions, images, score, baseline=[0.0])
    with pytest.raises(ValueError, match="`source` must be an input, 'source'; got 'sauce'"):
        kz.inspect.saliency(convolutions, images, score, "sauce")
    with pytest.raises(ValueError, match="`stride` must be at most 2; got stride=3"):
        kz.inspect.occlusion(convolutions, images, score, size=2, stride=3)


def test_pictures_of_attributions():
    rows = np.random.default_rng(0).normal(size=(7,))
    assert kz.inspect.draw_attribution({"saliency": rows, "occlusion": -rows}, list("abc$ef "))[:4] == b"\x89PNG"
    assert kz.inspect.draw_attribution({"saliency": rows}, source=np.ones((7, 2)))[:4] == b"\x89PNG"
    for shape in ((5, 4), (4, 40)):
        assert kz.inspect.draw_attribution({"saliency": np.ones(shape)}, source=np.ones((*shape, 1)))[:4] == b"\x89PNG"
