"""Mean and deviation of each series of a batch, by which a model can normalize it."""

from typing import Any

from keras import ops

from kerazoo.layers.masking import masked_mean

EPSILON = 1e-5  # added to the variance


def series_moments(series: Any, mask: Any = None) -> tuple[Any, Any]:
    """Returns the mean and the standard deviation of each variable of each series over its valid positions.

    A model that normalizes its source by them and scales its outputs back is called reversible instance normalization;
    the level and the spread of a series then do not matter. The variance is increased by 1e-5.

    Args:
        series: float tensor `[B, S, V]`.
        mask: bool tensor `[B, S]`, True = valid; None counts all positions. Defaults to `None`.

    Returns:
        Two float32 tensors `[B, 1, V]`.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import series_moments

    mean, deviation = series_moments(np.array([[[1.0], [3.0]]]))
    assert mean[0, 0, 0] == 2.0 and abs(deviation[0, 0, 0] - 1.0) < 1e-4
    ```

    Reference:
        Kim, Kim, Tae, Park, Choi and Choo, 2022, Reversible Instance Normalization for Accurate Time-Series
        Forecasting against Distribution Shift, ICLR (without their affine weights).
    """
    series = ops.cast(series, "float32")
    mean = masked_mean(series, mask)[:, None]
    return mean, ops.sqrt(masked_mean(ops.square(series - mean), mask)[:, None] + EPSILON)
