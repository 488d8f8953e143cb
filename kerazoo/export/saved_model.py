"""A trained model as a SavedModel: raw inputs in, predictions out, of stock TensorFlow operations only."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kerazoo import _checks, _files, decoding
from kerazoo.export import signatures as all_signatures
from kerazoo.export.model_card import CARD, model_card, use_of_saved_model


def export(
    model: keras.Model,
    task: Any,
    directory: str | os.PathLike,
    search: Any = None,
    max_length: int | None = None,
    threshold: float | None = None,
    signatures: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
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
    - a label is `label`, strings [B], with the `probabilities` float32 [B, C] of the `classes`, strings [B, C];
    - pixels are `image`, uint8 [B, H, W, C], with `score`; the prompt of a language model of pixels is the first rows
      of images, uint8 [B, h, W, C];
    - a similarity is `similarity`, float32 [B], of the texts `source` and `target`;
    - a generated sound is `sound`, float32 [B, samples], 0 after the end of each, with `length` int32 [B], the samples
      of each, `sample_rate`, int32, those of a second, and the normalized `frames`, float32 [B, N, F], that it has;
    - an image or a window is `reconstruction`, the rows after a window are `forecast`, with `quantiles` float64 [B,
      horizon, variables, Q] where those are predicted, a number is `value`;
    - with the `reconstruction` of an autoencoder comes its `error`, float32 [B], the mean squared error of scaled
      numbers or of pixels in [0, 1], and with a `threshold` `is_anomaly`, bool [B], whether the error is above it.

    Further signatures where they fit, of which `signatures` may choose some:

    - `generate` gives the N best predictions: `answers` [B, N], `scores` float32 [B, N], the token ids `tokens` int32
      [B, N, T] and their log-probabilities `token_scores`. It has N results of the search if that is one of several,
      else those of a beam of 4, or 4 samples. `max_length`, int32, bounds the tokens, and a search that samples takes
      `seed`, int32, and `temperature`, float32; the signature holds their defaults, which a server fills in;
    - `score` gives the log-probability `score` float32 [B] of the text `target` for a source, with those of its
      `tokens`, `token_scores` float32 [B, T]; of a language model that of a `text`, or of a `target` after a `prompt`;
    - `embed` gives the `vector` float32 [B, D] of an input of a model with an encoder, the mean of what it returns; of
      a dual encoder that of a `text`, of length one, and `embed_target` that of a target with an encoder of its own;
    - `logits` gives the `logits` float32 [B, C] of a classifier, or [B, T, V] of all positions of given `tokens`;
    - `step` decodes token by token from outside: `start` gives the caches by name for raw inputs (of a language model
      also the `tokens` and `lengths` of the prompt), `step` takes the `tokens` int32 [B] before the position `index`
      and the caches, and gives `logits` float32 [B, V], those of the caches that change, and the `attention` to the
      source where the model has one; `choose` gives the next `token` int32 [B], its log-probability `token_score`
      float32 [B], whether it is the last one as `is_last` bool [B], and the text so far, from the raw inputs, the
      `logits`, the `tokens` int32 [B, max_length] so far, and `index`, by the search of the export (by greedy search
      with its options, if that may revise its tokens); `detokenize` gives the text of `tokens` [B, T].

    The folder also has the model card `README.md`.

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
        signatures: list of strings. Which of `"generate"`, `"score"`, `"embed"`, `"logits"` and `"step"` are written,
            where the model has them. Defaults to `None`: all of them.
        about: dict of plain values. What the model card tells in addition, see
            `kerazoo.export.model_card.model_card`. Defaults to `None`.
        **options: arguments of a search that is given by name, see `kerazoo.decoding.make_search`.

    Returns:
        The path of the folder.

    Raises:
        ValueError: if the search is unknown, needs a second model or more tokens than the model has positions, if the
            model does not generate and takes no search, or if an input of the task has the name of another input of a
            signature.
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
    names = all_signatures.check_names(signatures)
    if task.targets.generated:
        search = exported_search(task, {**options, "search": search})
        max_length = max_length if max_length is not None else task.max_length
        made = all_signatures.of_generating(model, task, search, max_length or 0, names)
    else:
        given = {"search": search, "max_length": max_length, **options}
        refused = [name for name, value in given.items() if value is not None]
        if refused:
            raise ValueError(f"export: {type(model).__name__} does not generate, so it takes no {', '.join(refused)}.")
        made = all_signatures.of_network(model, task, threshold, names)
    functions = {name: each.traced() for name, each in made.items()}
    if task.file_signature:
        made["serving_files"] = all_signatures.of_files(task, functions["serving_default"])
        functions["serving_files"] = made["serving_files"].traced()
    use = use_of_saved_model(task, made, functions)
    card = model_card(model, task, use, {"search": search, "max_length": max_length, **(about or {})})
    _write(_served(model, task, functions), functions, directory, card)
    return directory


def exported_search(task: Any, options: Mapping[str, Any]) -> decoding.Search:
    """Returns the search that is exported for the options of a prediction.

    Args:
        task: `kerazoo.tasks.Task`.
        options: dict. `search`, a string or a search object, and its options; `max_length` is left out.

    Raises:
        ValueError: if the search is unknown or needs a second model.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if name != "max_length"}
    search = given.pop("search", None)
    if not isinstance(search, decoding.Search):
        given = task.targets.search_options({**given, **({"search": search} if search else {})})
        search = given.pop("search", "greedy")
    if search == "speculative" or (isinstance(search, decoding.Search) and search.models):
        raise ValueError(
            f"export: `search` must need no second model; got search={search!r:.40}. Use search='greedy', whose "
            "predictions are alike."
        )
    return decoding.make_search(search, **given)


def _served(model, task, functions):
    """What the SavedModel holds: the weights that the graphs read and the tokenizers with their tables."""
    import tensorflow as tf

    served = tf.Module()
    graphs = [function.get_concrete_function() for function in functions.values()]
    read = {id(tensor) for graph in graphs for tensor in graph.captured_inputs}
    served.weights = [v.value for v in model.variables if id(v.value.handle) in read]
    served.tokenizers = list(task.tokenizers.values())
    served.graphs = graphs
    return served


def _write(served, functions, directory, card):
    """Saves under a temporary name and renames, so that the folder is complete whenever it exists."""
    import tensorflow as tf

    with _files.new_folder(directory) as folder:
        try:
            tf.saved_model.save(served, os.fspath(folder), signatures=functions)
        except tf.errors.OpError as error:
            raise _checks.SetupError(f"{directory}: cannot be written: {error.message}.") from error
        (folder / CARD).write_text(card, encoding="utf-8")
