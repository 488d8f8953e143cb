"""Direct forecasters are what NumPy computes, and treat each variable alike."""

import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import kerazoo as kz

SERIES = np.random.default_rng(5).normal(size=(3, 13, 2)).astype("float32") * 3 + 50


def randomized(model):
    model.build_from_inputs()
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=weight.shape) / 5 for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("kernel_size", [1, 5])
def test_linear_forecaster_equals_numpy(kernel_size):
    sizes = {"input_shape": (13, 2), "output_length": 7, "kernel_size": kernel_size}
    model = randomized(kz.create("linear_forecaster", **sizes, instance_normalization=False))
    padded = np.pad(SERIES, ((0, 0), (kernel_size // 2,) * 2, (0, 0)), mode="edge")
    trend = np.stack([padded[:, i : i + kernel_size].mean(1) for i in range(13)], axis=1)
    parts = [SERIES - trend, trend] if kernel_size > 1 else [SERIES]
    expected = 0
    for part, layer in zip(parts, model.maps):
        kernel, bias = ops.convert_to_numpy(layer.kernel), ops.convert_to_numpy(layer.bias)
        expected = expected + np.einsum("blv,lh->bhv", part, kernel) + bias[:, None]
    np.testing.assert_allclose(model(SERIES), expected, rtol=1e-4, atol=1e-3)


def test_patches_overlap_and_the_last_row_is_repeated():
    model = kz.create("patch_forecaster", input_shape=(13, 2), output_length=7, patch_length=4, patch_stride=3)
    assert model.patch_rows.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10, 11, 12], [12, 12, 12, 12]]
    # 42 patches of 16 rows in 336, as in the paper.
    assert len(kz.create("patch_forecaster").patch_rows) == 42


@not_on_jax
@pytest.mark.parametrize("name", ["linear_forecaster", "patch_forecaster"])
def test_variables_are_alike_and_normalized_forecasts_move_and_stretch_with_them(name):
    sizes = {"patch_length": 4, "patch_stride": 3} if name == "patch_forecaster" else {}
    model = randomized(kz.create(name, input_shape=(13, 2), output_length=7, quantiles=(0.1, 0.9), **sizes))
    forecast = np.array(model(SERIES)).reshape(3, 7, 2, 2)
    swapped = np.array(model(SERIES[:, :, ::-1])).reshape(3, 7, 2, 2)
    np.testing.assert_allclose(swapped[:, :, ::-1], forecast, rtol=1e-5)
    moved = np.array(model(SERIES * 4 - 20)).reshape(3, 7, 2, 2)
    np.testing.assert_allclose(moved, forecast * 4 - 20, rtol=1e-3)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("linear_forecaster", {"kernel_size": 4}, "LinearForecaster: `kernel_size` must be odd; got kernel_size=4"),
        ("linear_forecaster", {"input_shape": (4,)}, r"`input_shape` must have 2 axes; got shape \(4,\)"),
        ("patch_forecaster", {"patch_length": 400}, "`patch_length` must be at most 336; got patch_length=400"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(ValueError, match=message):
        kz.create(name, **options)
