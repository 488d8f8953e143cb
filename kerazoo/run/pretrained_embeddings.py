"""Starts the embeddings of a new model from word vectors."""

import inspect
import sys

import numpy as np

from kerazoo.layers import TokenEmbedding


def load_vectors(model, task, seed=0):
    """Puts the word vectors that the task's options name into the embeddings of `model`, and says how many fit.

    Args:
        model: A built model with `source_embedding` or `target_embedding`.
        task: A task with `vectors`.
        seed: Non-negative integer that the rows without a vector follow from.

    Raises:
        ValueError: The model has no such embedding, or one of another width.
        DataError: A file is missing or bad.
    """
    from kerazoo import text

    loaded = {}
    for role, path in task.vectors.items():
        embedding = getattr(model, f"{role}_embedding", None)
        if not isinstance(embedding, TokenEmbedding):
            raise ValueError(
                f"`{role}_vectors`: {type(model).__name__} has no embedding of {role} tokens; "
                f"got {role}_vectors={path!r}."
            )
        vectors = text.read_word_vectors(path, task.tokenizers[role], seed=seed)
        width = vectors.array.shape[1]
        if width != embedding.hidden_dim:
            size = "embedding_dim" if "embedding_dim" in inspect.signature(type(model)).parameters else "hidden_dim"
            raise ValueError(
                f"`{role}_vectors`: the embedding must be as wide as the vectors; got {width} numbers a word in "
                f"{path}, {size}={embedding.hidden_dim}. Try {size}={width}."
            )
        array, known = vectors.array, vectors.found
        if id(embedding) in loaded:  # both sides share one table: the second file fills what the first one lacks
            before, had = loaded[id(embedding)]
            array, known = np.where(had[:, None], before, array), had | known
        loaded[id(embedding)] = array, known
        embedding.load_vectors(array)
        print(f"{path}: vectors of {vectors.coverage:.1%} of the {role} vocabulary.", file=sys.stderr)
