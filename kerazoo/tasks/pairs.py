"""The task `pairs`: two texts to their similarity, from scores of pairs or from pairs that belong together."""

import os
from typing import Any

from kerazoo import _checks
from kerazoo.data import DataSource, TableSource
from kerazoo.data.inverse_cloze import InverseCloze
from kerazoo.data.table_source import HELD_OUT, check_column
from kerazoo.tasks.similarity_feature import MatchFeature, SimilarityFeature
from kerazoo.tasks.table_arguments import table_arguments
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_feature import TextFeature
from kerazoo.tasks.text_options import TextOptions


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    source_column: int | str | list = 0,
    target_column: int | str | list = 1,
    score_column: int | str | None = None,
    inverse_cloze: bool = False,
    header: bool | None = None,
    format: str | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    held_out: float = HELD_OUT,
    max_length: int = 256,
    bad_lines: str = "stop",
    **text: Any,
) -> Task:
    """Returns the task `pairs`: two texts to their similarity, for models of kind `"dual_encoder"`.

    With a `score_column` the cosine of the two vectors is trained to be the score. Without one each line is a pair that
    belongs together (a question and its answer, a title and its text), and the model learns to find the partner of each
    text among those of the whole batch, so a larger `batch_size` makes the task harder and the vectors better. Both
    texts have one vocabulary.

    Args:
        name: string. The task's name.
        kind: string. `"dual_encoder"`.
        data_dir: string. Tables of pairs: a folder with a file `train` and optionally `dev` and `test`, ending in .tsv,
            .csv or .jsonl, plain or .gz; one file; a pattern; or several with weights. A missing dev or test split is
            selected from train by a hash of the first text. Required. Defaults to `None`, which raises an
            error.
        source_column: int or string. The column of the first text, of a question for one: its number from 0, its name
            in the header, or a field of JSON. Several separated by commas are joined by a blank. Defaults to `0`.
        target_column: int or string. The column of the second text, of an answer or a document. Defaults to `1`.
        score_column: int or string. The column of the scores, numbers of which larger ones are more similar. Defaults
            to `None`: the texts of each line belong together.
        inverse_cloze: bool. Whether each training pair is followed by pairs of a sentence of its second text and the
            rest of that text, see `kerazoo.data.InverseCloze`. Defaults to `False`.
        header: bool. Whether the first line names the columns, as for `table`. Defaults to `None`.
        format: string. `"tsv"`, `"csv"` or `"jsonl"` for files of another ending. Defaults to `None`.
        delimiter: string. The character between columns, as for `table`. Defaults to `None`.
        quote: string. The character around values, as for `table`. Defaults to `None`.
        dev_data: string. A file or pattern of the dev pairs, where it is not found by its name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        held_out: float in [0, 0.5). The share of train that a missing dev or test split takes; 0 trains on all pairs,
            such as those of a collection that is to be searched. Defaults to `0.05`.
        max_length: int. The largest number of tokens of a text; longer ones are truncated. Defaults to `256`.
        bad_lines: string. `"stop"` at a line with a blank text or without a number as its score, or `"skip"` it and
            count. Defaults to `"stop"`.
        **text: options of `TextOptions`, those of the source; `source_tokens` defaults to `"words_and_punctuation"`
            here, and `case` to `"lower"`; with `source_vocabulary_file` to `"wordpiece"` and `"auto"`.
    """
    owner = f"task {name}"
    if data_dir is None:
        raise ValueError(f"{owner}: needs `data_dir`, a file or a folder with pairs of texts; got data_dir=None.")
    columns: dict[str, Any] = {
        "source": check_column(owner, "source_column", source_column),
        "target": check_column(owner, "target_column", target_column),
    }
    if score_column is not None:
        columns["score"] = check_column(owner, "score_column", score_column)
        if inverse_cloze:
            raise ValueError(
                f"{owner}: `inverse_cloze` makes pairs without scores; got inverse_cloze=True, "
                f"score_column={score_column!r}. Leave one of them out."
            )
    _checks.positive_int(owner, "max_length", max_length)
    table = table_arguments(
        owner, header=header, format=format, delimiter=delimiter, quote=quote, dev_data=dev_data, test_data=test_data,
        held_out=held_out, bad_lines=bad_lines,
    )  # fmt: skip
    defaults = {"source_tokens": "words_and_punctuation", "case": "lower"}
    if text.get("source_vocabulary_file"):
        defaults = {"source_tokens": "wordpiece", "case": "auto"}
    text_options = TextOptions.of(owner, {**defaults, **text}, roles=("source",))
    options = {
        "data_dir": str(data_dir),
        **{f"{column}_column": given for column, given in columns.items()},
        "inverse_cloze": bool(inverse_cloze),
        **table,
        "max_length": max_length,
        **text_options.to_dict(),
    }
    source: DataSource = TableSource(data_dir, columns, **table)
    if inverse_cloze:
        source = InverseCloze(source, "source", "target")
    vocabulary = text_options.vocabulary(owner, "source")
    inputs = tuple(
        TextFeature(
            column,
            vocabulary=vocabulary,
            max_length=max_length,
            dropout=text_options.subword_dropout,
            vectors=text_options.source_vectors,
        )
        for column in ("source", "target")
    )
    target = MatchFeature() if score_column is None else SimilarityFeature()
    return Task(source, inputs, target, name, kind or "", options, bad_lines)
