import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import oracles
from kerazoo import layers
from kerazoo.layers import attention as attention_module
from kerazoo.layers.attention import kv_cache_mask

B, T, S = 3, 7, 5
RNG = np.random.default_rng(17)
X = RNG.normal(size=(B, T, 13)).astype("float32")
SOURCE = RNG.normal(size=(B, S, 11)).astype("float32")
LENGTHS = np.array([[7], [4], [2]])
VALID = np.arange(T)[None] < LENGTHS
SOURCE_VALID = np.arange(S)[None] < np.array([[5], [3], [1]])


def numpy(x):
    return ops.convert_to_numpy(x)


def randomised(layer):
    """The layer with random weights, biases too."""
    rng = np.random.default_rng(23)
    for weight in layer.weights:
        if "seed" not in weight.path:
            weight.assign(rng.normal(size=weight.shape, scale=0.5))
    return layer


def attention(**options):
    layer = layers.Attention(**{"hidden_dim": 24, "num_heads": 4, **options})
    layer.build((None, None, 13))
    return randomised(layer)


def dense(layer, x):
    return x @ numpy(layer.kernel) + (numpy(layer.bias) if layer.use_bias else 0)


def heads(x, number):
    """[B, T, N * K] -> [B, N, T, K]."""
    return x.reshape(*x.shape[:2], number, -1).transpose(0, 2, 1, 3)


