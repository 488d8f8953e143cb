"""Evaluates a model on unseen examples: metrics, and a table of predictions and references."""

import json
import os
import time
from collections.abc import Sequence

import numpy as np

from kerazoo import _files
from kerazoo.data import lines
from kerazoo.run import directory as directories
from kerazoo.run import predictor as predictors

WIDTH = 44
PLAIN = str | int | float | bool | list | None


def evaluate(
    run_dir: predictors.RunPath,
    split: str = "test",
    limit: int = 0,
    samples: int = 8,
    data_dir: str | os.PathLike | None = None,
    checkpoint: str = "best",
    **options,
) -> dict:
    """Evaluates a run on `split`, prints a table and writes `evaluation-SPLIT.json` into its folder.

    Args:
        run_dir: string or path. The run's folder; or a list of them to evaluate their ensemble, of which the first gets
            the file.
        split: string. `"train"`, `"dev"` or `"test"`. Defaults to `"test"`.
        limit: int. The largest number of examples, spread evenly over the split; 0 for all. Defaults to `0`.
        samples: int. The predictions that are printed with their references. Defaults to `8`.
        data_dir: string or path. Where the data is now, if it moved. Defaults to `None`.
        checkpoint: string. `"best"` or `"last"`. Defaults to `"best"`.
        **options: the search and its options, `search="beam", num_beams=4`. Defaults to greedy search.

    Returns:
        The dict that was written: `{"metrics": {name: value}, "examples": n, "seconds": s, "search": options}`. Rates
        and accuracies are fractions of 1. `"unseen"` has the number of examples of each class that the training data
        lacks, which are counted as wrong, and `"cut"` the number of inputs that were cut, where there are any.
    """
    predictor = predictors.load(run_dir, checkpoint=checkpoint, data_dir=data_dir)
    result, triples = evaluate_predictor(predictor, split, limit, samples, **options)
    first = run_dir if isinstance(run_dir, str | os.PathLike) else run_dir[0]
    run = directories.RunDirectory(first)
    _files.write_file(run.evaluation(split), json.dumps(result, indent=2) + "\n")
    print(table(triples, split))
    print(summary(result, split))
    return result


def evaluate_predictor(
    predictor: predictors.Predictor, split: str, limit: int = 0, samples: int = 8, **options
) -> tuple[dict, list]:
    """Returns the result of `evaluate`, and up to `samples` triples of raw input, references and prediction."""
    started, cut = time.perf_counter(), predictor.cut
    task = predictor.task
    raw, references = task.examples(split, limit=limit or None)
    chosen = sorted(np.random.default_rng(0).permutation(len(raw))[:samples].tolist())
    if task.is_language_model:
        metrics, examples = _losses(predictor, split, limit)
        predictions = predictor([raw[i] for i in chosen], **options) if chosen else []
        # Both the reference and the prediction repeat the prompt.
        triples = [
            (raw[i][-WIDTH:], [reference[len(raw[i]) :] for reference in references[i]], text[len(raw[i]) :])
            for i, text in zip(chosen, predictions)
        ]
    else:
        predictions, examples = predictor(raw, **options), len(raw)
        metrics = task.evaluate(predictions, references)
        triples = [(raw[i], references[i], predictions[i]) for i in chosen]
    return {
        "metrics": {name: float(value) for name, value in metrics.items()},
        "examples": examples,
        "seconds": round(time.perf_counter() - started, 3),
        "search": {name: value if isinstance(value, PLAIN) else str(value) for name, value in options.items()},
        **({"unseen": unseen} if (unseen := task.targets.unseen(references)) else {}),
        **({"cut": predictor.cut - cut} if predictor.cut > cut else {}),
    }, triples


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


def table(triples: Sequence[tuple], split: str) -> str:
    """Returns sample predictions as lines of text: the input, the reference, and the prediction where it differs."""
    if not triples:
        return ""
    rows = [("input", "reference", f"prediction ({split})")]
    for raw, references, prediction in triples:
        correct = any(isinstance(prediction, str) and prediction == reference for reference in references)
        rows.append((_text(raw), _text(references[0]), "= reference" if correct else _text(prediction)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    shown = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows]
    return "\n".join([shown[0], "-" * max(map(len, shown)), *shown[1:]])


def summary(result: dict, split: str) -> str:
    """Returns the metrics as one line, and a line on classes that the training data lacks."""
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
    line = f"{split}: {metrics}  ({result['examples']:,} examples in {result['seconds']:.1f} s)"
    unseen = result.get("unseen")
    if not unseen:
        return line
    names = lines.list_names(f"{name} ({count:,})" for name, count in unseen.items())
    count = sum(unseen.values())
    return f"{line}\n{count:,} of them have classes that the training data lacks, and count as wrong: {names}"


def _text(value):
    if isinstance(value, str):
        text = " ".join(value.split())
    elif isinstance(value, tuple):
        text = " | ".join(map(_text, value))
    elif np.ndim(value):
        array = np.asarray(value)
        text = f"[{'x'.join(map(str, array.shape))}] mean {array.mean():.2f}"
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
