"""A trained model as a SavedModel: raw inputs in, predictions out, of stock TensorFlow operations only."""

import os
import pathlib
from typing import Any

import keras
import numpy as np

from kerazoo import _checks, _files, decoding


def export(
    model: keras.Model,
    task: Any,
    directory: str | os.PathLike,
    search: Any = None,
    max_length: int | None = None,
    threshold: float | None = None,
    **options: Any,
) -> pathlib.Path:
    """Writes `model` as a SavedModel whose signature `serving_default` takes raw inputs and returns predictions.

    The graph contains the tokenizer, the search and the scaling of numbers as stock TensorFlow operations, so serving
    needs `tensorflow` and nothing of kerazoo. The batch is dynamic. The features of the task give the signature:

    - a single input is `source`, several have the names of their columns, a language model's is `prompt`: strings [B],
      pixels uint8 [B, H, W, C], windows float64 [B, length, variables], numbers float64 [B], samples of sound float32
      [B, T] with NaN after the end of each;
    - where an input is an image or a sound, a second signature `serving_files` takes strings [B] in its place: the
      bytes of PNG, JPEG, GIF or BMP files of any size, see `kerazoo.tasks.image_bytes.decode_images`, or of WAV files
      of 16 bits with the number of samples a second of the task;
    - a text is `answer` (`text` of a language model, the prompt included), strings [B], with `score` float32 [B], by
      which the search ranks; of a model that fills the gaps `<mask>` of its source it is the whole text;
    - a label is `label`, strings [B], with `probabilities` float32 [B, C], or [B, 1] for the second of two classes;
    - pixels are `image`, uint8 [B, H, W, C], with `score`; the prompt of a language model of pixels is the first rows
      of images, uint8 [B, h, W, C];
    - a similarity is `similarity`, float32 [B], of the texts `source` and `target`; the signature `embed` gives the
      `vector` float32 [B, D] of a `text`, and `embed_target` that of a target which has an encoder of its own;
    - a generated sound is `sound`, float32 [B, samples], 0 after the end of each, with `length` int32 [B], the samples
      of each, `sample_rate`, int32, those of a second, and the normalized `frames`, float32 [B, N, F], that it has;
    - an image or a window is `reconstruction`, the rows after a window are `forecast`, with `quantiles` float64 [B,
      horizon, variables, Q] where those are predicted, a number is `value`;
    - with the `reconstruction` of an autoencoder comes its `error`, float32 [B], the mean squared error of scaled
      numbers or of pixels in [0, 1], and with a `threshold` `is_anomaly`, bool [B], whether the error is above it.

    A source that is longer than the task's or the model's largest number of tokens is cut; a prompt of `max_length`
    tokens or more is returned as it is, with the score 0.

    The search is part of the graph. One that samples is exported with its seed, so it samples the same for the same
    batch; an answer ends before the first of its stop strings.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`. The task that it was trained on.
        directory: string or path. The folder to write; it must be new or empty, and appears when it is complete.
        search: string or search object, for models that generate. Defaults to that of the target: `"greedy"` for text,
            `"sample"` for pixels. Not speculative search, which needs a second model.
        max_length: int. The largest number of tokens of a prediction, the prompt included. Defaults to the task's.
        threshold: float. The error of a reconstruction above which an example is an anomaly. Defaults to `None`.
        **options: arguments of a search that is given by name, see `kerazoo.decoding.make_search`.

    Returns:
        The path of the folder.

    Raises:
        ValueError: if the search is unknown, needs a second model or more tokens than the model has positions, or the
            model does not generate and takes no search.
        SetupError: if the backend is not TensorFlow, or the folder is not empty or cannot be written.

    Example:

    ```python
    import kerazoo as kz
    import tensorflow as tf

    task = kz.tasks.create("reverse", length=5)
    model = kz.create("lstm_seq2seq", source_vocabulary_size=14, target_vocabulary_size=14, units=7)
    model.build_from_inputs()
    folder = kz.export.export(model, task, "saved")

    served = tf.saved_model.load(folder).signatures["serving_default"]
    print(served(source=tf.constant(["abc"]))["answer"])
    ```
    """
    if keras.backend.backend() != "tensorflow":
        raise _checks.SetupError(
            f"export: a SavedModel is written with TensorFlow, and the backend is {keras.backend.backend()}. "
            "Set KERAS_BACKEND=tensorflow for this command."
        )
    directory = pathlib.Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise _checks.SetupError(f"export: {directory} exists and is not an empty folder. Choose a new one.")
    if task.targets.generated:
        if not isinstance(search, decoding.Search):
            options = task.targets.search_options({**options, **({"search": search} if search else {})})
            search = options.pop("search", "greedy")
        if search == "speculative" or (isinstance(search, decoding.Search) and search.models):
            raise ValueError(
                f"export: `search` must need no second model; got search={search!r:.40}. Use search='greedy', whose "
                "predictions are alike."
            )
        search = decoding.make_search(search, **options)
        predict = _generator(model, task, search, task.max_length if max_length is None else max_length)
    else:
        given = [
            name for name, value in {"search": search, "max_length": max_length, **options}.items() if value is not None
        ]
        if given:
            raise ValueError(f"export: {type(model).__name__} does not generate, so it takes no {', '.join(given)}.")
        predict = _network(model, task, threshold)
    signatures = {"serving_default": _traced(predict, task.signature)}
    if task.file_signature:
        signatures["serving_files"] = _traced(lambda raw: predict(task.decode_files(raw)), task.file_signature)
    for name, embed in _embedders(model, task).items():
        signatures[name] = _traced(embed, {"text": ([], "string")})
    _write(_served(model, task, signatures), signatures, directory)
    return directory


