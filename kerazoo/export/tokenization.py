"""What a format of numbers alone leaves out: a small SavedModel from raw inputs to tokens and back to texts."""

import os
import pathlib
from typing import Any

from kerazoo.export import generation
from kerazoo.export.signatures import Signature, raw_specs

FOLDER = "tokenizer"


def write_tokenizer(task: Any, folder: str | os.PathLike) -> None:
    """Writes the SavedModel `tokenizer` with the signatures `encode` and `detokenize` into a folder.

    `encode` takes the raw inputs of the task and gives the inputs of the model by name: token ids, padded. `detokenize`
    takes `tokens` int32 [B, T] and gives the text.

    Args:
        task: `kerazoo.tasks.Task`.
        folder: string or path.
    """
    import tensorflow as tf

    signatures = {"encode": Signature(task.encode_packed, raw_specs(task.signature), "the token ids of raw inputs")}
    if task.targets.generated and not task.targets.fills:
        tokens = {"tokens": tf.TensorSpec([None, None], "int32")}
        detokenize = lambda values: task.decode_in_graph(values["tokens"])  # noqa: E731
        signatures["detokenize"] = Signature(detokenize, tokens, "the text of token ids")
    functions = {name: each.traced() for name, each in signatures.items()}
    held = tf.Module()
    held.tokenizers = list(task.tokenizers.values())
    tf.saved_model.save(held, os.fspath(pathlib.Path(folder) / FOLDER), signatures=functions)


def encoded_specs(task: Any) -> dict[str, Any]:
    """Returns the `tf.TensorSpec` of each input of the model, with a dynamic batch."""
    import tensorflow as tf

    outputs = generation.program(task.encode_packed, raw_specs(task.signature)).structured_outputs
    return {name: tf.TensorSpec([None, *each.shape[1:]], each.dtype) for name, each in outputs.items()}
