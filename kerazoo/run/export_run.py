"""Exports a run: the trained model with its tokenizers as a SavedModel, verified in a fresh process."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.run import anomalies, export_formats, load_run
from kerazoo.run import directory as directories
from kerazoo.run import predictor as predictors

if TYPE_CHECKING:
    from kerazoo.tasks import Task

EXAMPLES = 16  # raw inputs whose outputs the exported model must repeat
# A frame is computed from those before it, so a rounding of 1e-6 grew to 0.01 within 260 frames of deviation 1.
FRAME_TOLERANCE = 0.05
PRIVATE = ("data_dir", "dev_data", "test_data")  # options whose files are named without their folders in a card


def export(
    run_dir: load_run.RunPath,
    directory: str | os.PathLike,
    checkpoint: str = "best",
    verify: bool = True,
    data_dir: str | os.PathLike | None = None,
    imports: str | Sequence[str] = (),
    threshold_quantile: float | None = None,
    signatures: Sequence[str] | None = None,
    format: str = "saved_model",
    quantize: str | None = None,
    **options: Any,
) -> pathlib.Path:
    """Writes a run as a SavedModel whose signatures take raw inputs and return predictions, with a model card.

    Or in another format, where that holds the model.

    Args:
        run_dir: string or path. The run's folder.
        directory: string or path. The new folder of the SavedModel.
        checkpoint: string. `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        verify: bool. Whether a fresh process that imports only TensorFlow must give the same outputs for some dev
            examples, or training examples if there are none; `VERIFY.json` in the folder holds them, and
            `kerazoo.verify` compares again. Defaults to `True`.
        data_dir: string or path. Where the data is now, if it moved; only `verify` reads it. Defaults to `None`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.
        threshold_quantile: float in [0, 1]. For an autoencoder: the quantile of the errors of dev examples above which
            an example is an anomaly; the threshold is saved in the SavedModel. Defaults to `0.99`.
        signatures: list of strings. Which of `"generate"`, `"score"`, `"embed"`, `"logits"` and `"step"` are written
            beside `serving_default`, where the model has them. Defaults to `None`: all of them.
        format: string. `"saved_model"`; `"ctranslate2"`, for Transformers from text to text, see
            `kerazoo.export.export_ctranslate2`; `"onnx"` or `"litert"`, the network alone, see
            `kerazoo.export.export_onnx`; or `"safetensors"`, the weights and what creates the model again. Defaults to
            `"saved_model"`.
        quantize: string. For CTranslate2: `"int8"`, `"int8_float32"`, `"int16"`, `"float16"` or `"bfloat16"`; for
            LiteRT `"int8"` or `"float16"`. How many predictions differ then is measured, and no error. Defaults to
            `None`: float32.
        **options: the search and its options as of a prediction, `search="beam", num_beams=4, max_length=50`, for a
            model that generates. They are part of the SavedModel. Samples have the seed 0 unless one is given. Defaults
            to the search of a prediction.

    Returns:
        The path of the folder.

    Raises:
        ValueError: if the model does not generate and takes no search, the search cannot be exported, or the format
            cannot hold the model.
        CheckpointError: if the SavedModel gives other outputs; it is there then, with what differs in `VERIFY.json`.
    """
    from kerazoo import export as exporter

    export_formats.check(format, quantize)
    predictor = load_run.load(run_dir, checkpoint=checkpoint, data_dir=data_dir, imports=imports)
    if format != "saved_model":
        return _export_as(format, run_dir, predictor, directory, verify, quantize, options)
    if predictor.generates and predictor.task.targets.search_options(options).get("search") == "sample":
        options = {"search": "sample", "seed": 0, **options}
    threshold = predictor.threshold(threshold_quantile)
    about = describe(run_dir, predictor.task)
    path = exporter.export(
        predictor.model, predictor.task, directory, threshold=threshold, signatures=signatures, about=about, **options
    )
    if verify:
        raw, references, split = examples(predictor.task, with_references=True)
        cases = live_cases(predictor, raw, references, exporter.check_names(signatures), threshold, options)
        exporter.write_verified(path, cases, _compared(predictor, raw, split, search=_plain(options)))
    return path


def _export_as(format, run_dir, predictor, directory, verify, quantize, options):
    """Writes and verifies a run in another format."""
    from kerazoo import export as exporter

    faults: dict[str, str] = {}
    if format == "ctranslate2":
        path = export_formats.export_ctranslate2(predictor, directory, quantize, options)
    elif format in ("onnx", "litert"):
        path, faults = export_formats.export_network(format, predictor, directory, quantize, options)
    else:
        first = run_dir if isinstance(run_dir, str | os.PathLike) else run_dir[0]
        record = directories.RunDirectory(first).record()
        path = export_formats.export_safetensors(predictor, record, directory, options)
    about = {**describe(run_dir, predictor.task), "max_length": options.get("max_length")}
    exporter.write_card(path, format, predictor.model, predictor.task, about)
    if verify:
        raw, references, split = examples(predictor.task, with_references=True)
        if format == "ctranslate2":
            cases = export_formats.ctranslate2_cases(predictor, raw, options.get("max_length"))
        elif format in ("onnx", "litert"):
            cases = export_formats.network_cases(predictor, raw, faults, options.get("max_length"))
        else:
            cases = export_formats.safetensors_cases(predictor, raw, [each[0] for each in references])
        about = _compared(predictor, raw, split, left_out=faults, quantize=quantize or "float32")
        exporter.write_verified(path, cases, about, format, exact=quantize is None)
    return path


def _compared(predictor, raw, split, **more):
    """Returns what `VERIFY.json` tells of the examples that an export is compared by."""
    return {"task": predictor.task.hash, "split": split, "examples": len(raw), **more}


# What a model card tells of a run.


def describe(run_dir: load_run.RunPath, task: "Task") -> dict[str, Any]:
    """Returns what `kerazoo.export.model_card.model_card` tells of a run: its options, its training and its measures.

    Args:
        run_dir: string or path. The run's folder; of several the first is described.
        task: `kerazoo.tasks.Task`.
    """
    from kerazoo import catalog, tasks
    from kerazoo.data.splits import SPLITS

    first = run_dir if isinstance(run_dir, str | os.PathLike) else run_dir[0]
    run = directories.RunDirectory(first)
    record = run.record()
    training, state = record["training"], record.get("found", {})
    results = {split: found for split in SPLITS if (found := _result(run.evaluation(split)))}
    spec = tasks.describe(record["task"]) if record["task"] in tasks.names() else None
    return {
        "kerazoo": record.get("kerazoo", ""),
        "model": record["model"],
        "model_options": record["model_options"],
        "reference": catalog.describe(record["model"]).reference,
        "task": f"{record['task']}" + (f", {spec.about}" if spec else ""),
        "task_options": {name: _without_folder(name, value) for name, value in record["task_options"].items()},
        "licence": spec.licence if spec else "",
        "training": {
            "training": f"{training['epochs']} epochs with the optimizer {training['optimizer']}, learning rate "
            f"{state.get('learning_rate', training['learning_rate'])}, seed {training['seed']}",
            "command": "`python -m experiments.run "
            + " ".join(_flag_without_folder(flag) for flag in record["calls"][-1]["command"])
            + "`"
            if record.get("calls")
            else "made by `experiments.compress`",
        },
        "results": results,
    }


