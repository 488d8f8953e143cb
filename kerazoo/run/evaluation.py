"""Evaluates a model on unseen examples: measures, those of a baseline, and samples of predictions."""

import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kerazoo import _files
from kerazoo.inspect.confusion import by_number, confusion_matrix
from kerazoo.run import anomalies as anomaly_errors
from kerazoo.run import (
    baselines,
    error_analysis,
    exported_predictor,
    load_run,
    recognition,
    report,
    resampling,
    sample_table,
)
from kerazoo.run import directory as directories
from kerazoo.run import predictor as predictors

if TYPE_CHECKING:
    from kerazoo.tasks import Task

PLAIN = str | int | float | bool | list | None


class Marking(NamedTuple):
    """How anomalies are recognized in the evaluation of an autoencoder.

    Args:
        anomalies: string. `"COLUMN"` or `"COLUMN=VALUE"` of the data. Defaults to `None`: the data does not tell.
        quantile: float. The quantile of the errors of dev examples above which an example is marked. Defaults to
            `None`: 0.99.
    """

    anomalies: str | None = None
    quantile: float | None = None


class Evaluated(NamedTuple):
    """The predictions for the examples of a split, and what was computed of them.

    Args:
        raw: list of raw inputs.
        references: list of lists. The accepted references of each input.
        predictions: list of predictions, empty for a language model.
        statistics: dictionary of measure to its statistics, an array with a row for each example.
        groups: list of lists. The values of a column in the examples of each input, empty where none was chosen.
        scales: list of strings. The `scale_groups` of the examples.
        result: dict. The result of `evaluate`.
        samples: list of `Sample`. Some of the predictions.
        extremes: list of `Sample`. The best and the worst predictions.
    """

    raw: list
    references: list[list]
    predictions: list
    statistics: dict[str, np.ndarray]
    groups: list[list]
    scales: list[str]
    result: dict[str, Any]
    samples: list[sample_table.Sample]
    extremes: list[sample_table.Sample]


