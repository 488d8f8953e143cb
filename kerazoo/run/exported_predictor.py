"""Predictions of an exported model for the raw inputs of a task, in the terms of the task."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo.run import anomalies
from kerazoo.run import predictor as predictors

if TYPE_CHECKING:
    from kerazoo.tasks import Task

ROWS = 64  # inputs in one call of the model
SEARCH = ("search", "num_beams", "max_length")  # options that CTranslate2 takes in a call


class ExportedPredictor(predictors.Predictor):
    """Maps raw inputs to the predictions of an exported model, which a fresh process without kerazoo computes.

    Args:
        folder: string or path. What `kerazoo.run.export` wrote, in any format but safetensors.
        task: `kerazoo.tasks.Task` of the run that was exported.
        dev_errors: as of `Predictor`. Defaults to `None`.

    Call arguments:
        raw: list of raw inputs.
        **options: for CTranslate2 `search`, `"greedy"` or `"beam"`, `num_beams` and `max_length`. Other formats hold
            their search.

    Raises:
        ValueError: if predictions are sounds, only the loss of the model is measured, or the export is of another task.
        CheckpointError: if the folder holds no verified export, or the model does not load or run.
    """

    def __init__(self, folder: str | os.PathLike, task: "Task", dev_errors: anomalies.DevErrors | None = None):
        from kerazoo import export as exporter

        super().__init__(None, task, dev_errors=dev_errors)
        self.folder = folder
        self.format, cases, record = exporter.read_cases(folder)
        names = [case.signature for case in cases]
        # Of ONNX and LiteRT the whole search in one call, where it converted, and not its steps.
        is_network = self.format in ("onnx", "litert")
        self._signature = "generate" if is_network and "generate" in names else names[0]
        reason = ""
        if self.format == "safetensors":
            reason = "safetensors are the weights of the run"
        elif task.targets.modality == "sound" or task.targets.evaluated_by_loss:
            reason = "sounds and models that are measured by their loss are measured as a run"
        if reason:
            raise ValueError(f"evaluate: `exported`={os.fspath(folder)!r} cannot be measured: {reason}.")
        if record.get("task") != task.hash:
            raise ValueError(
                f"evaluate: `exported`={os.fspath(folder)!r} must be an export of a run of the same task with the same "
                "vocabularies, classes and scaling, and it is of another one. Export the run that you measure."
            )

    def __call__(self, raw: Sequence, **options) -> list:
        from kerazoo import export as exporter

        arguments = self._arguments(options)
        parts = predictors.by_length(raw, ROWS)
        jobs = [(self.folder, self.task.pack([raw[row] for row in part]), self._signature, arguments) for part in parts]
        found: dict[int, Any] = {}
        for part, outputs in zip(parts, exporter.fresh_outputs(jobs, self.format), strict=True):
            found.update(zip(part, self._predictions(outputs), strict=True))
        return [found[row] for row in range(len(raw))]

    predict = __call__

    def outputs(self, raw: Sequence, **options) -> list[np.ndarray]:
        """Raises `NotImplementedError`: an exported model returns predictions."""
        raise NotImplementedError(f"ExportedPredictor: {self.folder} returns predictions alone.")

    def _arguments(self, options: Mapping) -> dict[str, Any] | None:
        """Returns what the program of the format takes beside the inputs."""
        from kerazoo import decoding

        refused = sorted(set(options) - set(SEARCH if self.format == "ctranslate2" else ()))
        if refused:
            raise ValueError(
                f"evaluate: `exported` of the format {self.format} takes no {', '.join(refused)}: "
                + ("it knows greedy search and beams." if self.format == "ctranslate2" else "its search is part of it.")
            )
        if self.format != "ctranslate2":
            return None
        arguments = {"num_beams": decoding.Beam.num_beams if options.get("search") == "beam" else 1, **options}
        if arguments.pop("search", "greedy") not in ("greedy", "beam"):
            raise ValueError(f"evaluate: CTranslate2 has the `search` greedy and beam; got {options['search']!r}.")
        return {name: int(value) for name, value in arguments.items()}

    def _predictions(self, outputs):
        """Returns the predictions in the outputs of one call."""
        if "answers" in outputs:
            return [row[0] for row in outputs["answers"]]
        return list(outputs[self.task.targets.outputs[0]])
