"""What the tasks of text share: tokenising a column, learning vocabularies, weights, showing ids."""

from collections.abc import Callable

import numpy as np

from kerazoo import _checks
from kerazoo.data import Ragged

Maker = Callable
CHUNK = 65536  # lines that are tokenised at once: bounds the memory of the strings' tensors
LARGEST = {"characters": 8000, "subwords": 8000, "words": 32000}  # ids of a vocabulary that is learnt


def learner(owner, tokens, role, size=None, case=None, normalization=None):
    """Returns a function from a list of strings to the tokenizer `tokens` for them.

    Args:
        owner: The task, for errors.
        tokens: Name of a tokenizer.
        role: `"source"` or `"target"`, for errors.
        size: Most ids; a bound of the tokenizer by default.
        case: `"lower"`, `"upper"`, None, or `"auto"` for the case that changes none of the strings: who types to a
            model that knows capitals alone means capitals.
        normalization: None or `"nfkc"`.
    """
    from kerazoo import text

    _checks.one_of(owner, f"{role}_tokens", tokens, text.names())
    if size is not None:
        _checks.positive_int(owner, f"{role}_vocabulary", size)

    def learn(strings):
        folded = text.common_case(strings) if case == "auto" else case
        # Only what was asked for: a tokenizer of the user's own may know no normalisation.
        form = {} if normalization is None else {"normalization": normalization}
        return text.get(tokens).fit(strings, size or LARGEST.get(tokens), case=folded, **form)

    return learn


def pair(owner, source, target, source_tokens, target_tokens, share):
    """Returns a function from the lists of sources and targets to their two tokenizers, one for both where `share`."""
    if not share:
        return lambda sources, targets: (source(sources), target(targets))
    if source_tokens != target_tokens:
        raise ValueError(
            f"{owner}: `share_vocabulary` needs the same tokens on both sides; got source_tokens={source_tokens!r}, "
            f"target_tokens={target_tokens!r}."
        )

    def learn(sources, targets):
        both = target([*sources, *targets])
        return both, both

    return learn


def ragged(tokenizer, strings, dropout=0.0, seed=()):
    """Returns the ids of `strings` as a `Ragged` of int32.

    Args:
        tokenizer: A `kerazoo.text.Tokenizer`.
        strings: List of strings.
        dropout: Share of the merges of subwords that are left out; other tokens know no chance.
        seed: Sequence of integers that the chance follows from.
    """
    values, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for start in range(0, len(strings), CHUNK):
        part = strings[start : start + CHUNK]
        if dropout and hasattr(tokenizer, "tokenize_with_dropout"):
            ids = tokenizer.tokenize_with_dropout(part, dropout, (*seed, start))
        else:
            ids = tokenizer.tokenize(part)
        values.append(ids.flat_values.numpy())
        lengths.append(ids.row_lengths().numpy())
    return Ragged.from_lengths(np.concatenate(values), np.concatenate(lengths))


def token_weights(tokens, valid, pad_id=0):
    """Returns float32 `[B, T]`: 1 for the real tokens of valid rows."""
    from keras import ops

    real = ops.logical_and(ops.not_equal(tokens, pad_id), ops.expand_dims(valid, -1))
    return ops.cast(real, "float32")


def special_ids(tokenizer):
    """Returns the special ids as constructor arguments of a model."""
    return {"pad_id": tokenizer.pad_id, "start_id": tokenizer.start_id, "end_id": tokenizer.end_id}


def show(tokenizer, rows):
    """Returns the strings of token ids in rows of any length."""
    rows = [np.asarray(row, np.int32) for row in rows]
    if not rows:
        return []
    padded = Ragged.from_rows(rows).padded(pad=tokenizer.pad_id)
    return [text.decode("utf-8", errors="replace") for text in tokenizer.detokenize(padded).numpy()]
