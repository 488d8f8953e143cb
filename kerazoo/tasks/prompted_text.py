"""Prompts and what follows them, for a language model that is tuned: the loss is that of what follows alone."""

import collections
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Ragged, TableSource
from kerazoo.data.ragged import positions_in_rows
from kerazoo.data.table_source import HELD_OUT, check_column
from kerazoo.tasks.feature import Converted, Feature
from kerazoo.tasks.feature_pairs import refuse_subword_dropout
from kerazoo.tasks.table_arguments import table_arguments
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_feature import TextFeature, Vocabulary, concatenated_rows, tokenize
from kerazoo.tasks.text_options import TextOptions


class PromptedTextFeature(TextFeature):
    """A prompt and what follows it, as the tokens of one text for a language model.

    `end_id` ends the prompt, and then what follows. A model is trained on what comes after the prompt alone, and its
    prediction is that text without the prompt. A prompt that is too long loses its beginning.

    Args:
        prompt: string. The name of the raw column of the prompts.
        target: string. The name of the raw column of what follows them.
        vocabulary: `Vocabulary`. Fitted to both columns. Defaults to `Vocabulary()`.
        max_length: int, at least 4. The largest number of tokens of both together. Defaults to `512`.

    Example:

    ```python
    import kerazoo as kz
    from kerazoo.tasks.prompted_text import PromptedTextFeature

    rows = {"prompt": ["1+2", "2+3"], "sum": ["3", "5"]}
    task = kz.tasks.Task(kz.data.MemorySource(lambda split: rows), (), PromptedTextFeature("prompt", "sum"))
    print(task.kind, task.examples("dev"), task.load("dev").features["targets"][0])
    ```
    """

    kinds = ("language_model",)
    repeats_prompt = False

    def __init__(self, prompt: str, target: str, vocabulary: Vocabulary | None = None, max_length: int = 512):
        super().__init__(prompt, target, vocabulary=vocabulary, max_length=max_length)
        if max_length < 4:
            raise ValueError(
                f"{self.owner}: `max_length` must be at least 4, a token of each text and their ends; got "
                f"max_length={max_length}."
            )

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        return self.columns[:1]

    @property
    def config(self) -> dict:
        return {**super().config, "prompted": True}

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        prompts, texts = (tokenize(self.tokenizer, columns[name]) for name in self.columns)
        clipped = prompts.lengths + texts.lengths + 2 > self.max_length
        texts = texts.clip(self.max_length - 3).append(self.tokenizer.end_id)
        prompts = _last(prompts, self.max_length - 1 - texts.lengths).append(self.tokenizer.end_id)
        return Converted(concatenated_rows([prompts, texts]), clipped)

    def windows(self, values: Any, training: bool) -> Any:
        return values

    def weights(self, targets: Any, valid: Any) -> Any:
        """Returns float32 `[B, T]`: 1 for the tokens after a prompt, in rows of several examples as well."""
        from keras import ops

        ends = ops.cast(ops.equal(targets, self.tokenizer.end_id), "int32")
        before = ops.cumsum(ends, axis=1) - ends  # each example has two
        return super().weights(targets, valid) * ops.cast(before % 2 == 1, "float32")

    def encode(self, *packed: Any) -> Any:
        return self._prompts(packed[0]).to_tensor(self.tokenizer.pad_id)

    def _prompts(self, strings):
        """Returns the ragged ids of prompts with the end of each."""
        return self._ended(self.tokenizer.tokenize(strings)[:, -(self.max_length - 2) :])

    @property
    def scored_names(self) -> tuple[str, ...]:
        return ("prompt", "target")

    def scored_tokens(self, *packed: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        prompts, targets = self._prompts(packed[0]), self._ended(self.tokenizer.tokenize(packed[1]))
        return self._scored(tf.concat([prompts, targets], axis=1), tf.cast(prompts.row_lengths(), tf.int32))

    def signature(self) -> list[tuple[list, str]]:
        return [([], "string")]

    def target_sizes(self) -> dict:
        ids = {name: getattr(self.tokenizer, name) for name in ("pad_id", "start_id", "end_id")}
        return {"vocabulary_size": self.tokenizer.vocabulary_size, "max_length": self.max_length, **ids}

    def decode(self, outputs: Any) -> list:
        return super().decode([self._after_prompt(np.asarray(row, np.int32)) for row in outputs])

    def _after_prompt(self, row):
        """Returns the tokens after the first end, all of them where none follows: a row without its prompt."""
        ends = np.flatnonzero(row == self.tokenizer.end_id)
        rest = row[ends[0] + 1 :] if len(ends) else row[:0]
        return rest if (rest != self.tokenizer.pad_id).any() else row

    def decode_in_graph(self, outputs: Any) -> dict:
        import tensorflow as tf

        ends = tf.cast(outputs == self.tokenizer.end_id, tf.int32)
        after = tf.cumsum(ends, axis=1, exclusive=True) > 0  # [B, T]
        follows = tf.reduce_any(after & (outputs != self.tokenizer.pad_id), axis=1, keepdims=True)
        tokens = tf.where(after | ~follows, outputs, tf.cast(self.tokenizer.pad_id, outputs.dtype))
        return super().decode_in_graph(tokens)

    def without_prompt(self, prompt: Any, whole: Any) -> Any:
        return whole

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        """Returns the most frequent text after a prompt."""
        if values is None or not len(values):
            return {}
        rows = collections.Counter(self._after_prompt(values[row]).tobytes() for row in range(len(values)))
        tokens = np.frombuffer(rows.most_common(1)[0][0], values.values.dtype)
        return {"most frequent answer": super().decode([tokens])[0]}


def _last(rows, lengths):
    """Returns the last entries of each row, at most as many as `lengths` says."""
    kept = np.minimum(rows.lengths, lengths)
    chosen = positions_in_rows(rows.lengths) >= np.repeat(rows.lengths - kept, rows.lengths)
    return Ragged.from_lengths(rows.values[chosen], kept)


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    source_column: int | str | list = 0,
    target_column: int | str | list = 1,
    header: bool | None = None,
    format: str | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    held_out: float = HELD_OUT,
    max_length: int = 512,
    bad_lines: str = "stop",
    **text: Any,
) -> Task:
    """Returns the task `prompts`: a prompt to the text that follows it, for a language model.

    It is for language models that were trained on texts before: `finetune` gives them the vocabulary and the weights.
    The loss and the measures are those of what follows the prompt, and `predict` returns that alone.

    Args:
        name: string. The task's name.
        kind: string. `"language_model"`.
        data_dir: string. Tables: a folder with a file `train` and optionally `dev` and `test`, ending in .tsv, .csv or
            .jsonl, plain or .gz; one file; or a pattern. A missing dev or test split is selected from train by a hash
            of the prompt. Required. Defaults to `None`, which raises an error.
        source_column: int or string. The column of the prompt: its number from 0, its name in the header, or a field of
            JSON. Several separated by commas are joined by a blank. Defaults to `0`.
        target_column: int or string. The column of what follows. Defaults to `1`.
        header: bool. Whether the first line names the columns, as for `table`. Defaults to `None`.
        format: string. `"tsv"`, `"csv"` or `"jsonl"` for files of another ending. Defaults to `None`.
        delimiter: string. The character between columns, as for `table`. Defaults to `None`.
        quote: string. The character around values, as for `table`. Defaults to `None`.
        dev_data: string. A file or pattern of the dev examples, where it is not found by its name. Defaults to `None`.
        test_data: string. The same for test. Defaults to `None`.
        held_out: float in [0, 0.5). The share of train that a missing dev or test split takes. Defaults to `0.05`.
        max_length: int, at least 4. The largest number of tokens of a prompt and what follows together; a longer
            prompt loses its beginning. Defaults to `512`.
        bad_lines: string. `"stop"` at a bad line, or `"skip"` it and count. Defaults to `"stop"`.
        **text: options of `TextOptions`, those of the target.
    """
    owner = f"task {name}"
    if data_dir is None:
        raise ValueError(f"{owner}: needs `data_dir`, a file or a folder with prompts; got data_dir=None.")
    columns = {
        "prompt": check_column(owner, "source_column", source_column),
        "target": check_column(owner, "target_column", target_column),
    }
    _checks.positive_int(owner, "max_length", max_length)
    table = table_arguments(
        owner, header=header, format=format, delimiter=delimiter, quote=quote, dev_data=dev_data, test_data=test_data,
        held_out=held_out, bad_lines=bad_lines,
    )  # fmt: skip
    text_options = TextOptions.of(owner, text, roles=("target",))
    refuse_subword_dropout(owner, text_options, kind)
    options = {
        "data_dir": str(data_dir),
        "source_column": source_column,
        "target_column": target_column,
        **table,
        "max_length": max_length,
        **text_options.to_dict(),
    }
    source = TableSource(data_dir, columns, **table)
    feature = PromptedTextFeature("prompt", "target", text_options.vocabulary(owner, "target"), max_length)
    return Task(source, (), feature, name, kind or "", options, bad_lines)
