"""A linear probe: how well a linear classifier tells classes from the outputs of a layer of a trained model."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kerazoo import _checks, _files
from kerazoo.run import directory as directories
from kerazoo.run import layer_features, load_run

if TYPE_CHECKING:
    from kerazoo.tasks import Task

STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # the inverse of the regularization, from strong to weak
MAX_ITERATIONS = 300
EXTRA = 'pip install "kerazoo[demo]"'


class Probe(NamedTuple):
    """The result of a linear probe.

    Args:
        layer: string. The path of the layer.
        width: int. The number of features.
        inverse_regularization: float. `C` of scikit-learn's logistic regression, which was best on dev.
        dev: dict. The measures on dev.
        test: dict. The measures on test, and those of the baseline with `"baseline."` before their names; empty where
            there are no test examples.
        examples: dict. The number of examples by split.
        baseline: string. The class that the baseline predicts, the most frequent one of train.
    """

    layer: str
    width: int
    inverse_regularization: float
    dev: dict[str, float]
    test: dict[str, float]
    examples: dict[str, int]
    baseline: str


def probe(
    run_dir: str | os.PathLike,
    layer: str | Sequence[str],
    task: str,
    task_options: Mapping[str, Any] | None = None,
    *,
    pooling: str = "mean",
    limit: int = 0,
    checkpoint: str = "best",
    imports: str | Sequence[str] = (),
) -> list[Probe]:
    """Trains logistic regressions on the outputs of layers of a run, and measures them on test.

    The features are standardised by the training examples. The strength of the regularization is the best one on dev.
    The weights of the model do not change. The result of each layer is also written into the run as
    `probe-LAYER.json`.

    Args:
        run_dir: string or path. The folder of the run.
        layer: string or list of strings. Paths, names or patterns of layers, as for `Predictor.features`.
        task: string. The name of a task that trains classifiers; its inputs are those of the run's task.
        task_options: dict. Options of the task, such as `data_dir`, `inputs` and `targets`. Defaults to `None`.
        pooling: string. How the positions of an output become one vector, as for `Predictor.features`. Defaults to
            `"mean"`.
        limit: int. The largest number of training examples, spread over the data; 0 for all. Defaults to `0`.
        checkpoint: string. `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.

    Returns:
        A `Probe` for each layer.

    Raises:
        ValueError: if no layer matches, or the inputs of the task are not those of the run.
        SetupError: if scikit-learn is not installed.
    """
    _import_sklearn()
    predictor = load_run.load(run_dir, checkpoint=checkpoint, imports=imports)
    layers = list(layer_features.find(predictor.model, layer))
    if pooling == "none":
        raise ValueError("probe: `pooling` must make one vector of each input; got pooling='none'. Try 'mean'.")
    created = _task(task, predictor.task, dict(task_options or {}))
    examples = {split: found for split in ("train", "dev", "test") if (found := _examples(created, split, limit))}
    if "dev" not in examples:
        raise _checks.NoExamplesError(f"{created.owner}, dev: there are no examples, on which a probe is chosen.")
    vectors = {split: layer_features.features(predictor, raw, layers, pooling) for split, (raw, _) in examples.items()}
    labels = {split: np.array(given) for split, (_, given) in examples.items()}
    run, found = directories.RunDirectory(run_dir), []
    for name in vectors["train"]:
        result = _probe(name, {split: each[name] for split, each in vectors.items()}, labels)
        found.append(result)
        path = run.path / f"probe-{name.replace(':', '-')}.json"
        record = {**result._asdict(), "task": task, "pooling": pooling, "checkpoint": checkpoint}
        _files.write_file(path, json.dumps(record, indent=2) + "\n")
    return found


def _import_sklearn():
    try:
        from sklearn import linear_model
    except ImportError as error:
        raise _checks.SetupError(
            f"probe: the package scikit-learn is not installed. Install it with: {EXTRA}"
        ) from error
    return linear_model


def _task(name, other, options):
    """Returns the task of the probe, whose inputs are raw values that the model of the run reads."""
    from kerazoo import tasks

    created: Task = tasks.create(name, "classifier", **options)
    modalities = [feature.modality for feature in created.inputs]
    expected = [feature.modality for feature in other.inputs or (other.targets,)]
    expected = ["image" if each == "pixels" else each for each in expected]
    if created.targets.modality != "label" or modalities != expected:
        raise ValueError(
            f"{created.owner}: a probe must predict a label of what the run reads, {', '.join(expected)}; got "
            f"{created.targets.modality} of {', '.join(modalities)}. Choose them as in inputs='text:COLUMN', "
            "targets='label:COLUMN'."
        )
    return created


def _examples(task, split, limit):
    """Returns the raw inputs and the classes of a split, None if it has no examples."""
    try:
        raw, references = task.examples(split, limit or None if split == "train" else None)
    except _checks.NoExamplesError:
        if split == "train":
            raise
        return None
    return raw, [accepted[0] for accepted in references]


def _probe(name, vectors, labels):
    """Returns the probe of a layer."""
    mean = vectors["train"].mean(axis=0)
    deviation = vectors["train"].std(axis=0)
    scaled = {split: (each - mean) / np.where(deviation > 0, deviation, 1) for split, each in vectors.items()}
    best: Any = None
    for strength in STRENGTHS:
        model = _import_sklearn().LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
        model.fit(scaled["train"], labels["train"])
        measures = _measures(model.predict(scaled["dev"]), labels["dev"])
        if best is None or measures["accuracy"] > best[1]["accuracy"]:
            best = strength, measures, model
    strength, dev, model = best
    classes, counts = np.unique(labels["train"], return_counts=True)
    common, test = str(classes[counts.argmax()]), {}
    if "test" in labels:
        test = _measures(model.predict(scaled["test"]), labels["test"])
        baseline = _measures(np.full(len(labels["test"]), common), labels["test"])
        test |= {f"baseline.{measure}": value for measure, value in baseline.items()}
    sizes = {split: len(each) for split, each in labels.items()}
    return Probe(name, vectors["train"].shape[1], strength, dev, test, sizes, common)


def _measures(predictions, labels):
    from kerazoo.tasks import MEASURES

    references = [[label] for label in labels.tolist()]
    return {name: MEASURES.get(name)(predictions.tolist(), references) for name in ("accuracy", "f1")}
