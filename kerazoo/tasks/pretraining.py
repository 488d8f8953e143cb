"""The tasks `masked_tokens`, `span_corruption` and `denoising`: a part of a text is hidden, and a model restores it."""

import functools
import os
from typing import Any

from kerazoo import tasks
from kerazoo.data import DataSource
from kerazoo.data.without_texts import WithoutTexts
from kerazoo.tasks.corruption_features import DenoisedTextFeature, MaskedSpansFeature, MaskedTokensFeature
from kerazoo.tasks.gapped_text_feature import GappedTextFeature
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_feature import TextFeature
from kerazoo.tasks.text_options import TextOptions

TARGETS: dict[str, type] = {
    "masked_tokens": MaskedTokensFeature,
    "span_corruption": MaskedSpansFeature,
    "denoising": DenoisedTextFeature,
}
RATES = {"masked_tokens": 0.15, "span_corruption": 0.15, "denoising": 0.3}


def build(
    name: str,
    kind: str | None,
    over: str = "table",
    data_dir: str | os.PathLike | None = None,
    source_column: int | str | list | None = None,
    header: bool | None = None,
    format: str | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    held_out: float | None = None,
    bad_lines: str | None = None,
    exclude: str | None = None,
    length: int = 128,
    stride: int | None = None,
    rate: float | None = None,
    mean_span: float | None = None,
    permute_sentences: bool | None = None,
    **text: Any,
) -> Task:
    """Returns the task `masked_tokens`, `span_corruption` or `denoising`, over texts of any source.

    Texts are cut into windows of `length` tokens, and what is hidden of a window is another part in each epoch. Dev and
    test windows are always corrupted alike. A prediction reads a text in which `<mask>` stands for each gap and returns
    it with the gaps filled.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        over: string. The task of language models whose texts are read: `"table"` (a column of tables), `"text"` (long
            texts), `"topics"` or `"tfds:NAME"`. Defaults to `"table"`.
        data_dir: string. The texts, as that task reads them. Defaults to `None`.
        source_column: int or string. For a table: the column of the texts. Defaults to the first one.
        header: bool. For a table: whether the first line names the columns. Defaults to `None`, as for `table`.
        format: string. For a table: the format of files of another ending. Defaults to `None`.
        delimiter: string. For a table: the character between columns. Defaults to `None`.
        quote: string. For a table: the character around values. Defaults to `None`.
        dev_data: string. A file or pattern of the dev texts, where it is not found by its name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        held_out: float. For a table: the share of train that a missing dev or test split takes. Defaults to `None`:
            0.05.
        bad_lines: string. `"stop"` at a bad line, or `"skip"` it and count. Defaults to `None`: `"stop"`.
        exclude: string. Files of texts, one a line and a pattern or several with commas between them, that a later
            evaluation uses: training texts that overlap with them are left out and counted, see
            `kerazoo.data.WithoutTexts`. Defaults to `None`.
        length: int. The tokens of a window. Defaults to `128`.
        stride: int. The tokens from one training window to the next; not for a table. Defaults to `length`.
        rate: float in (0, 1). The share of the tokens that is hidden. Defaults to `0.15`, for `denoising` to `0.3`.
        mean_span: float of at least 1. The mean number of tokens of a span that one mask hides; not for
            `masked_tokens`. Defaults to `3.0`.
        permute_sentences: bool. For `denoising`: whether the sentences of a window are permuted. Defaults to `True`.
        **text: options of `TextOptions`, those of the target; `target_tokens` defaults to `"subwords"` here.
    """
    owner = f"task {name}"
    text = {"target_tokens": "subwords", **text}
    if text.get("source_tokens") == text["target_tokens"]:  # the input is the same text
        del text["source_tokens"]
    text_options = TextOptions.of(owner, text, roles=("target",))
    read = {
        "data_dir": data_dir and str(data_dir),
        "source_column": source_column,
        "header": header,
        "format": format,
        "delimiter": delimiter,
        "quote": quote,
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "held_out": held_out,
        "bad_lines": bad_lines,
        "stride": stride,
    }
    given = {option: value for option, value in read.items() if value is not None}
    found = tasks.build(over, "language_model", {**given, "length": length, **text_options.to_dict()})
    if not isinstance(found.targets, TextFeature):
        raise ValueError(f"{owner}: `over` must be a task of texts; got over={over!r}, of {found.targets.modality}.")
    (column,), vocabulary = found.targets.columns, found.targets.vocabulary
    feature = _target(owner, name, mean_span=mean_span, permute=permute_sentences)(
        column,
        vocabulary=vocabulary,
        length=length,
        stride=stride,
        rate=RATES[name] if rate is None else rate,
    )
    source: DataSource = found.source
    if exclude is not None:
        source = WithoutTexts(source, column, exclude)
    options = {
        "over": over,
        **read,
        "exclude": exclude,
        "length": length,
        "rate": rate,
        "mean_span": mean_span,
        "permute_sentences": permute_sentences,
        **text_options.to_dict(),
    }
    inputs = GappedTextFeature(column, vocabulary=vocabulary, max_length=length, num_masks=feature.num_masks)
    return Task(source, (inputs,), feature, name, kind or "", options, found.bad_lines)


def _target(owner, name, **options):
    """Returns the function that makes the target of a task, with those options that were given."""
    allowed = {"masked_tokens": (), "span_corruption": ("mean_span",), "denoising": ("mean_span", "permute")}[name]
    chosen = {option: value for option, value in options.items() if value is not None}
    for option, value in chosen.items():
        if option not in allowed:
            argument = "permute_sentences" if option == "permute" else option
            raise ValueError(f"{owner}: `{argument}` has no use here; got {argument}={value!r}. Leave it out.")
    return functools.partial(TARGETS[name], **chosen)
