"""Models with convolutions run without the loop of XLA on a CPU, where it is slow."""

import keras
import numpy as np

from kerazoo.training import blocks, fit


def convolutional():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((5, 7, 2)),
            keras.layers.Conv2D(3, 3, strides=2, use_bias=False),  # whose gradient would be noise around 0
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_convolutions_are_found_at_any_depth():
    inner = keras.Sequential([keras.Sequential([keras.Input((5, 7)), keras.layers.SeparableConv1D(3, 3)])])
    assert blocks.has_convolutions(convolutional()) and blocks.has_convolutions(inner)
    assert not blocks.has_convolutions(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]))


def test_a_loop_outside_of_xla_trains_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(17, 5, 7, 2)).astype("float32"), rng.integers(0, 3, 17).astype("int32")
    outside, inside = convolutional(), convolutional()
    history = fit(outside, data, epochs=2, batch_size=4, steps_per_execution=3, verbose=0).history
    module = blocks.backend()
    monkeypatch.setattr(module, "has_convolutions", lambda model: False)
    other = fit(inside, data, epochs=2, batch_size=4, steps_per_execution=3, verbose=0).history
    np.testing.assert_allclose(history["loss"], other["loss"], rtol=1e-4)
    for one, two in zip(outside.get_weights(), inside.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