def evaluate(
    run_dir: load_run.RunPath,
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
    anomalies: str | None = None,
    threshold_quantile: float | None = None,
    recognizer: str | os.PathLike | None = None,
    exported: str | os.PathLike | None = None,
    **options,
) -> dict:
    """Evaluates a run on `split`, prints a table, and writes `evaluation-SPLIT.json` and the reports into its folder.

    Args:
        run_dir: string or path. The run's folder; or a list of them to evaluate their ensemble, of which the first gets
            the file.
        split: string. `"train"`, `"dev"` or `"test"`. Defaults to `"test"`.
        limit: int. The largest number of examples, spread evenly over the split; 0 for all. Defaults to `0`.
        samples: int. The predictions that are printed with their references. Defaults to `8`.
        data_dir: string or path. Where the data is now, if it moved. Defaults to `None`.
        checkpoint: string. `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.
        metrics: list of strings. Names of `kerazoo.tasks.MEASURES`. Defaults to `()`: those that the run was trained
            with, else those of its target.
        by: string. A column of the raw data; each measure is also computed for each value of it, with the mean over
            the values. Defaults to `None`.
        test_data: string or path. Files of other test examples, see `kerazoo.tasks.Task.with_test_data`; the run's own
            data is not needed then. Defaults to `None`.
        save_predictions: bool, string or path. Whether inputs, references and predictions are written as lines of JSON:
            `True` writes `predictions-SPLIT.jsonl` into the run, a path names the file. Defaults to `False`.
        anomalies: string. For an autoencoder: the column that tells anomalies, whose value is not 0, or with
            `"COLUMN=VALUE"` this value; empty for none. Defaults to `None`: for test that of the task, if it has one.
        threshold_quantile: float in [0, 1]. For an autoencoder: the quantile of the errors of dev examples above which
            an example is marked as an anomaly. Defaults to `None`: 0.99.
        recognizer: string or path. A run of speech recognition that reads the generated sounds of this one; the result
            has its `word_error_rate`, see `kerazoo.run.recognition`. Defaults to `None`.
        exported: string or path. The folder of an export of the run, whose predictions are measured in place of those
            of the run, computed in a fresh process by the program of its format; the files are written into that
            folder. Its search is part of it; CTranslate2 takes `search="greedy"` or `"beam"`, `num_beams` and
            `max_length`. Defaults to `None`.
        **options: the search and its options, `search="beam", num_beams=4`. Defaults to greedy search.

    Returns:
        A dict: `{"metrics": {name: value}, "examples": n, "seconds": s, "search": options}`. Rates and accuracies are
        fractions of 1, BLEU, chrF and ROUGE go to 100. The measures of the baseline have names such as
        `"baseline.accuracy"`, and `"baseline"` says what it predicts. `"confusion"` counts the predicted classes of
        each true one, `"signatures"` has what others need to repeat those. `"by"` has
        the measures of each value of the column. `"unseen"` has the number of examples of each class that the training
        data lacks, which are counted as wrong, and `"cut"` the number of inputs that were cut, where there are any.
        `"limits"` says where texts are cut and where predictions end. `"intervals"` has the 95 % interval of each
        measure by 300 bootstrap samples of the examples, and `"by_length"` one measure for inputs of several lengths,
        where they have any. The file holds the printed samples as well, and the best and the worst predictions by the
        measure `"ranked_by"`.
        Of an autoencoder `"anomalies"` has the `threshold` and how many examples are `marked`, and the metrics have
        `anomaly_share`; with a column of anomalies also `auroc`, `precision`, `recall` and `f1`, and `"anomalies"` has
        them by the `kinds` of anomalies.

    Raises:
        ValueError: if an option does not fit the run, or all examples or none are anomalies.
    """
    from kerazoo.training import processes

    predictor, metrics = opened(run_dir, split, data_dir, checkpoint, imports, metrics, test_data)
    check_saved(predictor.task, save_predictions)
    predictor.threshold(threshold_quantile)  # raises before anything is predicted
    if exported is not None:
        predictor = exported_predictor.ExportedPredictor(exported, predictor.task, predictor.dev_errors)
    baseline = baselines.load(first_run(run_dir))
    if anomalies is None and split == "test":
        anomalies = predictor.task.options.get("anomalies")
    marking = Marking(anomalies or None, threshold_quantile)
    reader: Any = None
    if recognizer is not None:
        reader = recognition.open_recognizer(predictor.task, recognizer)
    with processes.loss_reported():
        found = evaluated(predictor, split, limit, samples, metrics, by, baseline, marking, **options)
    if recognizer is not None:
        rates = recognition.word_error_rates(reader, predictor.task, found.raw, found.references, found.predictions)
        found.result["metrics"] |= rates
        named = filter(None, [found.result.get("baseline"), recognition.ABOUT])
        found.result.update(recognizer=os.path.abspath(recognizer), baseline="; ".join(named))
    if processes.is_first():
        finish(run_dir, found, split, test_data, save_predictions, exported)
    processes.wait()
    return found.result


def check_saved(task: "Task", save_predictions: bool | str | os.PathLike) -> None:
    """Refuses to save the predictions of a task whose models are measured by their loss alone, and sounds."""
    if save_predictions and task.targets.modality == "sound":
        raise ValueError(
            f"{task.owner}: `save_predictions` writes lines of JSON, and predictions are sounds; got save_predictions="
            f"{save_predictions!r}. Leave it out; predict writes sounds as files."
        )
    if save_predictions and task.targets.evaluated_by_loss:
        raise ValueError(
            f"{task.owner}: `save_predictions` needs predictions, and only the loss is measured here; got "
            f"save_predictions={save_predictions!r}. Leave it out."
        )


