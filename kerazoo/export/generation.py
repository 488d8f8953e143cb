"""A search over a model inside a graph: from raw inputs to the best predictions and their scores."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks, decoding
from kerazoo.decoding.choose import choose

NUM_BEAMS = 4  # of the signature `generate` where the search that is exported has one result
MIN_TEMPERATURE = 1e-6


def program(function: Callable, specs: Any) -> Any:
    """Returns a function traced once for `specs`, a dict of `tf.TensorSpec`, that several graphs may call."""
    import tensorflow as tf

    return tf.function(function, input_signature=[dict(specs)], autograph=False).get_concrete_function()


def with_several_results(search: decoding.Search) -> decoding.Search:
    """Returns the search of the signature `generate`: one of several results, with the options of the exported one."""
    if search.num_results > 1:
        return search
    if isinstance(search, decoding.Beam):
        return dataclasses.replace(search, n_best=min(search.num_beams, NUM_BEAMS))
    if isinstance(search, decoding.Sample):
        return dataclasses.replace(search, n_best=NUM_BEAMS)
    if isinstance(search, decoding.Greedy):
        shared = {name: getattr(search, name) for name in ("constraints", "stop_strings", "shortlist")}
        return decoding.Beam(NUM_BEAMS, n_best=NUM_BEAMS, **shared)
    return search


def seed_of(search: decoding.Search) -> int:
    """Returns the seed of a search as an integer of 32 bits with a sign."""
    return int(np.array(search.new_seed() & 0xFFFFFFFF, "uint32").astype("int32"))


class GenerationGraph:
    """What generates tokens for raw inputs, written with stock operations of TensorFlow.

    Args:
        model: a built model that generates.
        task: `kerazoo.tasks.Task`.
        max_length: int. The largest number of tokens of a prediction, the prompt included.
        raw: dict of name to `tf.TensorSpec`. The inputs.
        encode: callable. From these to the inputs of the model. Defaults to `None`: what the task does with raw inputs.
    """

    def __init__(self, model: Any, task: Any, max_length: int, raw: Mapping[str, Any], encode: Callable | None = None):
        self.model, self.task, self.encode = model, task, encode or task.encode_packed
        self.max_length = _checks.positive_int("export", "max_length", max_length)
        self.raw = raw
        limit = model.max_length
        if limit is not None and max_length > limit:
            raise ValueError(
                f"export: `max_length` must be at most {limit}, the positions of the model; got "
                f"max_length={max_length}."
            )
        self.encoded: Any = None if task.is_language_model else program(self._encode, raw)

    def _inputs(self, raw):
        """Returns the inputs of the model, cut to its largest number of tokens."""
        limits = self.model.max_source_lengths
        return {name: tokens[:, : limits.get(name)] for name, tokens in self.encode(raw).items()}

    def _encode(self, raw):
        """Returns the inputs of the model, cut to its largest number of tokens, and what the encoder makes of them."""
        inputs = self._inputs(raw)
        encoded = self.model.encode(_single(inputs), training=False)
        return {"inputs": inputs, "encoded": encoded}

    # The options of a search that are inputs of a signature.

    def scalar_specs(self, search: decoding.Search) -> dict[str, Any]:
        """Returns the specifications of the options of a search that are inputs."""
        import tensorflow as tf

        specs = {"max_length": tf.TensorSpec([], "int32")}
        if isinstance(search, decoding.Sample):
            specs |= {"seed": tf.TensorSpec([], "int32"), "temperature": tf.TensorSpec([], "float32")}
        return specs

    def defaults(self, search: decoding.Search, seed: int) -> dict[str, Any]:
        """Returns the values of these options as they were exported."""
        found: dict[str, Any] = {"max_length": self.max_length}
        if isinstance(search, decoding.Sample):
            found |= {"seed": seed, "temperature": search.temperature}
        return found

    def scalars(self, search: decoding.Search, seed: int) -> dict[str, Any]:
        """Returns `defaults` as tensors."""
        import tensorflow as tf

        specs, values = self.scalar_specs(search), self.defaults(search, seed)
        return {name: tf.constant(values[name], spec.dtype) for name, spec in specs.items()}

    # Searching.

    def ranked(self, search: decoding.Search) -> Any:
        """Returns the program from raw inputs and options to N predictions for each input, the best first.

        Its outputs are `answers` [B, N], strings or images, `scores` float32 [B, N], `tokens` int32 [B, N, T] and
        `token_scores` float32 [B, N, T]. Where there are fewer than N, an answer is empty and its score the lowest
        number.
        """
        return program(lambda values: self._ranked(search, values), {**self.raw, **self.scalar_specs(search)})

    def _ranked(self, search, values):
        import tensorflow as tf

        limit = tf.clip_by_value(values["max_length"], 1, self.max_length)
        if isinstance(search, decoding.Sample):
            search = _with_temperature(search, values["temperature"])
        found = self.searched(values, search, limit)
        inputs, prompt, lengths = found["inputs"], found["prompt"], found["prompt_lengths"]
        count = search.num_results
        tokens = tf.reshape(found["tokens"], [-1, self.max_length])  # [B * N, T]
        rows = {name: tf.repeat(x, count, axis=0) for name, x in {**inputs, **self._prompts(values)}.items()}
        decoded = self._decoded(tokens, rows, search)
        decoded = tf.reshape(decoded, tf.concat([[-1, count], tf.shape(decoded)[1:]], 0))
        outputs = {
            "answers": _where(found["lengths"] > 0, decoded),
            "scores": tf.maximum(found["scores"], np.finfo("float32").min),
            "tokens": found["tokens"],
            "token_scores": found["token_scores"],
        }
        return outputs if lengths is None else self._unchanged(outputs, values, prompt, lengths >= limit)

    def searched(self, values: Mapping[str, Any], search: decoding.Search, limit: Any) -> dict[str, Any]:
        """Returns what `kerazoo.decoding.decode` returns for inputs, with `inputs` of the model.

        `prompt` and `prompt_lengths` are those of a language model before they were cut, else `None`.

        Args:
            values: dict of tensors. The inputs, and `seed`.
            search: `kerazoo.decoding.Search`.
            limit: int or int32 scalar. The largest number of tokens.
        """
        import tensorflow as tf

        options = {"max_lengths": limit, "seed": values.get("seed", 0)}
        inputs, prompt, lengths = {}, None, None
        if self.task.is_language_model:
            prompt, lengths = self._prompt(self.encode(values)["prompt"])
            options |= {"prompt": prompt, "prompt_lengths": tf.minimum(lengths, limit - 1)}
        else:
            found = self.encoded({name: values[name] for name in self.raw})
            inputs, options["encoded"] = found["inputs"], found["encoded"]
            options["source"] = _single(inputs)
        found = decoding.decode(self.model, search, self.max_length, decoding.DecodingContext(**options))
        return {**found, "inputs": inputs, "prompt": prompt, "prompt_lengths": lengths}

    # Choosing one token.

    def choice_specs(self, vocabulary_size: int) -> dict[str, Any]:
        """Returns the inputs of `chosen`: the raw ones, `logits`, `tokens` and `index`."""
        import tensorflow as tf

        batch = next(iter(self.raw.values())).shape[0]
        logits, tokens = tf.TensorSpec([batch, vocabulary_size]), tf.TensorSpec([batch, self.max_length], "int32")
        return {**self.raw, "logits": logits, "tokens": tokens, "index": tf.TensorSpec([], "int32")}

    def chosen(self, search: decoding.Search, seed: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the tokens that a search chooses for one position.

        Args:
            search: `kerazoo.decoding.Search` that never revises a token.
            seed: int. Its seed.
            values: dict of tensors by `choice_specs`. The inputs, the logits of the position, the tokens before it, and
                its number.

        Returns:
            dict: `token` int32 [B], its log-probability `token_score` float32 [B], `is_last` bool [B], and of a model
            that generates text under the name of its output the text so far [B]; what may be the beginning of a stop
            string is not in it yet.
        """
        import tensorflow as tf

        options: dict[str, Any] = {"max_lengths": self.max_length, "seed": seed}
        if self.task.is_language_model:
            prompt, lengths = self._prompt(self.encode(values)["prompt"])
            options |= {"prompt": prompt, "prompt_lengths": tf.minimum(lengths, self.max_length - 1)}
        else:
            raw = {name: values[name] for name in self.raw}
            nothing = tf.zeros_like(values["tokens"][:, :1])
            options |= {"prompt": nothing, "prompt_lengths": nothing[:, 0]}
            # The encoder runs again for constraints alone, which may read the mask of the source.
            options["encoded"] = _only_mask(self.encoded(raw)["encoded"]) if search.constraints else None
            if search.reads_source:
                options["source"] = _single(self._inputs(raw))
        context, index = decoding.DecodingContext(**options), values["index"]
        found = choose(self.model, search, context, values["logits"], values["tokens"], index)
        token = tf.gather(found["tokens"], index, axis=1)
        outputs = {"token": token, "token_score": found["token_scores"], "is_last": found["is_last"]}
        if self.task.targets.modality == "text":
            rows = self._prompts(values)
            text = self._decoded(found["tokens"], rows, search)
            if search.stop_strings is not None:
                shorter = self._cut(text, rows, _beginnings(search.stop_strings.strings))
                text = tf.where(found["is_last"], text, shorter)
            outputs[self.task.targets.outputs[0]] = text
        return outputs

    # From tokens to predictions.

    def _decoded(self, tokens, rows, search):
        """Returns the predictions for token ids [R, T]; `rows` are the inputs of the model and the raw prompts."""

        if self.task.targets.fills:
            tokens = self.task.targets.complete(tokens, rows)
        decoded = self.task.decode_in_graph(tokens)[self.task.targets.outputs[0]]
        if search.stop_strings is None:
            return decoded
        return self._cut(decoded, rows, rf"(?:{_pattern(search.stop_strings.strings)}).*")

    def _cut(self, texts, rows, pattern):
        """Returns texts without what a pattern matches after their prompts."""
        import tensorflow as tf

        repeats = self.task.is_language_model and self.task.targets.repeats_prompt
        prompts = rows["raw prompt"] if repeats else tf.fill([tf.shape(texts)[0]], "")
        return _without(texts, prompts, pattern)

    def _prompts(self, values):
        return {"raw prompt": values["prompt"]} if self.task.is_language_model else {}

    def _prompt(self, tokens):
        """Returns the prompt cut and padded to the static width of the prediction, and its lengths before that."""
        import tensorflow as tf

        pad_id, width = self.model.pad_id, self.max_length
        positions = tf.range(1, tf.shape(tokens)[1] + 1)
        lengths = tf.reduce_max(positions * tf.cast(tokens != pad_id, tf.int32), axis=1)  # [B]
        tokens = tf.pad(tokens[:, :width], [[0, 0], [0, width]], constant_values=pad_id)[:, :width]
        return tf.ensure_shape(tokens, [None, width]), tf.maximum(lengths, 0)

    def _unchanged(self, outputs, values, prompt, too_long):
        """Returns the outputs with the prompts that leave no room for a token as they are, with the score 0."""
        import tensorflow as tf

        unchanged = self.task.targets.unchanged_prompt(values["prompt"], prompt)  # [B, ...]
        count = tf.shape(outputs["scores"])[1]
        first = tf.range(count)[None] == 0  # [1, N]
        alone = tf.repeat(unchanged[:, None], count, axis=1)
        alone = _where(tf.broadcast_to(first, tf.shape(outputs["scores"])), alone)
        scores = tf.where(first, 0.0, np.finfo("float32").min)
        return {
            **outputs,
            "answers": _where(~tf.repeat(too_long[:, None], count, axis=1), outputs["answers"], alone),
            "scores": tf.where(too_long[:, None], scores, outputs["scores"]),
        }

    def best(self, ranked: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the best prediction under the name of the target's output, and its score."""
        return {self.task.targets.outputs[0]: ranked["answers"][:, 0], "score": ranked["scores"][:, 0]}


def _with_temperature(search, temperature):
    """Returns the search with a tensor as its temperature."""

    def divided(log_probs, context):
        del context
        largest = ops.max(log_probs, axis=-1, keepdims=True)  # as `Sample` does, to the last bit
        return (log_probs - largest) / ops.maximum(temperature, MIN_TEMPERATURE)

    divided.names_tokens = False
    return dataclasses.replace(search, temperature=1.0, constraints=(*search.constraints, divided))


def _where(condition, values, others=None):
    """Returns `values` [B, N, ...] where `condition` [B, N] holds, else `others`, which are empty by default."""
    import tensorflow as tf

    others = tf.zeros_like(values) if others is None else others
    shape = tf.concat([tf.shape(condition), [1] * (len(values.shape) - 2)], 0)
    return tf.where(tf.reshape(condition, shape), values, others)


def _single(inputs):
    """Returns the input of a model that has one, else all of them by name."""
    return inputs["source"] if len(inputs) == 1 else inputs


def _only_mask(encoded):
    """Returns an encoded source without all but its mask, `None` for one without a mask."""
    mask = encoded.get("mask") if isinstance(encoded, Mapping) else None
    return None if mask is None else {"mask": mask}


def _pattern(texts):
    """Returns a regular expression that matches any of the texts."""
    return "|".join("".join(rf"\x{{{ord(character):x}}}" for character in text) for text in texts)


def _beginnings(texts):
    """Returns a regular expression that matches the beginning of any of the texts at the end of a text."""
    return rf"(?:{_pattern(text[:size] for text in texts for size in range(len(text) - 1, 0, -1)) or 'x^'})$"


def _without(texts, prompts, pattern):
    """Returns texts without what a regular expression matches after their prompts."""
    import tensorflow as tf

    whole = tf.strings.length(texts, unit="UTF8_CHAR")
    size = tf.minimum(tf.strings.length(prompts, unit="UTF8_CHAR"), whole)
    prompts = tf.strings.substr(texts, tf.zeros_like(size), size, unit="UTF8_CHAR")
    rest = tf.strings.substr(texts, size, whole - size, unit="UTF8_CHAR")
    return tf.strings.join([prompts, tf.strings.regex_replace(rest, f"(?s){pattern}", "")])
