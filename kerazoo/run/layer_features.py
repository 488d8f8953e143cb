"""The outputs of layers inside a trained model, by the paths of the layers, for any number of inputs."""

import contextlib
import itertools
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kerazoo import _checks, _files
from kerazoo.models.replaced_calls import numbered, replaced_calls

if TYPE_CHECKING:
    import keras

    from kerazoo.run.predictor import Predictor

POOLINGS = ("mean", "max", "last", "first", "none")
WIDTH = 16  # tokens are padded to a multiple of it, so that few shapes are compiled
OF_SOURCES = ("encoder", "source", "join")  # what the paths of layers begin with that no target reaches


def features(
    predictor: "Predictor", raw: Sequence, layers: str | Sequence[str], pooling: str = "mean"
) -> dict[str, Any]:
    """Returns the outputs of layers for a list of raw inputs, see `Predictor.features`."""
    parts = list(feature_batches(predictor, raw, layers, pooling))
    if not parts:
        return {}
    if pooling == "none":
        return {name: list(itertools.chain.from_iterable(part[name] for part in parts)) for name in parts[0]}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_features(
    predictor: "Predictor",
    raw: Iterable,
    path: str | os.PathLike,
    layers: str | Sequence[str],
    pooling: str = "mean",
) -> dict[str, tuple[int, ...]]:
    """Writes the outputs of layers for any number of raw inputs as a file of NumPy, in memory for one batch.

    The file has an array `[N, D]` by the path of each layer. With `pooling="none"` it has two for each: `PATH.values`
    `[positions, D]`, and `PATH.offsets` `[N + 1]`; the positions of input i are those from `offsets[i]` to
    `offsets[i + 1]`.

    Args:
        predictor: `Predictor`.
        raw: iterable of raw inputs.
        path: string or path. The file, `.npz`, which appears when it is complete.
        layers: string or list of strings. As for `Predictor.features`.
        pooling: string. As for `Predictor.features`. Defaults to `"mean"`.

    Returns:
        The shapes of the arrays by their names in the file.

    Raises:
        DataError: if there is no input.
    """
    from kerazoo.data import Ragged
    from kerazoo.data.corpus import CorpusBuilder

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".features-") as folder:
        builder = CorpusBuilder(folder)
        try:
            for found in feature_batches(predictor, raw, layers, pooling):
                rows = found
                if pooling == "none":
                    rows = {name: Ragged.from_rows(each, np.float32) for name, each in found.items()}
                builder.add(rows)
            if builder.examples:
                builder.finish({})
        finally:
            builder.close()
        names = sorted(pathlib.Path(folder).glob("*.npy"))
        if not names:
            raise _checks.DataError(f"{path}: there are no inputs to compute features of.")
        shapes = {name.stem: np.load(name, mmap_mode="r").shape for name in names}
        with _files.new_file(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
            for name in names:
                archive.write(name, name.name)
    return shapes


def feature_batches(
    predictor: "Predictor", raw: Iterable, layers: str | Sequence[str], pooling: str = "mean"
) -> Iterator[dict[str, Any]]:
    """Yields the outputs of layers for raw inputs batch by batch: arrays `[B, D]`, or lists of arrays `[S, D]`.

    Args:
        predictor: `Predictor`. Its `batch_size` bounds a batch.
        raw: iterable of raw inputs.
        layers: string or list of strings. As for `Predictor.features`.
        pooling: string. As for `Predictor.features`. Defaults to `"mean"`.
    """
    from kerazoo import _backend

    _checks.one_of("features", "pooling", pooling, POOLINGS)
    chosen = find(predictor.model, layers)
    forward = _forward(predictor, list(chosen))
    with recorded(chosen) as calls:

        def outputs(inputs):
            calls.clear()
            forward.call(inputs)
            masks = _masks(inputs, forward.is_shifted)
            return {name: _reduced(*call, masks, pooling) for name, call in calls.items()}

        program, items = _backend.compile(outputs, predictor.model.variables), iter(raw)
        while batch := list(itertools.islice(items, predictor.batch_size)):
            inputs = _inputs(predictor, batch, forward)
            found = program(inputs)
            _check_called(chosen, found, layers)
            yield {name: _rows(value, len(batch), pooling) for name, value in found.items()}


def find(model: "keras.Model", layers: str | Sequence[str]) -> dict[str, "keras.layers.Layer"]:
    """Returns the layers of a model that match some patterns, by their paths.

    A pattern with a wildcard matches the layers of its own depth where there are any: `encoder.block_*` the blocks, and
    not the layers in them.

    Args:
        model: `keras.Model`. One that is built.
        layers: string or list of strings. Paths, names or patterns.

    Raises:
        ValueError: if a pattern matches no layer; the message offers the nearest.
    """
    from kerazoo import transfer

    patterns = [layers] if isinstance(layers, str) else list(layers)
    paths, found = transfer.layers(model), {}
    for pattern in patterns:
        matched = transfer.find_layers("features", "layer", model, [pattern])
        depth = pattern.replace("/", ".").count(".")
        alike = [path for path in matched if path.count(".") == depth]
        if _is_pattern(pattern):
            matched = alike or matched
        found.update({path: paths[path] for path in matched})
    return found


def _check_called(chosen, found, layers):
    """Refuses names of layers that were not called; of patterns the others are enough."""
    called = {id(chosen[name.partition(":")[0]]) for name in found}
    missing = [path for path, layer in chosen.items() if id(layer) not in called]
    if missing and (not found or not _is_pattern("".join(layers))):
        raise ValueError(
            f"features: `layer` must name a layer that is called as such; got {missing[0]!r}, whose weights another "
            "layer uses. Name the layer that it is in."
        )


def _is_pattern(text):
    return any(sign in text for sign in "*?[")


@contextlib.contextmanager
def recorded(layers: Mapping[str, "keras.layers.Layer"]) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Yields a dictionary that gets the output and the padding mask of each call of some layers, by their paths.

    A layer that is called several times, such as the shared encoder of two sources, has a number after its path from
    the second call on: `encoder:2`.

    Args:
        layers: dict of path to layer.
    """
    calls: dict[str, tuple[Any, Any]] = {}
    unique = {id(layer): (path, layer) for path, layer in reversed(list(layers.items()))}

    def recording(path):
        def recorded_by(call):
            def recorded_call(*args, **kwargs):
                output = call(*args, **kwargs)
                calls[numbered(path, calls)] = output, kwargs.get("padding_mask")
                return output

            return recorded_call

        return recorded_by

    with replaced_calls([(layer, recording(path)) for path, layer in unique.values()]):
        yield calls


class _Forward(NamedTuple):
    """A pass of a model, as little of it as calls some layers.

    Args:
        call: function of the inputs of the model.
        needs_targets: bool. Whether the inputs have targets.
        is_shifted: bool. Whether the targets are the text itself, of which position t has read what is before it.
    """

    call: Callable[[Any], Any]
    needs_targets: bool = False
    is_shifted: bool = False


def _forward(predictor, paths):
    """Returns the pass of a model that calls the layers of some paths."""
    from kerazoo import decoding
    from kerazoo.models.encoder_model import EncoderModel

    model = predictor.model
    if isinstance(model, decoding.Ensemble):
        raise ValueError("features: needs one model; got an ensemble. Load one run.")
    has_decoder = isinstance(model, decoding.Decodable | decoding.ContinuousDecodable)
    if isinstance(model, EncoderModel) and has_decoder and all(path.startswith(OF_SOURCES) for path in paths):
        return _Forward(lambda inputs: model.encode(inputs, training=False))
    if isinstance(model, decoding.ContinuousDecodable):
        outside = next(path for path in paths if not path.startswith(OF_SOURCES))
        raise ValueError(
            f"features: `layer` must be in an encoder of this model, whose decoder reads its own values; got "
            f"{outside!r}."
        )
    is_decodable = isinstance(model, decoding.Decodable)
    is_shifted = is_decodable and predictor.task.is_language_model
    return _Forward(lambda inputs: model(inputs, training=False), is_decodable, is_shifted)


def _inputs(predictor, raw, forward):
    """Returns the inputs of the model for raw inputs; a decoder reads the text itself, or what it generates."""
    inputs = {name: np.asarray(value) for name, value in predictor.task.encode(raw).items()}
    if forward.is_shifted:
        inputs = {"targets": np.pad(inputs["prompt"], [(0, 0), (0, 1)])}  # one more position, which has read all
    elif forward.needs_targets:
        options = predictor.task.targets.search_options({"max_length": predictor.task.max_length})
        source = inputs if len(inputs) == 1 else {"source": inputs}
        inputs["targets"] = np.asarray(predictor.model.generate(**source, **options).best(), np.int32)
    return {name: _padded(value) for name, value in inputs.items()}


def _padded(array):
    """Returns token ids with further padding on the right; other arrays as they are."""
    if array.ndim != 2 or array.dtype != np.int32:
        return array
    return np.pad(array, [(0, 0), (0, -array.shape[1] % WIDTH)])


def _masks(inputs, is_shifted):
    """Returns the valid positions of the inputs, the targets' first where there are any."""
    from keras import ops

    if is_shifted:
        return [ops.pad(ops.not_equal(inputs["targets"], 0)[:, :-1], ((0, 0), (1, 0)))]
    names = sorted(filter(lambda name: name.startswith(("source", "targets")), inputs), key=lambda n: n != "targets")
    ids = [inputs[name] for name in names if "int32" in str(inputs[name].dtype) and len(inputs[name].shape) == 2]
    return [*(inputs[name] for name in names if name.endswith("_mask")), *(ops.not_equal(each, 0) for each in ids)]


def _reduced(output, mask, masks, pooling):
    """Returns the output of a layer as a vector for each input, or with pooling "none" its positions and their mask."""
    from keras import ops

    from kerazoo.layers import pool

    if isinstance(output, Mapping):
        output, mask = output["sequence"], output.get("mask", mask)
    while isinstance(output, tuple | list):
        output = output[0]
    x = ops.cast(output, "float32")
    if len(x.shape) == 4:  # an image
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
    if len(x.shape) < 3:
        return {"values": ops.reshape(x, (ops.shape(x)[0], -1))}
    fits = [each for each in [mask, *masks] if each is not None and each.shape[1] == x.shape[1]]
    valid = ops.cast(fits[0], "bool") if fits else ops.ones(ops.shape(x)[:2], "bool")
    return {"values": x, "mask": valid} if pooling == "none" else {"values": pool(x, valid, pooling)}


def _rows(found, count, pooling):
    values = np.asarray(found["values"], np.float32)
    if len(values) != count:
        raise ValueError(f"features: `layer` must have one output for each input; got {len(values)} for {count}.")
    if pooling != "none":
        return values
    if "mask" not in found:
        return [row[None] for row in values]
    return [row[valid] for row, valid in zip(values, np.asarray(found["mask"]))]