def merged(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


@pytest.mark.parametrize(
    "options",
    [{}, {"num_key_value_heads": 2}, {"num_key_value_heads": 1, "rotary": True}, {"rotary": True, "use_bias": False}],
)
def test_self_attention_agrees_with_the_oracle(options):
    layer = attention(**options)
    groups = options.get("num_key_value_heads", 4)
    query, key, value = np.split(dense(layer.joint_projection, X), [24, 24 + groups * 6], axis=-1)
    query, key, value = heads(query, 4), heads(key, groups), heads(value, groups)
    if layer.rotary:
        for x in (query, key):
            for b, h, t in np.ndindex(x.shape[:3]):
                x[b, h, t] = oracles.rotate(x[b, h, t], t)
    mask = VALID[:, None, :] & np.tril(np.ones((T, T), bool))
    expected, expected_weights = oracles.attention(query, key, value, mask)
    got, weights = layer(X, padding_mask=VALID, use_causal_mask=True, return_attention_scores=True)
    np.testing.assert_allclose(numpy(weights), expected_weights, atol=1e-5)
    np.testing.assert_allclose(numpy(got), dense(layer.output_projection, merged(expected)), atol=1e-4)


@pytest.mark.parametrize("groups", [4, 2])
def test_cross_attention_agrees_with_the_oracle(groups):
    layer = cross(num_key_value_heads=groups)
    query = heads(dense(layer.query_projection, X), 4)
    key, value = (heads(x, groups) for x in np.split(dense(layer.joint_projection, SOURCE), 2, axis=-1))
    mask = np.broadcast_to(SOURCE_VALID[:, None], (B, T, S))
    expected, expected_weights = oracles.attention(query, key, value, mask)
    got, weights = layer(X, SOURCE, padding_mask=SOURCE_VALID, return_attention_scores=True)
    np.testing.assert_allclose(numpy(weights), expected_weights, atol=1e-5)
    np.testing.assert_allclose(numpy(got), dense(layer.output_projection, merged(expected)), atol=1e-4)


def cross(**options):
    layer = layers.CrossAttention(**{"hidden_dim": 24, "num_heads": 4, **options})
    layer.build((None, None, 13), (None, None, 11))
    return randomised(layer)


def test_attention_masks_of_two_three_and_four_axes():
    layer = attention()
    mask = RNG.random((T, T)) < 0.5
    np.fill_diagonal(mask, True)
    two = numpy(layer(X, attention_mask=mask))
    three = numpy(layer(X, attention_mask=np.broadcast_to(mask, (B, T, T))))
    four = numpy(layer(X, attention_mask=np.broadcast_to(mask, (B, 4, T, T))))
    np.testing.assert_allclose(two, three, atol=1e-6)
    np.testing.assert_allclose(two, four, atol=1e-6)
    _, weights = layer(X, attention_mask=mask, padding_mask=VALID, return_attention_scores=True)
    allowed = np.broadcast_to((mask & VALID[:, None])[:, None], (B, 4, T, T))
    some = allowed.any(-1)
    assert np.all(numpy(weights)[some][~allowed[some]] == 0)


FUSED_CALLS = {
    "no_mask": {},
    "causal": {"use_causal_mask": True},
    "padding": {"padding_mask": VALID},
    "causal_padding": {"padding_mask": VALID, "use_causal_mask": True},
    "empty_row": {"padding_mask": VALID & np.array([[True], [False], [True]])},
    "two_axes": {"attention_mask": np.eye(T, dtype=bool)},
    "three_axes": {"attention_mask": np.broadcast_to(np.tri(T, dtype=bool), (B, T, T)), "padding_mask": VALID},
    "four_axes": {"attention_mask": RNG.random((B, 4, T, T)) < 0.5},
}


@pytest.fixture
def fused(monkeypatch):
    """Uses `ops.dot_product_attention` as on a GPU, and returns the number of its calls so far."""
    calls, function = [], ops.dot_product_attention

    def count(*args, **kwargs):
        calls.append(kwargs)
        return function(*args, **kwargs)

    monkeypatch.setattr("kerazoo.layers.attention._keras_has_fused_kernel", lambda: True)
    monkeypatch.setattr(ops, "dot_product_attention", count)
    return lambda: len(calls)


@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize("name", FUSED_CALLS)
def test_the_fused_kernel_gives_what_the_weights_give(groups, name, fused):
    layer = attention(num_key_value_heads=groups, rotary=True)
    expected, _ = layer(X, return_attention_scores=True, **FUSED_CALLS[name])
    assert fused() == 0
    got = layer(X, **FUSED_CALLS[name])
    assert fused() == 1
    np.testing.assert_allclose(numpy(got), numpy(expected), atol=1e-4)


@pytest.mark.parametrize("mask", [None, SOURCE_VALID])
def test_the_fused_kernel_serves_cross_attention(mask, fused):
    layer = cross(num_key_value_heads=2)
    expected, _ = layer(X, SOURCE, padding_mask=mask, return_attention_scores=True)
    got = layer(X, SOURCE, padding_mask=mask)
    assert fused() == 1
    np.testing.assert_allclose(numpy(got), numpy(expected), atol=1e-4)


def test_the_fused_kernel_is_not_used_with_dropout_or_on_this_machine(fused, monkeypatch):
    layer = attention(dropout=0.5)
    layer(X, training=True)
    assert fused() == 0
    layer(X, training=False)
    assert fused() == 1
    monkeypatch.undo()
    if not any(device.startswith("gpu") for device in keras.distribution.list_devices()):
        assert not attention_module._keras_has_fused_kernel()


def test_nothing_leaks_from_the_future():
    layer = attention(rotary=True)
    changed = X.copy()
    changed[:, 4:] = 9.0
    before, after = (numpy(layer(x, use_causal_mask=True)) for x in (X, changed))
    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not np.allclose(before[:, 4:], after[:, 4:], atol=1e-2)


@not_on_jax
def test_padding_changes_no_valid_position():
    layer = attention(num_key_value_heads=2)
    changed = np.where(VALID[:, :, None], X, 100.0).astype("float32")
    before, after = (numpy(layer(x, padding_mask=VALID)) for x in (X, changed))
    np.testing.assert_allclose(before[VALID], after[VALID], atol=1e-5)
    short = numpy(layer(X[2:, :2]))  # the last row has two valid positions
    np.testing.assert_allclose(before[2:, :2], short, atol=1e-5)


def test_a_row_without_anything_to_attend_to_attends_to_nothing():
    layer, nothing = attention(), np.zeros((B, T), bool)
    got, weights = layer(X, padding_mask=nothing, return_attention_scores=True)
    np.testing.assert_array_equal(numpy(weights), 0)
    # However wide the padding is.
    np.testing.assert_array_equal(numpy(got)[:, :2], numpy(layer(X[:, :2], padding_mask=nothing[:, :2])))


@not_on_jax
@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("rotary", [False, True])
def test_steps_give_what_the_causal_call_gives(groups, rotary):
    layer = attention(num_key_value_heads=groups, rotary=rotary)
    whole = numpy(layer(X, use_causal_mask=True))
    kv_cache = layer.start(B, max_length=11)  # longer than the sequence
    assert kv_cache["key"].shape == kv_cache["value"].shape == (B * groups, 11, 6)
    for t in range(T - 3):
        got, kv_cache = layer.step(X[:, t], kv_cache, ops.convert_to_tensor(t, dtype="int32"))
        np.testing.assert_allclose(numpy(got), whole[:, t], atol=1e-5, rtol=1e-5)
    got, kv_cache = layer.step_many(X[:, T - 3 :], kv_cache, T - 3)  # the last three at once
    np.testing.assert_allclose(numpy(got), whole[:, T - 3 :], atol=1e-5, rtol=1e-5)


@not_on_jax
def test_hypotheses_attend_to_their_beam_ancestry():
    layer, num_beams = attention(num_key_value_heads=2, rotary=True), 3
    beams = RNG.normal(size=(B, num_beams, T, 13)).astype("float32")
    ancestry = RNG.integers(0, num_beams, (B, num_beams, T))
    ancestry[:, :, T - 1] = np.arange(num_beams)  # each hypothesis holds its newest position
    kv_cache = layer.start(B, T, num_beams=num_beams)
    for t in range(T):
        mask = kv_cache_mask(t, 1, T, ops.convert_to_tensor(ancestry, "int32"))
        got, kv_cache = layer.step_many(beams[:, :, t].reshape(-1, 1, 13), kv_cache, t, mask)
    expected = np.stack([[beams[b, ancestry[b, w], range(T)] for w in range(num_beams)] for b in range(B)])
    whole = numpy(layer(expected.reshape(-1, T, 13), use_causal_mask=True))[:, -1:]
    np.testing.assert_allclose(numpy(got), whole, atol=1e-5, rtol=1e-5)


def test_steps_over_another_sequence_give_what_the_call_gives():
    layer = cross(num_key_value_heads=2)
    whole, weights = layer(X, SOURCE, padding_mask=SOURCE_VALID, return_attention_scores=True)
    memory = layer.memory(SOURCE)
    for t in range(T):
        got, weights_of_step = layer.step_many(X[:, t : t + 1], memory, SOURCE_VALID, return_attention_scores=True)
        np.testing.assert_allclose(numpy(got)[:, 0], numpy(whole)[:, t], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(numpy(weights_of_step)[:, 0], numpy(weights).mean(1)[:, t], atol=1e-5, rtol=1e-5)


@not_on_jax
@pytest.mark.parametrize("groups", [4, 2])
def test_beams_share_the_memory_of_their_source(groups):
    layer = cross(num_key_value_heads=groups)
    beams = RNG.normal(size=(B * 2, 3, 13)).astype("float32")
    shared = layer.step_many(beams, layer.memory(SOURCE), SOURCE_VALID, return_attention_scores=True)
    mask, memory = np.repeat(SOURCE_VALID, 2, 0), layer.memory(np.repeat(SOURCE, 2, 0))
    copied = layer.step_many(beams, memory, mask, return_attention_scores=True)
    for one, other in zip(shared, copied):
        np.testing.assert_allclose(numpy(one), numpy(other), atol=1e-5)
    alone = layer.step_many(beams, layer.memory(SOURCE), SOURCE_VALID)
    np.testing.assert_array_equal(numpy(alone), numpy(shared[0]))


def test_the_softmax_runs_in_float32_under_mixed_precision():
    layer = layers.Attention(22, 2, dtype="mixed_bfloat16")
    got, weights = layer(X, return_attention_scores=True)
    assert keras.backend.standardize_dtype(got.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    np.testing.assert_allclose(numpy(weights).sum(-1), 1, atol=1e-6)
    state = layer.start(B, 3)
    assert keras.backend.standardize_dtype(state["key"].dtype) == "bfloat16"
    _, state = layer.step(X[:, 0], state, 0)


def test_dropout_acts_in_training_alone_and_not_on_the_scores():
    layer = attention(dropout=0.5)
    plain, weights = layer(X, return_attention_scores=True)
    noisy, same = layer(X, return_attention_scores=True, training=True)
    np.testing.assert_allclose(numpy(weights), numpy(same), atol=1e-6)
    assert not np.allclose(numpy(plain), numpy(noisy), atol=1e-2)
    np.testing.assert_allclose(numpy(plain), numpy(layer(X)), atol=1e-6)


def test_wrong_arguments_are_named():
    with pytest.raises(
        ValueError,
        match="Attention: `hidden_dim` must be divisible by `num_heads`; got hidden_dim=10, num_heads=3. Try ",
    ):
        layers.Attention(num_heads=3, hidden_dim=10)
    with pytest.raises(
        ValueError,
        match="`num_heads` must be divisible by `num_key_value_heads`; got num_heads=6, num_key_value_heads=4",
    ):
        layers.CrossAttention(num_heads=6, hidden_dim=12, num_key_value_heads=4)
    with pytest.raises(
        ValueError, match="Attention: `rotary` needs heads of even width; got hidden_dim=15, num_heads=3"
    ):
        layers.Attention(num_heads=3, hidden_dim=15, rotary=True)
    with pytest.raises(ValueError, match="Attention: `num_heads` must be an integer above 0; got num_heads=0"):
        layers.Attention(num_heads=0, hidden_dim=10)
    with pytest.raises(ValueError, match="Attention: `dropout` must be a number.*got dropout=1.5"):
        layers.Attention(10, 2, dropout=1.5)
    with pytest.raises(ValueError, match=r"`padding_mask` must have 2 axes; got shape \(3, 1, 7\)"):
        attention()(X, padding_mask=VALID[:, None])
    with pytest.raises(ValueError, match=r"`attention_mask` must have 2 or 3 or 4 axes; got shape \(7,\)"):
        attention()(X, attention_mask=VALID[0])
    with pytest.raises(ValueError, match=r"Attention: `inputs` must have 3 axes; got shape \(3, 13\)"):
        layers.Attention(10, 2)(X[:, 0])


def test_one_position_is_attended_to_without_a_warning(recwarn):
    x, y = np.ones((2, 3, 8), "float32"), np.ones((2, 1, 8), "float32")
    attention = layers.CrossAttention(8, 2)
    _, weights = attention(x, y, return_attention_scores=True)
    np.testing.assert_array_equal(weights, np.ones((2, 2, 3, 1)))
    assert not [each for each in recwarn if "softmax" in str(each.message)]
