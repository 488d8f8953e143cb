"""Exports of a run in other formats than a SavedModel: for CTranslate2, and as weights for this library."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks, _files
from kerazoo.run import model_building
from kerazoo.run import predictor as predictors

if TYPE_CHECKING:
    from kerazoo.export import Case

FORMATS = ("saved_model", "ctranslate2", "onnx", "litert", "safetensors")
QUANTIZED = ("ctranslate2", "litert")  # formats that store numbers in fewer bits
# CTranslate2 gives what padding and the start token would have to the other tokens: of 30 tokens with label smoothing
# 0.1 over 6,000 ids that is 1e-3.
SCORE_TOLERANCE = 1e-3
LOGIT_ROWS = 4


def searched(predictor: predictors.Predictor, raw: Sequence, search: Any, max_length: int) -> Any:
    """Returns what the live model generates for raw inputs; a prompt leaves a position for a token.

    Args:
        predictor: `Predictor`.
        raw: list of raw inputs.
        search: string or `kerazoo.decoding.Search`.
        max_length: int. The largest number of tokens, the prompt included.
    """
    inputs = predictors.model_arguments(predictor.task.encode(raw))
    if predictor.task.is_language_model:
        inputs = {"prompt": inputs["prompt"][:, : max_length - 1]}
    return predictor.model.generate(**inputs, search=search, max_length=int(max_length))


def export_ctranslate2(
    predictor: predictors.Predictor,
    directory: str | os.PathLike,
    quantize: str | None,
    options: Mapping[str, Any],
) -> pathlib.Path:
    """Writes the model of a run for CTranslate2, see `kerazoo.export.export_ctranslate2`.

    Args:
        predictor: `Predictor`.
        directory: string or path. The new folder.
        quantize: string. The quantization, `None` for float32.
        options: dict. `max_length` alone.

    Raises:
        ValueError: if there are other options: the search is that of the call.
    """
    from kerazoo import export as exporter

    refused = sorted(set(options) - {"max_length"})
    if refused:
        raise ValueError(
            f"export: format='ctranslate2' takes the options of a search when it is called; got {', '.join(refused)}. "
            "Leave them out."
        )
    return exporter.export_ctranslate2(predictor.model, predictor.task, directory, quantize, options.get("max_length"))


def ctranslate2_cases(predictor: predictors.Predictor, raw: list, max_length: int | None = None) -> "list[Case]":
    """Returns the predictions of greedy search and of a beam that a model of CTranslate2 must repeat.

    Args:
        predictor: `Predictor`.
        raw: list of raw inputs.
        max_length: int. The largest number of tokens. Defaults to the task's.
    """
    from kerazoo import decoding
    from kerazoo import export as exporter

    task, model = predictor.task, predictor.model
    limit = int(max_length or task.max_length or 0)
    encoded = task.encode(raw)
    kept = [row for row in range(len(raw)) if all((each[row] != model.pad_id).any() for each in encoded.values())]
    raw = [raw[row] for row in kept]  # CTranslate2 does not run for a source without tokens
    searches = {
        "greedy": (decoding.Greedy(), {"num_beams": 1}),
        "beam": (decoding.Beam(4, "none"), {"num_beams": 4}),
    }
    found = []
    for name, (search, arguments) in searches.items():
        live = searched(predictor, raw, search, limit)
        outputs = {
            "answers": [[text] for text in task.decode(live.best())],
            "scores": live.scores,
            "tokens": live.tokens,
        }
        arguments = {**arguments, "max_length": limit}
        found.append(exporter.Case(name, task.pack(raw), outputs, SCORE_TOLERANCE, arguments))
    return found


def export_network(
    format: str,
    predictor: predictors.Predictor,
    directory: str | os.PathLike,
    quantize: str | None,
    options: Mapping[str, Any],
) -> tuple[pathlib.Path, dict[str, str]]:
    """Writes the network of a run as ONNX or for LiteRT, see `kerazoo.export.export_onnx` and `export_litert`.

    Args:
        format: string. `"onnx"` or `"litert"`.
        predictor: `Predictor`.
        directory: string or path. The new folder.
        quantize: string. For LiteRT the quantization, `None` for float32.
        options: dict. `max_length` alone.

    Returns:
        The path, and the functions that do not convert with the reason.

    Raises:
        ValueError: if there are other options, or the format cannot hold the model.
    """
    from kerazoo import export as exporter

    refused = sorted(set(options) - {"max_length"})
    if refused:
        raise ValueError(
            f"export: format={format!r} holds a greedy search and the steps of others; got {', '.join(refused)}. "
            "Leave them out."
        )
    model, task, length = predictor.model, predictor.task, options.get("max_length")
    if format == "onnx":
        return exporter.export_onnx(model, task, directory, length)
    return exporter.export_litert(model, task, directory, length, quantize)


def network_cases(
    predictor: predictors.Predictor, raw: list, faults: Mapping[str, str], max_length: int | None = None
) -> "list[Case]":
    """Returns the outputs that a network of ONNX or LiteRT must repeat: predictions, or a greedy search.

    Args:
        predictor: `Predictor`.
        raw: list of raw inputs.
        faults: dict. The functions that were not written.
        max_length: int. The largest number of tokens. Defaults to the task's.
    """
    from kerazoo import export as exporter

    task, model, packed = predictor.task, predictor.model, predictor.task.pack(raw)
    if not predictor.generates:
        found = predictor.outputs(raw)
        decoded = task.decode(found)
        outputs = {task.targets.outputs[0]: decoded if isinstance(decoded[0], str) else np.stack(decoded)}
        cases = [exporter.Case("predict", packed, outputs)]
        if hasattr(model, "pool") and task.kind != "dual_encoder" and "embed" not in faults:
            cases.append(exporter.Case("embed", packed, {"vector": predictor.embed(raw)}))
        return cases
    limit = int(max_length or task.max_length or 0)
    live = searched(predictor, raw, "greedy", limit)
    outputs = {"tokens": live.best(), "score": live.scores[:, 0]}
    if task.targets.modality == "text" and not task.targets.fills:
        outputs["answer"] = task.decode(live.best())
    names = ["step", *(["generate"] if "generate" not in faults else [])]
    return [exporter.Case(name, packed, outputs) for name in names]


def export_safetensors(
    predictor: predictors.Predictor,
    record: Mapping[str, Any],
    directory: str | os.PathLike,
    options: Mapping[str, Any],
) -> pathlib.Path:
    """Writes the weights of a run as safetensors, with what creates the model and the task again.

    The folder has `model.safetensors`, whose names are those of `kerazoo.transfer.variables`; `model.json` with the
    name of the model and its options; `task`, which `kerazoo.tasks.restore` reads; and `run_safetensors.py`, which
    loads the model.

    Args:
        predictor: `Predictor`.
        record: dict. The record of the run.
        directory: string or path. The new folder.
        options: dict. None: there is no search in the folder.

    Raises:
        ValueError: if there are options, or the weights are stored in few bits.
    """
    from kerazoo import export as exporter
    from kerazoo import transfer

    if options:
        raise ValueError(f"export: format='safetensors' holds weights alone; got {', '.join(options)}. Leave them out.")
    sizes = model_building.model_sizes(record["model"], predictor.task, record["model_options"])
    described = {"model": record["model"], "options": sizes, "kerazoo": record.get("kerazoo", "")}
    with _files.new_folder(directory) as folder:
        transfer.save_weights(predictor.model, folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps(_files.plain(described), indent=2) + "\n", encoding="utf-8")
        predictor.task.save(folder / "task")
        (folder / "run_safetensors.py").write_text(exporter.program_of("safetensors"), encoding="utf-8")
    return pathlib.Path(directory)


def safetensors_cases(predictor: predictors.Predictor, raw: list, targets: list) -> "list[Case]":
    """Returns the outputs of a full pass that the weights must repeat.

    Args:
        predictor: `Predictor`.
        raw: list of raw inputs.
        targets: list of their targets, which a decoder reads.
    """
    from kerazoo import decoding
    from kerazoo import export as exporter

    task, model = predictor.task, predictor.model
    continuous = isinstance(predictor.model, decoding.ContinuousDecodable)
    raw, targets = raw[:LOGIT_ROWS], targets[:LOGIT_ROWS]
    inputs = {} if task.is_language_model else dict(task.encode(raw))
    if task.targets.generated:
        tokens = task.encode(raw)["prompt"] if task.is_language_model else task.targets.target_tokens(targets).padded()
        inputs["targets"] = tokens[:, : model.max_length]
    elif continuous:
        inputs["targets"] = np.zeros((len(raw), 3, model.num_values), "float32")
    outputs = np.asarray(model(inputs, training=False), "float32")
    return [exporter.Case("call", {name: np.asarray(each) for name, each in inputs.items()}, {"outputs": outputs})]


def check(format: str, quantize: str | None) -> None:
    """Refuses a format or a quantization that there is not.

    Args:
        format: string. One of `FORMATS`.
        quantize: string or `None`.
    """
    _checks.one_of("export", "format", format, FORMATS)
    if quantize is not None and format not in QUANTIZED:
        raise ValueError(
            f"export: `quantize` is for format='ctranslate2' and 'litert'; got quantize={quantize!r} with "
            f"format={format!r}. "
            "kerazoo.compress stores the weights of a run in fewer bits for every format."
        )
