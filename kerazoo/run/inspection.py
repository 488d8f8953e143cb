"""Looks inside a trained run: pictures and short tables of attention, attribution, gates, embeddings and classes."""

import fnmatch
import os
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from kerazoo import _checks, _files, inspect
from kerazoo.inspect import attribution, figures
from kerazoo.inspect.attribution import by_position
from kerazoo.layers import SentenceEmbedding
from kerazoo.run import load_run, tensorboard_events
from kerazoo.run import scored_prediction as scored
from kerazoo.run.directory import RunDirectory

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor

PARTS = ("attention", "attribution", "gates", "embeddings", "confusion", "calibration")
EXAMPLES = 2  # of the dev examples, where no input is given
MAX_TABLE = 12  # rows of a printed table
NEIGHBOURS = 5
MAX_GATES = 200  # positions whose gates are plotted
POSITIONS = {"text": "token", "image": "patch", "sound": "frame", "series": "row", "label": "class", "number": "number",
             "pixels": "pixel"}  # fmt: skip


class Inspected(NamedTuple):
    """What `inspect` found.

    Args:
        pictures: dictionary of the path of each PNG file to what it is.
        tables: dictionary of a title to the rows of a table, lists of texts, with their head.
        left_out: dictionary of each part that does not apply to the reason.
    """

    pictures: dict[pathlib.Path, str]
    tables: dict[str, list[list[str]]]
    left_out: dict[str, str]


def inspect_run(
    run_dir: str | os.PathLike,
    lines: Sequence[str] = (),
    to: str | os.PathLike | None = None,
    parts: Sequence[str] = PARTS,
    target: str | None = None,
    layers: str = "*",
    limit: int = 1000,
    data_dir: str | os.PathLike | None = None,
    checkpoint: str = "best",
    imports: str | Sequence[str] = (),
) -> Inspected:
    """Writes pictures of what a run attends to, what its predictions depend on, and how sure and how right it is.

    For each input there are the attention of each layer and head, the attribution of the prediction to the input by
    saliency, integrated gradients and occlusion, and the gates of each LSTM layer along the sequence; of the dev
    examples the vectors of the encoder on a plane, the confusion matrix, and the calibration of the probabilities.

    Args:
        run_dir: string or path. The run's folder.
        lines: sequence of strings. The inputs, as `experiments.predict` takes them. Defaults to `()`: two dev examples.
        to: string or path. The folder of the pictures. Defaults to `None`: `inspect` in the run's folder.
        parts: sequence of strings. Which of `"attention"`, `"attribution"`, `"gates"`, `"embeddings"`, `"confusion"`
            and `"calibration"` are wanted. Defaults to all.
        target: string. The class or the text whose score is attributed to the input. Defaults to `None`: the
            prediction.
        layers: string. A pattern of the paths of the layers whose attention or gates are plotted. Defaults to `"*"`.
        limit: int, above 0. The largest number of dev examples. Defaults to `1000`.
        data_dir: string or path. Where the data is now, if it moved. Defaults to `None`.
        checkpoint: string. `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.

    Returns:
        `Inspected`, with the reason for each part that does not apply.

    Raises:
        ValueError: if a part or a target is unknown.
        SetupError: if the package matplotlib is not installed.
    """
    for part in parts:
        _checks.one_of("inspect", "parts", part, PARTS)
    _checks.positive_int("inspect", "limit", limit)
    figures.new_figure(1, 1)  # refuses a machine without matplotlib before anything is computed
    predictor = load_run.load(run_dir, checkpoint=checkpoint, data_dir=data_dir, imports=imports)
    folder = pathlib.Path(to) if to is not None else RunDirectory(run_dir).inspected
    return inspect_predictor(predictor, folder, lines, parts, target, layers, limit)