def finish(
    run_dir: load_run.RunPath,
    found: Evaluated,
    split: str,
    test_data: str | os.PathLike | None,
    save_predictions: bool | str | os.PathLike,
    exported: str | os.PathLike | None = None,
) -> None:
    """Writes and prints what was found; the arguments are those of `evaluate`."""
    run = first_run(run_dir)
    folder = run if exported is None else directories.RunDirectory(exported)
    if test_data is not None:
        found.result["test_data"] = os.path.abspath(test_data)
    if save_predictions:
        path = folder.predictions(split) if save_predictions is True else pathlib.Path(save_predictions)
        _files.write_file(path, "".join(map(_line, found.raw, found.references, found.predictions)))
    if exported is None:
        publish(run, found, split)
    else:
        samples = [sample_table.as_text(sample) for sample in (*found.samples, *found.extremes)]
        text = json.dumps({**found.result, "run": os.fspath(run.path), "samples": samples}, indent=2)
        _files.write_file(folder.evaluation(split), text + "\n")
        print_result(found, split)


def first_run(run_dir: load_run.RunPath) -> directories.RunDirectory:
    """Returns the run, of an ensemble the first one."""
    return directories.RunDirectory(run_dir if isinstance(run_dir, str | os.PathLike) else run_dir[0])


def opened(
    run_dir: load_run.RunPath,
    split: str,
    data_dir: str | os.PathLike | None,
    checkpoint: str,
    imports: str | Sequence[str],
    metrics: Sequence[str],
    test_data: str | os.PathLike | None,
) -> tuple[predictors.Predictor, tuple[str, ...]]:
    """Returns the predictor of a run with the data that it is evaluated on, and the names of the measures.

    The arguments are those of `evaluate`.
    """
    if test_data is not None and split != "test":
        raise ValueError(f"evaluate: `test_data` are test examples; got split={split!r}. Leave `split` out.")
    predictor = load_run.load(run_dir, checkpoint=checkpoint, data_dir=data_dir, imports=imports)
    if test_data is not None:
        predictor.task = predictor.task.with_test_data(test_data)
    names = metrics or first_run(run_dir).record()["training"].get("metrics", ())
    return predictor, tuple(names)


def publish(run: directories.RunDirectory, found: Evaluated, split: str) -> None:
    """Writes the result and the samples of an evaluation into the run, and prints them."""
    report.write(run, found.result, split, [*found.samples, *found.extremes])
    print_result(found, split)


