"""Exports a run: the trained model with its tokenizers as a SavedModel, verified in a fresh process."""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kerazoo import _checks
from kerazoo.run import anomalies
from kerazoo.run import predictor as predictors

if TYPE_CHECKING:
    from kerazoo.tasks import Task

EXAMPLES = 16  # raw inputs whose predictions the SavedModel must repeat
# A frame is computed from those before it, so a rounding of 1e-6 grew to 0.01 within 260 frames of deviation 1.
FRAME_TOLERANCE = 0.05


def export(
    run_dir: predictors.RunPath,
    directory: str | os.PathLike,
    checkpoint: str = "best",
    verify: bool = True,
    data_dir: str | os.PathLike | None = None,
    imports: str | Sequence[str] = (),
    threshold_quantile: float | None = None,
    **options: Any,
) -> pathlib.Path:
    """Writes a run as a SavedModel whose signature takes raw inputs and returns predictions.

    Args:
        run_dir: string or path. The run's folder.
        directory: string or path. The new folder of the SavedModel.
        checkpoint: string. `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        verify: bool. Whether a fresh process that imports only TensorFlow must give the same predictions for some dev
            examples, or training examples if there are none. Defaults to `True`.
        data_dir: string or path. Where the data is now, if it moved; only `verify` reads it. Defaults to `None`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.
        threshold_quantile: float in [0, 1]. For an autoencoder: the quantile of the errors of dev examples above which
            an example is an anomaly; the threshold is saved in the SavedModel. Defaults to `0.99`.
        **options: the search and its options as of a prediction, `search="beam", num_beams=4, max_length=50`, for a
            model that generates. They are part of the SavedModel. Samples have the seed 0 unless one is given. Defaults
            to the search of a prediction.

    Returns:
        The path of the SavedModel.

    Raises:
        ValueError: if the model does not generate and takes no search, or the search cannot be exported.
    """
    from kerazoo import export as exporter

    predictor = predictors.load(run_dir, checkpoint=checkpoint, data_dir=data_dir, imports=imports)
    if predictor.generates and predictor.task.targets.search_options(options).get("search") == "sample":
        options = {"search": "sample", "seed": 0, **options}
    threshold = predictor.threshold(threshold_quantile)
    path = exporter.export(predictor.model, predictor.task, directory, threshold=threshold, **options)
    if verify:
        task = predictor.task
        raw = sorted(examples(task), key=predictors.input_length)  # a prediction's order, on which samples depend
        packed, predictions = task.pack(raw), _predictions(predictor, raw, options)
        tolerance = FRAME_TOLERANCE if task.targets.modality == "sound" else 1e-4
        exporter.verify(path, packed, predictions, tolerance)
        if task.file_signature:
            exporter.verify(path, task.encode_files(packed), predictions, signature="serving_files")
    return path


def _predictions(predictor, raw, options):
    """Returns what the SavedModel must repeat: predictions, with the errors of an autoencoder, or the frames of sounds.

    The phases that Griffin-Lim finds for frames depend on the last bits of these.
    """
    task, target = predictor.task, predictor.task.targets
    if target.modality != "sound":
        predictions = predictor(raw, **options)
        if task.is_autoencoder:
            return {"reconstruction": predictions, "error": anomalies.errors(task, raw, predictions)}
        return predictions
    frames = target.decode_frames(predictor.outputs(raw, **options))
    return {"length": [len(each) * target.log_mel.frame_step for each in frames], "frames": frames}


def examples(task: "Task") -> list:
    """Returns some raw inputs of dev, or of train if there are none."""
    try:
        return task.examples("dev", limit=EXAMPLES)[0]
    except _checks.NoExamplesError:
        return task.examples("train", limit=EXAMPLES)[0]
