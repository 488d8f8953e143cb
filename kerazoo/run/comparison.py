"""Compares two runs on the same examples by paired bootstrap resampling."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.run import baselines, evaluation, load_run, resampling, sample_table


def compare(
    run_dir: load_run.RunPath,
    other: load_run.RunPath,
    split: str = "test",
    limit: int = 0,
    samples: int = 8,
    data_dir: str | os.PathLike | None = None,
    checkpoint: str = "best",
    imports: str | Sequence[str] = (),
    metrics: Sequence[str] = (),
    by: str | None = None,
    test_data: str | os.PathLike | None = None,
    save_predictions: bool | str | os.PathLike = False,
    resamples: int = 1000,
    resample_seed: int = 0,
    **options,
) -> dict:
    """Evaluates two runs on the same examples, and computes 95 % intervals of each measure and of the difference.

    The examples are drawn with replacement `resamples` times, the same ones for both runs, and each measure is computed
    of each sample, BLEU and chrF of the sample as a whole. An interval lies between the quantiles 0.025 and 0.975 of
    these values. If that of the difference leaves out 0, the runs differ by more than the choice of the test examples
    explains; what another seed of the training would change is not in it.

    Args:
        run_dir: as for `evaluate`. It gets the files, and its target splits texts into tokens for both runs.
        other: as `run_dir`. The run that it is compared with.
        split: as for `evaluate`. Defaults to `"test"`.
        limit: as for `evaluate`. Defaults to `0`.
        samples: as for `evaluate`. Defaults to `8`.
        data_dir: as for `evaluate`, for both runs. Defaults to `None`.
        checkpoint: as for `evaluate`. Defaults to `"best"`.
        imports: as for `evaluate`. Defaults to `()`.
        metrics: as for `evaluate`. Defaults to `()`.
        by: as for `evaluate`. Defaults to `None`.
        test_data: as for `evaluate`. Defaults to `None`.
        save_predictions: as for `evaluate`: those of the first run. Defaults to `False`.
        resamples: int, above 0. The number of samples. Defaults to `1000`.
        resample_seed: int, not negative. The seed of the samples. Defaults to `0`.
        **options: the search and its options, of both runs.

    Returns:
        The dict of `evaluate` for the first run. Its `"comparison"` has `"other"`, the other run; `"resamples"`;
        `"seed"`; and `"metrics"`, for each measure its `value` and that of the `other`, the `difference` of the first,
        and the intervals of the three as `value_interval`, `other_interval` and `difference_interval`.

    Raises:
        ValueError: if the runs have other examples, or their references are not the same texts.

    Reference: Philipp Koehn 2004, Statistical Significance Tests for Machine Translation Evaluation.
    """
    _checks.positive_int("compare", "resamples", resamples)
    _checks.non_negative_int("compare", "resample_seed", resample_seed)
    one, names = evaluation.opened(run_dir, split, data_dir, checkpoint, imports, metrics, test_data)
    two, _ = evaluation.opened(other, split, data_dir, checkpoint, imports, metrics, test_data)
    evaluation.check_saved(one.task, save_predictions)
    if one.task.targets.modality == "pixels":
        raise ValueError("compare: runs that predict texts, classes or numbers are compared; got runs of pixels.")
    baseline = baselines.load(evaluation.first_run(run_dir))
    found = evaluation.evaluated(one, split, limit, samples, names, by, baseline, **options)
    raw, references = two.task.examples(split, limit=limit or None)
    _check_same("inputs", found.raw, raw)
    _check_same("references", found.references, references)
    if one.task.targets.evaluated_by_loss:
        statistics = [{"nats": _likelihoods(each, split, limit)} for each in (one, two)]
    else:
        others = one.task.targets.statistics(two(raw, **options), references, names or None, found.scales)
        statistics = [{name: found.statistics[name] for name in others}, others]
    found.result["comparison"] = {
        "other": str(evaluation.first_run(other).path),
        "resamples": resamples,
        "seed": resample_seed,
        "metrics": bootstrap(*statistics, resamples=resamples, seed=resample_seed),
    }
    evaluation.finish(run_dir, found, split, test_data, save_predictions)
    return found.result


def bootstrap(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Returns the measures of two sets of predictions for the same examples, with their 95 % intervals.

    Args:
        one: dictionary of measure to its statistics, arrays with a row for each example.
        other: the same for other predictions for these examples.
        resamples: int, above 0. The number of samples. Defaults to `1000`.
        seed: int, not negative. The seed of the samples. Defaults to `0`.

    Returns:
        A dictionary of measure to `value`, `other`, `difference` and their intervals, see `compare`.
    """
    both = {"value": one, "other": other}
    sampled = resampling.resampled([one, other], resamples, seed)
    values = {key: evaluation.reduced(statistics) for key, statistics in both.items()}
    found = {}
    for name in one:
        columns = {key: each[name] for key, each in zip(both, sampled)}
        columns["difference"] = columns["value"] - columns["other"]
        row = {key: values[key][name] for key in both}
        row["difference"] = row["value"] - row["other"]
        intervals = {f"{key}_interval": resampling.interval(each) for key, each in columns.items()}
        found[name] = {**row, **intervals}
    return found


def _check_same(what, ones, others):
    """Refuses two runs whose examples differ."""
    if len(ones) != len(others):
        raise ValueError(f"compare: the runs have {len(ones):,} and {len(others):,} examples. Give both the same data.")
    for number, (one, other) in enumerate(zip(ones, others), 1):
        if not _equal(one, other):
            texts = [sample_table.text(tuple(each) if what == "references" else each) for each in (one, other)]
            raise ValueError(
                f"compare: the runs must have the same {what}; in example {number} they are {texts[0]!r:.80} and "
                f"{texts[1]!r:.80}. Give both the same data, and tokenizers that change the case of texts in the same "
                "way."
            )


def _equal(one, other):
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return np.array_equal(one, other)


def _likelihoods(predictor, split, limit):
    """Returns the negative log-likelihood and the number of characters of each window of a text, float64 `[N, 2]`."""
    from kerazoo import decoding

    target = predictor.task.targets
    corpus = predictor.task.load(split)
    windows = (corpus.sample(limit) if limit else corpus).features["targets"]
    rows = [windows[row].tolist() for row in range(len(windows))]
    scored = decoding.score(predictor.model, None, rows, batch_size=64)
    characters = [target.count_characters(row).sum() for row in rows]
    return np.stack([-scored.scores.astype(np.float64), characters], axis=-1)
