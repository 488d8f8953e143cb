import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import oracles
from kerazoo import layers

pytestmark = not_on_jax  # the contracts of layers and of models run there

B, T, S, D = 3, 7, 5, 24
RNG = np.random.default_rng(29)
X = RNG.normal(size=(B, T, D)).astype("float32")
VALID = np.arange(S)[None] < np.array([[5], [3], [1]])
ENCODED = {"sequence": RNG.normal(size=(B, S, 11)).astype("float32"), "mask": VALID}
SIZES = {"hidden_dim": D, "num_heads": 4, "intermediate_dim": 13}


def numpy(x):
    return ops.convert_to_numpy(x)


def randomised(layer):
    """The layer with random weights, so that no bias is zero and no scale is one."""
    rng = np.random.default_rng(31)
    for weight in layer.weights:
        if "seed" not in weight.path:
            weight.assign(numpy(weight) + rng.normal(size=weight.shape, scale=0.2))
    return layer


def decoder(**options):
    layer = layers.TransformerDecoder(**{**SIZES, "num_layers": 2, **options})
    encoded = {"sequence": (None, None, 11), "mask": (None, None)} if layer.cross_attention else None
    layer.build((None, None, D), encoded)
    return randomised(layer)


def encoder(**options):
    layer = layers.TransformerEncoder(**{**SIZES, "num_layers": 2, **options})
    layer.build((None, None, D))
    return randomised(layer)


def feed_forward(layer, x):
    inside = np.maximum(x @ numpy(layer.expand.kernel) + numpy(layer.expand.bias), 0)
    return inside @ numpy(layer.contract.kernel) + numpy(layer.contract.bias)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_block_agrees_with_the_formula(norm):
    block = layers.TransformerEncoderBlock(**SIZES, norm=norm)
    block.build((None, None, D))
    randomised(block)

    def normed(layer, x):
        return oracles.layer_norm(x, numpy(layer.gamma), numpy(layer.beta), 1e-5)

    def attend(x):
        return numpy(block.attention(x.astype("float32")))

    x = X.astype("float64")
    if norm == "pre":
        x = x + attend(normed(block.attention_norm, x))
        x = x + feed_forward(block.feed_forward, normed(block.feed_forward_norm, x))
    else:
        x = normed(block.attention_norm, x + attend(x))
        x = normed(block.feed_forward_norm, x + feed_forward(block.feed_forward, x))
    np.testing.assert_allclose(numpy(block(X)), x, atol=1e-4)


