"""Measures a variant of a run: its quality on dev and test, and the size, the time and the memory of its export."""

import pathlib
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kerazoo import _checks
from kerazoo.run import baselines, evaluation, export_run
from kerazoo.run import directory as directories

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor


def names(predictor: "Predictor", run: directories.RunDirectory) -> list[str]:
    """Returns the names of the measures of a run, the first one first.

    Args:
        predictor: `Predictor` of the run.
        run: `RunDirectory`.
    """
    target = predictor.task.targets
    if target.evaluated_by_loss:
        first = "nats" if predictor.task.is_language_model else "loss"
        return [first, *(metric.name for metric in predictor.task.metrics())]
    return [row.name for row in target.chosen_measures(_metrics(run) or None)]


def evaluate(
    predictor: "Predictor", run: directories.RunDirectory, split: str, limit: int, options: Mapping[str, Any]
) -> tuple[dict, list] | None:
    """Returns the result of `kerazoo.run.evaluate` with samples, `None` for a split without examples.

    Args:
        predictor: `Predictor`.
        run: `RunDirectory`. The run whose measures and baseline count.
        split: string. `"dev"` or `"test"`.
        limit: int. The largest number of examples, 0 for all.
        options: dict. Those of the search.
    """
    baseline = baselines.load(run)
    try:
        return evaluation.evaluate_predictor(
            predictor, split, limit, metrics=_metrics(run), baseline=baseline, **options
        )
    except _checks.NoExamplesError:
        return None


def _metrics(run):
    return tuple(run.record()["training"].get("metrics", ()))


def measure_export(
    run: directories.RunDirectory, raw: Any, options: Mapping[str, Any], **moved: Any
) -> dict[str, float]:
    """Returns the bytes of the weights of a run, and the bytes, the seconds and the memory of its exported model.

    Args:
        run: `RunDirectory`.
        raw: packed inputs of which batches are made.
        options: dict. Those of the search.
        **moved: `data_dir` and `imports` of `kerazoo.run.export`.
    """
    from kerazoo import export
    from kerazoo.training import CheckpointStore

    weights = run.checkpoints / str(CheckpointStore(run.checkpoints).name("best")) / "model.npz"
    with tempfile.TemporaryDirectory() as folder:
        path = export_run.export(
            run.path, pathlib.Path(folder, "saved"), verify=False, signatures=(), **moved, **options
        )
        size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
        timed = export.measure_latency(path, raw)
    return {
        "weights_bytes": weights.stat().st_size,
        "saved_model_bytes": size,
        "memory": timed["memory"],
        **{f"seconds_{count}": value for count, value in timed["seconds"].items()},
    }
