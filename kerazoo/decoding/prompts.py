"""Sources and prompts, ragged lists or padded arrays, as arrays of few static shapes, each of which costs a program."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.protocol import Decodable, SourceModel

# Tokens after the longest prompt if no `max_length` is given.
DEFAULT_NEW_TOKENS = 64


def batch_bucket(rows: int) -> int:
    """Returns the number of rows that a batch of `rows` is padded to: the next power of two."""
    return 1 << max(0, rows - 1).bit_length()


def length_bucket(length: int, max_length: int | None = None) -> int:
    """Returns the length that `length` is padded to: the next of 8, 12, 16, 24, 32, 48 ..., at most `max_length`."""
    power = 1 << max(3, (length - 1).bit_length())
    bucket = power * 3 // 4 if length <= power * 3 // 4 and power > 8 else power
    return bucket if max_length is None else max(length, min(bucket, max_length))


def pad_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """Returns `array` with its first row repeated until there are `rows`; the results of these rows are discarded."""
    return np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)]) if len(array) < rows else array


def pad_length(array: np.ndarray, length: int, value: Any) -> np.ndarray:
    """Returns `array` with axis 1 padded to `length` with `value`."""
    widths = [(0, 0)] * array.ndim
    widths[1] = (0, max(0, length - array.shape[1]))
    return np.pad(array, widths, constant_values=value)


def read_source(model: SourceModel, source: Any) -> Any:
    """Returns a source as an array, or a dictionary of arrays, with the batch as first axis.

    Token ids are padded to one of a few lengths. Other inputs, such as images, vectors and masks, are unchanged.

    Args:
        model: `SourceModel`. Its `source_pad_ids` names the inputs that are token ids.
        source: array or list of rows, or a dictionary of them by the name of the input. `None` for no source.

    Raises:
        ValueError: if a source is longer than the model supports, or the inputs differ in their number of rows.
    """
    if source is None:
        return ()
    if not isinstance(source, dict):
        return _read_input(model, "source", source)
    arrays = {name: _read_input(model, name, value) for name, value in source.items()}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(f"generate: all inputs of `source` must have the same number of rows; got {rows}.")
    return arrays


def _read_input(model, name, value):
    pad_id = model.source_pad_ids.get(name)
    if pad_id is None:
        return _array(value)
    tokens, _ = read_tokens(name, value, pad_id, model.source_vocabulary_sizes.get(name))
    max_length = model.max_source_lengths.get(name)
    if max_length is not None and tokens.shape[1] > max_length:
        raise ValueError(
            f"generate: `{name}` must have at most max_length={max_length} tokens, the positions of the model; "
            f"got {tokens.shape[1]}."
        )
    return pad_length(tokens, length_bucket(tokens.shape[1], max_length), pad_id)


def num_rows(source: Any) -> int | None:
    """Returns the number of rows of what `read_source` returned, `None` without a source."""
    arrays = keras.tree.flatten(source)
    return len(arrays[0]) if arrays else None


def read_prompt(model: Decodable, prompt: Any, source: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns padded prompts int32 [B, P] and their lengths int32 [B].

    Args:
        model: `Decodable`.
        prompt: array or list of rows of token ids, or `None`.
        source: What `read_source` returned.

    Raises:
        ValueError: if there are not as many prompts as sources.
    """
    rows = num_rows(source)
    if prompt is None:
        rows = 1 if rows is None else rows
        return np.zeros((rows, 0), "int32"), np.zeros(rows, "int32")
    tokens, lengths = read_tokens("prompt", prompt, model.pad_id, model.vocabulary_size)
    if rows is not None and len(tokens) != rows:
        raise ValueError(f"generate: `prompt` must have a row for each source; got {len(tokens)} for {rows} sources.")
    return tokens, lengths


def read_tokens(name: str, rows: Any, pad_id: int, vocabulary_size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns padded token ids int32 [B, T], and the length of each row, int32 [B].

    Args:
        name: str. The argument that `rows` were passed as, for messages.
        rows: list of rows of token ids, ragged tensor, or padded array.
        pad_id: int. The padding token.
        vocabulary_size: int. Number of token ids. Defaults to `None`, for no check.

    Raises:
        TypeError: if the tokens are not integers.
        ValueError: if a token id is not in the vocabulary.
    """
    tokens, lengths = _padded(name, rows, pad_id)
    if vocabulary_size is None:
        return tokens, lengths
    wrong = np.argwhere(((tokens < 0) | (tokens >= vocabulary_size)) & (tokens != pad_id))
    if len(wrong):
        row, position = wrong[0]
        raise ValueError(
            f"generate: token ids of `{name}` must be from 0 to {vocabulary_size - 1}, as many as the vocabulary has; "
            f"got {tokens[row, position]} in row {row}."
        )
    return tokens, lengths


def _padded(name, rows, pad_id):
    if hasattr(rows, "to_list"):  # a ragged tensor
        rows = rows.to_list()
    if isinstance(rows, list | tuple) and all(isinstance(row, list | tuple | np.ndarray) for row in rows):
        lengths = np.array([len(row) for row in rows], "int32")
        tokens = np.full((len(rows), lengths.max(initial=0)), pad_id, "int32")
        for padded, row in zip(tokens, rows):
            padded[: len(row)] = row
        return tokens, lengths
    tokens = _array(rows)
    _checks.rank("generate", name, tokens.shape, (2,))
    if not np.issubdtype(tokens.dtype, np.integer):
        raise TypeError(f"generate: `{name}` must be token ids; got an array of {tokens.dtype}.")
    counts = np.arange(1, tokens.shape[1] + 1, dtype="int32")
    return tokens.astype("int32"), (counts * (tokens != pad_id)).max(axis=1, initial=0).astype("int32")


def check_max_length(model: Decodable, max_length: int | None, prompt_lengths: np.ndarray) -> int:
    """Returns `max_length` or its default, which must exceed every prompt and not exceed the positions of the model."""
    longest, limit = int(prompt_lengths.max(initial=0)), model.max_length
    if max_length is None:
        max_length = longest + DEFAULT_NEW_TOKENS if limit is None else min(longest + DEFAULT_NEW_TOKENS, limit)
    _checks.positive_int("generate", "max_length", max_length)
    if limit is not None and max_length > limit:
        raise ValueError(
            f"generate: `max_length` must be at most {limit}, the positions of the model; got max_length={max_length}."
        )
    if max_length <= longest:
        raise ValueError(
            f"generate: `max_length` must be above the length of every prompt; got max_length={max_length} "
            f"and a prompt of {longest} tokens."
        )
    return int(max_length)


def _array(x):
    return ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x)
