"""Evaluates a model on unseen examples: metrics, and samples of predictions with their references."""

import os
import shutil
import sys
import time
from collections.abc import Sequence

import numpy as np

from kerazoo.run import directory as directories
from kerazoo.run import predictor as predictors
from kerazoo.run import report, sample_table

PLAIN = str | int | float | bool | list | None


def evaluate(
    run_dir: predictors.RunPath,
    split: str = "test",
    limit: int = 0,
    samples: int = 8,
    data_dir: str | os.PathLike | None = None,
    checkpoint: str = "best",
    imports: str | Sequence[str] = (),
    **options,
) -> dict:
    """Evaluates a run on `split`, prints a table, and writes `evaluation-SPLIT.json` and `report.md` into its folder.

    Args:
        run_dir: string or path. The run's folder; or a list of them to evaluate their ensemble, of which the first gets
            the file.
        split: string. `"train"`, `"dev"` or `"test"`. Defaults to `"test"`.
        limit: int. The largest number of examples, spread evenly over the split; 0 for all. Defaults to `0`.
        samples: int. The predictions that are printed with their references. Defaults to `8`.
        data_dir: string or path. Where the data is now, if it moved. Defaults to `None`.
        checkpoint: string. `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.
        **options: the search and its options, `search="beam", num_beams=4`. Defaults to greedy search.

    Returns:
        A dict: `{"metrics": {name: value}, "examples": n, "seconds": s, "search": options}`. Rates and accuracies are
        fractions of 1. `"unseen"` has the number of examples of each class that the training data lacks, which are
        counted as wrong, and `"cut"` the number of inputs that were cut, where there are any. `"limits"` says where
        texts are cut and where predictions end. The file holds the printed samples as well.
    """
    predictor = predictors.load(run_dir, checkpoint=checkpoint, data_dir=data_dir, imports=imports)
    result, chosen = evaluate_predictor(predictor, split, limit, samples, **options)
    first = run_dir if isinstance(run_dir, str | os.PathLike) else run_dir[0]
    publish(directories.RunDirectory(first), result, split, chosen)
    return result


def publish(run: directories.RunDirectory, result: dict, split: str, samples: list) -> None:
    """Writes the result and the samples of an evaluation into the run, and prints them."""
    report.write(run, result, split, samples)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(sample_table.table(samples, split, width), report.summary(result, split), sep="\n\n")


def evaluate_predictor(
    predictor: predictors.Predictor, split: str, limit: int = 0, samples: int = 8, **options
) -> tuple[dict, list]:
    """Returns the result of `evaluate`, and up to `samples` of the examples as `Sample`s."""
    started, cut = time.perf_counter(), predictor.cut
    task = predictor.task
    raw, references = task.examples(split, limit=limit or None)
    chosen = sorted(np.random.default_rng(0).permutation(len(raw))[:samples].tolist())
    if task.is_language_model:
        metrics, examples = _losses(predictor, split, limit)
        predictions = predictor([raw[i] for i in chosen], **options) if chosen else []
        # Both the reference and the prediction repeat the prompt.
        found = [
            sample_table.Sample(raw[i], [each[len(raw[i]) :] for each in references[i]], text[len(raw[i]) :])
            for i, text in zip(chosen, predictions)
        ]
    else:
        predictions, examples = predictor(raw, **options), len(raw)
        metrics = task.evaluate(predictions, references)
        found = [sample_table.Sample(raw[i], references[i], predictions[i]) for i in chosen]
    return {
        "metrics": {name: float(value) for name, value in metrics.items()},
        "examples": examples,
        "seconds": round(time.perf_counter() - started, 3),
        "search": {name: value if isinstance(value, PLAIN) else str(value) for name, value in options.items()},
        **({"limits": limits} if (limits := report.limits(task)) else {}),
        **({"unseen": unseen} if (unseen := task.targets.unseen(references)) else {}),
        **({"cut": predictor.cut - cut} if predictor.cut > cut else {}),
    }, found


def _losses(predictor, split, limit):
    """Returns the loss and the metrics of a language model under teacher forcing."""
    from kerazoo import data, decoding, training

    task, model = predictor.task, predictor.model
    if isinstance(model, decoding.Ensemble):
        model = model.teacher_forced()
    corpus = task.load(split)
    corpus = corpus.sample(limit) if limit else corpus
    model.compile(loss=task.loss(), weighted_metrics=task.metrics())
    plan = data.Plan.of(corpus, batch_size=64, max_shapes=1, shuffle=False)
    return training.evaluate(model, corpus, task.batch, plan), len(corpus)
