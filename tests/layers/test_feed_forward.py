import numpy as np
import pytest
from keras import ops

import oracles
from kerazoo import layers

X = np.random.default_rng(3).normal(size=(3, 7, 11)).astype("float32")


def silu(x):
    return x / (1 + np.exp(-x))


FUNCTIONS = {
    "relu": (lambda x: np.maximum(x, 0), False),
    "gelu": (oracles.gelu, False),
    "silu": (silu, False),
    "swiglu": (silu, True),
    "geglu": (oracles.gelu, True),
}


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_every_activation_agrees_with_the_formula(activation):
    layer = layers.FeedForward(hidden_dim=5, intermediate_dim=13, activation=activation)
    got = ops.convert_to_numpy(layer(X))
    function, gated = FUNCTIONS[activation]
    expand, contract = (ops.convert_to_numpy(d.kernel) for d in (layer.expand, layer.contract))
    inside = X @ expand
    inside = function(inside[..., :13]) * inside[..., 13:] if gated else function(inside)
    np.testing.assert_allclose(got, inside @ contract, atol=1e-5)


def test_without_bias_there_are_two_weights():
    layer = layers.FeedForward(5, 13, use_bias=False)
    layer(X)
    assert len(layer.weights) == 2


def test_unknown_activation_is_named():
    with pytest.raises(
        ValueError, match="FeedForward: `activation` must be the name of .*got activation='gelo'.*mean 'gelu'"
    ):
        layers.FeedForward(5, 13, activation="gelo")
    with pytest.raises(ValueError, match="FeedForward: `intermediate_dim` must be .*got intermediate_dim=-1"):
        layers.FeedForward(5, -1)
