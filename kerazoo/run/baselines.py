"""The baseline of a run: predictions that need no model, fitted to its training part and kept in its folder."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerazoo import _checks, _files
from kerazoo.data import Corpus

if TYPE_CHECKING:
    from kerazoo.run.directory import RunDirectory
    from kerazoo.tasks import Task

LIMIT = 500  # dev examples by which one of several is chosen


def fit(task: "Task", corpus: Any, has_dev: bool, metrics: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the baseline of a task as plain values: its name, and what is fitted to the training part.

    Of several baselines it is the best one on the dev examples by the first measure.

    Args:
        task: `kerazoo.tasks.Task`.
        corpus: the training examples; those of a stream are not read for it.
        has_dev: bool. Whether there are dev examples.
        metrics: list of strings. The measures of the run. Defaults to `()`: those of the target.
    """
    target = task.targets
    name = next(name for name, feature in task.arrays.items() if feature is target)
    values = corpus.features[name] if isinstance(corpus, Corpus) else None
    fitted = target.baselines(values, task.inputs)
    best = next(iter(fitted), "")
    measures = target.chosen_measures(tuple(metrics) or None)
    if has_dev and len(fitted) > 1 and measures:
        raw, references, groups = task.scaled_examples("dev", limit=LIMIT)
        row = measures[0]
        sign = 1 if row.higher_is_better else -1

        def score(name):
            predicted = predict(target, {"name": name, "fitted": fitted[name]}, raw, groups)
            found = task.evaluate(predicted, references, [row.name], groups)
            return sign * found[row.name]

        best = max(fitted, key=score)
    return {"name": best, "fitted": fitted.get(best)}


def predict(target: Any, baseline: Mapping[str, Any], raw: Sequence, groups: Sequence[str]) -> list:
    """Returns the predictions of a baseline for raw inputs, those of each file with its own season.

    Args:
        target: `Feature`. The target of the task.
        baseline: dict. The `name` and what is `fitted`.
        raw: list of raw inputs.
        groups: list of strings. The `scale_groups` of the examples.
    """
    if not groups:
        return target.predict_baseline(**baseline, raw=raw)
    pairs = zip(raw, groups)
    return [target.of_file(group).predict_baseline(**baseline, raw=[each])[0] for each, group in pairs]


def save(run: "RunDirectory", baseline: Mapping[str, Any]) -> None:
    """Writes the baseline into the folder of the run."""
    _files.write_record(run.baseline, baseline)


def load(run: "RunDirectory") -> dict[str, Any]:
    """Returns the baseline of a run, one without a name if there is none.

    Raises:
        CheckpointError: if the file is damaged.
    """
    if not run.baseline.exists():
        return {"name": ""}
    try:
        found = _files.read_record(run.baseline)
        if not isinstance(found["name"], str):
            raise ValueError(f"'name' must be a string; got {found['name']!r:.60}")
        return {"name": found["name"], "fitted": found.get("fitted")}
    except (OSError, KeyError, ValueError) as error:
        raise _checks.CheckpointError(f"{run.baseline}: cannot be read: {error}. Remove it.") from error
