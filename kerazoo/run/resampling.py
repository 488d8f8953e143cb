"""Bootstrap resampling: the measures of samples of the examples, and the intervals that these give."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

INTERVAL = (0.025, 0.975)  # the quantiles of a 95 % interval


def reductions(statistics: Mapping[str, Any]) -> dict[str, Callable[[np.ndarray], Any]]:
    """Returns the function that computes each measure from its statistics; those of baselines have their prefix."""
    from kerazoo.run.report import BASELINE
    from kerazoo.tasks import MEASURES

    return {name: MEASURES.get(name.removeprefix(BASELINE)).reduce for name in statistics}


def resampled(
    predictions: Sequence[Mapping[str, np.ndarray]], resamples: int, seed: int
) -> list[dict[str, np.ndarray]]:
    """Returns the measures of samples of the examples, for several sets of predictions of the same samples.

    Args:
        predictions: list of dictionaries of measure to its statistics, arrays with a row for each example.
        resamples: int, above 0. The number of samples, as large as the set of examples, with replacement.
        seed: int, not negative. The seed of the samples.

    Returns:
        For each of `predictions` a dictionary of measure to a float64 array `[resamples]`.
    """
    size, generator = len(next(iter(predictions[0].values()))), np.random.default_rng(seed)
    found = [{name: np.zeros(resamples) for name in statistics} for statistics in predictions]
    functions = [reductions(statistics) for statistics in predictions]
    for number in range(resamples):
        rows = generator.integers(0, size, size)
        for values, statistics, reduced_by in zip(found, predictions, functions):
            for name, reduce in reduced_by.items():
                values[name][number] = reduce(statistics[name][rows])
    return found


def interval(values: np.ndarray) -> list[float]:
    """Returns the lower and the upper end of the 95 % interval of a measure of samples."""
    return np.quantile(values, INTERVAL).tolist()
