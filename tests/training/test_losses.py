import keras
import numpy as np
import pytest

from kerazoo.training import losses


def crossentropy(logits):
    logits = np.asarray(logits, np.float64)
    return np.log(np.exp(logits).sum(-1, keepdims=True)) - logits


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(3, 5, 7)).astype("float32")
    targets = rng.integers(0, 7, (3, 5))
    weight = (rng.random((3, 5)) < 0.6).astype("float32")
    return targets, logits, weight


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_is_the_mean_over_real_tokens(batch, smoothing):
    targets, logits, weight = batch
    each = crossentropy(logits)
    true = np.take_along_axis(each, targets[..., None], -1)[..., 0]
    expected = (1 - smoothing) * true + smoothing * each.mean(-1)
    loss = losses.SparseCrossentropy(label_smoothing=smoothing)
    np.testing.assert_allclose(loss(targets, logits, weight), (expected * weight).sum() / weight.sum(), rtol=1e-5)
    np.testing.assert_allclose(loss(targets, logits), expected.mean(), rtol=1e-5)


def test_padding_changes_nothing(batch):
    targets, logits, weight = batch
    longer = (
        np.pad(targets, ((0, 0), (0, 2))),
        np.pad(logits, ((0, 0), (0, 2), (0, 0))),
        np.pad(weight, ((0, 0), (0, 2))),
    )
    loss = losses.SparseCrossentropy()
    np.testing.assert_allclose(loss(*longer), loss(*batch), rtol=1e-6)


def test_weight_of_an_example_counts_for_each_of_its_tokens(batch):
    targets, logits, _ = batch
    loss = losses.SparseCrossentropy()
    np.testing.assert_allclose(
        loss(targets, logits, np.array([1.0, 0.0, 0.0])), loss(targets[:1], logits[:1]), rtol=1e-6
    )


def test_batch_without_weight_has_loss_zero(batch):
    targets, logits, weight = batch
    assert float(losses.SparseCrossentropy(0.1)(targets, logits, 0 * weight)) == 0.0


def test_is_float32_under_half_precision(batch):
    targets, logits, weight = batch
    loss = losses.SparseCrossentropy()(targets, keras.ops.cast(logits, "bfloat16"), weight)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


def test_config_round_trip():
    loss = keras.losses.deserialize(keras.losses.serialize(losses.SparseCrossentropy(0.25, name="mine")))
    assert (type(loss), loss.label_smoothing, loss.name) == (losses.SparseCrossentropy, 0.25, "mine")


def test_bad_label_smoothing_is_refused():
    with pytest.raises(ValueError, match=r"SparseCrossentropy: `label_smoothing` must be .*got label_smoothing=1.0"):
        losses.SparseCrossentropy(label_smoothing=1.0)
