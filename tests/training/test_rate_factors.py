"""Learning rates by layer and by name."""

import types

import keras
import numpy as np
import pytest
from toys import not_on_jax

import kerazoo as kz
from kerazoo import training
from kerazoo.run import compiling
from kerazoo.run.options import TrainingOptions


@not_on_jax
def test_layers_of_each_stack_are_counted_from_its_end():
    sizes = {"hidden_dim": 8, "num_heads": 2, "intermediate_dim": 12}
    model = kz.models.TransformerSeq2Seq(11, 13, num_encoder_layers=3, num_decoder_layers=2, **sizes)
    model({"source": np.ones((2, 3), "int32"), "targets": np.ones((2, 5), "int32")})
    paths = [variable.path for variable in model.trainable_variables]
    factors = dict(zip(paths, training.layer_factors(model.trainable_variables, 0.5), strict=True))

    def of(part):
        return {factor for path, factor in factors.items() if part in path}

    assert [of(f"encoder/block_{number}/") for number in range(3)] == [{0.25}, {0.5}, {1.0}]
    assert [of(f"decoder/block_{number}/") for number in range(2)] == [{0.5}, {1.0}]
    assert of("embedding") == {0.125}


def variables(*paths):
    return [types.SimpleNamespace(path=path) for path in paths]


def test_stacks_of_other_length_and_models_with_a_number():
    paths = [
        "lstm_4/encoder/forward_0/kernel",
        "lstm_4/encoder/forward_1/kernel",
        "lstm_4/decoder/lstm_0/kernel",
        "lstm_4/head/kernel",
    ]
    assert training.layer_factors(variables(*paths), 0.1) == pytest.approx([0.1, 1.0, 1.0, 1.0])
    assert training.layer_factors(variables("m/kernel", "m/embedding/table"), 0.1) == [1.0, 1.0]


def test_names():
    named = training.named_factors(variables("m/a/kernel", "m/b/kernel", "m/b/bias"), [("b/", 0.5), ("kernel$", 3.0)])
    assert named == [3.0, 1.5, 0.5]
    with pytest.raises(ValueError, match=r"no trained variable has 'head' in its path; got 1 variables, such as m/a"):
        training.named_factors(variables("m/a"), [("head", 2.0)])


def small(optimizer, policy="float32"):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(3, name="dense_0", dtype=policy), keras.layers.Dense(2, name="dense_1", dtype=policy)]
    model = keras.Sequential([keras.Input((5,)), *layers], name="small")
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize("name", ["sgd", "adam", "adafactor", "lion"])
def test_a_step_is_that_of_the_scaled_rate(name):
    """One step with a rate for each layer equals that of plain optimizers with these rates, layer by layer."""
    data = np.ones((4, 5), "float32"), np.zeros((4, 2), "float32")
    options = TrainingOptions(optimizer=name, learning_rate=0.1, warmup=0.0, clip_norm=0.0, schedule="constant",
                              layer_decay=0.5, rate_factors="bias=0")  # fmt: skip
    rates = compiling.schedule(options, 0, 9)
    made = small(compiling.optimizer(options, rates))
    before = made.get_weights()
    training.fit(made, data, batch_size=4, jit_compile=False)
    for layer, rate in enumerate([0.05, 0.1]):
        plain = options.replace(layer_decay=1.0, rate_factors=(), learning_rate=rate)
        expected = small(compiling.optimizer(plain, compiling.schedule(plain, 0, 9)))
        training.fit(expected, data, batch_size=4, jit_compile=False)
        np.testing.assert_allclose(made.get_weights()[2 * layer], expected.get_weights()[2 * layer], 1e-5, 1e-6)
        np.testing.assert_array_equal(made.get_weights()[2 * layer + 1], before[2 * layer + 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0}, r"`layer_decay` must be a number .*got layer_decay=0"),
        ({"rate_factors": "embedding"}, r"`rate_factors` must be PATTERN=FACTOR .*got 'embedding'"),
        ({"rate_factors": "(=2"}, r"`rate_factors` must be PATTERN=FACTOR .*got '\(=2'"),
        ({"rate_factors": "a=-1"}, r"`rate_factors` must be PATTERN=FACTOR .*got 'a=-1'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**options)
