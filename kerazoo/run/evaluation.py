"""Measures a model on unseen examples, and shows it: a table of answers beside the truth, then the figures."""

import json
import os
import time

import numpy as np

from kerazoo.run import answer as answers
from kerazoo.run import directory as directories

WIDTH = 44
PLAIN = str | int | float | bool | list | None


def evaluate(run_dir, split="test", limit=0, samples=8, data_dir=None, checkpoint="best", **options):
    """Measures a run on `split`, prints the table and writes `evaluation-SPLIT.json` into its folder.

    Args:
        run_dir: The run's folder, or a list of them to measure their ensemble; the first gets the file.
        split: `"train"`, `"dev"` or `"test"`.
        limit: Most examples, 0 for all.
        samples: Answers that are printed beside the truth.
        data_dir: Where the data lies now, if it moved.
        checkpoint: `"best"` or `"last"`.
        **options: The search and its options, `search="beam", num_beams=4`; greedy by default.

    Returns:
        The dictionary that was written: `{"metrics": {name: value}, "examples": n, "seconds": s, "search": options}`.
        Rates and accuracies are fractions of 1.
    """
    answerer = answers.load(run_dir, checkpoint=checkpoint, data_dir=data_dir)
    result, shown = measure(answerer, split, limit, samples, **options)
    first = run_dir[0] if isinstance(run_dir, list | tuple) else run_dir
    run = directories.RunDirectory(os.fspath(first))
    directories.write_atomically(run.evaluation(split), json.dumps(result, indent=2) + "\n")
    print(table(shown, split))
    print(summary(result, split))
    return result


def measure(answerer, split, limit=0, samples=8, **options):
    """Returns the result dictionary and up to `samples` triples of raw input, accepted answers and answer."""
    started = time.perf_counter()
    task = answerer.task
    raw, references = task.examples(split, limit=limit or None)
    shown = sorted(np.random.default_rng(0).permutation(len(raw))[:samples].tolist())
    if task.measured_by_loss:
        metrics, examples = _losses(answerer, split, limit)
        given = answerer([raw[i] for i in shown], **options) if shown else []
        # Both the truth and the answer repeat the prompt, whose end is what they go on from.
        triples = [
            (raw[i][-WIDTH:], [reference[len(raw[i]) :] for reference in references[i]], text[len(raw[i]) :])
            for i, text in zip(shown, given)
        ]
    else:
        given, examples = answerer(raw, **{**task.measuring, **options}), len(raw)
        metrics = task.measure(given, references)
        triples = [(raw[i], references[i], given[i]) for i in shown]
    return {
        "metrics": {name: float(value) for name, value in metrics.items()},
        "examples": examples,
        "seconds": round(time.perf_counter() - started, 3),
        "search": {name: value if isinstance(value, PLAIN) else str(value) for name, value in options.items()},
    }, triples


def _losses(answerer, split, limit):
    """Returns the loss and the metrics of the model when it is told the truth before each token."""
    from kerazoo import data, training

    task, model = answerer.task, answerer.model
    if not hasattr(model, "compile"):
        model = model.teacher_forced()
    corpus = task.load(split)
    if limit and limit < len(corpus):
        corpus = corpus.take(range(limit))
    model.compile(loss=task.loss(), weighted_metrics=task.metrics())
    plan = data.Plan.of(corpus, batch_size=64, max_shapes=1, shuffle=False)
    return training.evaluate(model, corpus, task.batch, plan), len(corpus)


def table(shown, split):
    """Returns the sample answers as lines of text: the input, the truth, and the answer where it differs."""
    if not shown:
        return ""
    rows = [("input", "truth", f"answer ({split})")]
    for raw, references, given in shown:
        right = any(isinstance(given, str) and given == reference for reference in references)
        rows.append((_text(raw), _text(references[0]), "= truth" if right else _text(given)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def summary(result, split):
    """Returns the figures as one line."""
    figures = "  ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
    return f"{split}: {figures}  ({result['examples']:,} examples in {result['seconds']:.1f} s)"


def _text(value):
    if isinstance(value, str):
        text = " ".join(value.split())
    elif np.ndim(value):
        array = np.asarray(value)
        text = f"[{'x'.join(map(str, array.shape))}] mean {array.mean():.2f}"
    else:
        text = str(value)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