def _result(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _without_folder(name, value):
    return pathlib.PurePath(value).name if name in PRIVATE and isinstance(value, str) else value


def _flag_without_folder(flag):
    name, equals, value = flag.partition("=")
    return f"{name}{equals}{pathlib.PurePath(value).name if '/' in value else value}"


def _plain(options):
    return {
        name: value if isinstance(value, str | int | float | bool) else repr(value) for name, value in options.items()
    }


# What the exported model must repeat.


def live_cases(
    predictor: predictors.Predictor,
    raw: Sequence,
    references: Sequence,
    names: Sequence[str],
    threshold: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> list:
    """Returns the cases that an exported model must repeat: inputs of its signatures and the outputs of the live model.

    Args:
        predictor: `Predictor`.
        raw: list of raw inputs.
        references: list of lists. The accepted targets of each.
        names: list of strings. The optional signatures.
        threshold: float. The error above which an example is an anomaly. Defaults to `None`.
        options: dict. The search and its options. Defaults to none.
    """
    # A prediction's order, on which samples depend.
    order = sorted(range(len(raw)), key=lambda row: predictors.input_length(raw[row]))
    raw, targets = [raw[row] for row in order], [references[row][0] for row in order]
    live = _LiveOutputs(predictor, raw, targets, dict(options or {}))
    found = [live.case("serving_default", live.predictions(threshold))]
    task = predictor.task
    if task.file_signature:
        found.append(live.case("serving_files", live.predictions(threshold), task.encode_files(live.packed)))
    if predictor.generates:
        found += live.generated(names)
    if "embed" in names:
        found += live.embedded()
    if "logits" in names and task.targets.modality == "label":
        found.append(live.case("logits", {"logits": np.asarray(predictor.outputs(raw))}))
    return found


class _LiveOutputs:
    """The outputs of a live model for some raw inputs, sorted by their length."""

    def __init__(self, predictor, raw, targets, options):
        self.predictor, self.task, self.model = predictor, predictor.task, predictor.model
        self.raw, self.targets, self.options = raw, targets, options
        self.packed = self.task.pack(raw)

    def case(self, signature, outputs, inputs=None, **fields):
        from kerazoo import export as exporter

        fields.setdefault("tolerance", FRAME_TOLERANCE if self.task.targets.modality == "sound" else exporter.TOLERANCE)
        return exporter.Case(signature, self.packed if inputs is None else inputs, outputs, **fields)

    def predictions(self, threshold):
        """Returns the outputs of `serving_default`.

        The phases that Griffin-Lim finds for frames depend on the last bits of these, so of sounds they are the frames.
        """
        task, target = self.task, self.task.targets
        if self.predictor.generates:
            best = [row[0] for row in self.predictor.predictions(self.raw, **self.options)]
            values = [each.text for each in best]
            return {target.outputs[0]: values, "score": np.array([each.score for each in best], "float32")}
        if target.modality == "sound":
            frames = target.decode_frames(self.predictor.outputs(self.raw))
            return {"length": [len(each) * target.log_mel.frame_step for each in frames], "frames": frames}
        outputs = self.predictor.outputs(self.raw)
        found: dict[str, Any] = {target.outputs[0]: _stacked(task.decode(outputs))}
        if target.modality == "label":
            found["probabilities"] = target.probabilities(outputs)
            found["classes"] = [target.names] * len(outputs)
        if task.is_autoencoder:
            found["error"] = np.asarray(anomalies.errors(task, self.raw, found["reconstruction"]), "float32")
            if threshold is not None:
                found["is_anomaly"] = found["error"] > threshold
        return found

    def generated(self, names):
        """Returns the cases of the signatures of a model that generates."""
        from kerazoo import export as exporter
        from kerazoo.decoding.choose import token_by_token

        found, task = [], self.task
        search = exporter.exported_search(task, self.options)
        max_length = self.options.get("max_length") or task.max_length
        if "generate" in names:
            ranked = exporter.with_several_results(search)
            found.append(self._ranked(ranked, exporter.seed_of(search), max_length))
        if task.targets.fills:
            return found
        if {"score", "logits"} & set(names) and task.targets.scored_names:
            found += self._scored(names)
        if "step" in names:
            found.append(self._stepped(token_by_token(search), int(max_length)))
        return found

    def _stepped(self, search, max_length):
        """Returns the case of `start`, `step` and `choose`."""
        raw = self.raw[: 4 if max_length > 200 else None]
        found = export_formats.searched(self.predictor, raw, search, max_length)
        outputs = {"tokens": found.tokens[:, 0], "score": found.token_scores[:, 0].sum(axis=-1)}
        options = {"start_id": self.model.start_id, "pad_id": self.model.pad_id, "max_length": max_length}
        return self.case("step", outputs, _first_rows(self.packed, len(raw)), options=options)

    def _ranked(self, search, seed, max_length):
        """Returns the case of `generate`."""
        found = export_formats.searched(self.predictor, self.raw, search, max_length)
        task, exists = self.task, found.lengths > 0
        rows = np.argwhere(exists)
        tokens = np.array([found.tokens[row, rank] for row, rank in rows])
        if task.targets.fills:
            of_rows = {name: np.asarray(x)[rows[:, 0]] for name, x in task.encode(self.raw).items()}
            tokens = np.asarray(task.targets.complete(tokens, of_rows))
        decoded = task.decode(tokens)
        if search.stop_strings is not None:
            repeats = task.is_language_model and task.targets.repeats_prompt
            prompts = [self.raw[row] if repeats else "" for row, _ in rows]
            decoded = [text[: len(p)] + search.stop_strings.cut(text[len(p) :]) for text, p in zip(decoded, prompts)]
        empty = np.zeros_like(decoded[0]) if isinstance(decoded[0], np.ndarray) else ""
        listed = [[empty] * exists.shape[1] for _ in self.raw]
        for (row, rank), each in zip(rows, decoded):
            listed[row][rank] = each
        outputs = {
            "answers": np.array(listed) if isinstance(empty, np.ndarray) else listed,
            "scores": np.maximum(found.scores, np.finfo("float32").min),
            "tokens": found.tokens,
            "token_scores": found.token_scores,
        }
        scalars = {"max_length": np.int32(max_length)}
        if hasattr(search, "temperature"):
            scalars |= {"seed": np.int32(seed), "temperature": np.float32(search.temperature)}
        inputs = {**self.packed, **scalars}
        if task.is_language_model:  # prompts that leave no position are tested elsewhere
            lengths = (task.encode(self.raw)["prompt"] != self.model.pad_id).sum(axis=1)
            kept = np.flatnonzero(lengths < max_length)
            inputs = {**_taken(self.packed, kept), **scalars}
            outputs = _taken(outputs, kept)
        return self.case("generate", outputs, inputs)

    def _scored(self, names):
        """Returns the cases of `score` and `logits`: of the targets, or of whole texts for a language model."""
        task, targets = self.task, self.task.targets
        strings = dict(zip(targets.scored_names, self._scored_strings()))
        tokens, scored = (np.asarray(each) for each in targets.scored_tokens(*strings.values()))
        tokens, scored = tokens[:, : self.model.max_length], scored[:, : self.model.max_length]
        encoded = {} if task.is_language_model else task.encode(self.raw)
        logits = np.asarray(self.model({**encoded, "targets": tokens}, training=False), "float32")
        raw = {} if task.is_language_model else self.packed
        found = []
        if "logits" in names:
            few = _first_rows({"raw": raw, "tokens": tokens, "logits": logits}, 4)  # a vocabulary is wide
            inputs = {**few["raw"], "tokens": few["tokens"]}
            found.append(self.case("logits", {"logits": few["logits"]}, inputs))
        if "score" in names:
            shifted = logits - logits.max(axis=-1, keepdims=True)
            log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
            scores = np.where(scored, np.take_along_axis(log_probs, tokens[..., None], axis=-1)[..., 0], 0.0)
            outputs = {"score": scores.sum(axis=1), "token_scores": scores, "tokens": tokens}
            found.append(self.case("score", outputs, {**raw, **strings}))
        return found

    def _scored_strings(self):
        return [self.targets] if len(self.task.targets.scored_names) == 1 else [self.raw, self.targets]

    def embedded(self):
        """Returns the cases of `embed`, none for a model without an encoder."""
        if self.task.kind == "dual_encoder":
            first, second = map(list, zip(*self.raw))
            found = [self.case("embed", {"vector": self.predictor.embed(first)}, {"text": first})]
            if not self.model.is_shared:
                vectors = self.predictor.embed(second, side="target")
                found.append(self.case("embed_target", {"vector": vectors}, {"text": second}))
            return found
        if not hasattr(self.model, "pool"):
            return []
        return [self.case("embed", {"vector": self.predictor.embed(self.raw)})]


def _stacked(values):
    return values if isinstance(values[0], str) else np.stack([np.asarray(each) for each in values])


def _first_rows(values: Any, count: int) -> Any:
    return _taken(values, range(count))


def _taken(values: Any, rows: Any) -> Any:
    """Returns the rows of arrays and lists, in a dict that may hold dicts."""
    if isinstance(values, Mapping):
        return {name: _taken(each, rows) for name, each in values.items()}
    rows = [row for row in rows if row < len(values)]
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]


def examples(task: "Task", with_references: bool = False) -> Any:
    """Returns some raw inputs of dev, or of train if there are none.

    Args:
        task: `kerazoo.tasks.Task`.
        with_references: bool. Whether their targets and the name of the split are returned as well. Defaults to
            `False`.
    """
    try:
        found, split = task.examples("dev", limit=EXAMPLES), "dev"
    except _checks.NoExamplesError:
        found, split = task.examples("train", limit=EXAMPLES), "train"
    return (*found, split) if with_references else found[0]