def print_result(found: Evaluated, split: str) -> None:
    """Prints the samples and the measures of an evaluation."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(sample_table.table(found.samples, split, width), report.summary(found.result, split), sep="\n\n")


def evaluate_predictor(
    predictor: predictors.Predictor,
    split: str,
    limit: int = 0,
    samples: int = 8,
    metrics: Sequence[str] = (),
    by: str | None = None,
    baseline: Mapping[str, Any] | None = None,
    **options,
) -> tuple[dict, list]:
    """Returns the result of `evaluate`, and up to `samples` of the examples as `Sample`s."""
    found = evaluated(predictor, split, limit, samples, metrics, by, baseline, **options)
    return found.result, found.samples


def evaluated(
    predictor: predictors.Predictor,
    split: str,
    limit: int = 0,
    samples: int = 8,
    metrics: Sequence[str] = (),
    by: str | None = None,
    baseline: Mapping[str, Any] | None = None,
    marking: Marking | None = None,
    **options,
) -> Evaluated:
    """Returns the predictions of `evaluate` and what was computed of them; `baseline` is that of the run.

    The errors of an autoencoder for all dev examples become those of the predictor if it has none.
    """
    marking = marking or Marking()
    started, cut = time.perf_counter(), predictor.cut
    task = predictor.task
    target, names = task.targets, tuple(metrics) or None
    target.chosen_measures(names)  # raises before anything is predicted
    column = _anomaly_column(task, marking)
    needed = [by, column and column.column, *task.scale_columns]
    raw, references, cells = task.examples_by([*dict.fromkeys(filter(None, needed))], split, limit or None)
    groups, scales = cells[by] if by else [], task.scale_groups(cells)
    kinds = list(map(column.kinds, cells[column.column])) if column else []
    details: dict[str, Any] = {}
    analysed: dict[str, Any] = {}
    extremes: list[sample_table.Sample] = []
    chosen = sorted(np.random.default_rng(0).permutation(len(raw))[:samples].tolist())
    if target.evaluated_by_loss:
        values, examples = _losses(predictor, split, limit, baseline)
        generated = predictor([raw[i] for i in chosen], **options) if chosen else []
        found = [sample_table.Sample(raw[i], references[i], each) for i, each in zip(chosen, generated)]
        if task.is_language_model:  # both the reference and the prediction repeat the prompt
            found = [_without_prompt(target, sample) for sample in found]
        predictions, statistics = [], {}
    else:
        predictions, examples = predictor(raw, **options), len(raw)
        statistics = target.statistics(predictions, references, names, scales)
        if baseline and baseline["name"]:
            simple = target.statistics(baselines.predict(target, baseline, raw, scales), references, names, scales)
            statistics = {**statistics, **{f"{report.BASELINE}{name}": rows for name, rows in simple.items()}}
        values = {**reduced(statistics), **_bound(predictor, raw)}
        analysed, extremes = error_analysis.analysis(raw, references, predictions, statistics)
        if bounds := error_analysis.intervals(statistics):
            analysed["intervals"] = bounds
        if task.is_autoencoder:
            errors = anomaly_errors.errors(task, raw, predictions)
            if split == "dev" and not limit and predictor.dev_errors is None:
                predictor.dev_errors = anomaly_errors.DevErrors.of(errors)
            found, details = _marked(predictor, raw, errors, baseline, kinds, marking.quantile)
            values |= found
        found = [sample_table.Sample(raw[i], references[i], predictions[i]) for i in chosen]
        forecast: Any = target if getattr(target, "quantiles", ()) else None
        if forecast and chosen and predictor.model is not None:  # an exported model returns predictions alone
            quantiles = forecast.decode_quantiles(predictor.outputs([raw[i] for i in chosen]))
            found = [sample._replace(quantiles=each) for sample, each in zip(found, quantiles)]
    signatures = {row.name: row.signature(references) for row in target.chosen_measures(names) if row.signature}
    result = {
        "metrics": {name: float(value) for name, value in values.items()},
        "examples": examples,
        "seconds": round(time.perf_counter() - started, 3),
        "search": {name: value if isinstance(value, PLAIN) else str(value) for name, value in options.items()},
        **({"baseline": baseline["name"]} if baseline and baseline["name"] else {}),
        **({"signatures": signatures} if signatures else {}),
        **({"confusion": _confusion(predictions, references)} if target.modality == "label" else {}),
        **({"anomalies": details} if details else {}),
        **analysed,
        **({"by": _of_groups(by, groups, statistics)} if by else {}),
        **({"limits": limits} if (limits := report.limits(task)) else {}),
        **({"unseen": unseen} if (unseen := target.unseen(references)) else {}),
        **({"cut": predictor.cut - cut} if predictor.cut > cut else {}),
    }
    return Evaluated(raw, references, predictions, statistics, groups, scales, result, found, extremes)


def _anomaly_column(task, marking):
    """Returns the `AnomalyColumn` of the data, `None` without one."""
    from kerazoo.data import AnomalyColumn

    if marking.anomalies is None:
        return None
    if not task.is_autoencoder:
        raise ValueError(f"evaluate: `anomalies` are found by autoencoders; got anomalies={marking.anomalies!r}.")
    return AnomalyColumn.parse("evaluate", marking.anomalies)


def _marked(predictor, raw, errors, baseline, kinds, quantile):
    """Returns the measures of anomalies, that of the baseline as well, and the details with all errors."""
    task = predictor.task
    metrics, details = anomaly_errors.summarize(errors, predictor.dev_errors, quantile, kinds)
    if kinds and baseline and baseline["name"]:
        simple = anomaly_errors.errors(task, raw, task.targets.predict_baseline(**baseline, raw=raw))
        found, _ = anomaly_errors.summarize(simple, None, quantile, kinds)
        metrics |= {f"{report.BASELINE}{name}": value for name, value in found.items()}
    return metrics, {**details, "errors": errors.tolist(), "is_anomaly": list(map(bool, kinds))} if details else {}


def reduced(statistics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the measures of examples by their statistics."""
    return {name: float(reduce(statistics[name])) for name, reduce in resampling.reductions(statistics).items()}


