"""Decoding token by token from outside of a graph: the start and the step of a model with flat named caches."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kerazoo.decoding.decoding_state import loop_variables, start_cache
from kerazoo.export import generation


class StepGraph:
    """The functions of the signatures `start` and `step`.

    `start` returns the caches by name. `step` takes the token before a position, the number of the position and the
    caches, and returns the logits and those of the caches that change; a caller replaces these and keeps the others.

    Args:
        model: a built model that generates.
        task: `kerazoo.tasks.Task`.
        graph: `GenerationGraph`, which has the encoder.
        max_length: int. The largest number of tokens of a prediction.
        raw: dict of name to `tf.TensorSpec`. The raw inputs.
    """

    def __init__(self, model: Any, task: Any, graph: "generation.GenerationGraph", max_length: int, raw: Mapping):
        self.model, self.task, self.graph, self.max_length = model, task, graph, max_length
        self._cache: Any = None  # the nest of the caches, whose names `start` found
        self.start = generation.program(self._start, raw)

    def _start(self, raw):
        import tensorflow as tf

        if self.task.is_language_model:
            prompt = self.graph.encode(raw)["prompt"]
            lengths = tf.math.count_nonzero(prompt != self.model.pad_id, axis=1, dtype=tf.int32)
            found, batch = {"tokens": prompt, "lengths": lengths}, tf.shape(prompt)[0]
            cache = start_cache(self.model, batch, self.max_length)
        else:
            encoded = self.graph.encoded(raw)["encoded"]
            found, batch = {}, tf.shape(keras.tree.flatten(encoded)[0])[0]
            cache = start_cache(self.model, batch, self.max_length, encoded)
        self._cache = keras.tree.map_structure(lambda x: None if x is None else x.dtype, cache)
        return {**found, **named(cache)}

    @property
    def specs(self) -> dict[str, Any]:
        """The inputs of `step`: `tokens` int32 [B], `index` int32 and the caches."""
        import tensorflow as tf

        outputs = self.start.structured_outputs
        caches = {name: tf.TensorSpec(outputs[name].shape, outputs[name].dtype) for name in named(self._cache)}
        batch = next(iter(self.graph.raw.values())).shape[0]
        return {"tokens": tf.TensorSpec([batch], "int32"), "index": tf.TensorSpec([], "int32"), **caches}

    def step(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `logits` float32 [B, V] of a position, the caches that change, and `attention` [B, S] where it is."""
        paths = keras.tree.flatten_with_path(self._cache)
        leaves = [None if leaf is None else values[_name(path)] for path, leaf in paths]
        cache = keras.tree.pack_sequence_as(self._cache, leaves)
        logits, new = self.model.step(values["tokens"], cache, values["index"])
        found = {"logits": ops.cast(logits, "float32"), **named(loop_variables(new))}
        return found if new.get("attention") is None else {**found, "attention": new["attention"]}


def named(nest: Any) -> dict[str, Any]:
    """Returns the leaves of a nest by their paths, such as `kv_cache_0_key`; `None` is left out."""
    return {_name(path): leaf for path, leaf in keras.tree.flatten_with_path(nest) if leaf is not None}


def _name(path):
    return "_".join(map(str, path))