def _generator(model, task, search, max_length):
    """Returns the function from named raw inputs to what the search generates."""
    import tensorflow as tf

    _checks.positive_int("export", "max_length", max_length)
    limit, limits = model.max_length, model.max_source_lengths
    if limit is not None and max_length > limit:
        raise ValueError(
            f"export: `max_length` must be at most {limit}, the positions of the model; got max_length={max_length}."
        )
    seed = np.array(search.new_seed() & 0xFFFFFFFF, "uint32").astype("int32")

    def predict(raw):
        inputs = task.encode_packed(raw)
        if task.is_language_model:
            prompt, lengths = _prompt(inputs["prompt"], model.pad_id, max_length)
            short = tf.minimum(lengths, max_length - 1)
            context = decoding.DecodingContext(prompt=prompt, prompt_lengths=short, seed=seed)
        else:
            inputs = {name: tokens[:, : limits.get(name)] for name, tokens in inputs.items()}
            encoded = model.encode(inputs["source"] if len(inputs) == 1 else inputs, training=False)
            context = decoding.DecodingContext(encoded=encoded, seed=seed)
        found = decoding.decode(model, search, max_length, context)
        tokens = found["tokens"][:, 0]
        if task.targets.fills:
            tokens = task.targets.complete(tokens, inputs)
        outputs = {**task.decode_in_graph(tokens), "score": found["scores"][:, 0]}
        if search.stop_strings is not None:
            name = task.targets.outputs[0]
            repeats = task.is_language_model and task.targets.repeats_prompt
            prompts = raw["prompt"] if repeats else tf.fill([tf.shape(outputs[name])[0]], "")
            outputs[name] = _cut(outputs[name], prompts, search.stop_strings.strings)
        if not task.is_language_model:
            return outputs
        name, too_long = task.targets.outputs[0], lengths >= max_length  # [B]
        unchanged = task.targets.unchanged_prompt(raw["prompt"], prompt)
        is_unchanged = tf.reshape(too_long, [-1] + [1] * (len(unchanged.shape) - 1))
        return {
            name: tf.where(is_unchanged, unchanged, outputs[name]),
            "score": tf.where(too_long, 0.0, outputs["score"]),
        }

    return predict


