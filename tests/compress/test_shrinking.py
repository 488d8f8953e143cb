"""Structured pruning: what is left computes the same where the units left out had no weights."""

import numpy as np
import pytest

import kerazoo as kz

SEQ2SEQ = {"source_vocabulary_size": 23, "target_vocabulary_size": 29}
RNG = np.random.default_rng(13)
SOURCE = {"source": np.array([[5, 6, 7, 0]]), "targets": np.array([[8, 9, 10]])}


def built(name, **sizes):
    model = kz.create(name, **sizes)
    model.build_from_inputs()
    return model


CASES = {
    "lstm": ("lstm_seq2seq_attention", {**SEQ2SEQ, "embedding_dim": 11, "num_layers": 2}, "units", 13, 7, {}),
    "bidirectional": ("lstm_seq2seq_attention", {**SEQ2SEQ, "bidirectional": True}, "units", 12, 5, {}),
    "language model": ("lstm_lm", {"vocabulary_size": 23, "embedding_dim": 11}, "units", 13, 7, {}),
    "feed-forward": (
        "transformer_seq2seq_tiny",
        {**SEQ2SEQ, "hidden_dim": 12, "num_heads": 3, "num_encoder_layers": 2, "num_decoder_layers": 1},
        "intermediate_dim", 37, 11, {"shared": False},
    ),
    "heads": (
        "transformer_seq2seq_tiny",
        {**SEQ2SEQ, "hidden_dim": 10, "head_dim": 3, "num_encoder_layers": 2, "num_decoder_layers": 1},
        "num_heads", 5, 3, {"shared": False, "width": 3},
    ),
    "dense": ("mlp_classifier", {"input_shape": (9,)}, "units", (17,), (5,), {}),
    "channels": ("cnn_classifier", {"input_shape": (8, 8, 1)}, "filters", (13, 11), (7, 11), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_units_without_weights_are_left_out_and_nothing_else_changes(case):
    name, sizes, option, size, to, options = CASES[case]
    model, smaller = built(name, **sizes, **{option: size}), built(name, **sizes, **{option: to})
    index = next((i for i, (a, b) in enumerate(zip(size, to)) if a != b), 0) if isinstance(size, tuple) else None
    given = {"size": size if index is None else size[index], "to": to if index is None else to[index], **options}
    for variable in model.trainable_variables:  # an LSTM's bias starts at one, a normalization's scale too
        variable.assign(RNG.normal(size=variable.shape) / 3)
    empty = sorted(RNG.permutation(given["size"])[: given["size"] - given["to"]].tolist())
    for old, new in zip(model.variables, smaller.variables):
        value = np.array(old.value.numpy() if hasattr(old.value, "numpy") else old.value)
        for axis in [axis for axis, (a, b) in enumerate(zip(old.shape, new.shape)) if a != b]:
            width = options.get("width", 1)
            count = (old.shape[axis] - new.shape[axis]) // (given["size"] - given["to"]) // width
            units = np.arange(count)[:, None] * given["size"] + np.array(empty)
            index_of_empty = (units.reshape(-1, 1) * width + np.arange(width)).reshape(-1)
            np.moveaxis(value, axis, 0)[index_of_empty] = 0
        old.assign(value)
    kept = kz.compress.shrink(model, smaller, **given)
    assert all(sorted([*units, *empty]) == list(range(given["size"])) for units in kept.values())
    inputs = SOURCE if "seq2seq" in name else {"targets": SOURCE["targets"]} if name == "lstm_lm" else {
        "source": RNG.normal(size=(2, *sizes["input_shape"])).astype("float32")
    }  # fmt: skip
    # An LSTM's unit without weights stays at zero: all of its gates are a half, and its candidate is zero.
    np.testing.assert_allclose(np.asarray(smaller(inputs)), np.asarray(model(inputs)), atol=1e-5)


def test_models_that_differ_otherwise_are_refused():
    model, smaller = built("mlp_classifier", input_shape=(9,), units=(17,)), built("mlp_classifier", input_shape=(7,))
    with pytest.raises(ValueError, match=r"must differ in the size 17 alone; .*kernel has \(9, 17\) and \(7, 128\)"):
        kz.compress.shrink(model, smaller, 17, 5)
    with pytest.raises(ValueError, match="`to` must be below `size`"):
        kz.compress.shrink(model, smaller, 17, 17)
    with pytest.raises(ValueError, match="must have the 4 weights of the model; got 6"):
        kz.compress.shrink(model, built("mlp_classifier", input_shape=(9,), units=(5, 3)), 17, 5)
    with pytest.raises(ValueError, match="no weight has the size 99"):
        kz.compress.shrink(model, model, 99, 5)
