"""Initializes the embeddings of a new model with word vectors."""

import sys
from typing import TYPE_CHECKING

import numpy as np

from kerazoo.layers import TokenEmbedding
from kerazoo.registry import argument_names

if TYPE_CHECKING:
    import keras

    from kerazoo.tasks import Task


def load_vectors(model: "keras.Model", task: "Task", seed: int = 0) -> None:
    """Loads the word vectors of the task into the embeddings of `model`, and prints how many tokens have one.

    Args:
        model: a built model with `source_embedding` or `target_embedding`.
        task: `kerazoo.tasks.Task`. Its `vectors` are the files by role.
        seed: int, not negative. The seed of the rows without a vector. Defaults to `0`.

    Raises:
        ValueError: if the model has no such embedding, or one of another size.
        DataError: if a file is missing or cannot be read.
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
            size = "embedding_dim" if "embedding_dim" in argument_names(type(model)) else "hidden_dim"
            raise ValueError(
                f"`{role}_vectors`: the embedding must have the size of the vectors; got {width} numbers a word in "
                f"{path}, {size}={embedding.hidden_dim}. Try {size}={width}."
            )
        array, found = vectors.array, vectors.found
        if id(embedding.table) in loaded:  # both sides share one table: the second file adds what the first one lacks
            first, found_first = loaded[id(embedding.table)]
            array, found = np.where(found_first[:, None], first, array), found_first | found
        loaded[id(embedding.table)] = array, found
        embedding.load_vectors(array)
        print(f"{path}: vectors of {vectors.coverage:.1%} of the {role} vocabulary.", file=sys.stderr)