def _cut(texts, prompts, stop_strings):
    """Returns texts up to the first stop string after their prompts."""
    import tensorflow as tf

    whole = tf.strings.length(texts, unit="UTF8_CHAR")
    size = tf.minimum(tf.strings.length(prompts, unit="UTF8_CHAR"), whole)
    prompts = tf.strings.substr(texts, tf.zeros_like(size), size, unit="UTF8_CHAR")
    rest = tf.strings.substr(texts, size, whole - size, unit="UTF8_CHAR")
    stop = "|".join("".join(rf"\x{{{ord(character):x}}}" for character in text) for text in stop_strings)
    return tf.strings.join([prompts, tf.strings.regex_replace(rest, f"(?s)(?:{stop}).*", "")])


def _prompt(tokens, pad_id, max_length):
    """The prompt cut and padded to the static width of the prediction, and its lengths before it was cut."""
    import tensorflow as tf

    positions = tf.range(1, tf.shape(tokens)[1] + 1)
    lengths = tf.reduce_max(positions * tf.cast(tokens != pad_id, tf.int32), axis=1)  # [B]
    tokens = tf.pad(tokens[:, :max_length], [[0, 0], [0, max_length]], constant_values=pad_id)[:, :max_length]
    return tf.ensure_shape(tokens, [None, max_length]), lengths


def _network(model, task, threshold):
    """Returns the function from named raw inputs to the prediction of one pass, or of a loop over values."""
    import tensorflow as tf

    def predict(raw):
        inputs = task.encode_packed(raw)
        if isinstance(model, decoding.ContinuousDecodable):
            encoded = model.encode(inputs["source"] if len(inputs) == 1 else inputs, training=False)
            return task.decode_in_graph(decoding.decode_values(model, model.output_length, encoded)["outputs"])
        outputs = tf.cast(model(inputs, training=False), tf.float32)
        found = task.decode_in_graph(task.targets.complete(outputs, inputs))
        if task.is_autoencoder:
            found["error"] = task.targets.reconstruction_errors(outputs, *raw.values())
            if threshold is not None:
                found["is_anomaly"] = found["error"] > threshold
        return found

    return predict


def _embedders(model, task):
    """Returns the functions of the signatures that give the vector of one text of a dual encoder, by their names."""
    if task.kind != "dual_encoder":
        return {}

    def embedder(name, feature):
        return lambda raw: {"vector": model.embed({name: feature.encode(raw["text"])}, name)}

    sides = list(zip(task.input_names, task.inputs))
    return {
        signature: embedder(*side)
        for signature, side in zip(("embed", "embed_target"), sides[:1] if model.is_shared else sides)
    }


def _traced(predict, signature):
    import tensorflow as tf

    # The keyword of the signature is the name of the specification.
    specs = [tf.TensorSpec([None, *shape], dtype, name=name) for name, (shape, dtype) in signature.items()]

    def serve(*raw):
        return predict(dict(zip(signature, raw)))

    return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()


def _served(model, task, signatures):
    """What the SavedModel holds: the weights that the graphs read and the tokenizers with their tables."""
    import tensorflow as tf

    served = tf.Module()
    read = {id(tensor) for serve in signatures.values() for tensor in serve.captured_inputs}
    served.weights = [v.value for v in model.variables if id(v.value.handle) in read]
    served.tokenizers = list(task.tokenizers.values())
    served.graphs = list(signatures.values())
    return served


def _write(served, signatures, directory):
    """Saves under a temporary name and renames, so that the folder is complete whenever it exists."""
    import tensorflow as tf

    with _files.new_folder(directory) as folder:
        try:
            tf.saved_model.save(served, os.fspath(folder), signatures=signatures)
        except tf.errors.OpError as error:
            raise _checks.SetupError(f"{directory}: cannot be written: {error.message}.") from error