def _confusion(predictions, references):
    """Returns how often each class was predicted as each, in plain values; only classes that occur are in it."""
    classes, counts = confusion_matrix([accepted[0] for accepted in references], predictions)
    return {"classes": classes, "counts": counts.tolist()}


def _of_groups(column, groups, statistics):
    """Returns the measures of the examples of each value of a column, and their mean over the values.

    `f1` is a mean over classes: it is left out where the examples of a value are of one class.
    """
    values = sorted({value for each in groups for value in each}, key=by_number)
    rows_of = {value: [row for row, each in enumerate(groups) if value in each] for value in values}
    if "f1" in statistics and any(len(np.unique(statistics["f1"][rows, 1])) == 1 for rows in rows_of.values()):
        statistics = {name: each for name, each in statistics.items() if name.removeprefix(report.BASELINE) != "f1"}
    found = {value: reduced({name: each[rows] for name, each in statistics.items()}) for value, rows in rows_of.items()}
    return {
        "column": column,
        "groups": {value: {"examples": len(rows_of[value]), **found[value]} for value in values},
        "mean": {name: float(np.mean([each[name] for each in found.values()])) for name in statistics},
    }


def _line(raw, references, prediction):
    """Returns an example and its prediction as a line of JSON."""
    source = list(map(_plain_source, raw)) if isinstance(raw, tuple) else _plain_source(raw)
    record = {"source": source, "references": list(map(_plain, references)), "answer": _plain(prediction)}
    return json.dumps(record, ensure_ascii=False) + "\n"


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _plain_source(value):
    """Returns a raw input as JSON has it, an image in words."""
    return sample_table.text(value) if np.ndim(value) > 2 else _plain(value)


def _bound(predictor, raw):
    """Returns `elbo`, the evidence lower bound of images in nats, for a variational autoencoder."""
    from kerazoo import models

    if predictor.task.targets.modality != "image" or not isinstance(predictor.model, models.VariationalAutoencoder):
        return {}
    bounds = []
    for start in range(0, len(raw), predictor.batch_size):
        inputs = predictor.task.encode(raw[start : start + predictor.batch_size])
        targets = predictor.task.targets.targets(np.stack(raw[start : start + predictor.batch_size]))
        bounds.append(np.asarray(predictor.model.elbo(inputs, targets, seed=start)))
    return {"elbo": float(np.mean(np.concatenate(bounds)))}


def _without_prompt(feature, sample):
    rest = [feature.without_prompt(sample.raw, whole) for whole in (*sample.references, sample.prediction)]
    return sample_table.Sample(sample.raw, rest[:-1], rest[-1])


def _losses(predictor, split, limit, baseline):
    """Returns the loss and the metrics under teacher forcing with those of the baseline, and the number of examples."""
    from kerazoo import data, decoding, training

    task, model = predictor.task, predictor.model
    if isinstance(model, decoding.Ensemble):
        model = model.teacher_forced()
    corpus = task.load(split)
    corpus = corpus.sample(limit) if limit else corpus
    model.compile(loss=task.loss(), weighted_metrics=task.metrics())
    plan = data.Plan.of(corpus, batch_size=64, max_shapes=1, shuffle=False)
    results = training.evaluate(model, corpus, task.batch, plan)
    found, simple = task.targets.loss_measures(results, corpus.features["targets"]), {}
    if baseline and baseline["name"]:
        simple = task.targets.evaluate_baseline(baseline["fitted"], corpus.features["targets"])
    return {**found, **{f"{report.BASELINE}{name}": value for name, value in simple.items()}}, len(corpus)
