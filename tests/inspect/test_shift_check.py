"""The check of the shift finds a leak, and a model that reads nothing, and passes what is right."""

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz


class Reader(keras.Model):
    """Logits from the targets moved by `shift` places: 1 is right, 0 sees the answer, None reads nothing."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift
        self.embedding = keras.layers.Embedding(13, 13, embeddings_initializer="orthogonal")

    def build_inputs(self, batch_size=2, length=7):
        return {"targets": np.zeros((batch_size, length), "int32")}

    def call(self, inputs):
        targets = ops.convert_to_tensor(inputs["targets"])
        if self.shift is None:
            return self.embedding(ops.zeros_like(targets))
        return self.embedding(kz.layers.shift_right(targets, 1) if self.shift else targets)


def test_a_right_model_passes():
    found = kz.inspect.check_shift(Reader(1))
    assert found["leak"] == 0
    assert found["reach"] > 0.01


def test_a_leak_is_named_with_its_positions():
    with pytest.raises(ValueError, match="Reader: the logit at position 0 sees the target at position 0"):
        kz.inspect.check_shift(Reader(0))


def test_a_model_that_reads_no_targets_is_refused():
    with pytest.raises(ValueError, match="Reader: a target does not reach the logit after it"):
        kz.inspect.check_shift(Reader(None))


@pytest.mark.parametrize("name", ["lstm_seq2seq", "transformer_lm_tiny"])
def test_models_of_the_catalog_pass(name):
    sizes = {"vocabulary_size": 17} if "lm" in name else {"source_vocabulary_size": 11, "target_vocabulary_size": 17}
    assert kz.inspect.check_shift(kz.create(name, **sizes), length=5)["leak"] < 1e-4
