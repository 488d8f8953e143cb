"""A trained model as a SavedModel: raw input in, answers out, and nothing but stock TensorFlow operations between."""

import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np

from kerazoo import _checks, decoding


def export(model, task, directory, search="greedy", max_length=None, **options) -> pathlib.Path:
    """Writes `model` as a SavedModel whose signature `serving_default` takes and returns what people read.

    The tokenizer, the search and the scaling of pixels are inside, all of stock TensorFlow operations, so whoever
    serves it needs `tensorflow` and nothing of kerazoo. The batch is dynamic. Inputs and outputs by kind of model:

    - `seq2seq`: `source` strings [B] -> `answer` strings [B], `score` float32 [B], by which the search ranks;
    - `language_model`: `prompt` strings [B] -> `text` strings [B], the prompt and what follows, `score`;
    - `classifier`, `binary_classifier`: `source`, strings [B] or uint8 pixels [B, H, W, C] -> `label` strings [B],
      `probabilities` float32 [B, C], for yes or no [B, 1], the probability of the second class;
    - `autoencoder`: `source` uint8 pixels [B, H, W, C] -> `reconstruction` float32 [B, H, W, C] in [0, 1].

    A search that draws is exported with its seed, so it draws the same for the same batch.

    Args:
        model: A built model.
        task: The task that it was trained on.
        directory: The folder to write; it must be new or empty, and appears when it is complete.
        search: A search or its name, for models that generate.
        max_length: Most tokens of an answer, the prompt included; the task's own bound by default.
        **options: Arguments of a search that is given by name, see `kerazoo.decoding.make_search`.

    Returns:
        The path of the folder.

    Raises:
        ValueError: The search is unknown, or asks for more tokens than the model has positions.
        SetupError: The backend is not TensorFlow, or the folder is not empty or cannot be written.

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
        raise _checks.SetupError(f"export: {directory} exists and is not an empty folder. Name a new one.")
    if task.kind in ("seq2seq", "language_model"):
        search = decoding.make_search(search, **options)
        answer = _generator(model, task, search, task.max_length if max_length is None else max_length)
    else:
        answer = _network(model, task)
    serve = _traced(answer, _input(task))
    _write(_served(model, task, serve), serve, directory)
    return directory


def _input(task):
    """The specification of the one input of the signature."""
    import tensorflow as tf

    if task.kind == "language_model":
        return tf.TensorSpec([None], tf.string, name="prompt")
    if task.tokenizers:
        return tf.TensorSpec([None], tf.string, name="source")
    return tf.TensorSpec([None, *task.facts["shape"]], task.raw_dtype, name="source")


def _generator(model, task, search, max_length):
    """Returns the function from strings to what the search writes."""
    _checks.positive_int("export", "max_length", max_length)
    if model.max_length is not None and max_length > model.max_length:
        raise ValueError(
            f"export: `max_length` must be at most {model.max_length}, the positions of the model; "
            f"got max_length={max_length}."
        )
    seed = np.array(search.new_seed() & 0xFFFFFFFF, "uint32").astype("int32")
    name = "text" if task.kind == "language_model" else "answer"

    def answer(strings):
        inputs = task.graph_encode(strings)
        prompt = prompt_lengths = encoded = None
        if "prompt" in inputs:
            prompt, prompt_lengths = _prompt(inputs.pop("prompt"), model.pad_id, max_length)
        if inputs:
            _refuse_longer(inputs["source"], model.max_source_lengths.get("source"))
            encoded = model.encode(inputs["source"], training=False)
        context = decoding.DecodingContext(encoded=encoded, prompt=prompt, prompt_lengths=prompt_lengths, seed=seed)
        found = decoding.decode(model, search, max_length, context)
        return {name: task.graph_decode(found["tokens"][:, 0]), "score": found["scores"][:, 0]}

    return answer


def _prompt(tokens, pad_id, max_length):
    """The prompt in as many places as the answer has, for the loop wants a static width, and its lengths."""
    import tensorflow as tf

    places = tf.range(1, tf.shape(tokens)[1] + 1)
    lengths = tf.reduce_max(places * tf.cast(tokens != pad_id, tf.int32), axis=1)  # [B]
    room = f"a prompt must have fewer than max_length={max_length} tokens"
    tf.debugging.assert_less(lengths, max_length, message=room)
    tokens = tf.pad(tokens[:, :max_length], [[0, 0], [0, max_length]], constant_values=pad_id)[:, :max_length]
    return tf.ensure_shape(tokens, [None, max_length]), lengths


def _refuse_longer(source, most):
    import tensorflow as tf

    if most is not None:
        room = f"a source must have at most max_length={most} tokens, the positions of the model"
        tf.debugging.assert_less_equal(tf.shape(source)[1], most, message=room)


def _network(model, task):
    """Returns the function from raw input to what one pass of the network says."""
    import tensorflow as tf

    def answer(raw):
        logits = tf.cast(model(task.graph_encode(raw), training=False), tf.float32)
        if task.kind == "autoencoder":
            return {"reconstruction": task.graph_decode(logits)}
        probabilities = tf.sigmoid(logits) if task.kind == "binary_classifier" else tf.nn.softmax(logits)
        return {"label": task.graph_decode(logits), "probabilities": probabilities}

    return answer


def _traced(answer, spec):
    import tensorflow as tf

    # The keyword of the signature is the name of the specification.
    return tf.function(answer, input_signature=[spec], autograph=False).get_concrete_function()


def _served(model, task, serve):
    """What the SavedModel holds: the weights that the graph reads and the tokenizers with their tables."""
    import tensorflow as tf

    served = tf.Module()
    read = {id(tensor) for tensor in serve.captured_inputs}
    served.weights = [v.value for v in model.variables if id(v.value.handle) in read]
    served.tokenizers = list(task.tokenizers.values())
    served.serve = serve
    return served


def _write(served, serve, directory):
    """Saves beside `directory` and renames, so that what is there is whole."""
    import tensorflow as tf

    temporary = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
        whole = temporary / "saved"
        tf.saved_model.save(served, os.fspath(whole), signatures={"serving_default": serve})
        for file in filter(pathlib.Path.is_file, whole.rglob("*")):
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())
        os.replace(whole, directory)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise _checks.SetupError(f"{directory}: cannot be written: {reason}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
