"""The contract of every layer: one row, or a few, for each public class.

A new layer adds rows with `row(cls, config, inputs, **options)`; see contracts.check_layer for the options.
"""

import inspect

import contracts
import keras
import numpy as np
import pytest
from contracts import BATCH, SOURCE, TARGET

from kerazoo import layers

LAYERS = []


def row(cls, config, inputs, **options):
    marks = options.pop("marks", ())
    LAYERS.append(pytest.param(cls, config, inputs, options, id=f"{cls.__name__}-{len(LAYERS)}", marks=marks))


def floats(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def mask(length):
    """Booleans [B, length]: the rows are shorter by 0, 1, 2 positions."""
    return np.arange(length)[None, :] < length - np.arange(BATCH)[:, None]


def tokens(length, vocabulary_size):
    """Tokens [B, length] above 0, padded with 0."""
    rng = np.random.default_rng(length)
    return rng.integers(1, vocabulary_size, size=(BATCH, length)).astype("int32") * mask(length)


def encoded(width):
    return {"sequence": floats(BATCH, SOURCE, width), "mask": mask(SOURCE)}


def test_every_public_layer_has_a_row():
    public = {name for name in layers.__all__ if inspect.isclass(getattr(layers, name))}
    public = {name for name in public if issubclass(getattr(layers, name), keras.layers.Layer)}
    missing = public - {case.values[0].__name__ for case in LAYERS}
    assert not missing, f"add a row to LAYERS for {sorted(missing)}"


@pytest.mark.parametrize(("cls", "config", "inputs", "options"), LAYERS)
def test_layer_keeps_the_contract(cls, config, inputs, options):
    contracts.check_layer(cls, config, inputs, **options)
