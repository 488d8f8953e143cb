"""Where the predictions of an evaluation are good and bad: intervals, the best and the worst, and errors by length."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo.run import resampling, sample_table

RESAMPLES = 300  # bootstrap samples of the intervals in reports
EXTREMES = 3  # predictions that are best, and as many that are worst
MAX_RANKED = 5000  # examples whose measures are computed one by one
GROUPS = 4  # of lengths


def intervals(
    statistics: Mapping[str, np.ndarray], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, list[float]]:
    """Returns the 95 % interval of each measure, by bootstrap over the examples.

    Args:
        statistics: dictionary of measure to its statistics, arrays with a row for each example.
        resamples: int, above 0. The number of samples. Defaults to `300`.
        seed: int. The seed of the samples. Defaults to `0`.
    """
    size = len(next(iter(statistics.values()), ()))
    if size < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of examples that are all alike, which have no correlation
        (sampled,) = resampling.resampled([statistics], resamples, seed)
    return {name: resampling.interval(values) for name, values in sampled.items()}


def analysis(
    raw: list, references: list[list], predictions: Sequence, statistics: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], list[sample_table.Sample]]:
    """Returns what a report says of errors, in plain values, and the best and the worst predictions as samples.

    Args:
        raw: list of raw inputs.
        references: list of lists. The accepted references of each input.
        predictions: list of predictions.
        statistics: dictionary of measure to its statistics.
    """
    from kerazoo.tasks import MEASURES

    ranked = [name for name in statistics if name in MEASURES and MEASURES.get(name).higher_is_better is not None]
    if not ranked or not len(predictions):
        return {}, []
    name = ranked[0]
    row = MEASURES.get(name)
    chosen = np.unique(np.linspace(0, len(predictions) - 1, min(len(predictions), MAX_RANKED)).astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a measure that one example does not have
        values = np.array([row.reduce(statistics[name][[index]]) for index in chosen], np.float64)
    quality = np.nan_to_num(values if row.higher_is_better else -values)
    order = chosen[np.argsort(-quality, kind="stable")].tolist()
    count = min(EXTREMES, len(order) // 2)
    kinds = [("best", index) for index in order[:count]] + [("worst", index) for index in order[::-1][:count]]
    if len(set(quality.tolist())) == 1:
        kinds = []  # neither is one
    samples = [sample_table.Sample(raw[i], references[i], predictions[i], kind=kind) for kind, i in kinds]
    found: dict[str, Any] = {"ranked_by": name}
    if lengths := _by_length(raw, statistics[name], row):
        found["by_length"] = {"measure": name, **lengths}
    return found, samples


def _by_length(raw, statistics, row):
    """Returns a measure of the examples from the shortest to the longest inputs; empty where all are of one length."""
    lengths, unit = _lengths(raw)
    if lengths is None or len(set(lengths.tolist())) < GROUPS:
        return {}
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, GROUPS + 1), method="nearest"))
    groups = []
    for number, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist())):
        low = low if number == 0 else low + 1
        rows = np.flatnonzero((lengths >= low) & (lengths <= high))
        if len(rows):
            groups.append([int(low), int(high), len(rows), float(row.reduce(statistics[rows]))])
    return {"unit": unit, "groups": groups} if len(groups) > 1 else {}


def _lengths(raw):
    """Returns the length of each raw input and its unit; `None` where it has none."""
    first = raw[0][0] if isinstance(raw[0], tuple) else raw[0]
    if isinstance(first, str):
        texts = [" ".join(part for part in each if isinstance(part, str)) if isinstance(each, tuple) else each
                 for each in raw]  # fmt: skip
        return np.array(list(map(len, texts))), "characters"
    if isinstance(first, np.ndarray) and first.ndim == 1 and not isinstance(raw[0], tuple):
        return np.array(list(map(len, raw))), "samples"
    return None, ""
