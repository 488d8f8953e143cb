"""Trains a model that begins with the weights of another run, or with weights from a file."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerazoo import catalog
from kerazoo.run import directory as directories
from kerazoo.run import start as starts
from kerazoo.run import trainer

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor

# What a composed model of each kind is made of besides its encoder.
COMPOSED = {
    "classifier": "classifier", "binary_classifier": "binary_classifier", "dual_encoder": "dual_encoder",
    "autoencoder": "dense", "masked_language_model": "masked_lm",
}  # fmt: skip


def finetune(
    start: str | os.PathLike,
    task: str | None = None,
    model: str | None = None,
    run_dir: str | os.PathLike | None = None,
    *,
    checkpoint: str = "best",
    vocabulary: str = "source",
    adapters: Sequence[str] = (),
    model_options: Mapping[str, Any] | None = None,
    task_options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    imports: Sequence[str] = (),
    **options: Any,
) -> "Predictor":
    """Trains a model in a new run that begins with the weights of another run, or with those in a file.

    Weights are matched by the path of their layer, see `kerazoo.transfer.warm_start`, so any model that shares a part
    with the other one takes that part: an encoder becomes that of a classifier, of a dual encoder or of a seq2seq; the
    stack of a language model becomes a causal encoder. What is kept and what is new is printed as a table. The new
    run is like any other, and once it has a checkpoint it needs the other run no more; the same call resumes it.

    The texts of the task have the vocabularies of the other run, unless `vocabulary` is `"new"`.

    Args:
        start: string or path. The folder of a run, or a file of weights.
        task: string. The name of a task. Defaults to `None`: that of the other run with its options.
        model: string. The name of a model of the catalog, or a composed one. Defaults to `None`: the model of the
            other run, or where the task trains another kind of model, one that is composed of its encoder. A composed
            model has the sizes of the other model where it has the same parts.
        run_dir: string or path. The folder of the new run. Defaults to `None`: `runs/MODEL-TASK-from-RUN`.
        checkpoint: string. Which checkpoint of the other run: `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        vocabulary: string. `"source"` for the vocabularies of the other run, `"new"` for others that are fitted to the
            data: the embeddings and the outputs of tokens that both have are kept then. Defaults to `"source"`.
        adapters: list of strings. Files of adapters, such as `RUN/adapter`, that are merged into the weights of the
            other run, their base, first; `"PATH@0.5"` for another weight than 1. Defaults to `()`.
        model_options: dict. Constructor arguments that replace those of the model. Defaults to `None`.
        task_options: dict. Options of the task. Defaults to `None`.
        training: dict. Fields of `TrainingOptions` that replace the defaults; with `epochs=0` the new run has the
            weights as they are. Defaults to `None`.
        imports: list of strings. Modules to import first, which register the user's models. Defaults to `()`.
        **options: further arguments of `train`.

    Returns:
        The `Predictor` of the trained model.

    Raises:
        CheckpointError: if there is nothing to start from, or its weights do not fit the model.
        ValueError: if the model must be named, or an option contradicts the vocabularies of the other run.
    """
    catalog.import_modules(imports)
    begin = starts.Start(start, checkpoint, vocabulary, adapters, imports=imports)
    given = {name: value for name, value in (task_options or {}).items() if value is not None}
    saved = _saved_record(run_dir, begin)
    if saved:
        task, name = task or saved["task"], model or str(saved["model"])
        chosen = {**saved["model_options"], **(model_options or {})}
        given = {**saved["task_options"], **given}
    else:
        begin.check()
        if begin.is_run:
            task, given = _task_options(begin, task, given, model)
        name, chosen = _model(begin, task, model, given)
        chosen |= model_options or {}
    folder = run_dir or os.path.join("runs", f"{name}-{task or 'task'}-from-{begin.path.name}".replace(":", "-"))
    return trainer.train(name, task, folder, chosen, given, training, imports=imports, start=begin, **options)


def _saved_record(run_dir, begin):
    """Returns the record of the run in `run_dir` that began with the same weights, None if there is none."""
    run = directories.RunDirectory(run_dir) if run_dir is not None else None
    if run is None or not run.exists():
        return None
    record = run.record()
    return record if record.get("start", {}).get("path") == str(begin.path) else None


def _task_options(begin, task, given, model):
    """Returns the name and the options of the task, with those that vocabularies and positions of a run determine."""
    from kerazoo import tasks
    from kerazoo.models.encoder_model import max_positions

    record = begin.run.record()
    if task is None or (task == record["task"] and not given):
        return record["task"], {**record["task_options"], **given}
    accepted = tasks.options(task)
    for role in _text_roles(begin, task, given, model):
        _set_tokens(begin, task, role, accepted, given)
    embeddings = [getattr(begin.predictor.model, f"{role}_embedding", None) for role in ("source", "target")]
    positions = [found for each in embeddings if each is not None and (found := max_positions(each))]
    for name in ("max_length", "length"):
        if positions and name in accepted:
            given.setdefault(name, max(positions))
    return task, given


def _text_roles(begin, task, given, model):
    """Returns on which sides a task has texts whose vocabulary is fitted, `"source"` and `"target"`."""
    kind = catalog.get(begin.run.record()["model"]).kind
    kind = _kind(task, kind, given) if model is None else catalog.get(model).kind
    found = {}
    for name, feature in _created(task, kind, given).arrays.items():
        vocabulary = getattr(feature, "vocabulary", None)
        if vocabulary is not None and vocabulary.fixed is None:
            found["target" if name == "targets" else "source"] = feature
    return list(found)


def _created(task, kind, given):
    """Returns the task without the options of its texts, which do not change what it has on either side."""
    from kerazoo import tasks

    texts = {field.name for field in dataclasses.fields(tasks.TextOptions)}
    return tasks.create(task, kind, **{name: value for name, value in given.items() if name not in texts})


def _set_tokens(begin, task, role, accepted, given):
    """Sets the option of the tokens of a role to those of the run.

    Where the vocabulary is that of the run too, options that contradict it are refused.
    """
    tokenizer = begin.tokenizer(role)
    if tokenizer is None:
        return
    if f"{role}_tokens" in accepted:
        given.setdefault(f"{role}_tokens", tokenizer.registered_name)
    if begin.vocabulary == "new":
        return
    case = {"lower": "lower", "upper": "upper", None: "keep"}[tokenizer.case]
    fixed = {"case": case, "normalization": tokenizer.normalization}
    for name, value in {"vocabulary_size": None, f"{role}_vocabulary": None, **fixed}.items():
        if name in given and given[name] not in ("auto", value):
            raise ValueError(
                f"task {task}: `{name}` must be left out where the vocabulary is that of {begin.path.name}, which has "
                f"{tokenizer.vocabulary_size:,} tokens and case={tokenizer.case!r}; got {name}={given[name]!r}. Or set "
                "vocabulary='new'."
            )


def _model(begin, task, model, given):
    """Returns the name of the model and its options as far as the run determines them."""
    if not begin.is_run:
        if model is None:
            raise ValueError(f"finetune: `model` is needed for a file of weights, {begin.path}; got model=None.")
        return model, {}
    record = begin.run.record()
    if model is None:
        kind = _kind(task, catalog.get(record["model"]).kind, given)
        if kind == catalog.get(record["model"]).kind:
            return record["model"], dict(record["model_options"])
        model = _composed_name(begin, kind)
    if model == record["model"]:
        return model, dict(record["model_options"])
    return model, _sizes(begin, model)


def _kind(task, kind, given):
    """Returns the kind of model that a task trains: that of the other run if it can be."""
    from kerazoo import tasks

    kinds = tasks.kinds(task)
    if not {"inputs", "targets"} & set(given):
        return kind if kind in kinds else kinds[0]
    created = _created(task, None, given)
    fitting = [each for each in created.targets.kinds if (each == "language_model") != bool(created.inputs)]
    return kind if kind in fitting and kind in kinds else created.kind


def _encoders(model):
    """Returns the encoders of a model; the decoder of a language model is its encoder."""
    encoder = getattr(model, "encoder", None) or getattr(model, "decoder", None)
    return list(encoder) if isinstance(encoder, list | tuple) else [encoder]


def _composed_name(begin, kind):
    """Returns the name of a model of another kind with the encoder of a run."""
    parts = [catalog.encoder_name(type(layer).__name__) for layer in _encoders(begin.predictor.model)]
    decoder = "transformer" if "transformer" in str(parts[0]) else "lstm"
    end = {**COMPOSED, "seq2seq": decoder}.get(kind)
    named = [part for part in parts if part is not None]
    if end is None or len(named) < len(parts):
        raise ValueError(
            f"finetune: `model` must be named for a task of {kind} and a run of {begin.run.record()['model']}, from "
            "which none follows; got model=None. Name one that has a part of the same kind, such as "
            "'transformer+classifier'."
        )
    return f"{','.join(named)}+{end}"


def _sizes(begin, model):
    """Returns the options of a composed model that give its parts the sizes of those of a run."""
    if "+" not in model:
        return {}
    source, names, options = begin.predictor.model, catalog.arguments(model), {}
    encoders, _, end = model.partition("+")
    for index, (name, layer) in enumerate(zip(encoders.split(","), _encoders(source))):
        if name == catalog.encoder_name(type(layer).__name__):
            options |= _arguments(f"encoder_{index + 1}" if index else "encoder", layer, names)
            if not hasattr(source, "encoder") and name == "transformer":
                options["encoder.causal"] = True
    decoder = getattr(source, "decoder", None)
    if decoder is not None and type(decoder).__name__ == catalog.decoder_class(end):
        options |= _arguments("decoder", decoder, names)
    elif end == encoders == "transformer":
        options |= _arguments("decoder", _encoders(source)[0], names)
    embedding = getattr(source, "source_embedding", None) or getattr(source, "target_embedding", None)
    for name, argument in (("positions", "positions"), ("hidden_dim", "embedding_dim")):
        value = getattr(embedding, name, None)
        if value is not None and argument in names:
            options[argument] = value
    return options


def _arguments(prefix, layer, names):
    """Returns the plain arguments of a layer that a part of a composed model takes, by their names with a dot."""
    skipped = ("name", "dtype", "trainable", "return_dict")
    return {
        f"{prefix}.{name}": value
        for name, value in layer.get_config().items()
        if f"{prefix}.{name}" in names and name not in skipped and not isinstance(value, dict)
    }