def inspect_predictor(
    predictor: "Predictor",
    folder: pathlib.Path,
    lines: Sequence[str] = (),
    parts: Sequence[str] = PARTS,
    target: str | None = None,
    layers: str = "*",
    limit: int = 1000,
) -> Inspected:
    """Does what `inspect_run` does for a loaded run; `folder` gets the pictures."""
    inside = _Inspection(predictor, folder, layers)
    of_inputs = [part for part in parts if part in ("attention", "attribution", "gates")]
    raw = predictor.task.read(list(lines)) if lines else []
    if of_inputs and not raw:
        raw = inside.dev_examples(EXAMPLES, of_inputs)[0]
    for number, each in enumerate(raw if of_inputs else (), 1):
        inside.inspect_input(number, scored.scored_prediction(predictor, each, target), of_inputs)
    if "embeddings" in parts:
        inside.embeddings(raw if lines else [], limit)
    if {"confusion", "calibration"} & set(parts):
        inside.classes([part for part in ("confusion", "calibration") if part in parts], limit)
    return Inspected(inside.pictures, inside.tables, inside.left_out)


class _Inspection:
    """The pictures and tables of one run."""

    def __init__(self, predictor: "Predictor", folder: pathlib.Path, pattern: str):
        self.predictor, self.folder, self.pattern = predictor, folder, pattern
        self.model: Any = predictor.model
        self.pictures: dict[pathlib.Path, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.left_out: dict[str, str] = {}

    def write(self, name: str, content: bytes, about: str) -> None:
        """Writes a picture."""
        path = self.folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.png"
        _files.write_file(path, content)
        self.pictures[path] = about

    def dev_examples(self, limit: int, parts: Sequence[str]) -> tuple[list, list]:
        """Returns raw dev examples and their references; none, with a reason for the parts, where they are missing."""
        try:
            return self.predictor.task.examples("dev", limit=limit)
        except (_checks.DataError, _checks.SetupError, ValueError) as error:
            self.left_out.update(dict.fromkeys(parts, f"the dev examples cannot be read: {error}"))
            return [], []

    # One input.

    def inspect_input(self, number: int, case: scored.ScoredPrediction, parts: Sequence[str]) -> None:
        """Writes the pictures of one input."""
        self.tables[f"Input {number}"] = [["input", "prediction"], [scored.named(case.raw), case.about]]
        if "attention" in parts:
            self._attention(number, case)
        if "attribution" in parts:
            self._attribution(number, case)
        if "gates" in parts:
            self._gates(number, case)

    def _attention(self, number, case):
        maps = _matching(inspect.attention_maps(self.model, case.inputs), self.pattern)
        if not maps:
            self.left_out["attention"] = f"{type(self.model).__name__} has no layer of attention that matches"
            return
        for path, weights in maps.items():
            rows, columns, names = self._axes(path, weights.shape[2:], case)
            weights = weights[0][:, : _length(rows), : _length(columns)]
            kind = "attention to the source" if _is_cross(path) else "self-attention"
            about = f"{kind} of {path}, {_count(len(weights), 'head')}, input {number}"
            picture = inspect.draw_attention(weights, rows, columns, about, *names)
            self.write(f"{number}-attention-{path}", picture, about)
        self._tabulate_attention(number, case, maps)

    def _tabulate_attention(self, number, case, maps):
        """Adds a table of what each position attends to above all, by the layer that aligns best."""
        crossing = [path for path in maps if _is_cross(path)]
        path = crossing[max(0, len(crossing) - 2)] if crossing else list(maps)[-1]
        weights = maps[path][0].mean(axis=0)
        rows, columns, _ = self._axes(path, weights.shape, case)
        rows = rows or [str(row) for row in range(len(weights))]
        columns = columns or [str(column) for column in range(weights.shape[1])]
        chosen = weights[: len(rows), : len(columns)]
        table = [["position", "attends to", "weight"]]
        for row, best in list(enumerate(chosen.argmax(axis=1)))[:MAX_TABLE]:
            table.append([rows[row], columns[best], f"{chosen[row, best]:.2f}"])
        self.tables[f"Input {number}: the largest weight in {path}, the mean of its heads"] = table

    def _axes(self, path, shape, case):
        """Returns the labels of rows and columns of an attention, and what both are."""
        source_name = next(iter(case.inputs))
        kinds = {name: self._position(name) for name in self.predictor.task.input_names}
        kind = kinds.get(source_name, "position") if len(kinds) == 1 else "position of the sources"
        targets = case.labels.get("targets")
        read = scored.shifted(case.labels) if targets else None
        source = self._source_labels(case, shape[1]) if len(kinds) == 1 else None
        if path.startswith("decoder"):
            target = POSITIONS.get(self.predictor.task.targets.modality, "position")
            rows = targets if targets and len(targets) == shape[0] else None
            if not _is_cross(path):
                return rows, read if rows else None, (f"predicted {target}", f"{target} that is read")
            return rows, source, (f"predicted {target}", f"source {kind}")
        if path.startswith("encoder_2") or (len(kinds) == 2 and not path.startswith("encoder")):
            return None, None, ("position", "position")
        return source, source, (f"{kind} that attends", f"{kind} that is attended to")

    def _source_labels(self, case, length):
        """Returns the labels of the source, sentences where the encoder reads these, `None` where they do not fit."""
        labels = case.labels.get("source")
        embedding = getattr(self.model, "source_embedding", None)
        if labels and isinstance(embedding, SentenceEmbedding):
            found = scored.sentences(labels, case.inputs["source"], embedding.sentence_ends, length)
            return [each for each in found if each] or None
        return labels if labels and len(labels) == length else None

    def _attribution(self, number, case):
        if case.score is None:
            self.left_out["attribution"] = case.about
            return
        for source in case.sources:
            try:
                self._attribute(number, case, source)
            except ValueError as error:  # a source without numbers of its own
                self.left_out[f"attribution to {source}"] = str(error)

    def _attribute(self, number, case, source):
        """Writes the attribution of the score to one source."""
        baseline, fill = self._without(case, source)
        arguments = (self.model, case.inputs, case.score, source)
        gradient = inspect.saliency(*arguments)[0]
        integrated = inspect.integrated_gradients(*arguments, baseline=baseline)
        lost = inspect.occlusion(*arguments, fill=fill)[0]
        values = integrated.values[0]
        share = float(values.sum() / integrated.difference[0]) if integrated.difference[0] else 1.0
        about = f"attribution to {source} of {case.about}"
        title = f"{about}\nintegrated gradients sum to {share:.1%} of what the source adds to the baseline"
        name = f"{number}-attribution" if source == case.sources[0] else f"{number}-attribution-{source}"
        raw = np.asarray(case.inputs[source][0])
        if raw.ndim == 3:  # an image
            rows = {"saliency": np.linalg.norm(gradient, axis=-1), "integrated gradients": values.sum(-1),
                    "occlusion": lost}  # fmt: skip
            picture = inspect.draw_attribution(
                rows, source=raw, title=title, position_label="column, pixels", row_label="row, pixels"
            )
            self.write(name, picture, about)
            return
        if raw.ndim == 2 and raw.shape[1] > attribution.MAX_ROWS:  # such as frames of a sound by their bands
            rows = {"saliency": gradient.T, "integrated gradients": values.T,
                    "occlusion": np.repeat(lost[None], raw.shape[1], axis=0)}  # fmt: skip
            row_label = "log-mel band" if self._modality(source) == "sound" else "variable"
            labels = {"position_label": self._position(source), "row_label": row_label}
            self.write(name, inspect.draw_attribution(rows, source=raw.T, title=title, origin="lower", **labels), about)
            return
        self._write_bars(number, case, source, (gradient, values, lost), (name, about, title))

    def _write_bars(self, number, case, source, found, described):
        """Writes an attribution by position, with a table of the largest ones where positions have names."""
        (gradient, values, lost), (name, about, title) = found, described
        raw = np.asarray(case.inputs[source][0])
        summed = by_position(values[None])[0] if values.ndim > 1 else values
        slope = np.linalg.norm(gradient, axis=-1) if gradient.ndim > 1 else gradient
        labels = self._source_labels(case, len(summed)) if source == "source" else case.labels.get(source)
        if source == "targets":
            labels = scored.shifted(case.labels)
        count = _length(labels)
        rows = {"saliency": slope[:count], "integrated\ngradients": summed[:count]}
        if len(lost) == len(summed):  # a token each, where the encoder reads no sentences
            rows["occlusion"] = lost[:count]
            if source == "targets":  # position t of the targets is read at t + 1
                rows["occlusion"] = np.concatenate([[0.0], lost[:-1]])[:count]
        if raw.ndim == 1 and raw.dtype.kind == "f":
            raw = raw[:, None]
        lines = raw if raw.dtype.kind == "f" and raw.shape[1] <= attribution.MAX_ROWS else None
        kind = self._position(source)
        variables = self._variables(source) if lines is not None else None
        self.write(name, inspect.draw_attribution(rows, labels, lines, title, kind, variables=variables), about)
        if labels:
            order = np.argsort(-np.abs(summed[: len(labels)]))[:MAX_TABLE]
            table = [[kind, "integrated gradients"], *([labels[row], f"{summed[row]:+.3f}"] for row in order)]
            self.tables[f"Input {number}: what the score depends on, nats"] = table

    def _position(self, source):
        """Returns what the positions of a source are."""
        if source == "source" and isinstance(getattr(self.model, "source_embedding", None), SentenceEmbedding):
            return "sentence"
        return POSITIONS.get(self._modality(source), "position")

    def _variables(self, source):
        """Returns the names of the variables of a series, `None` of another source."""
        feature = self._feature(source)
        return feature.state["names"] if feature.modality == "series" else None

    def _modality(self, source):
        return self._feature(source).modality

    def _feature(self, source):
        task = self.predictor.task
        return dict(zip(task.input_names, task.inputs)).get(source, task.targets)

    def _without(self, case, source):
        """Returns the baseline of integrated gradients, and what covers a position in occlusion; `None` for defaults.

        An image is compared with a black one, a series and a sound with its own mean, a text with padding.
        """
        values, modality, task = np.asarray(case.inputs[source]), self._modality(source), self.predictor.task
        if modality == "image" and values.ndim == 4:
            index = task.input_names.index(source)
            parts = list(case.raw) if isinstance(case.raw, tuple) else [case.raw]
            parts[index] = np.zeros_like(parts[index])
            black = task.encode([tuple(parts) if isinstance(case.raw, tuple) else parts[0]])[source]
            return np.asarray(black, np.float32), np.asarray(black, np.float32)[0, :1, :1]
        if values.dtype.kind == "f" and values.ndim == 3:
            mean = values.mean(axis=1, keepdims=True)
            return np.broadcast_to(mean, values.shape).astype(np.float32), mean
        return None, getattr(getattr(self._feature(source), "tokenizer", None), "unknown_id", None)

    def _gates(self, number, case):
        found = _matching(inspect.lstm_gates(self.model, case.inputs), self.pattern)
        if not found:
            self.left_out["gates"] = f"{type(self.model).__name__} has no LSTM layer that matches"
            return
        for path, gates in found.items():
            gates = inspect.LSTMGates(*(each[0][:MAX_GATES] for each in gates))
            labels, kind = case.labels.get("source"), self._position("source")
            if path.startswith("decoder"):
                read = scored.shifted(case.labels) if "targets" in case.labels else None
                labels, kind = read, f"{POSITIONS.get(self.predictor.task.targets.modality, 'position')} that is read"
            labels = labels if labels and len(labels) == len(gates.input) else None
            about = f"gates and states of {path}, input {number}"
            self.write(f"{number}-gates-{path}", inspect.draw_gates(gates, labels, about, kind), about)

    # The dev examples.

    def embeddings(self, given: list, limit: int) -> None:
        """Writes the vectors of dev examples on a plane, and the neighbours of the given inputs among them."""
        task = self.predictor.task
        raw, references = self.dev_examples(limit, ["embeddings"])
        if len(raw) < 2:
            self.left_out.setdefault("embeddings", "there are fewer than two dev examples")
            return
        pairs = task.kind == "dual_encoder"
        texts = [each[0] if isinstance(each, tuple) else each for each in raw] if pairs else raw
        inputs = [each[0] if isinstance(each, tuple) else each for each in given] if pairs else given
        try:
            vectors = self.predictor.embed([*texts, *inputs])
        except ValueError as error:
            self.left_out["embeddings"] = str(error)
            return
        groups = ["dev example"] * len(texts)
        if task.targets.modality == "label":
            groups = [each[0] for each in references]
        labels = [""] * len(texts) + [f"input {number}" for number in range(1, len(inputs) + 1)]
        about = f"vectors of {len(texts):,} dev examples" + (" and the inputs" if inputs else "")
        picture = inspect.draw_projection(inspect.project(vectors), [*groups, *["input"] * len(inputs)], labels, about)
        self.write("embeddings", picture, about)
        names = [scored.named(each) for each in [*texts, *inputs]]
        groups = [*groups, *["input"] * len(inputs)]
        tensorboard_events.write_vectors(self.folder, vectors, {"input": names, "group": groups})
        count = min(NEIGHBOURS, len(texts))
        for number, vector in enumerate(vectors[len(texts) :], 1):
            rows, cosines = inspect.nearest(vectors[: len(texts)], vector[None], count)
            table = [["cosine", "dev example", "reference"]]
            for row, cosine in zip(rows[0], cosines[0]):
                table.append([f"{cosine:.3f}", scored.named(texts[row]), scored.named(references[row][0])])
            self.tables[f"Input {number}: the nearest dev examples"] = table

    def classes(self, parts: Sequence[str], limit: int) -> None:
        """Writes the confusion matrix and the calibration of a classifier on the dev examples."""
        task = self.predictor.task
        if task.targets.modality != "label":
            reason = f"{type(self.model).__name__} predicts {task.targets.modality}, not one of some classes"
            self.left_out.update(dict.fromkeys(parts, reason))
            return
        raw, references = self.dev_examples(limit, parts)
        if not raw:
            self.left_out.update({part: self.left_out.get(part, "there are no dev examples") for part in parts})
            return
        outputs, target = self.predictor.outputs(raw), cast(Any, task.targets)
        true, names = [each[0] for each in references], list(target.names)
        if "confusion" in parts:
            classes, counts = inspect.confusion_matrix(true, task.decode(outputs))
            about = f"confusion of {len(raw):,} dev examples"
            self.write("confusion", inspect.draw_confusion(classes, counts), about)
            self.tables["Pairs of classes that are confused"] = _confused(classes, counts)
        if "calibration" in parts:
            kept = [row for row, name in enumerate(true) if name in names]
            predicted = [outputs[row] for row in kept]
            ids = np.array([names.index(true[row]) for row in kept])
            probabilities = target.probabilities(predicted)
            found = inspect.calibration(probabilities, ids)
            temperature = inspect.fit_temperature(target.class_logits(predicted), ids)
            about = f"calibration of {len(kept):,} dev examples"
            self.write("calibration", inspect.draw_calibration(found, about), about)
            self.tables["Calibration"] = [
                ["measure", "value"],
                ["accuracy", f"{float((probabilities.argmax(1) == ids).mean()):.4f}"],
                ["mean probability of the prediction", f"{float(probabilities.max(1).mean()):.4f}"],
                ["expected calibration error", f"{found.error:.4f}"],
                ["temperature that fits best (above 1: too sure)", f"{temperature:.3f}"],
            ]


def _confused(classes, counts):
    """Returns the pairs of classes that are confused, the frequent ones first, as the rows of a table."""
    wrong = counts - np.diag(np.diag(counts))
    cells = sorted(np.argwhere(wrong).tolist(), key=lambda cell: -wrong[cell[0], cell[1]])[:MAX_TABLE]
    return [["true", "predicted", "times"], *([classes[i], classes[j], str(wrong[i, j])] for i, j in cells)]


def _matching(found, pattern):
    """Returns the entries of a dictionary whose path matches a pattern, or is inside a layer whose path does."""
    patterns = (pattern, f"{pattern}.*")
    return {path: each for path, each in found.items() if any(fnmatch.fnmatchcase(path, one) for one in patterns)}


def _is_cross(path):
    """Returns whether an attention is to a source: that of a block, or the one of an LSTM decoder."""
    return ".cross_attention" in path or path.startswith("decoder.attention")


def _length(labels):
    return len(labels) if labels else None


def _count(number, name):
    return f"{number} {name}" + "s" * (number != 1)
