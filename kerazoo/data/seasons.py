"""The season of a series, found by its autocorrelation."""

import numpy as np

MIN_PROMINENCE = 0.2  # of a peak of the autocorrelation that counts as a season
EARLY = 0.8  # share of the highest prominence from which on the first peak is taken


def find_season(numbers: np.ndarray) -> int:
    """Returns the number of rows of a season, 1 where there is none.

    It is the first peak of the autocorrelation, without a linear trend and averaged over the variables, that rises
    nearly as far above the lowest value before it as any other. Seasons of up to a third of the rows are found.

    Args:
        numbers: float `[rows, V]`.
    """
    rows = len(numbers)
    if rows < 9:
        return 1
    times = np.arange(rows) - (rows - 1) / 2
    centered = numbers - numbers.mean(axis=0)
    centered = centered - times[:, None] * (times @ centered / (times @ times))
    centered = centered[:, (centered**2).sum(axis=0) > 1e-12 * rows * np.maximum((numbers**2).mean(axis=0), 1e-12)]
    if not centered.shape[1]:
        return 1
    spectrum = np.fft.rfft(centered, 2 * rows, axis=0)
    products = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: rows // 3 + 2]
    correlation = (products / products[0]).mean(axis=1)
    lags = np.arange(2, rows // 3 + 1)
    peaks = lags[(correlation[lags] > correlation[lags - 1]) & (correlation[lags] >= correlation[lags + 1])]
    lowest = np.minimum.accumulate(correlation)
    prominence = correlation[peaks] - lowest[peaks]
    if not len(peaks) or prominence.max() < MIN_PROMINENCE:
        return 1
    first = int(peaks[prominence >= EARLY * prominence.max()][0])
    near = np.arange(first, min(int(1.1 * first) + 1, len(correlation) - 1))  # noise makes several peaks of one
    return int(near[correlation[near].argmax()])


def naive_error(numbers: np.ndarray, season: int) -> np.ndarray:
    """Returns the mean absolute error, float `[V]`, of the forecast that repeats the row of one season before.

    Args:
        numbers: float `[rows, V]`.
        season: integer above 0.
    """
    season = season if season < len(numbers) else 1
    return np.abs(numbers[season:] - numbers[:-season]).mean(axis=0)