OPTIONS = [
    {},
    {"norm": "post"},
    {"normalization": "rms"},
    {"norm": "post", "normalization": "rms", "activation": "silu"},
    {"activation": "gelu"},
    {"activation": "swiglu", "num_key_value_heads": 2, "positions": "rotary"},
    {"activation": "geglu", "num_key_value_heads": 1},
    {"positions": "rotary", "norm": "post"},
    {"cross_attention": False, "positions": "rotary", "num_key_value_heads": 2},
    {"cross_attention": False, "norm": "post"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_steps_give_what_the_call_gives(options):
    layer = decoder(num_layers=1 if options else 2, **options)
    encoded = ENCODED if layer.cross_attention else None
    whole = numpy(layer(X, encoded=encoded))
    cache = layer.start(B, T + 4, encoded)
    for t in range(T):
        got, cache = layer.step(X[:, t], cache, ops.convert_to_tensor(t, dtype="int32"))
        np.testing.assert_allclose(numpy(got), whole[:, t], atol=1e-5, rtol=1e-5)


def test_there_is_no_memory_without_a_source():
    cache = decoder(cross_attention=False).start(B, T)
    assert cache["memory"] == {} and cache["state"] == () and len(cache["kv_cache"]) == 2


@pytest.mark.parametrize("groups", [4, 2])
def test_beams_give_what_copies_of_the_source_give(groups):
    layer = decoder(num_key_value_heads=groups)
    num_beams = 2
    beams = RNG.normal(size=(B * num_beams, T, D)).astype("float32")
    copies = {name: np.repeat(x, num_beams, axis=0) for name, x in ENCODED.items()}
    whole = numpy(layer(beams, encoded=copies))
    cache = layer.start(B, T, ENCODED, num_beams=num_beams)
    own = ops.arange(num_beams, dtype="int32")[None, :, None]
    cache["beam_ancestry"] = ops.broadcast_to(own, (B, num_beams, T))
    for t in range(3):
        got, cache = layer.step(beams[:, t], cache, t)
        np.testing.assert_allclose(numpy(got), whole[:, t], atol=1e-5, rtol=1e-5)
    assert cache["memory"]["blocks"][0]["key"].shape[0] == B * groups  # one for each source, not for each beam


class TwoSteps(keras.layers.Layer):
    """Decodes two positions with a cache ancestry batch size is unknown while the graph is traced."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs, encoded):
        cache = self.inner.start(ops.shape(inputs)[0], 2, encoded)
        outputs = []
        for t in range(2):
            y, cache = self.inner.step(inputs[:, t], cache, ops.convert_to_tensor(t, dtype="int32"))
            outputs.append(y)
        return ops.stack(outputs, axis=1)


def test_a_compiled_program_decodes_for_any_batch():
    layer = decoder(num_layers=1)
    symbols = keras.Input((None, D)), {"sequence": keras.Input((None, 11)), "mask": keras.Input((None,), dtype="bool")}
    model = keras.Model(symbols, TwoSteps(layer)(*symbols))
    got = model.predict_on_batch((X, ENCODED))
    np.testing.assert_allclose(got, numpy(layer(X, encoded=ENCODED))[:, :2], atol=1e-5, rtol=1e-5)


def test_nothing_leaks_from_the_future():
    layer = decoder()
    changed = X.copy()
    changed[:, 3:] = RNG.normal(size=(B, T - 3, D))
    before, after = (numpy(layer(x, encoded=ENCODED)) for x in (X, changed))
    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert not np.allclose(before[:, 3:], after[:, 3:], atol=1e-2)


def test_padding_of_the_source_changes_nothing():
    layer = decoder()
    noisy = {"sequence": np.where(VALID[:, :, None], ENCODED["sequence"], 100.0).astype("float32"), "mask": VALID}
    np.testing.assert_allclose(numpy(layer(X, encoded=ENCODED)), numpy(layer(X, encoded=noisy)), atol=1e-5)
    row = {"sequence": ENCODED["sequence"][1:2, :3], "mask": VALID[1:2, :3]}
    alone = numpy(layer(X[1:2], encoded=row))
    np.testing.assert_allclose(numpy(layer(X, encoded=ENCODED))[1:2], alone, atol=1e-5)


def test_padding_inside_the_targets_can_be_masked():
    layer = decoder(cross_attention=False)
    valid = np.arange(T)[None] >= np.array([[0], [2], [3]])  # padded on the left
    noisy = np.where(valid[:, :, None], X, 50.0).astype("float32")
    before, after = (numpy(layer(x, padding_mask=valid)) for x in (X, noisy))
    np.testing.assert_allclose(before[valid], after[valid], atol=1e-5)


@pytest.mark.parametrize("positions", [None, "rotary"])
def test_padding_changes_no_valid_position_of_the_encoder(positions):
    layer = encoder(positions=positions)
    x = X[:, :S]
    noisy = np.where(VALID[:, :, None], x, 100.0).astype("float32")
    before, after = (layer(v, padding_mask=VALID) for v in (x, noisy))
    np.testing.assert_allclose(numpy(before["sequence"])[VALID], numpy(after["sequence"])[VALID], atol=1e-4)
    assert np.array_equal(numpy(before["mask"]), VALID)
    alone = layer(x[1:2, :3])
    np.testing.assert_allclose(numpy(before["sequence"])[1, :3], numpy(alone["sequence"])[0], atol=1e-4)
    assert numpy(alone["mask"]).dtype == bool and numpy(alone["mask"]).all()


def test_rotary_distinguishes_positions_and_none_does_not():
    turned = X[:, ::-1].copy()
    for positions, same in ((None, True), ("rotary", False)):
        layer = encoder(positions=positions)
        forward, back = (numpy(layer(x)["sequence"]) for x in (X, turned))
        assert np.allclose(forward, back[:, ::-1], atol=1e-4) is same


def test_attention_scores_align_targets_to_the_source():
    layer = decoder()
    got, scores = layer(X, encoded=ENCODED, return_attention_scores=True)
    np.testing.assert_allclose(numpy(got), numpy(layer(X, encoded=ENCODED)), atol=1e-6)
    own, other = numpy(scores["self"]), numpy(scores["cross"])
    assert own.shape == (B, 2, 4, T, T) and other.shape == (B, 2, 4, T, S)
    np.testing.assert_allclose(other.sum(-1), 1, atol=1e-5)
    assert np.all(np.moveaxis(other, -1, 1)[~VALID] == 0) and np.all(np.triu(own, 1) == 0)
    _, alone = decoder(cross_attention=False)(X, return_attention_scores=True)
    assert set(alone) == {"self"}
    encoded, scores = encoder()(X[:, :S], padding_mask=VALID, return_attention_scores=True)
    assert set(encoded) == {"sequence", "mask"} and scores.shape == (B, 2, 4, S, S)


def test_only_a_stack_of_prenorm_blocks_is_normalised_at_its_end():
    assert encoder(norm="post").final_norm is None
    layer = layers.TransformerEncoder(**SIZES, num_layers=1, normalization="rms")
    rows = numpy(layer(X)["sequence"])
    np.testing.assert_allclose(np.mean(rows**2, axis=-1), 1, atol=1e-3)


def test_dropout_acts_in_training_alone():
    layer = encoder(dropout=0.5)
    plain, noisy = layer(X)["sequence"], layer(X, training=True)["sequence"]
    assert not np.allclose(numpy(plain), numpy(noisy), atol=1e-2)
    np.testing.assert_allclose(numpy(plain), numpy(layer(X)["sequence"]), atol=1e-6)


def test_mixed_precision_steps_stay_in_bfloat16():
    layer = layers.TransformerDecoder(**SIZES, num_layers=1, dtype="mixed_bfloat16")
    whole = layer(X, encoded=ENCODED)
    cache = layer.start(B, T, ENCODED)
    got, cache = layer.step(X[:, 0], cache, 0)
    assert keras.backend.standardize_dtype(cache.pop("attention").dtype) == "float32"
    kinds = {keras.backend.standardize_dtype(x.dtype) for x in keras.tree.flatten((got, cache))}
    assert kinds == {"bfloat16", "bool"}
    a, b = (numpy(ops.cast(x, "float32")) for x in (got, whole[:, 0]))
    np.testing.assert_allclose(a, b, atol=0.1)


def test_wrong_arguments_are_named():
    cases = [
        (
            layers.TransformerEncoder,
            {"activation": "rellu"},
            "`activation` must be the name of .*got activation='rellu'.*mean 'relu'",
        ),
        (
            layers.TransformerDecoder,
            {"norm": "prenorm"},
            "TransformerDecoder.*: `norm` must be one of 'pre', 'post'; got norm='prenorm'",
        ),
        (
            layers.TransformerEncoder,
            {"normalization": "batch"},
            "`normalization` must be one of .*got normalization='batch'",
        ),
        (
            layers.TransformerDecoder,
            {"positions": "sinusoidal"},
            "`positions` must be one of None, 'rotary'; got positions='sinusoidal'",
        ),
        (layers.TransformerEncoder, {"num_layers": 0}, "TransformerEncoder: `num_layers` must be .*got num_layers=0"),
        (
            layers.TransformerEncoder,
            {"num_heads": 5},
            "`hidden_dim` must be divisible by `num_heads`; got hidden_dim=24, num_heads=5",
        ),
        (layers.TransformerDecoder, {"num_key_value_heads": 3}, "got num_heads=4, num_key_value_heads=3"),
        (layers.TransformerEncoder, {"dropout": -0.1}, "`dropout` must be a number.*got dropout=-0.1"),
    ]
    for cls, options, message in cases:
        with pytest.raises(ValueError, match=message):
            cls(**{**SIZES, "num_layers": 1, **options})
    with pytest.raises(
        ValueError, match="TransformerEncoder: `inputs` must be `hidden_dim` wide; .*width 11, hidden_dim=24"
    ):
        layers.TransformerEncoder(**SIZES, num_layers=1)(ENCODED["sequence"])
    with pytest.raises(ValueError, match=r"`inputs` must have 3 axes; got shape \(3, 24\)"):
        layers.TransformerEncoder(**SIZES, num_layers=1)(X[:, 0])


def test_a_decoder_requires_or_refuses_a_source():
    with pytest.raises(
        ValueError, match="TransformerDecoder: cross-attention needs `encoded`; got encoded=None.*cross_attention=False"
    ):
        layers.TransformerDecoder(**SIZES, num_layers=1)(X)
    with pytest.raises(ValueError, match="TransformerDecoder: cross-attention needs `encoded`; got encoded=None"):
        decoder().start(B, T)
    with pytest.raises(ValueError, match="`encoded` must be None without cross-attention; got dict"):
        decoder(cross_attention=False)(X, encoded=ENCODED)
