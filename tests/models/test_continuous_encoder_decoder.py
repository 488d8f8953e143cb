"""Models whose decoder reads values: normalization, quantiles, the stop logit, and what they refuse."""

import numpy as np
import pytest
from model_contracts import check_model, create_tiny
from toys import not_on_jax

import kerazoo as kz

RNG = np.random.default_rng(2)
SERIES = RNG.normal(size=(3, 11, 2)).astype("float32") * 5 + 100
FUTURE = RNG.normal(size=(3, 7, 2)).astype("float32") * 5 + 100


@not_on_jax
@pytest.mark.parametrize(
    "name, options",
    [
        ("lstm+transformer_values", {"quantiles": (0.1, 0.5, 0.9)}),
        ("conv+lstm_values", {"stop": True}),
        pytest.param("lstm+transformer_values", {"stop": True}, marks=pytest.mark.slow),
        pytest.param("conv+lstm_values", {"quantiles": (0.1, 0.5, 0.9)}, marks=pytest.mark.slow),
    ],
)
def test_options_keep_the_contract(name, options):
    model = create_tiny(name, input_shape=(11, 2), first_values="last", instance_normalization=True, **options)
    check_model(model, {"source": SERIES / 100, "targets": FUTURE / 100})
    assert model.output_width == (6 if "quantiles" in options else 3)


def test_normalized_forecasts_move_and_stretch_with_the_series():
    """In exact arithmetic the small number under the root alone tells a series from the stretched one."""
    options = {"input_shape": (11, 2), "instance_normalization": True, "quantiles": (0.2, 0.8)}
    model = create_tiny("lstm+lstm_values", **options, first_values="last")
    forecast = model.generate(SERIES, jit_compile=False).outputs.reshape(3, 7, 2, 2)
    factors = np.array([3.0, 0.5], "float32")
    moved = model.generate(SERIES * factors + 10, jit_compile=False).outputs.reshape(3, 7, 2, 2)
    np.testing.assert_allclose(moved, forecast * factors[:, None] + 10, rtol=1e-4)


def test_masked_positions_of_a_series_do_not_count():
    model = create_tiny("lstm+lstm_values", input_shape=(11, 2), instance_normalization=True, first_values="last")
    mask = np.arange(11) < np.array([[11], [7], [5]])
    other = np.where(mask[:, :, None], SERIES, -1000.0)
    one, two = (model.generate(each, source_mask=mask, jit_compile=False).values for each in (SERIES, other))
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_the_quantile_nearest_to_the_median_is_read():
    model = create_tiny("lstm+lstm_values", input_shape=(11, 2), quantiles=(0.1, 0.4, 0.9))
    outputs = np.arange(6.0)
    assert model.next_values(outputs).tolist() == [1.0, 4.0]
    model = create_tiny("lstm+lstm_values", input_shape=(11, 2), stop=True)
    assert model.next_values(np.arange(3.0)).tolist() == [0.0, 1.0]


@not_on_jax
def test_a_model_learns_to_stop():
    """The length is the number that the source holds."""
    import keras

    model = kz.create(
        "dense+lstm_values", input_shape=(1,), num_values=1, output_length=5, stop=True, input_dropout=0.1
    )
    source = np.arange(1, 4, dtype="float32")[:, None]
    places = np.arange(5)[None, :]
    targets = np.stack([places < source, places == source - 1], axis=-1).astype("float32")

    def loss(y_true, y_pred):
        stop = keras.ops.binary_crossentropy(y_true[:, :, 1], y_pred[:, :, 1], from_logits=True)
        return keras.ops.mean(stop + keras.ops.square(y_true[:, :, 0] - y_pred[:, :, 0]), axis=1)

    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    for _ in range(100):
        model.train_on_batch({"source": source, "targets": targets[:, :, :1]}, targets)
    assert model.generate(source, jit_compile=False).lengths.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("lstm+lstm_values", {"num_values": None}, r"lstm\+lstm_values: `num_values` is needed; got num_values=None"),
        (
            "lstm+lstm_values",
            {"quantiles": (0.5, 0.1)},
            r"`quantiles` must be ascending, each once; got quantiles=\(0.5",
        ),
        ("lstm+lstm_values", {"quantiles": 1.5}, r"`quantiles` must be a number in \(0, 1\); got quantiles=1.5"),
        ("lstm+lstm_values", {"first_values": "first"}, "`first_values` must be one of 'zeros', 'learned', 'last'"),
        (
            "lstm,lstm+lstm_values",
            {"first_values": "last"},
            "a single source, a series, .* got 2 encoders with first_v",
        ),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(ValueError, match=message):
        kz.create(name, **{"num_values": 2, "output_length": 5, **options})


def test_a_source_that_is_no_series_is_not_normalized():
    model = create_tiny("dense+lstm_values", input_shape=(8, 8, 1), instance_normalization=True)
    with pytest.raises(ValueError, match=r"must be a series \[B, S, V\] of at least num_values=2 variables; got shape"):
        model.build_from_inputs()
