"""Sources and prompts as people have them, ragged lists or padded arrays, made into what a program takes."""

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import buckets

# Tokens after the longest prompt, where nobody says how many.
NEW_TOKENS = 64


def read_source(model, source):
    """Returns arrays with the batch as first axis; token ids are padded to one of a few lengths."""
    if not isinstance(source, dict):
        return _read_part(source, model.source_pad_id, model.max_source_length)
    read = {name: _read_part(x, model.source_pad_ids.get(name)) for name, x in source.items() if name != "source"}
    return {"source": read_source(model, source["source"]), **read}


def _read_part(source, pad_id, most=None):
    if pad_id is None:
        return _array(source)
    tokens, _ = read_tokens("source", source, pad_id)
    if most is not None and tokens.shape[1] > most:
        raise ValueError(
            f"generate: `source` must have at most max_length={most} tokens, the positions of the model; "
            f"got {tokens.shape[1]}."
        )
    return buckets.fill_length(tokens, buckets.length_bucket(tokens.shape[1], most), pad_id)


def read_prompt(model, prompt, source):
    """Returns padded prompts int32 [B, P] and how many tokens of each count, int32 [B]."""
    rows = len(keras.tree.flatten(source)[0]) if keras.tree.flatten(source) else None
    if prompt is None:
        rows = 1 if rows is None else rows
        return np.zeros((rows, 0), "int32"), np.zeros(rows, "int32")
    tokens, lengths = read_tokens("prompt", prompt, model.pad_id)
    if rows is not None and len(tokens) != rows:
        raise ValueError(f"generate: `prompt` must have a row for each source; got {len(tokens)} for {rows} sources.")
    return tokens, lengths


def read_tokens(name, rows, pad_id):
    """Returns padded token ids int32 [B, T], and how many of each row count."""
    if hasattr(rows, "to_list"):  # a ragged tensor
        rows = rows.to_list()
    if isinstance(rows, list | tuple) and all(isinstance(row, list | tuple | np.ndarray) for row in rows):
        lengths = np.array([len(row) for row in rows], "int32")
        tokens = np.full((len(rows), lengths.max(initial=0)), pad_id, "int32")
        for place, row in zip(tokens, rows):
            place[: len(row)] = row
        return tokens, lengths
    tokens = _array(rows)
    _checks.rank("generate", name, tokens.shape, (2,))
    if not np.issubdtype(tokens.dtype, np.integer):
        raise TypeError(f"generate: `{name}` must be token ids; got an array of {tokens.dtype}.")
    places = np.arange(1, tokens.shape[1] + 1, dtype="int32")
    return tokens.astype("int32"), (places * (tokens != pad_id)).max(axis=1, initial=0).astype("int32")


def _array(x):
    return ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x)


def check_length(model, max_length, prompt_lengths):
    """Returns the most tokens of an answer, which must leave room after every prompt and fit into the model."""
    longest, most = int(prompt_lengths.max(initial=0)), model.max_length
    if max_length is None:
        max_length = longest + NEW_TOKENS if most is None else min(longest + NEW_TOKENS, most)
    _checks.positive_int("generate", "max_length", max_length)
    if most is not None and max_length > most:
        raise ValueError(
            f"generate: `max_length` must be at most {most}, the positions of the model; got max_length={max_length}."
        )
    if max_length <= longest:
        raise ValueError(
            f"generate: `max_length` must be above the length of every prompt; got max_length={max_length} "
            f"and a prompt of {longest} tokens."
        )
    return int(max_length)
