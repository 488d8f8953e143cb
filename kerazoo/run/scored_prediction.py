"""One raw input with its prediction as inputs of the model, and the score that the prediction has."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from kerazoo import _checks, inspect
from kerazoo.inspect.attribution import Score
from kerazoo.run import sample_table

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor

MAX_NEW = 16  # tokens after a prompt that are scored


class ScoredPrediction(NamedTuple):
    """A raw input and what a model predicts for it.

    Args:
        raw: the raw input.
        inputs: dictionary of arrays with a batch of one: the inputs of the model, those of a decoder with `"targets"`.
        score: function of the outputs of the model, as `kerazoo.inspect.saliency` takes it. `None` where there is no
            number to explain.
        about: string. The prediction and what the score is, or why there is none.
        sources: tuple of strings. The inputs to which the score can be attributed.
        labels: dictionary of the name of an input to the labels of its positions, where these have names.
    """

    raw: Any
    inputs: dict[str, np.ndarray]
    score: Score | None
    about: str
    sources: tuple[str, ...]
    labels: dict[str, list[str]]


def scored_prediction(predictor: "Predictor", raw: Any, target: str | None = None) -> ScoredPrediction:
    """Returns the prediction of a model for one raw input, and its score.

    Args:
        predictor: `Predictor` of one model.
        raw: a raw input.
        target: string. What is scored in place of the prediction: a class, or an answer. Defaults to `None`.

    Raises:
        ValueError: if `target` is no class of the task, or the model predicts something that has no name.
    """
    from kerazoo import decoding

    task, model = predictor.task, predictor.model
    modality = task.targets.modality
    names = task.input_names
    if target is not None and modality not in ("label", "text"):
        raise ValueError(f"inspect: `target` is a class or a text, and this model predicts {modality}; got {target!r}.")
    inputs: dict[str, Any] = {name: np.asarray(value) for name, value in task.encode([raw]).items()}
    labels = {name: _labels(feature, inputs[name][0]) for name, feature in zip(names, task.inputs)}
    labels = {name: each for name, each in labels.items() if each}
    sources = tuple(names)
    if predictor.generates:
        return _generated(predictor, raw, target, inputs, labels)
    if isinstance(model, decoding.ContinuousDecodable):
        found = model.generate(inputs if len(inputs) > 1 else inputs["source"])
        inputs["targets"] = found.values[:, : found.lengths[0]]
        score = inspect.mean_score if modality == "series" else None
        return ScoredPrediction(raw, inputs, score, _about_values(modality), sources, labels)
    if task.is_autoencoder:
        return ScoredPrediction(
            raw, inputs, None, "no score but its error: an autoencoder restores its input", sources, labels
        )
    outputs = np.asarray(model(inputs, training=False))
    if task.targets.fills:
        return _filled(task, raw, inputs, labels, outputs)
    if modality == "similarity":
        value = float(inspect.similarity_score(outputs)[0])
        about = f"similarity {value:.3f} (the product of the vectors over the temperature)"
        return ScoredPrediction(raw, inputs, inspect.similarity_score, about, sources, labels)
    if modality != "label":
        return ScoredPrediction(raw, inputs, inspect.mean_score, _about_values(modality), sources, labels)
    probabilities = dict(task.ranked(outputs)[0])
    name = target if target is not None else max(probabilities, key=probabilities.__getitem__)
    classes = cast(Any, task.targets).names
    _checks.one_of("inspect", "target", name, classes)
    about = f"class {name}, probability {probabilities[name]:.3f}"
    score = inspect.class_score([classes.index(name)])
    return ScoredPrediction(raw, inputs, score, about, sources, labels)


def _generated(predictor, raw, target, inputs, labels):
    """Returns the tokens that a search generates, or those of a target, with the score that the model gives them."""
    task, model = predictor.task, predictor.model
    prompt = inputs.pop("prompt", np.zeros((1, 0), "int32"))[0].tolist()
    if target is not None:
        tokens = task.targets.target_tokens([target])[0].tolist()
    else:
        options = {"max_length": min(task.max_length, len(prompt) + MAX_NEW)} if task.is_language_model else {}
        tokens = (predictor.predictions([raw], **options)[0] or [None])[0]
        tokens = list(tokens.tokens) if tokens is not None and tokens.tokens else []
    whole = np.array([prompt + tokens], "int32")
    if not whole.size:
        whole = np.array([[model.end_id]], "int32")
    inputs["targets"] = whole
    scored = whole.copy()
    scored[0, : len(prompt)] = model.pad_id  # what was given has no score
    labels["targets"] = _labels(task.targets, whole[0]) or list(map(str, range(whole.shape[1])))
    sources = tuple(task.input_names)
    if task.is_language_model:
        if not prompt:
            about = "no score: nothing was given that the text could depend on"
            return ScoredPrediction(raw, inputs, None, about, (), labels)
        sources = ("targets",)
    if task.targets.modality == "pixels":
        return ScoredPrediction(raw, inputs, None, "no score: an image that is predicted pixel by pixel", (), labels)
    score = inspect.target_score(scored, model.pad_id)
    value = float(np.asarray(score(model(inputs, training=False)))[0])
    text = target if target is not None else "".join(task.decode([tokens])) if tokens else ""
    about = f"{repr(text) if text else 'an empty text'}: log-odds {value:.2f}"
    return ScoredPrediction(raw, inputs, score, about, sources, labels)


def _filled(task, raw, inputs, labels, outputs):
    """Returns the most probable tokens at the gaps of a text, with the score of these."""
    feature = task.inputs[0]
    count = int(np.isin(inputs["source"], feature.mask_ids).sum())
    if not count:
        return ScoredPrediction(raw, inputs, None, "no score: the text has no gap", ("source",), labels)
    tokens = np.where(np.arange(outputs.shape[1]) < count, outputs.argmax(-1), 0).astype("int32")
    score = inspect.target_score(tokens)
    names = _labels(feature, tokens[0][tokens[0] > 0])
    about = f"{' '.join(names)!r}: log-odds {float(np.asarray(score(outputs))[0]):.2f}"
    return ScoredPrediction(raw, inputs, score, about, ("source",), labels)


def _about_values(modality):
    return "no score: frames of a sound" if modality == "sound" else "the mean of the predicted numbers"


def _labels(feature: Any, values: Any) -> list[str]:
    """Returns the names of the tokens of a row, the class of a label, nothing for numbers."""
    if feature.modality == "text":
        return token_names(feature.tokenizer, values)
    if feature.modality == "label" and np.asarray(values).dtype.kind == "i":
        return [feature.names[each - 1] if each else "" for each in np.ravel(values).tolist()]
    return []


def token_names(tokenizer: Any, ids: Any) -> list[str]:
    """Returns the text of token ids; special tokens have their names in angle brackets.

    Args:
        tokenizer: `kerazoo.text.Tokenizer`.
        ids: integers.
    """
    special = {getattr(tokenizer, f"{name}_id"): f"<{name}>" for name in ("pad", "start", "end", "unknown")}
    tags = dict(enumerate(tokenizer.tags, start=tokenizer.vocabulary_size - len(tokenizer.tags)))
    texts = tokenizer.token_bytes
    return [
        special.get(each) or (f"<{tags[each]}>" if each in tags else texts[each].decode("utf-8", "replace"))
        for each in np.ravel(ids).tolist()
    ]


def sentences(tokens: list[str], ids: Any, ends: list[int], count: int) -> list[str]:
    """Returns the sentences that tokens make up, as many as there are positions, empty where there is none.

    Args:
        tokens: list of strings. The names of the tokens.
        ids: integer array. Their ids.
        ends: list of ints. The ids that end a sentence.
        count: int. The number of positions.
    """
    found, words = [], []
    for name, token in zip(tokens, np.ravel(ids).tolist()):
        words.append(name.strip())
        if token in ends:
            found.append(" ".join(words))
            words = []
    found += [" ".join(words)] if words else []
    return (found + [""] * count)[:count]


def shifted(labels: Mapping[str, list[str]]) -> list[str]:
    """Returns the names of what a decoder reads: the start token, then all targets but the last."""
    return ["<start>", *labels["targets"][:-1]]


def named(raw: Any) -> str:
    """Returns a raw input in a few words."""
    text = sample_table.text(raw)
    return text if len(text) <= 60 else text[:57] + "..."
