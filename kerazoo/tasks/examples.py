"""The examples that a model is measured by: raw inputs, each with the targets that are right for it."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kerazoo import _checks
from kerazoo.data import Corpus
from kerazoo.data.corpus import sample_rows
from kerazoo.data.data_source import row_key
from kerazoo.tasks.text_feature import TextFeature

if TYPE_CHECKING:
    from kerazoo.tasks.task import Task


def examples_by(
    task: "Task", columns: Sequence[str], split: str, limit: int | None = None
) -> tuple[list, list, dict[str, list]]:
    """Returns raw inputs, for each the list of accepted targets, and its values in some raw columns.

    The arguments, the result and the errors are those of `Task.examples_by`.
    """
    task.fit()
    if task.is_language_model and task.targets.repeats_prompt:
        if columns:
            raise ValueError(f"{task.owner}: a language model reads texts, which have no column {columns[0]!r}.")
        prompts, wholes = task.targets.prompts(cast(Corpus, task.load(split)).features["targets"], limit)
        return prompts, [[whole] for whole in wholes], {}
    if task.targets.corrupts:
        if columns:
            raise ValueError(f"{task.owner}: windows of texts have no column {columns[0]!r}.")
        return *_corrupted(task, split, limit), {}
    corpus = None if columns else _stored(task, split)
    if corpus is not None:
        return *_of_corpus(task, corpus, limit), {}
    return _of_columns(task, columns, split, limit)


def _corrupted(task, split, limit):
    """Returns the corrupted windows of a split, and for each the text that it is made of."""
    windows = cast(Corpus, task.load(split))
    windows = windows if limit is None else windows.sample(limit)
    rows = windows.features["source"]
    texts = task.targets.restored(windows)
    return task.inputs[0].decode([rows[row] for row in range(len(rows))]), [[text] for text in texts]


def _stored(task, split):
    """Returns the corpus if raw examples can be restored from it, which is faster than to read them, or `None`."""
    if not all(feature.stored_exactly for feature in task.features):
        return None
    with contextlib.suppress(_checks.NoExamplesError):
        corpus = cast(Corpus, task.load(split))
        if not corpus.notes.get("unseen"):
            return corpus
    return None


def _of_corpus(task, corpus, limit):
    """Returns the inputs that a corpus stores, and their targets."""
    stored = corpus.features if limit is None else corpus.sample(limit).features
    raw = _rows([feature.raw(stored[name]) for name, feature in zip(task.input_names, task.inputs)])
    targets = raw if task.targets in task.inputs else task.targets.raw(stored["targets"])
    references = [[target] for target in task.targets.references(targets)]
    return _sampled(raw, limit), _sampled(references, limit)


def _of_columns(task, columns, split, limit):
    """Returns the inputs of the raw columns, their targets, and their values in `columns`."""
    if columns:
        task = dataclasses.replace(task, source=task.source.with_columns(list(columns)))
    cells = task.columns(split)
    first, groups = _readable(task, cells, split, limit)
    raw = _rows([first[name] for name in task.input_columns])
    if isinstance(task.targets, TextFeature):
        texts = task.targets.references(cells[task.targets.columns[-1]])  # the first may be its prompt
        references = [list(dict.fromkeys(texts[row] for row in rows)) for rows in groups]
    else:
        targets = _rows([first[name] for name in task.targets.columns])
        references = [[target] for target in task.targets.references(targets)]
    return raw, references, {column: _values(cells[column], groups) for column in columns}


def _readable(task, columns, split, limit):
    """Returns up to `limit` examples that can be read: their columns, and the lists of their rows in `columns`.

    The columns have the values of the first row of each example, with files replaced by their contents.
    """
    groups, locations = _equal_inputs(task, columns), task.locations(split)
    if task.bad_lines == "stop":
        groups = _sampled(groups, limit)
    chosen = [rows[0] for rows in groups]
    first: dict[str, Any] = {
        name: values[chosen] if isinstance(values, np.ndarray) else [values[row] for row in chosen]
        for name, values in columns.items()
    }
    faults: dict[int, str] = {}
    for feature in task.features:
        for name in feature.columns:
            first[name], unreadable = feature.load(first[name])
            faults |= unreadable
    if faults and task.bad_lines == "stop":
        index = min(faults)
        where = locations[chosen[index]] if chosen[index] < len(locations) else f"{task.owner}, {split}"
        raise _checks.DataError(faults[index] if faults[index].startswith(where) else f"{where}: {faults[index]}")
    kept = _sampled([index for index in range(len(groups)) if index not in faults], limit)
    first = {name: [values[index] for index in kept] for name, values in first.items()}
    return first, [groups[index] for index in kept]


def _equal_inputs(task, columns):
    """Returns lists of the rows with equal inputs, whose texts are all accepted; of other targets single rows."""
    if not isinstance(task.targets, TextFeature):
        return [[row] for row in range(len(next(iter(columns.values()))))]
    rows_of: dict[Any, list[int]] = {}
    for row, key in enumerate(zip(*(map(row_key, columns[name]) for name in task.input_columns))):
        rows_of.setdefault(key, []).append(row)
    return list(rows_of.values())


def _values(cells, groups):
    """Returns the values of a column for each group of rows, equal ones once."""
    return [list(dict.fromkeys(each for row in rows for each in _texts(cells[row]))) for rows in groups]


def _texts(cell):
    """Returns the values of a cell as texts: that of an example, or those of the rows of a window."""
    return list(map(str, cell)) if isinstance(cell, tuple) else [str(cell)]


def _sampled(values, limit):
    """Returns up to `limit` of the values, spread over all of them; all of them without a limit."""
    return values if limit is None else [values[row] for row in sample_rows(len(values), limit)]


def _rows(columns):
    """Returns the values of one column, or tuples of those of several."""
    return list(columns[0]) if len(columns) == 1 else list(zip(*columns))
