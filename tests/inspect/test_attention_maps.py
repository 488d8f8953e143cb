"""Attention maps are what the layers compute: rows sum to one, equal NumPy's, and nothing is left changed."""

import numpy as np
import pytest

import kerazoo as kz
from kerazoo.models.layer_paths import layers
from kerazoo.models.replaced_calls import replaced_calls

SIZES = {"source_vocabulary_size": 11, "target_vocabulary_size": 13}
TOKENS = {"source": np.array([[5, 6, 7, 0, 0], [8, 4, 5, 6, 7]]), "targets": np.array([[8, 9, 2], [4, 2, 0]])}
SMALL = {"num_layers": 1, "hidden_dim": 6, "num_heads": 2}
CASES = [
    ("transformer_seq2seq_tiny", {**SIZES, "num_encoder_layers": 2, "num_decoder_layers": 1, "hidden_dim": 6,
                                  "num_heads": 3, "intermediate_dim": 7}, TOKENS, 4, 3),
    ("lstm_seq2seq_attention", {**SIZES, "units": 6, "encoder_units": 5}, TOKENS, 1, 1),
    ("transformer_lm_tiny", {**SMALL, "vocabulary_size": 11}, {"targets": TOKENS["targets"]}, 1, 2),
    ("transformer_classifier", {**SMALL, "vocabulary_size": 11, "intermediate_dim": 7, "num_classes": 3},
     {"source": TOKENS["source"]}, 1, 2),
]  # fmt: skip


@pytest.mark.parametrize("name, sizes, inputs, count, heads", CASES, ids=[case[0] for case in CASES])
def test_rows_sum_to_one_over_what_may_be_attended_to(name, sizes, inputs, count, heads):
    model = kz.create(name, **sizes)
    model.build_from_inputs()
    before = np.asarray(model(inputs))
    maps = kz.inspect.attention_maps(model, inputs)
    assert len(maps) == count
    for path, weights in maps.items():
        assert weights.dtype == np.float32 and weights.shape[:2] == (2, heads), path
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5, err_msg=path)
        if weights.shape[-1] == 5:  # the source, of which the first has two positions of padding
            assert not weights[0, :, :, 3:].any(), path
        elif path.startswith("decoder"):
            assert not np.triu(weights, 1).any(), path
    np.testing.assert_array_equal(np.asarray(model(inputs)), before)
    assert not any("call" in vars(layer) for layer in layers(model).values())


def test_weights_equal_those_of_numpy():
    model = kz.create("transformer_seq2seq_tiny", **CASES[0][1])
    model.build_from_inputs()
    layer, inputs = model.decoder.blocks[0].cross, []

    def recorded(call):
        return lambda x, sequence, **kwargs: inputs.append((x, sequence)) or call(x, sequence, **kwargs)

    with replaced_calls([(layer, recorded)]):
        maps = kz.inspect.attention_maps(model, TOKENS)
    (x, sequence), H = [np.asarray(each) for each in inputs[0]], layer.num_heads
    query = x @ np.asarray(layer.query_projection.kernel) + np.asarray(layer.query_projection.bias)
    key = (sequence @ np.asarray(layer.joint_projection.kernel) + np.asarray(layer.joint_projection.bias))[..., :6]
    q, k = (each.reshape(2, -1, H, 2).transpose(0, 2, 1, 3) for each in (query, key))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(2)
    scores = np.where((TOKENS["source"] != 0)[:, None, None], scores, -np.inf)
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(maps["decoder.block_0.cross_attention"], odds / odds.sum(-1, keepdims=True), atol=1e-5)


def test_shared_blocks_have_a_map_for_each_pass():
    sizes = {**CASES[0][1], "share_encoder_layers": True}
    model = kz.create("transformer_seq2seq_tiny", **sizes)
    model.build_from_inputs()
    maps = kz.inspect.attention_maps(model, TOKENS)
    assert {"encoder.block_0.attention", "encoder.block_0.attention:2"} <= set(maps)


def test_a_model_without_attention_has_none():
    model = kz.create("mlp_classifier", input_shape=(5,))
    assert kz.inspect.attention_maps(model, {"source": np.ones((1, 5), "float32")}) == {}


def test_pictures_are_drawn_and_odd_labels_are_no_formulas():
    weights = np.full((3, 2, 4), 0.25)
    assert kz.inspect.draw_attention(weights, ["$a", "\n"], ["<b>", "", "c_", "x" * 99])[:4] == b"\x89PNG"
    assert kz.inspect.draw_attention(weights[0], title="one")[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match=r"draw_attention: `weights` must have 2 or 3 axes; got shape \(4,\)"):
        kz.inspect.draw_attention(weights[0, 0])
